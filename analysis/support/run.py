"""One run as its files tell it, for the scripts that ask questions about it. No TensorFlow.

What a run did not measure is not an error: asking for it raises NotMeasured, which says what is
missing and why, and the one who asked passes that on.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from analysis.support import common
from core.run import logs, run_folder


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
        self.name = self.config["run"]
        self.data_title = self.config["data"]["title"]
        self.test_name = "hold-out" if self.config["settings"]["holdout"] else "test"
        self.steps_per_epoch = self.config["steps_per_epoch"]
        self.total_steps = self.config["total_steps"]

    @property
    def complete(self) -> bool:
        """Whether the last step has been taken and evaluated."""
        return self.total_steps in self.epochs["step"]

    @property
    def length(self) -> int:
        """Steps taken so far."""
        return int(self.steps["step"][-1]) if len(self.steps["step"]) else 0

    def fact(self, *path: str):
        """What config.json says at this path: fact("data", "test_images"). Raises NotMeasured."""
        value = self.config
        for word in path:
            if not isinstance(value, dict) or value.get(word) is None:
                raise NotMeasured(f"{run_folder.CONFIG} does not say {'.'.join(path)}: a run of an older version")
            value = value[word]
        return value

    def need_steps(self, count: int) -> None:
        """Raise NotMeasured unless so many steps have been taken."""
        if self.length < count:
            raise NotMeasured(f"it takes {count:,} steps, the run has taken {self.length:,}")

    def evaluations(self, count: int = 1, passed: float = 0) -> dict[str, np.ndarray]:
        """The evaluations after at least `passed` epochs; raises NotMeasured if there are fewer than `count`."""
        kept = (self.epochs["step"] > 0) & (self.epochs["step"] >= passed * self.steps_per_epoch)
        if kept.sum() < count:
            after = f" after epoch {passed:g}" if passed else ""
            raise NotMeasured(f"it takes {counted(count, 'evaluation')}{after}, the run has {kept.sum()}")
        return {name: values[kept] for name, values in self.epochs.items()}

    @cached_property
    def _series(self) -> dict:
        """layers.csv by quantity and layer; empty without the file."""
        return common.layer_series(self.folder) if (self.folder / logs.LAYERS).is_file() else {}

    def table(self, quantity: str, rows: int = 1) -> Table:
        """A quantity of layers.csv over steps and layers. Raises NotMeasured below so many measured steps."""
        series = self._series.get(quantity, {})
        # A torn file may lack the last layers of its last step: only steps that all layers have.
        steps = min((steps for steps, _ in series.values()), key=len, default=np.empty(0, np.int64))
        if len(steps) < max(rows, 1):
            if len(steps):
                raise NotMeasured(f"it takes {quantity} at {rows} steps, the run has it at {len(steps)}")
            raise NotMeasured(f"{quantity} was not measured; see --diagnostics of train_loop.py")
        values = np.stack([values[: len(steps)] for _, values in series.values()], axis=1)
        return Table(steps, tuple(series), values)

    def of_network(self, quantity: str, rows: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """(steps [S], values [S]) of a quantity that belongs to no single layer. Raises NotMeasured."""
        table = self.table(quantity, rows)
        return table.steps, table.values[:, 0]

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
        classes = 1 + max((int(rows[c].max(initial=-1)) for c in ("true_class", "predicted_class")), default=-1)
        steps, place, present = np.unique(rows["step"], return_inverse=True, return_counts=True)
        counts = np.zeros((len(steps), classes, classes), np.int64)
        counts[place, rows["true_class"], rows["predicted_class"]] = rows["count"]
        kept = (present == classes**2) & (steps > 0) & (steps >= passed * self.steps_per_epoch)
        if not kept.any():
            raise NotMeasured(
                f"it takes an evaluation after epoch {passed:g}" if passed else f"{logs.PREDICTIONS} holds no evaluation yet"
            )
        return steps[kept], counts[kept]

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


def read(folder: Path, name: str) -> dict[str, np.ndarray]:
    """logs.read, for a file of an older version too: the columns it lacks are NaN."""
    path, wanted = folder / name, logs.COLUMNS[name]
    lines = logs.whole_lines(path) if path.is_file() else []
    columns = tuple(lines[0].split(",")) if lines else wanted
    if len(columns) >= len(wanted) or columns != wanted[: len(columns)]:
        return logs.read(folder, name)
    try:
        table = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
        table = table.reshape(len(lines) - 1, len(columns))
    except ValueError:
        raise logs.LogError(f"{path}: not rows of {','.join(columns)}; was it edited?") from None
    old = {c: table[:, i].astype(np.int64 if c in logs.WHOLE_COLUMNS else np.float64) for i, c in enumerate(columns)}
    return old | {column: np.full(len(table), np.nan) for column in wanted[len(columns) :]}


def counted(number: int, noun: str) -> str:
    """`1 epoch`, `3 epochs`."""
    return f"{number:,} {noun}" + ("s" if number != 1 else "")
