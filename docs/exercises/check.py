"""Check an exercise of docs/exercises, give a hint, restore its file; without a number, watch and check what is saved.

python docs/exercises/check.py           show what is solved, then check every file that is saved
python docs/exercises/check.py 3         check exercise 3
python docs/exercises/check.py 3 --hint  the next of its three hints
python docs/exercises/check.py 3 --reset restore its file
"""

import argparse
import contextlib
import io
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

try:
    import numpy.random  # noqa: F401  NumPy itself would load it only inside a check

    from checker import catalogue, checking, progress, report, time_limit, watching
    from checker.catalogue import Entry
except Exception as error:  # a learner's random.py or numpy.py beside this file is found before the real one
    hidden = {*sys.stdlib_module_names, "numpy"}
    for path in sorted(Path(__file__).resolve().parent.glob("*.py")):
        if path.stem in hidden:
            sys.exit(f"check.py: docs/exercises/{path.name} hides Python's own {path.stem}, which the checker needs "
                     f"({type(error).__name__}): give your file another name")  # fmt: skip
    raise


def parse(args: list[str] | None) -> argparse.Namespace:
    """The command line."""
    text = __doc__.split("\n", maxsplit=1)
    parser = argparse.ArgumentParser("check.py", description=text[0], epilog=text[1], allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("exercise", nargs="?", metavar="NUMBER", help="an exercise, 1 to 15; without it, watch")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--hint", action="store_true", help="show the next of three hints; the last after an attempt")
    choice.add_argument("--reset", action="store_true", help="restore the file as it was delivered")
    choice.add_argument("--progress", action="store_true", help="show what is solved, and stop")
    invocation = parser.parse_args(args)
    if invocation.exercise is not None:
        known = catalogue.find(invocation.exercise)
        if known is None:
            parser.error(f"exercise {invocation.exercise!r}: expected a number from 1 to {len(catalogue.entries())}")
        invocation.exercise = known
    elif invocation.hint or invocation.reset:
        parser.error("--hint and --reset need the number of an exercise, as in: check.py 3 --hint")
    return invocation


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def check(entry: Entry) -> int:
    """Check one exercise and print the report. Returns the exit status: 0 when it passes."""
    if not entry.path.is_file():
        say(f"{report.relative(entry.path)} is missing; {report.command(entry, '--reset')} restores it.")
        return 1
    if entry.exercise.tensorflow:
        say("starting TensorFlow, some seconds ...")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    state, output, errors = progress.read(), sys.stdout, sys.stderr

    def stopped(sentence: str) -> None:
        state.record(entry.name, False)
        print(report.of_check(checking.Result(entry, 0, sentence), set()), file=output, flush=True)
        try:
            progress.write(state)
        except OSError as error:
            print(not_possible(error), file=errors, flush=True)

    sys.stdin = io.StringIO()  # input() and breakpoint() end at once instead of waiting
    with time_limit.time_limit(entry.path, stopped, slow=entry.exercise.tensorflow):
        text = entry.text()
        result = checking.check(entry, text)
    if result.passed or text != entry.unsolved:  # the file as delivered is no attempt
        state.record(entry.name, result.passed)
    say(report.of_check(result, set(state.done)))  # before what a full disk or a folder of somebody else's stops
    progress.write(state)
    return 0 if result.passed else 1


def hint(entry: Entry) -> int:
    """Show the next hint."""
    state = progress.read()
    number = state.next_hint(entry.name)
    if number == 3:
        left = f"That was the last hint; then there is the solution, {report.relative(entry.answer)}"
    elif number == 2 and not state.attempts.get(entry.name):
        left = f"The last hint opens after an attempt: write something, and then {report.command(entry)}"
    else:
        left = f"The next one: {report.command(entry, '--hint')}"
    say(report.of_hint(entry, number, left))
    progress.write(state)
    return 0


def reset(entry: Entry) -> int:
    """Restore the learner's file; what stood there is kept beside it, under a name that is free."""
    kept = ""
    if entry.path.is_file() and entry.text() != entry.unsolved:
        count = len(list(entry.path.parent.glob(f"{entry.name}.mine*")))
        mine = entry.path.with_suffix(f".mine{count or ''}")
        entry.path.replace(mine)
        kept = f"; what you wrote is in {report.relative(mine)}"
    entry.path.write_text(entry.unsolved, encoding="utf-8")
    say(f"restored {report.relative(entry.path)}{kept}")
    state = progress.read()
    state.forget(entry.name)
    progress.write(state)
    return 0


def not_possible(error: OSError) -> str:
    """What a disk refuses, as one line."""
    return f"check.py: {error.filename}: {error.strerror}; check the path and its permissions"


def main(args: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit status."""
    invocation = parse(args)
    entry = invocation.exercise
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a stream that a test has put there
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows no ± prints it as an escape
    try:
        if invocation.progress:
            say(report.of_progress(set(progress.read().done)))
            return 0
        if entry is None:
            watching.watch(say)
            return 0
        return (hint if invocation.hint else reset if invocation.reset else check)(entry)
    except KeyboardInterrupt:
        say("\nstopped; what is solved is remembered")
        return 130 if entry else 0
    except OSError as error:
        print(not_possible(error), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
