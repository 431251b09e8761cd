"""What repeated measurements allow one to say: medians with their range, verdicts, 95 % intervals."""

import math

import numpy as np

# Student's t, two-sided 95 %, for 1, 2, ... degrees of freedom: T_TABLE[n - 2] belongs to n measurements.
T_TABLE = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def spread(values: np.ndarray, form: str) -> str:
    """`1.30 (1.05 to 1.54)`: the median, and the range from lowest to highest."""
    return f"{np.median(values):{form}} ({values.min():{form}} to {values.max():{form}})"


def verdict(ratios: np.ndarray, baseline: str) -> str:
    """What the ratios of speeds, candidate / baseline, one a round, say in words.

    `not distinguishable from Keras: 0.76 to 1.07` when 1 lies in their range, else `1.12 times Keras (1.05 to
    1.24)`. The range is judged as it is printed, with two decimals: 1.001 to 1.1 is printed as 1.00 to 1.10.
    """
    lowest, median, highest = (round(float(value), 2) for value in (ratios.min(), np.median(ratios), ratios.max()))
    if len(ratios) == 1:
        return f"{median:.2f} times {baseline}, in the only round: the spread is unknown"
    if lowest <= 1 <= highest:
        return f"not distinguishable from {baseline}: {lowest:.2f} to {highest:.2f}"
    return f"{median:.2f} times {baseline} ({lowest:.2f} to {highest:.2f})"


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """(mean, half the width of its 95 % t interval); the width of a single value is infinite."""
    count = len(values)
    if count < 2:
        return float(values.mean()), math.inf
    t = T_TABLE[min(count - 2, len(T_TABLE) - 1)]
    return float(values.mean()), float(t * values.std(ddof=1) / math.sqrt(count))


def effect(differences: np.ndarray) -> str:
    """`+0.61 ± 0.99, not shown` for differences [n]: their mean and its 95 % t interval; "not shown" if 0 is in it."""
    mean, half = mean_interval(differences)
    if math.isinf(half):
        return f"{mean:+.2f}, one seed: no interval"
    return f"{mean:+.2f} ± {half:.2f}" + (", not shown" if abs(mean) <= half else "")
