"""Flips and crops by gathering: the bytes of the textbook, which tests/data/test_augmentation.py specifies."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from core import build
from core.data import augmentation as textbook
from core.data.batches import Batches
from core.settings.recipes import RECIPES
from core.speed import augmentation as fast


@pytest.mark.parametrize("flip, crop", [("random", 2), ("alternating", 8), ("none", 1)])
def test_the_faster_functions_give_the_same_batches_to_the_byte(small_data, flip, crop):
    settings = replace(RECIPES["debug"], batch_size=50, flip=flip, crop=crop)
    for step in (1, 6, 11):
        images = [Batches(small_data, settings, used).batch(tf.constant(step))[0].numpy() for used in (textbook, fast)]
        np.testing.assert_array_equal(*images)


def test_a_run_names_the_functions_it_was_built_with(small_data):
    named = {
        kernels: build.build_batches(small_data, replace(RECIPES["debug"], kernels=kernels)).augmentation
        for kernels in ("textbook", "fast", "auto")
    }
    assert named == {"textbook": textbook, "fast": fast, "auto": fast}
