import math

import numpy as np
import pytest
import tensorflow as tf
from gradients import SMOOTH, assert_layer_gradients, normal, with_gradient_of
from hypothesis import given
from windows import by_windows, window_cases

from core.layers import Convolution

PADDINGS = ["SAME", "VALID"]


def double(in_channels, out_channels, *sizes, **options) -> Convolution:
    """A convolution in float64 whose bias is not zero, its initial value."""
    layer = Convolution("conv", in_channels, out_channels, *sizes, **options, dtype=tf.float64)
    if layer.bias is not None:
        layer.bias.assign(normal(out_channels, seed=5))
    return layer


def by_formula(layer: Convolution, x: np.ndarray) -> np.ndarray:
    """The formula of the docstring: a sum over u, v, c for each output number."""
    k, b = layer.kernel.numpy(), 0 if layer.bias is None else layer.bias.numpy()

    def sums(window):
        outputs = [(window * k[..., o]).sum(axis=(1, 2, 3)) for o in range(layer.out_channels)]
        return np.stack(outputs, axis=-1) + b

    return by_windows(sums, x, layer.kernel_size, layer.stride, layer.padding)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (2, 1), (3, 1), (3, 2), (3, 3)])
def test_every_entry_of_every_gradient(size, stride, padding):
    assert_layer_gradients(double(2, 3, size, stride, padding), normal(2, 5, 4, 2), bound=SMOOTH)


def test_gradients_without_bias():
    layer = double(2, 3, use_bias=False)
    assert layer.parameters == [layer.kernel]
    assert_layer_gradients(layer, normal(2, 4, 4, 2))


def test_a_kernel_turned_round_in_the_backward_pass_is_found():
    class Turned(Convolution):
        def __call__(self, x, training, step=None):
            turned = tf.nn.conv2d(x, self.kernel[::-1, ::-1], self.stride, self.padding)
            return with_gradient_of(turned, super().__call__(x, training))

    with pytest.raises(AssertionError, match="gradient d/dx"):
        assert_layer_gradients(Turned("conv", 2, 3, use_bias=False, dtype=tf.float64), normal(2, 4, 4, 2))


@given(window_cases())
def test_equals_keras_and_the_formula(case):
    shape, size, stride, padding = case
    x = normal(*shape)
    layer = double(shape[-1], 3, size, stride, padding)
    keras = tf.keras.layers.Conv2D(3, size, stride, padding.lower(), dtype="float64")
    keras.build(shape)
    keras.set_weights([v.numpy() for v in layer.parameters])

    y = layer(tf.constant(x), training=True)
    np.testing.assert_allclose(y, keras(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(y, by_formula(layer, x), rtol=1e-12, atol=1e-12)
    assert layer.output_shape(shape[1:]) == tuple(y.shape[1:]) == keras.compute_output_shape(shape)[1:]
    assert layer.parameter_count == keras.count_params()


def test_by_hand():
    x = tf.reshape(tf.range(9, dtype=tf.float64), [1, 3, 3, 1])  # 0 1 2 / 3 4 5 / 6 7 8
    layer = double(1, 1, 2, padding="VALID")
    layer.kernel.assign(np.reshape([1.0, 2.0, 3.0, 4.0], [2, 2, 1, 1]))
    layer.bias.assign([0.5])
    # top left: 0*1 + 1*2 + 3*3 + 4*4 + 0.5 = 27.5; one position further, each of the ten is worth one more
    np.testing.assert_array_equal(layer(x, training=False)[0, :, :, 0], [[27.5, 37.5], [57.5, 67.5]])


def test_padding_by_hand():
    layer = double(1, 1, 3, use_bias=False)
    layer.kernel.assign(np.ones([3, 3, 1, 1]))
    # With ones everywhere an output counts the pixels in its window: four in a corner, six at an edge.
    counts = layer(tf.ones([1, 3, 3, 1], tf.float64), training=False)[0, :, :, 0]
    np.testing.assert_array_equal(counts, [[4, 6, 4], [6, 9, 6], [4, 6, 4]])


def test_channels_by_hand():
    layer = double(2, 2, 1)
    layer.kernel.assign([[[[1.0, 10.0], [2.0, 20.0]]]])  # [1,1,Cin,Cout]
    layer.bias.assign([0.0, 5.0])
    x = tf.constant([[[[3.0, 4.0]]]], tf.float64)  # one pixel of two channels
    np.testing.assert_array_equal(layer(x, training=False)[0, 0, 0], [3 + 2 * 4, 10 * 3 + 20 * 4 + 5])


def test_work_by_hand():
    first = Convolution("conv1", 3, 32)  # the first of `classic`
    assert first.macs((32, 32, 3)) == 32 * 32 * 32 * 27 == 884_736
    assert first.flops((32, 32, 3)) == 2 * 884_736 + 32_768
    assert Convolution("conv1", 3, 32, use_bias=False).flops((32, 32, 3)) == 2 * 884_736
    assert Convolution("conv1", 3, 8, 5, 2, "VALID").macs((32, 32, 3)) == 14 * 14 * 8 * 75
    assert first.parameter_count == 896


@pytest.mark.parametrize(("gain", "std"), [(math.sqrt(2), math.sqrt(2 / 576)), (1.0, 1 / 24)])
def test_weights_start_with_the_standard_deviation_of_he(gain, std):
    layer = Convolution("conv", 64, 128, gain=gain)  # 73,728 weights: their standard deviation is known to 0.3 %
    kernel = layer.kernel.numpy()
    assert kernel.std() == pytest.approx(std, rel=0.02)
    assert abs(kernel.mean()) < 5 * std / math.sqrt(kernel.size)
    np.testing.assert_array_equal(layer.bias, np.zeros(128))


def test_without_a_seed_the_weights_are_those_of_seed_0():
    np.testing.assert_array_equal(Convolution("conv", 3, 8).kernel, Convolution("conv", 3, 8, seed=0).kernel)


def test_relu_after_he_keeps_the_size_of_the_signal():
    """What the factor sqrt 2 is for: ReLU halves the mean square, and four layers later it is still about 1."""
    x = tf.constant(normal(4, 16, 16, 64))
    for k in range(4):
        x = Convolution(f"conv{k}", 64, 64, dtype=tf.float64)(tf.nn.relu(x), training=True)
        inside = x[:, k + 1 : -k - 1, k + 1 : -k - 1]  # where no padding reaches
        assert 0.7 < float(tf.reduce_mean(tf.square(inside))) < 1.4


@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ((1, 8, 8, 4), ["layer 'conv7'", r"\[N,H,W,3\]", "in_channels=3", r"\[1, 8, 8, 4\]", "in_channels=4"]),
        ((1, 192), ["layer 'conv7'", r"\[N,H,W,3\]", r"\[1, 192\]", "change the layer before it"]),
        ((1, 4, 8, 3), ["layer 'conv7'", "5x5 window", "4x8", "padding='SAME'"]),
    ],
)
def test_a_wrong_input_is_named_with_the_way_out(shape, parts):
    layer = Convolution("conv7", 3, 8, 5, padding="VALID")
    for part in parts:
        with pytest.raises(ValueError, match=part):
            layer(tf.zeros(shape), training=True)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kernel_size": 0}, "size 0"),
        ({"stride": 0}, "stride 0"),
        ({"padding": "same"}, "'SAME' or 'VALID'.*'same'"),
    ],
)
def test_a_wrong_size_is_refused_when_the_layer_is_made(options, sentence):
    with pytest.raises(ValueError, match=f"layer 'conv7': .*{sentence}"):
        Convolution("conv7", 3, 8, **options)
