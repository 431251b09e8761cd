"""Augmentation: the same thing seen slightly differently. Pure functions of pictures and a key.

Every function takes and gives uint8 pictures [N,H,W,3] and can be called by hand.
"""

import tensorflow as tf

from core import random_streams


def flip(images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Mirror each picture left to right with probability 1/2.  [N,H,W,3] -> [N,H,W,3]."""
    mirrored = random_streams.uniform(key, [tf.shape(images)[0], 1, 1, 1]) < 0.5  # [N,1,1,1]
    return tf.where(mirrored, images[:, :, ::-1], images)


def alternating_flip(images: tf.Tensor, first: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """Mirror the pictures marked in `first` [N] in epochs 0, 2, 4, ..., all others in between.

    [N,H,W,3] -> [N,H,W,3]. Two epochs show each picture both ways, where a coin would show it the same way
    half of the time (Jordan 2024, section 3.6).
    """
    mirrored = tf.math.logical_xor(first, epoch % 2 == 1)[:, None, None, None]
    return tf.where(mirrored, images[:, :, ::-1], images)


def crop(images: tf.Tensor, key: tf.Tensor, pixels: int) -> tf.Tensor:
    """Shift each picture by up to `pixels` in each direction, the edge reflected.  [N,H,W,3] -> [N,H,W,3].

    The same as padding by reflection and cutting out a window of the old size. Rows and columns
    are gathered one after the other: two gathers of whole rows read memory in order, one gather
    of single pixels does not.
    """
    count, size = tf.shape(images)[0], images.shape[1]
    padded = tf.pad(images, [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]], "REFLECT")  # [N,H+2p,W+2p,3]
    corner = random_streams.integers(key, [count, 2], 2 * pixels + 1)  # [N,2] row and column of the window
    window = tf.range(size)
    rows = tf.gather(padded, corner[:, :1] + window, axis=1, batch_dims=1)  # [N,H,W+2p,3]
    return tf.gather(rows, corner[:, 1:] + window, axis=2, batch_dims=1)  # [N,H,W,3]
