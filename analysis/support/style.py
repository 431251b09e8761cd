"""How every figure of analysis/ is drawn: the shape of a slide, letters that the last row can read, the same colours.

No text is smaller than 2.5 % of the figure's height. Colours are those of Okabe and Ito, which the colour-blind can
tell apart; text of a run is drawn as it is, without mathematics between dollar signs.
"""

import textwrap
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import ticker

WIDTH, HEIGHT = 16, 9  # inches
TEXT, TITLE, HEADING = 16.5, 17, 22  # points; 2.5 % of 9 inches are 16.2
LETTER = 0.118  # inches that a letter of TEXT is wide, on average
LINE = 1.2 * TEXT / 72  # inches from one line of text to the next
INDENT = 50  # points from the left edge of a panel's numbers to its axis
BLUE, ORANGE, GREEN, PINK, AMBER, SKY, RED, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#C00000", "#666666",
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY)
SEVERITY_COLOURS = {"red": RED, "amber": "#946200", "note": GREY}

RC = {
    "font.size": TEXT, "axes.titlesize": TITLE, "axes.titleweight": "bold", "axes.labelsize": TEXT,
    "xtick.labelsize": TEXT, "ytick.labelsize": TEXT, "legend.fontsize": TEXT, "legend.frameon": False,
    "legend.handlelength": 1.4, "legend.columnspacing": 1.4, "legend.labelspacing": 0.3,
    "figure.titlesize": HEADING, "figure.titleweight": "bold",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "text.parse_math": False, "lines.linewidth": 2,
}  # fmt: skip


def figure(rows: int, columns: int, heights=None):
    """A new figure of the shape of a slide and its axes [rows, columns], drawn without a screen.

    heights: the rows' heights in relation to each other.
    """
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update(RC)
    warnings.filterwarnings("ignore", message="Glyph")  # a name in letters that the font lacks
    drawing, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, HEIGHT), squeeze=False, layout="constrained",
        gridspec_kw={"height_ratios": heights} if heights else None,
    )  # fmt: skip
    drawing.get_layout_engine().set(w_pad=0.1)
    return drawing, axes


def save(drawing, path: Path) -> None:
    """Write the figure, whole or not at all, so that a viewer that follows it never meets half a file; close it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower().lstrip(".") not in drawing.canvas.get_supported_filetypes():
            raise OSError(22, "not a format that matplotlib writes (try .png, .svg or .pdf)", str(path))
        partial = path.with_name(f".partial-{path.name}")
        drawing.savefig(partial, dpi=120)
        partial.replace(path)
    finally:
        close(drawing)


def close(drawing) -> None:
    """Give a figure's memory back without writing it."""
    from matplotlib import pyplot as plt

    plt.close(drawing)


def wrapped(text: str, inches: float) -> str:
    """`text` in lines of at most so many inches; a number and its % stay together."""
    kept_together = text.replace(" %", "\N{NO-BREAK SPACE}%")
    return textwrap.fill(kept_together, max(int(inches / LETTER), 10), break_on_hyphens=False)


def shortened(name: str, letters: int = 40) -> str:
    """A name of at most so many letters, its middle left out if it is longer."""
    half = (letters - 1) // 2
    return name if len(name) <= letters else f"{name[:half]}…{name[-half:]}"


def shortened_apart(names: list[str], letters: int) -> list[str]:
    """The names shortened; whole where shortened ones are equal, which would share a line of a legend."""
    short = [shortened(name, letters) for name in names]
    return [one if short.count(one) == 1 else name for one, name in zip(short, names)]


def caption(axes, text: str, inches: float, left: float | None = None) -> int:
    """Write `text` into axes of its own, from the left edge; returns the number of lines.

    left: where to begin, a fraction of the figure; else INDENT before the axes, which lie further left the shorter the
    numbers of the panel above are.
    """
    axes.set_axis_off()
    lines = wrapped(text, inches)
    begin = {"xy": (0, 1), "xytext": (-INDENT, 0), "textcoords": "offset points"}
    if left is not None:
        begin = {"xy": (left, 1), "xycoords": ("figure fraction", "axes fraction")}
    axes.annotate(lines, **begin, va="top", linespacing=1.2).set_in_layout(False)
    return lines.count("\n") + 1


def legend_above(axes, handles: dict) -> None:
    """A legend {label: handle} in axes of its own above the panels, in as many columns as fit."""
    axes.set_axis_off()
    if handles:
        axes.legend(
            handles.values(), handles, loc="center left", ncols=legend_columns(handles), borderaxespad=0,
            bbox_to_anchor=(0, 0.5),
        ).set_in_layout(False)  # fmt: skip


def legend_columns(labels) -> int:
    """How many labels of a legend stand side by side in the width of the figure."""
    longest = max(map(len, labels), default=1)
    return min(max(int((WIDTH - 1) / (0.75 + LETTER * longest)), 1), max(len(labels), 1))


def log_scale(panel) -> None:
    """A logarithmic y axis whose numbers are written out: 0.02, not 2 x 10^-2; linear where nothing is above zero."""
    if panel.dataLim.minposy == np.inf:
        return
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    decades = np.log10(high / low) if low > 0 else 1
    if decades < 0.6:
        locator = ticker.MaxNLocator(4)
    else:
        locator = log_locator(decades)
    panel.yaxis.set_major_locator(locator)
    panel.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(ticker.NullFormatter())


def log_locator(decades: float) -> ticker.Locator:
    """Ticks of a logarithmic axis: the powers of ten, and some between them where the axis spans few."""
    return ticker.LogLocator(subs=(1, 2, 5) if decades < 1.2 else (1, 3) if decades < 2.2 else (1,), numticks=6)


def number(value: float) -> str:
    """A number with as many digits as a class can use: 0.012, 2.1e-05, 1,234."""
    return f"{value:,.0f}" if 99.5 <= abs(value) < 1e9 else f"{value:.2g}"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
