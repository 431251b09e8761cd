"""The walkthrough of batch normalization: the hand case, and sentences that follow its numbers."""

import numpy as np
import pytest

from layers_explained import normalization
from layers_explained.support import checks


def test_the_case_done_by_hand(printed):
    out = printed(normalization, "by_hand")
    assert "4   8  12  16" in out and out.rstrip().splitlines()[-4].split()[-4:] == ["3", "-2", "-1", "0"]
    assert "Outputs that differ from t: 1 of 4. Inputs with a gradient: 3;" in out


@pytest.mark.parametrize(("target", "wrong", "reached"), [([[4, 8, 12, 16]], 0, 0), ([[0, 8, 12, 17]], 2, 4)])
def test_the_sentence_about_the_hand_case_is_counted(printed, monkeypatch, target, wrong, reached):
    monkeypatch.setattr(normalization, "HAND_T", target)
    expected = f"Outputs that differ from t: {wrong} of 4. Inputs with a gradient: {reached};"
    assert expected in printed(normalization, "by_hand")


@pytest.mark.parametrize("sizes", [(1, 1, 3), (2, 5, 1)])
def test_every_entry_of_every_gradient_of_other_sizes(monkeypatch, sizes):
    for name, value in zip(("BATCH", "ROWS", "COLUMNS"), sizes):
        monkeypatch.setattr(normalization, name, value)
    _, *case = normalization.COMPARISON.checked()
    assert all(check.passes for check in checks.check_gradients(*case, bound=1e-6))


def test_the_scale_of_x_cancels():
    x = np.random.default_rng(0).standard_normal([4, 3, 3, 2])
    case = np.ones(2), np.zeros(2), np.ones([2, 2])
    y, twice = (normalization.forward_numpy(factor * x, *case, epsilon=0)[0] for factor in (1, 2))
    np.testing.assert_allclose(y, twice)


@pytest.mark.parametrize(("changes", "words"), [
    ({"CHANNELS": 0}, ["CHANNELS = 0", "1 or above"]),
    ({"BATCH": 1, "ROWS": 1, "COLUMNS": 2}, ["BATCH, ROWS, COLUMNS", "larger"]),
    ({"HAND_T": [[1, 2]]}, ["HAND_T (1, 2)", "equally long"]),
])  # fmt: skip
def test_a_bad_constant_gets_a_line(main, one_line, monkeypatch, changes, words):
    for constant, value in changes.items():
        monkeypatch.setattr(normalization, constant, value)
    status, _, err = main(normalization)
    assert status == 1
    one_line(err, *words)
