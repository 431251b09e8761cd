"""Convolution: one small kernel, applied at every position of the image."""

import math

import tensorflow as tf

from core import random_streams
from core.layers.layer import Layer, check_window, check_window_fits, window_positions

HE = math.sqrt(2)  # He et al. 2015, eq. 10: a ReLU sets half of its inputs to 0, so std grows by sqrt 2


class Convolution(Layer):
    """y[n,i,j,o] = b[o] + sum over u,v,c of  x[n, s*i+u-p, s*j+v-p, c] * k[u,v,c,o].

    [N,H,W,Cin] -> [N,H',W',Cout]; kernel k [kh,kw,Cin,Cout], bias b [Cout], stride s; p zeros are put around
    the image for padding SAME, none for VALID. k[...,o] is a filter and y[...,o] its feature map. Deep learning
    calls this convolution; in mathematics it is the cross-correlation, because the kernel is not flipped.

    Initialization: k ~ N(0, gain^2 / (kh kw Cin)), b = 0.
    """

    def __init__(
        self, name: str, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1,
        padding: str = "SAME", use_bias: bool = True, gain: float = HE, seed: int = 0, dtype=tf.float32,
    ):  # fmt: skip
        super().__init__(name)
        check_window(name, kernel_size, stride, padding)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.use_bias, self.gain = use_bias, gain
        shape = [kernel_size, kernel_size, in_channels, out_channels]
        std = gain / math.sqrt(kernel_size * kernel_size * in_channels)
        key = random_streams.stream(seed, f"{name}/kernel")
        self.kernel = tf.Variable(random_streams.normal(key, shape, std, dtype), name="kernel")
        self.bias = tf.Variable(tf.zeros([out_channels], dtype), name="bias") if use_bias else None

    def __call__(self, x, training, step=None):  # noqa: D102
        self.check_channels(x, rank=4, channels=self.in_channels, meaning="in_channels")
        check_window_fits(self.name, x, self.kernel_size, self.padding)
        y = tf.nn.conv2d(x, tf.cast(self.kernel, x.dtype), self.stride, self.padding)  # [N,H',W',Cout]
        if self.bias is not None:
            y = tf.nn.bias_add(y, tf.cast(self.bias, x.dtype))
        return y

    @property
    def parameters(self):  # noqa: D102
        return [self.kernel] if self.bias is None else [self.kernel, self.bias]

    def output_shape(self, input_shape):  # noqa: D102
        rows, columns, _ = input_shape
        return (
            window_positions(rows, self.kernel_size, self.stride, self.padding),
            window_positions(columns, self.kernel_size, self.stride, self.padding),
            self.out_channels,
        )

    def macs(self, input_shape):
        """H' W' Cout kh kw Cin: each output number is a sum over the whole kernel."""
        return math.prod(self.output_shape(input_shape)) * self.kernel_size**2 * self.in_channels

    def flops(self, input_shape):  # noqa: D102
        return 2 * self.macs(input_shape) + (math.prod(self.output_shape(input_shape)) if self.bias is not None else 0)
