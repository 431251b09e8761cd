"""What is wrong with my run, on what evidence, and which experiment decides? Findings, most important first.

    python analysis/diagnose.py               the latest run
    python analysis/diagnose.py RUN --json    for programs
    python analysis/diagnose.py --summary     a few lines: what `make train` ends with
    python analysis/diagnose.py --probe RUN   active checks too: short trainings with its settings, a minute or two

Without --probe it reads a run's files only: no TensorFlow, a result in a second or two. Rules and thresholds are in
diagnosis/detectors/, the active checks in diagnosis/probes.py, alternative explanations and experiments in
diagnosis/advice.py.
"""

import dataclasses
import json
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.diagnosis import active_checks, advice, probes
from analysis.diagnosis.detectors import DETECTORS, missing_groups
from analysis.diagnosis.detectors.finding import Finding
from analysis.diagnosis.experiments import command, replay, run_argument
from analysis.support import common
from analysis.support.run import NotMeasured, Run, counted
from core.run import run_folder

WIDTH, INDENT, MARGIN = 110, 6, 19  # of the report, in characters: a line, its word, the text beside the word
SEVERITIES = ("red", "amber", "note")  # the worst first
MOST_MARKS = 5  # in a figure

# What brings about what: {consequence: its possible causes}. Causes stand earlier in DETECTORS.
BAD_INIT = ("zero-init", "equal-init", "unnormalized-inputs", "init-too-large", "init-too-small")
ORDER = ("repeated-order", "unmixed-batches")
BROKEN_STEP = (*BAD_INIT, "no-gradient", "no-nonlinearity", "clipped-logits", "saturated", "double-softmax",
               "frozen-step-counter", "weights-reset", "frozen-layer", "uphill", "wrong-update", "shrinking-weights",
               "strong-regularization", "strong-momentum", "rate-high")  # fmt: skip
LARGE_STEPS = (*BAD_INIT, "frozen-step-counter", "uphill", "wrong-update", "strong-momentum", "rate-high")
LITTLE_LEARNED = ("divergence", "dying-relu", "vanishing", "rate-low", "no-signal")
CAUSES = {
    "bad-init": ("unmixed-batches", *BAD_INIT, "clipped-logits"),
    "wrong-metric": ("bad-init",),
    "no-gradient": ("equal-init",),
    "init-too-large": ("equal-init",),
    "init-too-small": ("equal-init",),
    "strong-regularization": ("unmixed-batches", "wrong-metric", "weights-reset", "clipped-logits"),
    "rate-high": ("unmixed-batches", *LARGE_STEPS[:-1], "bad-init", "weights-reset", "shrinking-weights"),
    "exploding": (*LARGE_STEPS, "no-gradient"),
    "divergence": ("unmixed-batches", *LARGE_STEPS, "weights-reset", "shrinking-weights", "strong-regularization"),
    "non-finite": (*LARGE_STEPS, "exploding", "divergence"),
    "spike": ("unmixed-batches", "weights-reset", "strong-momentum", "rate-high", "divergence"),
    "evaluation-mode": (*ORDER, "weights-reset"),
    "dying-relu": ("unmixed-batches", *LARGE_STEPS, "saturated", "bad-init", "no-gradient", "shrinking-weights",
                   "evaluation-mode", "divergence"),
    "vanishing": ("saturated", "zero-init", "equal-init", "init-too-small", "no-gradient", "shrinking-weights",
                  "dying-relu", "double-softmax"),
    "rate-low": ("unmixed-batches", *BAD_INIT, "bad-init", "no-gradient", "double-softmax", "frozen-step-counter",
                 "frozen-layer", "uphill", "wrong-update", "shrinking-weights", "strong-momentum", "rate-high",
                 "dying-relu", "vanishing"),
    "frozen-layer": ("zero-init", "equal-init"),
    "wrong-update": ("uphill", "frozen-layer"),
    "no-signal": (*BROKEN_STEP, *LITTLE_LEARNED[:-1]),
    "swapped-labels": ("imbalanced-classes",),
    "different-test": ("swapped-labels",),
    "memorizing-noise": ("swapped-labels", "different-test", "evaluation-mode", *ORDER),
    "suspicious-test": ("leak", "evaluation-mode"),
    "collapse": ("missing-class", "imbalanced-classes", *ORDER, *BROKEN_STEP, "evaluation-mode", *LITTLE_LEARNED,
                 "memorizing-noise"),
    "ignored-class": ("missing-class", "imbalanced-classes", *ORDER, *BROKEN_STEP, "evaluation-mode",
                      *LITTLE_LEARNED, "collapse"),
    "oscillation": (*ORDER, "weights-reset", "strong-momentum", "evaluation-mode", "rate-high"),
    "overfit": ("no-regularization", "imbalanced-classes", "leak", "swapped-labels", "different-test", *ORDER,
                "memorizing-noise"),
    "plateau": (*BROKEN_STEP, *LITTLE_LEARNED, "collapse"),
    "underfit": ("swapped-labels", "wrong-metric", *ORDER, *BROKEN_STEP, "evaluation-mode", *LITTLE_LEARNED,
                 "non-finite", "collapse", "oscillation"),
    "cannot-memorize": (*BAD_INIT, "no-gradient", "clipped-logits", "double-softmax", "weights-reset", "frozen-layer",
                        "uphill", "wrong-update", "no-signal"),
}  # fmt: skip
# Causes before consequences; the active checks have three findings more than the logs.
RANKING = ("learns-from-nothing", "no-regularization", *DETECTORS, "cannot-memorize")


