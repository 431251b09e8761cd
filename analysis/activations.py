"""What does each layer hand on to the next? Deviation, mean, zeros and dead channels, layer by layer.

    python analysis/activations.py            the latest run
    python analysis/activations.py RUN        another one

Measured over 1,000 fixed training images in evaluation mode: before the first step, at every evaluation
and, with --diagnostics full, in between.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from matplotlib import ticker

from analysis.support import common, panels
from analysis.support.panels import in_words
from analysis.support.run import Run, Table
from core.run import run_folder

HALF, DOUBLE = 0.5, 2  # deviation of a layer : that of the layer before it; rules of thumb
SOME_DEAD, MANY_DEAD = 0.2, 0.5  # share of dead channels; the first a rule of thumb, the second SageMaker's
SILENT = 1e-6  # a deviation below this is drawn as this


def heat_map(panel, run: Run, table: Table, unit: str, **colours) -> None:
    """A quantity as colours: the run to the right, the layers downwards."""
    between = (table.steps[:-1] + table.steps[1:]) / 2
    edges = np.concatenate([table.steps[:1], between, [max(table.steps[-1], table.steps[0] + 1)]])
    cells = panel.pcolormesh(edges, np.arange(len(table.layers) + 1), table.values.T, rasterized=True, **colours)
    panel.set_yticks(
        np.arange(len(table.layers)) + 0.5, table.layers, fontsize="small" if len(table.layers) > 8 else None
    )
    panel.invert_yaxis()  # the pictures enter at the top
    panel.grid(visible=False)
    bar = panel.figure.colorbar(cells, ax=panel, label=unit, pad=0.02, format="%g")
    if bar.long_axis.get_scale() == "log":
        bar.set_ticks(ticker.LogLocator(subs=(1, 2, 5)))
        bar.minorticks_off()
    panels.over_the_run(panel, run)


def profiles(panel, table: Table, scale: float = 1) -> None:
    """A quantity layer by layer, at the first measurement and at the last."""
    for row, style, colour in ((0, "o--", "grey"), (-1, "s-", "black"))[: len(table.steps)]:
        panel.plot(scale * table.values[row], style, color=colour, zorder=1, label=f"step {table.steps[row]:,}")
        panel.scatter(
            range(len(table.layers)), scale * table.values[row], color=panels.layer_colours(table), s=60, zorder=2
        )
    panels.layers_below(panel, table.layers)
    panels.name_lines(panel, columns=1)


def draw_fading(panel, run: Run) -> str:
    """Is the signal fading or shouting? The deviation from layer to layer, untrained and trained."""
    table = panels.measured(run, "activation_std")
    profiles(panel, table)
    panel.set_ylabel("deviation of the layer's output")
    panels.log_scale(panel)
    hidden, (begin, end) = len(table.layers) - 1, np.maximum(table.values[[0, -1]], SILENT)
    factors = begin[1:hidden] / begin[: hidden - 1]  # the output layer is made to start small: no sign of fading
    jumps = [
        f"{table.layers[i + 1]} (x {in_words(factors[i])})"
        for i in np.flatnonzero((factors < HALF) | (factors > DOUBLE))
    ]
    through = begin[hidden - 1] / begin[0]
    meaning = "fades" if through < HALF else "grows louder" if through > DOUBLE else "keeps its size"
    return (
        f"At step {table.steps[0]:,} the signal {meaning}: its deviation goes from {in_words(begin[0])} in "
        f"{table.layers[0]} to {in_words(begin[hidden - 1])} in {table.layers[hidden - 1]}, "
        + (f"halving or doubling in {panels.listed(jumps)}" if jumps else "and no layer halves or doubles it")
        + f" ({table.layers[-1]} starts small on purpose). At step {table.steps[-1]:,}: from {in_words(end[0])} to "
        f"{in_words(end[hidden - 1])}, and {in_words(end[-1])} in {table.layers[-1]}."
    )


def draw_deviation(panel, run: Run) -> str:
    """The deviation of each layer's output over the run."""
    table = panels.measured(run, "activation_std")
    loud = np.maximum(table.values, SILENT)
    heat_map(panel, run, Table(table.steps, table.layers, loud), "deviation", norm="log", cmap="viridis")
    change = loud[-1] / loud[0]
    most = np.argmax(np.abs(np.log(change)))
    return (
        f"From step {table.steps[0]:,} to {table.steps[-1]:,} the deviation grew in {(change > 1).sum()} of "
        f"{len(table.layers)} layers. It changed most in {table.layers[most]}: from {in_words(loud[0, most])} to "
        f"{in_words(loud[-1, most])}, {in_words(change[most])} times."
    )


