"""Illnesses of the code: its clock, its loss, its evaluation, its steps."""

import math

import numpy as np

from analysis.diagnosis.detectors.finding import (AMBER, Finding, RED, finite_part, percent, trailing_mean, trailing_median)
from analysis.support.run import NotMeasured, Run, counted


def schedule(step: np.ndarray, total: int, peak: float, warmup: float, final: float) -> np.ndarray:
    """core.schedules.warmup_then_decay in NumPy: the rate that a step of this run should have. [n] -> [n]."""
    w = max(round(warmup * total), 1)
    falling = final + (1 - final) * (total + 1 - step) / max(total - w + 1, 1)
    return peak * np.minimum(np.minimum(step / w, falling), 1.0)


def frozen_clock(run: Run) -> Finding | None:
    """Something that should depend on the step does not: the learning rate, or Adam's correction of its start.

    Rate: red if it never changes over at least 20 steps while the schedule of config.json changes by 10 %; amber
    if it is off the schedule by more than 1 % of the peak at 10 steps or more [H] (core/schedules.py was changed).
    Adam, at step 2: its step of size r_t = |d_t| / rate_t should shrink by (r_2/r_1)^2 = (1 + rho) / 2, where rho says
    how much the two gradients agree, measured by their cosine; with t stuck at 1 it is 1.8 times that. Red if
    2 (r_2/r_1)^2 - 1 exceeds the cosine by 0.3 (median over layers) [H].
    """
    least, change, off_by, long = 20, 0.1, 0.01, 10
    steps, rate = run.steps["step"], run.steps["learning_rate"]
    args = [run.fact("settings", name) for name in ("learning_rate", "warmup", "final_rate")]
    expected = schedule(steps.astype(float), run.total_steps, *args)
    run.need_steps(least)
    title = "The learning rate is not the one of the schedule"
    off = np.abs(rate - expected) > off_by * args[0]
    if off.sum() >= long:
        first = int(steps[off][0])
        stands = np.ptp(rate) <= 1e-6 * rate.max() and np.ptp(expected) > change * expected.max()
        worst = int(np.argmax(np.abs(rate - expected)))
        evidence = [
            f"at step {steps[worst]:,} the rate was {rate[worst]:.3g}, the schedule of config.json says "
            f"{expected[worst]:.3g}; {counted(int(off.sum()), 'step')} of {len(steps):,} differ"
        ]
        if stands:
            title = "The learning rate never changes: its clock stands still"
            evidence.append(f"it was {rate[0]:.3g} at all {len(steps):,} steps")
        return Finding("frozen-clock", title, RED if stands else AMBER, first, tuple(evidence))
    if run.fact("settings", "optimizer") == "adam":
        return adams_clock(run)
    return None


def adams_clock(run: Run) -> Finding | None:
    """The second half of `frozen_clock`."""
    excess = 0.3
    ratio, weight, cosine = (run.table(name, 2) for name in ("update_ratio", "weight_norm", "gradient_cosine"))
    if ratio.steps[:2].tolist() != [1, 2]:
        raise NotMeasured("the norms of steps 1 and 2 were not written")
    with np.errstate(divide="ignore", invalid="ignore"):
        size = ratio.values[:2] * weight.values[:2] / run.steps["learning_rate"][:2, None]  # [2,L] r_1, r_2
        shrunk = (size[1] / size[0]) ** 2  # [L]
    agree = cosine.values[1]
    if not np.isfinite(shrunk).all() or np.median(2 * shrunk - 1 - agree) <= excess:
        return None
    return Finding(
        "frozen-clock", "Adam's correction of its start stands still", RED, 2,
        (f"per unit of the rate, its second step is {math.sqrt(np.median(shrunk)):.2f} times as long as its first "
         f"(median over layers); two gradients with a cosine of {np.median(agree):.2f} make that about "
         f"{math.sqrt((1 + np.median(agree)) / 2):.2f}, and {1.344 * math.sqrt((1 + np.median(agree)) / 2):.2f} if the "
         "correction takes every step for the first",),
    )  # fmt: skip


