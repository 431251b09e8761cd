"""How does the gradient reach each layer, and what does the layer make of it? Six looks at layers.csv.

    python analysis/gradients.py              the latest run
    python analysis/gradients.py RUN          another one

Measured inside the step, on its own batch, before the weights move; layers that have a kernel.
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common, panels
from analysis.support.panels import in_words
from analysis.support.run import Run, Table
from core.run import run_folder

HEALTHY_RATIO = (1e-4, 1e-2)  # |step| : |weights|; a rule of thumb around CS231n's 1e-3
VANISHING, EXPLODING = 1e-3, 70  # norm of the first layer's gradient : the last one's (AUTOTRAINER)
BOUNCING, CAREFUL = -0.1, 0.5  # cosine of successive gradients, rules of thumb
CREDIT_BARS = 40
TINY = np.finfo(np.float64).tiny


def draw_size(panel, run: Run) -> str:
    """The gradient of one weight, root mean square, so that layers of different sizes can be compared."""
    table = panels.measured(run, "gradient_rms")
    panels.lines(panel, table)
    panel.set_ylabel("gradient of one weight, rms (loss per unit)")
    panels.log_scale(panel)
    panels.over_the_run(panel, run)
    typical, begin, end = np.median(table.values, axis=0), panels.opening(table), panels.closing(table)
    most, least = typical.argmax(), typical.argmin()
    changed = np.argmax(np.abs(np.log(np.maximum(end, TINY) / np.maximum(begin, TINY))))
    return (
        f"A weight of {table.layers[most]} is pushed hardest (median {in_words(typical[most])}), one of "
        f"{table.layers[least]} least ({in_words(typical[least])}). From the first tenth of the run to the last, "
        f"{table.layers[changed]} changed most: from {in_words(begin[changed])} to {in_words(end[changed])}. "
        f"Lines are smoothed; pale: {panels.pale(table)}."
    )


def draw_flow(panel, run: Run) -> str:
    """The norm of each layer's gradient, layer by layer, as the run began and as it ended."""
    table = panels.measured(run, "gradient_norm")
    profiles = {"first tenth of the run": panels.opening(table), "last tenth": panels.closing(table)}
    for (label, profile), style, colour in zip(profiles.items(), ("o--", "s-"), ("grey", "black")):
        panel.plot(profile, style, color=colour, zorder=1, label=label)
        panel.scatter(range(len(profile)), profile, color=panels.layer_colours(table), zorder=2, s=60)
    panel.set_ylabel("norm of the layer's gradient, median")
    panels.log_scale(panel)
    panels.layers_below(panel, table.layers)
    panels.name_lines(panel, columns=1)
    flows = [profile[0] / max(profile[-1], TINY) for profile in profiles.values()]
    if min(flows) < VANISHING:
        meaning = f"below {VANISHING:g} the gradient vanishes on its way and the first layer hardly learns"
    elif max(flows) > EXPLODING:
        meaning = f"above {EXPLODING} the gradient explodes on its way back"
    else:
        meaning = f"the message reaches the first layer (it vanishes below {VANISHING:g}, explodes above {EXPLODING})"
    return (
        f"The norm in {table.layers[0]} is {in_words(flows[0])} times that in {table.layers[-1]} at the start and "
        f"{in_words(flows[1])} times at the end: {meaning}."
    )


def draw_ratio(panel, run: Run) -> str:
    """How far a step moves the weights of a layer, as a share of their size, over the band of healthy runs."""
    table = panels.measured(run, "update_ratio")
    low, high = HEALTHY_RATIO
    panel.axhspan(low, high, color="tab:green", alpha=0.1, zorder=0)
    panels.lines(panel, table)
    panel.set_ylabel("|step| / |weights|")
    panels.log_scale(panel)
    panels.over_the_run(panel, run)
    typical = np.median(table.values, axis=0)
    most, least = typical.argmax(), typical.argmin()
    share = 100 * np.mean((low <= table.values) & (table.values <= high))
    outside = "above" if np.mean(table.values > high) > np.mean(table.values < low) else "below"
    return (
        f"A step moves the weights of {table.layers[most]} by {in_words(typical[most])} of their size (median, the "
        f"most) and those of {table.layers[least]} by {in_words(typical[least])} (the least). {share:.0f} % of the "
        f"measurements lie in the green band, {low:g} to {high:g}"
        + (f"; most others lie {outside} it." if share < 99.5 else ".")
        + " The band is a rule of thumb; a rate that ends at 0 leaves it at the end."
    )


