"""Numbers that run away: NaN and infinity, spikes, divergence, exploding gradients."""

import math

import numpy as np

from analysis.diagnosis.detectors.finding import (
    AMBER,
    LN10,
    NOTE,
    RED,
    Finding,
    finite_part,
    number,
    stretch,
    trailing_mean,
    trailing_median,
)
from analysis.support.run import NotMeasured, Run, counted


def non_finite(run: Run) -> Finding | None:
    """NaN or infinity in a loss or a gradient. From there on nothing is learned."""
    run.need_steps(1)
    loss, gradient = run.steps["loss"], run.steps["gradient_norm"]
    lost = np.flatnonzero(~(np.isfinite(loss) & np.isfinite(gradient)))
    if lost.size:
        at = lost[0]
        before = slice(max(at - 20, 0), at)
        step, rate = run.steps["step"][at], run.steps["learning_rate"][at]
        evidence = [f"at step {step:,} the loss is {number(loss[at])}, the gradient norm {number(gradient[at])}"]
        if at:
            largest = number(loss[before].max()), number(gradient[before].max())
            evidence.append(
                f"in the {counted(int(at - before.start), 'step')} before, the loss reached {largest[0]} and the "
                f"gradient norm {largest[1]}; the learning rate was {rate:.3g}"
            )
        return Finding("non-finite", "The loss is not a number", RED, int(run.steps["step"][at]), tuple(evidence))
    for column in ("train_loss", "test_loss"):
        at = np.flatnonzero(~np.isfinite(run.epochs[column]))
        if at.size:
            step = int(run.epochs["step"][at[0]])
            return Finding(
                "non-finite", "The loss of an evaluation is not a number", RED, step,
                (f"{column} is {number(run.epochs[column][at[0]])} at step {step:,}, and every batch loss is finite",),
            )  # fmt: skip
    return None


def spike(run: Run) -> Finding | None:
    """The loss jumps out of its own noise.

    Rule: log-loss above the median of the 200 steps before by 6 x 1.4826 MAD, loss > 1.2 x that median and
    > 0.25 nats over it; the median of the five steps from there on still over the last two bounds (one hard
    batch is no spike) [H]. Note if it is back within 200 steps, amber if it is not, or after three of them.
    """
    window, stds, times, nats, after = 200, 6, 1.2, 0.25, 5
    steps, loss, _ = finite_part(run, window + after)
    if (loss <= 0).any():
        raise NotMeasured("the loss of a batch is 0, so that its logarithm tells nothing")
    medians = trailing_median(loss, window)
    bound = np.maximum(times * medians, medians + nats)
    found, free_from = [], 0
    for i in np.flatnonzero(loss[window:] > bound[window - 1 : -1]) + window:
        logs = np.log(loss[i - window : i])
        middle = np.median(logs)
        mad = 1.4826 * np.median(np.abs(logs - middle))
        jump = (math.log(loss[i]) - middle) / max(mad, 1e-12)
        following = loss[i : i + after]
        if i < free_from or jump < stds or len(following) < after or np.median(following) < bound[i - 1]:
            continue
        back = np.flatnonzero(loss[i : i + window] <= medians[i - 1] * 1.1)
        found.append((i, jump, back[0] if back.size else None))
        free_from = i + (back[0] if back.size else window)
    if not found:
        return None
    at, jump, back = found[0]
    recovered = all(b is not None for *_, b in found)
    evidence = [
        f"at step {steps[at]:,} the loss is {loss[at]:.3g}; the 200 steps before had a median of "
        f"{medians[at - 1]:.3g}, and it is {jump:.0f} of their standard deviations above that (in logarithms)",
        f"back after {counted(int(back), 'step')}" if back is not None else "not back within 200 steps",
    ]
    if len(found) > 1:
        evidence.append(f"{len(found)} spikes in all, the last at step {steps[found[-1][0]]:,}")
    severity = NOTE if recovered and len(found) < 3 else AMBER
    return Finding("spike", "The loss jumps", severity, int(steps[at]), tuple(evidence))


