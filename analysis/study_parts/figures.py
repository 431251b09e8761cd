"""The figures of the study: a forest plot, accuracy against cost, and the curves of each factor."""

import itertools
from pathlib import Path

import numpy as np
from matplotlib import ticker

from analysis.study_parts import effects as of
from analysis.study_parts import sentences
from analysis.study_parts.design import BASE
from analysis.study_parts.effects import BETTER, SAME, WORSE, Effect
from analysis.support import statistics, style

COLOURS = {BETTER: style.BLUE, WORSE: style.ORANGE, SAME: style.GREY}
MARKERS = {BETTER: "▲", WORSE: "▼", SAME: "="}
IN_ONE_COLUMN = 18  # variants; more are drawn in two columns
FARTHEST = 15.0  # points from the base that the forest plot draws; beyond them it has a triangle at its edge
FAR_BELOW = 12.0  # points under the base: beyond it the figure of costs draws a triangle at its lower edge
# What the parts of the figures draw, by the names of --panel.
COSTS = {
    "flops": (lambda effect: effect.work, "FLOPs of the training, base = 1"),
    "seconds": (lambda effect: effect.seconds, "seconds of the training, base = 1"),
}
CURVES = {
    "loss": ("train_loss", "Training loss", 1, "nats"),
    "training": ("train_accuracy", "Training accuracy", 100, "%"),
    "test": ("test_accuracy", "Test accuracy", 100, "%"),
}
# Where the name of a point may begin: (points to its right, points above it); the nearest place comes first.
NAME_OFFSETS = sorted(
    [(9, 0), (-9, 0), *itertools.product((26, -26, 60, -60), (*range(20, 121, 10), *range(-20, -121, -10)))],
    key=lambda offset: abs(offset[0]) + 2 * abs(offset[1]),
)


def draw_all(found: list[Effect], epochs: dict, data: str, out: Path) -> list[Path]:
    """Draw every figure that the effects allow into the folder `out`; their paths."""
    drawn = [(out / "effects.png", forest(found, data)), (out / "cost.png", cost(found, data))]
    drawn += [(out / f"curves-{name}.png", curves(own, epochs, data)) for name, own in by_factor(found)]
    return [saved(drawing, path) for path, drawing in drawn]


def draw_panel(panel: str, found: list[Effect], epochs: dict, data: str, out: Path) -> list[Path]:
    """Draw one panel as a slide: of COSTS one, of CURVES one for every factor. Their paths."""
    if panel in COSTS:
        return [saved(cost(found, data, (panel,)), out / f"cost-{panel}.png")]
    return [
        saved(curves(own, epochs, data, (panel,)), out / f"curves-{name}-{panel}.png")
        for name, own in by_factor(found)
    ]  # fmt: skip


def by_factor(found: list[Effect]) -> list[tuple[str, list[Effect]]]:
    """(name of a factor as in a file's name, its effects)."""
    factors = dict.fromkeys(effect.factor for effect in found)
    return [(f.name.replace(" ", "-"), [effect for effect in found if effect.factor is f]) for f in factors]


def saved(drawing, path: Path) -> Path:
    """Write a figure; its path."""
    style.save(drawing, path)
    return path


def heading(text: str) -> str:
    """A heading in as many lines as it takes."""
    return style.wrapped(text, 9.6)


