"""The walkthrough of activations: random shapes with kinks, the hand case, dead units."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import activation
from layers_explained.support import checks
from layers_explained.support.comparison import Numbers, compiled, forward_and_backward, with_tape


@some.composite
def cases(draw):
    """x, kind, t of a random shape; one x is 0, where ReLU has its kink, and one is far out."""
    shape = draw(some.lists(some.integers(1, 4), min_size=1, max_size=4))
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    x, t = 3 * random.standard_normal(shape), random.standard_normal(shape)
    x.flat[0], x.flat[-1] = 0, draw(some.sampled_from([0, -30, 30]))
    return Numbers({"x": x}, t, {"kind": draw(some.sampled_from(activation.KINDS))})


@settings(deadline=None, max_examples=20)
@given(cases())
def test_the_implementations_agree(case):
    loops = forward_and_backward(activation.forward_loops, activation.backward_loops, case)
    for found, bound in (
        (forward_and_backward(activation.forward_numpy, activation.backward_numpy, case), 1e-10),
        (with_tape(activation.forward_tensorflow, case), 1e-10),
        (compiled(activation.layer, case)(), 1e-5),  # tf.nn.gelu: sqrt 2 as a float32, times x up to 30
    ):
        assert max(map(checks.largest_difference, found, loops)) <= bound


def test_the_case_done_by_hand(printed):
    rows = [line.split()[1:] for line in printed(activation, "by_hand").splitlines() if line.startswith("   dL/dx")]
    assert rows == [["0", "0", "0", "-4", "1"], ["-0.0852", "-0.53", "1", "-3.47", "1.0852"]]


def test_where_the_slope_of_gelu_leaves_0_to_1():
    x = np.array([-0.76, -0.74, 0.74, 0.76])
    slope = activation.derivative(x, "GELU")
    assert slope[0] < 0 < slope[1] < 1 and 0 < slope[2] < 1 < slope[3]


@pytest.mark.parametrize(("bias", "dead"), [(-10, 32), (-4, 32), (-1, 1), (0, 0)])
def test_the_sentence_about_dead_units_is_counted(printed, monkeypatch, bias, dead):
    monkeypatch.setattr(activation, "BIAS", bias)
    assert int(np.sum((activation.numbers("ReLU").point["x"] + bias <= 0).all(axis=0))) == dead
    last = printed(activation, "typical_mistakes").splitlines()[-1]
    assert f"Dead ReLU units on this batch: {dead} of 32" in last and ("no gradient" in last) == (dead > 0)


@pytest.mark.parametrize(("constant", "value", "words"), [
    ("FEATURES", 0, ["FEATURES = 0", "1 or above"]),
    ("HAND_DY", [[1]], ["HAND_DY", "a dL/dy for each x"]),
    ("BIAS", "low", ["BIAS = 'low'", "a number"]),
])  # fmt: skip
def test_a_bad_constant_gets_a_line(main, one_line, monkeypatch, constant, value, words):
    monkeypatch.setattr(activation, constant, value)
    status, _, err = main(activation)
    assert status == 1
    one_line(err, *words)
