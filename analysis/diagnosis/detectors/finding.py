"""What a detector finds, and the tools that detectors share: stretches of time, trailing means, standard errors."""

import math
from dataclasses import dataclass

import numpy as np

from analysis.support.run import NotMeasured, Run, counted

LN10 = math.log(10)  # nats: the loss of ten equal probabilities
CHANCE = 0.1  # the accuracy of chance level
RED, AMBER, NOTE = "red", "amber", "note"


@dataclass(frozen=True)
class Finding:
    """What is wrong, since when, the evidence, what else it could be, and what to do."""

    id: str
    title: str
    severity: str  # red: the run is not worth going on with; amber: worth a check; note: good to know
    step: int  # the first step at which it shows; 0 is the untrained network
    evidence: tuple[str, ...]  # sentences with numbers
    alternatives: tuple[str, ...] = ()  # other explanations of the same evidence
    experiment: str = ""  # what decides between them, and which outcome means what
    command: str = ""  # the command of that experiment
    read: str = ""  # a file of this repository
    replay: str = ""  # the command that takes that step again
    explained_by: str = ""  # the id of another finding of this run that would cause this one


def stretch(steps: np.ndarray, enter: np.ndarray, stay: np.ndarray, duration: int) -> tuple[int, int] | None:
    """(first, last) step of the first stretch of at least `duration` steps, or None.

    Hysteresis: a stretch begins where `enter` holds and goes on while `stay`, the weaker condition,
    does. All are [n]; a stretch from step a to step b lasts b - a + 1 steps.
    """
    begin = last = None
    for step, starts, goes_on in zip(steps.tolist(), enter.tolist(), stay.tolist()):
        if begin is not None and goes_on:
            last = step
            continue
        if begin is not None and last - begin + 1 >= duration:
            break
        begin = last = step if starts else None
    return (begin, last) if begin is not None and last - begin + 1 >= duration else None


def begin_of_lasting(condition: np.ndarray) -> int:
    """The index from which `condition` [n] holds to the end without a break; n if it does not hold at the end."""
    return int(np.flatnonzero(~condition)[-1] + 1) if (~condition).any() else 0


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last `window` values up to each index, of fewer at the start; [n] -> [n]."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(ends - window, 0)
    return (sums[ends] - sums[begins]) / (ends - begins)


def trailing_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median of the last `window` values up to each index; NaN where there are fewer. [n] -> [n].

    Beyond 20,000 values it is computed at some 20,000 indices and kept between them: a median over 200 steps
    does not move in 50.
    """
    n, every = len(values), max(len(values) // 20_000, 1)
    medians = np.full(n, np.nan)
    if n >= window:
        windows = np.lib.stride_tricks.sliding_window_view(values, window)[::every]
        medians[window - 1 :] = np.repeat(np.median(windows, axis=1), every)[: n - window + 1]
    return medians


def epoch_evaluations(run: Run, count: int = 1, passed: float = 0) -> dict[str, np.ndarray]:
    """`run.evaluations` at the ends of epochs: rules count in epochs, and --evaluate-every adds evaluations between."""
    found = run.evaluations(passed=passed)
    ends = (found["step"] % run.steps_per_epoch == 0) | (found["step"] == run.total_steps)
    if ends.sum() < count:
        after = f" after epoch {passed:g}" if passed else ""
        where = "" if ends.all() else " at ends of epochs"
        raise NotMeasured(f"it takes {counted(count, 'evaluation')}{where}{after}, the run has {ends.sum()}")
    return {name: values[ends] for name, values in found.items()}


def finite_part(run: Run, least: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(steps, loss, accuracy) of the batches up to the first loss that is not finite.

    Raises NotMeasured if they are fewer than `least`.
    """
    run.need_steps(least)
    lost = np.flatnonzero(~np.isfinite(run.steps["loss"]))
    end = lost[0] if lost.size else len(run.steps["loss"])
    if end < least:
        raise NotMeasured(f"it takes {least:,} steps with a finite loss, the run has {end:,}")
    return tuple(run.steps[name][:end] for name in ("step", "loss", "accuracy"))


def near_peak_rate(run: Run, steps: np.ndarray, fraction: float = 0.5) -> np.ndarray:
    """Whether at these steps the rate was at least `fraction` of its peak: neither warm-up nor the end. [S]."""
    rate = run.steps["learning_rate"]
    index = np.minimum(np.searchsorted(run.steps["step"], steps), len(rate) - 1)
    return rate[index] >= fraction * np.nanmax(rate)


def near_peak_span(run: Run, steps: np.ndarray, least: int) -> np.ndarray:
    """`near_peak_rate`. Raises NotMeasured if there are fewer than `least` steps from the first to the last of them."""
    near = near_peak_rate(run, steps)
    span = int(np.ptp(steps[near])) + 1 if near.any() else 0
    if span < least:
        raise NotMeasured(f"it takes {least:,} steps with the rate near its peak, the run has {counted(span, 'step')}")
    return near


def standard_error(p: float, n: int) -> float:
    """SE = sqrt(p (1-p) / n) of an accuracy p over n images; at least 1/n."""
    return max(math.sqrt(p * (1 - p) / n), 1 / n)


def percent(fraction: float) -> str:
    """`12.3 %`."""
    return f"{100 * fraction:.1f} %"


def number(value: float) -> str:
    """Three digits; what is not finite in words."""
    if math.isnan(value):
        return "not a number"
    return f"{value:.3g}" if math.isfinite(value) else "infinite"
