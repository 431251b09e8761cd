"""The essay on dropout: its rungs agree, the layer's mask can be found again, its mistakes are seen."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import dropout
from layers_explained.support import checks, walkthrough


@some.composite
def cases(draw):
    """x, mask, t of random shapes of rank 1 to 4, and a rate."""
    shape = draw(some.lists(some.integers(1, 4), min_size=1, max_size=4))
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    rate = draw(some.floats(0, 0.95))
    x, t = random.standard_normal([2, *shape])
    return x, random.random(shape) >= rate, t, rate


def agree(one, other):
    for a, b in zip(one, other, strict=True):
        assert checks.largest_difference(a, b) <= 1e-10


def loops(*case):
    return dropout.there_and_back(dropout.forward_loops, dropout.backward_loops, *case)


def numpy(*case):
    return dropout.there_and_back(dropout.forward_numpy, dropout.backward_numpy, *case)


@settings(deadline=None, max_examples=50)
@given(cases())
def test_numpy_equals_the_loops(case):
    agree(numpy(*case), loops(*case))


@settings(deadline=None, max_examples=20)
@given(cases())
def test_tensorflow_primitives_equal_numpy(case):
    agree(dropout.tensorflow_primitives(*case), numpy(*case))


@settings(deadline=None, max_examples=15)
@given(cases(), some.integers(0, 2**31 - 1), some.sampled_from(["dropout", "dropout2"]), some.integers(1, 10**6))
def test_the_layer_that_trains_draws_the_mask_that_anybody_can(case, seed, name, step):
    x, _, t, rate = case
    mask = dropout.tensorflow_mask(x.shape, rate, seed, name, step)
    agree(dropout.compiled_layer(x, t, rate, seed, name, step)(), numpy(x, mask, t, rate))


def test_the_mask_belongs_to_seed_name_and_step():
    first = dropout.tensorflow_mask([1000], 0.5, 0, "dropout", 1)
    assert np.array_equal(first, dropout.tensorflow_mask([1000], 0.5, 0, "dropout", 1))
    for other in ((1, "dropout", 1), (0, "other", 1), (0, "dropout", 2)):
        assert 400 < np.sum(first == dropout.tensorflow_mask([1000], 0.5, *other)) < 600


@pytest.mark.parametrize("rungs", [
    (dropout.forward_loops, dropout.backward_loops), (dropout.forward_numpy, dropout.backward_numpy),
])  # fmt: skip
def test_every_entry_of_the_gradient_and_the_taylor_slope(monkeypatch, rungs):
    monkeypatch.setattr(dropout, "BATCH", 4)
    _, *case = dropout.proof_case(*rungs)
    (check,) = checks.check_gradients(*case)
    assert check.error <= 1e-7 and check.largest > 0.1 and check.holds
    assert checks.taylor(*case)[2] == pytest.approx(2.00, abs=0.05)


def broken_entry(mask, dy, rate):
    """One entry of dx wrong by a millionth of its size."""
    dx = dropout.backward_numpy(mask, dy, rate)
    dx[np.unravel_index(np.argmax(np.abs(dx)), dx.shape)] *= 1 + 1e-6
    return dx


@pytest.mark.parametrize("broken", [broken_entry, dropout.fresh_backward, dropout.quiet_backward])
def test_a_broken_gradient_fails(monkeypatch, broken):
    monkeypatch.setattr(dropout, "BATCH", 4)
    with pytest.raises(walkthrough.Problem, match="does not belong to this forward pass"):
        checks.prove_gradients(*dropout.proof_case(dropout.forward_numpy, broken)[1:])


def test_the_case_done_by_hand(capsys):
    *_, y, dx = dropout.hand_case()
    assert y.tolist() == [[6, 0, 8]] and dx.tolist() == [[2, 0, 4]]


@pytest.mark.parametrize("rate", [0, 0.25, 0.5, 0.9])
def test_the_mean_over_all_masks_is_x(capsys, monkeypatch, rate):
    monkeypatch.setattr(dropout, "HAND_RATE", rate)
    dropout.by_hand()
    assert capsys.readouterr().out.splitlines()[-1].split() == ["3", "1", "4", "3", "1", "4"]


def test_each_mistake_is_seen_by_the_check_that_should_see_it(capsys):
    dropout.mistakes()
    quiet, fresh, tested = capsys.readouterr().out.splitlines()[1:4]
    assert "off by" in quiet and quiet.endswith("passes")
    assert "equal" in fresh and "dL/dx off by" in fresh
    assert "off by" in tested and tested.endswith("passes")


@pytest.mark.parametrize("run", ["debug", "classic"])
def test_on_your_network(tell, runs_dir, tmp_path, run):
    status, out, err = tell(dropout, "--run", run, "--runs-dir", runs_dir, "--image", 5, "--out", tmp_path / "f.png")
    assert (status, err) == (0, "") and "to the last bit: True" in out and "when asked again: True" in out
    sums = re.findall(r"all together (\S+);  the (?:layer|tape) says (\S+)", out)
    assert len(sums) == 2 and all(own == other and float(own) != 0 for own, other in sums)


@pytest.mark.parametrize(("constant", "value", "args"), [
    ("RATE", 1, ["RATE = 1", "but not, 1"]),
    ("HAND_RATE", -0.1, ["HAND_RATE = -0.1"]),
    ("STEP", 0, ["STEP = 0", "1 or above"]),
    ("HAND_MASK", [[1, 0]], ["HAND_MASK", "same length"]),
])  # fmt: skip
def test_a_bad_number_at_the_top_gets_a_sentence(tell, one_line, monkeypatch, constant, value, args):
    monkeypatch.setattr(dropout, constant, value)
    status, _, err = tell(dropout)
    assert status == 1
    one_line(err, *args)


def test_a_network_without_dropout_gets_a_sentence(tell, one_line, runs_dir):
    status, _, err = tell(dropout, "--run", "modern", "--runs-dir", runs_dir)
    assert status == 1
    one_line(err, "no Dropout layer")
