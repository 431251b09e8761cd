"""The CSV files of a run: written row by row while training goes on, cut back on resume, read for analysis.

Numbers are written so that they read back exactly; a reader meets a torn last line and carries
on. Nothing here needs TensorFlow.
"""

import io
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

STEPS, EPOCHS, LAYERS, TIMING = "steps.csv", "epochs.csv", "layers.csv", "timing.csv"
PREDICTIONS = "predictions.csv"

# Step s is the s-th step of the run, counted from 1; epoch e the e-th pass. A row of epochs.csv
# holds what was measured with the weights after step s; step 0 is the untouched network.
COLUMNS = {
    STEPS: ("step", "epoch", "loss", "accuracy", "learning_rate", "gradient_norm"),
    EPOCHS: (
        "epoch", "step", "train_loss", "train_accuracy", "test_loss", "test_accuracy",
        "train_calibration_error", "test_calibration_error",
    ),
    LAYERS: ("step", "layer", "quantity", "value"),
    PREDICTIONS: ("step", "true_class", "predicted_class", "count"),
    TIMING: ("step", "step_seconds", "elapsed_seconds", "probe_seconds"),
}  # fmt: skip
TEXT_COLUMNS = ("layer", "quantity")
WHOLE_COLUMNS = ("step", "epoch", "true_class", "predicted_class", "count")
REPEATING = (LAYERS, PREDICTIONS)  # several rows a step
PIECE = 1 << 21  # bytes of a file that are turned into numbers at a time
LATE = 10.0  # seconds that the numbers of a step may wait


class LogError(Exception):
    """A CSV file that is not what a run writes; the message names the file and the line."""


class Logs:
    """The files of a run, open for appending; rows become visible to others at every flush.

    `mirror(name, row)`, if given, is told every row too.
    """

    def __init__(self, folder: Path, mirror=None):
        self.files, self.mirror = {}, mirror
        for name, columns in COLUMNS.items():
            path = folder / name
            fresh = not path.exists() or path.stat().st_size == 0
            self.files[name] = open(path, "a", newline="")
            if fresh:
                self.files[name].write(",".join(columns) + "\n")

    def append(self, name: str, row: Iterable) -> None:
        """Add one row: the values in the order of COLUMNS[name]."""
        self.files[name].write(",".join(map(written, row)) + "\n")
        if self.mirror:
            self.mirror(name, row)

    def exams(self, epoch: int, step: int, train, test) -> None:
        """Add an epoch's two exams (core/exams.py), and what was taken for what on the pictures it has never seen."""
        self.append(EPOCHS, [
            epoch, step, train.loss, train.accuracy, test.loss, test.accuracy,
            train.calibration_error, test.calibration_error,
        ])  # fmt: skip
        for true_class, counts in enumerate(test.confusion.tolist()):
            for predicted_class, count in enumerate(counts):
                self.append(PREDICTIONS, [step, true_class, predicted_class, count])

    def layers(self, rows: Iterable[tuple]) -> None:
        """Add rows (step, layer, quantity, value) of layers.csv."""
        for row in rows:
            self.append(LAYERS, row)

    def flush(self, to_disk: bool = False) -> None:
        """Hand the rows to the system, and to the disk itself if asked: before a checkpoint refers to them."""
        for file in self.files.values():
            file.flush()
            if to_disk:
                os.fsync(file.fileno())

    def close(self) -> None:
        """Flush and close the files."""
        for file in self.files.values():
            file.close()


class StepRecorder:
    """Keeps the numbers of the last steps as tensors, on their device, until somebody looks.

    Turning a tensor into a number waits for the device to have computed it. On a GPU that wait,
    once a step, costs more than the step; once in a while it costs nothing.
    """

    def __init__(self, logs: Logs, steps_per_epoch: int, layer_names: list[str]):
        self.logs, self.steps_per_epoch, self.layer_names = logs, steps_per_epoch, layer_names
        self.waiting = []
        self.lost_step = None  # the first step whose loss or gradient was not finite; nothing after it is written
        self.began = self.previous = time.perf_counter()

    def record(self, step: int, metrics: dict, layer_quantities: dict) -> None:
        """Take in one step's scalars {name: []} and layer quantities {name: [layers]}; the latter may be empty."""
        now = time.perf_counter()
        self.waiting.append([step, metrics, layer_quantities, now - self.previous, now - self.began, [], 0.0])
        self.previous = now

    def record_looks(self, rows: list[tuple]) -> None:
        """Take in what the probes found after the newest step, as rows of layers.csv, and the time that took."""
        now = time.perf_counter()
        self.waiting[-1][-2:] = [rows, now - self.previous]
        self.previous = now

    def overdue(self) -> bool:
        """Whether the first waiting step has waited too long for somebody who follows the run."""
        return bool(self.waiting) and time.perf_counter() - self.began - self.waiting[0][4] > LATE

    def restart_clock(self) -> None:
        """Do not count what happened since the last step (an evaluation, a save) as part of the next one."""
        self.previous = time.perf_counter()

    def flush(self, to_disk: bool = False) -> dict[str, float]:
        """Write out all waiting steps and return the newest one's scalars; empty if none was waiting.

        Stops at the first step whose loss or gradient is not finite, and leaves its number in `lost_step`.
        """
        numbers = {}
        for step, metrics, layer_quantities, seconds, elapsed, looks, probe_seconds in self.waiting:
            numbers = {name: float(value) for name, value in metrics.items()}
            epoch = (step - 1) // self.steps_per_epoch + 1
            self.logs.append(STEPS, [step, epoch, *(numbers[name] for name in COLUMNS[STEPS][2:])])
            self.logs.append(TIMING, [step, seconds, elapsed, probe_seconds])
            columns = {name: values.numpy().tolist() for name, values in layer_quantities.items()}
            for i, layer in enumerate(self.layer_names if columns else []):
                for name, values in columns.items():
                    self.logs.append(LAYERS, [step, layer, name, values[i]])
            self.logs.layers(looks)
            if not (math.isfinite(numbers["loss"]) and math.isfinite(numbers["gradient_norm"])):
                self.lost_step = step
                break
        self.waiting.clear()
        self.logs.flush(to_disk)
        return numbers


