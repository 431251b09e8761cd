"""The walkthrough of pooling: random windows with ties and overlaps, the hand case, windows of one number."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import pooling
from layers_explained.support import checks
from layers_explained.support.comparison import Numbers, compiled, forward_and_backward, with_tape


@some.composite
def cases(draw):
    """x, kind, t, size, stride, padding at random; x has few different numbers, so that many tie."""
    n, rows, columns, channels = (draw(some.integers(1, most)) for most in (2, 7, 7, 3))
    sizes = {"size": draw(some.integers(1, min(rows, columns))), "stride": draw(some.integers(1, 4)),
             "padding": draw(some.sampled_from(["SAME", "VALID"]))}  # fmt: skip
    random = np.random.default_rng(draw(some.integers(0, 2**32 - 1)))
    x = random.integers(-4, 1, [n, rows, columns, channels]).astype(float)
    t = random.standard_normal([n, *pooling.windows(x, **sizes)[0].shape[:2], channels])
    return Numbers({"x": x}, t, {"kind": draw(some.sampled_from(pooling.KINDS)), **sizes})


@settings(deadline=None, max_examples=20)
@given(cases())
def test_the_implementations_agree(case):
    loops = forward_and_backward(pooling.forward_loops, pooling.backward_loops, case)
    for found in (
        forward_and_backward(pooling.forward_numpy, pooling.backward_numpy, case),
        with_tape(pooling.forward_tensorflow, case), compiled(pooling.layer, case)(),
    ):  # fmt: skip
        assert max(map(checks.largest_difference, found, loops)) <= 1e-10


@settings(deadline=None, max_examples=25)
@given(cases())
def test_dx_adds_up_to_what_dy_adds_up_to(case):
    dx = pooling.backward_numpy(case.target, case.point["x"], **case.options)
    assert dx.sum() == pytest.approx(case.target.sum())


@pytest.mark.parametrize("window", [(2, 2, "VALID"), (2, 1, "VALID"), (3, 1, "SAME"), (2, 3, "SAME")])
def test_every_entry_of_the_gradient_of_other_windows(monkeypatch, window):
    names = "KERNEL_SIZE", "STRIDE", "PADDING", "ROWS", "COLUMNS", "CHANNELS"
    for name, value in zip(names, (*window, 6, 5, 2)):
        monkeypatch.setattr(pooling, name, value)
    for comparison in pooling.COMPARISONS:
        _, *case = comparison.checked()
        assert all(check.passes for check in checks.check_gradients(*case))


def test_the_case_done_by_hand():
    _, _, y, dx = pooling.hand_case()
    assert y["max"].tolist() == [[3, 2], [5, 0]] and y["average"].tolist() == [[1.5, 1.75], [3, -1.5]]
    assert dx["max"].tolist() == [[0, 4, -8, 0], [0] * 4, [12, 0, -4, 0], [0] * 4]
    assert dx["average"].tolist() == [[1, 1, -2, -2]] * 2 + [[3, 3, -1, -1]] * 2


@pytest.mark.parametrize(("kernel", "verdict"), [(3, "wrong"), (1, "right")])
def test_the_verdict_on_ties_is_computed(printed, monkeypatch, kernel, verdict):
    """With windows of one number there are no ties, and neither mistake is one."""
    monkeypatch.setattr(pooling, "KERNEL_SIZE", kernel)
    out = printed(pooling, "typical_mistakes")
    assert re.search(rf"to each of the equals +\d+ +{verdict}", out) and re.search(
        r"first of the equals +216 +right", out
    )
    assert out.count("nothing is wrong") == (2 if kernel == 1 else 0)


@pytest.mark.parametrize(("constant", "value", "words"), [
    ("KERNEL_SIZE", 13, ["13x13", "12x12 image", "at most 12"]),
    ("STRIDE", 0, ["STRIDE = 0", "1 or above"]),
    ("PADDING", "FULL", ["PADDING = 'FULL'"]),
    ("HAND_X", [[1, 2], [3]], ["HAND_X", "equally long"]),
    ("HAND_DY", [[1, 2, 3]], ["HAND_DY", "twice as many"]),
])  # fmt: skip
def test_a_bad_constant_gets_a_line(main, one_line, monkeypatch, constant, value, words):
    monkeypatch.setattr(pooling, constant, value)
    status, _, err = main(pooling)
    assert status == 1
    one_line(err, *words)
