"""What do you expect? A lesson's questions before the run, and the answers beside the run afterwards.

    python analysis/predictions.py new 7               ask the questions of lesson 7, and keep the answers
    python analysis/predictions.py score 7             the newest answers beside the run: what the difference teaches
    python analysis/predictions.py class FOLDER        many people's answers in one figure, for the projector

The answers are plain JSON files in runs/predictions/, without names; nothing leaves the machine. The questions are
docs/lessons/questions/NN-name.toml. Without a run of one's own the recorded one in docs/recorded/ is measured.
"""

import dataclasses
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.support import common, questions
from core.run.errors import RunError
from core.settings.command_line import Parser

PREDICTIONS = Path("runs/predictions")


def ask(question: questions.Question, number: int, of: int):
    """Ask until there is an answer that fits; None for an empty line. Raises RunError at the end of the input."""
    common.say("", f"{number} of {of}   {question.ask}")
    for index, option in enumerate(question.options, start=1):
        common.say(f"         {index}  {option}")
    while True:
        print(f"         {prompt(question)}: ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            raise RunError("the input ended before the last question; nothing was kept")
        try:
            return question.read(line)
        except ValueError as problem:
            common.say(f"         {problem}; Enter alone: no prediction")


def prompt(question: questions.Question) -> str:
    """What to type."""
    if question.kind == "choice":
        return f"1 to {len(question.options)}"
    low, high = question.range
    unit = f" {question.unit}" if question.unit else ""
    if question.kind == "number":
        return f"a number, {low:g} to {high:g}{unit}"
    points = ", ".join(f"{x:g}" for x in question.at)
    return f"{len(question.at)} numbers, {low:g} to {high:g}{unit}, at {question.axis} {points}"


def new(args) -> None:
    """Ask the lesson's questions and write the answers."""
    lesson = questions.find(args.lesson)
    out = args.out or args.folder / f"{lesson.name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    if out.exists():
        raise RunError(f"{out} exists, and a prediction is not overwritten; name another --out")
    out.parent.mkdir(parents=True, exist_ok=True)  # before the first question: answers that cannot be kept are lost
    if not os.access(out.parent, os.W_OK):
        raise RunError(f"{out.parent}: it cannot be written; name another --folder or --out")
    count = len(lesson.questions)
    common.say(f"{lesson.title}: {count} question{'s' * (count > 1)}. An empty line means: no prediction.")
    answers = {q.name: ask(q, number, count) for number, q in enumerate(lesson.questions, start=1)}
    questions.save(questions.Answers(lesson.name, time.strftime("%Y-%m-%d %H:%M:%S"), answers), out)
    number = lesson.name.partition("-")[0]
    common.say("", f"kept     {out}", f"next     the run, then: python analysis/predictions.py score {number}")


def lesson_of(path: Path, answers: questions.Answers) -> questions.Lesson:
    """The lesson that a file of answers is about. Raises RunError with the file."""
    try:
        return questions.find(answers.lesson)
    except RunError as problem:
        raise RunError(f"{path}: {problem}") from None


def newest(lesson: str, folder: Path) -> Path:
    """The newest answers to a lesson. Raises RunError."""
    found = sorted(folder.glob(f"{lesson}-*.json"))
    if not found:
        raise RunError(f"{folder}: no predictions of {lesson} there; `predictions.py new {lesson}` asks for them")
    return found[-1]


def score(args) -> None:
    """Print every question with the prediction, the measurement and what the difference teaches."""
    from analysis.support import prediction_scores

    given = Path(args.answers)
    path = given if given.suffix == ".json" else newest(questions.find(args.answers).name, args.folder)
    answers = questions.load(path)
    lesson = lesson_of(path, answers)
    questions.check(path, answers, lesson)
    scores = prediction_scores.score(lesson, answers, args.runs_dir)
    common.say(f"{lesson.title}: predicted {answers.made}")
    for number, found in enumerate(scores, start=1):
        common.say("", f"{number}  {found.question.ask}", f"   {found.sentence}")
    common.say("", prediction_scores.summary(scores))


def read_class(folder: Path, wanted: str | None) -> tuple[questions.Lesson, list[questions.Answers]]:
    """The lesson and everybody's answers to it; a file that cannot be read is named and left out. Raises RunError."""
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; put everybody's .json files into one")
    by_lesson = {}
    for path in sorted(folder.glob("*.json")):
        try:
            answers = questions.load(path)
            lesson = lesson_of(path, answers)
            questions.check(path, answers, lesson)
        except RunError as problem:
            common.say(f"left out {problem}")
            continue
        by_lesson.setdefault(lesson.name, []).append(answers)
    name = questions.find(wanted).name if wanted else None
    if (name and name not in by_lesson) or not by_lesson:
        raise RunError(f"{folder}: no predictions{f' of {name}' if name else ''} there")
    if not name and len(by_lesson) > 1:
        raise RunError(f"{folder} holds predictions of {', '.join(sorted(by_lesson))}; choose with --lesson")
    name = name or next(iter(by_lesson))
    return questions.find(name), by_lesson[name]


def only(lesson, name: str):
    """The lesson with one of its questions. Raises RunError if it has none of this name."""
    names = [question.name for question in lesson.questions]
    if name not in names:
        raise RunError(f"--panel {name}: the questions of {lesson.name} are {', '.join(names)}")
    return dataclasses.replace(lesson, questions=(lesson.questions[names.index(name)],))


def of_class(args) -> None:
    """Draw everybody's answers to one lesson and print a sentence about each question."""
    from analysis.support import class_figure, measures
    from analysis.support.run import NotMeasured

    lesson, everybody = read_class(args.answers_folder, args.lesson)
    if args.panel:
        lesson = only(lesson, args.panel)
    predictions = {q.name: [one.answers.get(q.name) for one in everybody] for q in lesson.questions}
    measured = {}
    for question in lesson.questions:
        try:
            measured[question.name] = None if args.before else measures.measured(question, args.runs_dir)[0]
        except (RunError, NotMeasured) as reason:
            measured[question.name] = None
            common.say(f"{question.name}: not measured yet: {reason}")
    suffix = f"-{args.panel}.png" if args.panel else ".png"
    out = args.out or args.answers_folder / f"{lesson.name}{suffix}"
    sentences = class_figure.draw(lesson, predictions, measured, len(everybody), out)
    for question, sentence in zip(lesson.questions, sentences):
        common.say(f"{question.name}: {sentence}")
    common.say(f"drawn    {out}")


def build_parser():
    """The command line: three verbs."""
    parser = Parser(prog="analysis/predictions.py", description=__doc__.splitlines()[0], allow_abbrev=False)
    verbs = parser.add_subparsers(metavar="new|score|class", required=True)

    def verb(name: str, main, text: str):
        found = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        found.set_defaults(main=main)
        return found

    asked = verb("new", new, "ask the questions of a lesson, before the run")
    asked.add_argument("lesson", metavar="LESSON", help=f"its number or name: {', '.join(questions.lessons())}")
    asked.add_argument("--out", metavar="FILE", type=Path, help="where to keep the answers [in --folder]")
    scored = verb("score", score, "compare the answers with the run")
    scored.add_argument("answers", metavar="LESSON|FILE", help="a lesson, for its newest answers, or a file of answers")
    for one in (asked, scored):
        one.add_argument("--folder", metavar="DIR", type=Path, default=PREDICTIONS, help=f"of answers [{PREDICTIONS}]")
    drawn = verb("class", of_class, "draw the answers of many people in one figure")
    drawn.add_argument("answers_folder", metavar="FOLDER", type=Path, help="with everybody's .json files")
    drawn.add_argument("--lesson", metavar="LESSON", help="which lesson, if the folder holds several")
    drawn.add_argument("--before", action="store_true", help="without what was measured: before the run")
    drawn.add_argument("--panel", metavar="NAME", help="one question as a slide, by its name [all in one figure]")
    drawn.add_argument("--out", metavar="FILE", type=Path, help="the figure to write [LESSON.png in FOLDER]")
    for one in (scored, drawn):
        one.add_argument(
            "--runs-dir", metavar="DIR", type=Path, default=Path("runs"), help="where runs are kept [runs]"
        )
    return parser


def main(args) -> None:
    """Do what the verb says."""
    args.main(args)


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
