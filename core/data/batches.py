"""A batch is a function of (seed, step): the images live on the device, and there is no iterator state.

Also here: the same images in evaluation order, and standardization.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from core import random_streams, replicas
from core.data import augmentation
from core.data.data_set import MEAN, STD, DataError, DataSet

TRAIN_SUBSET = 5_000  # training images that are evaluated beside the test set
EVALUATION_BATCH = 500


def standardize(images: tf.Tensor) -> tf.Tensor:
    """x = (pixel/255 - mean) / std, by colour.  uint8 [N,H,W,3] -> float32 [N,H,W,3]."""
    # As pixel * scale + offset, written out for every pixel: broadcasting three numbers takes four times as long.
    scale = np.resize(1 / (255 * STD), images.shape[1:])  # [H,W,3]
    offset = np.resize(-MEAN / STD, images.shape[1:])
    return tf.cast(images, tf.float32) * scale + offset


class Batches:
    """The training set as one uint8 tensor on the device, and the rule that divides it into batches."""

    def __init__(self, data: DataSet, settings, augmentation=augmentation):
        """augmentation: the functions that flip and crop, or core.speed.augmentation, which does the same.

        Raises DataError when a batch would be larger than the training set.
        """
        count = len(data.train_images)
        if settings.batch_size > count:
            raise DataError(
                f"--batch-size {settings.batch_size}: larger than the {count:,} training images of {data.name}"
            )
        self.images = replicas.copies(data.train_images)  # [M,32,32,3] uint8, one on each device
        self.labels = tf.constant(data.train_labels)  # [M] int32
        self.count, self.batch_size = count, settings.batch_size
        self.steps_per_epoch = count // settings.batch_size
        self.flip, self.crop, self.augmentation = settings.flip, settings.crop, augmentation
        self.shuffle_key = random_streams.stream(settings.seed, "shuffle")
        self.flip_key = random_streams.stream(settings.seed, "flip")
        self.crop_key = random_streams.stream(settings.seed, "crop")
        self.mirrored_first = random_streams.uniform(self.flip_key, [count]) < 0.5  # [M] for alternating flips

    def epoch(self, step):
        """The epoch that a step belongs to, 1 for the first; a number or a tensor."""
        return (step - 1) // self.steps_per_epoch + 1

    def indices(self, step: tf.Tensor) -> tf.Tensor:
        """The training images of step 1, 2, ...: [B] int32.

        Each epoch has its own pseudo-random permutation, evaluated index by index (`index_shuffle`), not stored. If
        B does not divide M, the last M mod B images of the epoch are skipped.
        """
        position = (step - 1) % self.steps_per_epoch * self.batch_size + tf.range(self.batch_size)  # [B]
        key = random_streams.at_step(self.shuffle_key, self.epoch(step) - 1)
        return tf.random.experimental.index_shuffle(position, key, max_index=self.count - 1)

    def batch(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Images uint8 [B,32,32,3], augmented if the settings say so, and labels int32 [B] of this step.

        On several devices: the rows of this replica.
        """
        indices = replicas.my_rows(self.indices(step))
        images, labels = tf.gather(replicas.mine(self.images), indices), tf.gather(self.labels, indices)
        if self.flip == "alternating":
            mirrored_first = tf.gather(self.mirrored_first, indices)
            images = self.augmentation.alternating_flip(images, mirrored_first, self.epoch(step) - 1)
        elif self.flip == "random":
            images = self.augmentation.random_flip(images, random_streams.at_step(self.flip_key, step))
        if self.crop:
            images = self.augmentation.random_crop(images, random_streams.at_step(self.crop_key, step), self.crop)
        return images, labels


def in_order(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """All images, first to last, in evaluation batches; the last one may be short, nothing is dropped."""
    for start in range(0, len(images), EVALUATION_BATCH):
        stop = start + EVALUATION_BATCH
        yield tf.constant(images[start:stop]), tf.constant(labels[start:stop])
