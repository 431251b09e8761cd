"""The walkthrough of optimization: the hand case, the limit of the learning rate, the schedule."""

import dataclasses

import numpy as np
import pytest

from layers_explained import optimization
from layers_explained.support.constants import Problem
from layers_explained.support.trajectory import quadratic


def last_loss(title):
    start, curvature, rates = optimization.case(title)
    return quadratic(optimization.WALKS[title](start, curvature, rates)[-1], curvature)


def test_the_case_done_by_hand(printed):
    rows = [line.split() for line in printed(optimization, "by_hand").splitlines() if line.strip()[:2] in ("1 ", "2 ")]
    assert rows[0] == ["1", "8", "2", "8", "8", "1", "8", "-0.25", "3.75"]
    assert rows[1][:6] == ["2", "4", "1", "2", "6", "-0.25"]


@pytest.mark.parametrize(("factor", "converges"), [(0.5, True), (1.99, True), (2.01, False)])
def test_the_largest_rate_of_gradient_descent(factor, converges):
    start, curvature = np.array(optimization.START), np.array(optimization.RAVINE)
    w = optimization.sgd_numpy(start, curvature, np.full(300, factor / curvature.max()), 0.0)
    assert (quadratic(w[-1], curvature) < quadratic(w[0], curvature)) == converges
    np.testing.assert_allclose(w, optimization.powers(start, curvature, np.full(300, factor / curvature.max())))


DIVERGING = {"gradient descent": 0.2, "momentum": 0.3, "Adam": 40}


def test_rates_at_which_it_diverges(main, monkeypatch, tmp_path):
    """The implementations still agree, beside numbers of that size; nobody is told that one was changed."""
    monkeypatch.setattr(optimization, "RATES", DIVERGING)
    status, out, err = main(optimization, "--out", tmp_path / "figure.png")
    assert (status, err) == (0, "") and (tmp_path / "figure.png").exists()
    assert "   it diverges at this rate, 0.2 at its peak: the loss rises from 36.1 to 3.5e+26\n" in out
    assert out.count("it diverges at this rate") == 2  # Adam takes large steps, but it comes back


def test_a_rate_at_which_the_numbers_end(main, one_line, monkeypatch):
    monkeypatch.setattr(optimization, "RATES", {**DIVERGING, "gradient descent": 1e9})
    status, _, err = main(optimization)
    assert status == 1
    one_line(err, "gradient descent: it diverges at this rate, 1e+09", "infinity", "make RATES['gradient descent']")


def test_at_the_usual_rates_nothing_diverges():
    assert [trajectory.divergence() for trajectory in optimization.COMPARISONS] == ["", "", ""]


def test_a_changed_implementation_that_diverges_is_told_the_rate(monkeypatch):
    monkeypatch.setattr(optimization, "RATES", DIVERGING)
    changed = dataclasses.replace(optimization.COMPARISONS[0], loops=lambda *case: np.ones([61, 2]))
    walkthrough = dataclasses.replace(optimization.WALKTHROUGH, comparisons=(changed,))
    with pytest.raises(Problem, match=r"expected at most 1e-05 of the largest number: it diverges at this rate"):
        walkthrough.four_implementations()


def test_the_schedule_is_that_of_core():
    from core.schedules import warmup_then_decay

    rates = [float(warmup_then_decay(t, 60, 0.06, 0.1, 0.0)) for t in range(1, 61)]
    np.testing.assert_allclose(optimization.schedule(0.06), rates, rtol=1e-5)


def test_what_the_questions_claim(monkeypatch):
    before = {title: last_loss(title) for title in optimization.WALKS}
    with monkeypatch.context() as patch:
        patch.setattr(optimization, "FINAL", 1.0)
        after = {title: last_loss(title) for title in optimization.WALKS}
        assert after["gradient descent"] < before["gradient descent"] and after["momentum"] < before["momentum"]
        assert after["Adam"] > before["Adam"]
    with monkeypatch.context() as patch:
        patch.setattr(optimization, "RAVINE", (1.0, 110.0))
        assert last_loss("gradient descent") > 1e10 and last_loss("momentum") > 1e10 and last_loss("Adam") < 1
    with monkeypatch.context() as patch:
        patch.setattr(optimization, "BETA2", 0.5)
        assert last_loss("Adam") == pytest.approx(0.52, abs=0.01)


@pytest.mark.parametrize(("constant", "value", "words"), [
    ("STEPS", 0, ["STEPS = 0", "1 or above"]),
    ("MOMENTUM", 1, ["MOMENTUM = 1", "not including, 1"]),
])  # fmt: skip
def test_a_bad_constant_gets_a_line(main, one_line, monkeypatch, constant, value, words):
    monkeypatch.setattr(optimization, constant, value)
    status, _, err = main(optimization)
    assert status == 1
    one_line(err, *words)
