"""What gradients.py, activations.py and curvature.py share: panels of one run, a sentence under each.

A panel is a function draw(panel, run) -> sentence; what the run did not measure it meets as NotMeasured.
"""

import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import ticker

from analysis.support import common
from analysis.support.run import NotMeasured, Run, Table
from core.run import run_folder

HOW = "`python train_loop.py --diagnostics full` measures it"
PANEL_WIDTH, PANEL_HEIGHT = 5.8, 5.6  # inches, with the sentence
MANY = 4000  # raw points of one line; more are drawn as a band of percentiles
NO_BREAK = "\N{NO-BREAK SPACE}"
CAPTION, CAPTION_SHARE = 68, 0.27  # characters of a line of it; its height as a share of the plot's


def draw_all(run: Run, panels: dict, columns: int, title: str, out: Path) -> None:
    """Draw {title: draw} in a grid, each panel's sentence under it and on the terminal.

    A panel whose quantity is missing says so in its place. Raises RunError when nothing is there to draw.
    """
    rows = -(-len(panels) // columns)
    drawing, axes = common.figure(2 * rows, columns, width=PANEL_WIDTH * columns, height=PANEL_HEIGHT / 2)
    axes[0, 0].get_gridspec().set_height_ratios([1, CAPTION_SHARE] * rows)
    sentences, lacking = {}, {}
    for panel, caption, (name, draw) in zip(axes[::2].flat, axes[1::2].flat, panels.items()):
        panel.set_title(name, fontweight="bold")
        caption.set_axis_off()
        try:
            sentences[name] = draw(panel, run)
        except NotMeasured as lack:
            lacking[name] = f"{str(lack).partition(';')[0]}; {HOW}"
            panel.set(xticks=[], yticks=[])
            panel.text(0.5, 0.5, lacking[name].replace("; ", ";\n"), ha="center", va="center", color="dimgrey")
        else:
            text = textwrap.fill(sentences[name].replace(" %", NO_BREAK + "%"), CAPTION)
            caption.annotate(
                text, (0, 1), xytext=(-36, 0), textcoords="offset points", va="top",
            ).set_in_layout(False)  # fmt: skip
    if not sentences:
        raise run_folder.RunError(f"{run.folder}: {next(iter(lacking.values()))}")
    drawing.suptitle(title, fontsize="x-large", x=0.01, ha="left")
    shared = [panel for panel in axes[::2].flat if panel.get_legend() is None]  # their lines are the same layers
    named = {label: handle for panel in shared for handle, label in zip(*panel.get_legend_handles_labels())}
    if named:
        drawing.legend(named.values(), named, loc="outside upper right", ncols=12, frameon=False)
    for name in panels:
        print(f"{name}: {sentences.get(name) or lacking[name] + '.'}")
    common.save(drawing, out)
    print(f"drawn    {out}")


def measured(run: Run, quantity: str) -> Table:
    """A quantity at the steps at which it is a number for every layer. Raises NotMeasured when there is none."""
    table = run.table(quantity)
    finite = np.isfinite(table.values).all(axis=1)
    if not finite.any():
        raise NotMeasured(f"{quantity} was never a number")
    return Table(table.steps[finite], table.layers, table.values[finite])


def opening(table: Table) -> np.ndarray:
    """Each layer's median over the first tenth of the run. [L]"""
    return np.median(table.values[table.steps <= max(table.steps[0], table.steps[-1] / 10)], axis=0)


def closing(table: Table) -> np.ndarray:
    """Each layer's median over the last tenth of the run. [L]"""
    return np.median(table.values[table.steps >= 0.9 * table.steps[-1]], axis=0)


def layer_colours(table: Table) -> np.ndarray:
    """A colour for each layer, from dark at the pictures to light at the output. [L,4]"""
    return matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(table.layers)))


def lines(panel, table: Table, raw: bool = True, marker: str = "") -> None:
    """Each layer over the run: raw values, pale, under their smoothed line."""
    for name, values, colour in zip(table.layers, table.values.T, layer_colours(table)):
        line(panel, table.steps, values, colour, name, raw, marker)


def line(panel, steps: np.ndarray, values: np.ndarray, colour, label: str, raw: bool = True, marker: str = "") -> None:
    """One quantity over the run: its raw values, pale, under their smoothed line; without `raw` only the values."""
    if raw and len(steps) <= MANY:
        panel.plot(steps, values, color=colour, alpha=0.2, linewidth=0.6, rasterized=True)
    elif raw:
        panel.fill_between(*band(steps, values), color=colour, alpha=0.15, linewidth=0, rasterized=True)
    if raw:
        values = common.smoothed(values, max(0.02, 5 / len(values)))  # over five points at least
    panel.plot(*common.envelope(steps, values), color=colour, linewidth=1.6, marker=marker, markersize=4, label=label)


def pale(table: Table) -> str:
    """What the pale part of `lines` is, in words."""
    return "single steps" if len(table.steps) <= MANY else "the middle 80 % of the steps around"


def band(steps: np.ndarray, values: np.ndarray, stretches: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(middle step, 10th percentile, 90th percentile) of every equal stretch of the run that has values."""
    inner = np.searchsorted(steps, np.linspace(steps[0], steps[-1], stretches + 1)[1:-1])
    parts = [part for part in np.split(np.arange(len(steps)), inner) if len(part)]
    middle = np.array([steps[part].mean() for part in parts])
    low, high = np.array([np.percentile(values[part], [10, 90]) for part in parts]).T
    return middle, low, high


def name_lines(panel, columns: int = 2) -> None:
    """The legend of a panel."""
    panel.legend(fontsize="small", frameon=False, ncols=columns)


def over_the_run(panel, run: Run) -> None:
    """Steps below, epochs above."""
    panel.set_xlabel("steps")
    panel.xaxis.set_major_locator(ticker.MaxNLocator(8, integer=True))
    panel.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    epochs = panel.secondary_xaxis(
        "top", functions=(lambda step: step / run.steps_per_epoch, lambda epoch: epoch * run.steps_per_epoch)
    )
    epochs.set_xlabel("epochs", fontsize="small")
    epochs.tick_params(labelsize="small")


def layers_below(panel, layers: tuple[str, ...]) -> None:
    """The layers' names along the x axis, in network order."""
    panel.set_xticks(range(len(layers)), layers, rotation=90 if len(layers) > 6 else 0)
    panel.set_xlabel("layer, from the pictures to the output")


def log_scale(panel) -> None:
    """A logarithmic y axis whose numbers are written out: 0.02, not 2 x 10^-2."""
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    tens = ticker.LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,))
    panel.yaxis.set_major_locator(ticker.MaxNLocator(6) if high < 4 * low else tens)
    panel.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    panel.yaxis.set_minor_formatter(ticker.NullFormatter())


def in_words(value: float) -> str:
    """A number with as many digits as a class can use: 0.012, 2.1e-05, 1,234."""
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.2g}"


def listed(args: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(args[:-1]), args[-1]] if len(args) > 1 else args)
