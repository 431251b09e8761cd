"""Augmentation: the same thing seen slightly differently. Pure functions of pictures and a key.

Every function takes and gives uint8 pictures [N,H,W,3] and can be called by hand.
"""

import tensorflow as tf

from core import random_streams


def flip(images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Mirror each picture left to right with probability 1/2.  [N,H,W,3] -> [N,H,W,3]."""
    return mirror(images, random_streams.uniform(key, [tf.shape(images)[0]]) < 0.5)


def alternating_flip(images: tf.Tensor, first: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """Mirror the pictures marked in `first` [N] in epochs 0, 2, 4, ..., all others in between.

    [N,H,W,3] -> [N,H,W,3]. Two epochs show each picture both ways, where a coin would show it the same way
    half of the time (Jordan 2024, section 3.6).
    """
    return mirror(images, tf.math.logical_xor(first, epoch % 2 == 1))


def mirror(images: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """The pictures that are marked in `mirrored` [N] left to right, the others as they are.

    By saying for each column of the result where it comes from: a gather copies whole pixels, where
    choosing between two finished pictures (tf.where) took five times as long.
    """
    column = tf.range(images.shape[2])
    return tf.gather(images, tf.where(mirrored[:, None], column[::-1], column), axis=2, batch_dims=1)


def crop(images: tf.Tensor, key: tf.Tensor, pixels: int) -> tf.Tensor:
    """Shift each picture by up to `pixels` in each direction, the edge reflected.  [N,H,W,3] -> [N,H,W,3].

    The same as padding by reflection and cutting out a window of the old size, without ever
    writing the padding down. First rows, then columns: one gather of single pixels reads memory
    out of order.
    """
    count, size = tf.shape(images)[0], images.shape[1]
    shift = random_streams.integers(key, [count, 2], 2 * pixels + 1) - pixels  # [N,2] down and right
    rows, columns = (reflected(shift[:, axis : axis + 1] + tf.range(size), size) for axis in (0, 1))  # [N,H], [N,W]
    return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def reflected(places: tf.Tensor, size: int) -> tf.Tensor:
    """Places -1, -2, ... and size, size+1, ... folded back inside, the edge itself not repeated: -1 is 1."""
    return size - 1 - tf.abs(size - 1 - tf.abs(places))
