"""How is my run doing? Loss, accuracy and learning rate over the epochs, and a verdict in words.

    python analysis/curves.py                    the latest run
    python analysis/curves.py RUN1 RUN2          several, overlaid
    python analysis/curves.py --panel accuracy   one panel as a slide
    python analysis/curves.py --follow           redraw while training goes on

Train and test are measured with the same weights, both in evaluation mode: once on images that the network was
trained on, once on others. With --holdout the others are a validation set, and a best epoch may be chosen by it;
choosing by the test set would make its accuracy an estimate that is too high.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common, curves_figure
from analysis.support.run import Run, counted, runs_of
from core.run import run_folder

SECONDS_BETWEEN = 5  # with --follow


def verdict(run: Run) -> str:
    """What the numbers mean: where the run stands, the gap, whether it still improves, the best epoch.

    Differences are called differences only beyond two standard errors, SE = sqrt(p (1-p) / n).
    """
    steps, epochs = run.steps, run.epochs
    if not len(steps["step"]):
        if count := np.count_nonzero(epochs["step"]):
            return f"{run.name}: steps.csv holds no step although epochs.csv has {counted(count, 'evaluation')}."
        return f"{run.name}: no step yet."
    lost = np.flatnonzero(~np.isfinite(steps["loss"]))
    if lost.size:
        return (
            f"{run.name}: the loss is not finite from step {steps['step'][lost[0]]:,} on, and nothing was learned "
            "after it: try a third of the --learning-rate, or a longer --warmup."
        )
    if not len(epochs["epoch"]):
        return f"{run.name}: {counted(run.length, 'step')}, loss {steps['loss'][-1]:.4g}; no epoch is complete yet."
    test, train = 100 * epochs["test_accuracy"], 100 * epochs["train_accuracy"]
    error = 100 * run.standard_error(epochs["test_accuracy"][-1])
    length = duration(run, epochs["step"][-1])
    found = (
        f"{run.name}: after {length}, {run.test_name} accuracy {test[-1]:.1f} % ± "
        f"{error:.1f} on {run.data_title}, train {train[-1]:.1f} %"
    )
    if run.is_at_chance_level(epochs["test_accuracy"][-1]):
        return (
            f"{found}: chance level is {100 * run.chance_level:.0f} %, so nothing was learned that holds "
            "for new images. `python analysis/diagnose.py` looks for the cause."
        )
    sentences = [
        f"{found}, a gap of {train[-1] - test[-1]:z.1f} points.",
        *progress(run, test, error),
        *overfitting(run),
    ]
    return " ".join(sentences)


def duration(run: Run, steps: int) -> str:
    """`1 epoch`, `3 epochs`, or for a part of an epoch `20 steps`."""
    whole, rest = divmod(int(steps), run.steps_per_epoch)
    return counted(steps, "step") if rest else counted(whole, "epoch")


def gain(run: Run) -> tuple[float, str]:
    """(points gained over the last third of the evaluations, what that stretch is called); two evaluations at least.

    With --evaluate-every a third of the evaluations is not as many epochs: what is called is the time between them.
    """
    test, steps = 100 * run.epochs["test_accuracy"], run.epochs["step"]
    since = -1 - max(len(test) // 3, 1)
    return test[-1] - test[since], f"the last {duration(run, steps[-1] - steps[since]).removeprefix('1 ')}"


def progress(run: Run, test: np.ndarray, error: float) -> list[str]:
    """Whether the accuracy still rises and, on a validation set, which epoch was the best. test [E], error in %."""
    if len(test) < 2:
        return []
    gained, span = gain(run)
    if abs(gained) <= 2 * error:
        state = "No longer improving beyond noise"
    else:
        state = "Still improving" if gained > 0 else "Getting worse"
    found = [f"{state}: {gained:+.1f} points in {span}."]
    if run.has_validation:
        best = int(np.argmax(test))
        behind = test[best] - test[-1]
        if behind < 0.05:
            last = "epoch" if run.moment(-1).startswith("epoch") else "evaluation"
            found.append(f"The last {last} is the best one.")
        else:
            meaning = "more than noise" if behind > 2 * error else "within the noise of the evaluation"
            unit, number = run.moment(best).split()
            found.append(f"Best {unit}: {number} ({test[best]:.1f} %, {behind:.1f} points more: {meaning}).")
    return found


def overfitting(run: Run) -> list[str]:
    """A sentence if the test loss rises while the train loss falls. Needs finite losses."""
    test, train = run.epochs["test_loss"], run.epochs["train_loss"]
    if not (np.isfinite(test).all() and np.isfinite(train).all()):
        return [f"The {run.test_name} loss was not finite at some evaluation."]
    lowest = int(np.argmin(test))
    rise = 100 * (test[-1] - test[lowest]) / max(test[lowest], 1e-9)
    if rise <= 5 or train[-1] >= train[lowest]:
        return []
    size = f"{rise:.0f} %" if rise < 1000 else f"{test[-1] / max(test[lowest], 1e-9):.0e} times"
    return [
        f"Overfitting: {run.test_name} loss is {size} above its minimum of {run.moment(lowest)} while "
        "train loss decreased."
    ]


def main(args) -> None:
    """Draw, print the verdict, and with --follow do so again until every run is complete."""
    folders = list(dict.fromkeys(run_folder.find(name, args.runs_dir) for name in args.run or [None]))
    suffix = f"-{args.panel}" if args.panel else ""
    here = folders[0].with_name(f"overlay{suffix}.png") if len(folders) > 1 else folders[0] / f"curves{suffix}.png"
    out, printed = args.out or here, None
    while True:
        runs = runs_of(folders)
        verdicts = [verdict(run) for run in runs]
        curves_figure.draw(runs, verdicts, args.panel, out)
        if verdicts != printed:
            common.say(*verdicts, f"drawn    {out}")
        printed = verdicts
        if not args.follow or all(run.complete for run in runs):
            return
        time.sleep(SECONDS_BETWEEN)


def build_parser():
    """The command line."""
    where = "curves.png in the run's folder; overlay.png beside the first of several"
    parser = common.parser("curves", __doc__.splitlines()[0], several=True, figure=where)
    parser.add_argument("--follow", action="store_true", help="redraw every few seconds until training is over")
    names = tuple(curves_figure.PANELS)
    parser.add_argument(
        "--panel", metavar="NAME", choices=names, help=f"one panel as a slide: {', '.join(names)} [all in one figure]"
    )
    return parser


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
