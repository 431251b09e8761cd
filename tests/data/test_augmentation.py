from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from core import random_streams
from core.data import augmentation
from core.data.batches import Batches
from core.settings.recipes import RECIPES

KEY = random_streams.stream(0, "test")


def pictures(count: int, size: int = 8) -> np.ndarray:
    """Pictures of which no two pixels of a colour are alike (up to 16 x 16), so that every shift shows."""
    random = np.random.default_rng(count)
    planes = [random.permutation(256)[: size * size].reshape(size, size) for _ in range(3 * count)]
    return np.stack(planes).reshape(count, 3, size, size).transpose(0, 2, 3, 1).astype(np.uint8)


def shifted(picture: np.ndarray, pixels: int, row: int, column: int) -> np.ndarray:
    """Pad by reflection, cut the window whose corner is (row, column): what crop says it is the same as."""
    padded = np.pad(picture, [(pixels, pixels), (pixels, pixels), (0, 0)], "reflect")
    return padded[row : row + len(picture), column : column + len(picture)]


def corner_of(picture: np.ndarray, before: np.ndarray, pixels: int) -> tuple[int, int]:
    """The window that `picture` was cut from; there must be exactly one."""
    side = range(2 * pixels + 1)
    [corner] = [(i, j) for i in side for j in side if np.array_equal(picture, shifted(before, pixels, i, j))]
    return corner


def test_flip_mirrors_about_half_of_the_pictures_and_does_nothing_else():
    before = pictures(400)
    after = augmentation.flip(tf.constant(before), KEY).numpy()
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(after, before)]
    untouched = [np.array_equal(a, b) for a, b in zip(after, before)]
    assert all(a != b for a, b in zip(mirrored, untouched))
    assert sum(mirrored) == pytest.approx(200, abs=50)  # five deviations


@given(st.integers(1, 8))
def test_crop_is_padding_and_cutting_for_every_picture(pixels):
    before = pictures(6, size=16)
    after = augmentation.crop(tf.constant(before), KEY, pixels).numpy()
    for a, b in zip(after, before):
        corner_of(a, b, pixels)


def test_crop_takes_every_shift_equally_often_and_picture_by_picture():
    before = pictures(900)
    after = augmentation.crop(tf.constant(before), KEY, 1).numpy()
    corners = [corner_of(a, b, 1) for a, b in zip(after, before)]
    counts = [corners.count((i, j)) for i in range(3) for j in range(3)]
    assert sum(counts) == 900 and min(counts) > 50 and max(counts) < 150  # 100 each, five deviations


def test_crop_by_hand(monkeypatch):
    """One row down, one column to the left: the window starts at row 0, column 2 of the padded picture."""
    monkeypatch.setattr(random_streams, "integers", lambda key, shape, limit: tf.constant([[0, 2]]))
    picture = tf.reshape(tf.range(1, 10), [1, 3, 3, 1])  # 1 2 3 / 4 5 6 / 7 8 9
    # padded by reflection: 5 4 5 6 5 / 2 1 2 3 2 / 5 4 5 6 5 / 8 7 8 9 8 / 5 4 5 6 5
    expected = [[5, 6, 5], [2, 3, 2], [5, 6, 5]]
    np.testing.assert_array_equal(augmentation.crop(picture, KEY, 1)[0, :, :, 0], expected)


def test_crop_by_nothing_changes_nothing():
    before = pictures(5)
    np.testing.assert_array_equal(augmentation.crop(tf.constant(before), KEY, 0), before)


@pytest.mark.parametrize("function", [augmentation.flip, lambda images, key: augmentation.crop(images, key, 2)])
def test_a_pure_function_of_pictures_and_key(function):
    images = tf.constant(pictures(40))
    once = function(images, KEY)
    assert once.dtype == tf.uint8 and once.shape == images.shape
    np.testing.assert_array_equal(function(images, KEY), once)
    assert np.any(function(images, random_streams.at_step(KEY, 1)) != once)
    signature = [tf.TensorSpec([None, 8, 8, 3], tf.uint8), tf.TensorSpec([2], tf.int32)]
    np.testing.assert_array_equal(tf.function(function, signature, autograph=False)(images, KEY), once)


def test_alternating_flip_shows_every_picture_both_ways(small_data):
    """Over two epochs each picture is seen once as it is and once mirrored, whatever the coin said at first."""
    settings = replace(RECIPES["debug"], batch_size=50, alternating_flip=True)
    batches = Batches(small_data, settings)
    seen = {}
    for step in range(1, 17):  # four epochs of four steps
        images, _ = batches.batch(tf.constant(step))
        for place, image in zip(batches.indices(tf.constant(step)).numpy(), images.numpy()):
            seen.setdefault(int(place), []).append(image)
    assert len(seen) == 200
    mirrored_first = 0
    for place, (one, two, three, four) in seen.items():
        picture = small_data.train_images[place]
        assert (one == three).all() and (two == four).all() and (one == two[:, ::-1]).all()
        assert (one == picture).all() or (two == picture).all()
        mirrored_first += not (one == picture).all()
    assert 60 < mirrored_first < 140, "about half of them begin mirrored"
