"""Exams: sums of pieces are the whole, and calibration is its formula."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal

from core.measure import evaluation
from core.data.batches import standardize
from core.layers import Dense, Flatten
from core.losses import softmax_cross_entropy
from core.model import CNN


def answered(n=300, seed=0):
    """Scores of n pictures and their labels: better than guessing, far from sure."""
    labels = np.random.default_rng(seed).integers(0, 10, n)
    logits = normal(n, 10, seed=seed) + 1.5 * np.eye(10)[labels]
    return tf.constant(logits, tf.float32), tf.constant(labels, tf.int32)


@pytest.mark.parametrize("cuts", [(), (100, 200), (1, 299), (150,)])
def test_pieces_of_any_size_give_the_whole(cuts):
    logits, labels = answered()
    edges = [0, *cuts, 300]
    evaluation = evaluation.from_sums([evaluation.batch_sums(logits[a:b], labels[a:b]) for a, b in itertools.pairwise(edges)])
    np.testing.assert_allclose(evaluation.loss, softmax_cross_entropy(logits, labels).numpy().mean(), rtol=1e-6)
    right = np.argmax(logits, axis=1) == labels.numpy()
    assert evaluation.accuracy == right.mean()
    for true in range(10):
        for called in range(10):
            expected = np.sum((labels.numpy() == true) & (np.argmax(logits, axis=1) == called))
            assert evaluation.confusion[true, called] == expected


def test_calibration_is_the_formula_of_guo():
    logits, labels = answered(seed=3)
    p = tf.nn.softmax(logits).numpy()
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels.numpy()
    place = np.minimum((confidence * np.float32(15)).astype(int), 14)
    expected = sum(
        np.mean(place == b) * abs(right[place == b].mean() - confidence[place == b].mean()) for b in set(place.tolist())
    )
    found = evaluation.from_sums([evaluation.batch_sums(logits, labels)]).calibration_error
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_calibration_by_hand():
    """100 pictures at 80 %, 60 of them right: off by 20 points; 100 at 100 %, all right: not at all."""
    bins = np.zeros((15, 3))
    bins[12], bins[14] = (100, 60, 80.0), (100, 100, 100.0)
    np.testing.assert_allclose(evaluation.calibration_error(bins), 0.1)


def test_a_sure_answer_falls_into_the_last_bin():
    sums = evaluation.batch_sums(tf.constant([[200.0, 0.0]]), tf.constant([0]))
    np.testing.assert_array_equal(sums["calibration"][-1], [1, 1, 1])


def test_six_views_are_the_weighted_mean(small_data):
    """Against views cut by hand with NumPy, through a network that tells left from right."""
    network = CNN("net", [Flatten("flatten"), Dense("dense", 3072, 10)])
    images = small_data.test_images[:5]
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    expected = 0
    for view, weight in ((images, 1 / 4), (padded[:, :32, :32], 1 / 8), (padded[:, 2:, 2:], 1 / 8)):
        for seen in (view, view[:, :, ::-1]):
            expected = expected + weight * network.logits(standardize(seen), training=False)
    np.testing.assert_allclose(evaluation.view_logits(tf.constant(images), network), expected, rtol=1e-4, atol=1e-5)
