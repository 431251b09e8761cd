from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from core.data import DataError, batches
from core.data.batches import Batches, in_order, standardize
from core.data.data_set import MEAN, STD
from core.settings.settings import Settings

PLAIN = Settings(batch_size=50)  # four batches an epoch of the 200 images


def indices(data, settings, steps) -> np.ndarray:
    """The indices of these steps, one after the other."""
    cutter = Batches(data, settings)
    return np.concatenate([cutter.indices(tf.constant(step)).numpy() for step in steps])


@pytest.mark.parametrize("batch_size", [1, 50, 200])
def test_an_epoch_takes_every_image_once(small_data, batch_size):
    per_epoch = 200 // batch_size
    seen = indices(small_data, replace(PLAIN, batch_size=batch_size), range(1, per_epoch + 1))
    assert sorted(seen) == list(range(200))


def test_epochs_have_orders_of_their_own(small_data):
    epochs = indices(small_data, PLAIN, range(1, 41)).reshape(10, 200)
    for epoch in epochs:
        assert sorted(epoch) == list(range(200))
    # Two unrelated orders agree at about one index of 200; and neither is the order on disk.
    for k, epoch in enumerate(epochs):
        assert np.sum(epoch == np.arange(200)) < 10
        assert all(np.sum(epoch == other) < 10 for other in epochs[:k])


@pytest.mark.parametrize(("batch_size", "left_out"), [(30, 20), (150, 50), (199, 1)])
def test_what_does_not_fill_a_batch_is_skipped_in_that_epoch(small_data, batch_size, left_out):
    settings = replace(PLAIN, batch_size=batch_size)
    per_epoch = Batches(small_data, settings).steps_per_epoch
    assert per_epoch == 200 // batch_size
    for epoch in range(3):
        seen = indices(small_data, settings, range(1 + epoch * per_epoch, 1 + (epoch + 1) * per_epoch))
        assert len(set(seen)) == len(seen) == 200 - left_out


