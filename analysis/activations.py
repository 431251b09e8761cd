"""What does each layer pass on to the next? Standard deviation, mean, sparsity and dead channels, layer by layer.

    python analysis/activations.py                   the latest run
    python analysis/activations.py RUN               another one
    python analysis/activations.py RUN --panel dead  one panel as a slide

Measured over 1,000 fixed training images, or as many as there are, in evaluation mode: before the first step, at
every evaluation and, with --diagnostics full, in between.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common, panels, style
from analysis.support.panels import Panel
from analysis.support.run import NotMeasured, Run, Table
from analysis.support.style import number

HALF, DOUBLE = 0.5, 2  # std of a layer / that of the layer before it; rules of thumb
SOME_DEAD, MANY_DEAD = 0.5, 0.9  # fraction of dead channels: analysis/diagnosis calls them amber and red
ZERO = 1e-6  # a standard deviation below this is drawn as this


def heat_map(panel, run: Run, table: Table, unit: str, **colours) -> None:
    """A quantity as colours: the run to the right, the layers downwards; some of the names where they are many."""
    between = (table.steps[:-1] + table.steps[1:]) / 2
    edges = np.concatenate([table.steps[:1], between, [max(table.steps[-1], table.steps[0] + 1)]])
    cells = panel.pcolormesh(edges, np.arange(len(table.layers) + 1), table.values.T, rasterized=True, **colours)
    columns = panel.get_subplotspec().get_gridspec().ncols
    every = -(-len(table.layers) // (5 if columns > 1 else 20))
    panel.set_yticks(np.arange(0, len(table.layers), every) + 0.5, table.layers[::every])
    panel.set_ylabel("layer")
    panel.invert_yaxis()  # the images enter at the top
    panel.grid(visible=False)
    bar = panel.figure.colorbar(cells, ax=panel, label=unit, pad=0.02, format=lambda value, _: f"{value:g}")
    if bar.long_axis.get_scale() == "log":
        bar.set_ticks(style.log_locator(np.log10(bar.vmax / bar.vmin)))
        bar.minorticks_off()
    panels.over_the_run(panel, run)


def profiles(panel, table: Table, scale: float = 1) -> None:
    """A quantity layer by layer, at the first measurement and at the last."""
    for row, marker, colour in ((0, "o--", "grey"), (-1, "s-", "black"))[: len(table.steps)]:
        panel.plot(scale * table.values[row], marker, color=colour, label=f"step {table.steps[row]:,}")
    panels.layers_below(panel, table.layers)


def of_numbers(run: Run, quantity: str) -> Table:
    """A fraction of zeros at the steps at which every output was a number: of one that is not, no number is zero."""
    table = panels.measured(run, quantity)
    mean = run.table("activation_mean")
    kept = ~np.isin(table.steps, mean.steps[~np.isfinite(mean.values).all(axis=1)])
    if not kept.any():
        raise NotMeasured(f"{quantity} was never that of numbers")
    return Table(table.steps[kept], table.layers, table.values[kept])


def only(table: Table) -> str:
    """That nothing is known of a change, if there is one measurement; else nothing."""
    return f"Only one measurement, at step {table.steps[0]:,}: no change is known." if len(table.steps) == 1 else ""


def draw_std(panel, run: Run) -> str:
    """Does the signal keep its size? The standard deviation from layer to layer, untrained and trained."""
    table = panels.measured(run, "activation_std")
    profiles(panel, table)
    panel.set_ylabel("standard deviation")
    style.log_scale(panel)
    hidden, (begin, end) = len(table.layers) - 1, np.maximum(table.values[[0, -1]], ZERO)
    factors = begin[1:hidden] / begin[: hidden - 1]  # the output layer is initialized small on purpose
    jumps = [
        f"{table.layers[i + 1]} (× {number(factors[i])})" for i in np.flatnonzero((factors < HALF) | (factors > DOUBLE))
    ]
    through = begin[hidden - 1] / begin[0]
    meaning = "shrinks" if through < HALF else "grows" if through > DOUBLE else "keeps its size"
    return (
        f"Untrained, the signal {meaning}: from {number(begin[0])} in {table.layers[0]} to "
        f"{number(begin[hidden - 1])} in {table.layers[hidden - 1]}. "
        + (f"A factor below {HALF} or above {DOUBLE}: {style.listed(jumps)}. " if jumps else "")
        + f"{table.layers[-1]}, the output layer, begins small on purpose. "
        + (
            only(table)
            or f"At step {table.steps[-1]:,}: from {number(end[0])} to {number(end[hidden - 1])}, and "
            f"{number(end[-1])} in {table.layers[-1]}."
        )
    )


def draw_std_over_run(panel, run: Run) -> str:
    """The standard deviation of each layer's output over the run."""
    table = panels.measured(run, "activation_std")
    std = np.maximum(table.values, ZERO)
    heat_map(panel, run, Table(table.steps, table.layers, std), "std", norm="log", cmap="viridis")
    if text := only(table):
        most, least = std[0].argmax(), std[0].argmin()
        return (
            f"{text} Largest in {table.layers[most]}: {number(std[0, most])}, smallest in {table.layers[least]}: "
            f"{number(std[0, least])}."
        )
    change = std[-1] / std[0]
    most = np.argmax(np.abs(np.log(change)))
    return (
        f"Changed most in {table.layers[most]}: from {number(std[0, most])} to {number(std[-1, most])}, a factor of "
        f"{number(change[most])}. Between steps {table.steps[0]:,} and {table.steps[-1]:,} it grew in "
        f"{(change > 1).sum()} of {len(table.layers)} layers."
    )


