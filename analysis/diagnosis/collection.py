"""The fault collection: short runs whose fault is known, and clean ones, on which the rules were written.

student_faults.py has more of them.
"""

import dataclasses

import numpy as np

from analysis.diagnosis.cases import (
    CLASSIC,
    MODERN,
    SHAPES,
    SMALL,
    SMALL_CIFAR,
    Case,
    entering,
    replaced,
    with_data,
    with_kernels_of,
    with_recipe,
)  # fmt: skip
from analysis.diagnosis.student_faults import STUDENT_FAULTS

# Five clean runs: different recipes, seeds, data.
COLLECTION = {
    "clean-classic": Case(f"{CLASSIC} --seed 1"),
    "clean-modern": Case(f"{MODERN} --seed 2"),
    "clean-adam": Case(f"{CLASSIC} --optimizer adamw --seed 3"),
    "clean-shapes10": Case(f"{SHAPES} --seed 4"),
    "clean-debug": Case(f"{SMALL} --seed 5"),
}
fault = entering(COLLECTION)


@fault(CLASSIC, "rate-high")
def rate_too_high():
    """The learning rate is five times too high: taken from a recipe with batch normalization or larger batches."""
    return with_recipe("classic", learning_rate=0.2)


@fault(CLASSIC, "rate-low")
def rate_too_low():
    """The learning rate is a thousand times too low: one that suits Adam with a slip in the exponent."""
    return with_recipe("classic", learning_rate=4e-5)


@fault(SMALL_CIFAR, "zero-init")
def zero_init():
    """Every kernel starts at zero: as in logistic regression, or because the weights were never drawn."""
    return with_kernels_of(std=0)


@fault(CLASSIC, "init-too-large")
def init_too_large():
    """Every kernel starts with std 0.3, whatever its size: the division by the number of inputs was forgotten."""
    return with_kernels_of(std=0.3)


@fault(SMALL_CIFAR, "no-signal", "memorizing-noise")
def labels_shuffled():
    """The labels belong to other images: images were shuffled or sorted after their labels had been read."""

    def shuffled(data):
        return dataclasses.replace(data, train_labels=np.random.default_rng(0).permutation(data.train_labels))

    return with_data(shuffled)


@fault(SMALL_CIFAR, "repeated-order")
def no_shuffling():
    """Every epoch has the images in the order of the first: shuffled once and kept, as by shuffle().cache()."""
    return replaced(
        "core.data.batches.Batches.indices",
        lambda indices, self, step: indices(self, (step - 1) % self.steps_per_epoch + 1),
    )


@fault(CLASSIC, "dying-relu")
def dead_relus():
    """Most channels of the second ReLU are 0 for every image: a bias far below zero, as one huge step leaves it."""

    def with_dead_channels(build_network, settings, **named):
        network = build_network(settings, **named)
        bias = next(layer.bias for layer in network.layers if layer.name == "conv2")
        bias.assign([-20.0] * 60 + [0.0] * 4)
        return network

    return replaced("core.build.build_network", with_dead_channels)


@fault(SHAPES, "double-softmax")
def softmax_twice():
    """The network ends in a softmax, and the loss applies another: the loss expects logits and gets probabilities."""
    return replaced(
        "core.model.CNN.__call__",
        lambda logits, self, *arguments, **named: self.softmax(logits(self, *arguments, **named), training=False),
    )


@fault(SMALL_CIFAR, "frozen-step-counter")
def frozen_step_counter():
    """The schedule's step stays 1: a Python number, which became a constant when the step was compiled."""
    return replaced(
        "core.schedules.warmup_then_decay", lambda schedule, step, *arguments, **named: schedule(1, *arguments, **named)
    )


@fault(f"{SMALL_CIFAR} --optimizer adam --learning-rate 0.005", "frozen-step-counter")
def frozen_adam_step_counter():
    """Adam's step stays 1, so its bias correction never ends: the step was no tensor."""
    return replaced(
        "core.optimizers.Adam.updates", lambda updates, self, gradients, rate, step: updates(self, gradients, rate, 1)
    )


@fault(SMALL_CIFAR, "leak")
def test_leaked():
    """The test images are in the training set: all were put together, cleaned or augmented, and then split."""

    def leaked(data):
        return dataclasses.replace(
            data,
            train_images=np.concatenate([data.train_images, data.test_images]),
            train_labels=np.concatenate([data.train_labels, data.test_labels]),
        )

    return with_data(leaked)


@fault(SMALL_CIFAR, "evaluation-mode")
def batch_norm_in_training_mode():
    """Batch normalization uses the statistics of the batch in the evaluation too: training=False did not reach it."""
    return replaced(
        "core.layers.BatchNormalization.__call__", lambda call, self, x, training, step=None: call(self, x, True)
    )


@fault(SMALL_CIFAR, "missing-class")
def class_missing():
    """No cat is among the training images: a folder that was not copied, a filter, a file that ended too early."""

    def without_cats(data):
        kept = data.train_labels != 3
        return dataclasses.replace(data, train_images=data.train_images[kept], train_labels=data.train_labels[kept])

    return with_data(without_cats)


COLLECTION |= STUDENT_FAULTS
