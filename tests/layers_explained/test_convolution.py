"""The walkthrough of convolution: random shapes, the hand case, and what its questions claim."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import convolution
from layers_explained.support import checks
from layers_explained.support.comparison import Numbers, compiled, forward_and_backward, with_tape


@some.composite
def cases(draw, square=False):
    """x, k, b, t, stride, padding with random sizes; the kernel fits into the image."""
    n, rows, columns, cin, cout = (draw(some.integers(1, most)) for most in (2, 7, 7, 3, 3))
    kh = draw(some.integers(1, min(rows, columns)))
    kw = kh if square else draw(some.integers(1, columns))
    sizes = {"stride": draw(some.integers(1, 3)), "padding": draw(some.sampled_from(["SAME", "VALID"]))}
    normal = np.random.default_rng(draw(some.integers(0, 2**32 - 1))).standard_normal
    point = {"x": normal([n, rows, columns, cin]), "k": normal([kh, kw, cin, cout]), "b": normal([cout])}
    return Numbers(point, normal(convolution.window(point["x"], point["k"], **sizes)[2]), sizes)


def agree(one, other):
    assert max(map(checks.largest_difference, one, other)) <= 1e-10


def numpy(case):
    return forward_and_backward(convolution.forward_numpy, convolution.backward_numpy, case)


@settings(deadline=None, max_examples=40)
@given(cases())
def test_numpy_equals_the_loops(case):
    agree(numpy(case), forward_and_backward(convolution.forward_loops, convolution.backward_loops, case))


@settings(deadline=None, max_examples=15)
@given(cases(square=True))
def test_tensorflow_and_the_layer_equal_numpy(case):
    agree(with_tape(convolution.forward_tensorflow, case), numpy(case))
    agree(compiled(convolution.layer, case)(), numpy(case))


@pytest.mark.parametrize(("stride", "padding"), [(1, "VALID"), (2, "SAME"), (2, "VALID")])
def test_every_entry_of_every_gradient_at_other_strides(monkeypatch, stride, padding):
    for name, value in {"STRIDE": stride, "PADDING": padding, "ROWS": 6, "COLUMNS": 5, "OUT_CHANNELS": 3}.items():
        monkeypatch.setattr(convolution, name, value)
    _, *case = convolution.COMPARISON.checked()
    assert all(check.passes for check in checks.check_gradients(*case))
    assert checks.taylor(*case)[2] == pytest.approx(2.00, abs=0.05)


def test_the_case_done_by_hand():
    _, _, _, _, y, dx, dk, db = convolution.hand_case()
    assert y.tolist() == [[4, 8], [-1, 4]]
    assert dk.tolist() == [[1, 8], [-1, 0]] and db == 2
    assert dx.tolist() == [[1, -1, 0], [-1, 5, -2], [0, -2, 4]]


@pytest.mark.parametrize(("constant", "hidden"), [("KERNEL_SIZE", "kernel flipped"), ("BATCH", "bias gradient of one")])
def test_which_mistake_cannot_be_found_with_one(printed, monkeypatch, constant, hidden):
    monkeypatch.setattr(convolution, constant, 1)
    lines = printed(convolution, "typical_mistakes").splitlines()
    before = lines[lines.index("      with these numbers nothing is wrong, so no check finds it") - 1]
    assert before.strip().startswith(hidden)


@pytest.mark.parametrize(("constant", "value", "words"), [
    ("KERNEL_SIZE", 13, ["13x13 kernel", "12x12 image", "at most 12"]),
    ("STRIDE", 0, ["STRIDE = 0", "1 or above"]),
    ("BATCH", 1.5, ["BATCH = 1.5", "whole number"]),
    ("PADDING", "same", ["PADDING = 'same'", "'SAME' or 'VALID'"]),
    ("SEED", -1, ["SEED = -1", "0 or above"]),
    ("HAND_X", [[1, 2], [3]], ["HAND_X", "equally long"]),
    ("HAND_K", [[1] * 4] * 4, ["HAND_K", "smaller"]),
    ("HAND_T", [[1]], ["HAND_T", "(2, 2)"]),
])  # fmt: skip
def test_a_bad_constant_gets_a_line(main, one_line, monkeypatch, constant, value, words):
    monkeypatch.setattr(convolution, constant, value)
    status, _, err = main(convolution)
    assert status == 1
    one_line(err, *words)
