"""The essay on softmax: its rungs agree, its gradients are right, its mistakes are seen."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import softmax
from layers_explained.support import checks, walkthrough


@some.composite
def cases(draw):
    """Logits z up to 1000 away from 0, a target t, one-hot labels q."""
    shape = [draw(some.integers(1, 5)), draw(some.integers(1, 7))]
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    z = 3 * random.standard_normal(shape) + draw(some.sampled_from([0, 1000, -1000]))
    return z, random.standard_normal(shape), np.eye(shape[1])[random.integers(shape[1], size=shape[0])]


def agree(one, other):
    for a, b in zip(one, other, strict=True):
        assert checks.largest_difference(a, b) <= 1e-10


def loops(*case):
    return softmax.there_and_back(softmax.forward_loops, softmax.backward_loops, softmax.cross_entropy_loops, *case)


def numpy(*case):
    return softmax.there_and_back(softmax.forward_numpy, softmax.backward_numpy, softmax.cross_entropy_numpy, *case)


@settings(deadline=None, max_examples=50)
@given(cases())
def test_numpy_equals_the_loops(case):
    agree(numpy(*case), loops(*case))


@settings(deadline=None, max_examples=20)
@given(cases())
def test_tensorflow_primitives_equal_numpy(case):
    agree(softmax.tensorflow_primitives(*case), numpy(*case))


@settings(deadline=None, max_examples=15)
@given(cases())
def test_the_layer_that_trains_equals_numpy(case):
    agree(softmax.compiled_layer(*case)(), numpy(*case))


@pytest.mark.parametrize("case", [
    lambda: softmax.squares_case(softmax.forward_loops, softmax.backward_loops)[1:],
    lambda: softmax.squares_case(softmax.forward_numpy, softmax.backward_numpy)[1:],
    softmax.cross_entropy_case,
])  # fmt: skip
def test_every_entry_of_the_gradient_and_the_taylor_slope(monkeypatch, case):
    monkeypatch.setattr(softmax, "BATCH", 4)
    for check in checks.check_gradients(*case()):
        assert check.error <= 1e-7 and check.largest > 0.05 and check.holds
    assert checks.taylor(*case())[2] == pytest.approx(2.00, abs=0.05)


def broken_entry(p, dp):
    """One entry wrong by a millionth of its size."""
    dz = softmax.backward_numpy(p, dp)
    dz[np.unravel_index(np.argmax(np.abs(dz)), dz.shape)] *= 1 + 1e-6
    return dz


@pytest.mark.parametrize("broken", [broken_entry, softmax.diagonal_backward, softmax.wrong_axis_backward])
def test_a_broken_gradient_fails(monkeypatch, broken):
    monkeypatch.setattr(softmax, "BATCH", 4)
    with pytest.raises(walkthrough.Problem, match="does not belong to this forward pass"):
        checks.prove_gradients(*softmax.squares_case(softmax.forward_numpy, broken)[1:])


def test_the_case_done_by_hand():
    _, p, _, jacobian, squares, surprise = softmax.hand_case()
    np.testing.assert_allclose(p, [[1 / 8, 2 / 8, 5 / 8]])
    np.testing.assert_allclose(64 * jacobian, [[7, -2, -5], [-2, 12, -10], [-5, -10, 15]], atol=1e-12)
    np.testing.assert_allclose(surprise, [[1 / 8, 2 / 8, -3 / 8]])
    np.testing.assert_allclose(512 * squares, [[18, 52, -70]])


def test_each_mistake_is_seen_by_the_check_that_should_see_it(capsys):
    softmax.mistakes()
    overflow, axis, twice, diagonal = capsys.readouterr().out.splitlines()[1:5]
    assert "off by inf" in overflow and "dL/dz off by inf" in overflow
    assert "off by" in axis and axis.endswith("passes")
    assert "off by" in twice and twice.endswith("passes")
    assert "equal" in diagonal and "dL/dz off by" in diagonal


@pytest.mark.parametrize("run", ["debug", "classic"])
def test_on_your_network(tell, runs_dir, tmp_path, run):
    status, out, err = tell(softmax, "--run", run, "--runs-dir", runs_dir, "--image", 5, "--out", tmp_path / "f.png")
    assert (status, err) == (0, "") and "softmax: [1, 10] -> [1, 10]" in out
    sums = re.findall(r"all together (\S+);  the (?:layer|tape) says (\S+)", out)
    assert len(sums) == 2 and all(own == other and float(own) != 0 for own, other in sums)
    columns = [line.split()[-2:] for line in out.splitlines() if re.search(r" [01]  +-?\d\.\d{6}  +-?\d\.\d{6}$", line)]
    assert len(columns) == 10 and all(own == tape for own, tape in columns)


@pytest.mark.parametrize(("constant", "value", "args"), [
    ("CLASSES", 1, ["CLASSES = 1", "2 or above"]),
    ("BATCH", 0, ["BATCH = 0", "1 or above"]),
    ("HAND_Q", [[0, 1]], ["HAND_Q", "(1, 2)"]),
])  # fmt: skip
def test_a_bad_number_at_the_top_gets_a_sentence(tell, one_line, monkeypatch, constant, value, args):
    monkeypatch.setattr(softmax, constant, value)
    status, _, err = tell(softmax)
    assert status == 1
    one_line(err, *args)
