"""How is my run doing? Loss, accuracy and learning rate over the run, and a verdict in words.

    python analysis/curves.py                 the latest run
    python analysis/curves.py RUN1 RUN2       several, overlaid
    python analysis/curves.py --follow        redraw while training goes on

Train and test are measured on the same weights, both in evaluation mode: the same evaluation, once
with questions seen before and once with new ones.
"""

import math
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis import diagnose
from analysis.support import common
from analysis.support.run import Run, counted
from core.run import run_folder

SECONDS_BETWEEN = 5  # with --follow
MARK_COLOURS = {"red": "#c00000", "amber": "#b8860b"}
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")


def verdict(run: Run) -> str:
    """What the numbers say: where it stands, the gap, still improving or not, the best epoch.

    Differences are called differences only beyond two standard errors, SE = sqrt(p (1-p) / n).
    """
    steps, epochs = run.steps, run.epochs
    if not len(steps["step"]):
        return f"{run.name}: no step yet."
    lost = np.flatnonzero(~np.isfinite(steps["loss"]))
    if lost.size:
        return (
            f"{run.name}: the loss was no longer a number at step {steps['step'][lost[0]]:,}. Nothing after it was "
            "learned: try a third of the --learning-rate, or a longer --warmup."
        )
    if not len(epochs["epoch"]):
        return f"{run.name}: {steps['step'][-1]:,} steps, loss {steps['loss'][-1]:.3f}; no epoch is complete yet."
    last, n = -1, run.config["data"]["test_images"]
    test, train = epochs["test_accuracy"], epochs["train_accuracy"]
    error = 100 * math.sqrt(test[last] * (1 - test[last]) / n)
    gap = 100 * (train[last] - test[last])
    best = int(np.argmax(test))
    args = [
        f"{run.name}: after {counted(epochs['epoch'][last], 'epoch')}, {run.test_name} accuracy {100 * test[last]:.1f} "
        f"% ± {error:.1f} on {run.data_title}, train {100 * train[last]:.1f} %: a gap of {gap:.1f} points"
        + (", none to speak of." if gap < 2 else "." if gap < 10 else ": it also learns its pictures by heart.")
    ]
    if len(test) > 1:
        behind = 100 * (test[best] - test[last])
        if best == len(test) - 1 or behind < 0.05:
            args.append("The last epoch is the best one so far.")
        else:
            meaning = "a real loss" if behind > 2 * error else "within the noise of the evaluation"
            args.append(
                f"Best epoch: {epochs['epoch'][best]} ({100 * test[best]:.1f} %), {behind:.1f} points more, {meaning}."
            )
        since = max(len(test) // 3, 1)
        gained = 100 * (test[last] - test[last - since])
        if gained > 2 * error:
            args.append(f"Still improving: {gained:+.1f} points in the last {counted(since, 'epoch')}.")
        else:
            args.append(
                f"No longer improving beyond noise: {gained:+.1f} points in the last {counted(since, 'epoch')}."
            )
        turn = int(np.argmin(epochs["test_loss"]))
        rise = 100 * (epochs["test_loss"][last] / epochs["test_loss"][turn] - 1)
        if rise > 5 and epochs["train_loss"][last] < epochs["train_loss"][turn]:
            args.append(
                f"Overfitting: {run.test_name} loss is {rise:.0f} % above its minimum of epoch {epochs['epoch'][turn]} "
                "while train loss fell."
            )
    return " ".join(args)


def draw(found: list[Run], out: Path) -> None:
    """Three panels: loss, accuracy, learning rate, against epochs; the verdicts under them."""
    drawing, axes = common.figure(1, 3, width=15, height=5.2)
    loss, accuracy, rate = axes[0]
    for run, colour in zip(found, COLOURS * len(found)):
        # Alone, a run shows train and test in two colours; overlaid, each run has one colour.
        label, test_colour = (f"{run.name}: ", colour) if len(found) > 1 else ("", COLOURS[1])
        passed = run.steps["step"] / run.steps_per_epoch  # epochs passed after each step
        for panel, column in ((loss, "loss"), (accuracy, "accuracy")):
            scale = 100 if column == "accuracy" else 1
            values = scale * run.steps[column]
            panel.plot(*common.envelope(passed, values), color=colour, alpha=0.15, linewidth=0.6, rasterized=True)
            line = common.envelope(passed, common.smoothed(values))
            panel.plot(*line, color=colour, linewidth=0.9, label=f"{label}batches, smoothed")
            at = run.epochs["step"] / run.steps_per_epoch
            marked = max(len(at) // 40, 1)  # more marks would hide the line
            panel.plot(
                at, scale * run.epochs[f"train_{column}"], "o--", color=colour, markersize=4, markevery=marked,
                label=f"{label}train",
            )  # fmt: skip
            panel.plot(
                at, scale * run.epochs[f"test_{column}"], "s-", color=test_colour, markersize=5, linewidth=2.2,
                markeredgecolor="black", markevery=marked, label=f"{label}{run.test_name}",
            )  # fmt: skip
        if len(run.epochs["step"]):
            best = int(np.argmax(run.epochs["test_accuracy"]))
            accuracy.annotate(
                f"best {100 * run.epochs['test_accuracy'][best]:.1f} %",
                (at[best], 100 * run.epochs["test_accuracy"][best]), xytext=(0, -26), textcoords="offset points",
                ha="center", color=test_colour, arrowprops={"arrowstyle": "-", "color": test_colour},
            )  # fmt: skip
        for step in run.steps["step"][~np.isfinite(run.steps["loss"])][:1]:
            for panel in (loss, accuracy):
                panel.axvline(step / run.steps_per_epoch, color="red", linestyle=":", label=f"{label}not a number")
        rate.plot(*common.envelope(passed, run.steps["learning_rate"]), color=colour, label=run.name)
    finite = np.concatenate([run.steps["loss"][np.isfinite(run.steps["loss"])] for run in found] or [np.empty(0)])
    if finite.size:  # the first wild steps must not squash the rest of the picture
        highest = max([np.percentile(finite, 99.5), *(run.epochs["test_loss"].max(initial=0) for run in found)])
        loss.set_ylim(0, 1.05 * highest)
    if len(found) == 1:
        draw_marks(loss, found[0])
    loss.set(title="Loss", xlabel="epochs", ylabel="cross-entropy (nats)")
    accuracy.set(title="Accuracy", xlabel="epochs", ylabel="%")
    rate.set(title="Learning rate", xlabel="epochs", ylabel="learning rate")
    accuracy.set_ylim(0, 100)
    loss.axhline(math.log(10), color="grey", linewidth=0.8, linestyle=":")
    loss.annotate(
        "guessing: ln 10",
        (0.99, math.log(10)),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        color="grey",
    )
    for panel in (loss, accuracy, *([rate] if len(found) > 1 else [])):
        panel.legend(fontsize="small", frameon=False)
    drawing.suptitle(", ".join(dict.fromkeys(f"{run.name} on {run.data_title}" for run in found)), fontsize="large")
    drawing.supxlabel("\n".join(wrapped(verdict(run), 200) for run in found), fontsize="medium", x=0.01, ha="left")
    common.save(drawing, out)


def draw_marks(panel, run: Run) -> None:
    """A thin line where each finding of analysis/diagnose.py begins, its name written along it."""
    at_step = {}
    for step, name, severity in diagnose.marks(run):
        at_step.setdefault(step, []).append((name, severity))
    for step, named in at_step.items():
        colour = MARK_COLOURS[named[0][1]]  # the worst comes first
        panel.axvline(step / run.steps_per_epoch, color=colour, linewidth=0.9, linestyle="--")
        panel.annotate(
            ", ".join(name for name, _ in named), (step / run.steps_per_epoch, 0.02), color=colour, fontsize="small",
            xycoords=("data", "axes fraction"), xytext=(2, 0), textcoords="offset points", rotation=90, va="bottom",
        )  # fmt: skip


def wrapped(text: str, width: int) -> str:
    """`text` in lines of at most `width` characters."""
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


def main(args) -> None:
    """Draw, say the verdict, and with --follow do so again until every run is complete."""
    folders = [run_folder.find(name, args.runs_dir) for name in args.run or [None]]
    out = args.out or folders[-1] / "curves.png"
    said = None
    while True:
        found = [Run(folder) for folder in folders]
        draw(found, out)
        says = "\n".join(verdict(run) for run in found)
        if says != said:
            print(says, f"drawn    {out}", sep="\n", flush=True)
        said = says
        if not args.follow or all(run.complete for run in found):
            return
        time.sleep(SECONDS_BETWEEN)


if __name__ == "__main__":
    command_line = common.parser("curves", __doc__.splitlines()[0], several=True)
    command_line.add_argument("--follow", action="store_true", help="redraw every few seconds until training is over")
    common.answer(main, command_line.parse_args())
