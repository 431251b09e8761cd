"""Networks for the tests: built as a run builds them, with variables that are not their initial values."""

import dataclasses

import numpy as np
import tensorflow as tf
from gradients import normal

from core import build, model
from core.losses import softmax_cross_entropy
from core.settings.recipes import RECIPES


def build_network(network: str, dtype=tf.float32, **settings) -> model.CNN:
    """The network of this name, its textbook layers, in one batch."""
    given = {"network": network, "kernels": "textbook", "micro_batches": 1} | settings
    return build.build_network(dataclasses.replace(RECIPES["classic"], **given), dtype)


def randomized(network: str, dtype=tf.float64, **settings) -> model.CNN:
    """A network none of whose variables has its initial value, so that a forgotten one shows."""
    cnn = build_network(network, dtype, **settings)
    for k, variable in enumerate(cnn.named_variables.values()):
        noise = normal(*variable.shape, seed=k)
        changed = 0.1 * np.abs(noise) if variable.shape.rank == 1 else 0.01 * noise
        variable.assign(variable + tf.cast(changed, variable.dtype))
    return cnn


def logits_and_gradients(network: model.CNN, images: tf.Tensor, labels: tf.Tensor, training=True) -> list[np.ndarray]:
    """[logits, the gradient of the mean loss for each parameter], at step 3."""
    with tf.GradientTape() as tape:
        logits = network(images, training=training, step=tf.constant(3))
        loss = tf.reduce_mean(softmax_cross_entropy(logits, labels))
    return [value.numpy() for value in (logits, *tape.gradient(loss, network.parameters))]
