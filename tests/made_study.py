"""Studies of made-up accuracies, whose true effects are known."""

import dataclasses

import numpy as np

from analysis.study_parts import runner, table
from analysis.study_parts.design import BASE, WHOLE
from analysis.study_parts.table import FINAL, RATE, Row

HELLO = {"data": "made-up", "data_fingerprint": "f" * 64, "tensorflow": "2", "numpy": "2", "python": "3",
         "processor": "p", "threads": 2}  # fmt: skip


def made_row(study, variant, purpose, seed, k, accuracy, **numbers) -> Row:
    """A row as runner.write makes it, with a made-up result."""
    settings = variant.settings(study, k, seed, purpose == FINAL)
    zeros = {field.name: 0.0 for field in dataclasses.fields(Row) if field.type is float}
    return Row(**zeros | {
        "variant": variant.name, "purpose": purpose, "seed": seed, "k": k, "learning_rate": variant.rate_at(k),
        "steps": 1000, "test_accuracy": float(accuracy), "train_accuracy": 0.8, "diverged": 0, "parameters": 100,
        "flops": 1000, "cpu_seconds": 20.0, "settings": table.settings_fingerprint(settings),
        "command": runner.command(variant.arguments(study, k, seed, purpose == FINAL)),
    } | numbers)  # fmt: skip


def finish(study, accuracy_of, variants=None) -> list[Row]:
    """The rows of a whole study, in order; accuracy_of(variant name, purpose, seed, k). variants: only these names."""
    rows = []
    while tasks := [t for t in runner.missing(study, rows) if variants is None or t[0].name in variants]:
        variant, purpose, seed, k = tasks[0]
        rows.append(made_row(study, *tasks[0], accuracy_of(variant.name, purpose, seed, k)))
    return rows


def simulated(effects: dict[str, float], random: np.random.Generator, std: float = 0.004, variants=None) -> list[Row]:
    """A study in which each variant is better than the base by its effect; runs of one seed have a part in common."""
    common = dict(zip(WHOLE.seeds, std * random.normal(size=len(WHOLE.seeds))))

    def accuracy_of(name, purpose, seed, k):
        if purpose == RATE:
            return 0.6 - 0.01 * abs(k)
        return 0.62 + effects.get(name, 0.0) + common[seed] + std * random.normal()

    return finish(WHOLE, accuracy_of, variants and {BASE, *variants})


def written(folder, study, rows) -> None:
    """The files of a study with these rows; the accuracy of a final run grows over three evaluations."""
    folder.mkdir(parents=True, exist_ok=True)
    table.check_same_study(folder, study, HELLO)
    table.append(folder / table.RUNS, table.COLUMNS, [[getattr(r, name) for name in table.COLUMNS] for r in rows])
    epochs = [
        [r.variant, r.seed, float(e), 100 * e, 2 - 0.4 * e, 0.3 + 0.1 * e, 2.1 - e / 3, r.test_accuracy - 0.15 + e / 20]
        for r in rows if r.purpose == FINAL for e in (1, 2, 3)
    ]  # fmt: skip
    table.append(folder / table.EPOCHS, table.EPOCH_COLUMNS, epochs)
