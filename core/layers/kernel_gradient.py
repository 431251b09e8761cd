"""The same convolution, with a faster way back: its kernel's gradient is a convolution too.

TensorFlow's kernel gradient is slow for small pictures in bfloat16 on a processor. The one written here takes 0.4 to
0.7 of its time there, and more than its time elsewhere (docs/speed.md), so it is used only there.
"""

import tensorflow as tf

SMALL = 8  # rows and columns of the output, at most
ON_PROCESSOR = not tf.config.list_physical_devices("GPU")


def kernel_gradient(x: tf.Tensor, dy: tf.Tensor, kernel_size: int, padding: str) -> tf.Tensor:
    """dL/dk[u,v,c,o] = sum over n,i,j of  x[n, i+u-p, j+v-p, c] * dy[n,i,j,o], for stride 1.

    x [N,H,W,Cin], dy = dL/dy [N,H',W',Cout] -> [kh,kw,Cin,Cout]. Images and channels change places: channel c of x
    is an image of N channels, and dy is the kernel that is laid on it. To an odd N an empty picture is added: with an
    odd number of channels in bfloat16 the processor's convolution reads one number beyond the last, and 0 times what
    happens to lie there may be NaN.
    """
    if x.shape[0] % 2:
        x, dy = (tf.pad(pictures, [[0, 1], [0, 0], [0, 0], [0, 0]]) for pictures in (x, dy))
    zeros = kernel_size - 1 if padding == "SAME" else 0
    around = [zeros // 2, zeros - zeros // 2]
    images = tf.pad(tf.transpose(x, [3, 1, 2, 0]), [[0, 0], around, around, [0, 0]])  # [Cin,H+zeros,W+zeros,N]
    gradient = tf.nn.conv2d(images, tf.transpose(dy, [1, 2, 0, 3]), 1, "VALID")  # [Cin,kh,kw,Cout]
    return tf.transpose(gradient, [1, 2, 0, 3])


def convolve_small(x: tf.Tensor, kernel: tf.Tensor, padding: str) -> tf.Tensor:
    """tf.nn.conv2d(x, kernel, 1, padding) with this file's way back."""

    @tf.custom_gradient
    def convolve(x, kernel):
        def backward(dy):
            dx = tf.nn.conv2d_transpose(dy, kernel, tf.shape(x), 1, padding)
            return dx, kernel_gradient(x, dy, kernel.shape[0], padding)

        return tf.nn.conv2d(x, kernel, 1, padding), backward

    return convolve(x, kernel)


def is_faster(side: int, dtype: tf.DType, stride: int) -> bool:
    """Whether this way back is the faster one for an output of that many rows and columns."""
    return ON_PROCESSOR and dtype == tf.bfloat16 and stride == 1 and side <= SMALL


def convolve(x: tf.Tensor, kernel: tf.Tensor, stride: int, padding: str) -> tf.Tensor:
    """tf.nn.conv2d(x, kernel, stride, padding), with whichever way back is the faster one."""
    shrinks_by = kernel.shape[0] - 1 if padding == "VALID" else 0
    if is_faster(max(x.shape[1:3]) - shrinks_by, x.dtype, stride):
        return convolve_small(x, kernel, padding)
    return tf.nn.conv2d(x, kernel, stride, padding)
