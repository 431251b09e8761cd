"""The first sections: the verdict in words with its numbers, and what the diagnosis found."""

import numpy as np

from analysis import curves, diagnose
from analysis.diagnosis.experiments import EXPERIMENTS, again, run_argument
from analysis.diagnosis.experiments import command as command_line
from analysis.report_parts.markup import command, escaped
from analysis.support import statistics, style
from analysis.support.predictions import percent
from analysis.support.run import NotMeasured, Run, counted
from core.run import terminal

OVERFITTING = 0.1  # between train and test accuracy; the same as in terminal.advice


def verdict(run: Run, diagnosis) -> str:
    """What the numbers mean, the numbers, and what to change next."""
    if not run.complete:
        state = f"not complete: {run.length:,} of {counted(run.total_steps, 'step')} taken"
        note = f'<p class="careful">This run is {escaped(state)}. What follows is about the part that is there.</p>'
    else:
        note = ""
    found, change = escaped(curves.verdict(run)), next_change(run, diagnosis)
    return f'<p class="verdict">{found}</p>{note}{tiles(run)}<div class="next"><b>Next.</b> {change}</div>'


def tiles(run: Run) -> str:
    """The numbers of the last evaluation, each with its name and its uncertainty or unit."""
    epochs, shown = run.epochs, []
    if len(epochs["step"]):
        n, accuracy = run.test_images, float(epochs["test_accuracy"][-1])
        low, high = statistics.wilson(round(accuracy * n), n)
        error = 100 * run.standard_error(accuracy)
        shown += [
            (
                f"{run.test_name} accuracy",
                f"{100 * accuracy:.1f} % ± {error:.1f}",
                f"{n:,} images; 95 % interval {100 * low:.1f} to {100 * high:.1f}",
            ),
            ("train accuracy", percent(epochs["train_accuracy"][-1]), "in evaluation mode, the same weights"),
            (f"{run.test_name} loss", f"{epochs['test_loss'][-1]:.3f}", "nats; chance level "
             f"{-np.log(run.chance_level):.3f}"),
        ]  # fmt: skip
        ece = epochs["test_calibration_error"][-1]
        if np.isfinite(ece):
            shown.append(("calibration error", f"{ece:.3f}", "ECE; 0 is calibrated"))
    try:
        _, values = run.of_network("test_accuracy_tta")
        shown.append(("with TTA", percent(values[-1]), "the mean over six views of each image"))
    except NotMeasured:
        pass
    shown.append(("length", counted(run.length, "step"), f"{run.epochs_passed(run.length):.3g} epochs"))
    try:
        shown.append(("time in steps", duration(float(run.timing["step_seconds"].sum())), "evaluation not included"))
    except NotMeasured:
        pass
    for what, name, unit in (
        ("parameters", "parameter_count", "learned numbers"),
        ("forward pass", "forward_flops_per_image", "operations an image"),
    ):
        try:
            shown.append((what, in_thousands(run.fact(name)), unit))
        except NotMeasured:
            pass
    return (
        '<dl class="tiles">'
        + "".join(
            f"<div><dt>{escaped(what)}</dt><dd>{escaped(value)}<small>{escaped(unit)}</small></dd></div>"
            for what, value, unit in shown
        )
        + "</dl>"
    )


def duration(seconds: float) -> str:
    """`48 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def in_thousands(number: int) -> str:
    """`357 k`, `21.3 M`."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number:,}"


