"""The essay on flatten: its rungs agree, its gradient is the reshape back, its mistakes are seen."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import flatten
from layers_explained.support import checks, walkthrough


@some.composite
def cases(draw):
    """x, t of random sizes."""
    shape = [draw(some.integers(1, most)) for most in (3, 5, 5, 4)]
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    return random.standard_normal(shape), random.standard_normal([shape[0], np.prod(shape[1:])])


def agree(one, other):
    for a, b in zip(one, other):
        assert checks.largest_difference(a, b) <= 1e-10


@settings(deadline=None, max_examples=25)
@given(cases())
def test_numpy_and_tensorflow_primitives_equal_the_loops(case):
    numpy = flatten.there_and_back(flatten.forward_numpy, flatten.backward_numpy, *case)
    agree(numpy, flatten.there_and_back(flatten.forward_loops, flatten.backward_loops, *case))
    agree(flatten.tensorflow_primitives(*case), numpy)


@settings(deadline=None, max_examples=10)
@given(cases())
def test_the_layer_that_trains_equals_numpy(case):
    agree(flatten.compiled_layer(*case)(), flatten.there_and_back(flatten.forward_numpy, flatten.backward_numpy, *case))


@pytest.mark.parametrize("backward", [flatten.backward_loops, flatten.backward_numpy])
def test_every_entry_of_the_gradient_and_the_taylor_slope(backward):
    _, *case = flatten.proof_case(flatten.forward_numpy, backward)
    (check,) = checks.check_gradients(*case)
    assert check.error <= 1e-7 and check.largest > 0.1 and check.holds
    assert checks.taylor(*case)[2] == pytest.approx(2.00, abs=0.05)


def test_a_broken_gradient_fails():
    _, *case = flatten.proof_case(flatten.forward_numpy, flatten.channel_first_backward)
    with pytest.raises(walkthrough.Problem, match="does not belong to this forward pass"):
        checks.prove_gradients(*case)
    with pytest.raises(walkthrough.Problem, match="Taylor"):
        checks.prove_taylor(*case)


def test_the_case_done_by_hand():
    assert flatten.hand_case()[1].tolist() == [[1, 10, 100, 2, 20, 200, 3, 30, 300, 4, 40, 400]]


def test_each_mistake_is_seen_by_the_check_that_should_see_it(capsys):
    flatten.mistakes()
    first, batch, gradient = capsys.readouterr().out.splitlines()[1:4]
    assert re.search(r"off by \S+ +passes$", first) and re.search(r"off by \S+ +passes$", batch)
    assert re.search(r"equal +dL/dx off by \d+%$", gradient)


@pytest.mark.parametrize("run", ["debug", "classic", "modern"])
def test_on_your_network(tell, runs_dir, tmp_path, run):
    """The place found for a feature holds its number, and its gradient."""
    status, out, err = tell(flatten, "--run", run, "--runs-dir", runs_dir, "--image", 5, "--out", tmp_path / "f.png")
    assert (status, err) == (0, "") and "flatten: [1, " in out
    found = re.findall(r"all together (\S+);  the (?:layer|tape) says (\S+)", out)
    assert len(found) == 2 and all(own == other for own, other in found)


@pytest.mark.parametrize(("constant", "value", "args"), [
    ("CHANNELS", 0, ["CHANNELS = 0", "1 or above"]),
    ("HAND_RED", [[1, 2]], ["HAND_RED", "equal shapes"]),
])  # fmt: skip
def test_a_bad_number_at_the_top_gets_a_sentence(tell, one_line, monkeypatch, constant, value, args):
    monkeypatch.setattr(flatten, constant, value)
    status, _, err = tell(flatten)
    assert status == 1
    one_line(err, *args)