def forest(found: list[Effect], data: str):
    """Each variant's difference to the base with its 95 % interval, sorted."""
    ordered = sorted(found, key=lambda effect: effect.result.difference)
    columns = 1 if len(ordered) <= IN_ONE_COLUMN else 2
    drawing, axes = style.figure(1, columns)
    # Sorted from the best at the top of the first column to the worst at the bottom of the last one.
    parts = np.array_split(np.arange(len(ordered)), columns)[::-1]
    ends = 100 * np.array([(e.result.difference - e.result.half, e.result.difference + e.result.half) for e in ordered])
    near = ends[np.abs(ends).max(axis=1) <= FARTHEST]
    low, high = near.min(initial=-1) - 1, near.max(initial=1) + 1
    for panel, part in zip(axes[0], parts):
        panel.axvline(0, color="black", linewidth=1)
        for y, effect in enumerate(ordered[i] for i in part):
            draw_interval(panel, y, effect, low, high)
        labels = [
            f"{e.variant.name}  {statistics.points(e.result.difference)} {MARKERS[e.expected]}"
            for e in (ordered[i] for i in part)
        ]
        panel.set_yticks(range(len(part)), labels)
        panel.set_ylim(-0.7, len(part) - 0.3)
        panel.set_xlim(low, high)
        panel.xaxis.set_major_locator(ticker.MaxNLocator(7, steps=[1, 2, 3, 5, 10]))
        panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: signed(value)))
        panel.set_xlabel("points of test accuracy, 95 % interval")
    handles = {
        name: axes[0, 0].plot([], [], "o-", color=COLOURS[outcome], linewidth=4, markersize=10)[0]
        for name, outcome in (("better than the base", BETTER), ("worse", WORSE), ("no difference shown", SAME))
    }
    beyond = "; ◀ ▶ beyond the axis" if ends.min() < low or ends.max() > high else ""
    handles[f"expected: ▲ better, ▼ worse, = same{beyond}"] = axes[0, 0].plot([], [], alpha=0)[0]
    drawing.legend(handles.values(), handles, loc="outside lower left", ncols=4)
    drawing.suptitle(heading(sentences.title(found, data)), x=0.01, ha="left")
    return drawing


def draw_interval(panel, y: float, effect: Effect, low: float, high: float) -> None:
    """A mean and its interval on a row, from low to high; a triangle at an edge for what lies beyond it."""
    mean, half, colour = 100 * effect.result.difference, 100 * effect.result.half, COLOURS[effect.outcome]
    start, stop = max(mean - half, low), min(mean + half, high)
    if start < stop:
        panel.plot([start, stop], [y, y], color=colour, linewidth=4, solid_capstyle="butt")
    if low <= mean <= high:
        panel.plot(mean, y, "o", color=colour, markersize=10)
    inside = 0.015 * (high - low)
    for outside, x, marker in ((mean - half < low, low + inside, "<"), (mean + half > high, high - inside, ">")):
        if outside:
            panel.plot(x, y, marker, color=colour, markersize=12)


def signed(value: float) -> str:
    """+3, −10, 0."""
    return f"{value:+g}".replace("-", "−") if value else "0"


def cost(found: list[Effect], data: str, chosen: tuple[str, ...] = tuple(COSTS)):
    """Test accuracy against the FLOPs of the whole training and against the processor's seconds."""
    drawing, axes = style.figure(1, len(chosen))
    base = 100 * of.mean(found[0].base_rows, "test_accuracy")
    for panel, (against, label) in zip(axes[0], (COSTS[name] for name in chosen)):
        panel.axhline(base, color="black", linewidth=1, alpha=0.4)
        panel.plot(1.0, base, "s", color="black", markersize=11, label="base")
        for effect in sorted(found, key=lambda effect: -abs(effect.result.difference)):
            accuracy = 100 * of.mean(effect.rows, "test_accuracy")
            far = accuracy < base - FAR_BELOW
            panel.plot(
                against(effect), max(accuracy, base - FAR_BELOW), "v" if far else "o", color=COLOURS[effect.outcome],
                markersize=11, alpha=0.8, label=effect.variant.name + f" ({accuracy:.0f} %)" * far,
            )  # fmt: skip
        costs = [against(effect) for effect in found]
        low, high = min(0.7, *costs), max(1.4, *costs)
        room = (high / low) ** 0.125 * 1.1  # for the names, most of which stand at the right
        panel.set_xscale("log")
        panel.set_xlim(low / room**2, high * room**4)
        multiples = (0.25, 0.5, 1, 2, 4, 8) if high / low > 4 else (0.5, 0.7, 1, 1.4, 2, 3)
        panel.xaxis.set_major_locator(ticker.FixedLocator(multiples))
        panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}×"))
        panel.xaxis.set_minor_locator(ticker.NullLocator())
        panel.margins(y=0.08)
        panel.set(xlabel=label, ylabel="test accuracy (%), mean of the seeds")
    drawing.suptitle(heading(sentences.cost_title(found, data)), x=0.01, ha="left")
    drawing.canvas.draw()  # the names are placed where the layout has put the points
    for panel in axes[0]:
        name_points(panel)
    return drawing


