"""Evaluation: the sums of batches are the whole, and calibration is its formula."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal

from core.data.batches import standardize
from core.layers import BatchNormalization, Dense, Dropout, Flatten
from core.losses import softmax_cross_entropy
from core.measure import evaluation
from core.model import CNN
from core.speed import test_time_augmentation


def predicted(n=300, seed=0):
    """Logits of n images and their labels: better than chance level, far from certain."""
    labels = np.random.default_rng(seed).integers(0, 10, n)
    logits = normal(n, 10, seed=seed) + 1.5 * np.eye(10)[labels]
    return tf.constant(logits, tf.float32), tf.constant(labels, tf.int32)


@pytest.mark.parametrize("cuts", [(), (100, 200), (1, 299), (150,)])
def test_batches_of_any_size_give_the_whole(cuts):
    logits, labels = predicted()
    edges = [0, *cuts, 300]
    sums = [evaluation.batch_sums(logits[a:b], labels[a:b]) for a, b in itertools.pairwise(edges)]
    found = evaluation.from_sums(sums)
    np.testing.assert_allclose(found.loss, softmax_cross_entropy(logits, labels).numpy().mean(), rtol=1e-6)
    right = np.argmax(logits, axis=1) == labels.numpy()
    assert found.accuracy == right.mean()
    for true in range(10):
        for other in range(10):
            expected = np.sum((labels.numpy() == true) & (np.argmax(logits, axis=1) == other))
            assert found.confusion[true, other] == expected


def test_calibration_is_the_formula_of_guo():
    logits, labels = predicted(seed=3)
    p = tf.nn.softmax(logits).numpy()
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels.numpy()
    bins = np.minimum((confidence * np.float32(15)).astype(int), 14)
    expected = sum(
        np.mean(bins == b) * abs(right[bins == b].mean() - confidence[bins == b].mean()) for b in set(bins.tolist())
    )
    found = evaluation.from_sums([evaluation.batch_sums(logits, labels)]).calibration_error
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_calibration_by_hand():
    """100 images at 80 %, 60 of them right: off by 20 points; 100 at 100 %, all right: not at all."""
    bins = np.zeros((15, 3))
    bins[12], bins[14] = (100, 60, 80.0), (100, 100, 100.0)
    np.testing.assert_allclose(evaluation.calibration_error(bins), 0.1)


def test_a_certain_prediction_falls_into_the_last_bin():
    sums = evaluation.batch_sums(tf.constant([[200.0, 0.0]]), tf.constant([0]))
    np.testing.assert_array_equal(sums["calibration"][-1], [1, 1, 1])


def test_a_batch_is_evaluated_in_evaluation_mode_and_only_if_asked_with_test_time_augmentation(small_data):
    """With batch norm's moving averages and without dropout; the augmented logits are the mean over six views."""
    layers = [BatchNormalization("norm", 3), Dropout("dropout", 0.5), Flatten("flatten"), Dense("out", 3072, 10)]
    network, images, labels = CNN("net", layers), *map(tf.constant, (small_data.test_images, small_data.test_labels))
    logits = network(standardize(images), training=False)
    augmented = test_time_augmentation.mean_logits(images, network)
    for found, expected in (
        (evaluation.evaluate_batch(images, labels, network), logits),
        (evaluation.evaluate_batch(images, labels, network, augmented=True), augmented),
    ):
        for name, value in evaluation.batch_sums(expected, labels).items():
            np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)
    assert np.abs(logits - augmented).max() > 0.1, "the two can be told apart"
