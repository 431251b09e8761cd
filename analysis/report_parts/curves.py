"""The learning curves: raw values under smoothed ones, over steps, epochs or seconds."""

import numpy as np

from analysis import diagnose
from analysis.report_parts import chart
from analysis.report_parts.chart import Line, Mark
from analysis.report_parts.markup import escaped, figure, table
from analysis.support import series
from analysis.support.run import NotMeasured, Run

LETTERS = "ABCDEFGH"
EXPLODED = 50  # nats; a higher loss is drawn on a logarithmic axis
AXES = {"step": "step", "epoch": "epoch", "seconds": "seconds in steps and probes, evaluations left out"}


def elapsed(run: Run, steps: np.ndarray) -> np.ndarray | None:
    """Seconds spent in steps and probes until each of these steps; None if they were not recorded."""
    try:
        timing = run.timing
    except NotMeasured:
        return None
    if not len(timing["step"]):
        return None
    spent = np.cumsum(timing["step_seconds"] + np.nan_to_num(timing["probe_seconds"]))
    return np.interp(steps, timing["step"], spent)


def positions(run: Run, steps: np.ndarray) -> dict[str, np.ndarray]:
    """These steps on each x axis that the run has."""
    found = {"step": steps.astype(np.float64), "epoch": run.epochs_passed(steps)}
    seconds = elapsed(run, steps)
    return found if seconds is None else found | {"seconds": seconds}


def chooser(run: Run, axes, name: str) -> str:
    """Radio buttons for the x axis; the epoch is chosen where there are several."""
    usual = "epoch" if run.epochs_passed(run.length) > 2 else "step"
    buttons = "".join(
        f'<label><input type="radio" class="x" name="{name}x" value="{axis}"{" checked" * (axis == usual)}> {axis}'
        "</label>"
        for axis in axes
    )
    return usual, f'<fieldset class="choice"><legend>x axis</legend>{buttons}</fieldset>'


def curves(run: Run, name: str) -> str:
    """Loss, accuracy and learning rate; raises NotMeasured before the first step."""
    run.need_steps(1)
    at, at_evaluations = positions(run, run.steps["step"]), positions(run, run.epochs["step"])
    marks = diagnose.marks(run)
    usual, buttons = chooser(run, at, name)
    parts = {
        "Loss": [loss(run, at[axis], at_evaluations[axis], axis, marks) for axis in at],
        "Accuracy": [accuracy(run, at[axis], at_evaluations[axis], axis, marks) for axis in at],
        "Learning rate": [rate(run, at[axis], axis) for axis in at],
        "Gradient norm": [gradient_norm(run, at[axis], axis) for axis in at],
    }
    keys = [("train raw", "", "batches, raw"), ("train", "", "batches, smoothed")]
    if len(run.epochs["step"]):
        keys += [("train evaluated", "", "train, evaluated"), ("test", "", f"{run.test_name}, evaluated")]
    keys.append(("level", "", "chance level"))
    drawn = "".join(
        figure("".join(f'<div class="by-{axis}">{svg}</div>' for axis, svg in zip(at, svgs)), title)
        for title, svgs in parts.items()
    )
    named = "".join(
        f"<li><b>{letter}</b> {escaped(finding)}, step {step:,} ({escaped(severity)})</li>"
        for letter, (step, finding, severity) in zip(LETTERS, marks)
    )
    named = f'<ul class="marks">{named}</ul>' if named else ""
    return (
        f'<div data-axes="{usual}">{buttons}{chart.legend(keys)}<div class="charts">{drawn}</div></div>{named}'
        f"<details><summary>The evaluations as a table</summary>{evaluations(run)}</details>"
    )


def drawn_lines(run: Run, column: str, scale: float, x: np.ndarray, at: np.ndarray) -> list[Line]:
    """Raw and smoothed values of the batches, and the evaluations of the same quantity."""
    raw, epochs = scale * run.steps[column], run.epochs
    found = [Line(x, raw, "train raw"), Line(x, series.smoothed(raw), "train")]
    if len(at):
        found += [
            Line(at, scale * epochs[f"train_{column}"], "train evaluated", f"train {column}", True),
            Line(at, scale * epochs[f"test_{column}"], "test", f"{run.test_name} {column}", True),
        ]
    return found


