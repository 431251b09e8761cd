"""The gradient check can fail: it finds a gradient that is slightly wrong anywhere, or missing."""

import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_gradients, central_differences, relative_errors, with_gradient_of


@pytest.fixture
def w():
    return tf.Variable([[0.3, -1.2], [2.0, 0.7]], dtype=tf.float64)


def test_central_differences_of_a_cube_are_three_squares(w):
    start = w.numpy()
    slopes = central_differences(lambda: tf.reduce_sum(w**3), w)
    np.testing.assert_allclose(slopes, 3 * start**2, rtol=1e-9)
    np.testing.assert_array_equal(w.numpy(), start)


def test_a_right_gradient_passes(w):
    assert_gradients(lambda: tf.reduce_sum(tf.sin(w) * w), {"w": w})


WRONG = {
    "a millionth too long": lambda w: 1.000001 * w,
    "the other sign": lambda w: -w,
    "transposed": lambda w: tf.transpose(w),
    "one entry wrong": lambda w: w * tf.constant([[1, 1], [1.001, 1]], tf.float64),
    "one entry missing": lambda w: w * tf.constant([[1, 1], [0, 1]], tf.float64),
    "zero": lambda w: 0 * w,
    "not a number": lambda w: tf.sqrt(0 * w),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_gradient_is_found(w, wrong):
    def loss():
        return tf.reduce_sum(tf.sin(with_gradient_of(WRONG[wrong](w), w)))

    with pytest.raises(AssertionError, match="gradient d/dw"):
        assert_gradients(loss, {"w": w})


def test_a_loss_that_ignores_a_variable_is_found(w):
    with pytest.raises(AssertionError, match="does not depend on it"):
        assert_gradients(lambda: tf.constant(1.0, tf.float64), {"w": w})
    with pytest.raises(AssertionError, match="checks nothing"):
        assert_gradients(lambda: tf.reduce_sum(0 * w), {"w": w})


def test_relative_error_by_hand():
    np.testing.assert_allclose(relative_errors(np.array([2.0, 0.0]), np.array([1.0, 0.001])), [0.5, 0.05])
