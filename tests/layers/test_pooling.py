import numpy as np
import pytest
import tensorflow as tf
from gradients import KINKED, SMOOTH, apart, assert_layer_gradients, normal, with_gradient_of
from hypothesis import given
from windows import by_windows, window_cases

from core.layers import AveragePooling, MaxPooling

CASES = [(2, 2, "VALID"), (2, 1, "VALID"), (3, 2, "SAME"), (3, 1, "SAME"), (2, 3, "SAME")]  # size, stride, padding


@pytest.mark.parametrize("case", CASES)
def test_every_entry_of_the_gradient_of_the_maximum(case):
    assert_layer_gradients(MaxPooling("pool", *case), apart([2, 5, 4, 2]), bound=KINKED)


@pytest.mark.parametrize("case", CASES)
def test_every_entry_of_the_gradient_of_the_mean(case):
    assert_layer_gradients(AveragePooling("pool", *case), normal(2, 5, 4, 2), bound=SMOOTH)


def test_a_maximum_that_divides_its_gradient_is_found():
    class Divided(MaxPooling):
        def __call__(self, x, training, step=None):
            return with_gradient_of(tf.nn.avg_pool2d(x, 2, 2, "VALID"), super().__call__(x, training))

    with pytest.raises(AssertionError, match="gradient d/dx"):
        assert_layer_gradients(Divided("pool"), apart([1, 4, 4, 2]), bound=KINKED)


def test_a_mean_that_hands_everyone_the_whole_gradient_is_found():
    class Whole(AveragePooling):
        def __call__(self, x, training, step=None):
            return with_gradient_of(4 * super().__call__(x, training), super().__call__(x, training))

    with pytest.raises(AssertionError, match="gradient d/dx"):
        assert_layer_gradients(Whole("pool"), normal(1, 4, 4, 2))


@given(window_cases())
def test_maximum_equals_keras_and_the_formula(case):
    shape, size, stride, padding = case
    x = normal(*shape) - 2  # mostly negative: a padding of zeros would win
    layer = MaxPooling("pool", size, stride, padding)
    y = layer(tf.constant(x), training=True)
    np.testing.assert_array_equal(y, tf.keras.layers.MaxPooling2D(size, stride, padding.lower(), dtype="float64")(x))
    maxima = by_windows(lambda window: window.max(axis=(1, 2)), x, size, stride, padding, fill=-np.inf)
    np.testing.assert_array_equal(y, maxima)
    assert layer.output_shape(shape[1:]) == tuple(y.shape[1:])


@given(window_cases())
def test_mean_equals_keras_and_the_formula(case):
    shape, size, stride, padding = case
    x = normal(*shape)
    layer = AveragePooling("pool", size, stride, padding)
    y = layer(tf.constant(x), training=True)
    keras = tf.keras.layers.AveragePooling2D(size, stride, padding.lower(), dtype="float64")
    np.testing.assert_allclose(y, keras(x), rtol=1e-12, atol=1e-12)
    means = by_windows(lambda window: np.nanmean(window, axis=(1, 2)), x, size, stride, padding, fill=np.nan)
    np.testing.assert_allclose(y, means, rtol=1e-12, atol=1e-12)
    assert layer.output_shape(shape[1:]) == tuple(y.shape[1:])


X = tf.reshape(tf.range(1.0, 10), [1, 3, 3, 1])  # 1 2 3 / 4 5 6 / 7 8 9


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (MaxPooling("pool", 2, 1), [[5, 6], [8, 9]]),
        (MaxPooling("pool", 2), [[5]]),  # the stride is the size; the last row and column fit no window
        (MaxPooling("pool", 2, padding="SAME"), [[5, 6], [8, 9]]),
        (AveragePooling("pool", 2, 1), [[3, 4], [6, 7]]),
        (AveragePooling("pool", 2, padding="SAME"), [[3, 4.5], [7.5, 9]]),  # means of 4, 2, 2 and 1 numbers
    ],
)
def test_by_hand(layer, expected):
    np.testing.assert_array_equal(layer(X, training=False)[0, :, :, 0], expected)


@pytest.mark.parametrize("kind", [MaxPooling, AveragePooling])
def test_windows_lie_side_by_side_unless_a_stride_is_given(kind):
    assert kind("pool", 3).output_shape((9, 6, 5)) == (3, 2, 5)
    assert kind("pool", 3, 1).output_shape((9, 6, 5)) == (7, 4, 5)


def test_a_tie_gives_the_gradient_to_the_first():
    x = tf.Variable(np.zeros([1, 2, 2, 1]))
    with tf.GradientTape() as tape:
        y = MaxPooling("pool")(tf.convert_to_tensor(x), training=True)
    np.testing.assert_array_equal(tape.gradient(y, x)[0, :, :, 0], [[1, 0], [0, 0]])


@pytest.mark.parametrize("kind", [MaxPooling, AveragePooling])
def test_work_by_hand(kind):
    layer = kind("pool1")  # of `classic`: 16*16*32 windows of 4 numbers
    assert layer.flops((32, 32, 32)) == 32_768
    assert kind("pool1", 3).flops((9, 12, 2)) == 3 * 4 * 2 * 9  # windows of 9 numbers
    assert layer.macs((32, 32, 32)) == 0
    assert layer.parameter_count == 0


@pytest.mark.parametrize("kind", [MaxPooling, AveragePooling])
def test_a_wrong_input_is_named_with_the_way_out(kind):
    layer = kind("pool9", 3)
    with pytest.raises(ValueError, match=r"layer 'pool9'.*\[N,H,W,C\].*\[2, 12\].*before flatten"):
        layer(tf.zeros([2, 12]), training=True)
    with pytest.raises(ValueError, match=r"layer 'pool9'.*3x3 window.*2x5.*pool less"):
        layer(tf.zeros([1, 2, 5, 4]), training=True)
    with pytest.raises(ValueError, match=r"layer 'pool9'.*padding.*'valid'"):
        kind("pool9", padding="valid")