def name_points(panel) -> None:
    """Each point's label beside it, or higher or lower with a line to it: the nearest place that is free."""
    markers = [line for line in panel.lines if len(line.get_xdata()) == 1]
    point, (x0, y0, x1, y1) = panel.figure.dpi / 72, panel.get_window_extent().extents
    spots = [panel.transData.transform((line.get_xdata()[0], line.get_ydata()[0])) for line in markers]
    taken = [(x - 6 * point, y - 6 * point, x + 6 * point, y + 6 * point) for x, y in spots]
    for (x, y), line in zip(spots, markers):
        at, colour = (line.get_xdata()[0], line.get_ydata()[0]), line.get_color()
        name = panel.annotate(line.get_label(), at, (0, 0), textcoords="offset points", va="center", color=colour)
        extent = name.get_window_extent()
        outwards = -1 if x < spots[0][0] - point else 1  # to the left of the points that are left of the first one
        for right, up in ((outwards * right, up) for right, up in NAME_OFFSETS):
            left = x + right * point - (extent.width if right < 0 else 0)
            low, high = y + up * point - 0.5 * extent.height, y + up * point + 0.5 * extent.height
            box = (left, low, left + extent.width, high)
            near = 9 / np.hypot(right, up)  # of the line to it, what lies at the marker itself
            to_it = (x, y) + np.linspace(near, 1, 40)[:, None] * (right * point, up * point) if up else []
            inside = x0 < box[0] and box[2] < x1 and y0 < low and high < y1
            if inside and not any(overlap(box, other) or crosses(to_it, other) for other in taken):
                break
        else:
            name.remove()
            continue
        taken.append(box)
        name.set(position=(right, up), ha="left" if right > 0 else "right")
        if up:
            arrow = {"arrowstyle": "-", "color": colour, "shrinkA": 0, "shrinkB": 5}
            panel.annotate("", at, (right, up), textcoords="offset points", arrowprops=arrow)


def overlap(one: tuple, other: tuple) -> bool:
    """Whether two boxes (left, bottom, right, top) have a point in common."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def crosses(points, box: tuple) -> bool:
    """Whether one of the points (x, y) lies in a box."""
    return any(overlap((x, y, x, y), box) for x, y in points)


def curves(own: list[Effect], epochs: dict, data: str, chosen: tuple[str, ...] = tuple(CURVES)):
    """Training loss, training and test accuracy of a factor's variants and the base: mean and range of the seeds."""
    drawing, axes = style.figure(1, len(chosen))
    groups = [(BASE, own[0].base_rows), *((effect.variant.name, effect.rows) for effect in own)]
    handles, quantities = {}, [CURVES[name] for name in chosen]
    for (name, rows), colour, marker in zip(groups, ("black", *style.COLOURS), "so^Dv*"):
        runs = [epochs.get((name, row.seed), []) for row in rows if not row.diverged]
        shared = min(map(len, runs), default=0)
        if not shared:
            continue
        x = np.array([each["step"] for each in runs[0][:shared]]) * of.batch_size(rows[0]) / 1000
        for panel, (quantity, _, factor, _) in zip(axes[0], quantities):
            y = factor * np.array([[each[quantity] for each in run[:shared]] for run in runs])  # [seeds, evaluations]
            (line,) = panel.plot(x, y.mean(axis=0), color=colour, marker=marker, markersize=7)
            panel.fill_between(x, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.2, linewidth=0)
        lost = sum(row.diverged for row in rows)
        handles[name + f" (without {lost} of {len(rows)} that diverged)" * bool(lost)] = line
    for panel, (_, title, _, unit) in zip(axes[0], quantities):
        panel.set(title=title, xlabel="images, thousands", ylabel=unit)
        panel.xaxis.set_major_locator(ticker.MaxNLocator(4, integer=True))
    handles["band: lowest to highest seed"] = axes[0, 0].fill_between([], [], color=style.GREY, alpha=0.3)
    drawing.legend(handles.values(), handles, loc="outside lower left", ncols=style.legend_columns(handles))
    drawing.suptitle(heading(sentences.factor_title(own, data)), x=0.01, ha="left")
    return drawing
