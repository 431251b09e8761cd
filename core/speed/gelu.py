"""GELU in one pass over memory: the same function as the textbook layer, compiled by XLA.

TensorFlow computes the formula as five operations, each from memory and back. Only the activation is compiled by
XLA; the convolutions around it stay TensorFlow's own, which are faster on a processor (docs/speed.md).
"""

import functools
import math

import tensorflow as tf

from core.layers import GELU

in_one_pass = functools.partial(tf.function, jit_compile=True, autograph=False)


class FusedGELU(GELU):
    """core.layers.GELU; bfloat16 is computed in float32 and rounded once."""

    def __call__(self, x, training, step=None):  # noqa: D102
        return gelu(x)


@tf.custom_gradient
def gelu(x: tf.Tensor) -> tf.Tensor:
    """x P(Z <= x) for Z ~ N(0, 1), any shape."""
    return gelu_value(x), lambda dy: gelu_gradient(x, dy)


@in_one_pass
def gelu_value(x: tf.Tensor) -> tf.Tensor:
    """x P(Z <= x)."""
    exact = tf.cast(x, accumulation_dtype(x.dtype))
    return tf.cast(exact * normal_cdf(exact), x.dtype)


@in_one_pass
def gelu_gradient(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
    """dy (P(Z <= x) + x exp(-x^2/2) / sqrt(2 pi))."""
    exact = tf.cast(x, accumulation_dtype(x.dtype))
    slope = normal_cdf(exact) + exact * tf.exp(-exact * exact / 2) / math.sqrt(2 * math.pi)
    return tf.cast(tf.cast(dy, exact.dtype) * slope, x.dtype)


def normal_cdf(x: tf.Tensor) -> tf.Tensor:
    """P(Z <= x) for Z ~ N(0, 1)."""
    return (1 + tf.math.erf(x / math.sqrt(2))) / 2


def accumulation_dtype(dtype: tf.DType) -> tf.DType:
    """The dtype in which numbers of this dtype are computed."""
    return tf.float32 if dtype == tf.bfloat16 else dtype
