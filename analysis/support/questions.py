"""The questions of a lesson and what somebody answered: docs/lessons/questions/NN-name.toml, and plain JSON files.

A file of questions has a title and up to six questions:

    title = "Overfitting"

    [[questions]]
    name = "turn"                                  # its key in the answers
    ask = "In which epoch is the test loss lowest?"
    kind = "number"                                # number, choice or curve
    range = [1, 15]                                # of a number or of each point of a curve
    run = "lesson-07 small"                        # the run that is measured: the first of these that is there
    measure = "epoch_of_lowest_test_loss"          # a function of analysis/support/measures.py
    tolerance = 1                                  # a prediction that near counts as right
    right = "..."  high = "..."  low = "..."       # what the difference teaches; {predicted}, {measured}, {unit}

A choice has `options` and, to tell which of them is right, one of: `runs` in the same order with `pick` (highest or
lowest), `limits` between the options, or `known`, the index of the right one where it is known from how the run was
made; without any of these the measure is itself an option. A curve has `at`, the points of its x axis, and `axis`, its
label.
"""

import difflib
import json
import math
import re
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from core.run.errors import RunError

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "lessons" / "questions"
KINDS = ("number", "choice", "curve")
MOST = 6  # questions of a lesson: the panels of a figure
LONGEST = 1_000_000  # bytes of a file of answers


@dataclass(frozen=True)
class Question:
    """One question as its file describes it."""

    name: str
    ask: str
    kind: str
    measure: str = ""
    known: int | None = None
    run: str = ""
    unit: str = ""
    range: tuple[float, float] = (-math.inf, math.inf)
    tolerance: float = 0.0
    options: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    pick: str = ""
    limits: tuple[float, ...] = ()
    at: tuple[float, ...] = ()
    axis: str = ""
    right: str = ""
    wrong: str = ""
    high: str = ""
    low: str = ""

    def read(self, text: str):
        """What was typed as an answer: a number, the index of an option, or a list of numbers; None for nothing.

        The unit may stand behind it.
        Raises ValueError with what was expected, in words.
        """
        text = text.strip().removesuffix(self.unit).rstrip() if self.unit else text.strip()
        if not text:
            return None
        if self.kind == "choice":
            if text.isdigit() and 1 <= int(text) <= len(self.options):
                return int(text) - 1
            raise ValueError(f"expected a number from 1 to {len(self.options)}, found {text[:40]!r}")
        values = [self.number(part) for part in re.split(r"[;,]?\s+|;", text)]  # 0,5 is one number, "2, 1" are two
        wanted = len(self.at) if self.kind == "curve" else 1
        if len(values) != wanted:
            raise ValueError(f"expected {wanted} number{'s' * (wanted > 1)} with spaces between, found {len(values)}")
        return values if self.kind == "curve" else values[0]

    def number(self, text: str) -> float:
        """A number inside the range; 0,5 is 0.5. Raises ValueError."""
        try:
            value = float(text.replace(",", "."))
        except ValueError:
            raise ValueError(f"expected a number, found {text[:40]!r}") from None
        low, high = self.range
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"expected a number from {low:g} to {high:g}, found {text[:40]}")
        return value

    def problem(self, answer) -> str:
        """What is wrong with an answer read from a file; empty for a good one."""
        if answer is None:
            return ""
        if self.kind == "choice":
            good = type(answer) is int and 0 <= answer < len(self.options)
            return "" if good else f"expected an index from 0 to {len(self.options) - 1}"
        values = answer if self.kind == "curve" else [answer]
        if not isinstance(values, list) or len(values) != (len(self.at) or 1):
            return f"expected a list of {len(self.at)} numbers"
        low, high = self.range
        good = all(type(v) in (int, float) and low <= v <= high for v in values)
        return "" if good else f"expected numbers from {low:g} to {high:g}"


@dataclass(frozen=True)
class Lesson:
    """A lesson's questions."""

    name: str  # 07-overfitting
    title: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Answers:
    """What one person predicted."""

    lesson: str
    made: str  # 2026-01-31 14:05:00
    answers: dict = field(default_factory=dict)  # {name of a question: number, index, list, or None for no prediction}


