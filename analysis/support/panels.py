"""Figures of one run in panels, each with its conclusion: what gradients.py, activations.py and curvature.py share.

All panels make one figure with the first sentence of each conclusion under it; `--panel NAME` makes one of them a
slide of its own with the whole conclusion. Everything is also printed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import ticker

from analysis.support import common, series, style
from analysis.support.run import NotMeasured, Run, Table
from core.run import run_folder
from core.run.errors import RunError

HOW = "`python train_loop.py --diagnostics full` measures it"
MANY = 4000  # raw points of one line; more are drawn as a band of percentiles
STEP = "step"  # how the label of an axis over the run begins
GRIDS = {1: (1, 1), 2: (1, 2), 3: (1, 3), 4: (2, 2), 5: (2, 3), 6: (2, 3)}  # {panels: (rows, columns)}


@dataclass(frozen=True)
class Panel:
    """One part of a figure. draw(axes, run) draws it and returns its conclusion; it raises NotMeasured."""

    name: str  # for --panel
    title: str  # the quantity, in the field's words
    question: str  # what it answers, under the title of a slide
    draw: Callable


def build_parser(script: str, question: str, panels: tuple[Panel, ...]):
    """The command line of a script that draws these panels."""
    parser = common.parser(script, question)
    parser.add_argument(
        "--panel", metavar="NAME", choices=[panel.name for panel in panels],
        help=f"one panel as a slide: {', '.join(panel.name for panel in panels)} [all in one figure]",
    )  # fmt: skip
    return parser


def run_script(script: str, subject: str, panels: tuple[Panel, ...], args) -> None:
    """Draw the panels of the run that `args` names, and print their conclusions."""
    run = Run(run_folder.find(args.run, args.runs_dir))
    chosen = tuple(panel for panel in panels if args.panel in (None, panel.name))
    out = args.out or run.folder / (f"{script}-{args.panel}.png" if args.panel else f"{script}.png")
    title = f"{chosen[0].title if args.panel else subject}: {style.shortened(run.name, 24)} on {run.data_title}"
    if run.first_not_finite:
        step, name = run.first_not_finite
        common.say(
            f"{run.name}: not finite at step {step:,} ({name}) for the first time; what follows is computed from the "
            "numbers that are finite."
        )
        title += f", not finite at step {step:,}"
    draw_all(run, chosen, title, out)


def draw_all(run: Run, panels: tuple[Panel, ...], title: str, out: Path) -> None:
    """Draw the panels whose quantities were measured, print all conclusions, and name what is missing.

    Raises RunError when nothing is there to draw.
    """
    drawing, conclusions, lacking = fill(run, panels, {}, title)
    if lacking and conclusions:  # once more, without holes
        style.close(drawing)
        measured_ones = tuple(panel for panel in panels if panel.title in conclusions)
        drawing, conclusions, _ = fill(run, measured_ones, lacking, title)
    if not conclusions:
        style.close(drawing)
        raise RunError(f"{run.folder}: {next(iter(lacking.values()))}")
    style.save(drawing, out)
    for panel in panels:
        common.say(f"{panel.title}: {conclusions.get(panel.title) or lacking[panel.title] + '.'}")
    common.say(f"drawn    {out}")


def fill(run: Run, panels: tuple[Panel, ...], known_lacking: dict[str, str], title: str):
    """(figure, conclusions {title: text}, what is lacking {title: reason}). One panel is a slide."""
    rows, columns = GRIDS[len(panels)]
    slide, width = len(panels) + len(known_lacking) == 1, style.WIDTH / columns
    heights = [0.55, *[3.2, 1.6] * rows] if rows > 1 else [0.5, 6.6, 1.3]
    drawing, axes = style.figure(1 + 2 * rows, columns, heights)
    conclusions, lacking = {}, {}
    for panel, area, below in zip(panels, axes[1::2].flat, axes[2::2].flat):
        try:
            with np.errstate(all="ignore"):  # a run that went wrong is full of NaN and infinity
                conclusions[panel.title] = conclusion = panel.draw(area, run)
        except NotMeasured as lack:
            lacking[panel.title] = f"{str(lack).partition(';')[0]}{remedy(run, lack)}"
            continue
        low, high = area.get_xlim()
        if high - low < 1 and area.get_xlabel().startswith(STEP):  # a single step: its number would be at every tick
            area.set_xlim((low + high) / 2 - 1, (low + high) / 2 + 1)
        area.set_title(panel.question if slide else panel.title, fontweight="normal" if slide else "bold")
        first, _, rest = conclusion.partition(". ")
        style.caption(below, conclusion if slide or not rest else first + ".", width - 1.3)
    for unused in [*axes[1::2].flat[len(panels) :], *axes[2::2].flat[len(panels) :]]:
        unused.set_axis_off()
    drawing.suptitle(title, x=0.01, ha="left")
    for other in axes[0, 1:]:
        other.set_axis_off()
    shared = [area for area in axes[1::2].flat if area.get_legend() is None]  # their lines are the same layers
    handles = {label: line for area in shared for line, label in zip(*area.get_legend_handles_labels())}
    style.legend_above(axes[0, 0], handles)
    if known_lacking:  # named where there is room
        free = len(panels) < rows * columns
        how = f" {HOW}." if any(HOW in reason for reason in known_lacking.values()) else ""
        text = f"Not measured: {', '.join(known_lacking)}.{how}"
        text = style.wrapped(text, width - 1.3 if free else style.WIDTH - 1)
        if free or not handles:
            area = axes[1::2].flat[-1] if free else axes[0, 0]
            left = {"xytext": (-style.INDENT if free else 0, 0), "textcoords": "offset points"}
            area.annotate(text, (0, 1), va="top", color=style.GREY, **left).set_in_layout(False)
    return drawing, conclusions, lacking


def remedy(run: Run, lack: NotMeasured) -> str:
    """`; ` and the command that measures what is lacking; nothing where it would not."""
    helps = "was not measured" in str(lack) and run.config["settings"].get("diagnostics") != "full"
    return f"; {HOW}" if helps else ""


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
    """A colour for each layer, from dark at the image to light at the output. [L,4]"""
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
        values = series.smoothed(values, max(0.02, 5 / len(values)))  # over five points at least
    marker = marker or "o" * (len(steps) == 1)  # a line of one point is none
    panel.plot(*series.envelope(steps, values), color=colour, marker=marker, markersize=5, label=label)


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


def over_the_run(panel, run: Run) -> None:
    """Steps along the x axis."""
    panel.set_xlabel(f"{STEP} ({run.steps_per_epoch:,} an epoch)")
    columns = panel.get_subplotspec().get_gridspec().ncols
    panel.xaxis.set_major_locator(ticker.MaxNLocator(8 // columns + 1, integer=True))
    panel.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))


def layers_below(panel, layers: tuple[str, ...]) -> None:
    """The layers' names along the x axis, in network order; every second or third one where they are many."""
    columns = panel.get_subplotspec().get_gridspec().ncols
    room = style.WIDTH / columns - 1.2  # inches
    every = -(-len(layers) // int((room - (columns > 1)) / style.LINE))  # beside others a panel is narrower by an inch
    upright = len(layers) * (max(map(len, layers)) + 1) * style.LETTER > room
    panel.set_xticks(range(0, len(layers), every), layers[::every], rotation=90 if upright else 0)
    panel.set_xlabel("layer, from the image to the output")
