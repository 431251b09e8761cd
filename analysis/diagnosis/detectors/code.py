"""Faults of the code: the step counter, the loss, the evaluation, the updates."""

import math

import numpy as np

from analysis.diagnosis.detectors.finding import (
    AMBER,
    LN10,
    RED,
    Finding,
    begin_of_lasting,
    finite_part,
    percent,
    trailing_mean,
)
from analysis.support.run import NotMeasured, Run, counted


def schedule(step: np.ndarray, total: int, peak: float, warmup: float, final: float) -> np.ndarray:
    """core.schedules.warmup_then_decay in NumPy: the rate that a step of this run should have. [n] -> [n].

    Written a second time: a check that called the code it checks would find nothing.
    """
    w = max(round(warmup * total), 1)
    falling = final + (1 - final) * (total + 1 - step) / max(total - w + 1, 1)
    return peak * np.minimum(np.minimum(step / w, falling), 1.0)


def frozen_step_counter(run: Run) -> Finding | None:
    """Something that should depend on the step does not: the learning rate, or Adam's bias correction.

    Rate: red if it never changes over at least 20 steps while the schedule of config.json changes by 10 %; amber
    if it is off the schedule by more than 1 % of the peak at 10 steps or more [H] (core/schedules.py was changed).
    Adam, at step 2: its update r_t = |d_t| / rate_t should shrink by (r_2/r_1)^2 = (1 + rho) / 2, where rho, the
    cosine of the two gradients, tells how much they agree; with t stuck at 1 it is 1.8 times that. Red if
    2 (r_2/r_1)^2 - 1 exceeds the cosine by 0.3 (median over layers) [H].
    """
    least, change, off_by, long = 20, 0.1, 0.01, 10
    steps, rate = run.steps["step"], run.steps["learning_rate"]
    args = [run.fact("settings", name) for name in ("learning_rate", "warmup", "final_rate")]
    expected = schedule(steps.astype(float), run.total_steps, *args)
    run.need_steps(least)
    title = "The learning rate is not that of the schedule"
    off = np.abs(rate - expected) > off_by * args[0]
    if off.sum() >= long:
        first = int(steps[off][0])
        constant = np.ptp(rate) <= 1e-6 * rate.max() and np.ptp(expected) > change * expected.max()
        worst = int(np.argmax(np.abs(rate - expected)))
        evidence = [
            f"at step {steps[worst]:,} the rate was {rate[worst]:.3g}, by the schedule of config.json it is "
            f"{expected[worst]:.3g}; {counted(int(off.sum()), 'step')} of {len(steps):,} differ"
        ]
        if constant:
            title = "The learning rate never changes: its step counter is frozen"
            evidence.append(f"it was {rate[0]:.3g} at all {len(steps):,} steps")
        return Finding("frozen-step-counter", title, RED if constant else AMBER, first, tuple(evidence))
    if run.fact("settings", "optimizer") in ("adam", "adamw"):
        return adam_step_counter(run)
    return None


def adam_step_counter(run: Run) -> Finding | None:
    """The second half of `frozen_step_counter`: of the layers whose update is Adam's step, not the weight decay."""
    excess, little = 0.3, 0.1
    ratio, weight, cosine = (run.table(name, 2) for name in ("update_ratio", "weight_norm", "gradient_cosine"))
    if ratio.steps[:2].tolist() != [1, 2]:
        raise NotMeasured("the norms of steps 1 and 2 were not written")
    with np.errstate(divide="ignore", invalid="ignore"):
        size = ratio.values[:2] * weight.values[:2] / run.steps["learning_rate"][:2, None]  # [2,L] r_1, r_2
        shrunk = (size[1] / size[0]) ** 2  # [L]
    decay = run.config["settings"].get("weight_decay", 0.0) * weight.values[0]
    own = decay <= little * size[0]
    if not own.any():
        raise NotMeasured("the weight decay makes up the updates of Adam")
    shrunk, agree = shrunk[own], cosine.values[1][own]
    if not np.isfinite(shrunk).all() or np.median(2 * shrunk - 1 - agree) <= excess:
        return None
    right = math.sqrt((1 + np.median(agree)) / 2)
    return Finding(
        "frozen-step-counter", "Adam's bias correction never changes: its step counter is frozen", RED, 2,
        (f"per unit of the rate, its second update is {math.sqrt(np.median(shrunk)):.2f} times as long as its first "
         f"(median over layers); two gradients with a cosine of {np.median(agree):.2f} make that about "
         f"{right:.2f}, and {1.344 * right:.2f} if the correction takes every step for the first",),
    )  # fmt: skip


