"""The essay on activations: the rungs agree, the gradients are right, the mistakes are seen."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import activation
from layers_explained.support import checks, walkthrough


@some.composite
def cases(draw):
    """x, kind, t of a random shape; one x is 0, where ReLU has its kink, and one is far out."""
    shape = draw(some.lists(some.integers(1, 4), min_size=1, max_size=4))
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    x, t = 3 * random.standard_normal(shape), random.standard_normal(shape)
    x.flat[0], x.flat[-1] = 0, draw(some.sampled_from([0, -30, 30]))
    return x, draw(some.sampled_from(activation.KINDS)), t


def agree(one, other):
    for a, b in zip(one, other):
        assert checks.largest_difference(a, b) <= 1e-10


def numpy(*case):
    return activation.there_and_back(activation.forward_numpy, activation.backward_numpy, *case)


@settings(deadline=None, max_examples=25)
@given(cases())
def test_numpy_and_tensorflow_primitives_equal_the_loops(case):
    agree(numpy(*case), activation.there_and_back(activation.forward_loops, activation.backward_loops, *case))
    agree(activation.tensorflow_primitives(*case), numpy(*case))


@settings(deadline=None, max_examples=10)
@given(cases())
def test_the_layer_that_trains_equals_numpy(case):
    agree(activation.compiled_layer(*case)(), numpy(*case))


@pytest.mark.parametrize("kind", activation.KINDS)
@pytest.mark.parametrize("backward", [activation.backward_loops, activation.backward_numpy])
def test_every_entry_of_the_gradient_and_the_taylor_slope(kind, backward):
    _, *case = activation.proof_case(kind, backward=backward)
    (check,) = checks.check_gradients(*case)
    assert check.error <= 1e-7 and check.largest > 0.1 and check.holds
    assert checks.taylor(*case)[2] == pytest.approx(2.00, abs=0.05)


def leaky_backward(x, kind, dy):
    """A hundred-thousandth comes through where nothing should."""
    return activation.backward_numpy(x, kind, dy) + 1e-5 * dy


@pytest.mark.parametrize("kind", activation.KINDS)
@pytest.mark.parametrize("broken", [leaky_backward, activation.wrong_sign_backward])
def test_a_broken_gradient_fails(kind, broken):
    _, *case = activation.proof_case(kind, backward=broken)
    with pytest.raises(walkthrough.Problem, match="does not belong to this forward pass"):
        checks.prove_gradients(*case, bound=1e-6)


def test_a_dead_unit_proves_nothing():
    x, t = activation.numbers()
    y, dx = numpy(x + activation.BIAS, "ReLU", t)
    assert not y.any() and not dx.any()
    with pytest.raises(walkthrough.Problem, match="zero everywhere"):
        checks.prove_gradients(lambda x: 0.0, {"x": x}, {"x": dx})


def test_the_case_done_by_hand(capsys):
    activation.by_hand()
    rows = [line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.startswith("   dL/dx")]
    assert rows == [["0", "0", "0", "-4", "1"], ["-0.0852", "-0.53", "1", "-3.47", "1.0852"]]


def test_each_mistake_is_seen_by_the_check_that_should_see_it(capsys):
    activation.mistakes()
    out = capsys.readouterr().out
    assert re.search(r"of x: output equal, dL/dx off by \d+%: the check fails", out)
    assert re.search(r"backward: output off by 4.7e-04, dL/dx off by \d+%: the check fails", out)
    assert re.search(r"ReLU +0.0e\+00 +0.0e\+00\n +GELU +\S+e-11 +\S+e-10", out)


@pytest.mark.parametrize(("run", "layer"), [("debug", "relu1"), ("classic", "relu4"), ("modern", "relu6")])
def test_on_your_network(tell, runs_dir, tmp_path, run, layer):
    """The number that passed is the layer's, its gradient is the tape's."""
    args = "--run", run, "--runs-dir", runs_dir, "--layer", layer, "--image", 5, "--out", tmp_path / "f.png"
    status, out, err = tell(activation, *args)
    assert (status, err) == (0, "") and f"{layer}: [1, " in out
    found = re.findall(r"all together (\S+);  the (?:layer|tape) says (\S+)", out)
    assert len(found) == 2
    for own, other in found:
        assert own == other and float(own) != 0


@pytest.mark.parametrize(("constant", "value", "args"), [
    ("FEATURES", 0, ["FEATURES = 0", "1 or above"]),
    ("HAND_DY", [[1]], ["HAND_DY", "a dL/dy for each x"]),
    ("BIAS", "low", ["BIAS = 'low'", "a number"]),
])  # fmt: skip
def test_a_bad_number_at_the_top_gets_a_sentence(tell, one_line, monkeypatch, constant, value, args):
    monkeypatch.setattr(activation, constant, value)
    status, _, err = tell(activation)
    assert status == 1
    one_line(err, *args)