def divergence(run: Run) -> Finding | None:
    """The loss climbs and stays up.

    Rule over the mean of the last 50 batches: (a) back at chance level, above ln 10 - 0.02, for 100 steps after having
    been below ln 10 - 0.2; (b) above 1.5 x its minimum so far and 0.3 nats over it for 100 steps; or (c) five batches
    in a row above 2 ln 10 after a first loss within 0.25 of ln 10: confidently wrong [H]. Leaving takes 90 % of the
    bound. Red; amber if the loss came back below ln 10 - 0.2 and 1.2 x its minimum by the end.
    """
    window, duration, above, below, times, nats, hot = 50, 100, -0.02, 0.2, 1.5, 0.3, 5
    steps, loss, _ = finite_part(run, hot)
    means = trailing_mean(loss, window)
    lowest = np.minimum.accumulate(means)
    bound = np.maximum(times * lowest, lowest + nats)
    bound = np.where(lowest < LN10 - below, np.minimum(bound, LN10 + above), bound)
    over = stretch(steps, means > bound, means > 0.9 * bound, duration)
    if not over and abs(loss[0] - LN10) <= 0.25:
        wild = loss > 2 * LN10
        over = stretch(steps, wild, wild, hot)
    if not over:
        finite_part(run, window + duration)  # the first two rules need so many
        return None
    lowest_ever = float(lowest[np.searchsorted(steps, over[0])])
    back = means[-1] < LN10 - below and means[-1] < 1.2 * max(lowest_ever, 0.05) and over[1] < steps[-1]
    return Finding(
        "divergence", "The loss climbs and stays up" + (", for a while" if back else ""), AMBER if back else RED,
        over[0],
        (f"the mean loss of 50 batches had come down to {lowest_ever:.3f}; "
         f"from step {over[0]:,} to {over[1]:,} it is up, at most {means[steps >= over[0]].max():.3g}",
         f"it ends at {means[-1]:.3g}; chance level is ln 10 = {LN10:.2f}"),
    )  # fmt: skip


def exploding(run: Run) -> Finding | None:
    """The gradient grows from layer to layer in the backward pass, or suddenly.

    Rule: |g_l| / |g_last| > 70 (AUTOTRAINER, ICSE 2021, for the first layer l) for some layer l at 10 measured steps
    in a row, over after < 35; or the global gradient norm more than 100 x its median so far at 10 steps in a row [H].
    """
    flow, rows, times = 70, 10, 100
    try:
        table = run.table("gradient_norm", rows)
    except NotMeasured as reason:
        missing = reason
        run.need_steps(rows)
    else:
        missing = None
        with np.errstate(divide="ignore", invalid="ignore"):
            values = table.values / np.where(table.values[:, -1:] > 0, table.values[:, -1:], np.nan)  # [S,L]
        for i, name in enumerate(table.layers[:-1]):
            at = in_a_row(values[:, i] > flow, values[:, i] > flow / 2, rows)
            if at is None:
                continue
            return Finding(
                "exploding", "The gradient grows from layer to layer", AMBER, int(table.steps[at]),
                (f"the gradient norm of '{name}' is {number(np.median(values[at : at + rows, i]))} times that of the "
                 f"last layer at {rows} measured steps from step {table.steps[at]:,} on (median)",),
            )  # fmt: skip
    norm = run.steps["gradient_norm"]
    norm = norm[: np.flatnonzero(~np.isfinite(norm))[0]] if not np.isfinite(norm).all() else norm
    ends = np.unique(np.geomspace(1, max(len(norm), 1), 100).astype(int))  # a hundred medians will do
    medians = np.array([np.median(norm[:end]) for end in ends if end <= len(norm)])
    so_far = np.repeat(medians, np.diff(np.append(ends, len(norm) + 1))[: len(medians)])
    at = in_a_row(norm > times * so_far, norm > times / 2 * so_far, rows)
    if at is None or so_far[at] == 0:
        if missing:
            raise missing
        return None
    return Finding(
        "exploding", "The gradient explodes", RED, int(run.steps["step"][at]),
        (f"at step {run.steps['step'][at]:,} its norm is {norm[at]:.3g}; the median until then is {so_far[at]:.3g}",),
    )  # fmt: skip


def gradient_flow(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(steps [S], |g_first| / |g_last| [S]); NaN where the last gradient is 0: see `no_gradient`."""
    table = run.table("gradient_norm", 10)
    with np.errstate(divide="ignore", invalid="ignore"):
        return table.steps, table.values[:, 0] / np.where(table.values[:, -1] > 0, table.values[:, -1], np.nan)


def in_a_row(enter: np.ndarray, stay: np.ndarray, count: int) -> int | None:
    """The index at which the first stretch of `count` measurements begins, with the hysteresis of `stretch`."""
    found = stretch(np.arange(len(enter)), enter, stay, count)
    return found[0] if found else None
