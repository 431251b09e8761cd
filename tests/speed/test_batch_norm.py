"""FusedBatchNormalization is BatchNormalization: values, gradients, moving averages."""

import copy

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal
from speed.same_function import assert_same_function

from core.layers import BatchNormalization
from core.layers.normalization import EPSILON
from core.speed.batch_norm import SMALLEST_EPSILON, FusedBatchNormalization
from core.speed.kernels import converted


def pair(channels: int, **options):
    """(BatchNormalization, FusedBatchNormalization) with equal variables, none of which has its initial value."""
    textbook = BatchNormalization("norm", channels, **options)
    for k, variable in enumerate(textbook.parameters + textbook.statistics):
        variable.assign(np.exp(0.3 * normal(channels, seed=k)))
    return textbook, converted(copy.deepcopy(textbook), FusedBatchNormalization)


@pytest.mark.parametrize("use_scale", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_it_is_the_textbook_layer(use_scale, training, offset):
    """With its moving averages, whose variance is the unbiased one: n = 120, 120/119."""
    x = tf.constant(offset + 2 * normal(6, 5, 4, 3), tf.float32)
    textbook, fast = pair(3, use_scale=use_scale)
    assert_same_function(textbook, fast, x, training, tolerance=1e-5 * (1 + offset))


@pytest.mark.parametrize("training", [True, False])
def test_in_bfloat16_it_is_the_textbook_layer_to_one_rounding(training):
    x = tf.cast(normal(6, 5, 4, 3), tf.bfloat16)
    assert_same_function(*pair(3), x, training, tolerance=0.02)


def test_several_steps_move_the_averages_alike():
    textbook, fast = pair(3, momentum=0.8)
    for step in range(5):
        x = tf.constant(step + (1 + step) * normal(2, 2, 3, 3, seed=step), tf.float32)
        textbook(x, training=True), fast(x, training=True)
    for expected, found in zip(textbook.statistics, fast.statistics):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_epsilon_of_the_textbook_layer_is_one_that_the_kernel_keeps():
    """On a GPU the kernel raises a smaller one in silence: then it would be another function."""
    assert EPSILON >= SMALLEST_EPSILON
    textbook, fast = pair(3, epsilon=SMALLEST_EPSILON)
    x = tf.constant(1e-3 * normal(6, 5, 4, 3), tf.float32)  # a variance that epsilon dominates
    assert_same_function(textbook, fast, x, tolerance=1e-4)


def test_a_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"layer 'norm'.*channels=6"):
        pair(3)[1](tf.zeros([2, 4, 4, 6]), training=True)
