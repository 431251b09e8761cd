"""Activations: the nonlinearity (the bend) between two linear layers, without which they would collapse into one."""

import math

import tensorflow as tf

from core.layers.layer import Layer


class ReLU(Layer):
    """y = max(x, 0).  Any shape -> the same shape.  Gradient: 1 where x > 0, else 0 (also at x = 0)."""

    is_activation = True

    def __call__(self, x, training, step=None):  # noqa: D102
        return tf.nn.relu(x)

    def flops(self, input_shape):  # noqa: D102
        return math.prod(input_shape)


class GELU(Layer):
    """y = x P(Z <= x) for Z ~ N(0, 1), that is x/2 (1 + erf(x / sqrt 2)).  Hendrycks & Gimpel 2016.

    Any shape -> the same shape. Gradient: P(Z <= x) + x exp(-x^2/2) / sqrt(2 pi).
    """

    is_activation = True

    def __call__(self, x, training, step=None):  # noqa: D102
        return tf.nn.gelu(x)

    def flops(self, input_shape):
        """Four counted operations a number (divide, erf, add, multiply), by convention."""
        return 4 * math.prod(input_shape)
