"""Activations: the bend between two linear layers, without which they would collapse into one."""

import functools
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
        return gelu(x)

    def flops(self, input_shape):
        """Four counted operations a number (divide, erf, add, multiply), by convention."""
        return 4 * math.prod(input_shape)


# XLA makes one pass over the numbers of what would be five operations, each from memory and back. The convolutions
# around it stay TensorFlow's own, which XLA cannot match on a processor (docs/speed.md).
in_one_pass = functools.partial(tf.function, jit_compile=True, autograph=False)


@tf.custom_gradient
def gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU of any numbers; bfloat16 is computed in float32 and rounded once."""
    return gelu_value(x), lambda dy: gelu_gradient(x, dy)


@in_one_pass
def gelu_value(x: tf.Tensor) -> tf.Tensor:
    """x P(Z <= x)."""
    exact = tf.cast(x, wide(x.dtype))
    return tf.cast(exact * share_below(exact), x.dtype)


@in_one_pass
def gelu_gradient(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
    """dy (P(Z <= x) + x exp(-x^2/2) / sqrt(2 pi))."""
    exact = tf.cast(x, wide(x.dtype))
    slope = share_below(exact) + exact * tf.exp(-exact * exact / 2) / math.sqrt(2 * math.pi)
    return tf.cast(tf.cast(dy, exact.dtype) * slope, x.dtype)


def share_below(x: tf.Tensor) -> tf.Tensor:
    """P(Z <= x) for Z ~ N(0, 1)."""
    return (1 + tf.math.erf(x / math.sqrt(2))) / 2


def wide(dtype: tf.DType) -> tf.DType:
    """What numbers of this type are computed in."""
    return tf.float32 if dtype == tf.bfloat16 else dtype
