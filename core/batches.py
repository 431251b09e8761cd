"""A batch is a function of (seed, step): the pictures live on the device, nothing has to be remembered.

Also here: the same pictures in evaluation order, and turning bytes into numbers.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from core import augment, random_streams
from core.data import DEVIATION, MEAN, DataError, DataSet

PROBE_IMAGES = 5_000  # of the training set: seen in evaluation mode beside the test set
EVALUATION_BATCH = 500


def standardize(images: tf.Tensor) -> tf.Tensor:
    """x = (pixel/255 - mean) / deviation, by colour.  uint8 [N,H,W,3] -> float32 [N,H,W,3].

    As pixel * gain + offset, with the three numbers of each written out for every pixel: one multiplication and
    one addition over whole pictures take a quarter of the time that rows of three colours take.
    """
    gain = np.resize(1 / (255 * DEVIATION), images.shape[1:])  # [H,W,3]
    offset = np.resize(-MEAN / DEVIATION, images.shape[1:])
    return tf.cast(images, tf.float32) * gain + offset


class Batches:
    """The training set as one uint8 tensor on the device, and the rule that cuts it into batches."""

    def __init__(self, data: DataSet, settings):
        """Raises DataError when a batch would be larger than the training set."""
        count = len(data.train_images)
        if settings.batch_size > count:
            raise DataError(
                f"--batch-size {settings.batch_size}: larger than the {count:,} training images of {data.name}"
            )
        self.images = tf.constant(data.train_images)  # [M,32,32,3] uint8
        self.labels = tf.constant(data.train_labels)  # [M] int32
        self.count, self.batch_size = count, settings.batch_size
        self.steps_per_epoch = count // settings.batch_size
        self.flip, self.alternate, self.crop = settings.flip, settings.alternating_flip, settings.crop
        self.shuffle_key = random_streams.stream(settings.seed, "shuffle")
        self.flip_key = random_streams.stream(settings.seed, "flip")
        self.first_mirrored = random_streams.uniform(self.flip_key, [count]) < 0.5  # [M] with alternating flips
        self.crop_key = random_streams.stream(settings.seed, "crop")

    def indices(self, step: tf.Tensor) -> tf.Tensor:
        """Which training images step 1, 2, ... looks at: [B] int32.

        Each epoch is a permutation of its own, computed place by place (a small cipher) and never
        stored. If B does not divide M, the last M mod B images of that epoch's order sit it out.
        """
        epoch = (step - 1) // self.steps_per_epoch  # [] 0, 1, ...
        place = (step - 1) % self.steps_per_epoch * self.batch_size + tf.range(self.batch_size)  # [B]
        key = random_streams.at_step(self.shuffle_key, epoch)
        return tf.random.experimental.index_shuffle(place, key, max_index=self.count - 1)

    def batch(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Pictures uint8 [B,32,32,3], augmented if the settings say so, and labels int32 [B] of this step."""
        chosen = self.indices(step)
        images, labels = tf.gather(self.images, chosen), tf.gather(self.labels, chosen)
        if self.alternate:
            epoch = (step - 1) // self.steps_per_epoch
            images = augment.alternating_flip(images, tf.gather(self.first_mirrored, chosen), epoch)
        elif self.flip:
            images = augment.flip(images, random_streams.at_step(self.flip_key, step))
        if self.crop:
            images = augment.crop(images, random_streams.at_step(self.crop_key, step), self.crop)
        return images, labels


def in_order(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """All pictures, first to last, in pieces; the last piece may be short, nothing is dropped."""
    for start in range(0, len(images), EVALUATION_BATCH):
        stop = start + EVALUATION_BATCH
        yield tf.constant(images[start:stop]), tf.constant(labels[start:stop])
