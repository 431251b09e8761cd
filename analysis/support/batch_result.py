"""A batch of one step: its losses and predictions, and every layer's output and gradient, before the update."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from core import replicas
from core.data.batches import standardize
from core.losses import softmax_cross_entropy
from core.measure import probes


@dataclass(frozen=True)
class BatchResult:
    """B images and what the network computes for them, L layers."""

    images: np.ndarray  # [B,32,32,3] uint8, augmented
    labels: np.ndarray  # [B]
    losses: np.ndarray  # [B]
    predicted: np.ndarray  # [B]; -1 where the logits are not finite
    outputs: dict[str, tuple[float, ...]]  # {layer: (mean, standard deviation, sparsity, largest |y|)}
    gradients: dict[str, np.ndarray]  # {layer with a kernel: gradient of its kernel}

    def by_loss(self) -> np.ndarray:
        """The indices of the images, largest loss first; what is not a number comes before all. [B]"""
        return np.argsort(-np.where(np.isfinite(self.losses), self.losses, np.inf), kind="stable")


def measure_batch(step: int, training) -> BatchResult:
    """What train_step computes in this step before it changes the weights, image by image and layer by layer.

    In training mode, with the step's own dropout mask, and in micro-batches if the run has them: network.outputs is
    the step's own forward pass. Nothing is changed; the moving averages of batch norm are restored.
    """
    network, step, outputs = training.network, tf.constant(step), {}
    images, labels = training.batches.batch(step)
    with probes.unchanged_statistics(network), tf.GradientTape() as tape:
        for layer, y in network.outputs(standardize(images), training=True, step=step):
            with tape.stop_recording():
                outputs[layer.name] = statistics_of(tf.cast(y, tf.float64))
        logits = tf.cast(y, tf.float32)
        losses = softmax_cross_entropy(logits, labels, training.settings.label_smoothing)
        loss = tf.reduce_mean(losses)
    layers = probes.kernel_layers(network)
    gradients = tape.gradient(loss, replicas.on_first([layer.kernel for layer in layers]))
    finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1)
    predicted = tf.where(finite, tf.argmax(logits, axis=-1, output_type=tf.int32), -1)
    return BatchResult(
        images.numpy(), labels.numpy(), losses.numpy(), predicted.numpy(), outputs,
        {layer.name: gradient.numpy().astype(np.float64) for layer, gradient in zip(layers, gradients)},
    )  # fmt: skip


def statistics_of(y) -> tuple[float, ...]:
    """Mean, standard deviation, sparsity (|y| < 1e-6) and largest |y| of a layer's output y [N,...] float64.

    In float64, because the squares of numbers that are still finite may not be.
    """
    size = tf.abs(y)
    sparsity = tf.reduce_mean(tf.cast(size < probes.NEAR_ZERO, tf.float64))
    numbers = tf.reduce_mean(y), tf.math.reduce_std(y), sparsity, tf.reduce_max(size)
    return tuple(float(number) for number in numbers)


def kernels(training) -> dict[str, np.ndarray]:
    """{layer: its kernel now}, float64 as above."""
    return {layer.name: layer.kernel.numpy().astype(np.float64) for layer in probes.kernel_layers(training.network)}


def layer_table(result: BatchResult, before: dict, after: dict) -> str:
    """Each layer's output, and the gradient and update of its kernel. before, after: the kernels around the step."""
    rows = [("layer", "mean", "std", "zeros", "largest", "|gradient|", "|weights|", "|update|/|weights|")]
    for layer, (mean, std, zeros, largest) in result.outputs.items():
        row = [layer, f"{mean:.3g}", f"{std:.3g}", f"{100 * zeros:.1f} %", f"{largest:.3g}"]
        if layer in before:
            with np.errstate(invalid="ignore"):  # inf - inf
                update = after[layer] - before[layer]
            weights, step, gradient = map(np.linalg.norm, (before[layer], update, result.gradients[layer]))
            row += [f"{gradient:.3g}", f"{weights:.3g}", f"{step / weights:.2g}" if weights else "-"]
        rows.append(tuple(row + [""] * (8 - len(row))))
    widths = [max(len(row[i]) for row in rows) for i in range(8)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
