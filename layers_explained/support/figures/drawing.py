"""The parts of a figure: numbers in cells, images, bars, curves; large enough for a projector.

A figure is 16:9, and no text is smaller than 2.5 % of its height.
"""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from layers_explained.support.printing import number

SIZE = (16, 9)  # inches; at 120 dots an inch this is a full-HD screen
SMALL, TITLE, HEADING = 17, 18, 23  # points; 2.5 % of the height are 16.2
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe & Ito 2008: told apart with every kind of colour vision
INK, RULE = "#222222", "#bbbbbb"


def new_figure() -> Figure:
    """An empty figure that finds room for what is put on it."""
    figure = Figure(figsize=SIZE, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    return figure


def heading(figure, text: str) -> None:
    """A line above a figure or a part of one, from its left edge."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=HEADING, color=INK)


def title(axes, text: str) -> None:
    """A line above one chart."""
    axes.set_title(text, fontsize=TITLE, color=INK, pad=8)


def caption(axes, text: str) -> None:
    """A text under a grid."""
    axes.text(0.5, -0.04, text, transform=axes.transAxes, ha="center", va="top", fontsize=SMALL, color=INK)


def grid(axes, values, text: str = "", size: float = 20, tints=None, side: int = 0) -> None:
    """Draw a matrix as cells with numbers in them, under the title `text`; NaN leaves a cell empty.

    tints: by (row, column), the colour behind a number. side: draw as small as if there were this many columns, so
    that grids in a row have equal cells.
    """
    values = np.atleast_2d(values)
    rows, columns = values.shape
    margin = max(0, side - columns) / 2 + 0.05
    axes.set(xlim=(-margin, columns + margin), ylim=(rows + margin, -margin), aspect="equal")
    axes.axis("off")
    title(axes, text)
    for i, j in np.ndindex(rows, columns):
        axes.add_patch(Rectangle((j, i), 1, 1, facecolor=(tints or {}).get((i, j), "white"), edgecolor=RULE))
        if np.isfinite(values[i, j]):
            shown = number(values[i, j])
            axes.text(j + 0.5, i + 0.52, shown, ha="center", va="center", fontsize=size, color=INK)


def pale(colour, strength: float = 0.25):
    """The colour, mixed with white so that a number on it stays readable."""
    return tuple(1 - strength * (1 - channel) for channel in to_rgb(colour))


def by_sign(values, most: float) -> dict:
    """Tints for a matrix: orange above zero, blue below, stronger for larger |value|; `most` is the strongest."""
    return {
        index: pale(COLOURS[1] if value > 0 else COLOURS[0], 0.6 * min(1, abs(value) / most))
        for index, value in np.ndenumerate(values)
    }


def image(axes, pixels, text: str, scale: tuple[float, float] | None = None) -> None:
    """Show an image [H,W,3], or one channel [H,W] in grey: black its smallest number and white its largest.

    scale: (black, white), one for several panels that are to be compared.
    """
    low, high = scale or (None, None)
    axes.imshow(pixels, cmap="gray", interpolation="nearest", vmin=low, vmax=high)
    title(axes, text)
    axes.set(xticks=[], yticks=[])


def frame(axes, row, column, rows, columns, colour) -> None:
    """A thick border around some cells, or pixels, of axes."""
    axes.add_patch(Rectangle((column, row), columns, rows, fill=False, edgecolor=colour, linewidth=4, clip_on=False))


def plain(axes) -> None:
    """Axes without a box, with ticks that can be read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)
    axes.xaxis.label.set_size(SMALL)
    axes.yaxis.label.set_size(SMALL)


def legend(axes, **where) -> None:
    """The names of the curves, without a box."""
    axes.legend(fontsize=SMALL, frameon=False, **where)


def bars(axes, names, values, text: str, lying: bool = False) -> None:
    """One bar for each name, with its number at the end; orange above zero, blue below. lying: bars to the right."""
    colours = [pale(COLOURS[1] if value > 0 else COLOURS[0], 0.6) for value in values]
    drawn = (axes.barh if lying else axes.bar)(list(names), values, color=colours)
    axes.bar_label(drawn, [f"{value:.2f}".replace("-", "−") for value in values], padding=5, fontsize=SMALL, color=INK)
    axes.margins(**({"x": 0.6} if lying else {"y": 0.28}))
    title(axes, text)
    axes.tick_params(labelsize=SMALL, length=0)
    (axes.axvline if lying else axes.axhline)(0, color=INK, linewidth=1)
    axes.spines[:].set_visible(False)
    if lying:
        axes.invert_yaxis()
        axes.set_xticks([])
    else:
        axes.set_yticks([])


def histogram(axes, values, edges, text: str) -> None:
    """How often the values fall between the edges; a line marks their mean."""
    axes.hist(np.ravel(values), edges, color=pale(COLOURS[0], 0.6))
    axes.axvline(np.mean(values), color=COLOURS[1], linewidth=3)
    title(axes, text)
    plain(axes)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
