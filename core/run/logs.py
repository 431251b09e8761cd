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

from core.run import old_names, schema
from core.run.errors import LogError
from core.settings.settings import shown

STEPS, EPOCHS, LAYERS, TIMING = "steps.csv", "epochs.csv", "layers.csv", "timing.csv"
PREDICTIONS = "predictions.csv"

# Step s is the s-th step of the run, counted from 1; epoch e the e-th pass. A row of epochs.csv
# holds what was measured with the weights after step s; step 0 is the untrained network.
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
CHUNK = 1 << 21  # bytes of a file that are turned into numbers at a time
LATE = 10.0  # seconds that the numbers of a step may wait
FLUSH_ORDER = (TIMING, LAYERS, PREDICTIONS, STEPS, EPOCHS)  # the row that says that an epoch is complete comes last


class Logs:
    """The files of a run, open for appending; rows become visible to others at every flush.

    `mirror(name, row)`, if given, receives every row too.
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

    def evaluations(self, epoch: int, step: int, train, test) -> None:
        """Add an epoch's two evaluations (core/measure/evaluation.py), and the confusion matrix of the test images."""
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
        """Hand the rows to the system, and wait for the disk if asked: before a checkpoint refers to them."""
        for name in FLUSH_ORDER:
            self.files[name].flush()
            if to_disk:
                os.fsync(self.files[name].fileno())

    def close(self) -> None:
        """Flush and close the files."""
        self.flush()
        for file in self.files.values():
            file.close()


class StepRecorder:
    """Keeps the numbers of the last steps as tensors, on their device, until they are flushed.

    Turning a tensor into a number waits until the device has computed it. On a GPU that wait would cost
    more than the step if it came once a step.
    """

    def __init__(self, logs: Logs, epoch_of, layer_names: list[str]):
        self.logs, self.epoch_of, self.layer_names = logs, epoch_of, layer_names
        self.waiting = []
        self.nonfinite_step = None  # the first step whose loss or gradient was not finite; nothing after it is written
        self.began = self.previous = time.perf_counter()

    def record(self, step: int, metrics: dict, layer_quantities: dict) -> None:
        """Keep one step's scalars {name: []} and layer quantities {name: [layers]}; the latter may be empty."""
        now = time.perf_counter()
        self.waiting.append([step, metrics, layer_quantities, now - self.previous, now - self.began, [], 0.0])
        self.previous = now

    def record_measurements(self, rows: list[tuple]) -> None:
        """Keep what the probes measured after the newest step, as rows of layers.csv, and the time that took."""
        now = time.perf_counter()
        self.waiting[-1][-2:] = [rows, now - self.previous]
        self.previous = now

    def overdue(self) -> bool:
        """Whether the first waiting step has waited too long for somebody who follows the run."""
        return bool(self.waiting) and time.perf_counter() - self.began - self.waiting[0][4] > LATE

    def restart_timer(self) -> None:
        """Do not count what happened since the last step (an evaluation, a save) as part of the next one."""
        self.previous = time.perf_counter()

    def flush(self, to_disk: bool = False) -> dict[str, float]:
        """Write out all waiting steps and return the newest one's scalars; empty if none was waiting.

        Stops at the first step whose loss or gradient is not finite, and leaves its number in `nonfinite_step`.
        """
        numbers = {}
        for step, metrics, layer_quantities, seconds, elapsed, measurements, probe_seconds in self.waiting:
            numbers = {name: float(value) for name, value in metrics.items()}
            self.logs.append(STEPS, [step, self.epoch_of(step), *(numbers[name] for name in COLUMNS[STEPS][2:])])
            self.logs.append(TIMING, [step, seconds, elapsed, probe_seconds])
            columns = {name: values.numpy().tolist() for name, values in layer_quantities.items()}
            for i, layer in enumerate(self.layer_names if columns else []):
                for name, values in columns.items():
                    self.logs.append(LAYERS, [step, layer, name, values[i]])
            self.logs.layers(measurements)
            if not (math.isfinite(numbers["loss"]) and math.isfinite(numbers["gradient_norm"])):
                self.nonfinite_step = step
                break
        self.waiting.clear()
        self.logs.flush(to_disk)
        return numbers


