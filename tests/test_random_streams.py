import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from core import model, random_streams
from core.layers import Dropout
from core.random_streams import at_step, integers, normal, stream, uniform

seeds, steps = st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)


def test_a_key_is_the_seed_and_the_checksum_of_the_name():
    key = stream(7, "conv1/kernel")
    assert key.dtype == tf.int32
    assert key.numpy().tolist() == [7, zlib.crc32(b"conv1/kernel") & 0x7FFFFFFF]


def test_the_numbers_are_the_ones_that_were_always_drawn():
    """Philox is defined to the bit: on any machine, seed 0 has the same numbers in every version."""
    key = stream(0, "conv1/kernel")
    np.testing.assert_array_equal(integers(key, [6], 1000), [617, 363, 511, 476, 393, 88])
    np.testing.assert_array_equal(at_step(key, 1), [1919026617, 1])
    np.testing.assert_allclose(uniform(key, [3]), [0.7657996, 0.9941791, 0.6290082], rtol=1e-6)
    np.testing.assert_allclose(normal(key, [3], 2.0, tf.float32), [-0.0534242, 1.4600765, -0.9878998], rtol=1e-5)


@given(seeds, steps)
def test_the_same_arguments_draw_the_same_numbers(seed, step):
    one, other = (uniform(at_step(stream(seed, "a"), step), [8]) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@given(seeds, st.integers(0, 2**31 - 2))
def test_another_seed_name_or_step_draws_other_numbers(seed, step):
    def draw(seed, name, step):
        return tuple(uniform(at_step(stream(seed, name), step), [4]).numpy())

    draws = {draw(seed, "a", step), draw(seed ^ 1, "a", step), draw(seed, "b", step), draw(seed, "a", step + 1)}
    assert len(draws) == 4


def test_no_two_streams_of_a_run_have_the_same_key():
    names = {"shuffle", "flip", "crop"}
    for build in model.NETWORKS.values():
        for layer in build():
            if hasattr(layer, "kernel"):
                names.add(f"{layer.name}/kernel")
            if isinstance(layer, Dropout):
                names.add(f"{layer.name}/mask")
    assert len(names) > 10
    assert len({tuple(stream(0, name).numpy()) for name in names}) == len(names)


def test_the_step_may_be_a_tensor_inside_a_graph():
    traced = tf.function(lambda step: at_step(stream(0, "a"), step), [tf.TensorSpec([], tf.int32)])
    for step in (0, 1, 2**31 - 1):
        np.testing.assert_array_equal(traced(tf.constant(step)), at_step(stream(0, "a"), tf.constant(step)))


def test_uniform_fills_0_to_1():
    draws = uniform(stream(0, "a"), [100_000]).numpy()
    assert draws.dtype == np.float32 and draws.min() >= 0 and draws.max() < 1
    counts, _ = np.histogram(draws, bins=10, range=(0, 1))
    assert np.all(np.abs(counts - 10_000) < 500)


def test_integers_take_every_value_below_the_limit():
    draws = integers(stream(0, "a"), [10_000], 5).numpy()
    assert draws.dtype == np.int32
    assert np.all(np.abs(np.bincount(draws) - 2_000) < 200) and draws.max() == 4


@pytest.mark.parametrize("std", [0.1, 3.0])
def test_normal_has_the_standard_deviation_it_was_given(std):
    draws = normal(stream(0, "a"), [100_000], std, tf.float32).numpy()
    assert draws.std() == pytest.approx(std, rel=0.02)
    assert draws.mean() == pytest.approx(0, abs=0.02 * std)
    assert np.mean(np.abs(draws) < std) == pytest.approx(0.6827, abs=0.01)


def test_float64_draws_are_those_of_float32():
    key = stream(0, "a")
    np.testing.assert_array_equal(normal(key, [50], 0.3, tf.float64), normal(key, [50], 0.3, tf.float32).numpy())
    assert normal(key, [1], 0.3, tf.float64).dtype == tf.float64


def test_the_generator_is_named():
    assert random_streams.ALGORITHM == "philox"
