import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_layer_gradients, normal, with_gradient_of
from hypothesis import given
from hypothesis import strategies as st

from core.layers import Flatten

shapes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))


def test_every_entry_of_the_gradient():
    assert_layer_gradients(Flatten("flatten"), normal(2, 3, 2, 4))


def test_a_gradient_unfolded_in_another_order_is_found():
    class OtherOrder(Flatten):
        def __call__(self, x, training, step=None):
            return with_gradient_of(tf.reshape(tf.transpose(x, [0, 3, 1, 2]), [2, -1]), super().__call__(x, training))

    with pytest.raises(AssertionError, match="gradient d/dx"):
        assert_layer_gradients(OtherOrder("flatten"), normal(2, 3, 2, 4))


@given(shapes)
def test_equals_keras_and_the_formula(shape):
    x = normal(*shape)
    y = Flatten("flatten")(tf.constant(x), training=True).numpy()
    np.testing.assert_array_equal(y, tf.keras.layers.Flatten(dtype="float64")(x))
    _, rows, columns, channels = shape
    for n, i, j, c in np.ndindex(shape):
        assert y[n, (i * columns + j) * channels + c] == x[n, i, j, c]
    assert Flatten("flatten").output_shape(shape[1:]) == y.shape[1:] == (rows * columns * channels,)


def test_by_hand():
    x = tf.constant([[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]])  # [1,2,2,2]
    np.testing.assert_array_equal(Flatten("flatten")(x, training=False), [[1, 2, 3, 4, 5, 6, 7, 8]])


def test_it_costs_nothing():
    assert Flatten("flatten").flops((4, 4, 128)) == 0
