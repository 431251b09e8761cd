"""Batch normalization by TensorFlow's fused kernel: the same function as the textbook layer in one pass over memory."""

import tensorflow as tf

from core.layers import BatchNormalization

SMALLEST_EPSILON = 1.001e-5  # what tf.nn.fused_batch_norm keeps to, because cuDNN requires it


class FusedBatchNormalization(BatchNormalization):
    """core.layers.BatchNormalization; float32 and bfloat16, epsilon at least SMALLEST_EPSILON."""

    def __call__(self, x, training, step=None):  # noqa: D102
        self.check_channels(x, rank=4, channels=self.channels, meaning="channels")
        given = {"x": x, "scale": self.gamma, "offset": self.beta, "epsilon": self.epsilon}
        if not training:
            statistics = {"mean": self.moving_mean, "variance": self.moving_variance}
            return tf.raw_ops.FusedBatchNormV3(**given, **statistics, is_training=False)[0]
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(**given, mean=[], variance=[], is_training=True)
        self.update_moving_averages(mean, variance)  # the kernel's variance is the unbiased one
        return y
