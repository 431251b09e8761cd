"""An exam: what a network answers to a set of pictures, in evaluation mode.

Pictures are examined in pieces. A piece gives sums, and sums of pieces give the whole: never a
mean of unequal means.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from core.batches import standardize
from core.losses import correct, softmax_cross_entropy

CALIBRATION_BINS = 15  # Guo et al. 2017


@dataclass(frozen=True)
class Exam:
    """The result over all pictures."""

    loss: float  # mean cross-entropy in nats, without smoothing
    accuracy: float  # share answered correctly
    calibration_error: float  # expected calibration error, see `calibration_error`
    confusion: np.ndarray  # [K,K] int64: how many of true class i were called class j


def piece_sums(logits: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
    """The sums of one piece: loss [], confusion [K,K] int32, calibration [bins,3].  [N,K], [N] ->.

    A row of calibration holds, for the pictures whose largest probability falls into that bin:
    how many they are, how many of them are right, the sum of those probabilities.
    """
    classes = logits.shape[-1]
    answers = tf.argmax(logits, axis=-1, output_type=labels.dtype)
    confidence = tf.reduce_max(tf.nn.softmax(logits), axis=-1)  # [N]
    place = tf.minimum(tf.cast(confidence * CALIBRATION_BINS, tf.int32), CALIBRATION_BINS - 1)
    in_bin = tf.one_hot(place, CALIBRATION_BINS)  # [N,bins]
    facts = tf.stack([tf.ones_like(confidence), correct(logits, labels), confidence], axis=1)  # [N,3]
    return {
        "loss": tf.reduce_sum(softmax_cross_entropy(logits, labels)),
        "confusion": tf.math.confusion_matrix(labels, answers, classes),
        "calibration": tf.matmul(in_bin, facts, transpose_a=True),
    }


def view_logits(images: tf.Tensor, network) -> tf.Tensor:
    """Test-time augmentation: the weighted mean of the scores of six views.  uint8 [N,32,32,3] -> [N,10].

    The picture and its mirror image count 1/4 each; shifted by one pixel up and left, down and
    right, and their mirror images 1/8 each (Jordan 2024, section 3.5).
    """
    size = images.shape[1]
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
    views = [(images, 0.25), (padded[:, :size, :size], 0.125), (padded[:, 2:, 2:], 0.125)]
    return sum(
        weight * network.logits(standardize(seen), training=False)
        for view, weight in views
        for seen in (view, view[:, :, ::-1])
    )


def of_pieces(pieces: list[dict[str, tf.Tensor]]) -> Exam:
    """The exam whose pieces these are."""
    confusion = sum(piece["confusion"].numpy().astype(np.int64) for piece in pieces)
    count = int(confusion.sum())
    return Exam(
        loss=sum(float(piece["loss"]) for piece in pieces) / count,
        accuracy=int(np.trace(confusion)) / count,
        calibration_error=calibration_error(sum(piece["calibration"].numpy().astype(np.float64) for piece in pieces)),
        confusion=confusion,
    )


def calibration_error(bins: np.ndarray) -> float:
    """ECE = sum over bins of  n_b/n |accuracy_b - confidence_b|,  in [0, 1].  Guo et al. 2017, eq. 3.  [bins,3] ->.

    When it says 90 %, is it right 90 % of the time?
    """
    count, right, confidence = bins.T
    return float(np.abs(right - confidence).sum() / count.sum())
