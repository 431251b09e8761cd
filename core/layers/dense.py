"""Dense: every output depends on every input."""

import math

import tensorflow as tf

from core import random_streams
from core.layers.convolution import HE
from core.layers.layer import Layer


class Dense(Layer):
    """y[n,o] = b[o] + sum over i of  x[n,i] * W[i,o];   y = x W + b.

    [N,in] -> [N,out]; kernel W [in,out], bias b [out]. Initialization: W ~ N(0, gain^2 / in), b = 0.
    """

    def __init__(
        self, name: str, in_features: int, out_features: int, use_bias: bool = True, gain: float = HE,
        seed: int = 0, dtype=tf.float32,
    ):  # fmt: skip
        super().__init__(name)
        self.in_features, self.out_features = in_features, out_features
        self.use_bias, self.gain = use_bias, gain
        key = random_streams.stream(seed, f"{name}/kernel")
        std = gain / math.sqrt(in_features)
        self.kernel = tf.Variable(random_streams.normal(key, [in_features, out_features], std, dtype), name="kernel")
        self.bias = tf.Variable(tf.zeros([out_features], dtype), name="bias") if use_bias else None

    def __call__(self, x, training, step=None):  # noqa: D102
        self.check_channels(x, rank=2, channels=self.in_features, meaning="in_features")
        y = tf.matmul(x, tf.cast(self.kernel, x.dtype))  # [N,in] -> [N,out]
        if self.bias is not None:
            y = tf.nn.bias_add(y, tf.cast(self.bias, x.dtype))
        return y

    @property
    def parameters(self):  # noqa: D102
        return [self.kernel] if self.bias is None else [self.kernel, self.bias]

    def output_shape(self, input_shape):  # noqa: D102
        return (self.out_features,)

    def macs(self, input_shape):  # noqa: D102
        return self.in_features * self.out_features

    def flops(self, input_shape):  # noqa: D102
        return 2 * self.macs(input_shape) + (self.out_features if self.bias is not None else 0)
