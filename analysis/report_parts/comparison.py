"""Several runs in one page: which question they answer, the answer with its uncertainty, their curves overlaid."""

import itertools

import numpy as np

from analysis import compare, curves
from analysis.report_parts import chart
from analysis.report_parts.chart import Line
from analysis.report_parts.curves import AXES, chooser, positions
from analysis.report_parts.markup import escaped, figure, missing
from analysis.support import series, statistics
from analysis.support.predictions import Predictions
from analysis.support.run import Run
from core.run.errors import RunError

RUNS = 6  # colours of lines


def comparison(runs: list[Run], predictions: list[Predictions | Exception]) -> str:
    """The answer in words, then the curves. predictions: of each run, or why it has none."""
    try:
        answer = "".join(f"<p>{escaped(line)}</p>" for line in in_words(runs, predictions))
    except RunError as reason:  # other images, no evaluation yet, too many recipes
        answer = missing(f"which is better cannot be said: {reason}")
        answer += "".join(f"<p>{escaped(curves.verdict(run))}</p>" for run in runs)
    return answer + overlay(runs)


def in_words(runs: list[Run], predictions) -> list[str]:
    """The lines that analysis/compare.py prints, the verdict first. Raises RunError when the runs do not compare."""
    recipes = compare.recipes_of(runs)
    names, pairs = [recipe.name for recipe in recipes], list(itertools.combinations(recipes, 2))
    lines = [*compare.introduction(recipes), *compare.efficiency(recipes)]
    results = []
    if len(runs) == len(recipes):
        of_run = dict(zip((run.folder for run in runs), predictions))
        found = [of_run[recipe.runs[0].folder] for recipe in recipes]
        lacking = [(name, reason) for name, reason in zip(names, found) if isinstance(reason, Exception)]
        if lacking:
            return [*(f"McNemar's test is not possible: {name}: {reason}." for name, reason in lacking), *lines]
        results = [statistics.mcnemar(a.correct, b.correct) for a, b in itertools.combinations(found, 2)]
    else:
        for a, b in pairs:
            seeds = [seed for seed in a.accuracy if seed in b.accuracy]
            results.append(statistics.paired_difference(*([r.accuracy[seed] for seed in seeds] for r in (a, b))))
    verdicts = statistics.verdicts([(a.name, b.name, result) for (a, b), result in zip(pairs, results)])
    return [*verdicts[1::2], *verdicts[::2], *lines]


def overlay(runs: list[Run]) -> str:
    """Training loss, smoothed, and accuracy of every run."""
    runs = [run for run in runs if run.length][:RUNS]
    if not runs:
        return missing("no run has taken a step")
    axes = [axis for axis in AXES if all(axis in positions(run, run.steps["step"]) for run in runs)]
    usual, buttons = chooser(max(runs, key=lambda run: run.epochs_passed(run.length)), axes, "overlay")
    losses, accuracies = [], []
    for axis in axes:
        smooth = [(positions(run, run.steps["step"])[axis], series.smoothed(run.steps["loss"])) for run in runs]
        drawn = [Line(x, y, f"run{i}") for i, (x, y) in enumerate(smooth)]
        finite = np.concatenate([y[np.isfinite(y)] for _, y in smooth])
        ends = (0, 1.05 * np.percentile(finite, 99.5)) if len(finite) else (0, 1)
        last = "; ".join(f"{run.name} {y[-1]:.3g} nats" for run, (_, y) in zip(runs, smooth))
        text = f"Training loss, smoothed: {last}"
        losses.append(chart.lines(drawn, AXES[axis], "cross-entropy (nats)", text, ends))
        drawn = [
            Line(positions(run, run.epochs["step"])[axis], 100 * run.epochs["test_accuracy"], f"run{i}", run.name, True)
            for i, run in enumerate(runs)
            if len(run.epochs["step"])
        ]
        if drawn:
            text = "Accuracy: " + "; ".join(f"{line.name} {line.y[-1]:.1f} %" for line in drawn)
            accuracies.append(chart.lines(drawn, AXES[axis], f"{runs[0].test_name} accuracy (%)", text))
    keys = chart.legend([(f"run{i}", "", run.name) for i, run in enumerate(runs)])
    panels = [("Training loss, smoothed", losses), (f"{runs[0].test_name.capitalize()} accuracy", accuracies)]
    figures = "".join(
        figure("".join(f'<div class="by-{axis}">{svg}</div>' for axis, svg in zip(axes, svgs)), title)
        for title, svgs in panels
        if svgs
    )
    return f'<div data-axes="{usual}">{buttons}{keys}<div class="charts">{figures}</div></div>'