def wrong_metric(run: Run) -> Finding | None:
    """The accuracy does not belong to the loss.

    exp(-L) is the geometric mean of the probabilities of the true classes; their arithmetic mean is larger, and for
    calibrated predictions the accuracy is no smaller than that. Rule: over the last 100 batches the accuracy is below
    0.6 exp(-L) [H] while L is below 2. Clean runs have 1.3 exp(-L) and more.
    """
    window, times, learned = 100, 0.6, 2.0
    steps, loss, accuracy = finite_part(run, window)
    mean, right = float(loss[-window:].mean()), float(accuracy[-window:].mean())
    if mean >= learned or right >= times * math.exp(-mean):
        return None
    return Finding(
        "wrong-metric", "The accuracy does not belong to the loss", RED, int(steps[-window]),
        (f"the last {window} batches have a mean loss of {mean:.3f} and an accuracy of {percent(right)}; the true "
         f"class gets a probability of exp(-loss) = {math.exp(-mean):.2f} (geometric mean)",),
    )  # fmt: skip


def double_softmax(run: Run) -> Finding | None:
    """Softmax applied to probabilities: the loss stays in a narrow band however good the predictions are.

    With p in the simplex, L = ln sum exp(p) - p_y lies in [ln(e+9) - 1, ln(e+9)] = [1.461, 2.461], and
    L + p_y in [2.403, 2.461]. Rule: after step 10 every batch is inside the band, and over the last 100 steps
    accuracy > 35 % while loss + accuracy is from 2.38 to 2.55 [H] (an honest loss at 35 % gives about 2.1, and less
    later; wrong labels can give more). Label smoothing a moves the bounds: L + (1-a) p_y + a/10 is in [2.403, 2.461].
    Not checked above a = 0.3 [H], where an honest loss comes close.
    """
    window, learned, together, most, smoothest = 100, 0.35, 2.38, 2.55, 0.3
    a = run.config["settings"].get("label_smoothing", 0.0)
    high = math.log(math.e + 9)
    low = high - 1 + 0.9 * a
    steps, loss, accuracy = finite_part(run, 10 + window)
    if a > smoothest:
        raise NotMeasured(f"with label smoothing {a:g} an honest loss is in the band of two softmaxes as well")
    later = loss[10:]
    if later.min() < low - 1e-3 or later.max() > high + 1e-3:
        return None
    means, right = trailing_mean(loss, window), trailing_mean(accuracy, window)
    sums = means + (1 - a) * right + a / 10
    if right[-1] <= learned:
        raise NotMeasured(f"at {percent(right[-1])} accuracy an honest loss is in the band of two softmaxes as well")
    doubled = (right > learned) & (sums > together) & (sums < most)
    if not doubled[-1]:
        return None
    return Finding(
        "double-softmax", "The loss behaves as if softmax were applied twice", RED, int(steps[doubled][0]),
        (f"all {len(later):,} batch losses after step 10 lie in [{later.min():.3f}, {later.max():.3f}]; of a softmax "
         f"of probabilities the loss lies in [{low:.3f}, {high:.3f}], ln(e+9) at most",
         f"with {percent(right[-1])} of the last {window} batches right it is still {means[-1]:.3f}: loss + accuracy = "
         f"{sums[-1]:.2f}" + (" (weighted for the label smoothing)" if a else "")
         + ", and with two softmaxes loss + probability is 2.40 to 2.46 in every case"),
    )  # fmt: skip


