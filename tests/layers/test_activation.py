import math

import numpy as np
import pytest
import tensorflow as tf
from gradients import KINKED, SMOOTH, apart, assert_layer_gradients, normal, with_gradient_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from core.layers import GELU, LeakyReLU, ReLU, Sigmoid
from core.layers.activation import ACTIVATIONS, activation_layers
from core.settings import settings

numbers = arrays(np.float64, array_shapes(max_dims=4, max_side=6), elements=st.floats(-50, 50))


def gelu_by_formula(x: float) -> float:
    """x P(Z <= x) for a standard normal Z."""
    return x / 2 * (1 + math.erf(x / math.sqrt(2)))


def test_every_entry_of_the_gradient_of_relu():
    assert_layer_gradients(ReLU("relu"), apart([2, 3, 3, 2]), bound=KINKED)


def test_every_entry_of_the_gradient_of_gelu():
    assert_layer_gradients(GELU("gelu"), 2 * normal(2, 3, 3, 2), bound=SMOOTH)


def test_every_entry_of_the_gradient_of_leaky_relu():
    assert_layer_gradients(LeakyReLU("leaky", 0.2), apart([2, 3, 3, 2]), bound=KINKED)


def test_every_entry_of_the_gradient_of_sigmoid():
    assert_layer_gradients(Sigmoid("sigmoid"), 2 * normal(2, 3, 3, 2), bound=SMOOTH)


def test_a_leaky_relu_with_the_gradient_of_relu_is_found():
    class Dry(LeakyReLU):
        def __call__(self, x, training, step=None):
            return with_gradient_of(tf.nn.relu(x), super().__call__(x, training))

    with pytest.raises(AssertionError, match="gradient d/dx"):
        assert_layer_gradients(Dry("leaky"), apart([2, 3]), bound=KINKED)


def test_a_relu_that_lets_every_gradient_through_is_found():
    class Leaking(ReLU):
        def __call__(self, x, training, step=None):
            return with_gradient_of(x, super().__call__(x, training))

    with pytest.raises(AssertionError, match="gradient d/dx"):
        assert_layer_gradients(Leaking("relu"), apart([2, 3]), bound=KINKED)


def test_the_gradient_of_the_tanh_approximation_of_gelu_is_found():
    class Approximate(GELU):
        def __call__(self, x, training, step=None):
            return with_gradient_of(tf.nn.gelu(x, approximate=True), super().__call__(x, training))

    with pytest.raises(AssertionError, match="gradient d/dx"):
        assert_layer_gradients(Approximate("gelu"), normal(2, 3))


@given(numbers)
def test_relu_equals_keras_and_the_formula(x):
    y = ReLU("relu")(tf.constant(x), training=True)
    np.testing.assert_array_equal(y, tf.keras.layers.ReLU(dtype="float64")(x))
    np.testing.assert_array_equal(y, np.maximum(x, 0))


@given(numbers)
def test_gelu_equals_keras_and_the_formula(x):
    y = GELU("gelu")(tf.constant(x), training=True)
    np.testing.assert_array_equal(y, tf.keras.activations.gelu(tf.constant(x), approximate=False))
    # tf.nn.gelu keeps its sqrt 2 in float32, even for float64 numbers.
    np.testing.assert_allclose(y, np.vectorize(gelu_by_formula, otypes=[float])(x), rtol=2e-8, atol=1e-7)


@given(numbers)
def test_leaky_relu_and_sigmoid_equal_keras_and_the_formula(x):
    y = LeakyReLU("leaky", 0.2)(tf.constant(x), training=True)
    np.testing.assert_allclose(y, tf.keras.layers.LeakyReLU(0.2, dtype="float64")(x), rtol=1e-7, atol=1e-300)
    np.testing.assert_allclose(y, np.where(x > 0, x, 0.2 * x), rtol=1e-7, atol=1e-300)
    y = Sigmoid("sigmoid")(tf.constant(x), training=True)
    np.testing.assert_allclose(y, tf.keras.activations.sigmoid(tf.constant(x)), rtol=1e-12)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-x)), rtol=1e-9)


def test_leaky_relu_and_sigmoid_by_hand():
    np.testing.assert_allclose(LeakyReLU("leaky")(tf.constant([-2.0, 0.0, 3.0]), training=False), [-0.02, 0, 3])
    x = tf.Variable([0.0, np.log(3.0)])
    with tf.GradientTape() as tape:
        y = Sigmoid("sigmoid")(tf.convert_to_tensor(x), training=False)
    np.testing.assert_allclose(y, [1 / 2, 3 / 4], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(y, x), [1 / 4, 3 / 16], rtol=1e-6)  # y (1 - y)


def test_the_words_of_the_setting():
    assert settings.ACTIVATIONS == (*ACTIVATIONS, "none")
    for word, kind in ACTIVATIONS.items():
        [layer] = activation_layers(word, "name")
        assert type(layer) is kind and layer.name == "name"
        assert layer.is_activation, "its units are counted as dead or alive"
    assert activation_layers("none", "name") == []


def test_relu_by_hand():
    x = tf.Variable([-2.0, 0.0, 3.0])
    with tf.GradientTape() as tape:
        y = ReLU("relu")(tf.convert_to_tensor(x), training=False)
    np.testing.assert_array_equal(y, [0, 0, 3])
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 0, 1])  # at 0 exactly: 0


def test_gelu_by_hand():
    # P(Z <= 1) = 0.8413447, so GELU(1) = 0.8413447 and GELU(-1) = -(1 - 0.8413447)
    y = GELU("gelu")(tf.constant([0.0, 1.0, -1.0], tf.float64), training=False)
    np.testing.assert_allclose(y, [0, 0.8413447, -0.1586553], atol=1e-7)


def test_work_by_hand():
    assert ReLU("relu").flops((4, 4, 8)) == 128
    assert GELU("gelu").flops((4, 4, 8)) == 512
    assert LeakyReLU("leaky").flops((4, 4, 8)) == 256
    assert Sigmoid("sigmoid").flops((4, 4, 8)) == 512
