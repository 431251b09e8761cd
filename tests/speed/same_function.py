"""A faster layer beside the textbook's: the same values, gradients and statistics."""

import numpy as np
import tensorflow as tf
from gradients import normal


def outcome(layer, x: tf.Tensor, training: bool, use=lambda y: y) -> list[np.ndarray]:
    """The output, the gradients of x and of every parameter, and the statistics afterwards, as float64.

    `use` is what happens to the output before a fixed dL/dy of random numbers is given to its gradient.
    """
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = use(layer(x, training))
    dy = tf.cast(normal(*y.shape, seed=99), y.dtype)
    gradients = tape.gradient(y, [x, *layer.parameters], dy)
    return [tf.cast(value, tf.float64).numpy() for value in (y, *gradients, *layer.statistics)]


def assert_same_function(textbook, fast, x, training=True, tolerance=1e-5, use=lambda y: y) -> None:
    """AssertionError unless both layers, with equal variables, do the same to x, relative to the largest number."""
    for variable, same in zip(textbook.variables, fast.variables):
        np.testing.assert_array_equal(variable, same)
    for expected, found in zip(outcome(textbook, x, training, use), outcome(fast, x, training, use)):
        assert expected.shape == found.shape and np.any(expected)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
