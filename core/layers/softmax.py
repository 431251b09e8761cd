"""Softmax: ten scores become ten probabilities."""

import tensorflow as tf

from core.layers.layer import Layer


class Softmax(Layer):
    """p[n,k] = exp(z[n,k] - m[n]) / sum over j of exp(z[n,j] - m[n]),  m[n] = max over k of z[n,k].

    Logits z [N,K] -> probabilities p [N,K], each row positive with sum 1. Subtracting the
    largest logit changes nothing in exact arithmetic and keeps exp from overflowing.

    The loss is computed from the logits (core/losses.py), so training never takes the logarithm
    of a probability that has rounded to 0.
    """

    def __call__(self, x, training, step=None):  # noqa: D102
        return tf.nn.softmax(x, axis=-1)

    def flops(self, input_shape):
        """Subtract, exp, sum, divide: four operations a class."""
        return 4 * input_shape[-1]
