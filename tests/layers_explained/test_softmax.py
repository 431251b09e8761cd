"""The walkthrough of softmax: large logits, the hand case, signs in the figure."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from layers_explained import softmax
from layers_explained.support import checks
from layers_explained.support.comparison import Numbers, compiled, forward_and_backward, with_tape
from layers_explained.support.figures import drawing


@settings(deadline=None, max_examples=15)
@given(some.integers(1, 5), some.integers(1, 7), some.integers(0, 2**32 - 1), some.sampled_from([0, 1000, -1000]))
def test_the_implementations_agree_far_from_zero(n, k, seed, shift):
    random = np.random.default_rng(seed)
    z, t = 3 * random.standard_normal([n, k]) + shift, random.standard_normal([n, k])
    for comparison, case in zip(softmax.COMPARISONS, (
        Numbers({"z": z}, t), Numbers({"z": z}, None, {"q": np.eye(k)[random.integers(k, size=n)]}),
    )):  # fmt: skip
        loops = forward_and_backward(*comparison.loops, case)
        for found in (
            forward_and_backward(*comparison.numpy, case), with_tape(comparison.tensorflow, case),
            compiled(comparison.layer, case)(),
        ):  # fmt: skip
            assert max(map(checks.largest_difference, found, loops)) <= 1e-10


def test_the_case_done_by_hand(printed):
    out = printed(softmax, "by_hand")
    assert "0.125   0.25  0.625" in out and "0.125    0.25  -0.375" in out and "0.0352   0.1016  -0.1367" in out
    assert "the largest gradient is 0.36 of it" in out


def test_the_sentence_about_squares_is_computed(printed, monkeypatch):
    monkeypatch.setattr(softmax, "HAND_Z", np.log([[1, 2, 5000]]))
    monkeypatch.setattr(softmax, "HAND_Q", [[1, 0, 0]])
    assert "the largest gradient is 0.0008 of it" in printed(softmax, "by_hand")


def test_a_bar_keeps_its_minus_sign_apart_from_its_name(check_figure):
    """The number of a negative bar once lay on the name beside it: "triangle14.42" for -14.42."""
    figure = drawing.new_figure()
    axes = figure.subplots()
    drawing.bars(axes, ["stripes across", "triangle"], [3.0, -14.42], "z", lying=True)
    assert "−14.42" in [text.get_text() for text in axes.texts]
    check_figure(figure)


@pytest.mark.parametrize(("constant", "value", "words"), [
    ("CLASSES", 1, ["CLASSES = 1", "2 or above"]),
    ("BATCH", 0, ["BATCH = 0", "1 or above"]),
    ("HAND_Q", [[0, 1]], ["HAND_Q", "(1, 2)"]),
    ("HAND_Q", [[1, 1, 1]], ["HAND_Q sums to 3", "make the sum 1"]),
])  # fmt: skip
def test_a_bad_constant_gets_a_line(main, one_line, monkeypatch, constant, value, words):
    monkeypatch.setattr(softmax, constant, value)
    status, _, err = main(softmax)
    assert status == 1
    one_line(err, *words)
