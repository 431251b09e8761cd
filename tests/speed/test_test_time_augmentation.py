"""Test-time augmentation against six views cut by hand."""

import numpy as np
import tensorflow as tf

from core.data.batches import standardize
from core.layers import Dense, Dropout, Flatten
from core.measure import evaluation
from core.model import CNN
from core.speed.test_time_augmentation import mean_logits


def expected_logits(images: np.ndarray, network) -> tf.Tensor:
    """The definition, in NumPy: the image 1/4, each of two shifts 1/8, and the same of their mirror images."""
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    logits = 0
    for view, weight in ((images, 1 / 4), (padded[:, :32, :32], 1 / 8), (padded[:, 2:, 2:], 1 / 8)):
        for shown in (view, view[:, :, ::-1]):
            logits = logits + weight * network(standardize(shown), training=False)
    return logits


def test_the_logits_are_the_weighted_mean_over_six_views(small_data):
    """Through a network that tells left from right, and in evaluation: dropout changes nothing."""
    network = CNN("net", [Flatten("flatten"), Dropout("dropout", 0.5), Dense("dense", 3072, 10)])
    images, labels = small_data.test_images[:5], tf.constant(small_data.test_labels[:5])
    expected = expected_logits(images, network)
    assert not np.allclose(expected, network(standardize(images), training=False), atol=0.01)
    np.testing.assert_allclose(mean_logits(tf.constant(images), network), expected, rtol=1e-4, atol=1e-5)

    augmented = evaluation.evaluate_batch(tf.constant(images), labels, network, augmented=True)
    np.testing.assert_allclose(augmented["loss"], evaluation.batch_sums(expected, labels)["loss"], rtol=1e-5)
