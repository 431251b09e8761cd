import numpy as np
import pytest
import tensorflow as tf
from gradients import SMOOTH, assert_gradients, normal, with_gradient_of
from hypothesis import given
from hypothesis import strategies as st

from core.losses import correct, softmax_cross_entropy

SMOOTHINGS = [0.0, 0.1, 0.7]
smoothings, sizes = st.floats(0, 0.99), st.tuples(st.integers(1, 8), st.integers(2, 12))


def case(shape, scale: float = 3.0):
    """Logits float64 [N,K] and labels int32 [N], the same ones for the same shape."""
    labels = np.random.default_rng(sum(shape)).integers(0, shape[1], shape[0], dtype=np.int32)
    return tf.constant(scale * normal(*shape)), tf.constant(labels)


def by_formula(logits, labels, smoothing: float) -> np.ndarray:
    """The formula of the docstring: -sum q log p, class by class."""
    losses = []
    for z, label in zip(logits.numpy(), labels.numpy()):
        p, loss = np.exp(z) / np.sum(np.exp(z)), 0.0
        for k in range(len(z)):
            q = (1 - smoothing) * (k == label) + smoothing / len(z)
            loss -= q * np.log(p[k])
        losses.append(loss)
    return np.array(losses)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_every_entry_of_the_gradient(smoothing):
    logits, labels = case((4, 6))
    z = tf.Variable(logits)
    assert_gradients(lambda: tf.reduce_mean(softmax_cross_entropy(z, labels, smoothing)), {"logits": z}, SMOOTH)


def test_a_gradient_that_forgets_the_smoothing_is_found():
    logits, labels = case((4, 6))
    z = tf.Variable(logits)

    def loss():
        forgetful = softmax_cross_entropy(z, labels)
        return tf.reduce_sum(with_gradient_of(forgetful, softmax_cross_entropy(z, labels, 0.01)))

    with pytest.raises(AssertionError, match="gradient d/dlogits"):
        assert_gradients(loss, {"logits": z})


@given(sizes, smoothings)
def test_the_gradient_is_p_minus_q(shape, smoothing):
    logits, labels = case(shape)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = softmax_cross_entropy(logits, labels, smoothing)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    q = (1 - smoothing) * np.eye(shape[1])[labels] + smoothing / shape[1]
    np.testing.assert_allclose(tape.gradient(losses, logits), p - q, rtol=0, atol=1e-14)


@given(sizes, smoothings)
def test_equals_tensorflow_keras_and_the_formula(shape, smoothing):
    logits, labels = case(shape)
    losses = softmax_cross_entropy(logits, labels, smoothing)
    assert losses.shape == shape[:1] and losses.dtype == tf.float64
    np.testing.assert_allclose(losses, by_formula(logits, labels, smoothing), rtol=1e-12)
    keras = tf.keras.losses.categorical_crossentropy(
        tf.one_hot(labels, shape[1], dtype=tf.float64), logits, from_logits=True, label_smoothing=smoothing
    )
    np.testing.assert_allclose(losses, keras, rtol=1e-12)
    np.testing.assert_allclose(
        softmax_cross_entropy(logits, labels),
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits),
        rtol=1e-12,
    )


def test_by_hand():
    logits = tf.constant([[0.0, np.log(3)], [np.log(7), 0.0]], tf.float64)  # p = 1/4, 3/4 and 7/8, 1/8
    labels = tf.constant([0, 0])
    np.testing.assert_allclose(softmax_cross_entropy(logits, labels), np.log([4, 8 / 7]))
    # smoothing 0.2: q = 0.9, 0.1
    smoothed = 0.9 * np.log([4, 8 / 7]) + 0.1 * np.log([4 / 3, 8])
    np.testing.assert_allclose(softmax_cross_entropy(logits, labels, 0.2), smoothed)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("score", [0.0, -5.0, 1e4])
def test_equal_logits_cost_ln_10(score, smoothing):
    losses = softmax_cross_entropy(tf.fill([3, 10], score), tf.constant([0, 4, 9]), smoothing)
    np.testing.assert_allclose(losses, np.log(10), rtol=1e-6)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_huge_logits_stay_finite(size, dtype):
    """Where p rounds to 0, its logarithm would be minus infinity."""
    logits, labels = size * tf.eye(3, dtype=dtype), tf.constant([0, 0, 0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = softmax_cross_entropy(logits, labels)
    np.testing.assert_allclose(losses, [0, size, size], rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(tape.gradient(losses, logits), [[0, 0, 0], [-1, 1, 0], [-1, 0, 1]], atol=1e-30)


def test_correct_by_hand():
    logits = tf.constant([[0.1, 0.9, 0.0], [2.0, 1.0, -1.0], [0.0, 0.0, 5.0], [-3.0, -2.0, -4.0]])
    right = correct(logits, tf.constant([1, 1, 2, 1]))
    assert right.dtype == tf.float32
    np.testing.assert_array_equal(right, [1, 0, 1, 1])