def lessons(folder: Path = FOLDER) -> list[str]:
    """The names of the lessons that have questions."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def find(name: str, folder: Path = FOLDER) -> Lesson:
    """The lesson of this name, or of this number: 7, 07, overfitting. Raises RunError."""
    known = lessons(folder)
    wanted = name.zfill(2) if name.isdigit() else name
    found = [lesson for lesson in known if wanted in (lesson, lesson.partition("-")[0], lesson.partition("-")[2])]
    if len(found) != 1:
        close = difflib.get_close_matches(name, known, 1, 0.4)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"
        raise RunError(f"{name}: no such lesson; {hint}")
    return read_lesson(folder / f"{found[0]}.toml")


def read_lesson(path: Path) -> Lesson:
    """A file of questions, checked. Raises RunError with the file, the question and what is wrong."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        questions = tuple(read_question(path, entry) for entry in table["questions"])
        title = table["title"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: {error}; a file of questions is TOML") from None
    except KeyError as missing:
        raise RunError(f"{path}: {missing} is missing; a file of questions has a title and [[questions]]") from None
    if len({question.name for question in questions}) != len(questions) or not 1 <= len(questions) <= MOST:
        raise RunError(f"{path}: expected 1 to {MOST} questions, each with a name of its own")
    return Lesson(path.stem, title, questions)


def read_question(path: Path, entry: dict) -> Question:
    """One entry of a file of questions. Raises RunError."""
    where = f"{path}: question {entry.get('name', '?')}"
    try:
        question = Question(**{key: tuple_of(value) for key, value in entry.items()})
    except TypeError as error:
        raise RunError(f"{where}: {str(error).partition(')')[2].strip()}") from None
    if question.kind not in KINDS:
        raise RunError(f"{where}: kind {question.kind!r}: expected {', '.join(KINDS)}")
    if not question.measure and question.known is None:
        raise RunError(f"{where}: it has neither a measure nor a known answer")
    if question.kind == "choice" and len(question.options) < 2:
        raise RunError(f"{where}: a choice has at least two options")
    beside = {"runs": len(question.options), "limits": len(question.options) - 1}
    for name, count in beside.items():
        if len(getattr(question, name)) not in (0, count):
            raise RunError(f"{where}: expected {count} {name}, found {len(getattr(question, name))}")
    if question.kind == "curve" and len(question.at) < 2:
        raise RunError(f"{where}: a curve has at least two points in `at`")
    if question.kind != "choice" and not all(map(math.isfinite, question.range)):
        raise RunError(f"{where}: a {question.kind} has a range, [lowest, highest]")
    return question


def tuple_of(value):
    """Lists as tuples, at any depth."""
    return tuple(map(tuple_of, value)) if isinstance(value, list) else value


def save(answers: Answers, path: Path) -> None:
    """Write a file of answers, readable by a person."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"lesson": answers.lesson, "made": answers.made, "answers": answers.answers}
    with open(path, "x", encoding="utf-8") as file:  # what was predicted is never overwritten
        file.write(json.dumps(content, indent=2) + "\n")


def load(path: Path) -> Answers:
    """A file of answers, its form checked. Raises RunError."""
    try:
        if path.stat().st_size > LONGEST:
            raise ValueError("too long")
        content = json.loads(path.read_text(encoding="utf-8"))
        lesson, made, answers = content["lesson"], content["made"], content["answers"]
        time.strptime(made, "%Y-%m-%d %H:%M:%S")
        if not isinstance(lesson, str) or not isinstance(answers, dict):
            raise TypeError
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; `python analysis/predictions.py new LESSON` writes one") from None
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}; is it a file that you may read?") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RunError(f"{path}: not a file of predictions; `python analysis/predictions.py new` writes them") from None
    return Answers(lesson, made, answers)


def check(path: Path, answers: Answers, lesson: Lesson) -> None:
    """Raise RunError unless every answer fits its question."""
    for question in lesson.questions:
        if problem := question.problem(answers.answers.get(question.name)):
            found = json.dumps(answers.answers[question.name])[:60]
            raise RunError(f"{path}: {question.name}: {problem}, found {found}; was it edited?")
