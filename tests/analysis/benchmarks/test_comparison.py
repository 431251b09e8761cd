"""Verdicts and intervals say what the numbers allow."""

import numpy as np
import pytest

from analysis.benchmarks import comparison


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([0.76, 1.00, 1.07], "not distinguishable from Keras: 0.76 to 1.07"),
        ([1.24, 1.05, 1.12], "1.12 times Keras (1.05 to 1.24)"),
        ([0.90, 0.95, 0.85], "0.90 times Keras (0.85 to 0.95)"),
        ([1.001, 1.2, 1.1], "not distinguishable from Keras: 1.00 to 1.20"),  # as printed, 1 is in the range
        ([1.0], "1.00 times Keras, in the only round: the spread is unknown"),
    ],
)
def test_the_verdict_follows_the_range(ratios, expected):
    assert comparison.verdict(np.array(ratios), "Keras") == expected


def test_the_spread_is_median_and_range():
    assert comparison.spread(np.array([1.0, 4.0, 2.0]), ".1f") == "2.0 (1.0 to 4.0)"


def test_an_effect_is_shown_when_zero_lies_outside():
    assert comparison.effect(np.array([1.0, 1.1, 0.9])) == "+1.00 ± 0.25"
    assert comparison.effect(np.array([-1.0, 1.0, 0.5])) == "+0.17 ± 2.59, not shown"
    assert comparison.effect(np.array([1.0])) == "+1.00, one seed: no interval"
