"""How good the diagnoses are on the fault collection: alarms, recall, precision."""

import math
from dataclasses import dataclass
from pathlib import Path

from analysis import diagnose
from analysis.diagnosis.cases import Case
from analysis.diagnosis.collection import COLLECTION
from analysis.support.run import Run
from core.run import run_folder


@dataclass(frozen=True)
class Verdict:
    """The diagnosis of one run of the collection. Notes are left out: they name no fault."""

    name: str
    expected: tuple[str, ...]
    findings: tuple  # of analysis.diagnose, red and amber, most important first

    @property
    def causes(self) -> list[str]:
        """The ids of the findings that no other one explains."""
        return [finding.id for finding in self.findings if not finding.explained_by]

    @property
    def shown(self) -> str:
        """The first two findings."""
        return ", ".join(f"{finding.id} ({finding.severity})" for finding in self.findings[:2]) or "none"

    @property
    def named(self) -> bool:
        """Whether a right name is among the first two findings; for a clean run, whether there is no red one."""
        if not self.expected:
            return all(finding.severity != "red" for finding in self.findings)
        return any(finding.id in self.expected for finding in self.findings[:2])


def verdicts(recordings: Path, cases: dict[str, Case] = COLLECTION) -> list[Verdict]:
    """The diagnoses of the recordings of these cases in this folder. Raises RunError when one is missing."""
    found = []
    for name, case in cases.items():
        if not (recordings / name / run_folder.CONFIG).is_file():
            raise run_folder.RunError(
                f"{recordings / name}: not recorded; `python analysis/diagnosis/faults.py {name} --out {recordings}` "
                "does it"
            )
        found.append(verdict(name, case, diagnose.findings(Run(recordings / name))))
    return found


def verdict(name: str, case: Case, findings) -> Verdict:
    """The diagnosis of this case, without the notes."""
    return Verdict(name, case.expected, tuple(f for f in findings if f.severity != "note"))


def score(found: list[Verdict]) -> str:
    """The table, and under it alarms, recall and precision over the collection."""
    rows = [("run", "its fault", "first two findings", "named")]
    for verdict in found:
        right = " or ".join(verdict.expected) or "none"
        rows.append((verdict.name, right, verdict.shown, "yes" if verdict.named else "NO"))
    faulty, clean = ([v for v in found if bool(v.expected) == wanted] for wanted in (True, False))
    alarms = sum(bool(v.findings) for v in clean)
    causes = [(v, id) for v in found for id in v.causes]
    right = sum(id in v.expected for v, id in causes)
    named = sum(v.named for v in faulty)
    silent = sum(not v.findings for v in faulty)
    red = sum(any(f.severity == "red" for f in v.findings) for v in clean)
    return "\n".join([
        *table(rows), "",
        f"recall     {named} of {len(faulty)} faults are among the first two findings{percentage(named, len(faulty))}",
        f"silent     {silent} of {len(faulty)} faults have no red or amber finding{percentage(silent, len(faulty))}",
        f"precision  {right} of {len(causes)} causes that are named are right{percentage(right, len(causes))}",
        f"alarms     red on {red}, red or amber on {alarms} of {len(clean)} clean runs{percentage(alarms, len(clean))}",
    ])  # fmt: skip


def percentage(part: int, whole: int) -> str:
    """`: 50 %, interval 24 to 76 %` with Wilson's 95 % interval, or nothing of nothing."""
    if not whole:
        return ""
    low, high = wilson(part, whole)
    return f": {100 * part / whole:.0f} %, interval {100 * low:.0f} to {100 * high:.0f} %"


def wilson(part: int, whole: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a probability of which `part` of `whole` trials came true.  Wilson 1927."""
    p = part / whole
    middle, half = p + z**2 / (2 * whole), z * math.sqrt(p * (1 - p) / whole + z**2 / (4 * whole**2))
    return max(middle - half, 0) / (1 + z**2 / whole), (middle + half) / (1 + z**2 / whole)


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines of a Markdown table; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
