"""Signals that fade: vanishing gradients, dead channels, updates too large or too small for the weights."""

import numpy as np

from analysis.diagnosis.detectors.finding import (
    AMBER,
    RED,
    Finding,
    begin_of_lasting,
    near_peak_rate,
    near_peak_span,
    percent,
    stretch,
)
from analysis.diagnosis.detectors.runaway import gradient_flow, in_a_row
from analysis.support.run import NotMeasured, Run

LONG = 200  # steps: how long an update must be too large or too small


def vanishing(run: Run) -> Finding | None:
    """The gradient fades in the backward pass, on its way to the first layer.

    Rule: |g_first| / |g_last| < 1e-3 (AUTOTRAINER) and |g_first| < 1e-4 [H] at 10 measured steps in a row; over
    after > 3e-3.
    """
    flow, tiny, rows = 1e-3, 1e-4, 10
    steps, values = gradient_flow(run)
    first = run.table("gradient_norm").values[:, 0]
    at = in_a_row((values < flow) & (first < tiny), (values < 3 * flow) & (first < 3 * tiny), rows)
    if at is None:
        return None
    names = run.table("gradient_norm").layers
    last = values[-rows:]
    ends = np.nanmedian(last) if np.isfinite(last).any() else 0.0
    gone = ends < 3 * flow
    return Finding(
        "vanishing", "The gradient does not reach the first layer", RED if gone else AMBER, int(steps[at]),
        (f"from step {steps[at]:,} on the gradient norm of '{names[0]}' is "
         f"{np.median(values[at : at + rows]):.2g} times that of '{names[-1]}', {np.median(first[at : at + rows]):.2g} "
         f"(median of {rows} measured steps)",
         f"at the end the ratio is {ends:.2g}"),
    )  # fmt: skip


def dying_relu(run: Run) -> Finding | None:
    """Channels that are 0 for every image, and so get no gradient and stay 0.

    Rule: a channel is dead if it is 0 for all of 1,000 images everywhere. In some layer >= 50 % dead (SageMaker
    Debugger) at the last two measurements: amber; >= 90 % [H], which cuts the signal: red. It began when the
    fraction rose above 40 % [H] for good. (A wide layer on an easy task loses a third of its channels and no accuracy.)
    """
    amber, red, over, rows = 0.5, 0.9, 0.4, 2
    table = run.table("dead_channels", rows)
    lasting = table.values[-rows:].min(axis=0)  # [L]
    worst = int(np.argmax(lasting))
    if lasting[worst] < amber:
        return None
    name, fraction = table.layers[worst], table.values[:, worst]
    first = begin_of_lasting(fraction >= over)
    return Finding(
        "dying-relu", f"Many channels of layer '{name}' are 0 for every image", RED if lasting[worst] >= red else AMBER,
        int(table.steps[first]),
        (f"{percent(fraction[-1])} of its channels are 0 for all 1,000 images at step {table.steps[-1]:,}; "
         f"{percent(fraction[0])} were at step {table.steps[0]:,}",
         "all layers at the end: " + ", ".join(f"{n} {percent(v)}" for n, v in zip(table.layers, table.values[-1]))),
    )  # fmt: skip


def rate_high(run: Run) -> Finding | None:
    """Each update changes the weights by too much of their norm.

    Rule: median over layers of |d|/|w| > 3e-2 [H], red > 1e-1 [H], for 200 steps while the rate is at least half its
    peak, over after half of that; or > 1e-1 at two measured steps of the whole run, or |w| 1.5 times that of 20
    steps before (median over layers) [H]: a few such updates undo what many have built, and may be the last ones.
    (CS231n's 1e-3 is for plain SGD; batch norm with momentum is well at 1e-2.)
    """
    if long := rate_scale(run, "rate-high", "The updates are too large for the weights", 3e-2, 1e-1):
        return long
    leap, times, growth = 0.1, 2, 1.5
    steps, ratio = middle_ratio(run)
    leaps = np.flatnonzero(ratio > leap)
    grown_at, grown = growth_of_weights(run)
    blown = np.flatnonzero(grown > growth)
    if len(leaps) < times and not blown.size:
        near_peak_span(run, steps, LONG)  # the first rule needs so many
        return None
    evidence = []
    if leaps.size:
        worst = leaps[np.argmax(ratio[leaps])]
        evidence.append(
            f"{len(leaps)} of {len(steps)} measured updates changed a layer by more than {percent(leap)} of its norm "
            f"(median over layers), most of all step {steps[worst]:,}, by {percent(ratio[worst])}; 0.1 to 1 % is usual"
        )
    if blown.size:
        worst = blown[np.argmax(grown[blown])]
        evidence.append(
            f"at step {grown_at[worst]:,} the norm of the kernels is {grown[worst]:.2g} times that of some 20 steps "
            "before (median over layers)"
        )
    first = min(int(at[found[0]]) for at, found in ((steps, leaps), (grown_at, blown)) if found.size)
    evidence += bouncing(run, 1)
    return Finding("rate-high", "Some updates are far too large for the weights", AMBER, first, tuple(evidence))


