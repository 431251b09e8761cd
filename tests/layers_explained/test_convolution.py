"""The essay on convolution: its rungs agree, its gradients are right, its text is what it prints."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import convolution
from layers_explained.support import checks, walkthrough


@some.composite
def cases(draw, square=False):
    """x, k, b, t, stride, padding with random sizes; the kernel fits into the image."""
    n, rows, columns, cin, cout = (draw(some.integers(1, most)) for most in (2, 7, 7, 3, 3))
    kh = draw(some.integers(1, min(rows, columns)))
    kw = kh if square else draw(some.integers(1, columns))
    stride, padding = draw(some.integers(1, 3)), draw(some.sampled_from(["SAME", "VALID"]))
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    x, k, b = (random.standard_normal(shape) for shape in ([n, rows, columns, cin], [kh, kw, cin, cout], [cout]))
    t = random.standard_normal(convolution.window(x, k, stride, padding)[2])
    return x, k, b, t, stride, padding


def agree(one, other):
    for a, b in zip(one, other):
        assert checks.largest_difference(a, b) <= 1e-10


def loops(*case):
    return convolution.there_and_back(convolution.forward_loops, convolution.backward_loops, *case)


def numpy(*case):
    return convolution.there_and_back(convolution.forward_numpy, convolution.backward_numpy, *case)


@settings(deadline=None, max_examples=50)
@given(cases())
def test_numpy_equals_the_loops(case):
    agree(numpy(*case), loops(*case))


@settings(deadline=None, max_examples=25)
@given(cases())
def test_tensorflow_primitives_equal_numpy(case):
    agree(convolution.tensorflow_primitives(*case), numpy(*case))


@settings(deadline=None, max_examples=15)
@given(cases(square=True))
def test_the_layer_that_trains_equals_numpy(case):
    agree(convolution.compiled_layer(*case)(), numpy(*case))


def proof_case(stride, padding, backward=convolution.backward_numpy, forward=convolution.forward_numpy):
    random = np.random.default_rng(1)
    x, k, b = (random.standard_normal(shape) for shape in ([2, 6, 5, 2], [3, 3, 2, 3], [3]))
    t = random.standard_normal(convolution.window(x, k, stride, padding)[2])
    _, dx, dk, db = convolution.there_and_back(forward, backward, x, k, b, t, stride, padding)

    def loss(x, k, b):
        return np.sum((convolution.forward_numpy(x, k, b, stride, padding) - t) ** 2) / 2

    return loss, {"x": x, "k": k, "b": b}, {"x": dx, "k": dk, "b": db}


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("backward", [convolution.backward_loops, convolution.backward_numpy])
def test_every_entry_of_every_gradient(stride, padding, backward):
    for check in checks.check_gradients(*proof_case(stride, padding, backward)):
        assert check.error <= 1e-7 and check.largest > 0.1 and check.holds


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_taylor_slope(stride, padding):
    assert checks.taylor(*proof_case(stride, padding))[2] == pytest.approx(2.00, abs=0.05)


def broken_entry(x, k, dy, stride, padding):
    """One entry of dk wrong by a millionth of its size: a single one in 54 is enough to fail."""
    dx, dk, db = convolution.backward_numpy(x, k, dy, stride, padding)
    dk[np.unravel_index(np.argmax(np.abs(dk)), dk.shape)] *= 1 + 1e-6
    return dx, dk, db


@pytest.mark.parametrize("broken", [broken_entry, convolution.forgetful_backward, convolution.turned_backward])
def test_a_broken_gradient_fails(broken):
    checks = checks.check_gradients(*proof_case(1, "SAME", broken))
    assert not all(check.holds for check in checks)
    with pytest.raises(walkthrough.Problem, match="does not belong to this forward pass"):
        checks.prove_gradients(*proof_case(1, "SAME", broken))


def test_a_broken_gradient_has_another_slope():
    loss, point, gradients = proof_case(1, "SAME", convolution.turned_backward)
    assert checks.taylor(loss, point, gradients)[2] < 1.5
    with pytest.raises(walkthrough.Problem, match="Taylor"):
        checks.prove_taylor(loss, point, gradients)


def test_the_case_done_by_hand():
    _, _, _, y, dx, dk, db = convolution.hand_case()
    assert y.tolist() == [[4, 8], [-1, 4]]
    assert dk.tolist() == [[1, 8], [-1, 0]] and db == 2
    assert dx.tolist() == [[1, -1, 0], [-1, 5, -2], [0, -2, 4]]


def test_each_mistake_is_seen_by_the_check_that_should_see_it(capsys):
    convolution.mistakes()
    turned, shifted, forgetful = capsys.readouterr().out.splitlines()[1:4]
    assert "off by" in turned and turned.endswith("passes")
    assert "off by" in shifted and shifted.endswith("passes")
    assert "equal" in forgetful and "dL/db off by" in forgetful


@pytest.mark.parametrize(("run", "layer", "channels"),
                         [("debug", "conv1", 3), ("classic", "conv2", 32), ("modern", "conv2", 32)])  # fmt: skip
def test_on_your_network(tell, runs_dir, tmp_path, run, layer, channels):
    """The sums written out term by term are the numbers of the layer and of the tape."""
    status, out, err = tell(
        convolution, "--run", run, "--runs-dir", runs_dir, "--layer", layer, "--image", 5, "--out", tmp_path / "f.png"
    )
    assert (status, err) == (0, "")
    assert f"{layer}: [1, " in out and "after step 7" in out and "test picture 5 of shapes10" in out
    for own, other in re.findall(r"all together (\S+);  the (?:layer|tape) says (\S+)", out):
        assert own == other and float(own) != 0
    assert len(re.findall("all together", out)) == 2
    assert (f"the {channels - 3} other channels" in out) == (channels > 3)


@pytest.mark.parametrize(("constant", "value", "args"), [
    ("KERNEL_SIZE", 13, ["13x13 kernel", "12x12 image", "at most 12"]),
    ("STRIDE", 0, ["STRIDE = 0", "1 or above"]),
    ("BATCH", 1.5, ["BATCH = 1.5", "whole number"]),
    ("PADDING", "same", ["PADDING = 'same'", "'SAME' or 'VALID'"]),
    ("SEED", -1, ["SEED = -1", "0 or above"]),
    ("HAND_X", [[1, 2], [3]], ["HAND_X", "equally long"]),
    ("HAND_K", [[1] * 4] * 4, ["HAND_K", "smaller"]),
    ("HAND_T", [[1]], ["HAND_T", "(2, 2)"]),
])  # fmt: skip
def test_a_bad_number_at_the_top_gets_a_sentence(tell, one_line, monkeypatch, constant, value, args):
    monkeypatch.setattr(convolution, constant, value)
    status, _, err = tell(convolution)
    assert status == 1
    one_line(err, *args)