@dataclass(frozen=True)
class Diagnosis:
    """What was found, what was checked and is in order, what could not be checked and why."""

    findings: tuple[Finding, ...]  # most important first
    in_order: tuple[str, ...]
    not_checked: dict[str, str]  # {id: reason}
    probed: tuple[str, ...] = ()  # what each active check measured, and what it did to the findings


def diagnose(run: Run) -> Diagnosis:
    """Run every detector; rank what they found and add the advice."""
    found, in_order, not_checked = detected(run)
    return Diagnosis(tuple(advised(run, f) for f in ranked(found)), in_order, not_checked)


def probe(run: Run, data_dir: str = "", say=common.say) -> Diagnosis:
    """The same with the active checks; `say` gets a line after each. Raises what `probes.subject_of` raises."""
    found, in_order, not_checked = detected(run)
    subject, device = probes.subject_of(run, data_dir)
    outcomes = active_checks.run_checks(subject, device, say)
    found, measured = probes.with_outcomes(found, outcomes)
    by_checks = {finding.id for outcome in outcomes.values() for finding in outcome.findings}
    in_order = tuple(name for name in in_order if name not in found)
    not_checked = {name: reason for name, reason in not_checked.items() if name not in found}
    return Diagnosis(tuple(advised(run, f) for f in ranked(found, by_checks)), in_order, not_checked, tuple(measured))


def detected(run: Run) -> tuple[dict[str, Finding], tuple[str, ...], dict[str, str]]:
    """({id: finding}, what is in order, {id: why it could not be checked}) of all detectors."""
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
    return found, tuple(in_order), not_checked


def findings(run: Run) -> list[Finding]:
    """What is wrong with the run, most important first; empty for a clean one."""
    return list(diagnose(run).findings)


def ranked(found: dict[str, Finding], by_checks: set[str] = frozenset()) -> list[Finding]:
    """Causes before consequences, then the worst first, then what the active checks found, then in RANKING.

    A finding that another one of this run would cause names it. The cause of something red is red. An active check
    does not depend on what became of the run: what it found (`by_checks`) is caused by such findings only.
    """
    order = [name for name in RANKING if name in found]
    # A layer that has lost half its channels still passes the signal on; a red one does not.
    able = [name for name in order if name != "dying-relu" or found[name].severity == "red"]
    explained = {}  # {id: the first cause in the chain that leads to it}
    for name in order:
        possible = [cause for cause in able if name not in by_checks or cause in by_checks]
        cause = next((cause for cause in possible if cause in CAUSES.get(name, ())), "")
        explained[name] = explained[cause] or cause if cause else ""
    severity = {name: SEVERITIES.index(found[name].severity) for name in order}
    for name, cause in explained.items():
        if cause:
            severity[cause] = min(severity[cause], severity[name])
    return [
        dataclasses.replace(found[name], severity=SEVERITIES[severity[name]], explained_by=explained[name])
        for name in sorted(order, key=lambda name: (bool(explained[name]), severity[name], name not in by_checks))
    ]


def advised(run: Run, finding: Finding) -> Finding:
    """The finding with alternatives, experiment, reading and the command that takes its step again."""
    of_detector = advice.ADVICE[finding.id]
    experiment, its_command = advice.experiment(run, finding.id)
    return dataclasses.replace(
        finding,
        alternatives=of_detector.alternatives,
        experiment=experiment,
        command=its_command,
        read=f"docs/diagnostics.md#{finding.id}, {of_detector.read}",
        replay=replay(run, max(finding.step, 1)),
    )


