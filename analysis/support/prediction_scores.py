"""A prediction beside what was measured: how far apart they are, and the sentence that the difference calls for."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.support import measures
from analysis.support.questions import Answers, Lesson, Question
from analysis.support.run import NotMeasured
from core.run.errors import RunError


@dataclass(frozen=True)
class Score:
    """One question scored."""

    question: Question
    predicted: object  # a number, the index of an option, a list of numbers, or None
    measured: object  # the same kind, an array of a curve; None when it could not be measured
    outcome: str  # right, high, low or wrong; open without a prediction or without a measurement
    sentence: str


def score(lesson: Lesson, answers: Answers, runs_dir: Path) -> list[Score]:
    """Every question of the lesson, in its order."""
    return [score_one(question, answers, runs_dir) for question in lesson.questions]


def score_one(question: Question, answers: Answers, runs_dir: Path) -> Score:
    """Measure, compare, and say what it teaches."""
    predicted = answers.answers.get(question.name)
    try:
        measured, runs = measures.measured(question, runs_dir)
    except (RunError, NotMeasured) as reason:
        return Score(question, predicted, None, "open", f"not measured yet: {reason}")
    found = outcome(question, predicted, measured)
    sentence = lesson_of(question, predicted, measured, found)
    late = [run.name for run in runs if run.config.get("started", "9999") < answers.made]
    if late and predicted is not None and not recorded(runs):
        sentence += f" (Written after {late[0]} had begun: no prediction any more.)"
    return Score(question, predicted, measured, found, sentence)


def recorded(runs) -> bool:
    """Whether these are the runs that travel with the project, which are older than any prediction."""
    return all(run.folder.resolve().parent == measures.RECORDED for run in runs)


def outcome(question: Question, predicted, measured) -> str:
    """Whether a prediction is right, and if not, to which side it is wrong."""
    if predicted is None or measured is None:
        return "open"
    if question.kind == "choice":
        return "right" if predicted == measured else "wrong"
    difference = np.asarray(predicted, float) - np.asarray(measured, float)
    if np.abs(difference).mean() <= question.tolerance:
        return "right"
    if question.kind == "number" or abs(difference.mean()) > 0.5 * np.abs(difference).mean():
        return "high" if difference.mean() > 0 else "low"
    return "wrong"  # a curve that is above the measured one here and below it there


def lesson_of(question: Question, predicted, measured, found: str) -> str:
    """The sentences for this outcome, with its numbers."""
    said = {
        "question": question.ask, "unit": question.unit, "measured": shown(question, measured),
        "predicted": shown(question, predicted),
    }  # fmt: skip
    if found == "open":
        return f"measured {said['measured']}; nothing was predicted."
    first = f"predicted {said['predicted']}, measured {said['measured']}: {VERDICTS[found]}."
    if question.kind == "curve":
        distance = np.abs(np.asarray(predicted) - np.asarray(measured)).mean()
        apart = f"{distance:.2g} {question.unit}".strip() + " from the measured curve in the mean"
        first = f"{VERDICTS[found].capitalize()}: {apart}. {turns(question, predicted, measured)}"
    teaches = getattr(question, found) or (question.wrong if found in ("high", "low") else "")
    return f"{first} {teaches.format(**said)}".strip()


VERDICTS = {"right": "right", "wrong": "not so", "high": "too high", "low": "too low"}


def turns(question: Question, predicted, measured) -> str:
    """Where each curve is lowest and whether they go the same way between their points."""
    at, agree = question.at, np.sign(np.diff(predicted)) == np.sign(np.diff(measured))
    lowest, own = at[int(np.argmin(measured))], at[int(np.argmin(predicted))]
    same = f"it goes the same way in {agree.sum()} of {len(agree)} stretches"
    if lowest == own:
        return f"Both are lowest at {question.axis} {lowest:g}; {same}."
    return f"Yours is lowest at {question.axis} {own:g}, the measured one at {lowest:g}; {same}."


def shown(question: Question, value) -> str:
    """A value as a person writes it."""
    if value is None:
        return "nothing"
    if question.kind == "choice":
        return f"'{question.options[value]}'"
    if question.kind == "curve":
        return " ".join(f"{v:.3g}" for v in value)
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{digits} {question.unit}".strip()


def summary(scores: list[Score]) -> str:
    """How many are right, computed from the outcomes."""
    made = [s for s in scores if s.outcome != "open"]
    right = sum(s.outcome == "right" for s in made)
    if not made:
        return "Nothing to compare yet."
    missing = len(scores) - len(made)
    left = f" {missing} without a prediction or a measurement." if missing else ""
    wrong = [s.question.name for s in made if s.outcome != "right"]
    learn = f" Most to learn: {', '.join(wrong)}." if wrong else ""
    return f"{right} of {len(made)} right.{left}{learn}"
