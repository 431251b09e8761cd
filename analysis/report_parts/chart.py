"""Charts as SVG: lines over an axis, and intervals in rows. Colours come from the style sheet."""

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib import ticker

from analysis.report_parts.markup import escaped
from analysis.support import series

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480, 290, 74, 24, 14, 46  # of the drawing and around its axes
COLUMNS = 350  # stretches of x whose lowest and highest value are drawn


@dataclass(frozen=True)
class Line:
    """One quantity: x [n] rising, y [n]. What is not finite is left out, and the line with it."""

    x: np.ndarray
    y: np.ndarray
    css: str  # class of the line in report.css
    name: str = ""  # for the tooltip of a marker
    markers: bool = False
    style: str = ""


@dataclass(frozen=True)
class Mark:
    """A vertical line with a letter."""

    x: float
    letter: str
    css: str
    name: str


class Axes:
    """From values to positions in the drawing."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], log: bool = False, height: int = HEIGHT):
        self.x, self.y, self.log, self.height = widened(x), widened(y), log, height
        if log:
            self.y = np.log10(self.y[0]), np.log10(self.y[1])

    def right(self, x) -> np.ndarray:
        """Positions from the left."""
        return LEFT + (np.asarray(x, np.float64) - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def down(self, y) -> np.ndarray:
        """Positions from the top, kept inside; NaN stays NaN."""
        y = np.asarray(y, np.float64)
        with np.errstate(all="ignore"):
            y = np.log10(np.where(y > 0, y, np.nan)) if self.log else y
        part = np.clip((y - self.y[0]) / (self.y[1] - self.y[0]), -0.02, 1.02)
        return self.height - BOTTOM - part * (self.height - TOP - BOTTOM)

    def frame(self, x_label: str, y_label: str) -> str:
        """Grid, numbers and titles of both axes."""
        bottom, found = self.height - BOTTOM, []
        for value in ticks(self.x, 6):
            at = self.right(value)
            found.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>')
            found.append(f'<text x="{at:.1f}" y="{bottom + 17}" text-anchor="middle">{short(value)}</text>')
        for value in log_ticks(self.y) if self.log else ticks(self.y, 5):
            at = float(self.down(value))
            found.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            found.append(f'<text x="{LEFT - 6}" y="{at + 4.5:.1f}" text-anchor="end">{short(value)}</text>')
        middle = (TOP + bottom) / 2
        found.append(
            f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{self.height - 8}" text-anchor="middle">'
            f'{escaped(x_label)}</text><text class="axis" x="14" y="{middle}" text-anchor="middle" '
            f'transform="rotate(-90 14 {middle})">{escaped(y_label)}</text>'
        )
        return "".join(found)


def widened(ends: tuple[float, float]) -> tuple[float, float]:
    """The same range, or one around its only value."""
    low, high = map(float, ends)
    return (low, high) if high > low else (low - 0.5, low + 0.5) if low else (0.0, 1.0)


def ticks(ends: tuple[float, float], most: int) -> list[float]:
    """Round values inside a range."""
    found = ticker.MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(*ends)
    slack = 1e-9 * (ends[1] - ends[0])
    return [float(value) + 0.0 for value in found if ends[0] - slack <= value <= ends[1] + slack]


def log_ticks(ends: tuple[float, float]) -> list[float]:
    """Powers of ten inside 10^low to 10^high, and some between them where they are few."""
    low, high = ends
    if high - low < 0.6:
        return ticks((10**low, 10**high), 5)
    parts = (1, 2, 5) if high - low < 2 else (1,)
    every = max(int((high - low) / 5), 1)
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1, every)
    return [part * 10.0**power for power in powers for part in parts if low <= np.log10(part) + power <= high]


def short(value: float) -> str:
    """A number of an axis: 0.02, 1,500, 2e-5."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{round(value, 10):g}"


def path(axes: Axes, line: Line) -> str:
    """The line, thinned out to what a screen can show, with its markers."""
    x, y = series.envelope(np.asarray(line.x, np.float64), np.asarray(line.y, np.float64), COLUMNS)
    right, down = axes.right(x), axes.down(y)
    commands, pen = [], "M"
    for a, b in zip(right, down):
        if np.isfinite(b):
            commands.append(f"{pen}{a:.1f} {b:.1f}")
            pen = "L" if pen == "M" else ""  # a number pair after L is another L
        else:
            pen = "M"
    text = " ".join(commands)
    style = f' style="{escaped(line.style)}"' if line.style else ""
    drawn = f'<path class="line {line.css}" d="{text}"{style}/>' if text else ""
    if line.markers and len(line.x) <= 40:
        drawn += "".join(
            f'<circle class="dot {line.css}" cx="{a:.1f}" cy="{b:.1f}" r="3.5"{style}>'
            f"<title>{escaped(line.name)}: {value:.4g} at {short(at)}</title></circle>"
            for a, b, at, value in zip(axes.right(line.x), axes.down(line.y), line.x, line.y)
            if np.isfinite(b)
        )
    return drawn


