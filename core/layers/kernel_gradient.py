"""The same convolution, with a faster way back: its kernel's gradient is a convolution too.

TensorFlow's kernel gradient is slow for small pictures in bfloat16 on a processor. The one written here takes 0.4 to
0.7 of its time there, and more than its time elsewhere (docs/speed.md), so it is used only there.
"""

import tensorflow as tf

from core.layers.layer import window_positions

SMALL = 8  # rows and columns of the output, at most
ON_PROCESSOR = not tf.config.list_physical_devices("GPU")


def kernel_gradient(x: tf.Tensor, dy: tf.Tensor, kernel_size: int, padding: str, stride: int = 1) -> tf.Tensor:
    """dL/dk[u,v,c,o] = sum over n,i,j of  x[n, s*i+u-p, s*j+v-p, c] * dy[n,i,j,o].

    x [N,H,W,Cin], dy = dL/dy [N,H',W',Cout] -> [kh,kw,Cin,Cout]. Images and channels change places: channel c of x
    is an image of N channels, and dy is the kernel that is laid on it, its numbers s apart ("dilated"). To an odd N an
    empty picture is added: with an odd number of channels in bfloat16 the processor's convolution reads one number
    beyond the last, and 0 times what happens to lie there may be NaN. Padding SAME goes with stride 1 only.
    """
    if x.shape[0] % 2:
        x, dy = (tf.pad(pictures, [[0, 1], [0, 0], [0, 0], [0, 0]]) for pictures in (x, dy))
    zeros = kernel_size - 1 if padding == "SAME" else 0
    around = [zeros // 2, zeros - zeros // 2]
    rows, columns = (stride * (n - 1) + kernel_size for n in dy.shape[1:3])  # what the windows have seen
    images = tf.pad(tf.transpose(x, [3, 1, 2, 0]), [[0, 0], around, around, [0, 0]])[:, :rows, :columns]
    kernel = tf.transpose(dy, [1, 2, 0, 3])  # [H',W',N,Cout]
    gradient = tf.nn.conv2d(images, kernel, 1, "VALID", dilations=stride)  # [Cin,kh,kw,Cout]
    return tf.transpose(gradient, [1, 2, 0, 3])


def convolve_small(x: tf.Tensor, kernel: tf.Tensor, stride: int, padding: str) -> tf.Tensor:
    """tf.nn.conv2d(x, kernel, stride, padding) with this file's way back."""

    @tf.custom_gradient
    def convolve(x, kernel):
        def backward(dy):
            dx = tf.nn.conv2d_transpose(dy, kernel, tf.shape(x), stride, padding)
            return dx, kernel_gradient(x, dy, kernel.shape[0], padding, stride)

        return tf.nn.conv2d(x, kernel, stride, padding), backward

    return convolve(x, kernel)


def is_faster(side: int, dtype: tf.DType, stride: int, padding: str) -> bool:
    """Whether there is this way back for a convolution, and faster, whose output has that many rows and columns."""
    return ON_PROCESSOR and dtype == tf.bfloat16 and side <= SMALL and (stride == 1 or padding == "VALID")


def convolve(x: tf.Tensor, kernel: tf.Tensor, stride: int, padding: str) -> tf.Tensor:
    """tf.nn.conv2d(x, kernel, stride, padding), with whichever way back is the faster one."""
    side = window_positions(max(x.shape[1:3]), kernel.shape[0], stride, padding)
    if is_faster(side, x.dtype, stride, padding):
        return convolve_small(x, kernel, stride, padding)
    return tf.nn.conv2d(x, kernel, stride, padding)
