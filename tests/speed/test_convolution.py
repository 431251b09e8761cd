"""FastConvolution is Convolution: values and gradients, with either part of it and with both."""

import copy

import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_gradients, assert_layer_gradients, normal
from hypothesis import given
from hypothesis import strategies as st
from speed.same_function import assert_same_function

from core.layers import Convolution, MaxPooling
from core.speed import convolution
from core.speed.convolution import FastConvolution, convolve_with_fast_gradient, kernel_gradient
from core.speed.kernels import by_rule, converted

PADDINGS = ["SAME", "VALID"]


def pair(*sizes, skip_edge=False, fast_gradient=False, dtype=tf.float64, **options):
    """(Convolution, FastConvolution) with equal variables, none of which is zero."""
    textbook = Convolution("conv", *sizes, **options, dtype=dtype)
    if textbook.bias is not None:
        textbook.bias.assign(normal(*textbook.bias.shape, seed=5))
    fast = converted(copy.deepcopy(textbook), FastConvolution)
    fast.skip_edge, fast.fast_gradient = skip_edge, fast_gradient
    return textbook, fast


@st.composite
def cases(draw):
    """(shape of the input, kernel size, padding), the window fitting."""
    shape = [draw(st.integers(1, n)) for n in (3, 8, 8, 3)]
    return shape, draw(st.integers(1, min(shape[1:3]))), draw(st.sampled_from(PADDINGS))


