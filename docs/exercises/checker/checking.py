"""Checking one file: the checks in their order, up to the first that does not pass, and the mistake recognized."""

import contextlib
import functools
import io
import warnings
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from checker import catalogue, learner
from checker.arrays import same
from checker.catalogue import Entry
from checker.exercise import Mistake, Wrong


@dataclass(frozen=True)
class Result:
    """What came out. `reached` checks pass; of the one after them stands what was found."""

    entry: Entry
    reached: int
    sentence: str = ""  # "" when all pass
    details: tuple[tuple[str, str], ...] = ()
    mistake: str = ""  # the name of the recognized mistake
    headline: str = ""  # of a pass
    printed: str = ""

    @property
    def passed(self) -> bool:
        """Do all checks pass?"""
        return not self.sentence


def check(entry: Entry, text: str) -> Result:
    """Check the text of a learner's file. The learner's exceptions become a sentence."""
    exercise, reached, module, printed = entry.exercise, 0, None, io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a division by zero becomes nan or inf, which the checks name
        try:
            module = learner.load(text, entry.path)
            for step in exercise.checks:
                guarded(step.function, module, text, entry)
                reached += 1
            headline = exercise.passed(module)
        except Wrong as wrong:
            own_prints = printed.getvalue()  # without those of the calls that recognize a mistake
            mistake = recognized(entry, module) if module and text != entry.unsolved else None
            if not mistake:
                return Result(entry, reached, wrong.sentence, wrong.details, printed=own_prints)
            details = wrong.details or (("found", wrong.sentence),)
            return Result(entry, reached, mistake.sentence, details, mistake.name, printed=own_prints)
    return Result(entry, reached, headline=headline, printed=printed.getvalue())


def guarded(function, module, text: str, entry: Entry):
    """Call a check; what the learner's code raises becomes Wrong."""
    try:
        return function(module)
    except BaseException as error:
        raise learner.stopped(error, text, entry.path) from None


def recognized(entry: Entry, module: ModuleType) -> Mistake | None:
    """The typical mistake with the same results as this module; None when there is none."""
    found = results(entry, module)
    if found is None or agree(entry, found, entry.solution):
        return None
    for mistake in entry.exercise.mistakes:
        if agree(entry, found, entry.wrong_answer(mistake)):
            return mistake
    return None


def results(entry: Entry, module: ModuleType) -> list | None:
    """What the exercise's probe returns for this module; None when that stops with an error or
    returns no numbers.
    """
    try:
        return [np.asarray(result, float) for result in entry.exercise.probe(module)]
    except KeyboardInterrupt:
        raise
    except BaseException:  # SystemExit too: the learner's code runs here
        return None


@functools.cache
def results_of(entry: Entry, text: str) -> list | None:
    """The same for the text of a solution or of a typical mistake."""
    return results(entry, catalogue.module(text, entry.answer))


def agree(entry: Entry, found: list, text: str) -> bool:
    """Whether a module of this text gives the same results."""
    others = results_of(entry, text)
    return (
        others is not None
        and len(found) == len(others)
        and all(same(a, b, entry.exercise.tolerance) for a, b in zip(found, others))
    )
