"""The essay on dense layers: its rungs agree, its gradients are right, its mistakes are seen."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import dense
from layers_explained.support import checks, walkthrough


@some.composite
def cases(draw):
    """x, W, b, t of random sizes."""
    n, inputs, outputs = (draw(some.integers(1, most)) for most in (4, 9, 6))
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    return tuple(random.standard_normal(shape) for shape in ([n, inputs], [inputs, outputs], [outputs], [n, outputs]))


def agree(one, other):
    for a, b in zip(one, other):
        assert checks.largest_difference(a, b) <= 1e-10


def numpy(*case):
    return dense.there_and_back(dense.forward_numpy, dense.backward_numpy, *case)


@settings(deadline=None, max_examples=50)
@given(cases())
def test_numpy_equals_the_loops(case):
    agree(numpy(*case), dense.there_and_back(dense.forward_loops, dense.backward_loops, *case))


@settings(deadline=None, max_examples=25)
@given(cases())
def test_tensorflow_primitives_equal_numpy(case):
    agree(dense.tensorflow_primitives(*case), numpy(*case))


@settings(deadline=None, max_examples=10)
@given(cases())
def test_the_layer_that_trains_equals_numpy(case):
    agree(dense.compiled_layer(*case)(), numpy(*case))


@pytest.fixture
def small(monkeypatch):
    for name, value in (("BATCH", 3), ("IN_FEATURES", 7), ("OUT_FEATURES", 4)):
        monkeypatch.setattr(dense, name, value)


@pytest.mark.parametrize("backward", [dense.backward_loops, dense.backward_numpy])
def test_every_entry_of_every_gradient_and_the_taylor_slope(small, backward):
    _, *case = dense.proof_case(backward)
    for check in checks.check_gradients(*case):
        assert check.error <= 1e-7 and check.largest > 0.1 and check.holds
    assert checks.taylor(*case)[2] == pytest.approx(2.00, abs=0.05)


def broken_entry(x, w, dy):
    """One entry of dW wrong by a millionth of its size: a single one in 28 is enough to fail."""
    dx, dw, db = dense.backward_numpy(x, w, dy)
    dw[np.unravel_index(np.argmax(np.abs(dw)), dw.shape)] *= 1 + 1e-6
    return dx, dw, db


@pytest.mark.parametrize("broken", [broken_entry, dense.reshaped_backward, dense.unsummed_backward])
def test_a_broken_gradient_fails(small, broken):
    _, *case = dense.proof_case(broken)
    with pytest.raises(walkthrough.Problem, match="does not belong to this forward pass"):
        checks.prove_gradients(*case)


def test_a_forgotten_batch_size_has_another_slope(small):
    _, *case = dense.proof_case(dense.backward_numpy, images=dense.BATCH)
    with pytest.raises(walkthrough.Problem, match="Taylor"):
        checks.prove_taylor(*case)


def test_the_case_done_by_hand():
    *_, y, dx, dw, db = dense.hand_case()
    assert y.tolist() == [[6, -5], [3, 4]]
    assert dx.tolist() == [[1, 3, -2], [0, -3, 6]]
    assert dw.tolist() == [[1, -1], [2, 1], [-1, 10]] and db.tolist() == [1, 2]


def test_each_mistake_is_seen_by_the_check_that_should_see_it(small, capsys):
    dense.mistakes()
    reshaped, unsummed, mean = capsys.readouterr().out.splitlines()[1:4]
    assert re.search(r"equal +dL/dx off by \d+%$", reshaped)
    assert re.search(r"equal +dL/db off by \d+%$", unsummed)
    assert re.search(r"equal +dL/dx off by 67%, dL/dW off by 67%, dL/db off by 67%$", mean)


@pytest.mark.parametrize(("run", "layer"), [("debug", "dense1"), ("classic", "dense2"), ("modern", "dense")])
def test_on_your_network(tell, runs_dir, tmp_path, run, layer):
    """The sums written out term by term are the numbers of the layer and of the tape."""
    args = "--run", run, "--runs-dir", runs_dir, "--layer", layer, "--image", 5, "--out", tmp_path / "f.png"
    status, out, err = tell(dense, *args)
    assert (status, err) == (0, "") and f"{layer}: [1, " in out
    found = re.findall(r"all together (\S+);  the (?:layer|tape) says (\S+)", out)
    assert len(found) == 3
    for own, other in found:
        assert own == other and float(own) != 0


@pytest.mark.parametrize(("constant", "value", "args"), [
    ("BATCH", 0, ["BATCH = 0", "1 or above"]),
    ("HAND_W", [[1, 0], [2, 1]], ["HAND_W", "(N, in) @ (in, out)"]),
    ("HAND_B", [1, -1], ["HAND_B", "rows of numbers"]),
])  # fmt: skip
def test_a_bad_number_at_the_top_gets_a_sentence(tell, one_line, monkeypatch, constant, value, args):
    monkeypatch.setattr(dense, constant, value)
    status, _, err = tell(dense)
    assert status == 1
    one_line(err, *args)
