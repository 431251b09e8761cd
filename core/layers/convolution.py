"""Convolution: the same small kernel looked at every position of the image."""

import math

import tensorflow as tf

from core import random_streams
from core.layers.kernel_gradient import convolve
from core.layers.layer import Layer, check_window, check_window_fits, window_positions

HE = math.sqrt(2)  # He et al. 2015, eq. 10: half of a ReLU's inputs are cut, so the deviation grows by sqrt 2


def with_identity(kernel: tf.Tensor) -> tf.Tensor:
    """The kernel [kh,kw,Cin,Cout] with its first min(Cin,Cout) filters replaced by the identity: centre tap 1, else 0.

    A deep network then begins by passing its input on, and gradients by passing through (Jordan
    2024, section 3.3, "dirac").
    """
    rows, columns, in_channels, out_channels = kernel.shape
    count = min(in_channels, out_channels)
    centre = tf.one_hot(rows // 2 * columns + columns // 2, rows * columns, dtype=kernel.dtype)
    passing = tf.reshape(centre, [rows, columns, 1, 1]) * tf.eye(in_channels, count, dtype=kernel.dtype)
    return tf.concat([passing, kernel[..., count:]], axis=-1)


class Convolution(Layer):
    """y[n,i,j,o] = b[o] + sum over u,v,c of  x[n, s*i+u-p, s*j+v-p, c] * k[u,v,c,o].

    [N,H,W,Cin] -> [N,H',W',Cout]; kernel k [kh,kw,Cin,Cout], bias b [Cout]; p zeros are put
    around the image for padding SAME, none for VALID. What the field calls convolution is
    mathematics' cross-correlation: the kernel is not turned round.

    The kernel starts as N(0, gain^2 / (kh kw Cin)), the bias as zeros; with identity=True the first Cin
    output channels start as copies of the input instead.

    skip_edge=True, with padding SAME and stride 1: the last row and column of the output are not computed, because
    a 2x2 pooling behind a picture of odd size would drop them. [N,H,W,Cin] -> [N,H-1,W-1,Cout].
    """

    def __init__(
        self, name: str, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1,
        padding: str = "SAME", use_bias: bool = True, gain: float = HE, identity: bool = False,
        skip_edge: bool = False, seed: int = 0, dtype=tf.float32,
    ):  # fmt: skip
        super().__init__(name)
        check_window(name, kernel_size, stride, padding)
        if skip_edge and ((padding, stride) != ("SAME", 1) or kernel_size not in (3, 5, 7)):
            raise ValueError(
                f"layer '{name}': skip_edge goes with padding 'SAME', stride 1 and a kernel size of 3, 5 or 7, found "
                f"{padding!r}, {stride} and {kernel_size}"
            )
        self.skip_edge = skip_edge
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        shape = [kernel_size, kernel_size, in_channels, out_channels]
        deviation = gain / math.sqrt(kernel_size * kernel_size * in_channels)
        key = random_streams.stream(seed, f"{name}/kernel")
        kernel = random_streams.normal(key, shape, deviation, dtype)
        self.kernel = tf.Variable(with_identity(kernel) if identity else kernel, name="kernel")
        self.bias = tf.Variable(tf.zeros([out_channels], dtype), name="bias") if use_bias else None

    def __call__(self, x, training, step=None):  # noqa: D102
        self.check_channels(x, rank=4, channels=self.in_channels, meaning="in_channels")
        check_window_fits(self.name, x, self.kernel_size, self.padding)
        padding = self.padding
        if self.skip_edge:
            zeros = [self.kernel_size // 2, self.kernel_size // 2 - 1]  # one less below and to the right
            x, padding = tf.pad(x, [[0, 0], zeros, zeros, [0, 0]]), "VALID"
        y = convolve(x, tf.cast(self.kernel, x.dtype), self.stride, padding)  # [N,H',W',Cout]
        if self.bias is not None:
            y = tf.nn.bias_add(y, tf.cast(self.bias, x.dtype))
        return y

    @property
    def parameters(self):  # noqa: D102
        return [self.kernel] if self.bias is None else [self.kernel, self.bias]

    def output_shape(self, input_shape):  # noqa: D102
        rows, columns, _ = input_shape
        return (
            window_positions(rows, self.kernel_size, self.stride, self.padding) - self.skip_edge,
            window_positions(columns, self.kernel_size, self.stride, self.padding) - self.skip_edge,
            self.out_channels,
        )

    def macs(self, input_shape):
        """H' W' Cout kh kw Cin: each output number is a sum over the whole kernel."""
        return math.prod(self.output_shape(input_shape)) * self.kernel_size**2 * self.in_channels

    def flops(self, input_shape):  # noqa: D102
        return 2 * self.macs(input_shape) + (math.prod(self.output_shape(input_shape)) if self.bias is not None else 0)
