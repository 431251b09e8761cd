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
        recipes = compare.recipes_of(runs)
    except RunError as reason:  # other images, no evaluation yet, too many recipes
        answer = missing(f"which is better cannot be said: {reason}")
        return answer + "".join(f"<p>{escaped(curves.verdict(run))}</p>" for run in runs) + overlay(runs)
    question, *facts = compare.introduction(recipes)
    verdicts, numbers = results(recipes, dict(zip((run.folder for run in runs), predictions)))
    cost = "".join(f"<li>{escaped(line)}</li>" for line in compare.efficiency(recipes))
    return (
        f'<p class="verdict">{escaped(question)} {escaped(" ".join(verdicts))}</p>'
        + "".join(f"<p>{escaped(line)}</p>" for line in numbers)
        + f"<ul>{''.join(f'<li>{escaped(line.strip())}</li>' for line in facts)}</ul>"
        + f"<details><summary>Accuracy per second, per parameter, per operation</summary><ul>{cost}</ul></details>"
        + overlay(runs)
    )


def results(recipes: list, predictions: dict) -> tuple[list[str], list[str]]:
    """(verdicts, the numbers behind them), a sentence each, as analysis/compare.py prints them.

    predictions: {folder of a run: its predictions, or the exception that says why it has none}.
    """
    names, pairs = [recipe.name for recipe in recipes], list(itertools.combinations(recipes, 2))
    if sum(len(recipe.runs) for recipe in recipes) == len(recipes):  # networks
        found = [predictions[recipe.runs[0].folder] for recipe in recipes]
        lacking = [f"{name}: {reason}." for name, reason in zip(names, found) if isinstance(reason, Exception)]
        if lacking:
            return [], ["McNemar's test needs the predictions of both networks.", *lacking]
        compared = [statistics.mcnemar(a.correct, b.correct) for a, b in itertools.combinations(found, 2)]
    else:
        compared = []
        for a, b in pairs:
            seeds = [seed for seed in a.accuracy if seed in b.accuracy]
            compared.append(statistics.paired_difference(*([r.accuracy[seed] for seed in seeds] for r in (a, b))))
    lines = statistics.verdicts([(a.name, b.name, result) for (a, b), result in zip(pairs, compared)])
    return lines[1::2], lines[::2]


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