def of_axis(run: Run, step: int, axis: str) -> float:
    """A step on an x axis."""
    return float(positions(run, np.array([step]))[axis][0])


def placed(run: Run, marks, axis: str) -> list[Mark]:
    """The findings on an x axis."""
    return [
        Mark(of_axis(run, step, axis), letter, severity, f"{finding}, step {step:,}")
        for letter, (step, finding, severity) in zip(LETTERS, marks)
    ]


def loss(run: Run, x, at, axis: str, marks) -> str:
    """Cross-entropy; the highest values of the first steps are left out, or the axis is logarithmic."""
    losses = run.steps["loss"]
    finite = losses[np.isfinite(losses)]
    evaluated = run.epochs["test_loss"][np.isfinite(run.epochs["test_loss"])]
    if not len(finite):
        raise NotMeasured("the loss was not finite at any step")
    highest, log = max(np.percentile(finite, 99.5), evaluated.max(initial=0)), False
    ends = (0, 1.05 * highest or 1)
    if highest > EXPLODED:
        ends, log = (max(finite.min(), 0.1), 2 * min(finite.max(), 1e100)), True
    text = f"Loss over {AXES[axis]}: first batch {losses[0]:.3g}, last batch {losses[-1]:.3g} nats"
    if len(at):
        text += f"; last evaluation: train {run.epochs['train_loss'][-1]:.3g}, {run.test_name} "
        text += f"{run.epochs['test_loss'][-1]:.3g} nats"
    return chart.lines(
        drawn_lines(run, "loss", 1, x, at), AXES[axis], "cross-entropy (nats)", text, ends, log,
        placed(run, marks, axis), (-np.log(run.chance_level),),
    )  # fmt: skip


def accuracy(run: Run, x, at, axis: str, marks) -> str:
    """Accuracy in percent."""
    text = f"Accuracy over {AXES[axis]}: last batch {100 * run.steps['accuracy'][-1]:.0f} %"
    if len(at):
        text += f"; last evaluation: train {100 * run.epochs['train_accuracy'][-1]:.1f} %, {run.test_name} "
        text += f"{100 * run.epochs['test_accuracy'][-1]:.1f} %"
    return chart.lines(
        drawn_lines(run, "accuracy", 100, x, at), AXES[axis], "accuracy (%)", text, (0, 100), False,
        placed(run, marks, axis), (100 * run.chance_level,),
    )  # fmt: skip


def rate(run: Run, x, axis: str) -> str:
    """The learning rate of each step."""
    values = run.steps["learning_rate"]
    text = f"Learning rate over {AXES[axis]}: highest {values.max():.3g}, at the last step {values[-1]:.3g}"
    return chart.lines([Line(x, values, "train")], AXES[axis], "learning rate", text, (0, 1.05 * values.max() or 1))


def gradient_norm(run: Run, x, axis: str) -> str:
    """The norm of the whole gradient of each batch."""
    raw = run.steps["gradient_norm"]
    smooth, positive = series.smoothed(raw), raw[np.isfinite(raw) & (raw > 0)]
    ends = (positive.min(), positive.max()) if len(positive) else (0.1, 1)
    text = f"Gradient norm over {AXES[axis]}: first batch {raw[0]:.3g}, at the last step {smooth[-1]:.3g}, smoothed"
    drawn = [Line(x, raw, "train raw"), Line(x, smooth, "train")]
    return chart.lines(drawn, AXES[axis], "gradient norm (nats)", text, ends, log=True)


def evaluations(run: Run) -> str:
    """epochs.csv in words of the field."""
    columns = [f"{part}_{what}" for what in ("loss", "accuracy") for part in ("train", "test")]
    rows = [
        (f"{step:,}", f"{run.epochs_passed(step):.3g}", *(f"{run.epochs[name][i]:.4g}" for name in columns))
        for i, step in enumerate(run.epochs["step"].tolist())
    ]
    if not rows:
        return "<p>No evaluation yet: the first one comes at the end of an epoch.</p>"
    names = [name.replace("_", " ").replace("test", run.test_name) for name in columns]
    return table(rows, ("step", "epoch", *names))
