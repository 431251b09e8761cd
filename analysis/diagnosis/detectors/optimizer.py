"""Faults of the optimizer: its update rule, its sign, layers it forgets, momentum and weight decay out of range."""

import math

import numpy as np

from analysis.diagnosis.detectors.finding import (
    AMBER,
    RED,
    Finding,
    begin_of_lasting,
    percent,
    trailing_mean,
    trailing_median,
)
from analysis.support.run import NotMeasured, Run


def strong_momentum(run: Run) -> Finding | None:
    """Momentum so close to 1 that an update is a mean over most of the run.

    Rule: 1 / (1 - momentum), the steps over which the velocity adds gradients up, is above 50 [H], and more than a
    tenth of the run [H] or the rate multiplied by it is above 5 [H] (the recipes have 0.4 and 1). SGD and Muon only.
    """
    most, fraction, largest = 50, 0.1, 5.0
    if run.fact("settings", "optimizer") not in ("sgd", "muon"):
        raise NotMeasured("adam's momentum is not a setting")
    steps = 1 / (1 - run.fact("settings", "momentum"))
    effective = steps * run.fact("settings", "learning_rate")
    if steps <= most or (steps <= fraction * run.total_steps and effective <= largest):
        return None
    return Finding(
        "strong-momentum", "The momentum is too close to 1", RED if steps > run.total_steps else AMBER, 1,
        (f"momentum {run.fact('settings', 'momentum'):g} adds the gradients of {steps:,.0f} steps up, and the run has "
         f"{run.total_steps:,}; 0.9 adds up 10",
         f"a steady gradient is multiplied by rate / (1 - momentum) = {effective:.3g} at the peak"),
    )  # fmt: skip


