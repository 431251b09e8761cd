"""The walkthrough of dropout: the layer's mask computed again, the hand case, the mean over all masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import dropout
from layers_explained.support import checks
from layers_explained.support.comparison import Numbers, compiled, forward_and_backward


@settings(deadline=None, max_examples=10)
@given(some.integers(0, 2**31 - 1), some.sampled_from(["dropout", "dropout2"]), some.integers(1, 10**6),
       some.floats(0, 0.95))  # fmt: skip
def test_the_layer_draws_the_mask_that_anybody_can(seed, name, step, rate):
    random = np.random.default_rng(seed)
    mask = dropout.tensorflow_mask([3, 4], rate, seed, name, step)
    case = Numbers({"x": random.standard_normal([3, 4])}, random.random([3, 4]), {"mask": mask, "rate": rate})
    with pytest.MonkeyPatch.context() as patch:
        for constant, value in (("SEED", seed), ("NAME", name), ("STEP", step)):
            patch.setattr(dropout, constant, value)
        layer = compiled(dropout.layer, case)()
    numpy = forward_and_backward(dropout.forward_numpy, dropout.backward_numpy, case)
    assert max(map(checks.largest_difference, layer, numpy)) <= 1e-10


def test_the_mask_belongs_to_seed_name_and_step():
    first = dropout.tensorflow_mask([1000], 0.5, 0, "dropout", 1)
    assert np.array_equal(first, dropout.tensorflow_mask([1000], 0.5, 0, "dropout", 1))
    for other in ((1, "dropout", 1), (0, "other", 1), (0, "dropout", 2)):
        assert 400 < np.sum(first == dropout.tensorflow_mask([1000], 0.5, *other)) < 600


def test_the_case_done_by_hand():
    *_, y, dx = dropout.hand_case()
    assert y.tolist() == [[6, 0, 8]] and dx.tolist() == [[2, 0, 4]]


@pytest.mark.parametrize("rate", [0, 0.25, 0.5, 0.9])
def test_the_mean_over_all_masks_is_x(printed, monkeypatch, rate):
    monkeypatch.setattr(dropout, "HAND_RATE", rate)
    assert printed(dropout, "by_hand").strip().splitlines()[-1].split() == ["3", "1", "4", "3", "1", "4"]


def test_without_a_rate_there_is_no_mistake(printed, monkeypatch):
    monkeypatch.setattr(dropout, "RATE", 0)
    assert printed(dropout, "typical_mistakes").strip().endswith("nothing is wrong, so no check finds it")


def test_x_and_y_share_one_grey_scale():
    from layers_explained.support.figures.dropout import panels

    class Trained:
        x, image = np.linspace(0, 2, 8)[None], np.zeros([32, 32, 3], np.uint8)
        layer = type("Layer", (), {"name": "dropout"})

    figure = panels(Trained, np.ones([1, 8]), 2 * Trained.x, 1)
    _, x, _, y = (axes.images[0] for axes in figure.axes)
    assert x.get_clim() == y.get_clim() == (0, 4)


@pytest.mark.parametrize(("constant", "value", "words"), [
    ("RATE", 1, ["RATE = 1", "not including, 1"]),
    ("HAND_RATE", -0.1, ["HAND_RATE = -0.1"]),
    ("STEP", 0, ["STEP = 0", "1 or above"]),
    ("HAND_MASK", [[1, 0]], ["HAND_MASK", "same length"]),
])  # fmt: skip
def test_a_bad_constant_gets_a_line(main, one_line, monkeypatch, constant, value, words):
    monkeypatch.setattr(dropout, constant, value)
    status, _, err = main(dropout)
    assert status == 1
    one_line(err, *words)
