import math

import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_layer_gradients, normal, with_gradient_of
from hypothesis import given
from hypothesis import strategies as st

from core.layers import Dense


def double(in_features, out_features, **options) -> Dense:
    """A dense layer in float64 whose bias is not zero, its initial value."""
    layer = Dense("dense", in_features, out_features, **options, dtype=tf.float64)
    if layer.bias is not None:
        layer.bias.assign(normal(out_features, seed=5))
    return layer


def by_formula(layer: Dense, x: np.ndarray) -> np.ndarray:
    """The formula of the docstring, one output number after the other."""
    w, b = layer.kernel.numpy(), np.zeros(layer.out_features) if layer.bias is None else layer.bias.numpy()
    y = np.empty([len(x), layer.out_features])
    for n, o in np.ndindex(y.shape):
        y[n, o] = b[o] + sum(x[n, i] * w[i, o] for i in range(layer.in_features))
    return y


@pytest.mark.parametrize("use_bias", [True, False])
def test_every_entry_of_every_gradient(use_bias):
    layer = double(5, 4, use_bias=use_bias)
    assert len(layer.parameters) == 1 + use_bias
    assert_layer_gradients(layer, normal(3, 5))


def test_a_kernel_not_transposed_in_the_backward_pass_is_found():
    class NotTransposed(Dense):
        def __call__(self, x, training, step=None):
            return with_gradient_of(x @ tf.transpose(self.kernel), super().__call__(x, training))

    with pytest.raises(AssertionError, match="gradient d/dx"):
        assert_layer_gradients(NotTransposed("dense", 4, 4, use_bias=False, dtype=tf.float64), normal(3, 4))


@given(st.integers(1, 5), st.integers(1, 20), st.integers(1, 20), st.booleans())
def test_equals_keras_and_the_formula(batch, inputs, outputs, use_bias):
    x = normal(batch, inputs)
    layer = double(inputs, outputs, use_bias=use_bias)
    keras = tf.keras.layers.Dense(outputs, use_bias=use_bias, dtype="float64")
    keras.build(x.shape)
    keras.set_weights([v.numpy() for v in layer.parameters])

    y = layer(tf.constant(x), training=True)
    np.testing.assert_allclose(y, keras(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(y, by_formula(layer, x), rtol=1e-12, atol=1e-12)
    assert layer.output_shape((inputs,)) == tuple(y.shape[1:])
    assert layer.parameter_count == keras.count_params()


def test_by_hand():
    layer = double(2, 3)
    layer.kernel.assign([[1, 2, 3], [4, 5, 6]])
    layer.bias.assign([0.5, 0, -1])
    # 10*1 + 1*4 + 0.5, 10*2 + 1*5, 10*3 + 1*6 - 1
    np.testing.assert_array_equal(layer(tf.constant([[10.0, 1.0]], tf.float64), training=False), [[14.5, 25, 35]])


def test_work_by_hand():
    layer = Dense("dense1", 2048, 128)  # of `classic`
    assert layer.macs((2048,)) == 262_144
    assert layer.flops((2048,)) == 524_416
    assert Dense("dense1", 2048, 128, use_bias=False).flops((2048,)) == 524_288
    assert layer.parameter_count == 262_272


@pytest.mark.parametrize("gain", [math.sqrt(2), 0.1])
def test_weights_start_with_the_standard_deviation_of_he(gain):
    layer = Dense("dense", 512, 128, gain=gain)  # 65,536 weights: their standard deviation is known to 0.3 %
    std = gain / math.sqrt(512)
    assert layer.kernel.numpy().std() == pytest.approx(std, rel=0.02)
    assert abs(layer.kernel.numpy().mean()) < 5 * std / 256
    np.testing.assert_array_equal(layer.bias, np.zeros(128))


def test_without_a_seed_the_weights_are_those_of_seed_0():
    np.testing.assert_array_equal(Dense("dense", 6, 4).kernel, Dense("dense", 6, 4, seed=0).kernel)


@pytest.mark.parametrize("shape", [(2, 7), (2, 4, 4, 6)])
def test_a_wrong_input_is_named_with_the_way_out(shape):
    with pytest.raises(ValueError, match=rf"layer 'out'.*\[N,6\] \(in_features=6\).*in_features={shape[-1]}"):
        Dense("out", 6, 10)(tf.zeros(shape), training=True)