def written(value) -> str:
    """A value as CSV text. A float is written with as many digits as it takes to read the same bits back."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else repr(float(value))


def whole_lines(path: Path) -> list[str]:
    """The lines that end in a line end: the last one may still be on its way to the disk."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise LogError(f"{path} line {line}: expected text in UTF-8; was it edited?") from None
    return text[: text.rfind("\n") + 1].splitlines()


def read(folder: Path, name: str) -> dict[str, np.ndarray]:
    """One file of a run as {column: array}: steps and epochs int64, text as bytes, the rest float64.

    An empty file or one that has only its header gives empty arrays. The file is read in chunks:
    of a million steps only the numbers are in memory. Raises LogError, with the number of the
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
        check_header(path, columns, wanted)
        kinds = [(c, "S48" if c in TEXT_COLUMNS else np.int64 if c in WHOLE_COLUMNS else np.float64) for c in columns]
        parts = {column: [] for column in columns}
        line = 2
        for chunk in chunks(file):
            try:
                if not chunk.strip():
                    raise ValueError("empty lines")
                table = np.atleast_1d(np.loadtxt(io.BytesIO(chunk), delimiter=",", dtype=kinds, comments=None))
            except ValueError:
                raise LogError(bad_row(path, chunk, kinds, line)) from None
            line += chunk.count(b"\n")
            for column in columns:
                parts[column].append(narrow(table[column]))
    # One column after the other frees its parts, so that the table is in memory once.
    found = {column: np.concatenate(parts.pop(column) or [np.empty(0, kind)]) for column, kind in kinds}
    schema.check_table(path, name, found)
    if name == LAYERS:
        found["quantity"] = translated(found["quantity"], old_names.QUANTITIES)
    back = np.flatnonzero(np.diff(found["step"]) < (0 if name in REPEATING else 1))
    if back.size:
        raise LogError(
            f"{path} line {back[0] + 3}: step {found['step'][back[0] + 1]} comes after step "
            f"{found['step'][back[0]]}; are two runs mixed in this file?"
        )
    return found


def check_header(path: Path, found: list[str], wanted: tuple[str, ...]) -> None:
    """Raise LogError unless a file's first line names the columns of a run; more may follow, each once."""
    if found[: len(wanted)] != list(wanted) or len(set(found)) < len(found):
        raise LogError(f"{path} line 1: expected {','.join(wanted)}, found {shown(','.join(found))}")


def translated(column: np.ndarray, names: dict[bytes, bytes]) -> np.ndarray:
    """A text column with the names of older versions replaced by today's."""
    old = [name for name in names if len(column) and (column == name).any()]
    if old:
        column = column.astype("S48")
        for name in old:
            column[column == name] = names[name]
    return narrow(column)


def chunks(file):
    """What is left of an open file, in chunks of whole lines; a torn last line is left out."""
    torn = b""
    while block := file.read(CHUNK):
        whole, end, torn = (torn + block).rpartition(b"\n")
        if end:
            yield whole + end


def narrow(column: np.ndarray) -> np.ndarray:
    """A column of its own, text in as many bytes as its longest word has: S48 would be most of the table."""
    width = np.strings.str_len(column).max(initial=1) if column.dtype.kind == "S" else 0
    return column.astype(f"S{width}" if width else column.dtype)


def bad_row(path: Path, body: bytes, kinds, first: int) -> str:
    """The sentence about the first row that does not fit; `first` is the number of the body's first line."""
    for number, line in enumerate(body.decode(errors="replace").splitlines(), start=first):
        try:
            if line.count(",") + 1 != len(kinds):
                raise ValueError
            np.loadtxt([line], delimiter=",", dtype=kinds, comments=None)
        except ValueError:
            return f"{path} line {number}: expected {','.join(name for name, _ in kinds)}, found {line[:80]!r}"
    return f"{path}: not a table of numbers; was it edited?"
