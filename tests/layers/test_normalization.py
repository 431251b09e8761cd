import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_layer_gradients, normal, with_gradient_of
from hypothesis import given
from hypothesis import strategies as st

from core.layers import BatchNormalization
from core.layers.normalization import batch_moments, normalize

shapes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)).filter(
    lambda shape: shape[0] * shape[1] * shape[2] > 2
)


def moved(channels, dtype=tf.float64, **options) -> BatchNormalization:
    """A layer none of whose variables has its initial value."""
    layer = BatchNormalization("norm", channels, **options, dtype=dtype)
    layer.gamma.assign(1 + 0.3 * normal(channels, seed=1))
    layer.beta.assign(normal(channels, seed=2))
    layer.moving_mean.assign(normal(channels, seed=3))
    layer.moving_variance.assign(np.exp(normal(channels, seed=4)))
    return layer


def by_formula(layer: BatchNormalization, x: np.ndarray, mean, variance) -> np.ndarray:
    """The formula of the docstring, one number after the other."""
    gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
    y = np.empty_like(x)
    for n, i, j, c in np.ndindex(x.shape):
        y[n, i, j, c] = gamma[c] * (x[n, i, j, c] - mean[c]) / np.sqrt(variance[c] + layer.epsilon) + beta[c]
    return y


@pytest.mark.parametrize("training", [True, False])
def test_every_entry_of_every_gradient(training):
    assert_layer_gradients(moved(2), normal(3, 3, 2, 2), training)


def test_statistics_taken_for_constants_are_found():
    """Each x also changes the mean and the variance that it is normalized by."""

    class ConstantStatistics(BatchNormalization):
        def __call__(self, x, training, step=None):
            mean, variance = map(tf.stop_gradient, batch_moments(x))
            wrong = normalize(x, mean, variance, self.gamma, self.beta)
            return with_gradient_of(wrong, super().__call__(x, training))

    with pytest.raises(AssertionError, match="gradient d/dx"):
        assert_layer_gradients(ConstantStatistics("norm", 2, dtype=tf.float64), normal(3, 3, 2, 2))


@given(shapes, st.booleans())
def test_equals_keras_and_the_formula(shape, training):
    x, layer = 3 + 2 * normal(*shape), moved(shape[-1])
    keras = tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=layer.epsilon, dtype="float64")
    keras.build(shape)
    keras.set_weights([v.numpy() for v in layer.parameters + layer.statistics])
    mean, variance = (v.numpy() for v in layer.statistics)
    if training:
        mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))

    y = layer(tf.constant(x), training)
    np.testing.assert_allclose(y, keras(x, training=training), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(y, by_formula(layer, x, mean, variance), rtol=1e-9, atol=1e-9)
    assert layer.output_shape(shape[1:]) == tuple(y.shape[1:])
    assert layer.parameter_count == sum(np.prod(v.shape) for v in keras.trainable_weights)


def test_by_hand():
    # mean 4, variance (9+1+1+9)/4 = 5, unbiased 20/3
    x = tf.reshape(tf.constant([1, 3, 5, 7], tf.float64), [4, 1, 1, 1])
    layer = BatchNormalization("norm", 1, epsilon=4.0, dtype=tf.float64)  # sqrt(5 + 4) = 3
    layer.gamma.assign([6.0])
    layer.beta.assign([10.0])
    np.testing.assert_allclose(tf.reshape(layer(x, training=True), [-1]), [4, 8, 12, 16], rtol=1e-12)
    np.testing.assert_allclose(layer.moving_mean, [0.4])  # the momentum that is not given is 0.9: 0.9 * 0 + 0.1 * 4
    np.testing.assert_allclose(layer.moving_variance, [0.9 + 0.1 * 20 / 3])


def test_channels_come_out_with_mean_zero_and_standard_deviation_one():
    x = tf.constant(5 + 40 * normal(8, 6, 6, 3))
    y = BatchNormalization("norm", 3, dtype=tf.float64)(x, training=True).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1, atol=1e-5)  # epsilon takes a little


def test_a_large_mean_loses_no_digit_of_the_variance():
    """E[x^2] - E[x]^2 would lose it: near 10,000 float32 has steps of 0.001, their squares steps of 8."""
    x = (10_000 + normal(8, 8, 8, 2)).astype(np.float32)
    _, variance = batch_moments(tf.constant(x))
    np.testing.assert_allclose(variance, x.astype(np.float64).var(axis=(0, 1, 2)), rtol=1e-3)


@pytest.mark.parametrize(("x", "variance"), [([1, 3], 2.0), ([7], 0.0)])
def test_the_unbiased_variance_of_two_numbers_is_twice_the_other_and_that_of_one_is_no_division_by_zero(x, variance):
    layer = BatchNormalization("norm", 1, momentum=0.75, dtype=tf.float64)
    layer(tf.constant(x, tf.float64)[:, None, None, None], training=True)
    np.testing.assert_allclose(layer.moving_variance, [0.75 + 0.25 * variance])


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_moving_averages_after_several_steps(dtype):
    layer = BatchNormalization("norm", 3, momentum=0.8, dtype=dtype)
    mean, variance = np.zeros(3), np.ones(3)
    for step in range(6):
        x = step + (1 + step) * normal(2, 2, 3, 3, seed=step)  # n = 12: the unbiased variance is 12/11 of the other
        layer(tf.constant(x, dtype), training=True)
        mean = 0.8 * mean + 0.2 * x.mean(axis=(0, 1, 2))
        variance = 0.8 * variance + 0.2 * x.var(axis=(0, 1, 2), ddof=1)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_evaluation_uses_the_moving_averages_and_leaves_them_alone(dtype):
    layer = moved(3, dtype)
    before = [v.numpy() for v in layer.statistics]
    one, other = normal(4, 2, 2, 3, seed=1), normal(4, 2, 2, 3, seed=2)
    alone = layer(tf.constant(one, dtype), training=False)
    together = layer(tf.constant(np.concatenate([one, other]), dtype), training=False)
    np.testing.assert_allclose(together[:4], alone, rtol=1e-6, atol=1e-6)  # whatever else is in the batch
    np.testing.assert_allclose(alone, by_formula(layer, one, *before), rtol=1e-5, atol=1e-5)
    for v, was in zip(layer.statistics, before):
        np.testing.assert_array_equal(v, was)


def test_initial_values():
    layer = BatchNormalization("norm", 2)
    assert [v.numpy().tolist() for v in layer.parameters + layer.statistics] == [[1, 1], [0, 0], [0, 0], [1, 1]]
    assert [v.trainable for v in layer.parameters + layer.statistics] == [True, True, False, False]


def test_work_by_hand():
    assert BatchNormalization("norm", 32).flops((16, 8, 32)) == 3 * 4096
    assert BatchNormalization("norm", 32).parameter_count == 64


@pytest.mark.parametrize("shape", [(2, 4, 4, 6), (2, 6)])
def test_a_wrong_input_is_named_with_the_way_out(shape):
    with pytest.raises(ValueError, match=r"layer 'norm4'.*\[N,H,W,5\] \(channels=5\).*channels=6"):
        BatchNormalization("norm4", 5)(tf.zeros(shape), training=True)


def test_without_a_scale_only_beta_is_learned():
    layer = BatchNormalization("norm", 3, use_scale=False)
    assert layer.parameters == [layer.beta] and layer.parameter_count == 3
    np.testing.assert_array_equal(layer.gamma, [1, 1, 1])
