import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_layer_gradients, normal, with_gradient_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.layers import Softmax


def by_formula(z: np.ndarray) -> np.ndarray:
    """The formula of the docstring, row by row."""
    p = np.empty_like(z)
    for n, row in enumerate(z):
        e = [np.exp(score - max(row)) for score in row]
        p[n] = [each / sum(e) for each in e]
    return p


logits = st.tuples(st.integers(1, 5), st.integers(2, 12)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-1000, 1000))
)


def test_every_entry_of_the_gradient():
    assert_layer_gradients(Softmax("softmax"), normal(3, 6))


def test_a_gradient_that_forgets_the_sum_is_found():
    """P[k] also depends on the other scores, through the sum below the line."""

    class NoSum(Softmax):
        def __call__(self, x, training, step=None):
            e = tf.exp(x)
            sums = tf.stop_gradient(tf.reduce_sum(e, axis=-1, keepdims=True))
            return with_gradient_of(e / sums, super().__call__(x, training))

    with pytest.raises(AssertionError, match="gradient d/dx"):
        assert_layer_gradients(NoSum("softmax"), normal(3, 6))


@given(logits)
def test_equals_keras_and_the_formula_and_sums_to_one(z):
    p = Softmax("softmax")(tf.constant(z), training=True).numpy()
    np.testing.assert_allclose(p, tf.keras.layers.Softmax(dtype="float64")(z), rtol=1e-12, atol=0)
    np.testing.assert_allclose(p, by_formula(z), rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-12)
    assert np.all(p >= 0)


def test_by_hand():
    z = tf.constant([[0.0, np.log(2), np.log(5)], [7, 7, 7]], tf.float64)
    np.testing.assert_allclose(Softmax("softmax")(z, training=False), [[1 / 8, 2 / 8, 5 / 8], [1 / 3, 1 / 3, 1 / 3]])


def test_huge_logits_do_not_overflow():
    p = Softmax("softmax")(tf.constant([[1e30, 0, -1e30], [-1e30, -1e30, -2e30]]), training=False)
    np.testing.assert_array_equal(p, [[1, 0, 0], [0.5, 0.5, 0]])


def test_work_by_hand():
    assert Softmax("softmax").flops((10,)) == 40
