"""A third collection: other networks than `debug`, recorded after the rules had been changed and frozen again.

commit eabe31d holds the rules as they were; no rule was changed by these runs before their score was published in
docs/diagnostics.md.
"""

import contextlib
import dataclasses

import numpy as np
import tensorflow as tf

from analysis.diagnosis.cases import COMMON, SHAPES, SMALL, Case, entering, replaced, with_data

SHORT = "--epochs 4"  # 200 steps
PLAIN = f"--recipe classic --network plain --width 8 {COMMON} {SHORT}"
PLAIN_CIFAR, PLAIN_SHAPES = f"{PLAIN} --data cifar10", f"{PLAIN} --data shapes10"
SMALL_SHAPES = f"{SMALL} --learning-rate 0.015"
SMALL_CIFAR = f"{SMALL_SHAPES} --data cifar10"
NORMALIZED = f"{PLAIN_SHAPES} --batch-norm"

THIRD = {}
fault = entering(THIRD)


@fault(f"{NORMALIZED} --optimizer adam --learning-rate 0.3", "rate-high")
def adam_a_hundred_times_too_high():
    """Adam with a rate of 0.3 on a network with batch normalization."""
    return contextlib.nullcontext()


@fault(f"{PLAIN_SHAPES} --optimizer adamw --learning-rate 2e-5", "rate-low")
def adamw_fifty_times_too_low():
    """AdamW with a rate of 2e-5: the rate for fine-tuning a large model."""
    return contextlib.nullcontext()


@fault(PLAIN_CIFAR, "different-test", "memorizing-noise")
def test_labels_in_another_order():
    """The test labels belong to other test images: sorted by name on one side and not on the other."""

    def shuffled(data):
        return dataclasses.replace(data, test_labels=np.random.default_rng(0).permutation(data.test_labels))

    return with_data(shuffled)


@fault(f"{PLAIN_CIFAR} --batch-norm", "different-test")
def test_images_transposed():
    """Rows and columns of the test images are exchanged: another order of the axes in a second reader."""
    return with_data(lambda data: dataclasses.replace(data, test_images=data.test_images.transpose(0, 2, 1, 3).copy()))


@fault(NORMALIZED, "leak")
def mirrored_test_images_in_training():
    """A fifth of the training images are test images, mirrored and compressed again."""

    def mirrored(data):
        images, labels = data.train_images.copy(), data.train_labels.copy()
        for i, image in enumerate(data.test_images[:640, :, ::-1]):
            images[i] = tf.io.decode_jpeg(tf.io.encode_jpeg(np.ascontiguousarray(image), quality=75)).numpy()
        labels[:640] = data.test_labels[:640]
        return dataclasses.replace(data, train_images=images, train_labels=labels)

    return with_data(mirrored)


@fault(f"{PLAIN_CIFAR} --dropout 0.4", "strong-regularization")
def dropout_keeps_what_it_should_drop():
    """Dropout keeps 5 % of the units: the probability of dropping one was given as that of keeping it."""

    def dropped(call, self, x, training, step=None):
        rate, self.rate = self.rate, 0.95
        try:
            return call(self, x, training, step)
        finally:
            self.rate = rate

    return replaced("core.layers.Dropout.__call__", dropped)


@fault(f"{SHAPES} {SHORT} --flip random", "strong-regularization", "evaluation-mode")
def augmentation_scrambles():
    """The augmentation reshapes images with rows and channels exchanged: what is left of an image is scrambled."""

    def scrambled(flip, images, key):
        return tf.reshape(tf.transpose(images, [0, 3, 1, 2]), tf.shape(images))

    return replaced("core.data.augmentation.random_flip", scrambled)


@fault(f"{PLAIN_SHAPES} --batch-norm --weight-decay 0.2", "shrinking-weights")
def weight_decay_too_strong_with_batch_norm():
    """A weight decay of 0.2 with momentum and batch normalization."""
    return contextlib.nullcontext()


@fault(PLAIN_SHAPES, "uphill")
def first_dense_layer_uphill():
    """The gradient of the first dense layer has the wrong sign."""

    def turned(updates, self, gradients, rate, step):
        moved = updates(self, gradients, rate, step)
        return [-d if w.shape.rank == 2 and w.shape[1] == 128 else d for w, d in zip(self.parameters, moved)]

    return replaced("core.optimizers.SGD.updates", turned)


@fault(PLAIN_CIFAR, "bad-init", "wrong-update")
def loss_divided_by_the_classes():
    """The loss is averaged over classes as well as images: a tenth of what it should be."""
    return replaced("train_loop.softmax_cross_entropy", lambda loss, *given: loss(*given) / 10)


