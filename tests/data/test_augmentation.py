from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from core import random_streams
from core.data import augmentation as textbook
from core.data.batches import Batches
from core.settings.recipes import RECIPES
from core.speed import augmentation as fast

KEY = random_streams.stream(0, "test")


@pytest.fixture(params=[textbook, fast], ids=["textbook", "fast"], scope="module")
def augmentation(request):
    """The textbook's functions, then those of core/speed/: one specification."""
    return request.param


def distinct(count: int, size: int = 8) -> np.ndarray:
    """Images of which no two pixels of a colour are alike (up to 16 x 16), so that every shift shows."""
    random = np.random.default_rng(count)
    planes = [random.permutation(256)[: size * size].reshape(size, size) for _ in range(3 * count)]
    return np.stack(planes).reshape(count, 3, size, size).transpose(0, 2, 3, 1).astype(np.uint8)


def shifted(image: np.ndarray, pixels: int, row: int, column: int) -> np.ndarray:
    """The definition of a crop, in NumPy: pad by reflection, cut the window whose corner is (row, column)."""
    padded = np.pad(image, [(pixels, pixels), (pixels, pixels), (0, 0)], "reflect")
    return padded[row : row + len(image), column : column + len(image)]


def corner_of(image: np.ndarray, before: np.ndarray, pixels: int) -> tuple[int, int]:
    """The window that `image` was cut from; there must be exactly one."""
    side = range(2 * pixels + 1)
    [corner] = [(i, j) for i in side for j in side if np.array_equal(image, shifted(before, pixels, i, j))]
    return corner


def test_random_flip_mirrors_about_half_of_the_images_and_changes_no_other(augmentation):
    before = distinct(400)
    after = augmentation.random_flip(tf.constant(before), KEY).numpy()
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(after, before)]
    unchanged = [np.array_equal(a, b) for a, b in zip(after, before)]
    assert all(a != b for a, b in zip(mirrored, unchanged))
    assert sum(mirrored) == pytest.approx(200, abs=50)  # five standard deviations


@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_mirror_is_its_definition_in_numpy(augmentation, mirrored):
    images = distinct(len(mirrored))
    expected = [image[:, ::-1] if left_right else image for image, left_right in zip(images, mirrored)]
    found = augmentation.mirror(tf.constant(images), tf.constant(mirrored))
    assert found.dtype == tf.uint8
    np.testing.assert_array_equal(found, expected)


@given(st.integers(1, 8), st.data())
def test_random_crop_is_its_definition_in_numpy(augmentation, pixels, data):
    """Every corner, drawn by hypothesis in the place of the random stream."""
    side = st.integers(0, 2 * pixels)
    corners = data.draw(st.lists(st.tuples(side, side), min_size=3, max_size=3))
    before = distinct(3, size=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random_streams, "integers", lambda key, shape, limit: tf.constant(corners))
        after = augmentation.random_crop(tf.constant(before), KEY, pixels)
    assert after.dtype == tf.uint8
    np.testing.assert_array_equal(after, [shifted(image, pixels, *corner) for image, corner in zip(before, corners)])


@given(st.integers(1, 8))
def test_random_crop_pads_and_cuts_every_image(augmentation, pixels):
    before = distinct(6, size=16)
    after = augmentation.random_crop(tf.constant(before), KEY, pixels).numpy()
    for a, b in zip(after, before):
        corner_of(a, b, pixels)


def test_random_crop_takes_every_shift_equally_often_and_image_by_image(augmentation):
    before = distinct(900)
    after = augmentation.random_crop(tf.constant(before), KEY, 1).numpy()
    corners = [corner_of(a, b, 1) for a, b in zip(after, before)]
    counts = [corners.count((i, j)) for i in range(3) for j in range(3)]
    assert sum(counts) == 900 and min(counts) > 50 and max(counts) < 150  # 100 each, five standard deviations


def test_random_crop_by_hand(augmentation, monkeypatch):
    """One row down, one column to the left: the window starts at row 0, column 2 of the padded image."""
    monkeypatch.setattr(random_streams, "integers", lambda key, shape, limit: tf.constant([[0, 2]]))
    image = tf.reshape(tf.range(1, 10), [1, 3, 3, 1])  # 1 2 3 / 4 5 6 / 7 8 9
    # padded by reflection: 5 4 5 6 5 / 2 1 2 3 2 / 5 4 5 6 5 / 8 7 8 9 8 / 5 4 5 6 5
    expected = [[5, 6, 5], [2, 3, 2], [5, 6, 5]]
    np.testing.assert_array_equal(augmentation.random_crop(image, KEY, 1)[0, :, :, 0], expected)


def test_images_need_not_be_square(augmentation):
    images = tf.reshape(tf.range(2 * 4 * 7 * 3), [2, 4, 7, 3])
    np.testing.assert_array_equal(augmentation.random_crop(images, KEY, 0), images)
    np.testing.assert_array_equal(augmentation.mirror(images, tf.constant([True, True])), images[:, :, ::-1])


def test_a_crop_of_no_pixels_changes_nothing(augmentation):
    before = distinct(5)
    np.testing.assert_array_equal(augmentation.random_crop(tf.constant(before), KEY, 0), before)


@pytest.mark.parametrize("name, pixels", [("random_flip", []), ("random_crop", [2])])
def test_a_pure_function_of_images_and_key(augmentation, name, pixels):
    def function(images, key):
        return getattr(augmentation, name)(images, key, *pixels)

    images = tf.constant(distinct(40))
    once = function(images, KEY)
    assert once.dtype == tf.uint8 and once.shape == images.shape
    np.testing.assert_array_equal(function(images, KEY), once)
    assert np.any(function(images, random_streams.at_step(KEY, 1)) != once)
    signature = [tf.TensorSpec([None, 8, 8, 3], tf.uint8), tf.TensorSpec([2], tf.int32)]
    np.testing.assert_array_equal(tf.function(function, signature, autograph=False)(images, KEY), once)


@pytest.mark.parametrize("epoch", range(5))
def test_the_marked_images_are_mirrored_in_the_even_epochs_and_the_others_in_the_odd_ones(augmentation, epoch):
    images, first = distinct(4), [True, False, False, True]
    mirrored = first if epoch in (0, 2, 4) else [not marked for marked in first]
    found = augmentation.alternating_flip(tf.constant(images), tf.constant(first), tf.constant(epoch))
    np.testing.assert_array_equal(found, textbook.mirror(tf.constant(images), tf.constant(mirrored)))


def test_alternating_flip_shows_every_image_both_ways(augmentation, small_data):
    """Over two epochs each image is seen once as it is and once mirrored, whichever came first."""
    settings = replace(RECIPES["debug"], batch_size=50, flip="alternating")
    batches = Batches(small_data, settings, augmentation)
    seen = {}
    for step in range(1, 17):  # four epochs of four steps
        images, _ = batches.batch(tf.constant(step))
        for index, image in zip(batches.indices(tf.constant(step)).numpy(), images.numpy()):
            seen.setdefault(int(index), []).append(image)
    assert len(seen) == 200
    mirrored_first = 0
    for index, (one, two, three, four) in seen.items():
        image = small_data.train_images[index]
        assert (one == three).all() and (two == four).all() and (one == two[:, ::-1]).all()
        assert (one == image).all() or (two == image).all()
        mirrored_first += not (one == image).all()
    assert 60 < mirrored_first < 140, "about half of them begin mirrored"