def double_softmax(run: Run) -> Finding | None:
    """Softmax applied to probabilities: the loss cannot leave a narrow band however good the answers are.

    With p in the simplex, L = ln sum exp(p) - p_y lies in [ln(e+9) - 1, ln(e+9)] = [1.461, 2.461], and
    L + p_y in [2.403, 2.461]. Rule: after step 10 every batch is inside the band, and over the last 100 steps
    accuracy > 35 % while loss + accuracy > 2.38 [H] (an honest loss at 35 % gives about 2.1, and less later).
    """
    window, learned, together = 100, 0.35, 2.38
    high = math.log(math.e + 9)
    low = high - 1
    run.need_steps(10 + window)
    steps, loss, accuracy = finite_part(run)
    if len(loss) < 10 + window:
        return None
    later = loss[10:]
    if later.min() < low - 1e-3 or later.max() > high + 1e-3:
        return None
    means, right = trailing_mean(loss, window), trailing_mean(accuracy, window)
    sick = (right > learned) & (means + right > together)
    if not sick[-1]:
        return None
    return Finding(
        "double-softmax", "The loss behaves as if softmax were applied twice", RED, int(steps[sick][0]),
        (f"all {len(later):,} batch losses after step 10 lie in [{later.min():.3f}, {later.max():.3f}]; of a softmax "
         f"of probabilities the loss lies in [ln(e+9) - 1, ln(e+9)] = [{low:.3f}, {high:.3f}]",
         f"with {percent(right[-1])} of the last {window} batches right it is still {means[-1]:.3f}: loss + accuracy = "
         f"{means[-1] + right[-1]:.2f}, and with two softmaxes loss + probability is 2.40 to 2.46 whatever happens"),
    )  # fmt: skip


def exam_mode(run: Run) -> Finding | None:
    """The evaluation is not sat by the network that was trained, or depends on who else sits it.

    Rule: (a) evaluation_disagreement > 1e-4 (5e-4 in bfloat16) [H] at the last evaluation and worth more than 1e-5 nats [H]:
    a loss that depends on how images are put together comes of batch norm or dropout left in training mode.
    (b) at two evaluations in a row the accuracy on training images is more than 20 points [H] below that of the last
    100 batches: evaluation computes something else than training.
    """
    amount, nats, points, window = 1e-4, 1e-5, 0.2, 100
    try:
        steps, values = run.of_network("evaluation_disagreement")
        missing = None
    except NotMeasured as reason:
        missing = reason
    else:
        if run.config.get("precision") == "bfloat16":
            amount *= 5
        place = np.searchsorted(run.epochs["step"], steps)
        there = place < len(run.epochs["step"])
        steps, values, scale = steps[there], values[there], run.epochs["test_loss"][place[there]]
        bad = (values > amount) & (values * scale > nats)
        if len(bad) and bad[-1]:
            return Finding(
                "evaluation-mode", "An image's mark depends on which images are evaluated with it", RED, int(steps[bad][0]),
                (f"500 test images evaluated together and class by class differ by {values[-1]:.1e} of their loss "
                 f"at step {steps[-1]:,}; in evaluation mode the difference is rounding, about 1e-7",),
            )  # fmt: skip
    below = batches_above_exam(run, window)
    if below is not None:
        evaluations, gap = below
        far = gap > points
        if len(far) >= 2 and far[-2:].all():
            first = int(np.flatnonzero(~far)[-1] + 1) if (~far).any() else 0
            return Finding(
                "evaluation-mode", "In the evaluation the network is not the one that was trained", RED, int(evaluations[first]),
                (f"at step {evaluations[-1]:,} the last {window} batches were {percent(gap[-1])} more often right than "
                 "the network is in the evaluation on training images",),
            )  # fmt: skip
    if missing:
        raise missing
    return None


