import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_gradients, normal
from hypothesis import given
from hypothesis import strategies as st

from core.layers import Convolution
from core.speed import kernel_gradient as way_back
from core.speed.kernel_gradient import convolve, convolve_small, kernel_gradient


@st.composite
def cases(draw):
    """(shape of the input, kernel size, padding), the window fitting."""
    shape = [draw(st.integers(1, n)) for n in (3, 8, 8, 3)]
    return shape, draw(st.integers(1, min(shape[1:3]))), draw(st.sampled_from(["SAME", "VALID"]))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_entry_of_both_gradients(size, padding):
    x, kernel = tf.Variable(normal(2, 4, 3, 2)), tf.Variable(normal(size, size, 2, 3, seed=1))
    weights = normal(*convolve_small(x, kernel, padding).shape, seed=99)
    assert_gradients(lambda: tf.reduce_sum(weights * convolve_small(x, kernel, padding)), {"x": x, "kernel": kernel})


@given(cases())
def test_equals_the_gradient_of_tensorflow(case):
    shape, size, padding = case
    x, kernel = tf.constant(normal(*shape)), tf.constant(normal(size, size, shape[-1], 2, seed=1))
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        y = tf.nn.conv2d(x, kernel, 1, padding)
    dy = tf.constant(normal(*y.shape, seed=2))
    found = kernel_gradient(x, dy, size, padding)
    np.testing.assert_allclose(found, tape.gradient(y, kernel, dy), rtol=1e-12, atol=1e-12)


def test_by_hand():
    x = tf.reshape(tf.range(4, dtype=tf.float64), [1, 2, 2, 1])  # 0 1 / 2 3
    dy = tf.constant([10.0, 100.0], tf.float64)[None, :, None, None]  # [1,2,1,1]
    # VALID, a kernel of one place: what it met, 0 and 2 in the first column, times what comes back for it
    np.testing.assert_array_equal(kernel_gradient(x[:, :, :1], dy, 1, "VALID"), [[[[0 * 10 + 2 * 100]]]])


def test_a_second_derivative_goes_through_it():
    """The curvature probe runs forward over reverse through every layer."""
    x, kernel = tf.constant(normal(2, 4, 4, 2)), tf.constant(normal(3, 3, 2, 2, seed=1))

    def bent(function):
        with tf.autodiff.ForwardAccumulator(kernel, tf.ones_like(kernel)) as along:
            with tf.GradientTape() as tape:
                tape.watch(kernel)
                loss = tf.reduce_sum(tf.sin(function(x, kernel)))
            return along.jvp(tape.gradient(loss, kernel))

    ours = tf.function(lambda: bent(lambda x, kernel: convolve_small(x, kernel, "SAME")), autograph=False)()
    theirs = bent(lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME"))
    assert np.any(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "size", "stride", "padding", "used"),
    [
        (tf.bfloat16, 8, 1, "SAME", True),
        (tf.bfloat16, 9, 1, "SAME", False),  # too large
        (tf.bfloat16, 10, 1, "VALID", True),  # the output counts: 8 x 8
        (tf.bfloat16, 11, 1, "VALID", False),
        (tf.bfloat16, 8, 2, "SAME", False),
        (tf.float32, 8, 1, "SAME", False),
    ],
)
def test_it_is_used_only_where_it_pays(monkeypatch, dtype, size, stride, padding, used):
    calls = []
    monkeypatch.setattr(way_back, "ON_PROCESSOR", True)
    monkeypatch.setattr(way_back, "convolve_small", lambda *given: calls.append(given))
    convolve(tf.zeros([1, size, size, 2], dtype), tf.zeros([3, 3, 2, 2], dtype), stride, padding)
    assert bool(calls) == used


def test_a_gpu_keeps_its_own(monkeypatch):
    monkeypatch.setattr(way_back, "ON_PROCESSOR", False)
    monkeypatch.setattr(way_back, "convolve_small", lambda *given: pytest.fail("on a GPU"))
    convolve(tf.zeros([1, 4, 4, 2], tf.bfloat16), tf.zeros([3, 3, 2, 2], tf.bfloat16), 1, "SAME")


def test_in_bfloat16_it_errs_no_more_than_tensorflows():
    """Both round the same exact gradient to bfloat16: by at most 2^-8 of it, beside sums that cancel."""
    layer = Convolution("conv", 64, 32, use_bias=False)
    x, dy = (tf.cast(normal(20, 4, 4, c, seed=c), tf.bfloat16) for c in (64, 32))
    with tf.GradientTape() as tape:
        y = layer(x, training=True)
    ours = tape.gradient(y, layer.kernel, dy)
    exact = kernel_gradient(tf.cast(x, tf.float64), tf.cast(dy, tf.float64), 3, "SAME").numpy()
    assert np.abs(ours - exact).max() < 2**-8 * np.abs(exact).max()


@pytest.mark.parametrize("pictures", [1, 2, 5, 6])
def test_its_convolution_never_sees_an_odd_number_of_channels(pictures, monkeypatch):
    """In bfloat16 that one reads beyond the end of its input: step 771 of a run was lost to it (docs/results.md)."""
    seen, conv2d = [], tf.nn.conv2d
    monkeypatch.setattr(tf.nn, "conv2d", lambda x, *rest: seen.append(x.shape[-1]) or conv2d(x, *rest))
    x, dy = tf.constant(normal(pictures, 4, 4, 3)), tf.constant(normal(pictures, 4, 4, 2, seed=1))
    found = kernel_gradient(x, dy, 3, "SAME")
    monkeypatch.undo()
    assert seen == [pictures + pictures % 2]
    one_by_one = sum(kernel_gradient(x[i : i + 1], dy[i : i + 1], 3, "SAME") for i in range(pictures))
    np.testing.assert_allclose(found, one_by_one, rtol=1e-12, atol=1e-12)
