"""How good the diagnoses are on the fault collection: alarms, recall, precision."""

from dataclasses import dataclass
from pathlib import Path

from analysis import diagnose
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
    def named(self) -> bool:
        """Whether a right name is among the first two findings; for a clean run, whether there is no red one."""
        if not self.expected:
            return all(finding.severity != "red" for finding in self.findings)
        return any(finding.id in self.expected for finding in self.findings[:2])


def verdicts(recordings: Path) -> list[Verdict]:
    """The diagnoses of all recordings in this folder. Raises RunError when one is missing."""
    found = []
    for name, case in COLLECTION.items():
        if not (recordings / name / run_folder.CONFIG).is_file():
            raise run_folder.RunError(
                f"{recordings / name}: not recorded; `python analysis/diagnosis/faults.py {name} --out {recordings}` "
                "does it"
            )
        serious = tuple(f for f in diagnose.findings(Run(recordings / name)) if f.severity != "note")
        found.append(Verdict(name, case.expected, serious))
    return found


def score(found: list[Verdict]) -> str:
    """The table, and under it alarms, recall and precision over the collection."""
    rows = [("run", "its fault", "first two findings", "named")]
    for verdict in found:
        first = ", ".join(f"{finding.id} ({finding.severity})" for finding in verdict.findings[:2])
        right = " or ".join(verdict.expected) or "none"
        rows.append((verdict.name, right, first or "none", "yes" if verdict.named else "NO"))
    faulty, clean = ([v for v in found if bool(v.expected) == wanted] for wanted in (True, False))
    alarms = [sum(bool(v.findings) for v in group) for group in (faulty, clean)]
    causes = [(v, id) for v in found for id in v.causes]
    right = sum(id in v.expected for v, id in causes)
    named = sum(v.named for v in faulty)
    return "\n".join([
        *table(rows), "",
        f"alarms     red or amber on {alarms[0]} of {len(faulty)} faulty and {alarms[1]} of {len(clean)} clean runs",
        f"recall     {named} of {len(faulty)} faults are among the first two findings{percentage(named, len(faulty))}",
        f"precision  {right} of {len(causes)} causes that are named are right{percentage(right, len(causes))}",
    ])  # fmt: skip


def percentage(part: int, whole: int) -> str:
    """`: 50 %`, or nothing of nothing."""
    return f": {100 * part / whole:.0f} %" if whole else ""


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines of a Markdown table; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