def wrong_update(run: Run) -> Finding | None:
    """The first update is not the one that the optimizer's formula gives for the gradient.

    At step 1 there is no history: SGD's update has the norm rate x (1 + momentum) x |g + wd w|, which lies between
    |g| - wd |w| and |g| + wd |w|; Adam's at most rate x (sqrt(n) + wd |w|), n the number of weights. Rule: outside by
    5 % in some layer that moves; red by a factor of 2 [H]. SGD's later updates are bounded too, as long as every step
    was measured: |v'| <= mu |v| + |g + wd w|. Or the loss of the first batch changes by 1.6 times g.d or more, or not
    at all [H]: the weights moved by something else than the update. Or the gradient's norm is within 1e-4 of its own
    maximum at more than half of the steps [H]: it is clipped nearly always.
    """
    slack, severe, same, often = 0.05, 2.0, 1e-4, 0.5
    optimizer, decay = run.fact("settings", "optimizer"), run.fact("settings", "weight_decay")
    if optimizer == "muon":
        raise NotMeasured("muon's update does not depend on the size of the gradient")
    ratio, weight, norm, rms = (
        run.table(name) for name in ("update_ratio", "weight_norm", "gradient_norm", "gradient_rms")
    )
    if ratio.steps[0] != 1:
        raise NotMeasured("the norms of step 1 were not written")
    global_norm = run.steps["gradient_norm"]
    largest = np.nanmax(global_norm) if np.isfinite(global_norm).any() else 0.0
    at_most = (np.abs(global_norm / largest - 1) < same).mean() if largest > 0 else 0.0
    if len(global_norm) >= 20 and at_most > often:
        return Finding(
            "wrong-update", "The gradient is clipped at nearly every step", RED, 1,
            (f"its norm is {largest:.3g} at {percent(at_most)} of the steps, and larger at none",),
        )  # fmt: skip
    w, g = weight.values[0], norm.values[0]
    size = ratio.values[0] * w / run.steps["learning_rate"][0]  # |d| / rate
    if optimizer == "sgd":
        size /= 1 + run.fact("settings", "momentum")
        low, high = (1 - slack) * (g - decay * w), (1 + slack) * (g + decay * w)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            count = (g / rms.values[0]) ** 2  # n
        low, high = np.zeros_like(g), (1 + slack) * (np.sqrt(count) + decay * w)
    moves = (ratio.values[0] > 0) & (g > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(moves, np.where(size > high, size / high, np.where(size < low, size / low, 1.0)), 1.0)
    worst = int(np.argmax(np.abs(np.log(factor))))
    if factor[worst] == 1:
        return (later_updates(run) if optimizer == "sgd" else None) or moved_otherwise(run)
    return Finding(
        "wrong-update", "The updates are not those of the optimizer",
        RED if not 1 / severe < factor[worst] < severe else AMBER, 1,
        (f"the first update of '{ratio.layers[worst]}' is {factor[worst]:.3g} times as long as {optimizer} makes it of "
         f"its gradient (norm {g[worst]:.3g}) and the rate {run.steps['learning_rate'][0]:.3g}",
         f"so in {int((factor != 1).sum())} of {len(factor)} layers"),
    )  # fmt: skip


def later_updates(run: Run) -> Finding | None:
    """Of `wrong_update`: an update of SGD that is longer than all gradients so far allow, at the steps 1, 2, 3, ..."""
    slack, severe = 0.05, 2.0
    ratio, weight, norm = (run.table(name) for name in ("update_ratio", "weight_norm", "gradient_norm"))
    decay, momentum = run.fact("settings", "weight_decay"), run.fact("settings", "momentum")
    velocity = 0.0
    for i, step in enumerate(ratio.steps.tolist()):
        if step != i + 1:
            break
        pull = norm.values[i] + decay * weight.values[i]
        velocity = momentum * velocity + pull  # at most
        most = run.steps["learning_rate"][i] * (pull + momentum * velocity)
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.nan_to_num(ratio.values[i] * weight.values[i] / most, posinf=0.0)
        if factor.max() > 1 + slack:
            worst = int(np.argmax(factor))
            return Finding(
                "wrong-update", "The updates are not those of the optimizer",
                RED if factor[worst] > severe else AMBER, step,
                (f"at step {step} the update of '{ratio.layers[worst]}' is {factor[worst]:.3g} times as long as sgd "
                 "could make it of all gradients so far",),
            )  # fmt: skip
    return None


def moved_otherwise(run: Run) -> Finding | None:
    """Of `wrong_update`: the loss of the first batch changed by far more than g.d, or not at all.

    Not where |g.d| is below 1e-3 nats in bfloat16, 1e-5 in float32: the difference of two losses is rounded [H]. Nor
    where the loss after the step is not a number: a far too high rate does that, and says nothing of the update.
    """
    most, nothing = 1.6, 1e-3
    rounding = 1e-3 if run.config.get("precision") == "bfloat16" else 1e-5
    try:
        gain = run.table("gain_ratio")
        _, predicted = run.of_network("predicted_change")
    except NotMeasured:
        return None
    if abs(predicted[0]) < rounding:
        return None
    if gain.steps[0] != 1 or not np.isfinite(gain.values[0, 0]):
        return None
    if nothing < gain.values[0, 0] < most or gain.values[0, 0] < -nothing:
        return None
    return Finding(
        "wrong-update", "The weights do not move by the updates", RED, 1,
        (f"the first step changed the loss of its own batch by {gain.values[0, 0]:.3g} times what its updates make it "
         "to first order; 0.8 to 1 is usual",),
    )  # fmt: skip


def frozen_layer(run: Run) -> Finding | None:
    """A layer gets a gradient and does not move.

    Rule: update_ratio exactly 0 at 10 measured steps in a row while the layer's gradient and the rate are not 0.
    """
    rows = 10
    ratio, gradient = run.table("update_ratio", rows), run.table("gradient_norm", rows)
    rate = run.steps["learning_rate"][np.minimum(np.searchsorted(run.steps["step"], ratio.steps), run.length - 1)]
    still = (ratio.values == 0) & (gradient.values > 0) & (rate > 0)[:, None]  # [S,L]
    for i, name in enumerate(ratio.layers):
        in_a_row = trailing_mean(still[:, i].astype(float), rows)
        at = np.flatnonzero((in_a_row == 1) & (np.arange(len(in_a_row)) >= rows - 1))
        if at.size:
            begin = int(ratio.steps[at[0] - rows + 1])
            return Finding(
                "frozen-layer", f"Layer '{name}' has a gradient and does not move", RED, begin,
                (f"update 0 at {int(still[:, i].sum())} of {len(ratio.steps)} measured steps, with a gradient norm of "
                 f"{np.median(gradient.values[still[:, i], i]):.3g} (median)",),
            )  # fmt: skip
    return None


def uphill(run: Run) -> Finding | None:
    """The updates raise the loss they should lower: those of all layers together, or those of one.

    Rule: the first-order change g.d, summed over all layers or of one layer, is above 0 at every one of the first 5
    steps (the first update has no momentum yet: it is -rate x g), or in the median of 40 measured steps [H].
    """
    first, rows = 5, 40
    table = run.table("first_order_change", first)
    changes = {"": table.values.sum(axis=1)} | dict(zip(table.layers, table.values.T))
    for layer, change in changes.items():
        at = 0
        if not (change[:first] > 0).all():
            bad = np.flatnonzero(trailing_median(change, rows) > 0)
            if not bad.size:
                continue
            at = int(bad[0]) - rows + 1
        measured = change[at : at + rows]
        return Finding(
            "uphill", f"The updates of layer '{layer}' go uphill" if layer else "The updates go uphill", RED,
            int(table.steps[at]),
            (f"g.d, the first-order change of the loss, is positive at {percent((measured > 0).mean())} of "
             f"{len(measured)} measured steps from step {table.steps[at]:,} on; an update downhill makes it negative",),
        )  # fmt: skip
    if len(table.steps) < rows:
        raise NotMeasured(f"it takes first_order_change at {rows} steps, the run has it at {len(table.steps)}")
    return None


def shrinking_weights(run: Run) -> Finding | None:
    """The weights shrink faster than the data can build them up.

    Rule: at the last three measured steps the median over layers of |w| / |w at step 1| (without the last layer, which
    starts small and grows) is below 0.05 [H]; or below
    0.5 [H] while the weight decay alone would halve the weights within 70 steps at the peak of the rate: its time
    constant (1 - momentum) / (rate x decay), for adamw 1 / (rate x decay), is below 100 steps [H].
    """
    little, half, rows, shortest = 0.05, 0.5, 3, 100
    table = run.table("weight_norm", rows)
    started = table.values[0] > 0
    if len(started) > 1:
        started[-1] = False
    if table.steps[0] != 1 or not started.any():
        raise NotMeasured("the norms of the kernels at step 1 are not known, or 0")
    fraction = np.median(table.values[:, started] / table.values[0, started], axis=1)  # [S]
    steps = decay_steps(run)
    limit = half if steps < shortest else little
    if not (fraction[-rows:] < limit).all():
        return None
    title = "The weight decay is too strong" if steps < shortest else "The weights shrink towards zero"
    return Finding(
        "shrinking-weights", title, RED, int(table.steps[begin_of_lasting(fraction < limit)]),
        (f"at step {table.steps[-1]:,} a kernel's norm is {fraction[-1]:.2g} of its initial norm (median over layers)",
         f"the weight decay is {run.fact('settings', 'weight_decay'):.3g}, the peak of the learning rate "
         f"{np.nanmax(run.steps['learning_rate']):.3g}"
         + (f": without a gradient the weights fall to 1/e in {steps:,.0f} steps" if math.isfinite(steps) else "")),
    )  # fmt: skip


def decay_steps(run: Run) -> float:
    """The steps in which weight decay alone brings the weights to 1/e at the peak of the rate; inf without decay."""
    pull = run.config["settings"].get("weight_decay", 0.0) * float(np.nanmax(run.steps["learning_rate"]))
    if run.fact("settings", "optimizer") in ("sgd", "muon"):  # L2, which momentum adds up
        pull /= 1 - run.config["settings"].get("momentum", 0.9)
    return 1 / pull if pull > 0 else math.inf
