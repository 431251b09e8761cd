"""The walkthrough of backpropagation: the page of numbers, one step, and what its questions claim."""

import re

import numpy as np
import pytest

from layers_explained import backpropagation


def test_the_page_of_numbers():
    v = backpropagation.hand_case()
    np.testing.assert_allclose(v["p"][:, 0], [0.75, 0.75, 0.3660, 0.75], atol=1e-4)
    np.testing.assert_allclose(v["dz"][3], [0.1875, -0.1875])
    assert not v["da"][v["a"] < 0].any() and all(v[f"d{n}"].size == v[n].size for n in ("x", "W1", "b1", "W2", "b2"))


@pytest.mark.parametrize(("rate", "sign"), [(0.1, -1), (1, -1), (10, 1)])
def test_predicted_and_actual_change_of_the_loss(printed, monkeypatch, rate, sign):
    monkeypatch.setattr(backpropagation, "LEARNING_RATE", rate)
    predicted, actual = map(float, re.findall(r"change of L (-\S+),\n   actual change (\S+)\.",
                                              printed(backpropagation, "by_hand"))[0])  # fmt: skip
    assert predicted == pytest.approx(-0.338 * rate, rel=0.01) and np.sign(actual) == sign and actual > predicted


def test_a_fourth_unit_makes_all_predictions_right(printed, monkeypatch):
    monkeypatch.setattr(backpropagation, "HAND_W1", [[1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 1, 1]])
    monkeypatch.setattr(backpropagation, "HAND_B1", [[-0.5] * 4])
    monkeypatch.setattr(backpropagation, "HAND_W2", np.log(3) * np.array([[1, 0], [0, 1], [1, 0], [0, 1]]))
    assert "correct predictions: 4 of 4" in printed(backpropagation, "by_hand")


def test_dead_units_pass_nothing(monkeypatch):
    monkeypatch.setattr(backpropagation, "HAND_B1", [[-3, -3, -3]])
    v = backpropagation.hand_case()
    assert not any(v[name].any() for name in ("h", "da", "dW1", "db1", "dx", "dW2", "db2"))


def test_one_image_hides_the_forgotten_mean(printed, monkeypatch):
    monkeypatch.setattr(backpropagation, "BATCH", 1)
    lines = printed(backpropagation, "typical_mistakes").splitlines()
    assert lines[-2].strip() == "1/N forgotten in the backward pass:" and "nothing is wrong" in lines[-1]


@pytest.mark.parametrize(("constant", "value", "words"), [
    ("HIDDEN", 0, ["HIDDEN = 0", "1 or above"]),
    ("HAND_W2", [[1, 0]], ["HAND_W2 is (1, 2)", "(3, 2)"]),
    ("HAND_LABELS", [0, 0, 1, 2], ["HAND_LABELS", "0 to 1"]),
])  # fmt: skip
def test_a_bad_constant_gets_a_line(main, one_line, monkeypatch, constant, value, words):
    monkeypatch.setattr(backpropagation, constant, value)
    status, _, err = main(backpropagation)
    assert status == 1
    one_line(err, *words)
