"""Test-time augmentation: an image is classified by the mean over several views of it."""

import tensorflow as tf

from core.data.batches import standardize


def mean_logits(images: tf.Tensor, network) -> tf.Tensor:
    """The weighted mean of the logits of six views.  uint8 [N,32,32,3] -> [N,K].

    The image and its mirror image count 1/4 each; shifted by one pixel up and left, down and
    right, and their mirror images 1/8 each (Jordan 2024, section 3.5).
    """
    size = images.shape[1]
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
    views = [(images, 0.25), (padded[:, :size, :size], 0.125), (padded[:, 2:, 2:], 0.125)]
    return sum(
        weight * network(standardize(flipped), training=False)
        for view, weight in views
        for flipped in (view, view[:, :, ::-1])
    )
