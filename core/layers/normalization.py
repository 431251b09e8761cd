"""Batch normalization: each channel to mean 0 and standard deviation 1 over the batch, then learned gamma, beta."""

import tensorflow as tf

from core.layers.layer import Layer

EPSILON = 1e-3  # Keras's choice too


def batch_moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean m[c] and variance v[c] of each channel over a batch.  [N,H,W,C] -> [C], [C].

    v = mean of (x - m)^2. The shortcut mean(x^2) - m^2 loses every digit when m is large.
    """
    mean = tf.reduce_mean(x, axis=[0, 1, 2])
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axis=[0, 1, 2])
    return mean, variance


def normalize(x: tf.Tensor, mean, variance, gamma, beta, epsilon: float = EPSILON) -> tf.Tensor:
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta.  Ioffe & Szegedy 2015, algorithm 1."""
    return gamma * (x - mean) * tf.math.rsqrt(variance + epsilon) + beta


class BatchNormalization(Layer):
    """y = gamma (x - m) / sqrt(v + epsilon) + beta, by channel.   [N,H,W,C] -> [N,H,W,C].

    In training m and v are those of the batch, and the moving averages follow them:
    moving <- momentum moving + (1 - momentum) batch, where the batch variance is the unbiased one
    (v n/(n-1), n = N H W). In evaluation m and v are the moving averages.

    gamma [C] starts at 1 and beta [C] at 0 (learned); moving mean at 0, moving variance at 1 (not learned).
    use_scale=False leaves gamma at 1: before a ReLU the next convolution can scale as well.
    """

    def __init__(
        self, name: str, channels: int, momentum: float = 0.9, epsilon: float = EPSILON, use_scale: bool = True,
        dtype=tf.float32,
    ):  # fmt: skip
        super().__init__(name)
        self.channels, self.momentum, self.epsilon = channels, momentum, epsilon
        self.use_scale = use_scale
        ones = tf.ones([channels], dtype)
        self.gamma = tf.Variable(ones, name="gamma") if use_scale else ones
        self.beta = tf.Variable(tf.zeros([channels], dtype), name="beta")
        self.moving_mean = tf.Variable(tf.zeros([channels], dtype), trainable=False, name="moving_mean")
        self.moving_variance = tf.Variable(tf.ones([channels], dtype), trainable=False, name="moving_variance")

    def __call__(self, x, training, step=None):  # noqa: D102
        self.check_channels(x, rank=4, channels=self.channels, meaning="channels")
        wide = tf.cast(x, self.beta.dtype)  # a mean in bfloat16 would have three digits
        if training:
            mean, variance = batch_moments(wide)
            count = tf.cast(tf.size(x) / self.channels, variance.dtype)  # n = N H W
            self.update_moving_averages(mean, variance * count / tf.maximum(count - 1, 1))
        else:
            mean, variance = self.moving_mean, self.moving_variance
        return tf.cast(normalize(wide, mean, variance, self.gamma, self.beta, self.epsilon), x.dtype)

    def update_moving_averages(self, mean, variance):
        """Moving <- momentum moving + (1 - momentum) batch, for the mean and the unbiased variance of a batch."""
        self.moving_mean.assign(self.momentum * self.moving_mean + (1 - self.momentum) * mean)
        self.moving_variance.assign(self.momentum * self.moving_variance + (1 - self.momentum) * variance)

    @property
    def parameters(self):  # noqa: D102
        return [self.gamma, self.beta] if self.use_scale else [self.beta]

    @property
    def statistics(self):  # noqa: D102
        return [self.moving_mean, self.moving_variance]

    def flops(self, input_shape):
        """Subtract, multiply, add: with the statistics known, three operations a number."""
        return 3 * input_shape[0] * input_shape[1] * input_shape[2]
