"""A second collection, recorded after the rules had been frozen: what their score on other faults is.

commit 2bce1e7 holds the rules as they were; no rule was changed by these runs before their score was published in
docs/diagnostics.md.
"""

import contextlib
import dataclasses
from unittest import mock

import numpy as np
import tensorflow as tf

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
    with_network,
)

HELD_OUT = {}
fault = entering(HELD_OUT)


def with_updates(change):
    """A context in which SGD's updates become change(updates, parameters)."""
    return replaced(
        "core.optimizers.SGD.updates",
        lambda updates, self, gradients, rate, step: change(updates(self, gradients, rate, step), self.parameters),
    )


@fault(SMALL_CIFAR, "different-test")
def test_colours_reversed():
    """The test images have blue, green, red: read by another library."""
    return with_data(lambda data: dataclasses.replace(data, test_images=data.test_images[..., ::-1].copy()))


@fault(SMALL, "different-test")
def test_images_upside_down():
    """The test images are upside down."""
    return with_data(lambda data: dataclasses.replace(data, test_images=data.test_images[:, ::-1].copy()))


@fault(SMALL, "suspicious-test", "memorizing-noise")
def labels_with_noise():
    """Four of ten training labels are drawn at random."""

    def noisy(data):
        draw = np.random.default_rng(0)
        wrong = draw.random(len(data.train_labels)) < 0.4
        labels = np.where(wrong, draw.integers(0, 10, len(wrong)), data.train_labels).astype(data.train_labels.dtype)
        return dataclasses.replace(data, train_labels=labels)

    return with_data(noisy)


@fault(SMALL, "bad-init", "wrong-update")
def loss_summed():
    """The loss is summed over the batch, not averaged."""
    return replaced("train_loop.softmax_cross_entropy", lambda loss, *given: 64 * loss(*given))


@fault(SMALL_CIFAR, "wrong-update")
def gradients_added_up():
    """The gradients are never set to zero: each step uses the sum of all so far."""

    def summed(updates, self, gradients, rate, step):
        if not hasattr(self, "sums"):
            with tf.init_scope():
                self.sums = [tf.Variable(tf.zeros_like(w)) for w in self.parameters]
        return updates(self, [s.assign_add(g) for s, g in zip(self.sums, gradients)], rate, step)

    return replaced("core.optimizers.SGD.updates", summed)


@fault(SMALL_CIFAR, "wrong-update", "rate-low")
def rate_applied_twice():
    """The update is multiplied by the rate twice: in the optimizer and in the loop."""
    return replaced(
        "core.optimizers.SGD.updates",
        lambda updates, self, gradients, rate, step: [rate * d for d in updates(self, gradients, rate, step)],
    )


@fault(SMALL_CIFAR, "wrong-update")
def updates_applied_twice():
    """The loop adds each update, and so does the optimizer."""

    def twice(updates, parameters):
        for w, d in zip(parameters, updates):
            w.assign_add(d)
        return updates

    return with_updates(twice)


@fault(SMALL_CIFAR, "frozen-layer")
def no_update():
    """Gradients are computed and never applied."""
    return with_updates(lambda updates, parameters: [tf.zeros_like(d) for d in updates])


@fault(f"{SMALL_CIFAR} --label-smoothing 0.95", "strong-regularization")
def smoothing_too_strong():
    """Label smoothing 0.95: the probability of the true class given where the rest was meant."""
    return contextlib.nullcontext()


@fault(f"{SMALL_CIFAR} --flip random", "strong-regularization", "evaluation-mode")
def noise_too_strong():
    """The training images are augmented with noise that hides them."""

    def noisy(flip, images, key):
        noise = tf.random.stateless_normal(tf.shape(images), key, stddev=150)
        return tf.cast(tf.clip_by_value(tf.cast(images, tf.float32) + noise, 0, 255), tf.uint8)

    return replaced("core.data.augmentation.random_flip", noisy)


