"""What is wrong with my run, how do we know, and what tells? Findings, most important first.

    python analysis/diagnose.py               the latest run
    python analysis/diagnose.py RUN --json    for programs
    python analysis/diagnose.py --summary     a few lines: what `make train` ends with

Reads a run's files only: no TensorFlow, an answer in a second or two. Rules and thresholds are in
detectors/, rival explanations and experiments in advice.py.
"""

import dataclasses
import json
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common
from analysis.diagnosis.advice import ADVICE, place
from analysis.diagnosis.detectors import DETECTORS
from analysis.diagnosis.detectors.finding import Finding
from analysis.support.run import NotMeasured, Run, counted
from core.run import run_folder

WIDTH, MARGIN = 110, " " * 17  # of the report
SEVERITIES = ("red", "amber", "note")  # the worst first
MOST_MARKS = 5  # in a picture

# What brings about what: {consequence: its possible causes}. Causes stand earlier in DETECTORS.
BAD_START = ("zero-start", "loud-pictures", "large-start")
BROKEN_STEP = (*BAD_START, "no-gradient", "frozen-clock", "frozen-layer", "uphill", "shrinking-weights",
               "rate-high")  # fmt: skip
CAUSES = {
    "bad-start": BAD_START,
    "exploding": (*BAD_START, "uphill", "rate-high"),
    "divergence": (*BAD_START, "frozen-clock", "uphill", "rate-high"),
    "non-finite": (*BAD_START, "frozen-clock", "uphill", "rate-high", "exploding", "divergence"),
    "spike": ("rate-high", "divergence"),
    "dying-relu": (*BAD_START, "frozen-clock", "rate-high", "divergence"),
    "vanishing": ("zero-start", "no-gradient", "shrinking-weights", "dying-relu", "double-softmax"),
    "rate-low": ("zero-start", "frozen-clock", "double-softmax", "vanishing"),
    "rate-high": (*BAD_START, "frozen-clock", "uphill", "shrinking-weights"),
    "frozen-layer": ("zero-start",),
    "no-signal": (*BROKEN_STEP, "divergence", "dying-relu", "vanishing", "rate-low"),
    "memorising-noise": ("swapped-labels", "evaluation-mode"),
    "suspicious-test": ("leak", "evaluation-mode"),
    "collapse": ("missing-class", *BROKEN_STEP, "evaluation-mode", "divergence", "dying-relu", "vanishing", "rate-low",
                 "no-signal", "memorising-noise"),
    "ignored-class": ("missing-class", *BROKEN_STEP, "double-softmax", "evaluation-mode", "divergence", "dying-relu",
                      "vanishing", "rate-low", "no-signal", "collapse"),
    "oscillation": ("evaluation-mode", "rate-high"),
    "overfit": ("leak", "swapped-labels", "memorising-noise"),
    "plateau": (*BROKEN_STEP, "double-softmax", "divergence", "dying-relu", "vanishing", "rate-low", "no-signal",
                "collapse"),
    "underfit": (*BROKEN_STEP, "double-softmax", "divergence", "dying-relu", "vanishing", "rate-low", "no-signal",
                 "non-finite", "collapse", "oscillation"),
}  # fmt: skip


@dataclass(frozen=True)
class Examination:
    """All that was looked at: what was found, what was found in order, what could not be looked at and why."""

    findings: tuple[Finding, ...]  # most important first
    in_order: tuple[str, ...]
    not_checked: dict[str, str]  # {id: reason}


def evaluate(run: Run) -> Examination:
    """Ask every detector; rank what they found and add the advice."""
    found, in_order, not_checked = {}, [], {}
    for name, detector in DETECTORS.items():
        try:
            with np.errstate(all="ignore"):  # a run that went wrong is full of NaN and infinity
                finding = detector(run)
        except NotMeasured as reason:
            not_checked[name] = str(reason)
            continue
        if finding is None:
            in_order.append(name)
        else:
            found[name] = finding
    return Examination(tuple(advised(run, f) for f in ranked(found)), tuple(in_order), not_checked)


def findings(run: Run) -> list[Finding]:
    """What is wrong with the run, most important first; empty for a healthy one."""
    return list(evaluate(run).findings)


def ranked(found: dict[str, Finding]) -> list[Finding]:
    """Causes before consequences, then the worst first, then in the order of DETECTORS.

    A finding that another one of this run brings about says so. The cause of something red is red.
    """
    order = [name for name in DETECTORS if name in found]
    # A layer that has lost half its channels still lets the signal through; one that is red does not.
    able = [name for name in order if name != "dying-relu" or found[name].severity == "red"]
    explained = {}  # {id: what lies at the bottom of it}
    for name in order:
        cause = next((cause for cause in able if cause in CAUSES.get(name, ())), "")
        explained[name] = explained[cause] or cause if cause else ""
    severity = {name: SEVERITIES.index(found[name].severity) for name in order}
    for name, cause in explained.items():
        if cause:
            severity[cause] = min(severity[cause], severity[name])
    return [
        dataclasses.replace(found[name], severity=SEVERITIES[severity[name]], explained_by=explained[name])
        for name in sorted(order, key=lambda name: (bool(explained[name]), severity[name]))
    ]


