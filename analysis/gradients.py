"""How does the gradient reach each layer, and how does it change the weights? Six panels from layers.csv.

    python analysis/gradients.py                    the latest run
    python analysis/gradients.py RUN                another one
    python analysis/gradients.py RUN --panel flow   one panel as a slide

Measured inside the step, on its own batch, before the weights change; layers that have a kernel.
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common, panels, style
from analysis.support.panels import Panel
from analysis.support.run import NotMeasured, Run, Table
from analysis.support.style import number

USUAL_RATIO = (1e-4, 1e-2)  # |update| / |weights|; a rule of thumb around CS231n's 1e-3
VANISHING, EXPLODING = 1e-3, 70  # norm of the first layer's gradient / the last one's (AUTOTRAINER)
OPPOSED, ALIGNED = -0.1, 0.5  # cosine of successive gradients, rules of thumb
BARS = 40
TINY = np.finfo(np.float64).tiny


def draw_size(panel, run: Run) -> str:
    """The root mean square of a layer's gradient, so that layers of different sizes can be compared."""
    table = panels.measured(run, "gradient_rms")
    panels.lines(panel, table)
    panel.set_ylabel("gradient RMS (nats)")
    style.log_scale(panel)
    panels.over_the_run(panel, run)
    typical, begin, end = np.median(table.values, axis=0), panels.opening(table), panels.closing(table)
    most, least = typical.argmax(), typical.argmin()
    changed = np.argmax(np.abs(np.log(np.maximum(end, TINY) / np.maximum(begin, TINY))))
    if typical.any():
        sizes = (
            f"Largest in {table.layers[most]} (median {number(typical[most])}), smallest in {table.layers[least]} "
            f"({number(typical[least])}). "
        )
    else:
        sizes = "No layer has a gradient in most of the steps (median 0). "
    change = (
        f"From the first tenth of the run to the last, {table.layers[changed]} changed most: from "
        f"{number(begin[changed])} to {number(end[changed])}. "
    )
    return (
        sizes
        + (change if len(table.steps) > 1 and (begin.any() or end.any()) else "")
        + "RMS: the root of the mean square over the weights of a kernel. Lines are smoothed; pale: "
        f"{panels.pale(table)}."
    )


def draw_flow(panel, run: Run) -> str:
    """The norm of each layer's gradient, layer by layer, at the beginning and at the end of the run."""
    table = panels.measured(run, "gradient_norm")
    profiles = {"first tenth": panels.opening(table), "last tenth": panels.closing(table)}
    for (label, profile), marker, colour in zip(profiles.items(), ("o--", "s-"), ("grey", "black")):
        panel.plot(profile, marker, color=colour, zorder=1, label=label)
        panel.scatter(range(len(profile)), profile, color=panels.layer_colours(table), zorder=2, s=60)
    panel.set_ylabel("gradient norm (nats)")
    style.log_scale(panel)
    panels.layers_below(panel, table.layers)
    panel.legend()
    begin, end = (f"{number(x[0] / x[-1])}" if x[-1] else f"{number(x[0])} / 0" for x in profiles.values())
    return (
        f"{table.layers[0]} / {table.layers[-1]}: {begin} at first, {end} at the end, "
        f"{flow_in_words(run, table, np.stack(list(profiles.values())))}. "
        "Medians of the norm of each kernel's gradient. The backward pass goes from right to left."
    )


def flow_in_words(run: Run, table: Table, norms: np.ndarray) -> str:
    """What the first layer's gradient as a fraction of the last one's means. norms [2,L]: at first, at the end."""
    if run.first_not_finite:
        return "in a run that is not finite"
    if not norms[-1].any():
        return "where no layer has a gradient"
    if not norms[:, -1].all():
        return f"no ratio where {table.layers[-1]} has no gradient"
    flows = norms[:, 0] / norms[:, -1]
    low, high = flows.argmin(), flows.argmax()
    if flows[low] < VANISHING and norms[low, -1] > EXPLODING:
        return f"below {VANISHING:g}: the gradient of {table.layers[-1]} explodes, its norm is {number(norms[low, -1])}"
    if flows[low] < VANISHING:
        return f"below {VANISHING:g}: the gradient vanishes, and the first layer hardly learns"
    if flows[high] > EXPLODING:
        return f"above {EXPLODING}: the gradient explodes on the backward pass"
    return f"neither vanishing (< {VANISHING:g}) nor exploding (> {EXPLODING})"


def draw_ratio(panel, run: Run) -> str:
    """The norm of an update as a fraction of the norm of the weights, over the band that is usual."""
    table = panels.measured(run, "update_ratio")
    low, high = USUAL_RATIO
    panel.axhspan(low, high, color="tab:green", alpha=0.1, zorder=0)
    panels.lines(panel, table)
    panel.set_ylabel("|update| / |weights|")
    style.log_scale(panel)
    panels.over_the_run(panel, run)
    typical = np.median(table.values, axis=0)
    most, least = typical.argmax(), typical.argmin()
    inside = 100 * np.mean((low <= table.values) & (table.values <= high))
    outside = "above" if np.mean(table.values > high) > np.mean(table.values < low) else "below"
    return (
        f"{inside:.0f} % of the measurements lie in the green band, {low:g} to {high:g}"
        + (f"; most others lie {outside} it." if inside < 99.5 else ".")
        + f" Largest in {table.layers[most]} (median {number(typical[most])}), smallest in {table.layers[least]} "
        f"({number(typical[least])}). The band is a rule of thumb around 0.001; a learning rate that decays to 0 "
        "leaves it at the end."
    )


