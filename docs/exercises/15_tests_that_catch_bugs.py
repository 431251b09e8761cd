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
    ...  # call convolve with numbers of your choice, and assert what you know about y


def test_loss(softmax_cross_entropy):
    """Accepts a right softmax_cross_entropy, rejects a wrong one."""
    ...  # call softmax_cross_entropy with numbers of your choice, and assert what you know about loss and dz
