"""Muon: updates along orthogonalized directions, so that weak directions of a kernel change as much as strong ones."""

import tensorflow as tf

from core.optimizers import SGD


def orthogonalized(matrix: tf.Tensor, iterations: int = 3) -> tf.Tensor:
    """Nearly U V' of the matrix U S V' [m,n]: the same singular vectors, all singular values near 1.

    Newton-Schulz: X <- a X + (b A + c A^2) X with A = X X', begun at X / |X|. The coefficients (Jordan
    2024) bring every singular value above |X|/50 between 0.68 and 1.21 in three iterations; smaller ones stay
    smaller.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else tf.transpose(matrix)
    x = tf.math.divide_no_nan(x, tf.norm(x))
    for _ in range(iterations):
        product = tf.matmul(x, x, transpose_b=True)
        x = a * x + tf.matmul(b * product + c * tf.matmul(product, product), x)
    return x if wide else tf.transpose(x)


def muon_update(weight, direction, learning_rate):
    """D for a convolution kernel w [kh,kw,Cin,Cout]:  D = (sqrt(Cout) / |w| - 1) w - lr O.

    Added to w, it scales the filters to a root-mean-square norm of 1 and subtracts lr O, with O the orthogonalized
    direction, one row a filter.
    """
    filters = weight.shape[-1]
    rows = tf.transpose(tf.reshape(direction, [-1, filters]))  # [Cout, kh kw Cin]
    orthogonal = tf.reshape(tf.transpose(orthogonalized(rows)), weight.shape)
    return (tf.math.divide_no_nan(filters**0.5, tf.norm(weight)) - 1) * weight - learning_rate * orthogonal


class Muon(SGD):
    """Muon for convolution kernels, SGD for everything else. State: one velocity for each parameter.

    Jordan et al. 2024. The learning rate of the convolutions is muon_rate where that of the others is learning_rate;
    both follow one schedule. Convolutions have no weight decay: their norm is fixed, and a decay term orthogonalized
    together with a small gradient would dominate the update (docs/speed.md).
    """

    def __init__(self, parameters, momentum=0.6, weight_decay=0.0, rate_ratio=1.0):
        super().__init__(parameters, momentum, weight_decay)
        self.rate_ratio = rate_ratio  # muon_rate / learning_rate

    def updates(self, gradients, learning_rate, step) -> list[tf.Tensor]:
        """The update d for each parameter; the velocities change."""
        updates = super().updates(gradients, learning_rate, step)
        for i, (w, v) in enumerate(zip(self.parameters, self.velocities)):
            if w.shape.rank == 4:  # v has changed already: this is SGD's own direction
                direction = gradients[i] + self.momentum * v
                updates[i] = muon_update(w, direction, self.rate_ratio * learning_rate)
        return updates

    def decay_of(self, weight):
        """None for a convolution."""
        return 0.0 if weight.shape.rank == 4 else super().decay_of(weight)
