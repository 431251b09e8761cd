"""Whitening: a first convolution whose filters are computed from the images instead of learned."""

import tensorflow as tf

from core.layers.convolution import Convolution

EPSILON = 5e-4  # keeps directions in which images hardly vary from being amplified without bound


def whitening_filters(images: tf.Tensor, size: int = 2) -> tf.Tensor:
    """The filters [size,size,C,2 D] that give the patches of these images unit variance in every direction.

    Standardized images [N,H,W,C] -> all size x size patches as rows of P [n, D], D = size size C;
    P'P / n = V diag(l) V'; filter i is v_i / sqrt(l_i + epsilon), and its negative follows in the
    second half, because the activation that follows removes negative numbers. Jordan 2024, section 3.2, after
    Page 2019; the covariance is not centred.
    """
    patches = tf.image.extract_patches(images, [1, size, size, 1], [1, 1, 1, 1], [1, 1, 1, 1], "VALID")
    rows = tf.reshape(patches, [-1, patches.shape[-1]])  # [n, D], D in the order of a kernel: row, column, channel
    covariance = tf.matmul(rows, rows, transpose_a=True) / tf.cast(tf.shape(rows)[0], rows.dtype)
    variances, directions = tf.linalg.eigh(covariance)  # [D], [D,D], one direction a column
    filters = directions / tf.sqrt(variances + EPSILON)
    kernel = tf.concat([filters, -filters], axis=1)
    return tf.reshape(kernel, [size, size, images.shape[-1], kernel.shape[-1]])


class Whitening(Convolution):
    """y[n,i,j,o] = sum over u,v,c of  x[n,i+u,j+v,c] * k[u,v,c,o],  k computed once by `compute_filters` and fixed.

    [N,H,W,C] -> [N,H-size+1,W-size+1,2 size size C]. Neighbouring pixels and colours are highly
    correlated; after whitening the channels are not, which conditions the problem for the layers that learn.
    Nothing is learned here, so the backward pass ends before this layer.
    """

    def __init__(self, name: str, in_channels: int = 3, kernel_size: int = 2, dtype=tf.float32):
        super().__init__(
            name,
            in_channels,
            2 * kernel_size**2 * in_channels,
            kernel_size,
            padding="VALID",
            use_bias=False,
            dtype=dtype,
        )
        self.kernel = tf.Variable(self.kernel, trainable=False, name="kernel")

    def compute_filters(self, images: tf.Tensor) -> None:
        """Compute the filters from standardized images [N,H,W,C]."""
        kernel = whitening_filters(tf.cast(images, self.kernel.dtype), self.kernel_size)
        self.kernel.assign(kernel)

    @property
    def parameters(self):  # noqa: D102
        return []

    @property
    def statistics(self):  # noqa: D102
        return [self.kernel]