@given(st.integers(1, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_a_batch_is_a_function_of_seed_and_step(small_data, step, seed):
    """Whichever steps were asked for before."""
    settings = replace(PLAIN, seed=seed, flip="random", crop=2)
    images, labels = Batches(small_data, settings).batch(tf.constant(step))
    assert images.shape == (50, 32, 32, 3) and images.dtype == tf.uint8 and labels.dtype == tf.int32
    other = Batches(small_data, settings)
    other.batch(tf.constant(1))
    for a, b in zip((images, labels), other.batch(tf.constant(step))):
        np.testing.assert_array_equal(a, b)


def test_compiled_it_is_the_same_function(small_data):
    cutter = Batches(small_data, replace(PLAIN, flip="random", crop=2))
    traced = tf.function(cutter.batch, [tf.TensorSpec([], tf.int32)], autograph=False)
    for step in (1, 4, 5, 1000):
        for a, b in zip(traced(tf.constant(step)), cutter.batch(tf.constant(step))):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", [1, 2, 12345])
def test_another_seed_is_another_order(small_data, seed):
    one, other = (indices(small_data, replace(PLAIN, seed=s), range(1, 5)) for s in (0, seed))
    assert np.sum(one == other) < 10


def test_the_order_is_the_one_that_was_always_drawn(small_data):
    """A run with the same seed sees the same images in the same order, in later versions of this project too."""
    cutter = Batches(small_data, PLAIN)
    first_of = {step: cutter.indices(tf.constant(step)).numpy()[:4].tolist() for step in (1, 4, 5, 9)}
    assert first_of == {1: [35, 194, 71, 195], 4: [51, 73, 70, 181], 5: [199, 85, 100, 70], 9: [104, 148, 28, 93]}


def test_images_keep_their_labels(small_data):
    cutter = Batches(small_data, PLAIN)
    for step in (1, 2, 7):
        chosen = cutter.indices(tf.constant(step)).numpy()
        images, labels = cutter.batch(tf.constant(step))
        np.testing.assert_array_equal(images, small_data.train_images[chosen])
        np.testing.assert_array_equal(labels, small_data.train_labels[chosen])


def test_augmentation_changes_images_and_neither_order_nor_labels(small_data):
    plain, plain_labels = Batches(small_data, PLAIN).batch(tf.constant(3))
    for change in ({"flip": "random"}, {"crop": 2}):
        images, labels = Batches(small_data, replace(PLAIN, **change)).batch(tf.constant(3))
        np.testing.assert_array_equal(labels, plain_labels)
        changed = np.any(images.numpy() != plain.numpy(), axis=(1, 2, 3))
        assert 10 < changed.sum()


def test_flip_draws_the_same_whether_or_not_there_is_a_crop(small_data, monkeypatch):
    keys = []

    def noted(images, key, *pixels):
        keys.append(key.numpy().tolist())
        return images

    monkeypatch.setattr(batches.augmentation, "random_flip", noted)
    monkeypatch.setattr(batches.augmentation, "random_crop", noted)
    Batches(small_data, replace(PLAIN, flip="random")).batch(tf.constant(3))
    Batches(small_data, replace(PLAIN, flip="random", crop=2)).batch(tf.constant(3))
    flip_alone, flip, crop = keys
    assert flip_alone == flip != crop


def test_alternating_flips_mirror_half_of_the_images_in_odd_epochs_and_the_other_half_in_even_ones(small_data):
    cutter = Batches(small_data, replace(PLAIN, flip="alternating"))
    mirrored_first = cutter.mirrored_first.numpy()
    assert 60 < mirrored_first.sum() < 140  # five standard deviations
    for step in (1, 4, 5, 8, 9):  # epochs 1, 1, 2, 2, 3
        chosen = cutter.indices(tf.constant(step)).numpy()
        for index, image in zip(chosen, cutter.batch(tf.constant(step))[0].numpy()):
            original = small_data.train_images[index]
            mirrored = mirrored_first[index] != (step in (5, 8))
            np.testing.assert_array_equal(image, original[:, ::-1] if mirrored else original)


def test_a_batch_larger_than_the_data_is_refused(small_data):
    with pytest.raises(DataError, match="--batch-size 201: larger than the 200 training images of shapes10"):
        Batches(small_data, replace(PLAIN, batch_size=201))


def test_standardize_is_its_formula(small_data):
    images = small_data.test_images[:20]
    x = standardize(tf.constant(images))
    assert x.dtype == tf.float32
    np.testing.assert_allclose(x, (images / 255.0 - MEAN) / STD, rtol=1e-5, atol=1e-6)


def test_standardize_by_hand():
    black, white = standardize(tf.constant([[[[0, 0, 0]]], [[[255, 255, 255]]]], tf.uint8)).numpy()[:, 0, 0]
    np.testing.assert_allclose(black, [-0.4914 / 0.2470, -0.4822 / 0.2435, -0.4465 / 0.2616], rtol=1e-6)
    np.testing.assert_allclose(white, [0.5086 / 0.2470, 0.5178 / 0.2435, 0.5535 / 0.2616], rtol=1e-6)


def test_the_training_images_that_are_evaluated_are_as_many_as_the_glossary_says():
    """And all of CIFAR-10's evaluation batches are full."""
    assert batches.TRAIN_SUBSET == 5_000
    assert batches.TRAIN_SUBSET % batches.EVALUATION_BATCH == 10_000 % batches.EVALUATION_BATCH == 0


@pytest.mark.parametrize(("size", "count"), [(7, 15), (100, 1), (25, 4), (1000, 1)])
def test_in_order_drops_nothing(small_data, monkeypatch, size, count):
    monkeypatch.setattr(batches, "EVALUATION_BATCH", size)
    parts = list(in_order(small_data.test_images, small_data.test_labels))
    assert len(parts) == count
    np.testing.assert_array_equal(np.concatenate([images for images, _ in parts]), small_data.test_images)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in parts]), small_data.test_labels)


@pytest.mark.parametrize("batch_size", [50, 30])
def test_the_epoch_of_a_step(small_data, batch_size):
    """Steps and epochs both count from 1; as numbers and as tensors."""
    cutter = Batches(small_data, replace(PLAIN, batch_size=batch_size))
    per_epoch = 200 // batch_size
    expected = [epoch for epoch in (1, 2, 3) for _ in range(per_epoch)]
    assert [cutter.epoch(step) for step in range(1, 3 * per_epoch + 1)] == expected
    np.testing.assert_array_equal(cutter.epoch(tf.range(1, 3 * per_epoch + 1)), expected)
