"""The essay on batch normalization: its rungs agree, its gradients are right, its mistakes are seen."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import normalization
from layers_explained.support import checks, walkthrough


@some.composite
def cases(draw):
    """x, gamma, beta, moving, t with random sizes, at least three numbers a channel."""
    shape = [draw(some.integers(1, most)) for most in (3, 4, 4, 3)]
    shape[1] += 2  # of one or two numbers a channel keeps nothing but signs
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    x = random.uniform(-20, 20) + random.standard_normal(shape)
    gamma, beta, mean = random.standard_normal([3, shape[3]])
    return x, gamma, beta, (mean, random.uniform(0.1, 3, shape[3])), random.standard_normal(shape)


def agree(one, other):
    for a, b in zip(one, other, strict=True):
        assert checks.largest_difference(a, b) <= 1e-10


def loops(*case):
    return normalization.there_and_back(normalization.forward_loops, normalization.backward_loops, *case)


def numpy(*case):
    return normalization.there_and_back(normalization.forward_numpy, normalization.backward_numpy, *case)


@settings(deadline=None, max_examples=50)
@given(cases())
def test_numpy_equals_the_loops(case):
    agree(numpy(*case), loops(*case))


@settings(deadline=None, max_examples=20)
@given(cases())
def test_tensorflow_primitives_equal_numpy(case):
    agree(normalization.tensorflow_primitives(*case), numpy(*case))


@settings(deadline=None, max_examples=15)
@given(cases())
def test_the_layer_that_trains_equals_numpy(case):
    step = normalization.compiled_layer(*case)
    agree(step(), numpy(*case))
    agree(step(), numpy(*case))  # a second step starts from the same moving averages


@pytest.mark.parametrize("backward", [normalization.backward_loops, normalization.backward_numpy])
def test_every_entry_of_every_gradient_and_the_taylor_slope(backward):
    _, *case = normalization.proof_case(backward)
    for check in checks.check_gradients(*case):
        assert check.error <= 1e-7 and check.largest > 0.1 and check.holds
    assert checks.taylor(*case)[2] == pytest.approx(2.00, abs=0.05)


def broken_entry(x, gamma, dy):
    """One entry of dx wrong by a millionth of its size."""
    dx, dgamma, dbeta = normalization.backward_numpy(x, gamma, dy)
    dx[np.unravel_index(np.argmax(np.abs(dx)), dx.shape)] *= 1 + 1e-6
    return dx, dgamma, dbeta


def without_the_variance(x, gamma, dy):
    """The way through the mean remembered, the way through the variance forgotten."""
    dx, dgamma, dbeta = normalization.constant_backward(x, gamma, dy)
    return dx - dx.mean(axis=(0, 1, 2)), dgamma, dbeta


@pytest.mark.parametrize("broken", [broken_entry, normalization.constant_backward, without_the_variance])
def test_a_broken_gradient_fails(broken):
    with pytest.raises(walkthrough.Problem, match=r"dL/dx.* does not belong to this forward pass"):
        checks.prove_gradients(*normalization.proof_case(broken)[1:])


def test_a_broken_gradient_has_another_slope():
    assert checks.taylor(*normalization.proof_case(normalization.constant_backward)[1:])[2] < 1.5


def test_the_case_done_by_hand():
    _, _, y, dx, dgamma, dbeta = normalization.hand_case()
    np.testing.assert_allclose(y, [[4, 8, 12, 16]])
    np.testing.assert_allclose(dx, [[3, -2, -1, 0]], atol=1e-12)
    np.testing.assert_allclose([*dgamma, *dbeta], [-3, 3])


def test_what_is_taken_out_leaves_no_gradient():
    """dL/dx has mean 0 in every channel; with a small epsilon it is at right angles to x too."""
    x, gamma, _, _, t = normalization.numbers()
    dx = normalization.backward_numpy(x, gamma, t, epsilon=0)[0]
    np.testing.assert_allclose([dx.sum(axis=(0, 1, 2)), (dx * x).sum(axis=(0, 1, 2))], 0, atol=1e-12)


def test_each_mistake_is_seen_by_the_check_that_should_see_it(capsys):
    normalization.mistakes()
    constant, biased, training = capsys.readouterr().out.splitlines()[1:4]
    assert "equal" in constant and "dL/dx off by" in constant and "dgamma" not in constant
    assert "off by" in biased and biased.endswith("passes")
    assert "off by" in training and training.endswith("passes")


@pytest.mark.parametrize(("run", "layer"), [("debug", "norm1"), ("modern", "norm2")])
def test_on_your_network(tell, runs_dir, tmp_path, run, layer):
    status, out, err = tell(
        normalization, "--run", run, "--runs-dir", runs_dir, "--layer", layer, "--image", 5, "--out", tmp_path / "f.png"
    )
    assert (status, err) == (0, "") and f"{layer}: [1, " in out
    sums = re.findall(r"all together (\S+);  the (?:layer|tape) says (\S+)", out)
    assert len(sums) == 2 and all(own == other and float(own) != 0 for own, other in sums)


@pytest.mark.parametrize(("constant", "value", "args"), [
    ("CHANNELS", 0, ["CHANNELS = 0", "1 or above"]),
    ("HAND_T", [[0, 1]], ["HAND_T", "(1, 2)", "equally long"]),
])  # fmt: skip
def test_a_bad_number_at_the_top_gets_a_sentence(tell, one_line, monkeypatch, constant, value, args):
    monkeypatch.setattr(normalization, constant, value)
    status, _, err = tell(normalization)
    assert status == 1
    one_line(err, *args)


def test_a_batch_too_small_gets_a_sentence(tell, one_line, monkeypatch):
    for name, value in {"BATCH": 2, "ROWS": 1, "COLUMNS": 1}.items():
        monkeypatch.setattr(normalization, name, value)
    status, _, err = tell(normalization)
    assert status == 1
    one_line(err, "fewer than 3 numbers")
