"""Augmentation: label-preserving changes of the training images. Pure functions of images and a key.

Every function takes and returns uint8 images [N,H,W,3] and can be called by hand.
"""

import tensorflow as tf

from core import random_streams


def random_flip(images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Mirror each image left to right with probability 1/2.  [N,H,W,3] -> [N,H,W,3]."""
    return mirror(images, random_streams.uniform(key, [tf.shape(images)[0]]) < 0.5)


def alternating_flip(images: tf.Tensor, first: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """Mirror the images marked in `first` [N] in epochs 0, 2, 4, ..., all others in between.

    [N,H,W,3] -> [N,H,W,3]. Two epochs show each image both ways; random flips show it the same way twice in half of
    the cases (Jordan 2024, section 3.6).
    """
    return mirror(images, tf.math.logical_xor(first, epoch % 2 == 1))


def mirror(images: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """The images marked in `mirrored` [N] left to right, the others unchanged."""
    return tf.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def random_crop(images: tf.Tensor, key: tf.Tensor, pixels: int) -> tf.Tensor:
    """Pad by reflection, cut out a window of the old size at a random position.  [N,H,W,3] -> [N,H,W,3].

    That shifts each image by up to `pixels` in each direction.
    """
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    padded = tf.pad(images, [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]], "REFLECT")
    corner = random_streams.integers(key, [count, 2], 2 * pixels + 1)  # [N,2] top and left
    rows, columns = corner[:, :1] + tf.range(height), corner[:, 1:] + tf.range(width)  # [N,H], [N,W]
    return tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
