"""The CSV files of a run that is resumed: nothing is missing up to its checkpoint, nothing stands behind it."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from core.run import logs
from core.run.errors import LogError


def cut_back(folder: Path, step: int, of_evaluation: tuple[str, ...] = ()) -> None:
    """Drop every row of a later step, and a torn last line, from all files: no step appears twice after a resume.

    of_evaluation: the quantities that an evaluation writes to layers.csv, if that of `step` was cut short: it will be
    repeated, so its rows of that very step go too.
    """
    for name, columns in logs.COLUMNS.items():
        path = folder / name
        if not path.exists():
            continue
        index = columns.index("step")
        kept = []
        for number, line in enumerate(logs.whole_lines(path)):
            if number == 0:
                logs.check_header(path, line.split(","), columns)
            else:
                try:
                    cells = line.split(",")
                    repeated = name == logs.PREDICTIONS or (name == logs.LAYERS and cells[2] in of_evaluation)
                    if int(cells[index]) > step - bool(of_evaluation and repeated):
                        continue
                except (ValueError, IndexError):
                    raise LogError(
                        f"{path} line {number + 1}: expected a row of {','.join(columns)}, found {line!r}"
                    ) from None
            kept.append(line + "\n")
        partial = path.with_name(name + ".partial")
        with open(partial, "w", newline="") as file:
            file.writelines(kept)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)


def check_rows(folder: Path, step: int) -> None:
    """Raise LogError unless the files hold what a run writes up to this step: each step once, no file missing."""
    for name in logs.COLUMNS:
        if step and not (folder / name).is_file():
            raise LogError(f"{folder / name}: missing; the run has taken {step:,} steps; restore it, or train again")
    for name in (logs.STEPS, logs.TIMING):
        found = logs.read(folder, name)["step"] if step else np.empty(0, np.int64)
        found = found[found <= step]
        holes = np.flatnonzero(found != np.arange(1, len(found) + 1))
        if holes.size or len(found) < step:
            missing = int(holes[0]) + 1 if holes.size else len(found) + 1
            raise LogError(
                f"{folder / name}: step {missing:,} is missing, the checkpoint is of step {step:,}; restore the file, "
                "or train again"
            )


def check_each(folder: Path, name: str, steps: Iterable[int], rows: int, quantity: bytes = b"") -> None:
    """Raise LogError unless a file has this many rows (of this quantity) for each of the steps."""
    table = logs.read(folder, name)
    found = table["step"][table["quantity"] == quantity] if quantity else table["step"]
    counts = dict(zip(*(array.tolist() for array in np.unique(found, return_counts=True))))
    for step in steps:
        if counts.get(step, 0) != rows:
            raise LogError(
                f"{folder / name}: step {step:,} has {counts.get(step, 0)} of {rows} rows{' of ' * bool(quantity)}"
                f"{quantity.decode()}; restore the file, or train again"
            )
