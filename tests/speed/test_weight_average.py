"""Weight averaging against NumPy's mean, and inside a run."""

import numpy as np
import pytest
import tensorflow as tf

from core.speed.weight_average import WeightAverage


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("fraction, counted", [(0.25, 5), (1.0, 20), (0.05, 1)])
def test_the_weights_end_at_the_mean_and_are_unchanged_until_then(fraction, counted, compiled):
    w = tf.Variable([1.0, -2.0])
    average = WeightAverage({"w": w}, fraction, 20)
    assert list(average.trainable_variables) == [w] and average.name == "weight_average"
    update = tf.function(average.update, autograph=False) if compiled else average.update
    positions = []
    for step in range(1, 21):
        w.assign_add([np.sin(step), np.cos(3 * step)])
        positions.append(w.numpy())
        update(tf.constant(step))
        if step < 20:
            np.testing.assert_array_equal(w, positions[-1])
    np.testing.assert_allclose(w, np.mean(positions[-counted:], axis=0), rtol=1e-5)
    np.testing.assert_array_equal(w, average.state()["mean"][0])


@pytest.mark.parametrize("fraction", [0.0, 0.01])
def test_a_fraction_that_rounds_to_no_step_does_nothing(fraction):
    w = tf.Variable([1.0])
    average = WeightAverage({"w": w}, fraction, 20)
    average.update(tf.constant(20))
    assert average.state() == {"mean": []} and float(w[0]) == 1


def test_what_does_not_change_stays_to_the_last_bit():
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    w = tf.Variable(values)
    average = WeightAverage({"w": w}, 0.5, 100)
    for step in range(1, 101):
        average.update(tf.constant(step))
    np.testing.assert_array_equal(w, values)
