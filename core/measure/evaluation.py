"""Evaluation: the loss, accuracy, calibration and confusion matrix of a network on a set of images.

Images are evaluated in batches. A batch gives sums, and the sums of all batches give the result: no mean of
unequal means.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from core import replicas
from core.data.batches import standardize
from core.losses import correct, softmax_cross_entropy
from core.speed import test_time_augmentation

CALIBRATION_BINS = 15  # Guo et al. 2017


@dataclass(frozen=True)
class Evaluation:
    """The result over all images."""

    loss: float  # mean cross-entropy in nats, without label smoothing
    accuracy: float  # fraction of correct predictions
    calibration_error: float  # expected calibration error, see `calibration_error`
    confusion: np.ndarray  # [K,K] int64: images of true class i that were predicted as class j


def evaluate_batch(images, labels, network, augmented=False) -> dict[str, tf.Tensor]:
    """The sums over uint8 images [N,32,32,3] with labels [N], in evaluation mode.

    augmented: with test-time augmentation, the mean logits of six views of each image. On several devices each
    replica evaluates its rows, and the sums are those of all.
    """
    images, labels = replicas.my_rows(images), replicas.my_rows(labels)
    if augmented:
        logits = test_time_augmentation.mean_logits(images, network)
    else:
        logits = network(standardize(images), training=False)
    return replicas.total(batch_sums(logits, labels))


def batch_sums(logits: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
    """The sums of one batch: loss [], confusion [K,K] int32, calibration [bins,3].  [N,K], [N] ->.

    A row of calibration holds, for the images whose largest probability falls into that bin:
    how many they are, how many predictions are correct, the sum of those probabilities.
    """
    classes = logits.shape[-1]
    predictions = tf.argmax(logits, axis=-1, output_type=labels.dtype)
    confidence = tf.reduce_max(tf.nn.softmax(logits), axis=-1)  # [N]
    bin_index = tf.minimum(tf.cast(confidence * CALIBRATION_BINS, tf.int32), CALIBRATION_BINS - 1)
    in_bin = tf.one_hot(bin_index, CALIBRATION_BINS)  # [N,bins]
    facts = tf.stack([tf.ones_like(confidence), correct(logits, labels), confidence], axis=1)  # [N,3]
    return {
        "loss": tf.reduce_sum(softmax_cross_entropy(logits, labels)),
        "confusion": tf.math.confusion_matrix(labels, predictions, classes),
        "calibration": tf.matmul(in_bin, facts, transpose_a=True),
    }


def from_sums(sums: list[dict[str, tf.Tensor]]) -> Evaluation:
    """The evaluation over all batches, from the sums of each."""
    confusion = sum(of_batch["confusion"].numpy().astype(np.int64) for of_batch in sums)
    count = int(confusion.sum())
    return Evaluation(
        loss=sum(float(of_batch["loss"]) for of_batch in sums) / count,
        accuracy=int(np.trace(confusion)) / count,
        calibration_error=calibration_error(sum(b["calibration"].numpy().astype(np.float64) for b in sums)),
        confusion=confusion,
    )


def calibration_error(bins: np.ndarray) -> float:
    """ECE = sum over bins of  n_b/n |accuracy_b - confidence_b|,  in [0, 1].  Guo et al. 2017, eq. 3.  [bins,3] ->.

    0 when, for instance, nine of ten predictions made with probability 0.9 are correct.
    """
    count, right, confidence = bins.T
    return float(np.abs(right - confidence).sum() / count.sum())