def growth_of_weights(run: Run, span: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """(steps [S], median over layers of |w| now / |w| at the last measured step at least `span` before [S])."""
    table = run.table("weight_norm")
    before = np.maximum(np.searchsorted(table.steps, table.steps - span, side="right") - 1, 0)
    now, then = table.values[:, :-1], table.values[before, :-1]
    return table.steps, np.nan_to_num(
        np.median(np.where(then > 0, now / np.maximum(then, 1e-30), 1.0), axis=1), nan=1.0
    )


def rate_low(run: Run) -> Finding | None:
    """Each update changes the weights by next to nothing.

    Rule: median over layers of |d|/|w| < 5e-4 [H], red < 1e-5 [H], for 200 steps while the rate is at least half its
    peak; over after twice that. (CS231n: about 1e-3 is right.)
    """
    near_peak_span(run, middle_ratio(run)[0], LONG)
    return rate_scale(run, "rate-low", "The updates are too small for the weights", 5e-4, 1e-5)


def middle_ratio(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(steps [S], median over layers of |d|/|w| [S]), without the last layer, which starts small (OUTPUT_GAIN).

    Raises NotMeasured for Muon, which makes it the learning rate: its updates all have the same norm, as its weights
    do.
    """
    if run.config["settings"].get("optimizer") == "muon":
        raise NotMeasured("with muon it is the learning rate, whatever the gradient")
    table = run.table("update_ratio")
    return table.steps, np.nan_to_num(np.median(table.values[:, :-1], axis=1), nan=0.0, posinf=np.inf)


def bouncing(run: Run, since: int) -> list[str]:
    """Sentences about the cosine of successive gradients and the gain ratio since that step, if they were measured."""
    sentences = []
    for quantity, sentence in (
        ("gradient_cosine", "cosine between successive gradients {:.2f} (median; below -0.1 is zig-zag)"),
        ("gain_ratio", "gain ratio {:.2f} (median; 1 for a small update, below 0 the loss of its own batch rose)"),
    ):
        try:
            sentences.append(sentence.format(np.median(run.table(quantity).since(since).values)))
        except NotMeasured:
            pass
    return sentences


def rate_scale(run: Run, name: str, title: str, amber: float, red: float) -> Finding | None:
    """`rate_high` and `rate_low` over a long time: they differ in the sign only."""
    steps, ratio = middle_ratio(run)
    near = near_peak_rate(run, steps)
    steps, ratio = steps[near], ratio[near]
    sign = 1 if red > amber else -1
    slack = 0.5 if sign > 0 else 2.0
    found = stretch(steps, sign * ratio > sign * amber, sign * ratio > sign * amber * slack, LONG)
    if not found:
        return None
    middle = float(np.median(ratio[(steps >= found[0]) & (steps <= found[1])]))
    if sign * middle <= sign * amber:
        return None
    return Finding(
        name, title, RED if sign * middle > sign * red else AMBER, found[0],
        (f"from step {found[0]:,} to {found[1]:,}, with the rate near its peak, an update changes a layer by "
         f"{middle:.2g} of its norm (median over layers and steps); between 1e-3 and 1e-2 is usual",
         f"the peak of the learning rate is {np.nanmax(run.steps['learning_rate']):.3g}",
         *(bouncing(run, found[0]) if sign > 0 else ())),
    )  # fmt: skip
