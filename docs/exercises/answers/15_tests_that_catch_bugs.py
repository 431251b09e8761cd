"""Exercise 15: write tests that catch bugs.

The checker calls your two tests with a right implementation, which they must accept, and with twenty wrong ones, each
with one bug that people really write. A test rejects by assert. The score is the number of bugs that are caught.

    convolve(x, k, b, stride) -> y                     exercise 1
    softmax_cross_entropy(z, labels) -> loss, dz       exercise 4

Choose numbers so small that you know the right result, and so different that no bug can hide.
"""

import numpy as np


def test_convolve(convolve):
    """Accepts a right convolve, rejects a wrong one."""
    # gap: call convolve with numbers of your choice, and assert what you know about y
    x, k = np.zeros((1, 3, 3, 2)), np.zeros((2, 2, 2, 1))
    x[0, :, :, 0], k[:, :, 0, 0] = [[1, 2, 0], [0, 1, 3], [2, 0, 1]], [[1, 0], [-1, 2]]
    x[0, 0, 0, 1], k[0, 0, 1, 0] = 5, 10
    y = convolve(x, k, np.array([1.0]), 1)
    assert y.shape == (1, 2, 2, 1)
    assert np.allclose(y[0, :, :, 0], [[54, 8], [-1, 4]])
    x = np.arange(25.0).reshape(1, 5, 5, 1)
    assert np.allclose(convolve(x, np.ones((1, 1, 1, 1)), np.zeros(1), 2), x[:, ::2, ::2])
    # end of gap


def test_loss(softmax_cross_entropy):
    """Accepts a right softmax_cross_entropy, rejects a wrong one."""
    # gap: call softmax_cross_entropy with numbers of your choice, and assert what you know about loss and dz
    z, labels = np.array([[np.log(3), 0], [0, 0]]), np.array([0, 1])  # probabilities 3/4, 1/4 and 1/2, 1/2
    loss, dz = softmax_cross_entropy(z, labels)
    assert np.isclose(loss, (np.log(4 / 3) + np.log(2)) / 2)
    assert np.allclose(dz, [[-1 / 8, 1 / 8], [1 / 4, -1 / 4]])
    loss, dz = softmax_cross_entropy(np.array([[1000.0, 0]]), np.array([1]))
    assert np.isclose(loss, 1000)
    # end of gap
