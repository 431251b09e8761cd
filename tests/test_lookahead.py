"""Lookahead against its formula, step by step, in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from core.lookahead import EVERY, SLOWNESS, Lookahead


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("total", [20, 23])
def test_every_step_is_the_formula(total, compiled):
    w = tf.Variable([1.0, -2.0])
    lookahead = Lookahead({"w": w}, total)
    follow = tf.function(lookahead.follow, autograph=False) if compiled else lookahead.follow
    slow, fast = w.numpy().astype(np.float64), w.numpy().astype(np.float64)
    for step in range(1, total + 1):
        move = np.array([np.sin(step), np.cos(3 * step)])
        w.assign_add(move.astype(np.float32))
        follow(tf.constant(step))
        fast = fast + move
        if step == total:
            fast = slow
        elif step % EVERY == 0:
            a = SLOWNESS * (step / total) ** 3
            slow = fast = a * slow + (1 - a) * fast
        np.testing.assert_allclose(w, fast, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lookahead.slots()["slow"][0], slow, rtol=1e-5)


def test_without_variables_it_does_nothing():
    lookahead = Lookahead({}, 10)
    lookahead.follow(tf.constant(5))
    assert lookahead.slots() == {"slow": []}


def test_a_run_that_ends_before_the_first_pull_keeps_its_weights():
    w = tf.Variable([1.0])
    lookahead = Lookahead({"w": w}, EVERY - 1)
    for step in range(1, EVERY):
        w.assign_add([1.0])
        lookahead.follow(tf.constant(step))
    assert float(w[0]) == EVERY


def test_what_never_moves_stays_to_the_last_bit():
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    w = tf.Variable(values)
    lookahead = Lookahead({"w": w}, 100)
    for step in range(1, 101):
        lookahead.follow(tf.constant(step))
    np.testing.assert_array_equal(w, values)