@pytest.mark.parametrize("fast_gradient", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("use_bias", [False, True])
def test_it_is_the_textbook_layer(fast_gradient, padding, use_bias):
    textbook, fast = pair(3, 5, 3, padding=padding, use_bias=use_bias, fast_gradient=fast_gradient)
    assert_same_function(textbook, fast, tf.constant(normal(4, 7, 6, 3)), tolerance=1e-12)
    assert fast.output_shape((7, 6, 3)) == textbook.output_shape((7, 6, 3))


@pytest.mark.parametrize("fast_gradient", [False, True])
@pytest.mark.parametrize(("size", "rows", "columns"), [(3, 7, 5), (3, 3, 3), (5, 7, 9)])
def test_with_a_2x2_pooling_behind_it_the_last_row_and_column_are_not_needed(size, rows, columns, fast_gradient):
    textbook, fast = pair(2, 3, size, skip_edge=True, fast_gradient=fast_gradient)
    x = tf.constant(normal(2, rows, columns, 2))
    np.testing.assert_allclose(fast(x, True), textbook(x, True)[:, :-1, :-1], rtol=1e-12, atol=1e-12)
    assert fast.output_shape((rows, columns, 2)) == (rows - 1, columns - 1, 3)
    pooling = MaxPooling("pool")
    assert_same_function(textbook, fast, x, tolerance=1e-12, use=lambda y: pooling(y, True))


@pytest.mark.parametrize("skip_edge", [False, True])
def test_every_entry_of_every_gradient_of_the_layer(skip_edge):
    _, fast = pair(2, 3, skip_edge=skip_edge, fast_gradient=True)
    assert_layer_gradients(fast, normal(2, 5, 3, 2))


@pytest.mark.parametrize("use_bias", [False, True])
def test_the_work_that_is_counted_is_that_of_the_textbook_layer(use_bias):
    """An edge that is skipped saves time, not operations of the network."""
    textbook, fast = pair(2, 5, 3, skip_edge=True, use_bias=use_bias)
    macs = 7 * 9 * 5 * (3 * 3 * 2)
    assert fast.macs((7, 9, 2)) == textbook.macs((7, 9, 2)) == macs
    assert fast.flops((7, 9, 2)) == textbook.flops((7, 9, 2)) == 2 * macs + use_bias * 7 * 9 * 5


def test_unless_told_otherwise_it_skips_nothing():
    fast = FastConvolution("conv", 2, 5)
    assert (fast.skip_edge, fast.fast_gradient) == (False, False)
    assert fast(tf.zeros([1, 7, 9, 2]), training=True).shape == (1, *fast.output_shape((7, 9, 2))) == (1, 7, 9, 5)


@pytest.mark.parametrize("fast_gradient", [False, True])
def test_the_kernel_gradient_of_this_file_is_used_only_where_it_is_asked_for(fast_gradient, monkeypatch):
    monkeypatch.setattr(convolution, "kernel_gradient", lambda x, dy, *rest: tf.fill([3, 3, 2, 5], x[0, 0, 0, 0] * 7))
    _, fast = pair(2, 5, use_bias=False, fast_gradient=fast_gradient)
    with tf.GradientTape() as tape:
        y = fast(tf.ones([2, 7, 9, 2], tf.float64), training=True)
    assert (tape.gradient(y, fast.kernel).numpy() == 7).all() == fast_gradient


def test_the_sizes_for_which_it_pays_by_rule():
    """The kernel gradient for what is computed of up to 8x8, without the edge an output of up to 16x16."""
    textbook, without_edge = pair(2, 5, 3, skip_edge=True)
    edge, gradient = "edge skipped", "kernel gradient as a convolution"
    either = {"": textbook, gradient: textbook}
    assert [by_rule(either, (size, size, 2), tf.bfloat16) for size in (8, 9)] == [gradient, ""]
    either[edge] = without_edge
    chosen = [by_rule(either, (size, size, 2), tf.bfloat16) for size in (9, 10, 16, 17)]
    assert chosen == [f"{edge}, {gradient}", edge, edge, ""]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_entry_of_both_gradients(size, padding):
    x, kernel = tf.Variable(normal(2, 4, 3, 2)), tf.Variable(normal(size, size, 2, 3, seed=1))
    weights = normal(*convolve_with_fast_gradient(x, kernel, padding).shape, seed=99)
    assert_gradients(
        lambda: tf.reduce_sum(weights * convolve_with_fast_gradient(x, kernel, padding)), {"x": x, "kernel": kernel}
    )


@given(cases())
def test_the_kernel_gradient_is_that_of_tensorflow(case):
    shape, size, padding = case
    x, kernel = tf.constant(normal(*shape)), tf.constant(normal(size, size, shape[-1], 2, seed=1))
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        y = tf.nn.conv2d(x, kernel, 1, padding)
    dy = tf.constant(normal(*y.shape, seed=2))
    found = kernel_gradient(x, dy, size, padding)
    np.testing.assert_allclose(found, tape.gradient(y, kernel, dy), rtol=1e-12, atol=1e-12)


def test_the_kernel_gradient_by_hand():
    x = tf.reshape(tf.range(4, dtype=tf.float64), [1, 2, 2, 1])  # 0 1 / 2 3
    dy = tf.constant([10.0, 100.0], tf.float64)[None, :, None, None]  # [1,2,1,1]
    # VALID, a kernel of one weight: its inputs, 0 and 2 in the first column, each times its dL/dy
    np.testing.assert_array_equal(kernel_gradient(x[:, :, :1], dy, 1, "VALID"), [[[[0 * 10 + 2 * 100]]]])


def test_it_can_be_differentiated_twice():
    """The curvature probe runs forward over reverse through every layer."""
    x, kernel = tf.constant(normal(2, 4, 4, 2)), tf.constant(normal(3, 3, 2, 2, seed=1))

    def second_derivative(function):
        with tf.autodiff.ForwardAccumulator(kernel, tf.ones_like(kernel)) as along:
            with tf.GradientTape() as tape:
                tape.watch(kernel)
                loss = tf.reduce_sum(tf.sin(function(x, kernel)))
            return along.jvp(tape.gradient(loss, kernel))

    fast = tf.function(
        lambda: second_derivative(lambda x, kernel: convolve_with_fast_gradient(x, kernel, "SAME")), autograph=False
    )()
    textbook = second_derivative(lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME"))
    assert np.any(textbook)
    np.testing.assert_allclose(fast, textbook, rtol=1e-12, atol=1e-12)


def test_in_bfloat16_it_errs_no_more_than_one_rounding():
    """The exact gradient rounded to bfloat16: off by at most 2^-8 of it, beside sums that cancel."""
    _, layer = pair(64, 32, use_bias=False, fast_gradient=True, dtype=tf.float32)
    x, dy = (tf.cast(normal(20, 4, 4, c, seed=c), tf.bfloat16) for c in (64, 32))
    with tf.GradientTape() as tape:
        y = layer(x, training=True)
    found = tape.gradient(y, layer.kernel, dy)
    exact = kernel_gradient(tf.cast(x, tf.float64), tf.cast(dy, tf.float64), 3, "SAME").numpy()
    assert np.abs(found - exact).max() < 2**-8 * np.abs(exact).max()


@pytest.mark.parametrize("images", [1, 2, 5, 6])
def test_its_convolution_has_an_even_number_of_channels(images, monkeypatch):
    """In bfloat16 one with an odd number reads beyond the end of its input."""
    seen, conv2d = [], tf.nn.conv2d
    monkeypatch.setattr(tf.nn, "conv2d", lambda x, *rest: seen.append(x.shape[-1]) or conv2d(x, *rest))
    x, dy = tf.constant(normal(images, 4, 4, 3)), tf.constant(normal(images, 4, 4, 2, seed=1))
    found = kernel_gradient(x, dy, 3, "SAME")
    monkeypatch.undo()
    assert seen == [images + images % 2]
    one_by_one = sum(kernel_gradient(x[i : i + 1], dy[i : i + 1], 3, "SAME") for i in range(images))
    np.testing.assert_allclose(found, one_by_one, rtol=1e-12, atol=1e-12)


def test_a_wrong_input_is_named():
    _, fast = pair(3, 8, 5, padding="VALID")
    with pytest.raises(ValueError, match=r"layer 'conv'.*in_channels=3"):
        fast(tf.zeros([1, 8, 8, 4], tf.float64), training=True)
    with pytest.raises(ValueError, match=r"layer 'conv'.*5x5 window"):
        fast(tf.zeros([1, 4, 8, 3], tf.float64), training=True)
