"""Run every command of the lessons as it is written, and compare what it prints with the numbers in the lesson.

python tests/run_lessons.py            every lesson
python tests/run_lessons.py 2 3        lessons 2 and 3
python tests/run_lessons.py --seconds 120    on a slow machine: twice the time for each command
python tests/run_lessons.py --any-numbers    on a processor whose numbers nobody has seen: they are told, and no mistake

A block ```bash is run line by line; ```python is the lesson's Python session, continued from block to block; ```pdb is
typed at the prompt of the command before it. A command passes if it ends with exit status 0 within a minute, or within
a minute of processor time where other programs use the processor too; after twenty minutes it is stopped. Each lesson
has an empty folder runs/ of its own. The French lessons have the same blocks (tests/docs/test_lessons.py).
"""

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from documents import PROJECT
from lessons import BLOCK, TABLE, Lesson, expected_numbers, lessons

SECONDS = 60
PATIENCE = 20  # times as long, and a command is stopped
NOT_LINKED = ("runs", ".git")
EARLIER = "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    exec({!r})\nexec({!r})\n"


def main(args: list[str]) -> int:
    """Run the lessons, print a line for each command, and return the exit status."""
    parser = argparse.ArgumentParser("run_lessons.py", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("lessons", metavar="N", nargs="*", type=int, help="a lesson; without it, every one")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="what a command may take [%(default)s]")
    parser.add_argument("--any-numbers", action="store_true", help="a number outside its tolerance is told only")
    choice = parser.parse_args(args)
    known = {lesson.number: lesson for lesson in lessons("en")}
    if unknown := sorted({*choice.lessons} - {*known}):
        parser.error(f"lesson {unknown[0]}: expected some of {', '.join(map(str, known))}")
    began, processor, problems, other_numbers = time.monotonic(), processor_seconds(), [], []
    for number in sorted({*choice.lessons} or known):
        failed, differ = run_lesson(known[number], choice.seconds)
        problems, other_numbers = problems + failed, other_numbers + differ
    if not choice.any_numbers:
        problems, other_numbers = problems + other_numbers, []
    for problem in (*problems, *other_numbers):
        print(f"run_lessons.py: {problem}", file=sys.stderr)
    minutes, of_processor = (time.monotonic() - began) / 60, (processor_seconds() - processor) / 60
    print(f"{'failed' if problems else 'all as written'}, {minutes:.1f} minutes, {of_processor:.1f} of the processor")
    return 1 if problems else 0


def run_lesson(lesson: Lesson, limit: float = SECONDS) -> tuple[list[str], list[str]]:
    """(what does not go as the lesson says, numbers that are others), a line each. limit: seconds for a command."""
    problems, other_numbers = [], []
    with tempfile.TemporaryDirectory() as folder:
        for path in PROJECT.iterdir():
            if path.name not in NOT_LINKED:
                (Path(folder) / path.name).symlink_to(path, target_is_directory=path.is_dir())
        output = ""
        for kind, value in actions(lesson.text):
            if kind == "expected":
                found = [row.problem(output) for row in value]
                other_numbers += [f"lesson {lesson.number}: {problem}" for problem in found if problem]
                output = ""
            else:
                printed, problem = run_command(value, kind, folder, lesson.number, limit)
                output += printed
                problems += [f"lesson {lesson.number}: {problem}"] * bool(problem)
    return problems, other_numbers


def actions(text: str) -> list[tuple[str, list]]:
    """("", arguments) or (what is typed, arguments) for a command, ("expected", rows) for a table; in order."""
    found_at = [(match.start(), "block", match) for match in BLOCK.finditer(text)]
    found_at += [(match.start(), "table", match) for match in TABLE.finditer(text)]
    found, session = [], ""
    for _, kind, match in sorted(found_at, key=lambda item: item[0]):
        if kind == "table":
            found.append(("expected", expected_numbers(match[1])))
        elif match[1] == "bash":
            found += [("", shlex.split(line)) for line in match[2].splitlines() if line.strip()]
        elif match[1] == "pdb":
            found[-1] = (match[2], found[-1][1])
        elif match[1] == "python":
            found.append(("", ["python", "-c", EARLIER.format(session, match[2]) if session else match[2]]))
            session += match[2]
    return found


def run_command(args: list[str], typed: str, folder: str, number: int, limit: float = SECONDS) -> tuple[str, str]:
    """(what it printed, what is wrong or "")."""
    shown = shlex.join(args) if args[:2] != ["python", "-c"] else "python, the lines of the lesson"
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    began, before = time.monotonic(), processor_seconds()
    options = {"cwd": folder, "env": environment, "input": typed, "capture_output": True, "text": True}
    try:
        done = subprocess.run(args, timeout=PATIENCE * limit, **options)
    except subprocess.TimeoutExpired:
        return "", f"{shown}: stopped after {PATIENCE * limit:.0f} s, expected at most {limit:.0f}"
    wall, processor = time.monotonic() - began, processor_seconds() - before
    print(f"  lesson {number:2d}  {wall:5.1f} s  {processor:5.1f} s of the processor  {shown}", flush=True)
    if done.returncode != 0:
        last = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()][-1:] or ["nothing printed"]
        return done.stdout, f"{shown}: exit status {done.returncode}: {last[0]}"
    if min(wall, processor) > limit:
        return done.stdout, f"{shown}: {min(wall, processor):.0f} s, expected at most {limit:.0f}"
    return done.stdout, ""


def processor_seconds() -> float:
    """Of the processes that have ended so far; 0 where the system does not say."""
    with contextlib.suppress(ImportError):
        import resource

        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime
    return float("inf")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
