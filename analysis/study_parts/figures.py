"""The figures of the study: a forest plot, accuracy against cost, and the curves of each factor."""

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
LINEAR = 1.0  # points around 0 that the forest plot draws linearly, beyond them logarithmically
IN_ONE_COLUMN = 18  # variants; more are drawn in two columns
FAR_BELOW = 12.0  # points under the base: beyond it the figure of costs draws a triangle at its lower edge


def draw_all(found: list[Effect], epochs: dict, data: str, out: Path) -> list[Path]:
    """Draw every figure that the effects allow into the folder `out`; their paths."""
    paths = [out / "effects.png", out / "cost.png"]
    style.save(forest(found, data), paths[0])
    style.save(cost(found, data), paths[1])
    for factor in dict.fromkeys(effect.factor for effect in found):
        own = [effect for effect in found if effect.factor is factor]
        paths.append(out / f"curves-{factor.name.replace(' ', '-')}.png")
        style.save(curves(own, epochs, data), paths[-1])
    return paths


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
    low = min(100 * (effect.result.difference - effect.result.half) for effect in ordered)
    high = max(100 * (effect.result.difference + effect.result.half) for effect in ordered)
    for panel, part in zip(axes[0], parts):
        for y, effect in enumerate(ordered[i] for i in part):
            mean, half, colour = 100 * effect.result.difference, 100 * effect.result.half, COLOURS[effect.outcome]
            panel.plot([mean - half, mean + half], [y, y], color=colour, linewidth=4, solid_capstyle="butt")
            panel.plot(mean, y, "o", color=colour, markersize=10)
        panel.axvline(0, color="black", linewidth=1)
        labels = [
            f"{e.variant.name}  {statistics.points(e.result.difference)} {MARKERS[e.expected]}"
            for e in (ordered[i] for i in part)
        ]
        panel.set_yticks(range(len(part)), labels)
        panel.set_ylim(-0.7, len(part) - 0.3)
        panel.set_xscale("symlog", linthresh=LINEAR, linscale=0.7)
        panel.set_xlim(min(1.3 * low, -LINEAR), max(1.3 * high, LINEAR))
        ticks = [-30, -10, -3, -1, 0, 1, 3, 10, 30] if columns == 1 else [-30, -5, -1, 0, 1, 5, 30]
        panel.set_xticks([t for t in ticks if panel.get_xlim()[0] <= t <= panel.get_xlim()[1]])
        panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: signed(value)))
        panel.xaxis.set_minor_locator(ticker.NullLocator())
        panel.set_xlabel("points of test accuracy, 95 % interval")
    handles = {
        name: axes[0, 0].plot([], [], "o-", color=COLOURS[outcome], linewidth=4, markersize=10)[0]
        for name, outcome in (("better than the base", BETTER), ("worse", WORSE), ("no difference shown", SAME))
    }
    handles["expected: ▲ better, ▼ worse, = same"] = axes[0, 0].plot([], [], alpha=0)[0]
    drawing.legend(handles.values(), handles, loc="outside lower left", ncols=4)
    drawing.suptitle(heading(sentences.title(found, data)), x=0.01, ha="left")
    return drawing


def signed(value: float) -> str:
    """+3, −10, 0."""
    return f"{value:+g}".replace("-", "−") if value else "0"


def cost(found: list[Effect], data: str):
    """Test accuracy against the FLOPs of the whole training and against the processor's seconds."""
    drawing, axes = style.figure(1, 2)
    base = 100 * of.mean(found[0].base_rows, "test_accuracy")
    for panel, against, label in (
        (axes[0, 0], lambda effect: effect.work, "FLOPs of the training, base = 1"),
        (axes[0, 1], lambda effect: effect.seconds, "seconds of the training, base = 1"),
    ):
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
        room = (high / low) ** 0.25 * 1.2  # for the names
        panel.set_xscale("log")
        panel.set_xlim(low / room, high * room)
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
    """The labels of the points beside them, in the order in which they were drawn, wherever there is room."""
    markers = [line for line in panel.lines if len(line.get_xdata()) == 1]
    pixel = panel.figure.dpi  # an inch
    spots = [panel.transData.transform((line.get_xdata()[0], line.get_ydata()[0])) for line in markers]
    taken = [(x - 0.08 * pixel, y - 0.08 * pixel, x + 0.08 * pixel, y + 0.08 * pixel) for x, y in spots]
    inside = panel.get_window_extent()
    for (x, y), line in zip(spots, markers):
        name = line.get_label()
        width, half = style.LETTER * len(name) * pixel, style.LINE * pixel / 2
        for side, left in ((1, x + 0.1 * pixel), (-1, x - 0.1 * pixel - width)):
            box = (left, y - half, left + width, y + half)
            apart = all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for b in taken)
            if apart and inside.x0 < box[0] and box[2] < inside.x1:
                taken.append(box)
                panel.annotate(
                    name, (line.get_xdata()[0], line.get_ydata()[0]), xytext=(side * 9, 0), va="center",
                    textcoords="offset points", ha="left" if side > 0 else "right", color=line.get_color(),
                )  # fmt: skip
                break


def curves(own: list[Effect], epochs: dict, data: str):
    """Training loss, training and test accuracy of a factor's variants and the base: mean and range of the seeds."""
    drawing, axes = style.figure(1, 3)
    groups = [(BASE, own[0].base_rows), *((effect.variant.name, effect.rows) for effect in own)]
    handles = {}
    quantities = (("train_loss", "Training loss", 1, "nats"), ("train_accuracy", "Training accuracy", 100, "%"),
                  ("test_accuracy", "Test accuracy", 100, "%"))  # fmt: skip
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