def written(value) -> str:
    """A value as CSV text. A float is written with as many digits as it takes to read the same bits back."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else repr(float(value))


def cut_back(folder: Path, step: int, of_exam: tuple[str, ...] = ()) -> None:
    """Drop every row of a later step, and a torn last line, from all files: no step appears twice after a resume.

    of_exam: the quantities an exam writes to layers.csv, if that of `step` was cut short: it will be
    sat again, so its rows of that very step go too.
    """
    for name, columns in COLUMNS.items():
        path = folder / name
        if not path.exists():
            continue
        place = columns.index("step")
        kept = []
        for number, line in enumerate(whole_lines(path)):
            if number > 0:
                try:
                    cells = line.split(",")
                    again = of_exam and (name == PREDICTIONS or (name == LAYERS and cells[2] in of_exam))
                    if int(cells[place]) > step - bool(again):
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


def whole_lines(path: Path) -> list[str]:
    """The lines that end in a line end: the last one may still be on its way to the disk."""
    text = path.read_text()
    return text[: text.rfind("\n") + 1].splitlines()


def read(folder: Path, name: str) -> dict[str, np.ndarray]:
    """One file of a run as {column: array}: steps and epochs int64, text as bytes, the rest float64.

    An empty file or one that has only its header gives empty arrays. The file is read in pieces:
    of a million steps only the numbers are ever in memory. Raises LogError, with the number of the
    line, for a row that a run would not have written, or for steps that go back (two runs mixed
    into one file).
    """
    path, wanted = Path(folder) / name, COLUMNS[name]
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        raise LogError(f"{path}: missing; a run writes it from its first step on") from None
    with file:
        header = file.readline()
        columns = header.decode(errors="replace").strip().split(",") if header.endswith(b"\n") else list(wanted)
        if columns[: len(wanted)] != list(wanted):
            found = header[:80].decode(errors="replace").rstrip("\n")
            raise LogError(f"{path} line 1: expected {','.join(wanted)}, found {found}")
        kinds = [(c, "S48" if c in TEXT_COLUMNS else np.int64 if c in WHOLE_COLUMNS else np.float64) for c in columns]
        parts = {column: [] for column in columns}
        line = 2
        for piece in pieces(file):
            try:
                table = np.atleast_1d(np.loadtxt(io.BytesIO(piece), delimiter=",", dtype=kinds, comments=None))
            except ValueError:
                raise LogError(bad_row(path, piece, kinds, line)) from None
            line += piece.count(b"\n")
            for column in columns:
                parts[column].append(narrow(table[column]))
    # One column after the other lets go of its parts, so that the table is never there twice.
    found = {column: np.concatenate(parts.pop(column) or [np.empty(0, kind)]) for column, kind in kinds}
    back = np.flatnonzero(np.diff(found["step"]) < (0 if name in REPEATING else 1))
    if back.size:
        raise LogError(
            f"{path} line {back[0] + 3}: step {found['step'][back[0] + 1]} comes after step "
            f"{found['step'][back[0]]}; are two runs mixed in this file?"
        )
    return found


def pieces(file):
    """What is left of an open file, in pieces of whole lines; a torn last line is left out."""
    torn = b""
    while block := file.read(PIECE):
        whole, end, torn = (torn + block).rpartition(b"\n")
        if end:
            yield whole + end


def narrow(column: np.ndarray) -> np.ndarray:
    """A column of its own, text in as many bytes as its longest word has: S48 would be most of the table."""
    width = max(np.strings.str_len(column).max(initial=1), 1) if column.dtype.kind == "S" else 0
    return column.astype(f"S{width}" if width else column.dtype)


def bad_row(path: Path, body: bytes, kinds, first: int) -> str:
    """The sentence about the first row that does not fit; `first` is the number of the body's first line."""
    for number, line in enumerate(body.decode(errors="replace").splitlines(), start=first):
        cells = line.split(",")
        try:
            if len(cells) != len(kinds):
                raise ValueError
            for cell, (_, kind) in zip(cells, kinds):
                if kind != "S48":
                    kind(cell)
        except ValueError:
            return f"{path} line {number}: expected {','.join(name for name, _ in kinds)}, found {line[:80]!r}"
    return f"{path}: not a table of numbers; was it edited?"