def draw_mean(panel, run: Run) -> str:
    """The mean of each layer's output over the run, in units of its standard deviation."""
    mean, std = panels.measured(run, "activation_mean"), panels.measured(run, "activation_std")
    if not np.array_equal(mean.steps, std.steps) or mean.layers != std.layers:
        raise NotMeasured("activation_mean and activation_std were not measured at the same steps")
    shifts = mean.values / np.maximum(std.values, ZERO)
    reach = max(np.abs(shifts).max(), ZERO)
    heat_map(panel, run, Table(mean.steps, mean.layers, shifts), "mean / std", cmap="coolwarm", vmin=-reach, vmax=reach)
    most = np.argmax(np.abs(shifts[-1]))
    return (
        f"Furthest from zero at step {mean.steps[-1]:,}: {mean.layers[most]}, its mean {shifts[-1, most]:+.2f} "
        f"std. Without the division by std it is {mean.values[-1, most]:+.2g}. "
        + (only(mean) or f"At step {mean.steps[0]:,} it was {shifts[0, most]:+.2f} std.")
        + " Behind a ReLU no value is negative, so the mean is positive."
    )


def draw_sparsity(panel, run: Run) -> str:
    """The fraction of zeros layer by layer, untrained and trained."""
    table = of_numbers(run, "sparsity")
    profiles(panel, table, scale=100)
    panel.set(ylabel="zeros (%)", ylim=(-3, 103))
    if text := only(table):
        return (
            f"{text} Highest in {table.layers[table.values[0].argmax()]}: {100 * table.values[0].max():.0f} %. "
            "Sparsity is the fraction of outputs that are zero; averaged over the layers "
            f"{100 * table.values[0].mean():.0f} %."
        )
    change = 100 * (table.values[-1] - table.values[0])
    most = np.argmax(np.abs(change))
    return (
        f"Training changed it most in {table.layers[most]}: by {change[most]:+z.0f} points to "
        f"{100 * table.values[-1, most]:.0f} %. Sparsity is the fraction of outputs that are zero; averaged over the "
        f"layers {100 * table.values[0].mean():.0f} % at step {table.steps[0]:,}, "
        f"{100 * table.values[-1].mean():.0f} % at step {table.steps[-1]:,}."
    )


def draw_sparsity_over_run(panel, run: Run) -> str:
    """The fraction of zeros in each layer's output over the run."""
    table = of_numbers(run, "sparsity")
    percentages = Table(table.steps, table.layers, 100 * table.values)
    heat_map(panel, run, percentages, "zeros (%)", cmap="magma_r", vmin=0, vmax=100)
    begin, end = percentages.values[[0, -1]]
    most = end.argmax()
    return (
        f"Highest at step {table.steps[-1]:,}: {table.layers[most]} with {end[most]:.0f} %"
        + (f". {text}" if (text := only(table)) else f", at step {table.steps[0]:,} {begin[most]:.0f} %.")
        + " Behind a ReLU about half of the outputs are usually zero: "
        "each unit is active for some images only."
    )


def draw_dead(panel, run: Run) -> str:
    """The fraction of channels that are zero for every image at every position."""
    try:
        table = of_numbers(run, "dead_channels")
    except NotMeasured:
        of_numbers(run, "sparsity")  # measured at the same steps, of every layer
        raise NotMeasured("no layer of this network is a nonlinearity, and only behind one a channel can die") from None
    panels.lines(panel, Table(table.steps, table.layers, 100 * table.values), raw=False, marker="o")
    for level in (SOME_DEAD, MANY_DEAD):
        panel.axhline(100 * level, color=style.RED, linewidth=1, linestyle=":")
    panel.set(ylabel="channels (%)", ylim=(-3, 103))
    panels.over_the_run(panel, run)
    levels = f"Dotted: {100 * SOME_DEAD:.0f} % and {100 * MANY_DEAD:.0f} %, amber and red in the diagnosis."
    meaning = (
        f"A dead channel is zero for all {run.activation_images:,} images at every position: it has no gradient and "
        "rarely comes back."
    )
    if not table.values.any():
        when = f"any of the {len(table.steps)} measurements" if len(table.steps) > 1 else "the only measurement"
        return f"None at {when}. Measured in {style.listed(table.layers)}. {meaning} {levels}"
    end, worst = 100 * table.values[-1], np.unravel_index(table.values.argmax(), table.values.shape)
    most = end.argmax()
    now = f"{number(end[most])} % of {table.layers[most]}" if end[most] else "none"
    if text := only(table):
        return f"At step {table.steps[0]:,} {now}. {text} {meaning} {levels}"
    return (
        f"At step {table.steps[-1]:,} {now}; at most {number(100 * table.values[worst])} %, in "
        f"{table.layers[worst[1]]} at step {table.steps[worst[0]]:,}. {meaning} {levels}"
    )


PANELS = (
    Panel("std", "Standard deviation by layer", "Does the signal keep its size from layer to layer?", draw_std),
    Panel("std-over-run", "Standard deviation", "How does the size of each layer's output change?", draw_std_over_run),
    Panel("mean", "Mean in units of std", "How far from zero is each layer's output?", draw_mean),
    Panel("sparsity", "Sparsity by layer", "Which fraction of each layer's outputs is zero?", draw_sparsity),
    Panel("sparsity-over-run", "Sparsity", "How does the fraction of zeros change?", draw_sparsity_over_run),
    Panel("dead", "Dead channels", "Which channels are zero for every image?", draw_dead),
)


def main(args) -> None:
    """Draw the panels and print what they show."""
    panels.run_script("activations", "Activations", PANELS, args)


if __name__ == "__main__":
    common.answer(main, panels.build_parser("activations", __doc__.splitlines()[0], PANELS).parse_args())
