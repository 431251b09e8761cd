"""Flatten: feature maps become one vector an image."""

import math

import tensorflow as tf

from core.layers.layer import Layer


class Flatten(Layer):
    """y[n, (i*W + j)*C + c] = x[n,i,j,c].   [N,H,W,C] -> [N, H*W*C].  Nothing is computed."""

    def __call__(self, x, training, step=None):  # noqa: D102
        return tf.reshape(x, [-1, math.prod(x.shape[1:])])

    def output_shape(self, input_shape):  # noqa: D102
        return (math.prod(input_shape),)
