"""The walkthrough of the dense layer: the hand case, and which mistakes hide in small sizes."""

import pytest

from layers_explained import dense


def test_the_case_done_by_hand():
    *_, y, dx, dw, db = dense.hand_case()
    assert y.tolist() == [[6, -5], [3, 4]] and db.tolist() == [1, 2]
    assert dx.tolist() == [[1, 3, -2], [0, -3, 6]] and dw.tolist() == [[1, -1], [2, 1], [-1, 10]]


@pytest.mark.parametrize(("constant", "hidden"), [("BATCH", "1/N of a mean loss"), ("OUT_FEATURES", "W reshaped")])
def test_which_mistake_cannot_be_found_with_one(printed, monkeypatch, constant, hidden):
    monkeypatch.setattr(dense, constant, 1)
    lines = printed(dense, "typical_mistakes").splitlines()
    before = lines[lines.index("      with these numbers nothing is wrong, so no check finds it") - 1]
    assert before.strip().startswith(hidden) and ";" not in before


def test_the_sums_follow_the_hand_case(printed, monkeypatch):
    monkeypatch.setattr(dense, "HAND_T", [[6, -5], [3, 0]])
    out = printed(dense, "by_hand")
    assert "dL/dx[0,1] = 2*0 + (-1)*0 = 0" in out and "dL/db[0]   = 0 + 0 = 0" in out


@pytest.mark.parametrize(("constant", "value", "words"), [
    ("BATCH", 0, ["BATCH = 0", "1 or above"]),
    ("HAND_B", [[1]], ["HAND_B (1, 1)", "(1, out)"]),
])  # fmt: skip
def test_a_bad_constant_gets_a_line(main, one_line, monkeypatch, constant, value, words):
    monkeypatch.setattr(dense, constant, value)
    status, _, err = main(dense)
    assert status == 1
    one_line(err, *words)
