"""The statistics: against published tables, by hand, and on simulated runs of which the truth is known."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.support import statistics

DRAWS = 10_000
TABLE = {  # Student's t as every textbook prints it: df, then p = 0.80, 0.95, 0.975, 0.995, 0.9995
    1: (1.376, 6.314, 12.706, 63.657, 636.619),
    2: (1.061, 2.920, 4.303, 9.925, 31.599),
    3: (0.978, 2.353, 3.182, 5.841, 12.924),
    4: (0.941, 2.132, 2.776, 4.604, 8.610),
    9: (0.883, 1.833, 2.262, 3.250, 4.781),
    30: (0.854, 1.697, 2.042, 2.750, 3.646),
    120: (0.845, 1.658, 1.980, 2.617, 3.373),
    math.inf: (0.842, 1.645, 1.960, 2.576, 3.291),
}


@pytest.mark.parametrize("df", TABLE)
def test_t_quantiles_are_those_of_the_table(df):
    found = [statistics.t_quantile(p, df) for p in (0.80, 0.95, 0.975, 0.995, 0.9995)]
    np.testing.assert_allclose(found, TABLE[df], atol=5.1e-4)


@given(st.floats(0.501, 0.9999))
def test_t_quantiles_with_one_and_two_degrees_of_freedom_have_closed_forms(p):
    """df = 1, Cauchy: tan(pi (p - 1/2)). df = 2: (2p - 1) / sqrt(2 p (1 - p))."""
    assert statistics.t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-9)
    assert statistics.t_quantile(p, 2) == pytest.approx((2 * p - 1) / math.sqrt(2 * p * (1 - p)), rel=1e-9)
    assert statistics.t_quantile(1 - p, 2) == pytest.approx(-statistics.t_quantile(p, 2), rel=1e-9)


@given(st.floats(1, 1e6), st.floats(0.55, 0.999))
def test_quantile_and_probability_are_inverse_for_any_degrees_of_freedom(df, p):
    assert statistics.t_probability(statistics.t_quantile(p, df), df) == pytest.approx(2 * p - 1, abs=1e-12)
    assert statistics.t_quantile(p, df) >= statistics.t_quantile(p, 2 * df) - 1e-6  # tails grow thinner with df


def test_wilson_by_hand():
    """8 of 10, z = 1.96: 0.4902 to 0.9433 (Newcombe 1998 prints the method); at 0 of 10 only the upper end is open."""
    np.testing.assert_allclose(statistics.wilson(8, 10), (0.4902, 0.9433), atol=5e-5)
    z2 = 1.959963984540054**2
    np.testing.assert_allclose(statistics.wilson(0, 10), (0, z2 / (10 + z2)), atol=1e-12)
    np.testing.assert_allclose(statistics.wilson(10, 10), (10 / (10 + z2), 1), atol=1e-12)
    low, high = statistics.wilson(np.array([5, 9]), 10)
    assert low.shape == high.shape == (2,)
    narrow = statistics.wilson(8, 10, confidence=0.5)
    assert 0.4902 < narrow[0] < narrow[1] < 0.9433


def test_coin_by_hand():
    """2 heads of 10: 2 (1 + 10 + 45) / 1024. Big numbers do not overflow."""
    assert statistics.coin_p(2, 10) == statistics.coin_p(8, 10) == 112 / 1024
    assert statistics.coin_p(0, 0) == statistics.coin_p(5, 10) == 1
    assert statistics.coin_p(0, 5) == 2 / 32
    assert statistics.coin_p(5_000, 10_000) == 1
    assert statistics.coin_p(4_902, 10_000) == pytest.approx(math.erfc(97.5 / 50 / math.sqrt(2)), rel=1e-3)


def test_mcnemar_by_hand():
    """Of 12 images 3 are right in both, 6 only in A, 1 only in B, 2 in neither."""
    a = np.array([1] * 3 + [1] * 6 + [0] * 1 + [0] * 2, bool)
    b = np.array([1] * 3 + [0] * 6 + [1] * 1 + [0] * 2, bool)
    found = statistics.mcnemar(a, b)
    assert (found.only_a, found.only_b, found.n, found.difference) == (6, 1, 12, 5 / 12)
    assert found.p == 2 * (1 + 7) / 2**7
    # Agresti & Min: counts 6.5 and 1.5 of 14, d = 5/14, variance (8 - 25/14) / 14^2.
    half = 1.959963984540054 * math.sqrt(8 - 25 / 14) / 14
    assert (found.low, found.high) == pytest.approx((5 / 14 - half, 5 / 14 + half))
    swapped = statistics.mcnemar(b, a)
    assert (swapped.p, swapped.low, swapped.high) == pytest.approx((found.p, -found.high, -found.low))
    same = statistics.mcnemar(a, a)
    assert same.p == 1 and same.low < 0 < same.high


def test_sign_flips_against_all_assignments_written_out():
    differences = [0.3, -0.1, 0.4, 0.2, 0.0, 0.5]
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=6)]
    expected = np.mean(np.array(sums) >= abs(sum(differences)) - 1e-12)
    assert statistics.sign_flip_p(differences) == expected
    assert statistics.sign_flip_p([0.3, 0.1, 0.2]) == statistics.smallest_sign_flip_p(3) == 0.25
    assert statistics.smallest_sign_flip_p(6) == 0.03125
    assert statistics.sign_flip_p([0.1, 0.2, -0.3]) == 1  # a sum of zero up to rounding
    assert statistics.sign_flip_p(np.ones(20)) == 2 / 2**20
    for wrong in ([], np.ones(21)):
        with pytest.raises(ValueError, match="1 to 20"):
            statistics.sign_flip_p(wrong)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=8))
def test_sign_flips_do_not_depend_on_signs_units_or_order(numbers):
    p = statistics.sign_flip_p(numbers)
    assert (
        p == statistics.sign_flip_p([-x for x in numbers]) == statistics.sign_flip_p([x / 1e4 for x in numbers[::-1]])
    )
    assert p >= statistics.smallest_sign_flip_p(len(numbers))


def test_intervals_and_standard_deviations_by_hand():
    """1, 2, 6: mean 3, s^2 = (4 + 1 + 9) / 2 = 7, half-width 4.3027 sqrt(7/3)."""
    assert statistics.sample_std([1, 2, 6]) == pytest.approx(math.sqrt(7))
    mean, half = statistics.t_interval([1, 2, 6])
    assert (mean, half) == pytest.approx((3, 4.302652729749 * math.sqrt(7 / 3)))
    assert statistics.std_of_test_set(0.08, 10_000) == pytest.approx(0.002)  # sqrt(0.08 / 20,000)
    with pytest.raises(ValueError, match="two values"):
        statistics.t_interval([1.0])


def test_paired_differences_by_hand():
    """a - b = 2, 1, 3: mean 2, s = 1, t = 2 sqrt(3); with df = 2 P(|T| <= t) = t / sqrt(2 + t^2) = sqrt(6/7)."""
    found = statistics.paired_difference([12, 14, 13], [10, 13, 10])
    assert (found.difference, found.std, found.k) == (2, 1, 3)
    assert found.half == pytest.approx(4.302652729749 / math.sqrt(3))
    assert found.p == pytest.approx(1 - math.sqrt(6 / 7))
    assert found.flip_p == 0.25
    assert found.superiority == pytest.approx(7.5 / 9)  # 12 beats 10, 10; 14 all; 13 beats 10, 10 and ties with 13
    assert found.detectable == pytest.approx((4.302652729749 + 1.060660171780) / math.sqrt(3))
    swapped = statistics.paired_difference([10, 13, 10], [12, 14, 13])
    assert (swapped.difference, swapped.p, swapped.superiority) == pytest.approx((-2, found.p, 1.5 / 9))
    assert statistics.paired_difference([1, 2], [1, 2]).p == 1
    assert statistics.paired_difference([2, 3], [1, 2]).p == 0  # always the same difference
    assert statistics.paired_difference(np.arange(25.0), np.zeros(25)).flip_p is None


def test_holm_by_hand():
    """Holm: 0.01 * 4, 0.02 * 3, max(0.03 * 2, 0.06), max(0.04 * 1, 0.06); in the order given."""
    np.testing.assert_allclose(statistics.holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(statistics.holm([0.6, 0.9]), [1, 1])
    np.testing.assert_allclose(statistics.holm([0.02]), [0.02])
    assert statistics.holm([]).shape == (0,)


# Simulated runs: the truth is known, so that coverage and false alarms can be counted.


@pytest.mark.parametrize("k", [2, 3, 5, 10])
def test_t_intervals_cover_the_true_difference_in_95_percent(k):
    """Runs of two recipes whose seeds have a part in common; A is better by 0.7 points."""
    rng = np.random.default_rng(k)
    shared = rng.normal(0, 0.3, (DRAWS, k))
    a, b = (true + shared + rng.normal(0, 0.2, (DRAWS, k)) for true in (90.7, 90.0))
    mean, half = statistics.t_interval(a - b)
    assert abs(np.mean(np.abs(mean - 0.7) <= half) - 0.95) < 0.01


@pytest.mark.parametrize("accuracy", [0.5, 0.9, 0.99])
def test_wilson_intervals_cover_the_true_accuracy_in_95_percent(accuracy):
    correct = np.random.default_rng(1).binomial(10_000, accuracy, DRAWS)
    low, high = statistics.wilson(correct, 10_000)
    assert abs(np.mean((low <= accuracy) & (accuracy <= high)) - 0.95) < 0.01


def discordant(only_a: float, only_b: float, n: int, seed: int) -> np.ndarray:
    """Counts of images that only A, only B has right, of networks with these probabilities. [DRAWS,2]"""
    return np.random.default_rng(seed).multinomial(n, [only_a, only_b, 1 - only_a - only_b], DRAWS)[:, :2]


def outcomes(only_a: int, only_b: int, n: int) -> statistics.PairedAnswers:
    """mcnemar on images with these counts."""
    image = np.arange(n)
    return statistics.mcnemar(image < only_a, (only_a <= image) & (image < only_a + only_b))


def test_mcnemars_intervals_cover_the_true_difference_in_95_percent():
    counts, times = np.unique(discordant(0.06, 0.04, 1_000, seed=2), axis=0, return_counts=True)
    found = [outcomes(*pair, 1_000) for pair in counts.tolist()]
    covered = np.array([result.low <= 0.02 <= result.high for result in found])
    assert abs(covered @ times / DRAWS - 0.95) < 0.01


def false_alarms(p_values, level: float = 0.05) -> float:
    return float(np.mean(np.asarray(p_values) <= level))


def test_mcnemars_false_alarms_stay_at_five_percent():
    """An exact test of whole numbers stays below its level; not far below it, or it would be blind."""
    counts = discordant(0.05, 0.05, 10_000, seed=3)
    assert 0.035 < false_alarms([statistics.coin_p(a, a + b) for a, b in counts.tolist()]) < 0.055


@pytest.mark.parametrize("k, attainable", [(3, 0), (5, 0), (6, 2 / 64), (8, 12 / 256)])
def test_sign_flip_false_alarms_are_the_attainable_level(k, attainable):
    """Skewed noise: only the difference must be symmetric. With five pairs p = 0.05 is out of reach."""
    a, b = np.random.default_rng(k).exponential(size=(2, DRAWS, k))
    found = false_alarms([statistics.sign_flip_p(differences) for differences in a - b])
    assert abs(found - attainable) < 0.01


def test_paired_t_false_alarms_are_five_percent():
    a, b = np.random.default_rng(4).normal(size=(2, DRAWS, 3))
    assert abs(false_alarms([statistics.paired_difference(x, y).p for x, y in zip(a, b)]) - 0.05) < 0.01


def test_holm_keeps_all_false_alarms_together_at_five_percent():
    """Ten comparisons without a difference: one alarm at least in 40 % uncorrected, in 5 % corrected."""
    p_values = np.random.default_rng(5).uniform(size=(DRAWS, 10))
    alarmed = p_values.min(axis=1) <= 0.05
    corrected = np.array([statistics.holm(row).min() for row in p_values]) <= 0.05
    assert abs(alarmed.mean() - (1 - 0.95**10)) < 0.02 and abs(corrected.mean() - 0.05) < 0.01


@pytest.mark.parametrize("k, power", [(2, 0.73), (3, 0.765), (5, 0.79), (10, 0.80)])
def test_the_minimal_detectable_difference_is_found_in_about_four_of_five(k, power):
    """The docstring's numbers; and of half that difference most are missed."""
    detectable = statistics.minimal_detectable(1.0, k)
    noise = np.random.default_rng(6).normal(size=(5 * DRAWS, k))
    mean, half = statistics.t_interval(noise + detectable)
    assert abs(np.mean(np.abs(mean) > half) - power) < 0.01
    mean, half = statistics.t_interval(noise + detectable / 2)
    assert np.mean(np.abs(mean) > half) < 0.5


def test_probability_of_superiority_is_what_fresh_runs_do():
    """Two normals one standard deviation apart: P(A > B) = Phi(1 / sqrt(2)) = 0.760."""
    a, b = np.random.default_rng(7).normal(size=(2, 2_000))
    assert statistics.probability_of_superiority(a + 1, b) == pytest.approx(0.760, abs=0.02)
    assert statistics.probability_of_superiority([1, 1], [1, 1]) == 0.5
    assert statistics.probability_of_superiority([2], [1, 1, 1]) == 1


def test_the_test_set_alone_makes_runs_differ_as_jordan_says():
    """Two classes, calibrated runs: the class of image i is 1 with probability q_i and is predicted with q_i."""
    rng = np.random.default_rng(8)
    n, runs = 4_000, 1_000
    q = rng.beta(0.3, 0.3, n)
    classes = rng.uniform(size=n) < q
    accuracy = ((rng.uniform(size=(runs, n)) < q) == classes).mean(axis=1)
    expected = statistics.std_of_test_set(1 - accuracy.mean(), n)
    assert statistics.sample_std(accuracy) == pytest.approx(expected, rel=0.08)  # 1000 runs: a standard error of 2 %
