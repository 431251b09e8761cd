"""The figures of analysis/compare.py: curves of recipes with bands of seeds; images on which two networks differ."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.support import series, style
from analysis.support.run import NotMeasured, Run

SHOWN = 7  # images in a row of the sheet
IMAGES = "images"  # the panel that takes two networks
RAW = 1000  # points of a loss curve


@dataclass(frozen=True)
class Panel:
    """One part of the figure; {test} stands for the name of the images that evaluate."""

    title: str
    x: str
    y: str
    loss: bool = False  # else the accuracy
    time: bool = False  # else over epochs


PANELS = {
    "loss": Panel("Training loss, smoothed", "epochs", "cross-entropy (nats)", loss=True),
    "accuracy": Panel("{test} accuracy", "epochs", "{test} accuracy (%)"),
    "time": Panel("Accuracy against time", "seconds of training", "{test} accuracy (%)", time=True),
}


def draw(recipes: list, title: str, out: Path, only: str | None = None) -> None:
    """Training loss and test accuracy over epochs, test accuracy over seconds: the means of the seeds, and bands.

    recipes: each has a name and runs. only: the one of PANELS that is drawn.
    """
    chosen = [PANELS[only]] if only else list(PANELS.values())
    drawing, (areas,) = style.figure(1, len(chosen))
    test, handles = recipes[0].runs[0].test_name, {}
    names = style.shortened_apart([recipe.name for recipe in recipes], 60)
    for panel, area in zip(chosen, areas):
        for name, recipe, colour, marker in zip(names, recipes, style.COLOURS, "os^Dv"):
            evaluated = functools.reduce(np.intersect1d, (run.epochs["step"] for run in recipe.runs))
            lines = [curve(run, panel, evaluated) for run in recipe.runs]
            shared = min(len(x) for x, _ in lines)  # an unfinished run is shorter
            some = slice(0, shared, max(shared // RAW, 1))
            x, y = np.mean([x[some] for x, _ in lines], axis=0), np.array([y[some] for _, y in lines])  # [n], [k,n]
            mark = "" if panel.loss else marker
            (line,) = area.plot(x, y.mean(axis=0), color=colour, marker=mark, markersize=9)
            area.fill_between(x, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.2, linewidth=0)
            handles[name] = line
        area.set(title=panel.title.format(test=test.capitalize()), xlabel=panel.x, ylabel=panel.y.format(test=test))
    if any(len(recipe.runs) > 1 for recipe in recipes):
        handles["band: lowest to highest seed"] = area.fill_between([], [], color=style.GREY, alpha=0.3, linewidth=0)
    drawing.legend(handles.values(), handles, loc="outside lower left", ncols=style.legend_columns(handles))
    drawing.suptitle(style.wrapped(title, 10.5), x=0.01, ha="left")
    style.save(drawing, out)


def curve(run: Run, panel: Panel, evaluated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x [n], y [n]) of one run: its smoothed loss over epochs, or its accuracy in % over epochs or seconds.

    evaluated: the steps after which all runs of its recipe were; with --evaluate-every one has more of them.
    """
    if panel.loss:
        return run.steps["step"] / run.steps_per_epoch, series.smoothed(run.steps["loss"])
    kept = np.isin(run.epochs["step"], evaluated)
    x = seconds_at_evaluations(run) if panel.time else run.epochs["step"] / run.steps_per_epoch
    return x[kept], 100 * run.epochs["test_accuracy"][kept]


def seconds_at_evaluations(run: Run) -> np.ndarray:
    """Seconds spent in steps and probes until each evaluation, evaluations left out; NaN if not recorded. [E]"""
    try:
        spent = np.cumsum(run.timing["step_seconds"] + np.nan_to_num(run.timing["probe_seconds"]))
        return np.interp(run.epochs["step"], run.timing["step"], spent)
    except (NotMeasured, ValueError):  # no timing.csv, or no row in it
        return np.full(len(run.epochs["step"]), np.nan)


def draw_images(names: list[str], data, found: list[np.ndarray], out: Path) -> None:
    """The images that only one of two networks predicts correctly; those with the largest difference come first."""
    labels, classes = data.test_labels, data.class_names
    of_true_class = [p[np.arange(len(labels)), labels] for p in found]  # probabilities, [N] each
    right = [p.argmax(axis=1) == labels for p in found]
    drawing, axes = style.figure(2, SHOWN)
    for panels, one, other in ((axes[0], 0, 1), (axes[1], 1, 0)):
        only = np.flatnonzero(right[one] & ~right[other])
        only = only[np.argsort((of_true_class[other] - of_true_class[one])[only], kind="stable")]
        heading = f"{names[one]} correct, {names[other]} wrong: {len(only):,} images"
        panels[0].text(0, 1.4, heading, transform=panels[0].transAxes, weight="bold").set_in_layout(False)
        for panel in panels:
            panel.set_axis_off()
            panel.set_box_aspect(1)
        for panel, i in zip(panels, only):
            panel.imshow(data.test_images[i], interpolation="nearest")
            title = f"{classes[labels[i]]}\n→ {classes[found[other][i].argmax()]}"
            panel.set_title(title, fontsize=style.TEXT, fontweight="normal")
    kind = "Validation" if data.holdout else "Test"
    drawing.suptitle(f"{kind} images on which the networks differ: true class → wrong prediction", x=0.01, ha="left")
    style.save(drawing, out)
