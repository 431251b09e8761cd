"""Convolution with less work around it: the same function as the textbook layer.

Kernel gradient. TensorFlow's own is slow for small images in bfloat16 on a processor. Computed as a convolution it
takes 0.4 to 0.7 of its time there, and more than its time elsewhere (docs/speed.md), so it is used only there.

Skipped edge. A 2x2 pooling behind an image of odd size drops the last row and column: they need not be computed.
"""

import math

import tensorflow as tf

from core.layers import Convolution
from core.layers.layer import check_window_fits

SMALL = 8  # rows and columns of the output, at most, for which the kernel gradient below is the faster one
WIDE = 16  # rows and columns of the output, at most, for which skipping the edge pays


class FastConvolution(Convolution):
    """core.layers.Convolution with stride 1.

    skip_edge: without the last row and column of the output, [N,H,W,Cin] -> [N,H-1,W-1,Cout]; padding SAME.
    fast_gradient: the kernel gradient of this file instead of TensorFlow's.
    """

    skip_edge = False
    fast_gradient = False

    def __call__(self, x, training, step=None):  # noqa: D102
        self.check_channels(x, rank=4, channels=self.in_channels, meaning="in_channels")
        check_window_fits(self.name, x, self.kernel_size, self.padding)
        kernel, padding = tf.cast(self.kernel, x.dtype), self.padding
        if self.skip_edge:
            zeros = [self.kernel_size // 2, self.kernel_size // 2 - 1]  # one less below and to the right
            x, padding = tf.pad(x, [[0, 0], zeros, zeros, [0, 0]]), "VALID"
        convolve = convolve_with_fast_gradient if self.fast_gradient else convolve_plainly
        y = convolve(x, kernel, padding)  # [N,H',W',Cout]
        if self.bias is not None:
            y = tf.nn.bias_add(y, tf.cast(self.bias, x.dtype))
        return y

    def output_shape(self, input_shape):  # noqa: D102
        rows, columns, channels = super().output_shape(input_shape)
        return rows - self.skip_edge, columns - self.skip_edge, channels

    def macs(self, input_shape):
        """Those of the textbook layer: what a network costs does not depend on how it is computed."""
        return math.prod(super().output_shape(input_shape)) * self.kernel_size**2 * self.in_channels

    def flops(self, input_shape):
        """Those of the textbook layer."""
        bias = math.prod(super().output_shape(input_shape)) if self.bias is not None else 0
        return 2 * self.macs(input_shape) + bias


def convolve_plainly(x: tf.Tensor, kernel: tf.Tensor, padding: str) -> tf.Tensor:
    """TensorFlow's convolution, stride 1."""
    return tf.nn.conv2d(x, kernel, 1, padding)


def convolve_with_fast_gradient(x: tf.Tensor, kernel: tf.Tensor, padding: str) -> tf.Tensor:
    """tf.nn.conv2d(x, kernel, 1, padding) with `kernel_gradient` in its backward pass."""

    @tf.custom_gradient
    def convolve(x, kernel):
        def backward(dy):
            dx = tf.nn.conv2d_transpose(dy, kernel, tf.shape(x), 1, padding)
            return dx, kernel_gradient(x, dy, kernel.shape[0], padding)

        return tf.nn.conv2d(x, kernel, 1, padding), backward

    return convolve(x, kernel)


def kernel_gradient(x: tf.Tensor, dy: tf.Tensor, kernel_size: int, padding: str) -> tf.Tensor:
    """dL/dk[u,v,c,o] = sum over n,i,j of  x[n, i+u-p, j+v-p, c] * dy[n,i,j,o], for stride 1.

    x [N,H,W,Cin], dy = dL/dy [N,H',W',Cout] -> [kh,kw,Cin,Cout]. This is a convolution in which images and channels
    have changed roles: channel c of x is an image of N channels, and dy is the kernel. An odd N gets an image of zeros
    added: with an odd number of channels in bfloat16, TensorFlow 2.21 on the processor reads one number beyond the
    last and multiplies it by 0, and 0 times whatever lies there may be NaN.
    """
    if x.shape[0] % 2:
        x, dy = (tf.pad(images, [[0, 1], [0, 0], [0, 0], [0, 0]]) for images in (x, dy))
    zeros = kernel_size - 1 if padding == "SAME" else 0
    around = [zeros // 2, zeros - zeros // 2]
    images = tf.pad(tf.transpose(x, [3, 1, 2, 0]), [[0, 0], around, around, [0, 0]])  # [Cin,H+zeros,W+zeros,N]
    gradient = tf.nn.conv2d(images, tf.transpose(dy, [1, 2, 0, 3]), 1, "VALID")  # [Cin,kh,kw,Cout]
    return tf.transpose(gradient, [1, 2, 0, 3])
