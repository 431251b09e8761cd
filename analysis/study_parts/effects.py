"""From the rows of a study to its effects: difference to the base with its interval, beside what was expected.

Only variants of which all seeds are there are compared; the others are "not run yet". Seeds are paired: run i of a
variant and run i of the base share their images, their order and, where the layers are the same, their initial weights.
The p-values of all comparisons are corrected together (Holm), and a difference counts as shown if the corrected p is at
most 0.05.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.study_parts import runner, table
from analysis.study_parts.design import BASE, WHOLE, Factor, Study, Variant
from analysis.study_parts.table import FINAL, Row
from analysis.support import statistics
from analysis.support.statistics import PairedDifference
from core.run.errors import RunError

BETTER, WORSE, SAME = "better", "worse", "same"
EXPECTATIONS = table.PROJECT / "docs" / "study" / table.EXPECTATIONS  # written before the first run
COSTS = table.PROJECT / "docs" / "reference" / "study_variants.csv"


@dataclass(frozen=True)
class Effect:
    """One variant beside the base."""

    factor: Factor
    variant: Variant
    rows: tuple[Row, ...]  # its final runs, by seed
    base_rows: tuple[Row, ...]
    result: PairedDifference  # test accuracy, variant - base
    p: float  # corrected for all comparisons
    expected: str  # better, worse or same
    why: str
    seconds: float  # of the training, as a multiple of the base's

    @property
    def outcome(self) -> str:
        """Better or worse if a difference is shown, same if none is."""
        if self.p > 1 - statistics.CONFIDENCE:
            return SAME
        return BETTER if self.result.difference > 0 else WORSE

    @property
    def surprise(self) -> bool:
        """Whether a difference is shown that is not the one that was expected before the first run."""
        return self.outcome not in (SAME, self.expected)

    @property
    def missed(self) -> bool:
        """Whether a difference was expected and none is shown."""
        return self.outcome == SAME != self.expected

    def ratio(self, column: str) -> float:
        """The mean of a column over that of the base: 1.5 for half as much again."""
        return mean(self.rows, column) / mean(self.base_rows, column)

    @property
    def work(self) -> float:
        """FLOPs of the whole training, as a multiple of the base's: FLOPs an image x batch size x steps."""
        return work(self.rows[0]) / work(self.base_rows[0])


def mean(rows, column: str) -> float:
    """The mean of a column over runs."""
    return float(np.mean([getattr(row, column) for row in rows]))


def work(row: Row) -> float:
    """Forward FLOPs of all training images that a run processed."""
    return row.flops * row.steps * batch_size(row)


def batch_size(row: Row) -> int:
    """Images a step, from the row's command."""
    words = row.command.split()
    return int(words[words.index("--batch-size") + 1]) if "--batch-size" in words else 100


def seconds(rows: tuple[Row, ...], step_ms: dict | None) -> float:
    """The seconds of a training: a step's, measured in turn with the others', times the steps; else the rows' own."""
    return step_ms[rows[0].variant] * rows[0].steps / 1000 if step_ms else mean(rows, "cpu_seconds")


def gap(row: Row) -> float:
    """Training accuracy - test accuracy: what the network knows of its training images only."""
    return row.train_accuracy - row.test_accuracy


def final_rows(study: Study, rows: list[Row], variant: str) -> tuple[Row, ...]:
    """The final runs of a variant by seed, with the rate that the hold-out chose; () unless every seed is there."""
    found = {row.seed: row for row in rows if row.variant == variant and row.purpose == FINAL}
    return tuple(found[seed] for seed in study.seeds) if set(study.seeds) <= set(found) else ()


def read_expectations(path: Path) -> dict[str, tuple[str, str]]:
    """{variant: (better, worse or same; why)}. Raises RunError when it cannot be read."""
    try:
        with open(path, newline="") as file:
            found = {row["variant"]: (row["expected"], row["why"]) for row in csv.DictReader(file)}
        if wrong := [name for name, (expected, _) in found.items() if expected not in (BETTER, WORSE, SAME)]:
            raise ValueError(f"{wrong[0]}: expected better, worse or same")
        return found
    except (OSError, KeyError, ValueError) as error:
        raise RunError(f"{path}: not a table of expectations ({error})") from None


def effects(study: Study, rows: list[Row], expectations: dict, step_ms: dict | None = None) -> list[Effect]:
    """The effect of every variant that is complete, in the order of the design. Raises RunError without the base.

    step_ms: {variant: milliseconds a step}, measured in turn; without it the seconds are the rows' own, which depend on
    what else the machine did.
    """
    base = final_rows(study, rows, BASE)
    if not base:
        raise RunError(f"the {len(study.seeds)} runs of the base are not there yet: nothing to compare with")
    compared = []
    for factor in study.factors:
        for variant in factor.variants:
            if own := final_rows(study, rows, variant.name):
                pair = [[row.test_accuracy for row in group] for group in (own, base)]
                compared.append((factor, variant, own, statistics.paired_difference(*pair)))
    corrected = statistics.holm([result.p for *_, result in compared]) if compared else []
    found = []
    for (factor, variant, own, result), p in zip(compared, corrected):
        cost = seconds(own, step_ms) / seconds(base, step_ms)
        expected, why = expectations.get(variant.name, (SAME, ""))
        found.append(Effect(factor, variant, own, base, result, float(p), expected, why, cost))
    return found


def not_run(study: Study, found: list[Effect]) -> dict[str, list[str]]:
    """{factor: its variants that are not complete}."""
    there = {effect.variant.name for effect in found}
    lacking = {f.name: [v.name for v in f.variants if v.name not in there] for f in study.factors}
    return {name: variants for name, variants in lacking.items() if variants}


def rates_in_words(rows: list[Row], variant: Variant) -> str:
    """The learning rates that were tried and their hold-out accuracies, the chosen one marked."""
    tried = runner.accuracies(rows, variant)
    chosen = runner.best_rate(tried)
    each = [
        f"{variant.rate_at(k):g}: {100 * tried[k]:.1f} %" + (" (chosen)" if k == chosen else "") for k in sorted(tried)
    ]
    return ", ".join(each)


def read(study: Study, folder: Path) -> tuple[list[Row], list[Effect]]:
    """The rows of a study and its effects. Raises RunError."""
    rows = table.read(folder)
    if not rows:
        raise RunError(f"{folder / table.RUNS}: no run is there yet; start with `python analysis/study.py`")
    for row in rows:
        table.check_same_recipe(folder, study, row)
    return rows, effects(study, rows, read_expectations(EXPECTATIONS), read_step_ms() if study is WHOLE else None)


def read_step_ms(path: Path = COSTS) -> dict[str, float] | None:
    """{variant: milliseconds a step} of analysis/benchmarks/study_costs.py; None if it was not measured."""
    if not path.is_file():
        return None
    with open(path, newline="") as file:
        return {row["variant"]: float(row["step_ms"]) for row in csv.DictReader(file)}
