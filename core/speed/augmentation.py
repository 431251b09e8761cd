"""Flips and crops by gathering pixels: the same bytes as core/data/augmentation.py, in a fifth of the time.

Choosing between two finished images (tf.where) and padding by reflection (tf.pad) are slow for bytes on a processor.
Here each column and row of the result names the one it comes from (docs/speed.md).
"""

import tensorflow as tf

from core import random_streams


def random_flip(images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """core.data.augmentation.random_flip.  uint8 [N,H,W,3] -> [N,H,W,3]."""
    return mirror(images, random_streams.uniform(key, [tf.shape(images)[0]]) < 0.5)


def alternating_flip(images: tf.Tensor, first: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """core.data.augmentation.alternating_flip.  uint8 [N,H,W,3] -> [N,H,W,3]."""
    return mirror(images, tf.math.logical_xor(first, epoch % 2 == 1))


def mirror(images: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """The images marked in `mirrored` [N] left to right, the others unchanged."""
    column = tf.range(images.shape[2])
    return tf.gather(images, tf.where(mirrored[:, None], column[::-1], column), axis=2, batch_dims=1)


def random_crop(images: tf.Tensor, key: tf.Tensor, pixels: int) -> tf.Tensor:
    """core.data.augmentation.random_crop, without writing the padded images.  uint8 [N,H,W,3] -> [N,H,W,3]."""
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    shift = random_streams.integers(key, [count, 2], 2 * pixels + 1) - pixels  # [N,2] down and right
    rows = reflected(shift[:, :1] + tf.range(height), height)  # [N,H]
    columns = reflected(shift[:, 1:] + tf.range(width), width)  # [N,W]
    return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def reflected(positions: tf.Tensor, size: int) -> tf.Tensor:
    """Positions -1, -2, ... and size, size + 1, ... folded back inside, the edge not repeated: -1 becomes 1."""
    return size - 1 - tf.abs(size - 1 - tf.abs(positions))