def lines(
    drawn: list[Line], x_label: str, y_label: str, described: str, y_ends=None, log: bool = False, marks=(),
    levels=(), x_ends=None, band=None,
) -> str:  # fmt: skip
    """Lines over one x axis. described: the text alternative. levels: dotted horizontal lines; band: a range of y."""
    xs = np.concatenate([line.x for line in drawn])
    ys = np.concatenate([line.y for line in drawn]).astype(np.float64)
    ys = ys[np.isfinite(ys) & ((ys > 0) | (not log))]
    if not len(ys):
        ys = np.array([0.1, 1.0])
    if y_ends is None:
        room = 0 if log else 0.04 * (ys.max() - ys.min())
        y_ends = (ys.min() - room, ys.max() + room)
    axes = Axes(x_ends or (xs.min(), xs.max()), y_ends, log)
    parts = [axes.frame(x_label, y_label)]
    if band:
        low, high = np.clip(axes.down(np.array(band)), TOP, HEIGHT - BOTTOM)
        parts.append(
            f'<rect class="band" x="{LEFT}" width="{WIDTH - LEFT - RIGHT}" y="{high:.1f}" height="{low - high:.1f}"/>'
        )
    for level in levels:
        at = float(axes.down(level))
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
    for i, mark in enumerate(marks):
        at, high = float(axes.right(mark.x)), TOP + 14 + 16 * i
        parts.append(
            f'<line class="mark {mark.css}" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text class="mark {mark.css}" x="{at + 4:.1f}" y="{high}">{mark.letter}'
            f"<title>{escaped(mark.name)}</title></text>"
        )
    parts += [path(axes, line) for line in drawn]
    return svg("".join(parts), described, HEIGHT)


def svg(inner: str, described: str, height: float) -> str:
    """The drawing with its text alternative."""
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escaped(described)}">{inner}</svg>'


def intervals(names: list[str], kinds: list[tuple], x_label: str, described: str) -> str:
    """Rows of points with their intervals. kinds: (css, values [n], low [n], high [n]), in units of the x axis."""
    step, left = 26, LEFT + 44
    height = TOP + step * len(names) + BOTTOM
    low = min(float(np.nanmin(low)) for _, _, low, _ in kinds)
    start = 10 * np.floor(low / 10)
    scale = (WIDTH - left - RIGHT) / max(100 - start, 1)
    bottom, parts = height - BOTTOM, []
    for value in ticks((start, 100), 6):
        at = left + (value - start) * scale
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 17}" text-anchor="middle">{short(value)}</text>')
    for i, name in enumerate(names):
        parts.append(f'<text x="{left - 8}" y="{TOP + step * (i + 0.5) + 5}" text-anchor="end">{escaped(name)}</text>')
    for number, (css, values, lows, highs) in enumerate(kinds):
        for i, (value, a, b) in enumerate(zip(values, lows, highs)):
            if not np.isfinite(value):
                continue
            y = TOP + step * (i + 0.5) + (-5 if number == 0 else 5)
            a, b, at = (left + (v - start) * scale for v in (a, b, value))
            shape = f'<circle class="dot {css}" cx="{at:.1f}" cy="{y}" r="4"/>'
            if number:
                shape = f'<path class="dot {css}" d="M{at:.1f} {y - 5}l5 5-5 5-5-5z"/>'
            parts.append(f'<line class="line {css}" x1="{a:.1f}" x2="{b:.1f}" y1="{y}" y2="{y}"/>{shape}')
    middle = (left + WIDTH - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{height - 8}" text-anchor="middle">{escaped(x_label)}</text>')
    return svg("".join(parts), described, height)


def legend(entries: list[tuple[str, str, str]]) -> str:
    """(css, style, label) of each line, above a chart."""
    return (
        '<ul class="legend">'
        + "".join(
            f'<li><svg class="swatch" viewBox="0 0 24 8" aria-hidden="true"><path class="line {css}" '
            f'style="{escaped(style)}" d="M1 4H23"/></svg>{escaped(label)}</li>'
            for css, style, label in entries
        )
        + "</ul>"
    )


def layer_styles(count: int) -> list[str]:
    """A colour for each of `count` layers, from the image to the output: one for a light page, one for a dark one."""
    viridis = matplotlib.colormaps["viridis"]
    light, dark = viridis(np.linspace(0, 0.8, count)), viridis(np.linspace(0.35, 1, count))
    return [f"--light:{matplotlib.colors.to_hex(a)};--dark:{matplotlib.colors.to_hex(b)}" for a, b in zip(light, dark)]
