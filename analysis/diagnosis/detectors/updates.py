"""Updates that are too large or too small for the weights."""

import math

import numpy as np

from analysis.diagnosis.detectors.fading import behind_dense
from analysis.diagnosis.detectors.finding import (
    AMBER,
    RED,
    Finding,
    near_peak_rate,
    near_peak_span,
    percent,
    stretch,
)
from analysis.support.run import NotMeasured, Run

LONG = 100  # steps: how long an update must be too large or too small


def rate_high(run: Run) -> Finding | None:
    """Each update changes the weights by too much of their norm.

    Rule, on the median over layers (without the last, which starts small) of |d|/|w|: above 3e-2 [H], red above
    1e-1 [H], for 100 steps while the rate is at least half its peak, over after half of that. Or above 6e-2 [H] at two
    measured steps of the whole run, or 3.5e-2 [H] at five: clean runs stay below 3e-2 everywhere, and a few such
    updates undo what many have built. Or |w| 1.5 times that of 20 steps before (median over layers) [H]. (CS231n's
    1e-3 is for plain gradient descent; with momentum and batch norm 1e-2 is usual.) Or see `early_damage`. All but the
    first are red if the loss ends at chance level.
    """
    if long := rate_scale(run, "rate-high", "The updates are too large for the weights", 3e-2, 1e-1):
        return long
    if damage := early_damage(run):
        return damage
    growth = 1.5
    steps, ratio = middle_ratio(run)
    leap, times = next((x for x in ((0.06, 2), (0.035, 5)) if (ratio > x[0]).sum() >= x[1]), (0.035, 5))
    leaps = np.flatnonzero(ratio > leap)
    grown_at, grown = growth_of_weights(run)
    blown = np.flatnonzero(grown > growth)
    if len(leaps) < times and not blown.size:
        near_peak_span(run, steps, LONG)  # the first rule needs so many
        return None
    evidence = []
    if len(leaps) >= times:
        worst = leaps[np.argmax(ratio[leaps])]
        size = f"by {percent(ratio[worst])}" if np.isfinite(ratio[worst]) else "by more than a number can say"
        evidence.append(
            f"{len(leaps)} of {len(steps)} measured updates changed a layer by more than {percent(leap)} of its norm "
            f"(median over layers), most of all step {steps[worst]:,}, {size}; 0.1 to 1 % is usual"
        )
    if blown.size:
        worst = blown[np.argmax(grown[blown])]
        then = grown_at[step_before(grown_at)[worst]]
        evidence.append(
            f"at step {grown_at[worst]:,} the norm of the kernels is {grown[worst]:.2g} times that at step {then:,} "
            "(median over layers)"
        )
    first = min(int(at[found[0]]) for at, found in ((steps, leaps), (grown_at, blown)) if found.size)
    last = run.steps["loss"][-50:]
    lost = not np.isfinite(last).all() or last.mean() > math.log(10) - 0.05
    return Finding(
        "rate-high", "Some updates are far too large for the weights", RED if lost else AMBER, first,
        (*evidence, *bouncing(run, 1)),
    )  # fmt: skip


def early_damage(run: Run) -> Finding | None:
    """The rate rose too far: the loss climbed while it did, and channels died that do not come back.

    Rule: the first loss within 0.25 of ln 10; in the first 30 % of the steps five in a row with a mean 1 nat above
    ln 10 [H]; and at least half of the channels behind a convolution dead from the evaluation after that to the end,
    less than half of that before the first step [H]. (Clean runs climb as well, and lose no channels.)
    """
    part, window, nats, dead, soon = 0.3, 5, 1.0, 0.5, 0.25
    ln10, loss = math.log(10), run.steps["loss"][: max(int(part * run.total_steps), 20)]
    if len(loss) < window or not abs(loss[0] - ln10) <= soon:
        return None
    means = np.convolve(loss, np.ones(window) / window, "valid")
    if not means.max() > ln10 + nats:
        return None
    try:
        table = run.table("dead_channels", 3)
    except NotMeasured:
        return None
    kept = [i for i, name in enumerate(table.layers) if name not in behind_dense(run)]
    lasting = table.values[1:, kept].min(axis=0) if kept else np.zeros(0)
    if table.steps[0] != 0 or not lasting.size or lasting.max() < dead:
        return None
    worst = kept[int(lasting.argmax())]
    if table.values[0, worst] > dead / 2:
        return None
    last = run.steps["loss"][-50:]
    lost = not np.isfinite(last).all() or last.mean() > ln10 - 0.05
    at = int(np.argmax(means))
    return Finding(
        "rate-high", "The first large updates damaged the network", RED if lost else AMBER, at + 1,
        (f"from step {at + 1} to {at + window} the loss was {means[at]:.2f} (mean), chance level is {ln10:.2f}; the "
         f"learning rate had risen to {run.steps['learning_rate'][at + window - 1]:.3g} by then",
         f"since then {percent(lasting.max())} of the channels of '{table.layers[worst]}' are 0 for every image; "
         f"before the first step {percent(table.values[0, worst])} were"),
    )  # fmt: skip


