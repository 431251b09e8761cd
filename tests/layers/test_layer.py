"""What holds for every layer, whatever it computes."""

import functools
import inspect

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal

from core.layers import (
    GELU,
    AveragePooling,
    BatchNormalization,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    MaxPooling,
    ReLU,
    Sigmoid,
    Softmax,
)
from core.layers.layer import check_window, check_window_fits, window_positions
from core.speed.scale import Scale
from core.speed.whitening import Whitening

STEP = tf.constant(3)

# How to make each layer for a dtype, and one image of what it takes.
EVERY_LAYER = {
    "convolution": (lambda dtype: Convolution("it", 3, 8, dtype=dtype), (7, 6, 3)),
    "convolution, stride 2, VALID, no bias": (
        lambda dtype: Convolution("it", 3, 8, 3, 2, "VALID", use_bias=False, dtype=dtype),
        (7, 6, 3),
    ),
    "max-pooling": (lambda dtype: MaxPooling("it"), (7, 6, 3)),
    "average-pooling": (lambda dtype: AveragePooling("it", 3, 2, "SAME"), (7, 6, 3)),
    "batch normalization": (lambda dtype: BatchNormalization("it", 3, dtype=dtype), (7, 6, 3)),
    "dense": (lambda dtype: Dense("it", 12, 5, dtype=dtype), (12,)),
    "dropout": (lambda dtype: Dropout("it", 0.5), (12,)),
    "flatten": (lambda dtype: Flatten("it"), (7, 6, 3)),
    "ReLU": (lambda dtype: ReLU("it"), (7, 6, 3)),
    "GELU": (lambda dtype: GELU("it"), (7, 6, 3)),
    "softmax": (lambda dtype: Softmax("it"), (10,)),
}


def call(layer, training, x, step):
    """The layer's output, the arguments in the order that lets `training` be filled in first."""
    return layer(x, training, step)


every_layer = pytest.mark.parametrize("kind", EVERY_LAYER)


@every_layer
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float32, 1e-5), (tf.float64, 1e-12)])
def test_line_by_line_traced_and_of_unknown_batch_size_are_the_same(kind, training, dtype, tolerance):
    make, shape = EVERY_LAYER[kind]
    x = tf.constant(normal(4, *shape), dtype)
    layer = make(dtype)
    line_by_line = call(layer, training, x, STEP)
    assert line_by_line.dtype == dtype
    for batch in (4, None):
        traced = tf.function(
            functools.partial(call, make(dtype), training),
            [tf.TensorSpec([batch, *shape], dtype), tf.TensorSpec([], tf.int32)],
            autograph=False,
        )
        np.testing.assert_allclose(traced(x, STEP), line_by_line, rtol=tolerance, atol=tolerance)
        assert traced.experimental_get_tracing_count() == 1


@every_layer
def test_output_shape_is_what_comes_out(kind):
    make, shape = EVERY_LAYER[kind]
    y = make(tf.float32)(tf.zeros([2, *shape]), True, STEP)
    assert (2, *make(tf.float32).output_shape(shape)) == tuple(y.shape)


@every_layer
@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_goes_in_and_comes_out_and_the_weights_stay_float32(kind, training):
    make, shape = EVERY_LAYER[kind]
    x = normal(4, *shape)
    layer, reference = make(tf.float32), make(tf.float32)
    y = layer(tf.constant(x, tf.bfloat16), training, STEP)
    assert y.dtype == tf.bfloat16
    assert all(v.dtype == tf.float32 for v in layer.parameters + layer.statistics)
    exact = reference(tf.constant(x, tf.float32), training, STEP)
    np.testing.assert_allclose(tf.cast(y, tf.float32), exact, rtol=0.05, atol=0.05)  # bfloat16 has three digits


@every_layer
def test_parameter_count_counts_what_the_optimizer_changes(kind):
    layer = EVERY_LAYER[kind][0](tf.float32)
    assert layer.parameter_count == sum(v.numpy().size for v in layer.trainable_variables)
    assert {id(v) for v in layer.parameters} == {id(v) for v in layer.trainable_variables}
    assert {id(v) for v in layer.parameters + layer.statistics} == {id(v) for v in layer.variables}


@every_layer
def test_macs_are_those_of_the_kernel(kind):
    """Every kernel entry is used once for each output position, and there are no other multiply-accumulates."""
    make, shape = EVERY_LAYER[kind]
    layer = make(tf.float32)
    positions = np.prod(layer.output_shape(shape)[:-1], dtype=int)
    assert layer.macs(shape) == (positions * layer.kernel.numpy().size if hasattr(layer, "kernel") else 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda name, seed, dtype=tf.float32: Convolution(name, 3, 8, seed=seed, dtype=dtype),
        lambda name, seed, dtype=tf.float32: Dense(name, 27, 8, seed=seed, dtype=dtype),
    ],
)
def test_weights_are_a_function_of_seed_and_name(make):
    kernel = make("conv1", 0).kernel.numpy()
    np.testing.assert_array_equal(make("conv1", 0).kernel, kernel)
    np.testing.assert_array_equal(make("conv1", 0, tf.float64).kernel, kernel.astype(np.float64))
    for name, seed in (("conv2", 0), ("conv1", 1)):
        other = make(name, seed).kernel.numpy()
        assert abs(np.corrcoef(kernel.ravel(), other.ravel())[0, 1]) < 0.3