def advised(run: Run, finding: Finding) -> Finding:
    """The finding with rivals, experiment, reading and the command that takes its step again."""
    advice = ADVICE[finding.id]
    command = advice.command(run)
    return dataclasses.replace(
        finding,
        rivals=advice.rivals,
        experiment=advice.experiment + (f": {command}" if command else ""),
        read=f"docs/diagnostics.md#{finding.id}, {advice.read}",
        replay=f"python analysis/replay.py {place(run)} --step {max(finding.step, 1)}",
    )


def marks(run: Run) -> list[tuple[int, str, str]]:
    """(step, id, severity) of the findings worth a mark in a picture: the causes, red and amber, the worst few."""
    worth = [f for f in findings(run) if f.severity != "note" and not f.explained_by]
    return [(f.step, f.id, f.severity) for f in worth[:MOST_MARKS]]


def headline(run: Run, examination: Examination) -> str:
    """`NAME: 1 red, 2 amber`, or that nothing was found."""
    number = {word: sum(f.severity == word for f in examination.findings) for word in SEVERITIES}
    checks = f"{counted(len(examination.in_order) + len(examination.findings), 'check')} made"
    if examination.not_checked:
        checks += f", {len(examination.not_checked)} not possible"
    if not examination.in_order and not examination.findings:
        return f"{run.name}: nothing to go by yet ({checks})."
    if not number["red"] and not number["amber"]:
        notes = f", {counted(number['note'], 'note')}" if number["note"] else ""
        enough = len(examination.in_order) > len(examination.not_checked)
        return f"{run.name}: {'healthy' if enough else 'nothing wrong as far as can be told'}{notes} ({checks})."
    return f"{run.name}: {', '.join(f'{n} {word}' for word, n in number.items() if n)} ({checks})."


def report(run: Run, examination: Examination) -> str:
    """Everything, for a reader at a terminal."""
    lines = [headline(run, examination)]
    for finding in examination.findings:
        since = f"since step {finding.step:,}" if finding.step else "from the start"
        lines += ["", f"{finding.severity.upper():<6}{finding.title}  [{finding.id}, {since}]"]
        if finding.explained_by:
            lines += item("because", f"{finding.explained_by}, see there, would bring this about")
        for sentence in finding.evidence:
            lines += item("evidence", sentence)
        for rival in finding.rivals:
            lines += item("or else", rival)
        sentence, _, command = finding.experiment.partition(": python ")
        lines += item("to tell", sentence)
        lines += [f"{MARGIN}python {command}"] if command else []  # never broken, so that it can be copied
        lines += item("read", finding.read)
        lines += [f"      {'replay':<11}{finding.replay}"]
    lines += ["", *item("in order", ", ".join(examination.in_order) or "nothing could be checked")]
    reasons = {}
    for name, reason in examination.not_checked.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        lines += item("unchecked", f"{', '.join(names)}: {reason}")
    return "\n".join(lines)


def item(word: str, text: str) -> list[str]:
    """A word in the margin and its text beside it, in lines of WIDTH characters."""
    lines = textwrap.wrap(text, WIDTH - len(MARGIN), break_on_hyphens=False, break_long_words=False)
    return [f"      {word:<11}{lines[0]}"] + [MARGIN + line for line in lines[1:]]


def summary(run: Run, examination: Examination) -> str:
    """The few lines at the end of a training: the headline, the causes, where to read on."""
    lines = [f"diagnose {headline(run, examination)}"]
    causes = [f for f in examination.findings if not f.explained_by]
    for finding in causes[:3]:
        since = f"step {finding.step:,}" if finding.step else "start"
        lines.append(f"         {finding.severity}: {finding.title} ({finding.id}, {since})")
    if examination.findings:
        lines.append(f"         the evidence, and what to do: python analysis/diagnose.py {place(run)}")
    return "\n".join(lines)


def main(args) -> None:
    """Examine the run and print what was asked for."""
    run = Run(run_folder.find(args.run, args.runs_dir))
    examination = evaluate(run)
    if args.json:
        print(json.dumps({"run": run.name, **dataclasses.asdict(examination)}, indent=2))
    else:
        print((summary if args.summary else report)(run, examination))


if __name__ == "__main__":
    command_line = common.parser("diagnose", __doc__.splitlines()[0], picture=False)
    command_line.add_argument("--json", action="store_true", help="the same for programs")
    command_line.add_argument("--summary", action="store_true", help="a few lines only")
    common.answer(main, command_line.parse_args())