@fault(SMALL, "no-signal")
def black_images():
    """Every training image is black: a folder of files that could not be decoded."""
    return with_data(lambda data: dataclasses.replace(data, train_images=np.zeros_like(data.train_images)))


@fault(SMALL_CIFAR, "imbalanced-classes")
def one_class_again_and_again():
    """The images of ships are there twelve times."""

    def repeated(data):
        ships = np.flatnonzero(data.train_labels == 8)
        order = np.random.default_rng(0).permutation(np.concatenate([np.arange(3_200), np.tile(ships, 11)]))[:3_200]
        return dataclasses.replace(data, train_images=data.train_images[order], train_labels=data.train_labels[order])

    return with_data(repeated)


@fault(SMALL, "leak")
def test_images_overlap():
    """A twentieth of the test images is also in training: two random splits with different seeds."""

    def overlapping(data):
        images, labels = data.train_images.copy(), data.train_labels.copy()
        images[:50], labels[:50] = data.test_images[:50], data.test_labels[:50]
        return dataclasses.replace(data, train_images=images, train_labels=labels)

    return with_data(overlapping)


@fault(SMALL_CIFAR, "evaluation-mode")
def dropout_in_evaluation():
    """Dropout acts in evaluation too."""
    return replaced(
        "core.layers.Dropout.__call__",
        lambda call, self, x, training, step=None: call(self, x, True, tf.constant(1) if step is None else step),
    )


@fault(SMALL_CIFAR, "evaluation-mode")
def evaluation_not_normalized():
    """The images of the evaluation are divided by 255 only."""
    return mock.patch("core.measure.evaluation.standardize", lambda images: tf.cast(images, tf.float32) / 255)


@fault(SMALL_CIFAR, "frozen-step-counter")
def rate_rises():
    """The schedule runs backwards: the rate rises to the end."""
    return replaced(
        "core.schedules.warmup_then_decay",
        lambda schedule, step, total_steps, **given: schedule(total_steps + 1 - step, total_steps=total_steps, **given),
    )


@fault(f"{SMALL} --optimizer adam --learning-rate 1e-6", "rate-low")
def adam_far_too_low():
    """Adam with a rate of 1e-6."""
    return contextlib.nullcontext()


@fault(f"{SMALL_CIFAR} --learning-rate 5", "rate-high")
def sgd_far_too_high():
    """SGD with a rate of 5."""
    return contextlib.nullcontext()


@fault(SMALL_CIFAR, "init-too-large", "bad-init")
def last_layer_not_small():
    """The last layer starts with weights from N(0, 1)."""
    return with_network(lambda network: network.layers[-1].kernel.assign(16 * 10**0.5 * network.layers[-1].kernel))


@fault(SMALL, "no-gradient")
def first_layer_cut_off():
    """The first layer gets no gradient: its output went through NumPy."""

    def cut(call, self, x, training, step=None):
        kernel = self.kernel
        y = tf.nn.conv2d(x, tf.cast(tf.stop_gradient(kernel) + 0 * kernel, x.dtype), 1, "SAME")
        return tf.nn.bias_add(y, tf.cast(self.bias, x.dtype))

    return replaced("core.layers.Convolution.__call__", cut)


@fault(SMALL, "wrong-metric")
def smallest_logit():
    """The prediction is the smallest logit: argmin for argmax."""
    return both_metrics(lambda correct, logits, labels: correct(-logits, labels))


def both_metrics(change):
    """A context in which batches and evaluations count by change(correct, logits, labels)."""
    stack = contextlib.ExitStack()
    stack.enter_context(replaced("core.measure.probes.correct", change))
    stack.enter_context(replaced("core.measure.evaluation.correct", change))
    return stack


@fault(f"{SMALL} --optimizer adamw --learning-rate 0.005 --weight-decay 20", "shrinking-weights")
def decay_of_adamw_too_strong():
    """AdamW with a weight decay of 20."""
    return contextlib.nullcontext()


@fault(f"{SMALL_CIFAR} --momentum 0.995", "strong-momentum", "rate-high")
def momentum_a_little_too_high():
    """Momentum 0.995 with the rate of 0.9."""
    return contextlib.nullcontext()


