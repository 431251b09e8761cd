"""One run as its files describe it, for the scripts that ask questions about it. No TensorFlow.

What a run did not measure is not an error: asking for it raises NotMeasured with what is missing and why, for the
caller to pass on.
"""

import functools
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from analysis.support import series
from core.run import logs, run_folder, schema
from core.run.errors import LogError, RunError

ACTIVATION_IMAGES, ACTIVATION_BATCH = 1_000, 200  # training images: core/measure/probes.py, without TensorFlow
CLASSES = 10  # of a run whose config.json does not name them


class NotMeasured(Exception):
    """What a question needs and this run does not have; the message says what and why."""


@dataclass(frozen=True)
class Table:
    """A quantity over steps and layers: values[i, j] is that of layers[j] at steps[i]."""

    steps: np.ndarray  # [S] int64, rising
    layers: tuple[str, ...]  # in network order
    values: np.ndarray  # [S,L] float64

    def since(self, step: int) -> "Table":
        """The rows from `step` on."""
        kept = self.steps >= step
        return Table(self.steps[kept], self.layers, self.values[kept])


class Run:
    """Config, steps and epochs as arrays; layers, predictions and timing when somebody asks for them."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.config = run_folder.read_config(self.folder)
        self.steps = logs.read(self.folder, logs.STEPS)
        self.epochs = read(self.folder, logs.EPOCHS)
        self.name = names_apart([self.folder])[0]  # a renamed run has its new name
        self.data_title = self.required("data", "title")
        self.test_images = self.required("data", "test_images")
        # With --holdout the images are taken from the training set: settings may be chosen by them.
        self.has_validation = bool(self.config["settings"].get("holdout", False))
        self.test_name = "validation" if self.has_validation else "test"
        self.steps_per_epoch = self.required("steps_per_epoch")
        self.total_steps = self.required("total_steps")

    @property
    def complete(self) -> bool:
        """Whether the last step has been taken and evaluated."""
        return self.total_steps in self.epochs["step"]

    @property
    def length(self) -> int:
        """Steps taken so far."""
        return int(self.steps["step"][-1]) if len(self.steps["step"]) else 0

    def fact(self, *path: str):
        """The value at this path of config.json: fact("data", "test_images"). Raises NotMeasured."""
        value = self.config
        for key in path:
            if not isinstance(value, dict) or value.get(key) is None:
                raise NotMeasured(f"{run_folder.CONFIG} does not have {'.'.join(path)}: a run of an older version")
            value = value[key]
        return value

    def required(self, *path: str):
        """The same, of a field that every version wrote. Raises RunError."""
        try:
            return self.fact(*path)
        except NotMeasured:
            path = ".".join(path)
            raise RunError(f"{self.folder / run_folder.CONFIG}: field {path} is missing; was it edited?") from None

    def epochs_passed(self, step):
        """How many epochs have passed after a step, not a whole number in the middle of one; a number or an array."""
        return step / self.steps_per_epoch

    def moment(self, evaluation: int) -> str:
        """When an evaluation was made: `epoch 3`, or `step 14` in the middle of an epoch."""
        step, epoch = (int(self.epochs[name][evaluation]) for name in ("step", "epoch"))
        return f"step {step:,}" if step % self.steps_per_epoch else f"epoch {epoch:,}"

    @property
    def chance_level(self) -> float:
        """The accuracy of a prediction drawn at random: 1 / classes."""
        return 1 / (len(self.config["data"].get("class_names", ())) or CLASSES)

    def standard_error(self, accuracy: float) -> float:
        """sqrt(p (1-p) / n), of an accuracy p on the n test images."""
        return math.sqrt(max(accuracy * (1 - accuracy), 0) / self.test_images)

    def is_at_chance_level(self, accuracy: float) -> bool:
        """Whether an accuracy on the test images is within three standard errors of chance level, or below."""
        return accuracy < self.chance_level + 3 * self.standard_error(self.chance_level)

    @property
    def activation_images(self) -> int:
        """How many training images the activations were measured on: whole batches, fewer with few --train-images."""
        count = min(self.config["data"].get("train_images", ACTIVATION_IMAGES), ACTIVATION_IMAGES)
        return count - count % min(count, ACTIVATION_BATCH)

    def need_steps(self, count: int) -> None:
        """Raise NotMeasured unless so many steps have been taken."""
        if self.length < count:
            raise NotMeasured(f"it takes {count:,} steps, the run has taken {self.length:,}")

    def evaluations(self, count: int = 1, passed: float = 0) -> dict[str, np.ndarray]:
        """The evaluations after at least `passed` epochs; raises NotMeasured if there are fewer than `count`."""
        kept = (self.epochs["step"] > 0) & (self.epochs_passed(self.epochs["step"]) >= passed)
        if kept.sum() < count:
            after = f" after epoch {passed:g}" if passed else ""
            raise NotMeasured(f"it takes {counted(count, 'evaluation')}{after}, the run has {kept.sum()}")
        return {name: values[kept] for name, values in self.epochs.items()}

    @cached_property
    def _series(self) -> dict:
        """layers.csv by quantity and layer; empty without the file."""
        return series.layer_series(self.folder) if (self.folder / logs.LAYERS).is_file() else {}

    def table(self, quantity: str, rows: int = 1) -> Table:
        """A quantity of layers.csv over steps and layers. Raises NotMeasured below so many measured steps."""
        of_layers = self._series.get(quantity, {})
        # A torn file may lack the last layers of its last step: only steps that all layers have.
        steps = functools.reduce(common_steps, (steps for steps, _ in of_layers.values()), None)
        # layers.csv may be ahead of steps.csv, which is written after it.
        steps = None if steps is None else steps[steps <= self.length]
        if steps is None or len(steps) < max(rows, 1):
            if steps is not None and len(steps):
                raise NotMeasured(f"it takes {quantity} at {rows} steps, the run has it at {len(steps)}")
            raise NotMeasured(f"{quantity} was not measured; see --diagnostics of train_loop.py")
        values = [
            values[: len(steps)] if np.array_equal(own[: len(steps)], steps) else values[np.searchsorted(own, steps)]
            for own, values in of_layers.values()
        ]
        return Table(steps, tuple(of_layers), np.stack(values, axis=1))

    def of_network(self, quantity: str, rows: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """(steps [S], values [S]) of a quantity that belongs to no single layer. Raises NotMeasured."""
        table = self.table(quantity, rows)
        return table.steps, table.values[:, 0]

    @cached_property
    def first_not_finite(self) -> tuple[int, str] | None:
        """(step, name) of the first loss or quantity of layers.csv that is not finite; None if all of them are."""
        found = [(self.steps["step"], self.steps["loss"], "loss")]
        found += [(*of, quantity) for quantity, layers in self._series.items() for of in layers.values()]
        lost = [(steps[~np.isfinite(values)], name) for steps, values, name in found]
        return min(((int(steps.min()), name) for steps, name in lost if len(steps)), default=None)

    @cached_property
    def _predictions(self) -> dict[str, np.ndarray] | None:
        return logs.read(self.folder, logs.PREDICTIONS) if (self.folder / logs.PREDICTIONS).is_file() else None

    def confusions(self, passed: float = 0) -> tuple[np.ndarray, np.ndarray]:
        """(steps [E], counts [E,K,K]): at each evaluation how many test images of class i were called class j.

        Only evaluations after at least `passed` epochs. Raises NotMeasured when there is none.
        """
        rows = self._predictions
        if rows is None:
            raise NotMeasured(f"{logs.PREDICTIONS} is missing: a run of an older version")
        classes = 1 + max(int(rows[c].max(initial=-1)) for c in ("true_class", "predicted_class"))
        steps, evaluation, present = np.unique(rows["step"], return_inverse=True, return_counts=True)
        complete = (present == classes**2) & (steps > 0) & (self.epochs_passed(steps) >= passed)
        if not complete.any():
            raise NotMeasured(
                f"it takes an evaluation after epoch {passed:g}"
                if passed
                else f"{logs.PREDICTIONS} has no evaluation yet"
            )
        kept = complete[evaluation]  # rows of a complete evaluation: so many there are, no more memory is taken
        counts = np.zeros((int(complete.sum()), classes, classes), np.int64)
        index = (np.cumsum(complete) - 1)[evaluation[kept]]
        counts[index, rows["true_class"][kept], rows["predicted_class"][kept]] = rows["count"][kept]
        return steps[complete], counts

    @cached_property
    def timing(self) -> dict[str, np.ndarray]:
        """timing.csv; raises NotMeasured without it."""
        if not (self.folder / logs.TIMING).is_file():
            raise NotMeasured(f"{logs.TIMING} is missing")
        return read(self.folder, logs.TIMING)

    def class_name(self, number: int) -> str:
        """What a class is called."""
        names = self.config["data"].get("class_names", [])
        return names[number] if number < len(names) else f"class {number}"


def runs_of(folders: list[Path]) -> list[Run]:
    """The runs in these folders, with names that tell them apart."""
    runs = [Run(folder) for folder in folders]
    for run, name in zip(runs, names_apart(folders)):
        run.name = name
    return runs


def names_apart(folders: list[Path]) -> list[str]:
    """The shortest end of each path that no other one of them has: `first`; `a/first` and `b/first`."""
    paths, names = [Path(folder).resolve().parts for folder in folders], []
    for own in paths:
        others = [other for other in paths if other != own]
        unique = (n for n in range(1, len(own) + 1) if all(other[-n:] != own[-n:] for other in others))
        names.append(str(Path(*own[-next(unique) :])))
    return names


def common_steps(some: np.ndarray | None, others: np.ndarray) -> np.ndarray:
    """The steps that both have, rising; None stands for all."""
    if some is None:
        return others if (np.diff(others) > 0).all() else np.unique(others)
    short, long = sorted((some, others), key=len)
    return short if np.array_equal(short, long[: len(short)]) else np.intersect1d(some, others)


def read(folder: Path, name: str) -> dict[str, np.ndarray]:
    """logs.read, for a file of an older version too: the columns it lacks are NaN."""
    path, wanted = folder / name, logs.COLUMNS[name]
    lines = logs.whole_lines(path) if path.is_file() else []
    columns = tuple(lines[0].split(",")) if lines else wanted
    if len(columns) >= len(wanted) or columns != wanted[: len(columns)]:
        return logs.read(folder, name)
    kinds = [np.int64 if column in logs.WHOLE_COLUMNS else np.float64 for column in columns]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split(",")
        try:
            rows.append([kind(cell) for kind, cell in zip(kinds, cells, strict=True)])
        except (ValueError, OverflowError):
            found = f"expected {','.join(columns)}, found {line[:80]!r}"
            raise LogError(f"{path} line {number}: {found}; was it edited?") from None
    old = {c: np.array([row[i] for row in rows], kind) for i, (c, kind) in enumerate(zip(columns, kinds))}
    schema.check_table(path, name, old)
    return old | {column: np.full(len(rows), np.nan) for column in wanted[len(columns) :]}


def counted(number: int, noun: str) -> str:
    """`1 epoch`, `3 epochs`."""
    return f"{number:,} {noun}" + ("s" if number != 1 else "")