def next_change(run: Run, diagnosis) -> str:
    """What to try: the experiment of the first cause that was found, else what the two accuracies advise."""
    causes = [finding for finding in diagnosis.findings if not finding.explained_by and finding.severity != "note"]
    if causes:
        first = causes[0]
        text = f"{first.title}: {first.experiment}"
        return escaped(text) + (command(first.command, "the experiment") if first.command else "")
    if not run.complete:
        return "Let the run end, then read on: " + command(resume(run), "continue the run")
    train, test = (float(run.epochs[f"{name}_accuracy"][-1]) for name in ("train", "test"))
    if train - test <= OVERFITTING and len(run.epochs["step"]) > 1:
        gained, span = curves.gain(run)
        if gained > 2 * 100 * run.standard_error(test):
            text = f"Train longer: the {run.test_name} accuracy rose by {gained:.1f} points in {span}"
            line = longer(run)
            return escaped(text) + (":" + command(line, "a longer run") if line else ".")
    option = "--steps" if run.config["settings"].get("steps") else "--epochs"
    text = terminal.advice(train, test, run.test_images, round(1 / run.chance_level), option)
    return escaped(text[0].upper() + text[1:]) + "."


def longer(run: Run) -> str:
    """The command of a run that is twice as long; "" if this version cannot train it."""
    if run.config["settings"].get("steps"):
        line = again(run, steps=2 * run.total_steps)
    else:
        line = again(run, epochs=2 * -(-run.total_steps // run.steps_per_epoch))
    return line.removesuffix(f" --runs-dir {EXPERIMENTS}")


def resume(run: Run) -> str:
    """The command that continues this run."""
    where = () if str(run.folder.parent) == "runs" else ("--runs-dir", run.folder.parent)
    return command_line("train_loop.py", "--run", run.folder.name, "--resume", *where)


def findings(run: Run, diagnosis) -> str:
    """Every finding with its evidence, alternatives, experiment and the command that replays its step."""
    head = f"<p>{escaped(diagnose.headline(run, diagnosis))}</p>"
    found = "".join(one_finding(finding) for finding in diagnosis.findings)
    order = ", ".join(diagnosis.in_order) or "nothing could be checked"
    reasons = {}
    for name, reason in diagnosis.not_checked.items():
        reasons.setdefault(reason, []).append(name)
    lacking = "".join(
        f"<li>{escaped(style.listed(names))}: {escaped(reason)}</li>" for reason, names in reasons.items()
    )
    lacking = f"<p>Not checked:</p><ul>{lacking}</ul>" if lacking else ""
    replay = command_line("analysis/replay.py", run_argument(run), "--step", max(run.length, 1))
    return (
        f"{head}{found}<details><summary>What is in order, what could not be checked</summary><p>In order: "
        f"{escaped(order)}.</p>{lacking}</details>"
        f"<p>Any step can be taken again, exactly, and looked at from inside; the last one:</p>"
        f"{command(replay, 'replay the last step')}"
    )


def one_finding(finding) -> str:
    """A finding as a card, its severity in a word and a colour."""
    since = f"since step {finding.step:,}" if finding.step else "from the start"
    because = f"<p>{escaped(finding.explained_by)} would cause this, see there.</p>" if finding.explained_by else ""
    parts = [
        ("Evidence", "".join(f"<li>{escaped(sentence)}</li>" for sentence in finding.evidence)),
        ("It could also be", "".join(f"<li>{escaped(other)}</li>" for other in finding.alternatives)),
    ]
    lists = "".join(f"<h4>{title}</h4><ul>{items}</ul>" for title, items in parts if items)
    experiment = f"<h4>Experiment</h4><p>{escaped(finding.experiment)}</p>" if finding.experiment else ""
    commands = command(finding.command, f"the experiment for {finding.id}") if finding.command else ""
    return (
        f'<article class="finding {escaped(finding.severity)}"><h3><span class="severity">{escaped(finding.severity)}'
        f"</span> {escaped(finding.title)}</h3><p><code>{escaped(finding.id)}</code>, {escaped(since)}</p>{because}"
        f"<details><summary>evidence and experiment</summary>{lists}{experiment}{commands}"
        f"<p>Read: {escaped(finding.read)}</p></details>"
        f"<h4>Replay its step</h4>{command(finding.replay, f'replay the step of {finding.id}')}</article>"
    )
