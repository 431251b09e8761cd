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


class LeakyReLU(Layer):
    """y = x where x > 0, else slope x.  Any shape -> the same shape.  Gradient: 1 where x > 0, else the slope.

    No unit dies: where ReLU's gradient is 0, this one is the slope.  Maas, Hannun & Ng 2013, with slope 0.01.
    """

    is_activation = True

    def __init__(self, name: str, slope: float = 0.01):
        super().__init__(name)
        self.slope = slope

    def __call__(self, x, training, step=None):  # noqa: D102
        return tf.nn.leaky_relu(x, self.slope)

    def flops(self, input_shape):
        """A comparison and a multiplication a number."""
        return 2 * math.prod(input_shape)


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


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)), between 0 and 1.  Any shape -> the same shape.

    Gradient: y (1 - y), at most 1/4: each sigmoid that the backward pass meets makes the gradient smaller.
    """

    is_activation = True

    def __call__(self, x, training, step=None):  # noqa: D102
        return tf.math.sigmoid(x)

    def flops(self, input_shape):
        """Four counted operations a number (negate, exp, add, divide)."""
        return 4 * math.prod(input_shape)


# The words of --activation; "none" is the network without this layer.
ACTIVATIONS = {"relu": ReLU, "leaky_relu": LeakyReLU, "gelu": GELU, "sigmoid": Sigmoid}


def activation_layers(word: str, name: str) -> list[Layer]:
    """[the activation that --activation calls `word`], named `name`; the empty list for "none"."""
    return [] if word == "none" else [ACTIVATIONS[word](name)]