def draw_mean(panel, run: Run) -> str:
    """The mean of each layer's output over the run, in units of its deviation."""
    mean, std = panels.measured(run, "activation_mean"), panels.measured(run, "activation_std")
    if not np.array_equal(mean.steps, std.steps):
        raise panels.NotMeasured("mean and deviation were not measured at the same steps")
    shifts = mean.values / np.maximum(std.values, SILENT)
    reach = max(np.abs(shifts).max(), SILENT)
    heat_map(
        panel, run, Table(mean.steps, mean.layers, shifts), "mean / deviation", cmap="coolwarm", vmin=-reach, vmax=reach
    )
    most = np.argmax(np.abs(shifts[-1]))
    return (
        f"At step {mean.steps[-1]:,} the output of {mean.layers[most]} is furthest from zero: its mean is "
        f"{shifts[-1, most]:+.2f} deviations ({mean.values[-1, most]:+.2g}); at step {mean.steps[0]:,} it was "
        f"{shifts[0, most]:+.2f}. After a ReLU the mean is above zero by necessity."
    )


def draw_zeros(panel, run: Run) -> str:
    """The share of zeros in each layer's output over the run."""
    table = panels.measured(run, "sparsity")
    heat_map(
        panel, run, Table(table.steps, table.layers, 100 * table.values), "zeros (%)", cmap="magma_r", vmin=0, vmax=100
    )
    begin, end = 100 * table.values[[0, -1]]
    most = end.argmax()
    return (
        f"Most zeros at step {table.steps[-1]:,}: {table.layers[most]} with {end[most]:.0f} %, where it had "
        f"{begin[most]:.0f} % at step {table.steps[0]:,}. Zeros in half the places are normal behind a ReLU: each "
        "unit speaks for some pictures only."
    )


def draw_sparsity(panel, run: Run) -> str:
    """The share of zeros layer by layer, untrained and trained."""
    table = panels.measured(run, "sparsity")
    profiles(panel, table, scale=100)
    panel.set(ylabel="zeros in the layer's output (%)", ylim=(-3, 103))
    change = 100 * (table.values[-1] - table.values[0])
    most = np.argmax(np.abs(change))
    return (
        f"Training changed the share of zeros most in {table.layers[most]}: by {change[most]:+.0f} points, to "
        f"{100 * table.values[-1, most]:.0f} %. Averaged over the layers: {100 * table.values[0].mean():.0f} % at step "
        f"{table.steps[0]:,}, {100 * table.values[-1].mean():.0f} % at step {table.steps[-1]:,}."
    )


def draw_dead(panel, run: Run) -> str:
    """The share of channels that are zero for every picture and place."""
    table = panels.measured(run, "dead_channels")
    panels.lines(panel, Table(table.steps, table.layers, 100 * table.values), raw=False, marker="o")
    for level in (SOME_DEAD, MANY_DEAD):
        panel.axhline(100 * level, color="tab:red", linewidth=0.8, linestyle=":")
    panel.set(ylabel="channels that are zero for all images (%)")
    panel.set_ylim(-2, max(105 * table.values.max(), 100 * MANY_DEAD + 5))
    panels.name_lines(panel)
    panels.over_the_run(panel, run)
    end = 100 * table.values[-1]
    most = end.argmax()
    if not table.values.any():
        return (
            f"No channel was dead at any of the {len(table.steps)} measurements: each unit of "
            f"{panels.listed(table.layers)} speaks for some picture. Dotted: 50 % is worth a look, 90 % is trouble."
        )
    worst = np.unravel_index(table.values.argmax(), table.values.shape)
    now = f"{end[most]:.0f} % of the channels of {table.layers[most]} are" if end[most] else "no channel is"
    return (
        f"At step {table.steps[-1]:,} {now} off for every picture; the most at any time was "
        f"{100 * table.values[worst]:.0f} %, in {table.layers[worst[1]]} at step {table.steps[worst[0]]:,}. Dotted: "
        "50 % is worth a look, 90 % is trouble."
    )


PANELS = {
    "Is the signal fading or shouting?": draw_fading,
    "How loud each layer is, over the run": draw_deviation,
    "Off centre: mean of each layer's output": draw_mean,
    "How many zeros, layer by layer": draw_sparsity,
    "How many zeros, over the run": draw_zeros,
    "Off for every picture: dead channels": draw_dead,
}


def main(args) -> None:
    """Draw the panels and say what they show."""
    run = Run(run_folder.find(args.run, args.runs_dir))
    title = f"Activations, layer by layer: {run.name} on {run.data_title}"
    panels.draw_all(run, PANELS, 3, title, args.out or run.folder / "activations.png")


if __name__ == "__main__":
    common.answer(main, common.parser("activations", __doc__.splitlines()[0]).parse_args())
