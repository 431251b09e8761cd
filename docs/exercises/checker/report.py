"""What the learner reads: the sentence first, then check by check, then what can be done next."""

import os
import shutil
import textwrap

from checker import catalogue
from checker.catalogue import Entry
from checker.checking import Result

WIDEST = 100
PRINTED = 8  # lines of the learner's own prints that are shown, so many characters of each


def command(entry: Entry | None = None, *options: str) -> str:
    """How this person calls the checker: through make, or by its script."""
    number = f"{entry.number:02}" if entry else ""
    if "MAKELEVEL" in os.environ:
        return " ".join(["make check", *([f"EX={number}"] if entry else []), *(f"ARGS={o}" for o in options)])
    return " ".join(["python docs/exercises/check.py", *([number] if entry else []), *options])


def title(entry: Entry) -> str:
    """Number, title and file of an exercise."""
    return f"exercise {entry.number}, {entry.exercise.title}: {relative(entry.path)}"


def relative(path) -> str:
    """A file's name as seen from the project."""
    return path.relative_to(catalogue.FOLDER.parent.parent).as_posix()


def wrapped(text: str, indent: str = "  ") -> str:
    """Text in lines that fit the terminal."""
    width = min(shutil.get_terminal_size((WIDEST, 40)).columns, WIDEST)
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def of_check(result: Result, done: set[str]) -> str:
    """The whole report of one check; `done` are the names of all solved exercises."""
    return printable("\n".join(of_pass(result, done) if result.passed else of_failure(result)) + "\n")


def printable(text: str) -> str:
    """The text without what a terminal takes for a command: a file may print and raise anything."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def of_failure(result: Result) -> list[str]:
    """Sentence, checks, next."""
    checks = result.entry.exercise.checks
    width = max(len(check.name) for check in checks)
    lines = [title(result.entry), "", wrapped(result.sentence), ""]
    for number, check in enumerate(checks):
        state = "passes" if number < result.reached else "not yet" if number == result.reached else "not reached"
        lines.append(f"  {check.name:{width}}   {state}")
        if number == result.reached:
            lines += [line for label, text in result.details for line in detail(label, text)]
    passes = "passes" if result.reached == 1 else "pass"
    lines += ["", f"  {result.reached} of {len(checks)} checks {passes}. A hint: {command(result.entry, '--hint')}"]
    return lines + printed(result)


def detail(label: str, text: str) -> list[str]:
    """What was expected or found; a matrix stands below its label."""
    if "\n" not in text:
        return [wrapped(f"{label}: {text}", "      ")]
    return [f"      {label}:", *(f"         {line}" for line in text.split("\n"))]


def printed(result: Result) -> list[str]:
    """What the learner's file printed, its beginning."""
    lines = result.printed.splitlines()
    if not lines:
        return []
    left = len(lines) - PRINTED
    more = [f"  ... and {left} line{'s' * (left > 1)} more"] if left > 0 else []
    shown = [line if len(line) <= WIDEST else f"{line[:WIDEST]} ..." for line in lines[:PRINTED]]
    return ["", "  Your file printed:", *(f"  | {line}" for line in shown), *more]


def of_pass(result: Result, done: set[str]) -> list[str]:
    """The explained solution, and what comes next."""
    entry = result.entry
    lines = [f"exercise {entry.number}, {entry.exercise.title}: solved, {result.headline}", ""]
    lines += [wrapped(entry.exercise.explanation), "", f"  One solution ({relative(entry.answer)}):", ""]
    lines += [f"  {line}".rstrip() for gap in entry.solution_lines for line in gap.split("\n")]
    return [*lines, "", f"  {whats_next(done)}", *printed(result)]


def whats_next(done: set[str]) -> str:
    """The first exercise that is not solved, and how many are."""
    entries = catalogue.entries()
    count = f"{sum(entry.name in done for entry in entries)} of {len(entries)} solved."
    following = next((entry for entry in entries if entry.name not in done), None)
    return f"{count} Next: {title(following)}" if following else f"{count} That was the last one."


def of_progress(done: set[str]) -> str:
    """All exercises, the solved ones marked."""
    entries = catalogue.entries()
    rows = [f"  {'x' if e.name in done else '.'}  {e.number:2}  {e.exercise.title}" for e in entries]
    return "\n".join(["The exercises (x: solved)", "", *rows, "", f"  {whats_next(done)}"]) + "\n"


def of_hint(entry: Entry, number: int, left: str) -> str:
    """Hint 1, 2 or 3, and what follows it."""
    return f"{title(entry)}\n\n{wrapped(f'Hint {number} of 3. ' + entry.exercise.hints[number - 1])}\n\n  {left}\n"