def draw_first_order_change(panel, run: Run) -> str:
    """Gradient times update of each layer, as a fraction of all layers' together, in stretches of the run."""
    table = panels.measured(run, "first_order_change")
    edges = np.linspace(0, table.steps[-1], min(BARS, len(table.steps)) + 1)
    # g.d < 0 lowers the loss. [stretches,L]
    lowered = -np.stack([
        table.values[(begin < table.steps) & (table.steps <= end)].sum(axis=0)
        for begin, end in itertools.pairwise(edges)
    ])  # fmt: skip
    percentages = 100 * lowered / np.maximum(np.abs(lowered).sum(axis=1, keepdims=True), TINY)
    above, below = np.zeros(len(percentages)), np.zeros(len(percentages))
    for name, part, colour in zip(table.layers, percentages.T, panels.layer_colours(table)):
        panel.bar(
            edges[:-1], part, np.diff(edges), np.where(part > 0, above, below), align="edge", color=colour,
            label=name, linewidth=0,
        )  # fmt: skip
        above, below = above + np.maximum(part, 0), below + np.minimum(part, 0)
    panel.axhline(0, color="black", linewidth=0.8)
    panel.set_ylabel("fraction (%)")
    panels.over_the_run(panel, run)
    whole = -table.values.sum(axis=0)
    part = 100 * whole / max(np.abs(whole).sum(), TINY)
    first = np.argsort(-part)[:3]
    lowering = [f"{table.layers[i]} {part[i]:.0f} %" for i in first if part[i] > 0]
    raising = [f"{table.layers[i]} {-part[i]:.0f} %" for i in np.flatnonzero(part < 0)]
    return (
        ("The loss was lowered most by " + style.listed(lowering) if lowering else "No layer lowered the loss")
        + (f"; raised on balance by {style.listed(raising)}." if raising else ". No layer raised it on balance.")
        + " To first order the loss changes by the inner product of gradient and update, g·Δw, summed here over all "
        f"measured steps; {100 * np.mean(percentages < 0):.0f} % of the bars lie below zero, where the updates of a "
        "layer raised the loss."
    )


def draw_distance(panel, run: Run) -> str:
    """The distance of each layer's weights from their initialization, relative to its norm."""
    table = panels.measured(run, "distance")
    if table.steps[-1] == 1:
        raise NotMeasured("the distance before step 1 is 0: it takes a second step")
    panels.lines(panel, table, raw=False)
    panel.set_ylabel("|w − w₀| / |w₀|")
    style.log_scale(panel)
    panels.over_the_run(panel, run)
    last = table.values[-1]
    most, least = last.argmax(), last.argmin()
    half = int(table.steps[np.argmax(table.values[:, most] >= last[most] / 2)])
    return (
        f"Largest in {table.layers[most]}: {number(last[most])} times the norm of its initial weights, half of that by "
        f"step {half:,} of {table.steps[-1]:,}. Smallest in {table.layers[least]}: {number(last[least])} times. A line "
        "that stays at 0 is a layer that does not train."
    )


def draw_cosine(panel, run: Run) -> str:
    """Whether the gradients of two measured steps that follow each other have the same direction."""
    table = panels.measured(run, "gradient_cosine")
    table = table.since(2)  # step 1 has no step before it: its 0 means nothing
    if not len(table.steps):
        raise NotMeasured("a cosine takes two steps")
    panels.lines(panel, table)
    for level in (OPPOSED, 0, ALIGNED):
        panel.axhline(level, color="black", linewidth=0.8, linestyle="-" if level == 0 else ":")
    panel.set_ylabel("cosine")
    panels.over_the_run(panel, run)
    typical = np.median(table.values, axis=0)
    middle, highest, lowest = float(np.median(typical)), typical.argmax(), typical.argmin()
    if not typical.any():
        meaning = "no direction, as where there is no gradient"
    elif middle < OPPOSED:
        meaning = f"below {OPPOSED}, each step undoes part of the step before: a smaller learning rate may do better"
    elif middle > ALIGNED:
        meaning = f"above {ALIGNED}, successive steps have one direction: a larger learning rate may do"
    else:
        meaning = f"between the dotted lines, {OPPOSED} and {ALIGNED}"
    return (
        f"Median over all layers {middle:+.2f}: {meaning}. From {typical[lowest]:+.2f} ({table.layers[lowest]}) to "
        f"{typical[highest]:+.2f} ({table.layers[highest]}). 1: same direction, −1: opposite. Successive batches hold "
        "different images, so a cosine near 0 means that noise is a large part of each gradient."
    )


PANELS = (
    Panel("size", "Gradient RMS", "How large is the gradient of a single weight?", draw_size),
    Panel("flow", "Gradient norm by layer", "Does the gradient reach the first layer?", draw_flow),
    Panel("ratio", "Update-to-weight ratio", "How far does a step move the weights?", draw_ratio),
    Panel("change", "First-order loss change", "Which layer lowered the loss?", draw_first_order_change),
    Panel("distance", "Distance from initialization", "How far are the weights from where they began?", draw_distance),
    Panel("cosine", "Gradient cosine similarity", "Do successive steps agree or oppose each other?", draw_cosine),
)


def main(args) -> None:
    """Draw the panels and print what they show."""
    panels.run_script("gradients", "Gradients", PANELS, args)


if __name__ == "__main__":
    common.answer(main, panels.build_parser("gradients", __doc__.splitlines()[0], PANELS).parse_args())