def draw_credit(panel, run: Run) -> str:
    """Which layer lowered the loss: gradient times step of each layer as a share of all, in stretches of the run."""
    table = panels.measured(run, "first_order_change")
    edges = np.linspace(0, table.steps[-1], min(CREDIT_BARS, len(table.steps)) + 1)
    # g.d < 0 lowers the loss. [stretches,L]
    lowered = -np.stack([
        table.values[(begin < table.steps) & (table.steps <= end)].sum(axis=0)
        for begin, end in itertools.pairwise(edges)
    ])  # fmt: skip
    shares = 100 * lowered / np.maximum(np.abs(lowered).sum(axis=1, keepdims=True), TINY)
    above, below = np.zeros(len(shares)), np.zeros(len(shares))
    for name, share, colour in zip(table.layers, shares.T, panels.layer_colours(table)):
        panel.bar(
            edges[:-1], share, np.diff(edges), np.where(share > 0, above, below), align="edge", color=colour,
            label=name, linewidth=0,
        )  # fmt: skip
        above, below = above + np.maximum(share, 0), below + np.minimum(share, 0)
    panel.axhline(0, color="black", linewidth=0.8)
    panel.set(ylabel="share of what all layers did to the loss (%)")
    panels.over_the_run(panel, run)
    whole = -table.values.sum(axis=0)
    share = 100 * whole / max(np.abs(whole).sum(), TINY)
    first = np.argsort(-share)[:3]
    lowering = [f"{table.layers[i]} {share[i]:.0f} %" for i in first if share[i] > 0]
    raising = [f"{table.layers[i]} {-share[i]:.0f} %" for i in np.flatnonzero(share < 0)]
    return (
        "To first order (gradient times step), over all measured steps: "
        + ("the loss was lowered most by " + panels.listed(lowering) if lowering else "no layer lowered the loss")
        + (f"; on balance raised by {panels.listed(raising)}." if raising else "; no layer raised it on balance.")
        + f" {100 * np.mean(shares < 0):.0f} % of the coloured pieces lie below zero, where a layer's steps raised it."
    )


def draw_distance(panel, run: Run) -> str:
    """How far the weights of each layer have walked from where they began."""
    table = panels.measured(run, "distance")
    panels.lines(panel, table, raw=False)
    panel.set_ylabel("|w − first w| / |first w|")
    panels.log_scale(panel)
    panels.over_the_run(panel, run)
    walked = table.values[-1]
    most, least = walked.argmax(), walked.argmin()
    half = int(table.steps[np.argmax(table.values[:, most] >= walked[most] / 2)])
    return (
        f"{table.layers[most]} has walked furthest: {in_words(walked[most])} times the size of its first weights, half "
        f"of that by step {half:,} of {table.steps[-1]:,}. {table.layers[least]} has walked least: "
        f"{in_words(walked[least])} times. A line that stays at 0 is a layer that does not train."
    )


def draw_cosine(panel, run: Run) -> str:
    """Whether the gradients of two measured steps that follow each other point the same way."""
    table = panels.measured(run, "gradient_cosine")
    if len(table.steps) > 1:  # step 1 has no step before it: its 0 means nothing
        table = Table(table.steps[table.steps > 1], table.layers, table.values[table.steps > 1])
    panels.lines(panel, table)
    for level in (BOUNCING, 0, CAREFUL):
        panel.axhline(level, color="black", linewidth=0.8, linestyle="-" if level == 0 else ":")
    panel.set(ylabel="cosine (1: same way, −1: opposite)")
    panels.over_the_run(panel, run)
    typical = np.median(table.values, axis=0)
    middle, highest, lowest = float(np.median(typical)), typical.argmax(), typical.argmin()
    if middle < BOUNCING:
        meaning = f"below {BOUNCING}, a step takes back what the last one did: too long a step for this valley"
    elif middle > CAREFUL:
        meaning = f"above {CAREFUL}, one goes straight on: longer steps might do"
    else:
        meaning = f"neither bouncing (below {BOUNCING}) nor too careful (above {CAREFUL}), the dotted lines"
    return (
        f"From {typical[lowest]:+.2f} ({table.layers[lowest]}) to {typical[highest]:+.2f} ({table.layers[highest]}), "
        f"medians; over all layers {middle:+.2f}: {meaning}. Each batch is another one, so a cosine near 0 says that "
        "chance is a large part of each gradient."
    )


PANELS = {
    "How hard the data pushes": draw_size,
    "Does the message reach the first layer?": draw_flow,
    "Update : weight": draw_ratio,
    "Which layer lowered the loss": draw_credit,
    "How far the weights have walked": draw_distance,
    "Zig-zag or straight: successive gradients": draw_cosine,
}


def main(args) -> None:
    """Draw the panels and say what they show."""
    run = Run(run_folder.find(args.run, args.runs_dir))
    title = f"Gradients, layer by layer: {run.name} on {run.data_title}"
    panels.draw_all(run, PANELS, 3, title, args.out or run.folder / "gradients.png")


if __name__ == "__main__":
    common.answer(main, common.parser("gradients", __doc__.splitlines()[0]).parse_args())
