"""What an exercise consists of: its checks in order, its hints, and the typical mistakes with a sentence for each."""

from collections.abc import Callable
from dataclasses import dataclass, field


class Wrong(Exception):
    """A check that does not pass: one sentence for the learner, and (label, text) lines that show what was found."""

    def __init__(self, sentence: str, *details: tuple[str, str]):
        super().__init__(sentence)
        self.sentence, self.details = sentence, details


@dataclass(frozen=True)
class Check:
    """A step of the check. `function` takes the learner's module and raises Wrong when it does not pass."""

    name: str
    function: Callable


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer: the changes (old, new) that turn the solution into it, and what it gets to read.

    It is recognized by what it computes: a learner's file with the same results has made the same mistake, however it
    is written.
    """

    name: str
    sentence: str
    changes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Exercise:
    """One exercise. `probe(module)` returns what is compared to recognize a mistake: a list of arrays."""

    title: str
    hints: tuple[str, str, str]  # what to consider, which rule, nearly the line
    checks: tuple[Check, ...]
    probe: Callable
    mistakes: tuple[Mistake, ...]
    explanation: str  # shown after passing, above the lines of the solution
    planted: tuple[tuple[str, str], ...] = ()  # find the bug: the changes that turn the solution into the faulty file
    passed: Callable = field(default=lambda module: "all of its checks pass")  # what the headline of a pass says
    tensorflow: bool = False
    tolerance: float = 1e-9  # between the results of a file and those of a mistake, relative to the largest number


def changed(text: str, changes: tuple[tuple[str, str], ...]) -> str:
    """The text with every (old, new) replaced. Raises ValueError unless each `old` occurs exactly once."""
    for old, new in changes:
        if text.count(old) != 1:
            raise ValueError(f"expected once, found {text.count(old)} times: {old!r}")
        text = text.replace(old, new)
    return text
