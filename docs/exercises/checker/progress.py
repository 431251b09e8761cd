"""What is remembered between two calls: solved exercises, attempts, hints. One JSON file that git ignores."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from checker import catalogue


@dataclass
class Progress:
    """Names of solved exercises; {name: attempts} and {name: hints shown} of the others."""

    done: list[str] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)
    hints: dict[str, int] = field(default_factory=dict)

    def record(self, name: str, passed: bool) -> None:
        """Remember the outcome of a check; an exercise that does not pass any more is not solved."""
        self.done = sorted({*self.done, name} if passed else {*self.done} - {name})
        if not passed:
            self.attempts[name] = self.attempts.get(name, 0) + 1

    def next_hint(self, name: str) -> int:
        """The number of the hint to show; 3, the last one, only after an attempt."""
        number = min(self.hints.get(name, 0) + 1, 3 if self.attempts.get(name) else 2)
        self.hints[name] = max(number, self.hints.get(name, 0))
        return number

    def forget(self, name: str) -> None:
        """An exercise as if it had not been touched."""
        self.done = [other for other in self.done if other != name]
        self.attempts.pop(name, None)
        self.hints.pop(name, None)


def file() -> Path:
    """Where it is kept, beside the exercises."""
    return catalogue.FOLDER / ".progress.json"


def read() -> Progress:
    """What was written last; an empty Progress when there is nothing, or nothing that can be read."""
    try:
        stored = json.loads(file().read_text(encoding="utf-8"))
        known = {
            "done": [str(name) for name in stored["done"]],
            **{key: {str(n): max(0, int(c)) for n, c in stored[key].items()} for key in ("attempts", "hints")},
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return Progress()
    return Progress(**known)


def write(progress: Progress) -> None:
    """Write it in one move, so that an interruption leaves the old file."""
    beside = file().with_suffix(".part")
    beside.write_text(json.dumps(asdict(progress), indent=1) + "\n", encoding="utf-8")
    beside.replace(file())
