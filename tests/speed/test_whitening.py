"""Whitening: patches become uncorrelated, and the filters are not learned."""

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal

from core.data.batches import standardize
from core.speed.whitening import Whitening, whitening_filters


@pytest.fixture(scope="module")
def images(small_data):
    return tf.cast(standardize(small_data.train_images), tf.float64)


def test_patches_come_out_uncorrelated_with_variance_one(images):
    """The (uncentred) covariance of the outputs is the identity, but for the directions that epsilon damps."""
    y = tf.nn.conv2d(images, whitening_filters(images), 1, "VALID").numpy()[..., :12].reshape(-1, 12)
    covariance = y.T @ y / len(y)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-6
    ones = [1, 1, 1, 1]
    patches = tf.image.extract_patches(images, [1, 2, 2, 1], ones, ones, "VALID").numpy().reshape(-1, 12)
    variances = np.linalg.eigvalsh(patches.T @ patches / len(patches))
    np.testing.assert_allclose(np.diag(covariance), variances / (variances + 5e-4), rtol=1e-6)


def test_the_second_half_is_the_negative_of_the_first(images):
    kernel = whitening_filters(images).numpy()
    assert kernel.shape == (2, 2, 3, 24)
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])


def test_the_layer_computes_its_filters_and_learns_nothing(images):
    layer = Whitening("whitening", dtype=tf.float64)
    assert layer.parameters == [] and layer.statistics == [layer.kernel] and layer.parameter_count == 0
    assert layer.output_shape((32, 32, 3)) == (31, 31, 24)
    assert layer.trainable_variables == () and [id(v) for v in layer.variables] == [id(layer.kernel)], "and no bias"
    assert Whitening("whitening", 1, 3).output_shape((32, 32, 1)) == (30, 30, 18)  # two for each of 3 x 3 pixels
    before = layer.kernel.numpy()
    layer.compute_filters(images)
    assert np.abs(layer.kernel.numpy() - before).max() > 0.1
    np.testing.assert_array_equal(layer(images[:2], True), tf.nn.conv2d(images[:2], layer.kernel, 1, "VALID"))


def test_formula_by_hand(images):
    """One output number, summed over its window by NumPy."""
    layer = Whitening("whitening", dtype=tf.float64)
    layer.compute_filters(images)
    x, k = normal(1, 4, 4, 3), layer.kernel.numpy()
    expected = sum(x[0, 1 + u, 2 + v, c] * k[u, v, c, 5] for u in range(2) for v in range(2) for c in range(3))
    np.testing.assert_allclose(layer(tf.constant(x), False)[0, 1, 2, 5], expected, rtol=1e-12)
