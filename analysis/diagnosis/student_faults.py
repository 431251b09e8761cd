"""More of the fault collection: the mistakes that students make most, and those that were once missed."""

import contextlib
import dataclasses
from unittest import mock

import numpy as np
import tensorflow as tf

from analysis.diagnosis.cases import (
    CLASSIC,
    SHAPES,
    SMALL_CIFAR,
    entering,
    replaced,
    with_data,
    with_network,
    with_recipe,
)

STUDENT_FAULTS = {}
fault = entering(STUDENT_FAULTS)


@fault(f"{CLASSIC} --optimizer adam --learning-rate 0.04", "rate-high")
def adam_with_the_rate_of_sgd():
    """Adam with the learning rate of SGD, 0.04: the optimizer was exchanged and the rate kept."""
    return contextlib.nullcontext()


@fault(CLASSIC, "rate-low")
def rate_twenty_times_too_low():
    """The learning rate is twenty times too low: that of Adam kept for SGD."""
    return with_recipe("classic", learning_rate=2e-3)


@fault(CLASSIC, "swapped-labels")
def half_of_the_labels_shifted():
    """Half of the training labels are one too large: files of two sources, one of which counts from 1."""

    def shifted(data):
        labels = data.train_labels.copy()
        labels[::2] = (labels[::2] + 1) % 10
        return dataclasses.replace(data, train_labels=labels)

    return with_data(shifted)


@fault(SMALL_CIFAR, "swapped-labels")
def test_labels_shifted():
    """The test labels are one too large, those of training are not: another reader for each."""
    return with_data(lambda data: dataclasses.replace(data, test_labels=(data.test_labels + 1) % 10))


@fault(CLASSIC, "unnormalized-inputs")
def inputs_not_normalized():
    """The images go in as 0 to 255: standardization was left out."""
    return mock.patch.multiple("core.data.batches", MEAN=np.zeros(3), STD=np.full(3, 1 / 255))


@fault(f"{SMALL_CIFAR} --epochs 20", "overfit")
def too_few_images():
    """640 training images: a filter, or a folder that was only partly copied."""
    return with_data(
        lambda data: dataclasses.replace(
            data, train_images=data.train_images[:640], train_labels=data.train_labels[:640]
        )
    )


@fault(CLASSIC, "init-too-large")
def one_layer_too_large():
    """The second convolution starts twenty times too large: another initialization in one layer."""
    return with_network(lambda network: layer(network, "conv2").kernel.assign(20 * layer(network, "conv2").kernel))


@fault(CLASSIC, "equal-init")
def equal_weights():
    """Every weight of a kernel starts with the same value: a constant where a random draw was meant."""

    def equal(network):
        for one in network.layers:
            if getattr(one, "kernel", None) is not None:
                one.kernel.assign(tf.fill(one.kernel.shape, 0.02))

    return with_network(equal)


@fault(CLASSIC, "saturated")
def two_saturated_layers():
    """Two nonlinearities are tanh far in their flat part: a sigmoid or tanh behind large numbers."""

    def saturated(relu, self, x, training, step=None):
        return tf.tanh(20 * x) if self.name in ("relu2", "relu3") else relu(self, x, training, step)

    return replaced("core.layers.ReLU.__call__", saturated)


@fault(CLASSIC, "shrinking-weights")
def weight_decay_too_strong():
    """The weight decay is a hundred times too strong: AdamW's value, and more, in SGD."""
    return with_recipe("classic", weight_decay=0.1)


@fault(CLASSIC, "strong-momentum", "rate-high")
def momentum_too_high():
    """Momentum 0.999: Adam's second beta given to SGD."""
    return with_recipe("classic", momentum=0.999)


@fault(CLASSIC, "unmixed-batches")
def shuffle_buffer_too_small():
    """The images are sorted by class and shuffled in a buffer of 100: shuffle(100) on files in folders of classes."""

    def in_buffer(indices, self, step):
        order = tf.argsort(self.labels, stable=True)
        position = (step - 1) % self.steps_per_epoch * self.batch_size + tf.range(self.batch_size)
        offset = tf.random.stateless_uniform([self.batch_size], [7, 7 + step], 0, 100, tf.int32)
        return tf.gather(order, tf.minimum(position + offset, self.count - 1))

    return replaced("core.data.batches.Batches.indices", in_buffer)


@fault(CLASSIC, "repeated-order")
def the_same_batch_again():
    """Every step gets the first batch: next(iter(batches)) inside the loop."""
    return replaced("core.data.batches.Batches.indices", lambda indices, self, step: indices(self, tf.constant(1)))


@fault(SMALL_CIFAR, "weights-reset")
def weights_drawn_anew():
    """The weights are drawn anew at each epoch: the network is built inside the loop over epochs."""

    def restarted(updates, self, gradients, rate, step):
        if not hasattr(self, "first_weights"):
            with tf.init_scope():
                self.first_weights = [tf.constant(w.numpy()) for w in self.parameters]
        moved = updates(self, gradients, rate, step)
        begins = tf.equal(step % 50, 0)
        return [tf.where(begins, w0 - w, d) for w, w0, d in zip(self.parameters, self.first_weights, moved)]

    return replaced("core.optimizers.SGD.updates", restarted)


@fault(SMALL_CIFAR, "wrong-update")
def gradient_clipped():
    """The gradient is clipped to a norm of 0.001: a threshold for another loss."""

    def clipped(updates, self, gradients, rate, step):
        gradients, _ = tf.clip_by_global_norm(gradients, 1e-3)
        return updates(self, gradients, rate, step)

    return replaced("core.optimizers.SGD.updates", clipped)


@fault(CLASSIC, "no-gradient")
def last_layer_without_gradient():
    """The last layer gets no gradient: a stop_gradient, or weights that went through NumPy."""
    return without_gradient("dense2")


@fault(SHAPES, "uphill")
def one_layer_uphill():
    """The update of one layer has the wrong sign."""

    def turned(updates, self, gradients, rate, step):
        return [-d if i == 4 else d for i, d in enumerate(updates(self, gradients, rate, step))]

    return replaced("core.optimizers.SGD.updates", turned)


@fault(CLASSIC, "frozen-layer")
def frozen_layer():
    """The third convolution never moves: its weights are missing in the list that the optimizer gets."""

    def kept(updates, self, gradients, rate, step):
        return [tf.zeros_like(d) if i in (4, 5) else d for i, d in enumerate(updates(self, gradients, rate, step))]

    return replaced("core.optimizers.SGD.updates", kept)


def layer(network, name: str):
    """The layer of this name."""
    return next(one for one in network.layers if one.name == name)


def without_gradient(name: str):
    """A context in which the kernel of this dense layer gets a gradient of 0."""

    def cut(dense, self, x, training, step=None):
        if self.name != name:
            return dense(self, x, training, step)
        kernel = tf.stop_gradient(self.kernel) + 0 * self.kernel
        return tf.matmul(x, tf.cast(kernel, x.dtype)) + tf.cast(self.bias, x.dtype)

    return replaced("core.layers.Dense.__call__", cut)