@fault(NORMALIZED, "frozen-step-counter")
def schedule_in_epochs():
    """The schedule gets the epoch where it expects the step."""
    return replaced(
        "core.schedules.warmup_then_decay",
        lambda schedule, step, *arguments, **named: schedule((step - 1) // 50 + 1, *arguments, **named),
    )


@fault(PLAIN_CIFAR, "unmixed-batches", "repeated-order")
def half_of_the_classes_at_a_time():
    """Two files of five classes each are read one after the other, and shuffled once, within a file only."""

    def by_file(indices, self, step):
        order = tf.argsort(self.labels // 5 * 100_000 + indices_of(self), stable=True)
        position = (step - 1) % self.steps_per_epoch * self.batch_size + tf.range(self.batch_size)
        return tf.gather(order, position)

    def indices_of(batches):
        return tf.constant(np.random.default_rng(0).permutation(batches.count).astype(np.int32))

    return replaced("core.data.batches.Batches.indices", by_file)


@fault(f"{SHAPES} {SHORT}", "unnormalized-inputs")
def inputs_scaled_twice():
    """The images are divided by 255 twice: once when they were read, once in the loop."""
    return replaced("train_loop.standardize", lambda standardize, images: standardize(images) / 255)


@fault(PLAIN_SHAPES, "missing-class", "imbalanced-classes")
def two_classes_under_one_label():
    """Images of class 9 have the label 1: of the text of a label only the first character was read."""
    return with_data(
        lambda data: dataclasses.replace(data, train_labels=np.where(data.train_labels == 9, 1, data.train_labels))
    )


THIRD |= {
    "clean-31": Case(f"{PLAIN_CIFAR} --seed 41"),
    "clean-32": Case(f"{PLAIN_SHAPES} --seed 42"),
    "clean-33": Case(f"{NORMALIZED} --seed 43"),
    "clean-34": Case(f"{PLAIN_CIFAR} --batch-norm --flip random --crop 2 --seed 44"),
    "clean-35": Case(f"{PLAIN_SHAPES} --optimizer adamw --seed 45"),
    "clean-36": Case(f"{PLAIN_CIFAR} --activation leaky_relu --head average --batch-norm --seed 46"),
    "clean-37": Case(f"{PLAIN_SHAPES} --pooling average --label-smoothing 0.1 --seed 47"),
    "clean-38": Case(f"{PLAIN_CIFAR} --optimizer adam --dropout 0.2 --seed 48"),
    "clean-39": Case(f"{PLAIN_SHAPES} --kernel-size 5 --learning-rate 0.02 --seed 49"),
    "clean-40": Case(f"{PLAIN_SHAPES} --activation gelu --batch-norm --weight-decay 0.005 --seed 50"),
    # Twenty more, recorded under the rules of commit c32a0c8. The rate of `debug` suits so short a warm-up.
    "clean-41": Case(f"{SMALL_SHAPES} --epochs 3 --seed 51"),
    "clean-42": Case(f"{SMALL_CIFAR} --epochs 3 --seed 52"),
    "clean-43": Case(f"{SMALL_SHAPES} --epochs 2 --batch-size 32 --seed 53"),
    "clean-44": Case(f"{SMALL_CIFAR} --epochs 4 --flip random --crop 2 --seed 54"),
    "clean-45": Case(f"{SMALL_SHAPES} --epochs 5 --label-smoothing 0.2 --seed 55"),
    "clean-46": Case(f"{SMALL_CIFAR} --epochs 6 --batch-size 128 --seed 56"),
    "clean-47": Case(f"{SMALL_SHAPES} --epochs 4 --optimizer adam --learning-rate 0.002 --seed 57"),
    "clean-48": Case(f"{SMALL_CIFAR} --epochs 4 --optimizer adamw --learning-rate 0.002 --seed 58"),
    "clean-49": Case(f"{SMALL_SHAPES} --epochs 4 --holdout --seed 59"),
    "clean-50": Case(f"{SMALL_CIFAR} --epochs 3 --weight-decay 0.002 --momentum 0.95 --learning-rate 0.008 --seed 60"),
    "clean-51": Case(f"{PLAIN_SHAPES} --epochs 3 --seed 61"),
    "clean-52": Case(f"{PLAIN_CIFAR} --epochs 3 --batch-norm --dropout 0.2 --seed 62"),
    "clean-53": Case(f"{PLAIN_SHAPES} --epochs 3 --pooling stride --batch-norm --seed 63"),
    "clean-54": Case(f"{PLAIN_CIFAR} --epochs 3 --optimizer adam --batch-norm --seed 64"),
    "clean-55": Case(f"{PLAIN_SHAPES} --epochs 3 --depth 2 --batch-norm --seed 65"),
    "clean-56": Case(f"{PLAIN_CIFAR} --epochs 3 --flip alternating --crop 4 --batch-norm --seed 66"),
    "clean-57": Case(f"{PLAIN_SHAPES} --epochs 3 --width 4 --dense-units 64 --seed 67"),
    "clean-58": Case(f"{PLAIN_CIFAR} --epochs 3 --activation gelu --label-smoothing 0.1 --seed 68"),
    "clean-59": Case(f"{PLAIN_SHAPES} --epochs 3 --momentum 0.8 --weight-decay 0 --seed 69"),
    "clean-60": Case(f"{PLAIN_CIFAR} --epochs 3 --batch-size 32 --learning-rate 0.02 --seed 70"),
}
