"""The walkthrough of flatten: the order, by hand and in the mistakes."""

import numpy as np
import pytest

from layers_explained import flatten


def test_the_case_done_by_hand(printed):
    _, y = flatten.hand_case()
    assert y.tolist() == [[1, 10, 100, 2, 20, 200, 3, 30, 300, 4, 40, 400]]
    assert "x[0,1,0,1] = 30 has index (1*2 + 0)*3 + 1 = 7" in printed(flatten, "by_hand")


def test_the_backward_pass_undoes_the_forward_pass():
    x = flatten.numbers().point["x"]
    assert np.array_equal(flatten.backward_loops(flatten.forward_loops(x), x), x)


@pytest.mark.parametrize(("constant", "hidden"), [("CHANNELS", "channel first; g"), ("BATCH", "batch flattened")])
def test_which_mistake_cannot_be_found_with_one(printed, monkeypatch, constant, hidden):
    monkeypatch.setattr(flatten, constant, 1)
    lines = printed(flatten, "typical_mistakes").splitlines()
    before = lines[lines.index("      with these numbers nothing is wrong, so no check finds it") - 1]
    assert before.strip().startswith(hidden)


def test_bad_channels_get_a_line(main, one_line, monkeypatch):
    monkeypatch.setattr(flatten, "HAND_GREEN", [[1, 2, 3], [4, 5, 6]])
    status, _, err = main(flatten)
    assert status == 1
    one_line(err, "HAND_GREEN", "equal shapes")
