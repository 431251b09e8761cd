"""The essay on pooling: its rungs agree, ties and overlaps included, and its gradients are right."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import pooling
from layers_explained.support import checks, walkthrough


@some.composite
def cases(draw):
    """x, kind, t, size, stride, padding at random; x has few different numbers, so that many tie."""
    n, rows, columns, channels = (draw(some.integers(1, most)) for most in (2, 7, 7, 3))
    size, stride = draw(some.integers(1, min(rows, columns))), draw(some.integers(1, 4))
    sizes = size, stride, draw(some.sampled_from(["SAME", "VALID"]))
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    x = random.integers(-4, 1, [n, rows, columns, channels]).astype(float)
    positions = pooling.windows(x, *sizes)[0].shape[:2]
    return x, draw(some.sampled_from(pooling.KINDS)), random.standard_normal([n, *positions, channels]), *sizes


def agree(one, other):
    for a, b in zip(one, other):
        assert checks.largest_difference(a, b) <= 1e-10


def loops(*case):
    return pooling.there_and_back(pooling.forward_loops, pooling.backward_loops, *case)


def numpy(*case):
    return pooling.there_and_back(pooling.forward_numpy, pooling.backward_numpy, *case)


@settings(deadline=None, max_examples=50)
@given(cases())
def test_numpy_equals_the_loops(case):
    agree(numpy(*case), loops(*case))


@settings(deadline=None, max_examples=25)
@given(cases())
def test_tensorflow_primitives_equal_numpy(case):
    agree(pooling.tensorflow_primitives(*case), numpy(*case))


@settings(deadline=None, max_examples=15)
@given(cases())
def test_the_layer_that_trains_equals_numpy(case):
    agree(pooling.compiled_layer(*case)(), numpy(*case))


@pytest.fixture
def sizes(monkeypatch):
    """sizes(3, 1, "SAME"): the essay with that window, on an image of 6 x 5."""

    def change(*values):
        names = ("KERNEL_SIZE", "STRIDE", "PADDING", "BATCH", "ROWS", "COLUMNS", "CHANNELS")
        for name, value in zip(names, (*values, 2, 6, 5, 2)):
            monkeypatch.setattr(pooling, name, value)

    return change


WINDOWS = [(2, 2, "VALID"), (2, 1, "VALID"), (3, 2, "SAME"), (3, 1, "SAME"), (2, 3, "SAME")]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", pooling.KINDS)
@pytest.mark.parametrize("backward", [pooling.backward_loops, pooling.backward_numpy])
def test_every_entry_of_the_gradient_and_the_taylor_slope(sizes, window, kind, backward):
    sizes(*window)
    _, *case = pooling.proof_case(kind, backward)
    (check,) = checks.check_gradients(*case)
    assert check.error <= 1e-7 and check.largest > 0.1 and check.holds
    assert checks.taylor(*case)[2] == pytest.approx(2.00, abs=0.05)


def broken_entry(*case):
    """One entry of dx wrong by a hundred-thousandth of its size."""
    dx = pooling.backward_numpy(*case)
    dx[np.unravel_index(np.argmax(np.abs(dx)), dx.shape)] *= 1 + 1e-5
    return dx


@pytest.mark.parametrize("kind", pooling.KINDS)
@pytest.mark.parametrize("broken", [broken_entry, pooling.whole_backward])
def test_a_broken_gradient_fails(kind, broken):
    _, *case = pooling.proof_case(kind, broken)
    with pytest.raises(walkthrough.Problem, match="does not belong to this forward pass"):
        checks.prove_gradients(*case, bound=1e-6)


@settings(deadline=None, max_examples=25)
@given(cases())
def test_what_goes_back_adds_up_to_what_came(case):
    x, kind, dy, *window = case
    assert pooling.backward_numpy(x, kind, dy, *window).sum() == pytest.approx(dy.sum())


def test_the_case_done_by_hand():
    _, _, y, dx = pooling.hand_case()
    assert y["max"].tolist() == [[3, 2], [5, 0]] and y["average"].tolist() == [[1.5, 1.75], [3, -1.5]]
    assert dx["max"].tolist() == [[0, 4, -8, 0], [0] * 4, [12, 0, -4, 0], [0] * 4]
    assert dx["average"].tolist() == [[1, 1, -2, -2]] * 2 + [[3, 3, -1, -1]] * 2


def test_each_mistake_is_seen_by_the_check_that_should_see_it(capsys):
    pooling.mistakes()
    out = capsys.readouterr().out
    assert len(re.findall(r"gets dL/dy +equal +dL/dx off by|divided +equal +dL/dx off by", out)) == 2
    first, each = (int(found) for found in re.findall(r"of the equals +(\d+)", out))
    assert first == 216 < each


@pytest.mark.parametrize(("run", "layer"), [("debug", "pool1"), ("classic", "pool2"), ("modern", "pool6")])
def test_on_your_network(tell, runs_dir, tmp_path, run, layer):
    """The number kept is the layer's, the gradient is the tape's."""
    args = "--run", run, "--runs-dir", runs_dir, "--layer", layer, "--image", 5, "--out", tmp_path / "f.png"
    status, out, err = tell(pooling, *args)
    assert (status, err) == (0, "") and f"{layer}: [1, " in out
    found = re.findall(r"all together (\S+);  the (?:layer|tape) says (\S+)", out)
    assert len(found) == 2
    for own, other in found:
        assert own == other and float(own) != 0


@pytest.mark.parametrize(("constant", "value", "args"), [
    ("KERNEL_SIZE", 13, ["13x13", "12x12 image", "at most 12"]),
    ("STRIDE", 0, ["STRIDE = 0", "1 or above"]),
    ("PADDING", "FULL", ["PADDING = 'FULL'"]),
    ("HAND_X", [[1, 2], [3]], ["HAND_X", "equally long"]),
    ("HAND_DY", [[1, 2, 3]], ["HAND_DY", "twice as many"]),
])  # fmt: skip
def test_a_bad_number_at_the_top_gets_a_sentence(tell, one_line, monkeypatch, constant, value, args):
    monkeypatch.setattr(pooling, constant, value)
    status, _, err = tell(pooling)
    assert status == 1
    one_line(err, *args)