# What a layer is built with where its call does not say: documents, lessons and old runs count on it.
DEFAULTS = {
    Convolution: {"kernel_size": 3, "stride": 1, "padding": "SAME", "use_bias": True, "gain": 2**0.5, "seed": 0},
    Dense: {"use_bias": True, "gain": 2**0.5, "seed": 0},
    BatchNormalization: {"momentum": 0.9, "epsilon": 1e-3, "use_scale": True},
    MaxPooling: {"kernel_size": 2, "stride": None, "padding": "VALID"},
    AveragePooling: {"kernel_size": 2, "stride": None, "padding": "VALID"},
    Dropout: {"seed": 0},
    LeakyReLU: {"slope": 0.01},
    Whitening: {"in_channels": 3, "kernel_size": 2},
    **{kind: {"name": None} for kind in (Flatten, ReLU, GELU, Sigmoid, Softmax)},
    Scale: {},
}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_defaults_of_a_layer(kind):
    parameters = inspect.signature(kind.__init__).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    assert defaults.pop("dtype", tf.float32) == tf.float32
    assert defaults == DEFAULTS[kind]


@pytest.mark.parametrize("kind", DEFAULTS)
def test_what_the_receptive_field_and_the_dead_units_go_by(kind):
    """A layer is no window and no nonlinearity unless it says so."""
    assert kind.is_activation == (kind in (ReLU, LeakyReLU, GELU, Sigmoid))
    assert (kind.kernel_size, kind.stride) == (1, 1)


@pytest.mark.parametrize(
    ("layer", "window"),
    [
        (Convolution("it", 3, 8), (3, 1)),
        (Convolution("it", 3, 8, 5, stride=2), (5, 2)),
        (MaxPooling("it"), (2, 2)),
        (AveragePooling("it", 3, stride=1), (3, 1)),
        (Whitening("it"), (2, 1)),
        (Dense("it", 3, 8), (1, 1)),
    ],
    ids=lambda it: type(it).__name__,
)
def test_the_window_of_a_layer(layer, window):
    assert (layer.kernel_size, layer.stride) == window


def test_a_layer_that_computes_nothing_says_so():
    class Unfinished(Layer):
        pass

    with pytest.raises(TypeError, match=r"Unfinished.*__call__"):
        Unfinished("it")(tf.zeros([1, 2]), training=True)
    assert (Unfinished("it").flops((3, 4)), Unfinished("it").macs((3, 4))) == (0, 0)
    assert Unfinished("it").output_shape((3, 4)) == (3, 4)


@pytest.mark.parametrize(
    ("shape", "rank", "wanted"),
    [
        ((2, 5, 3, 4), 4, "[N,H,W,3]"),  # the rank is right, the channels are not
        ((2, 3), 4, "[N,H,W,3]"),  # the other way round
        ((2, 4), 2, "[N,3]"),
        ((2, 5, 3), 2, "[N,3]"),
    ],
)
def test_an_input_of_another_rank_or_number_of_channels_is_refused_in_one_sentence(shape, rank, wanted):
    with pytest.raises(ValueError) as refused:
        ReLU("it").check_channels(tf.zeros(shape), rank, channels=3, meaning="channels")
    assert str(refused.value) == (
        f"layer 'it': expected input {wanted} (channels=3), found {list(shape)}; give 'it' channels={shape[-1]}, or "
        "change the layer before it"
    )


@pytest.mark.parametrize(("shape", "rank"), [((2, 5, 4, 3), 4), ((2, 3), 2)])
def test_an_input_of_the_right_rank_and_number_of_channels_passes(shape, rank):
    ReLU("it").check_channels(tf.zeros(shape), rank, channels=3, meaning="channels")


WRONG_SIZES = "layer 'it': kernel size {} and stride {} must be at least 1"


@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding", "sentence"),
    [
        (1, 1, "SAME", None),
        (1, 1, "VALID", None),
        (0, 1, "SAME", WRONG_SIZES.format(0, 1)),
        (1, 0, "SAME", WRONG_SIZES.format(1, 0)),
        (3, 2, "FULL", "layer 'it': padding is 'SAME' or 'VALID', found 'FULL'"),
    ],
)
def test_a_window_is_at_least_1_in_size_and_stride(kernel_size, stride, padding, sentence):
    if sentence is None:
        check_window("it", kernel_size, stride, padding)
        return
    with pytest.raises(ValueError) as refused:
        check_window("it", kernel_size, stride, padding)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("rows", "columns", "padding", "fits"),
    [
        (3, 3, "VALID", True),  # exactly
        (2, 9, "VALID", False),
        (9, 2, "VALID", False),
        (2, 2, "SAME", True),  # zeros are put around it
    ],
)
def test_a_window_of_three_fits_into_three_rows_and_columns(rows, columns, padding, fits):
    x = tf.zeros([1, rows, columns, 8])
    if fits:
        check_window_fits("it", x, 3, padding)
        return
    with pytest.raises(ValueError) as refused:
        check_window_fits("it", x, 3, padding)
    assert str(refused.value) == (
        f"layer 'it': a 3x3 window does not fit into {rows}x{columns}; use a smaller one, padding='SAME', or pool "
        "less before it"
    )


@pytest.mark.parametrize(
    ("size", "kernel_size", "stride", "padding", "positions"),
    [
        (32, 3, 1, "SAME", 32),
        (32, 3, 2, "SAME", 16),
        (5, 2, 2, "SAME", 3),
        (32, 3, 1, "VALID", 30),
        (5, 2, 2, "VALID", 2),
    ],
)
def test_window_positions_by_hand(size, kernel_size, stride, padding, positions):
    assert window_positions(size, kernel_size, stride, padding) == positions
