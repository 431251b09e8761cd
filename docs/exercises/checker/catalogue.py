"""The exercises on disk: NN_name.py is the learner's, answers/NN_name.py the solution, checks/NN_name.py the Exercise.

The learner's file is made from the solution. What stands between `# gap: what to do` and `# end of gap` becomes one
line, `...  # what to do`, and with `# gap y: what to do` it becomes `y = ...  # what to do`. An exercise with `planted`
changes has bugs instead. So a solution and its file differ nowhere else, and a file is restored without git.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

from checker.exercise import Exercise, Mistake, changed

FOLDER = Path(__file__).resolve().parent.parent
GAP = re.compile(r"^( *)# gap ?([\w, ]*): (.*)\n((?:.*\n)*?)\1# end of gap\n", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """An exercise and its files."""

    name: str  # 01_convolution

    @property
    def number(self) -> int:
        """1 for 01_convolution."""
        return int(self.name[:2])

    @property
    def path(self) -> Path:
        """The learner's file."""
        return FOLDER / f"{self.name}.py"

    def text(self) -> str:
        """What stands in the learner's file. Editors on Windows add a byte order mark and end lines with two bytes,
        and git may do the latter: none of it is an attempt. What is not UTF-8 becomes a replacement character.
        """
        return self.path.read_bytes().decode("utf-8-sig", errors="replace").replace("\r\n", "\n")

    @property
    def answer(self) -> Path:
        """The file of the solution."""
        return FOLDER / "answers" / f"{self.name}.py"

    @cached_property
    def exercise(self) -> Exercise:
        """Its checks, hints and mistakes."""
        path = FOLDER / "checks" / f"{self.name}.py"
        return module(path.read_text(encoding="utf-8"), path).EXERCISE

    @cached_property
    def solution(self) -> str:
        """The text of the solution."""
        return self.answer.read_text(encoding="utf-8")

    @property
    def unsolved(self) -> str:
        """The text of the learner's file as it is delivered."""
        return changed(GAP.sub(open_gap, self.solution), self.exercise.planted)

    @property
    def solution_lines(self) -> list[str]:
        """The lines of the solution that the learner had to find."""
        if self.exercise.planted:
            return [right.strip("\n") for right, _ in self.exercise.planted]
        return [gap[4].rstrip("\n") for gap in GAP.finditer(self.solution)]

    def wrong_answer(self, mistake: Mistake) -> str:
        """The text of a file with this mistake."""
        return changed(self.solution, mistake.changes)


def open_gap(gap: re.Match) -> str:
    """The gap of a learner's file: an ellipsis, behind which stands what to do."""
    indent, names, what = gap[1], gap[2].split(","), gap[3]
    assigned = "".join(f"{name.strip()} = " for name in names if name.strip())
    return f"{indent}{assigned}...  # {what}\n"


def entries() -> list[Entry]:
    """Every exercise, in order."""
    return [Entry(path.stem) for path in sorted((FOLDER / "checks").glob("[0-9][0-9]_*.py"))]


def find(text: str) -> Entry | None:
    """The exercise that the learner means by 3, 03 or 03_max_pooling_backward; None without one."""
    name = Path(text).stem
    for entry in entries():
        if name == entry.name or (name.isdecimal() and int(name) == entry.number):
            return entry
    return None


def module(text: str, path: Path) -> ModuleType:
    """A module of this text; `path` is the file that its errors name. Raises what the text raises."""
    made = ModuleType(path.stem)
    made.__file__ = str(path)
    exec(compile(text, str(path), "exec", dont_inherit=True), made.__dict__)
    return made