def growth_of_weights(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(steps [S], median over layers of |w| now / |w| at `step_before` [S])."""
    table = run.table("weight_norm")
    now, then = table.values[:, :-1], table.values[step_before(table.steps), :-1]
    return table.steps, np.nan_to_num(
        np.median(np.where(then > 0, now / np.maximum(then, 1e-30), 1.0), axis=1), nan=1.0
    )


def step_before(steps: np.ndarray, span: int = 20) -> np.ndarray:
    """For each measured step the index of the last one at least `span` before it, or of the first. [S] -> [S]"""
    return np.maximum(np.searchsorted(steps, steps - span, side="right") - 1, 0)


def rate_low(run: Run) -> Finding | None:
    """The gradient changes the weights by next to nothing.

    Rule, on the gradient's part of |d|/|w| (median over layers): below 5e-4 [H], red below 1e-5 [H], for 100 steps
    while the rate is at least half its peak; over after twice that. (CS231n: about 1e-3 is right.) The weight decay's
    part, rate x wd / (1 - momentum), is taken out of the square: it shrinks the weights, whatever the data. The first
    ten measured updates, scaled to the peak of the rate, must be below 1e-3 too [H]: else it is the gradient that has
    become small, and not the rate.
    """
    first, small = 10, 1e-3
    steps, ratio = middle_ratio(run)
    near_peak_span(run, steps, LONG)
    rate = run.steps["learning_rate"]
    early = ratio[:first] / rate[np.minimum(np.searchsorted(run.steps["step"], steps[:first]), len(rate) - 1)]
    if np.median(early) * np.nanmax(rate) >= small:
        return None
    return rate_scale(run, "rate-low", "The updates are too small for the weights", 5e-4, 1e-5)


def middle_ratio(run: Run, of_gradient: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(steps [S], median over layers of |d|/|w| [S]), without the last layer, which starts small (OUTPUT_GAIN).

    of_gradient: without the part of the weight decay. Raises NotMeasured for Muon, which makes it the learning rate:
    its updates all have the same norm, as its weights do.
    """
    if run.config["settings"].get("optimizer") == "muon":
        raise NotMeasured("with muon it is the learning rate, whatever the gradient")
    table = run.table("update_ratio")
    if of_gradient:
        pull = np.minimum(decay_pull(run, table.steps)[:, None], table.values[:, :-1])
        left = np.sqrt(table.values[:, :-1] ** 2 - pull**2)
        return table.steps, np.nan_to_num(np.median(left, axis=1), nan=0.0, posinf=np.inf)
    return table.steps, np.nan_to_num(np.median(table.values[:, :-1], axis=1), nan=0.0, posinf=np.inf)


def decay_pull(run: Run, steps: np.ndarray) -> np.ndarray:
    """The fraction of a weight that its decay takes away at these steps, momentum included. [S] -> [S]."""
    rate = run.steps["learning_rate"][np.minimum(np.searchsorted(run.steps["step"], steps), run.length - 1)]
    pull = rate * run.config["settings"].get("weight_decay", 0.0)
    if run.config["settings"].get("optimizer", "sgd") == "sgd":
        momentum = run.config["settings"].get("momentum", 0.9)
        pull = pull * (1 - momentum**steps) / (1 - momentum)
    return pull


def bouncing(run: Run, since: int) -> list[str]:
    """Sentences about the cosine of successive gradients and the gain ratio since that step, if they were measured."""
    sentences = []
    for quantity, sentence in (
        ("gradient_cosine", "cosine between successive gradients {:.2f} (median; below -0.1 is zig-zag)"),
        ("gain_ratio", "gain ratio {:.2f} (median; 1 for a small update, below 0 the loss went the other way)"),
    ):
        try:
            values = run.table(quantity).since(max(since, 2) if quantity == "gradient_cosine" else since).values
        except NotMeasured:
            continue
        if np.isfinite(values).any():  # of steps after which there was a loss; step 1 has no gradient before it
            sentences.append(sentence.format(np.median(values[np.isfinite(values)])))
    return sentences


def rate_scale(run: Run, name: str, title: str, amber: float, red: float) -> Finding | None:
    """`rate_high` and `rate_low` over a long time: they differ in the sign only."""
    sign = 1 if red > amber else -1
    steps, ratio = middle_ratio(run, of_gradient=sign < 0)
    near = near_peak_rate(run, steps)
    steps, ratio = steps[near], ratio[near]
    slack = 0.5 if sign > 0 else 2.0
    found = stretch(steps, sign * ratio > sign * amber, sign * ratio > sign * amber * slack, LONG)
    if not found:
        return None
    middle = float(np.median(ratio[(steps >= found[0]) & (steps <= found[1])]))
    if sign * middle <= sign * amber:
        return None
    what = "an update" if sign > 0 else "the gradient's part of an update"
    return Finding(
        name, title, RED if sign * middle > sign * red else AMBER, found[0],
        (f"from step {found[0]:,} to {found[1]:,}, with the rate near its peak, {what} changes a layer by "
         f"{middle:.2g} of its norm (median over layers and steps); between 1e-3 and 1e-2 is usual",
         f"the peak of the learning rate is {np.nanmax(run.steps['learning_rate']):.3g}",
         *bouncing(run, found[0])),
    )  # fmt: skip
