"""FusedGELU is GELU: values, gradients, second derivatives."""

import math

import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_layer_gradients, normal
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from speed.same_function import assert_same_function

from core.layers import GELU
from core.speed.gelu import FusedGELU


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float32, 1e-6), (tf.float64, 1e-7), (tf.bfloat16, 0.01)])
def test_it_is_the_textbook_layer(dtype, tolerance):
    """tf.nn.gelu keeps its sqrt 2 in float32, even for float64 numbers."""
    x = tf.cast(3 * normal(4, 5, 5, 6), dtype)
    assert_same_function(GELU("gelu"), FusedGELU("gelu"), x, tolerance=tolerance)


@given(arrays(np.float64, 20, elements=st.floats(-50, 50)))
def test_it_is_the_formula(x):
    expected = [value / 2 * (1 + math.erf(value / math.sqrt(2))) for value in x]
    np.testing.assert_allclose(FusedGELU("gelu")(tf.constant(x), True), expected, rtol=1e-9, atol=1e-15)


def test_every_entry_of_the_gradient():
    assert_layer_gradients(FusedGELU("gelu"), 2 * normal(2, 3, 3, 2))


def test_in_bfloat16_it_is_float32_rounded_once():
    x, dy = (tf.cast(3 * normal(4, 50), tf.bfloat16) for _ in range(2))

    def value_and_gradient(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = FusedGELU("gelu")(x, training=True)
        return y, tape.gradient(y, x, dy)

    exact = value_and_gradient(tf.cast(x, tf.float32), tf.cast(dy, tf.float32))
    for found, expected in zip(value_and_gradient(x, dy), exact):
        assert found.dtype == tf.bfloat16
        np.testing.assert_array_equal(tf.cast(found, tf.float32), tf.cast(tf.cast(expected, tf.bfloat16), tf.float32))


def test_it_is_the_same_to_the_bit_inside_a_graph():
    x, layer = tf.cast(normal(4, 50), tf.float32), FusedGELU("gelu")
    compiled = tf.function(lambda x: layer(x, training=True), autograph=False)
    np.testing.assert_array_equal(layer(x, training=True), compiled(x))


def test_it_can_be_differentiated_twice():
    # g'' = 2 f(x) - x^2 f(x), f the density of the normal distribution
    x = tf.Variable([-1.5, 0.0, 0.7], dtype=tf.float64)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            y = FusedGELU("gelu")(tf.convert_to_tensor(x), training=True)
        slope = inner.gradient(y, x)
    density = np.exp(-(x.numpy() ** 2) / 2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(outer.gradient(slope, x), (2 - x.numpy() ** 2) * density, rtol=1e-12)
