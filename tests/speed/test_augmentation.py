"""Flips and crops by gathering: the bytes of the textbook, which tests/data/test_augmentation.py specifies."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from core.data import augmentation as textbook
from core.data.batches import Batches
from core.settings.recipes import RECIPES
from core.speed import augmentation as fast


@pytest.mark.parametrize("flip, crop", [("random", 2), ("alternating", 8), ("none", 1)])
def test_the_faster_functions_give_the_same_batches_to_the_byte(small_data, flip, crop):
    settings = replace(RECIPES["debug"], batch_size=50, flip=flip, crop=crop)
    for step in (1, 6, 11, 16):  # of the epochs 0 to 3
        images = [Batches(small_data, settings, used).batch(tf.constant(step))[0].numpy() for used in (textbook, fast)]
        np.testing.assert_array_equal(*images)


def test_images_that_are_no_squares_are_flipped_and_cropped_alike():
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (20, 5, 8, 3), np.uint8))
    key, first = tf.constant([1, 2]), tf.constant([True, False] * 10)
    for function, *given in (
        ("random_flip", key), ("random_crop", key, 4), ("alternating_flip", first, 2), ("alternating_flip", first, 3),
    ):  # fmt: skip
        expected = getattr(textbook, function)(images, *given)
        np.testing.assert_array_equal(getattr(fast, function)(images, *given), expected, err_msg=function)
        assert np.any(expected != images)
