"""What repeated measurements allow one to say: medians with their range, verdicts, 95 % intervals."""

import numpy as np

from analysis.support.statistics import t_interval


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


def effect(differences: np.ndarray) -> str:
    """`+0.61 ± 0.99, not shown` for differences [n]: their mean and its 95 % t interval; "not shown" if 0 is in it."""
    if len(differences) < 2:
        return f"{differences.mean():+.2f}, one seed: no interval"
    mean, half = t_interval(differences)
    return f"{mean:+.2f} ± {half:.2f}" + (", not shown" if abs(mean) <= half else "")