def marks(run: Run) -> list[tuple[int, str, str]]:
    """(step, id, severity) of the findings worth a mark in a figure: the causes, red and amber, the worst few."""
    worth = [f for f in findings(run) if f.severity != "note" and not f.explained_by]
    return [(f.step, f.id, f.severity) for f in worth[:MOST_MARKS]]


def headline(run: Run, diagnosis: Diagnosis) -> str:
    """`NAME: 1 red, 2 amber`, or that nothing was found."""
    number = {word: sum(f.severity == word for f in diagnosis.findings) for word in SEVERITIES}
    checks = f"{counted(len(diagnosis.in_order) + len(diagnosis.findings), 'check')} made"
    if diagnosis.not_checked:
        checks += f", {len(diagnosis.not_checked)} not possible"
    if not diagnosis.in_order and not diagnosis.findings:
        return f"{run.name}: nothing to go by yet ({checks})."
    if not number["red"] and not number["amber"]:
        notes = f", {counted(number['note'], 'note')}" if number["note"] else ""
        missing = missing_groups(diagnosis.not_checked)
        verdict = f"nothing wrong found, too little measured of {', '.join(missing)}" if missing else "clean"
        return f"{run.name}: {verdict}{notes} ({checks})."
    return f"{run.name}: {', '.join(f'{n} {word}' for word, n in number.items() if n)} ({checks})."


def report(run: Run, diagnosis: Diagnosis) -> str:
    """Everything, for a reader at a terminal."""
    lines = [headline(run, diagnosis)]
    for finding in diagnosis.findings:
        since = f"since step {finding.step:,}" if finding.step else "from the start"
        lines += ["", f"{finding.severity.upper():<6}{finding.title}  [{finding.id}, {since}]"]
        if finding.explained_by:
            lines += item("because", f"{finding.explained_by}, see there, would cause this")
        for sentence in finding.evidence:
            lines += item("evidence", sentence)
        for alternative in finding.alternatives:
            lines += item("alternative", alternative)
        lines += item("experiment", finding.experiment)
        lines += [" " * MARGIN + finding.command] if finding.command else []  # in one line, so that it can be copied
        lines += item("read", finding.read)
        lines += [" " * INDENT + "replay".ljust(MARGIN - INDENT) + finding.replay]
    lines += [""] if diagnosis.probed else []
    for sentence in diagnosis.probed:
        lines += item("probe", sentence)
    lines += ["", *item("in order", ", ".join(diagnosis.in_order) or "nothing could be checked")]
    reasons = {}
    for name, reason in diagnosis.not_checked.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        lines += item("not checked", f"{', '.join(names)}: {reason}")
    return "\n".join(lines)


def item(word: str, text: str) -> list[str]:
    """A word in the margin and its text beside it, in lines of WIDTH characters."""
    first, *others = textwrap.wrap(text, WIDTH - MARGIN, break_on_hyphens=False, break_long_words=False)
    return [" " * INDENT + word.ljust(MARGIN - INDENT) + first] + [" " * MARGIN + line for line in others]


def summary(run: Run, diagnosis: Diagnosis) -> str:
    """The few lines at the end of a training: the headline, the causes, where to read on."""
    lines = [f"diagnose {headline(run, diagnosis)}"]
    causes = [f for f in diagnosis.findings if not f.explained_by]
    for finding in causes[:3]:
        since = f"step {finding.step:,}" if finding.step else "start"
        lines.append(f"         {finding.severity}: {finding.title} ({finding.id}, {since})")
    if diagnosis.findings:
        lines.append(f"         the evidence, and what to do: {command('analysis/diagnose.py', run_argument(run))}")
    return "\n".join(lines)


def progress(line: str) -> None:
    """Print a line beside the result, which may go to a program."""
    print(line, file=sys.stderr, flush=True)


def main(args) -> None:
    """Diagnose the run and print what was asked for."""
    run = Run(run_folder.find(args.run, args.runs_dir))
    found = probe(run, args.data_dir, say=progress) if args.probe else diagnose(run)
    if args.json:
        common.say(json.dumps({"run": run.name, **dataclasses.asdict(found)}, indent=2))
    else:
        common.say((summary if args.summary else report)(run, found))


def build_parser():
    """The command line."""
    parser = common.parser("diagnose", __doc__.splitlines()[0], figure="")
    add = parser.add_argument
    add("--json", action="store_true", help="the same for programs")
    add("--summary", action="store_true", help="a few lines only")
    add("--probe", action="store_true", help="active checks too: short trainings with the run's settings, two minutes")
    add("--data-dir", metavar="DIR", default="", help="with --probe: where the images are now, if they have moved")
    return parser


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
