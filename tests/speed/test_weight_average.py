"""Weight averaging against NumPy's mean, and inside a run."""

import numpy as np
import pytest
import tensorflow as tf

from core.speed.weight_average import WeightAverage


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("share, counted", [(0.25, 5), (1.0, 20), (0.05, 1)])
def test_the_run_ends_at_the_mean_and_is_itself_until_then(share, counted, compiled):
    w = tf.Variable([1.0, -2.0])
    average = WeightAverage({"w": w}, share, 20)
    follow = tf.function(average.follow, autograph=False) if compiled else average.follow
    places = []
    for step in range(1, 21):
        w.assign_add([np.sin(step), np.cos(3 * step)])
        places.append(w.numpy())
        follow(tf.constant(step))
        if step < 20:
            np.testing.assert_array_equal(w, places[-1])
    np.testing.assert_allclose(w, np.mean(places[-counted:], axis=0), rtol=1e-5)
    np.testing.assert_array_equal(w, average.state()["mean"][0])


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_with_less_than_a_step_to_average_it_does_nothing(share):
    w = tf.Variable([1.0])
    average = WeightAverage({"w": w}, share, 20)
    average.follow(tf.constant(20))
    assert average.state() == {"mean": []} and float(w[0]) == 1


def test_what_never_moves_stays_to_the_last_bit():
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    w = tf.Variable(values)
    average = WeightAverage({"w": w}, 0.5, 100)
    for step in range(1, 101):
        average.follow(tf.constant(step))
    np.testing.assert_array_equal(w, values)
