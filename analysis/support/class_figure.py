"""The predictions of a class in one figure: what was predicted, by how many, and what the run says."""

from collections import Counter
from pathlib import Path

import numpy as np

from analysis.support import style
from analysis.support.panels import GRIDS
from analysis.support.prediction_scores import outcome, shown
from analysis.support.questions import Lesson, Question
from analysis.support.run import counted

MEASURED = "measured"
LONGEST_OPTION = 32  # letters on a bar
MARGIN = 1.3  # inches of a panel that its text leaves free


def draw(lesson: Lesson, predictions: dict[str, list], measured: dict, people: int, out: Path) -> list[str]:
    """Draw a panel for each question of a lesson, or of a part of it; returns the sentence under each.

    predictions {question: what each person predicted}; measured {question: the right answer, or None}.
    """
    rows, columns = GRIDS[len(lesson.questions)]
    width = style.WIDTH / columns
    drawing, axes = style.figure(1 + 3 * rows, columns, [0.15, *heights(lesson, rows, width) * rows])
    sentences = []
    panels = zip(lesson.questions, axes[1::3].flat, axes[2::3].flat, axes[3::3].flat)
    for question, above, area, below in panels:
        answers = [a for a in predictions[question.name] if a is not None]
        write(above, question.ask, width)
        DRAW[question.kind](area, question, answers, measured[question.name])
        sentences.append(sentence(question, answers, measured[question.name]))
        write(below, sentences[-1], width)
    used = len(sentences)
    for unused in [*axes[0], *axes[1::3].flat[used:], *axes[2::3].flat[used:], *axes[3::3].flat[used:]]:
        unused.set_axis_off()
    drawing.suptitle(f"{lesson.title}: {counted(people, 'prediction')} and the run", x=0.01, ha="left")
    style.save(drawing, out)
    return sentences


def write(area, text: str, width: float) -> None:
    """Write into axes of its own, from the left edge of the panel's axis."""
    area.set_axis_off()
    area.annotate(style.wrapped(text, width - MARGIN), (0, 1), va="top", linespacing=1.2).set_in_layout(False)


def heights(lesson: Lesson, rows: int, width: float) -> list[float]:
    """Inches for the question, the panel and the sentence of one row; the longest question decides."""
    lines = max(style.wrapped(question.ask, width - MARGIN).count("\n") + 1 for question in lesson.questions)
    above, below = 0.1 + style.LINE * lines, 0.1 + style.LINE * 3
    return [above, (style.HEIGHT - 1.2) / rows - above - below - 0.3, below]


def sentence(question: Question, answers: list, measured) -> str:
    """How many predicted what, and how many of them were right."""
    if not answers:
        return "No predictions."
    if question.kind == "choice":
        option, count = Counter(answers).most_common(1)[0]
        first = f"{count} of {len(answers)} say {shown(question, option)}"
    elif question.kind == "number":
        first = f"Median of {len(answers)}: {shown(question, float(np.median(answers)))}"
    else:
        first = counted(len(answers), "curve")
    if measured is None:
        return f"{first}. Not measured yet."
    found = Counter(outcome(question, answer, measured) for answer in answers)
    others = [f"{found[side]} too {side}" for side in ("high", "low") if found[side]]
    right = ", ".join([f"{found['right']} of {len(answers)} right", *others])
    value = "" if question.kind == "curve" else f"; measured {shown(question, measured)}"
    return f"{first}{value}: {right}."


def draw_number(area, question: Question, answers: list[float], measured) -> None:
    """Every prediction as a dot, equal ones above each other, and the measured value as a line."""
    rounded = Counter(float(f"{a:.2g}") for a in answers)
    dots = [(value, level) for value, count in rounded.items() for level in range(1, count + 1)]
    if dots:
        area.plot(*zip(*dots), "o", color=style.BLUE, markersize=12, alpha=0.8)
    if measured is not None:
        area.axvspan(measured - question.tolerance, measured + question.tolerance, color=style.ORANGE, alpha=0.15)
        area.axvline(measured, color=style.ORANGE, linewidth=3)
    area.set_ylim(0, max([*rounded.values(), 3]) + 1)
    area.set(xlabel=question.unit or "prediction", ylabel="people")
    area.xaxis.set_major_locator(style.ticker.MaxNLocator(4))
    area.yaxis.set_major_locator(style.ticker.MaxNLocator(4, integer=True))


def draw_choice(area, question: Question, answers: list[int], measured) -> None:
    """A bar for each option, the right one in another colour."""
    counts = [answers.count(i) for i in range(len(question.options))]
    colours = [style.ORANGE if i == measured else style.BLUE for i in range(len(counts))]
    area.barh(range(len(counts)), counts, color=colours, alpha=0.5)
    for index, option in enumerate(question.options):  # on the bars: as labels of the axis they would take half of it
        text = style.shortened(option, LONGEST_OPTION)
        area.annotate(text, (0.02, index), xycoords=("axes fraction", "data"), va="center").set_in_layout(False)
    area.set_yticks([])
    area.invert_yaxis()
    area.set_xlim(0, max([*counts, 3]) + 1)
    area.set_xlabel("people")
    area.xaxis.set_major_locator(style.ticker.MaxNLocator(4, integer=True))


def draw_curve(area, question: Question, answers: list[list[float]], measured) -> None:
    """Every predicted curve, pale, and the measured one."""
    for curve in answers:
        area.plot(question.at, curve, color=style.BLUE, alpha=0.35)
    if measured is not None:
        area.plot(question.at, measured, color=style.ORANGE, linewidth=4, marker="o", label=MEASURED)
    area.set(xlabel=question.axis, ylabel=question.unit)
    area.xaxis.set_major_locator(style.ticker.MaxNLocator(4))
    area.yaxis.set_major_locator(style.ticker.MaxNLocator(4))


DRAW = {"number": draw_number, "choice": draw_choice, "curve": draw_curve}
