"""The figure of analysis/curves.py: loss, accuracy and learning rate of one run, or of several overlaid."""

from pathlib import Path

import numpy as np
from matplotlib import ticker
from matplotlib.lines import Line2D

from analysis import diagnose
from analysis.support import series, style
from analysis.support.run import Run

EXPLODED = 50  # nats; a higher loss is drawn on a logarithmic axis
LETTERS = "ABCDEFGH"  # that name the findings marked in the loss
TRAIN = {"marker": "o", "linestyle": "--", "markersize": 6, "linewidth": 1.5}
TEST = {"marker": "s", "linestyle": "-", "markersize": 6, "linewidth": 2.5, "markeredgecolor": "black"}


def draw(runs: list[Run], verdicts: list[str], only: str | None, out: Path) -> None:
    """Draw every panel, or only the one named; the verdict stands below unless several runs are overlaid."""
    alone = len(runs) == 1
    names = [only] if only else list(PANELS)
    marked, handles = findings(runs[0]) if alone and "loss" in names else [], legend(runs)
    labels = [*handles, CHANCE, *(label for label, *_ in marked)]
    rows = -(-len(labels) // style.legend_columns(labels))
    drawing, axes = layout(names, verdicts[0] if alone else "", rows)
    length = max(run.epochs_passed(max(run.length, 1)) for run in runs)
    for name in names:
        area, (draw_panel, title, unit) = axes[name], PANELS[name]
        for run, colours in zip(runs, colours_of(runs)):
            draw_panel(area, run, colours, handles)
        area.set(title=title, xlabel="epoch", ylabel=unit)
        area.set_xlim(-0.02 * length, 1.02 * length)
        area.xaxis.set_major_locator(ticker.MaxNLocator(8, integer=length > 2))
        # The zero of small parts of an epoch, 0.0000, would meet the zero of the other axis.
        area.xaxis.set_major_formatter(lambda value, _: f"{value + 0.0:.6g}")
    if "loss" in axes:
        limit_loss(axes["loss"], runs)
        draw_findings(axes["loss"], runs[0], marked, handles)
    if "accuracy" in axes:
        axes["accuracy"].set_ylim(0, 103)
    style.legend_above(axes["legend"], handles)
    if alone:
        subject = f"{style.shortened(runs[0].name)} on {runs[0].data_title}"
    else:
        subject = f"{len(runs)} runs on {style.listed(list(dict.fromkeys(run.data_title for run in runs)))}"
    drawing.suptitle(f"{PANELS[only][1] if only else 'Learning curves'}: {subject}", x=0.01, ha="left")
    style.save(drawing, out)


def layout(names: list[str], text: str, rows: int):
    """(figure, {name: axes}) with the legend above, so many rows high, and the text below."""
    lines = style.wrapped(text, style.WIDTH - 0.8).count("\n") + 1 if text else 0
    above, below = 0.2 + 1.15 * style.LINE * rows, 0.1 + style.LINE * lines
    middle = style.HEIGHT - above - below - 0.6
    if len(names) == 1:
        drawing, grid = style.figure(3, 1, [above, middle, below])
        axes = {names[0]: grid[1, 0]}
    else:
        drawing, grid = style.figure(4, 2, [above, 0.7 * middle, 0.3 * middle, below])
        for spare in (grid[0, 1], grid[2, 1], grid[3, 1]):
            spare.remove()
        axes = {"loss": grid[1, 0], "accuracy": grid[1, 1], "rate": grid[2, 0]}
        axes["rate"].set_subplotspec(grid[2, 0].get_gridspec()[2, :])
    style.caption(grid[-1, 0], text, style.WIDTH - 0.8, left=0.01)
    return drawing, axes | {"legend": grid[0, 0]}


def colours_of(runs: list[Run]) -> list[tuple[str, str]]:
    """(train, test) of each run: alone two colours, overlaid one for each run."""
    if len(runs) == 1:
        return [(style.BLUE, style.ORANGE)]
    return [(colour, colour) for colour in (style.COLOURS * len(runs))[: len(runs)]]


def legend(runs: list[Run]) -> dict:
    """{label: handle} of what the lines are; findings and chance level come with the panels."""
    test = style.listed(list(dict.fromkeys(run.test_name for run in runs)))
    if len(runs) == 1:
        train_colour, test_colour = style.BLUE, style.ORANGE
        handles = {}
    else:
        train_colour = test_colour = "black"
        names = style.shortened_apart([run.name for run in runs], 32)
        handles = {
            f"{name}{result(run)}": Line2D([], [], color=colour, linewidth=4)
            for name, run, (colour, _) in zip(names, runs, colours_of(runs))
        }
    return handles | {
        "batches of training, smoothed": Line2D([], [], color=train_colour, linewidth=1),
        "train": Line2D([], [], color=train_colour, **TRAIN),
        test + (result(runs[0]) if len(runs) == 1 else ""): Line2D([], [], color=test_colour, **TEST),
    }


def chosen_epoch(run: Run) -> int | None:
    """The index of the evaluation that counts: the last, or on a validation set the best; None before the first."""
    accuracy = run.epochs["test_accuracy"]
    return None if not len(accuracy) else int(np.argmax(accuracy)) if run.has_validation else len(accuracy) - 1


def result(run: Run) -> str:
    """`, last epoch: 75.2 %`, after a part of an epoch `, step 20: 28.5 %`; on a validation set the best one's."""
    if (chosen := chosen_epoch(run)) is None:
        return ""
    moment = run.moment(chosen)
    which = f"best {moment}" if run.has_validation else moment if moment.startswith("step") else "last epoch"
    return f", {which}: {100 * run.epochs['test_accuracy'][chosen]:.1f} %"


def draw_measure(panel, run: Run, colours, column: str, scale: float, chance: float, handles: dict) -> None:
    """A column of steps.csv, smoothed, and the evaluations of the same quantity; a ring around the one that counts."""
    train_colour, test_colour = colours
    passed, values = run.epochs_passed(run.steps["step"]), scale * run.steps[column]
    panel.plot(*series.envelope(passed, values), color=train_colour, alpha=0.15, linewidth=0.6, rasterized=True)
    only = "o" * (len(values) == 1)  # a line of one point is none
    panel.plot(*series.envelope(passed, series.smoothed(values)), color=train_colour, linewidth=1, marker=only)
    at = run.epochs_passed(run.epochs["step"])
    every = max(len(at) // 20, 1)  # more markers would hide the line
    panel.plot(at, scale * run.epochs[f"train_{column}"], color=train_colour, markevery=every, **TRAIN)
    panel.plot(at, scale * run.epochs[f"test_{column}"], color=test_colour, markevery=every, **TEST)
    if (chosen := chosen_epoch(run)) is not None:
        value = scale * run.epochs[f"test_{column}"][chosen]
        panel.plot(at[chosen], value, "o", color=test_colour, markersize=18, markerfacecolor="none", markeredgewidth=2)
    handles[CHANCE] = panel.axhline(chance, color=style.GREY, linewidth=1.5, linestyle=":")
    lost = run.steps["step"][~np.isfinite(run.steps["loss"])]
    if len(lost):
        label = "the loss is not finite"
        handles[label] = panel.axvline(run.epochs_passed(lost[0]), color=train_colour, linewidth=3, alpha=0.5)


CHANCE = "chance level"


def draw_loss(panel, run: Run, colours, handles: dict) -> None:
    """Cross-entropy; at chance level it is ln K."""
    draw_measure(panel, run, colours, "loss", 1, -np.log(run.chance_level), handles)


def draw_accuracy(panel, run: Run, colours, handles: dict) -> None:
    """Accuracy; at chance level it is 1 / K."""
    draw_measure(panel, run, colours, "accuracy", 100, 100 * run.chance_level, handles)


def draw_rate(panel, run: Run, colours, handles: dict) -> None:
    """The learning rate of each step."""
    passed, rates = run.epochs_passed(run.steps["step"]), run.steps["learning_rate"]
    panel.plot(*series.envelope(passed, rates), color=colours[0], marker="o" * (len(rates) == 1))


# {name for --panel: (draw, title, label of the y axis)}
PANELS = {
    "loss": (draw_loss, "Loss", "cross-entropy (nats)"),
    "accuracy": (draw_accuracy, "Accuracy", "accuracy (%)"),
    "rate": (draw_rate, "Learning rate", "learning rate"),
}


def limit_loss(panel, runs: list[Run]) -> None:
    """Leave out the highest losses of the first steps, which would flatten the rest."""
    losses = np.concatenate([run.steps["loss"] for run in runs])
    evaluated = np.concatenate([run.epochs["test_loss"] for run in runs])
    losses, evaluated = losses[np.isfinite(losses)], evaluated[np.isfinite(evaluated)]
    if losses.size:
        highest = max(np.percentile(losses, 99.5), evaluated.max(initial=0))
        if highest > EXPLODED:
            panel.set_ylim(max(losses.min(), 0.1), 2 * min(losses.max(), 1e100))
            style.log_scale(panel)
        else:
            panel.set_ylim(0, 1.05 * highest or 1)


def findings(run: Run) -> list[tuple[str, int, str]]:
    """(label, step, severity) of the findings of analysis/diagnose.py that are worth a mark."""
    return [
        (f"{letter}: {name}, step {step:,}", step, severity)
        for letter, (step, name, severity) in zip(LETTERS, diagnose.marks(run))
    ]


def draw_findings(panel, run: Run, marked: list[tuple[str, int, str]], handles: dict) -> None:
    """A dashed line with a letter where each finding begins; the legend names it."""
    for i, (label, step, severity) in enumerate(marked):
        colour, x = style.SEVERITY_COLOURS[severity], run.epochs_passed(step)
        handles[label] = panel.axvline(x, color=colour, linewidth=1.5, linestyle="--")
        panel.annotate(
            label[0], (x, 0.97 - 0.08 * i), color=colour, fontweight="bold", xycoords=("data", "axes fraction"),
            xytext=(4, 0), textcoords="offset points", va="top", bbox={"facecolor": "white", "linewidth": 0, "pad": 1},
        )  # fmt: skip