def evaluation_mode(run: Run) -> Finding | None:
    """The network that is evaluated is not the one that was trained, or an image's loss depends on the others.

    Rule: (a) evaluation_disagreement > 1e-4 (5e-4 in bfloat16) [H] at the last evaluation and worth more than
    1e-5 nats [H]: a loss that depends on how images are grouped comes of batch norm or dropout left in training mode.
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
        row = np.searchsorted(run.epochs["step"], steps)
        known = row < len(run.epochs["step"])
        steps, values, scale = steps[known], values[known], run.epochs["test_loss"][row[known]]
        bad = (values > amount) & (values * scale > nats)
        if len(bad) and bad[-1]:
            return Finding(
                "evaluation-mode", "An image's loss depends on which images are evaluated with it", RED,
                int(steps[bad][0]),
                (f"500 test images evaluated together and class by class differ by {values[-1]:.1e} of their loss "
                 f"at step {steps[-1]:,}; in evaluation mode the difference is rounding, about 1e-7",),
            )  # fmt: skip
    below = batches_above_evaluation(run, window)
    if below is not None:
        evaluations, gap = below
        far = gap > points
        if len(far) >= 2 and far[-2:].all():
            return Finding(
                "evaluation-mode", "The evaluated network is not the one that was trained", RED,
                int(evaluations[begin_of_lasting(far)]),
                (f"at step {evaluations[-1]:,} the accuracy of the last {window} batches was {percent(gap[-1])} above "
                 "that of the evaluation on training images",),
            )  # fmt: skip
    if missing:
        raise missing
    if below is None or len(below[0]) < 2:
        raise NotMeasured("it takes 2 evaluations after epoch 1 to compare batches with evaluations")
    return None


def batches_above_evaluation(run: Run, window: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(steps [E], batch accuracy - evaluation accuracy on training images [E]) after epoch 1, or None."""
    late = run.epochs["step"] >= max(run.steps_per_epoch, window)
    evaluations = {name: values[late] for name, values in run.epochs.items()}
    if not len(evaluations["step"]):
        return None
    means = trailing_mean(run.steps["accuracy"], window)
    row = np.searchsorted(run.steps["step"], evaluations["step"])
    known = row < len(means)
    return evaluations["step"][known], means[row[known]] - evaluations["train_accuracy"][known]


def weights_reset(run: Run) -> Finding | None:
    """The weights return to their initial state at the beginning of each epoch.

    Rule: at the first three steps after the end of an epoch the mean loss is above ln 10 - 0.15, after a mean of the
    20 steps before below ln 10 - 0.3, at two ends of epochs at least and at every one at which the loss had come down
    so far [H].
    """
    after, before, high, low, times = 3, 20, 0.15, 0.3, 2
    per_epoch = run.steps_per_epoch
    if per_epoch < before:
        raise NotMeasured(f"it takes {before} steps an epoch, the run has {per_epoch}")
    steps, loss, _ = finite_part(run, times * per_epoch + after)
    ends = [int(i) for i in np.flatnonzero(steps % per_epoch == 0) if i + after < len(loss)]
    learned = [i for i in ends if loss[i + 1 - before : i + 1].mean() < LN10 - low]
    if len(learned) < times:
        return None
    jumps = [(loss[i + 1 - before : i + 1].mean(), loss[i + 1 : i + 1 + after].mean()) for i in learned]
    if not all(back > LN10 - high for _, back in jumps):
        return None
    return Finding(
        "weights-reset", "The weights return to their initial state at each epoch", RED, int(steps[learned[0]]) + 1,
        (f"the loss jumps from {jumps[0][0]:.2f} to {jumps[0][1]:.2f} at step {steps[learned[0]] + 1:,}, and so at all "
         f"{len(learned)} ends of epochs by which it had come down; chance level is ln 10 = {LN10:.2f}",),
    )  # fmt: skip


def clipped_logits(run: Run) -> Finding | None:
    """The logits are cut off at 0: a ReLU, or dropout, behind the last layer.

    Rule: before the first step more than 5 % [H] of the last layer's outputs are exactly 0.
    """
    most = 0.05
    table = run.table("sparsity")
    if table.steps[0] != 0:
        raise NotMeasured("the activations of the untrained network were not measured")
    logits = run.table("activation_std").values[0, -1]
    if not table.values[0, -1] > most or logits == 0:  # zeros everywhere: kernels that start at zero
        return None
    return Finding(
        "clipped-logits", "The logits are cut off at 0", RED, 0,
        (f"{percent(table.values[0, -1])} of the outputs of the last layer '{table.layers[-1]}' are exactly 0 before "
         "the first step; a logit is 0 by chance only",),
    )  # fmt: skip