def batches_above_exam(run: Run, window: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(steps [E], batch accuracy - evaluation accuracy on training images [E]) at the evaluations after epoch 1, or None."""
    evaluations = {
        name: values[run.epochs["step"] >= max(run.steps_per_epoch, window)] for name, values in run.epochs.items()
    }
    if not len(evaluations["step"]):
        return None
    means = trailing_mean(run.steps["accuracy"], window)
    place = np.searchsorted(run.steps["step"], evaluations["step"])
    there = place < len(means)
    return evaluations["step"][there], means[place[there]] - evaluations["train_accuracy"][there]


def frozen_layer(run: Run) -> Finding | None:
    """A layer hears what it should do and does not do it.

    Rule: update_ratio exactly 0 at 10 measured steps in a row while the layer's gradient and the rate are not 0.
    """
    rows = 10
    ratio, gradient = run.table("update_ratio", rows), run.table("gradient_norm", rows)
    rate = run.steps["learning_rate"][np.minimum(np.searchsorted(run.steps["step"], ratio.steps), run.length - 1)]
    still = (ratio.values == 0) & (gradient.values > 0) & (rate > 0)[:, None]  # [S,L]
    for i, name in enumerate(ratio.layers):
        runs_of = trailing_mean(still[:, i].astype(float), rows)
        at = np.flatnonzero((runs_of == 1) & (np.arange(len(runs_of)) >= rows - 1))
        if at.size:
            begin = int(ratio.steps[at[0] - rows + 1])
            return Finding(
                "frozen-layer", f"Layer '{name}' has a gradient and does not move", RED, begin,
                (f"update 0 at {int(still[:, i].sum())} of {len(ratio.steps)} measured steps, with a gradient norm of "
                 f"{np.median(gradient.values[still[:, i], i]):.3g} in the middle",),
            )  # fmt: skip
    return None


def shrinking_weights(run: Run) -> Finding | None:
    """The weights are pulled to zero faster than the data can build them up.

    Rule: at the last three measured steps the median over layers of |w| / |w at step 1| is below 0.05 [H].
    """
    little, rows = 0.05, 3
    table = run.table("weight_norm", rows)
    started = table.values[0] > 0
    if table.steps[0] != 1 or not started.any():
        raise NotMeasured("the lengths of the kernels at step 1 are not known, or 0")
    share = np.median(table.values[:, started] / table.values[0, started], axis=1)  # [S]
    if not (share[-rows:] < little).all():
        return None
    first = int(np.flatnonzero(~(share < little))[-1] + 1)
    return Finding(
        "shrinking-weights", "The weights shrink towards zero", RED, int(table.steps[first]),
        (f"at step {table.steps[-1]:,} a kernel has {share[-1]:.2g} of the length it started with (median over layers)",
         f"the weight decay is {run.fact('settings', 'weight_decay'):.3g}, the peak of the learning rate "
         f"{np.nanmax(run.steps['learning_rate']):.3g}"),
    )  # fmt: skip


def uphill(run: Run) -> Finding | None:
    """The steps raise the loss they should lower.

    Rule: the first_order_change g.d summed over all layers above 0 at every one of the first 5 steps (at rest, momentum has
    nothing to carry uphill), or in the median of 50 measured steps [H].
    """
    first, rows = 5, 50
    first_order_change = run.table("first_order_change", first)
    total = first_order_change.values.sum(axis=1)
    at = 0
    if not (total[:first] > 0).all():
        if len(total) < rows:
            raise NotMeasured(f"it takes first_order_change at {rows} steps, the run has it at {len(total)}")
        bad = np.flatnonzero(trailing_median(total, rows) > 0)
        if not bad.size:
            return None
        at = int(bad[0]) - rows + 1
    looked = total[at : at + rows]
    return Finding(
        "uphill", "The steps go uphill", RED, int(first_order_change.steps[at]),
        (f"g.d, what the step promises to add to the loss, is positive at {percent((looked > 0).mean())} of "
         f"{len(looked)} measured steps from step {first_order_change.steps[at]:,} on; a step downhill makes it negative",),
    )  # fmt: skip