@fault(SMALL_CIFAR, "unmixed-batches")
def sorted_by_class():
    """The images are sorted by class and never shuffled."""

    def in_order(indices, self, step):
        position = (step - 1) % self.steps_per_epoch * self.batch_size + tf.range(self.batch_size)
        return tf.gather(tf.argsort(self.labels, stable=True), position)

    return replaced("core.data.batches.Batches.indices", in_order)


@fault(SMALL_CIFAR, "repeated-order", "overfit")
def few_images_drawn():
    """Every batch is drawn from the first 128 images: a wrong length given to the shuffle."""
    return replaced("core.data.batches.Batches.indices", lambda indices, self, step: indices(self, step) % 128)


HELD_OUT |= {
    "clean-01": Case(f"{SMALL_CIFAR} --seed 11"),
    "clean-02": Case(f"{SMALL_CIFAR} --seed 12"),
    "clean-03": Case(f"{SMALL_CIFAR} --seed 13"),
    "clean-04": Case(f"{SMALL} --seed 14"),
    "clean-05": Case(f"{SMALL} --seed 15"),
    "clean-06": Case(f"{SMALL} --seed 16"),
    "clean-07": Case(f"{SMALL_CIFAR} --optimizer adam --learning-rate 0.003 --seed 17"),
    "clean-08": Case(f"{SMALL} --optimizer adamw --learning-rate 0.003 --weight-decay 0.02 --seed 18"),
    "clean-09": Case(f"{SMALL_CIFAR} --flip random --crop 2 --seed 19"),
    "clean-10": Case(f"{SMALL} --label-smoothing 0.5 --seed 20"),
    # Twenty more, recorded later under the same rules: shorter, other networks, optimizers, batches, augmentation.
    "clean-11": Case(f"{SMALL_CIFAR} --epochs 3 --seed 21"),
    "clean-12": Case(f"{SMALL} --epochs 3 --seed 22"),
    "clean-13": Case(f"{SMALL} --epochs 2 --seed 23"),
    "clean-14": Case(f"{SMALL_CIFAR} --epochs 4 --optimizer adam --learning-rate 0.003 --seed 24"),
    "clean-15": Case(f"{SMALL} --epochs 3 --flip random --crop 2 --seed 25"),
    "clean-16": Case(f"{SMALL_CIFAR} --epochs 4 --flip alternating --crop 4 --label-smoothing 0.1 --seed 26"),
    "clean-17": Case(f"{SMALL} --epochs 2 --batch-size 32 --seed 27"),
    "clean-18": Case(f"{SMALL_CIFAR} --batch-size 128 --seed 28"),
    "clean-19": Case(f"{CLASSIC} --epochs 3 --seed 29"),
    "clean-20": Case(f"{SHAPES} --epochs 3 --seed 30"),
    "clean-21": Case(f"{SHAPES} --epochs 4 --optimizer adamw --seed 31"),
    "clean-22": Case(f"{CLASSIC} --epochs 4 --flip random --crop 2 --seed 32"),
    "clean-23": Case(f"{MODERN} --epochs 3 --seed 33"),
    "clean-24": Case(f"{MODERN} --epochs 3 --data shapes10 --seed 34"),
    "clean-25": Case(f"{SHAPES} --network plain --width 8 --batch-norm --epochs 3 --seed 35"),
    "clean-26": Case(f"{CLASSIC} --network plain --width 8 --activation leaky_relu --epochs 4 --seed 36"),
    "clean-27": Case(f"{SHAPES} --network plain --width 8 --activation gelu --depth 2 --epochs 3 --seed 37"),
    "clean-28": Case(f"{SHAPES} --network plain --width 8 --optimizer muon --epochs 3 --seed 38"),
    "clean-29": Case(f"{SMALL_CIFAR} --learning-rate 0.03 --momentum 0.8 --weight-decay 0.001 --seed 39"),
    "clean-30": Case(f"{SMALL} --holdout --epochs 4 --seed 40"),
}
