"""What does a recipe reach, and in what time? Several seeds of each recipe, and baselines, in turn.

    python analysis/benchmarks/benchmark.py                 classic and modern, seeds 0, 1 and 2, and Keras's tutorial
    python analysis/benchmarks/benchmark.py --recipes fast --baselines airbench94_muon --seeds 5
    python analysis/benchmarks/benchmark.py --table DIR     the table of an earlier one, from its files
    python analysis/benchmarks/benchmark.py --out DIR ...   continue one that was cut short, or add to it

Every training is a process of its own, timed from outside: seconds are what somebody waits from
the command to the last line, start-up and all evaluations included; training seconds are those of the
steps alone. Keras is timed by itself: its `fit`, evaluations after each epoch included, in both columns.
Accuracy is that of the last epoch, not of the best one. Leave the machine alone meanwhile.
"""

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from analysis.benchmarks import options
from analysis.benchmarks.baselines.published import AIRBENCH, BASELINES, KERAS
from analysis.benchmarks.processes import PROJECT, run_python
from analysis.support import common
from core.data import load
from core.run import logs, run_folder
from core.run.errors import RunError
from core.settings.recipes import RECIPES

TABLE = "benchmark.csv"
COLUMNS = (
    "name", "seed", "seconds", "training_seconds", "test_accuracy", "test_accuracy_tta", "train_accuracy",
    "peak_memory_mb",
)  # fmt: skip
OLD_COLUMNS = {"who": "name", "six_views_accuracy": "test_accuracy_tta"}  # as earlier versions wrote them


def train(recipe: str, name: str, seed: int, folder: Path, args, *more: str) -> dict:
    """Train `recipe` as the run `name` in `folder`, with further options; a row {column: value}."""
    if (folder / name).exists():
        raise RunError(f"{folder / name}: an incomplete training, which has no time; delete it and repeat")
    done = run_python(
        "train_loop.py", "--recipe", recipe, "--seed", seed, "--runs-dir", folder, "--run", name,
        "--data", args.data, "--data-dir", args.data_dir, *(["--epochs", args.epochs] if args.epochs else []), *more,
    )  # fmt: skip
    return row_of_run(folder / name, recipe, seed, done.seconds, done.memory_mb)


def row_of_run(folder: Path, recipe: str, seed: int, seconds: float, memory_mb: float) -> dict:
    """The row of a run, from its files."""
    evaluations, timing, layers = (logs.read(folder, name) for name in (logs.EPOCHS, logs.TIMING, logs.LAYERS))
    augmented = layers["value"][layers["quantity"] == b"test_accuracy_tta"]
    return {
        "name": recipe,
        "seed": seed,
        "seconds": seconds,
        "training_seconds": timing["step_seconds"].sum() + timing["probe_seconds"].sum(),
        "test_accuracy": evaluations["test_accuracy"][-1],
        "test_accuracy_tta": augmented[-1] if len(augmented) else float("nan"),
        "train_accuracy": evaluations["train_accuracy"][-1],
        "peak_memory_mb": memory_mb,
    }


def train_keras(args) -> dict:
    """Keras's tutorial; its seconds are those of `fit` alone."""
    done = run_python(
        "analysis/benchmarks/baselines/keras_tutorial.py", "--data", args.data, "--data-dir", args.data_dir,
        *(["--epochs", args.epochs] if args.epochs else []),
    )  # fmt: skip
    found = last_line(done)
    return row(KERAS, "", found["seconds"], found["seconds"], found["accuracy"], float("nan"), done.memory_mb)


def train_airbench(name: str, seed: int, args) -> dict:
    """A version of airbench94 (baselines/airbench94.py)."""
    done = run_python(
        "analysis/benchmarks/baselines/airbench94.py", "--version", name, "--seed", seed,
        "--data", args.data, "--data-dir", args.data_dir, *(["--epochs", args.epochs] if args.epochs else []),
    )  # fmt: skip
    found = last_line(done)
    accuracies = found["accuracy"], found["accuracy_tta"]
    return row(name, seed, done.seconds, found["seconds"], *accuracies, done.memory_mb)


def last_line(done) -> dict[str, float]:
    """{name: number} of the last line that a baseline prints: accuracy=0.9 seconds=10.2."""
    return {name: float(value) for name, value in (pair.split("=") for pair in done.printed.splitlines()[-1].split())}


def row(name, seed, seconds, training_seconds, accuracy, accuracy_tta, memory_mb) -> dict:
    """A row of a baseline: without training accuracy."""
    return dict(zip(COLUMNS, (name, seed, seconds, training_seconds, accuracy, accuracy_tta, float("nan"), memory_mb)))


def main(args) -> None:
    """Run everything in turn, print each row as it comes, then the table; write the rows as CSV."""
    if args.table:
        return report(earlier_rows(args.table), args.table)
    folder = (args.out or PROJECT / "runs" / f"benchmark-{run_folder.timestamp()}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rows = earlier_rows(folder) if (folder / TABLE).exists() else []
    existing = {(row["name"], str(row["seed"])) for row in rows}
    data = load(args.data, args.data_dir)
    print(f"{data.title}; every row is a training of its own, its files in {folder}/", flush=True)
    for name in args.baselines:
        print(f"baseline {name}: {BASELINES[name]}", flush=True)
    if existing:
        kept = ", ".join(f"{name} {seed}".strip() for name, seed in sorted(existing))
        print(f"trained already, and kept: {kept}", flush=True)
    if not (folder / "first-step").exists():
        done = run_python(
            "train_loop.py", "--stop-at", 1, "--runs-dir", folder, "--run", "first-step",
            "--data", args.data, "--data-dir", args.data_dir,
        )  # fmt: skip
        print(f"from the command to the first step, saved and left again: {done.seconds:.1f} s", flush=True)
    for name, seed in trainings(args):
        if (name, str(seed)) in existing:
            continue
        if name == KERAS:
            rows.append(train_keras(args))
        elif name in AIRBENCH:
            rows.append(train_airbench(name, seed, args))
        else:
            rows.append(train(name, f"{name}-seed{seed}", seed, folder, args))
        print(progress_line(rows[-1]), flush=True)
        with open(folder / TABLE, "w", newline="") as file:  # after each row: a stop loses one training
            csv.writer(file).writerows([COLUMNS, *(row.values() for row in rows)])
    report(rows, folder)


def trainings(args) -> list[tuple]:
    """(name, seed) of everything to train, in turn: the baselines once, with the first seed."""
    first = [(name, "" if name == KERAS else 0) for name in args.baselines]
    return first + [(recipe, seed) for seed in range(args.seeds) for recipe in args.recipes]


def progress_line(row: dict) -> str:
    """One training in a line."""
    return (
        f"{row['name']:22} seed {row['seed']!s:2} {row['seconds']:6.0f} s  test {100 * row['test_accuracy']:.2f} %  "
        f"{row['peak_memory_mb']:.0f} MB"
    )


def read_table(path: Path) -> list[dict]:
    """The rows of a benchmark's CSV, numbers as float. Raises RunError when the file is not one."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            written = [
                {OLD_COLUMNS.get(name, name): value for name, value in row.items()} for row in csv.DictReader(file)
            ]
        numbers = COLUMNS[2:]
        return [
            {"name": row["name"], "seed": row["seed"]} | {name: float(row.get(name) or "nan") for name in numbers}
            for row in written
        ]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: not a table of analysis/benchmarks/benchmark.py ({error})") from None


def earlier_rows(folder: Path) -> list[dict]:
    """The rows of an earlier benchmark: the baselines' from its CSV, those of recipes from the runs beside it."""
    rows = []
    for row in read_table(folder / TABLE):
        run = folder / f"{row['name']}-seed{row['seed']}"
        if run.is_dir():
            row = row_of_run(run, row["name"], int(row["seed"]), row["seconds"], row["peak_memory_mb"])
        rows.append(row)
    return rows


def report(rows: list[dict], folder: Path) -> None:
    """The table: mean and sample standard deviation over the seeds, and the values they are made of."""
    keras_seconds = next((row["seconds"] for row in rows if row["name"] == KERAS), float("nan"))
    headings = ("test accuracy", "with TTA", "seconds", "training", "of Keras", "memory")
    print(f"\n{'':22}" + "".join(f"  {heading:>15}" for heading in headings) + "   each seed")
    for name in dict.fromkeys(row["name"] for row in rows):
        own = {column: np.array([row[column] for row in rows if row["name"] == name]) for column in COLUMNS[2:]}
        augmented = own["test_accuracy_tta"]
        cells = (
            with_std(own["test_accuracy"]),
            with_std(augmented) if np.isfinite(augmented).all() else "",
            f"{own['seconds'].mean():.0f}",
            f"{own['training_seconds'].mean():.0f}",
            f"{own['seconds'].mean() / keras_seconds:.2f}" if np.isfinite(keras_seconds) else "",
            f"{own['peak_memory_mb'].max():.0f} MB",
        )
        each = ", ".join(f"{100 * a:.2f} in {s:.0f} s" for a, s in zip(own["test_accuracy"], own["seconds"]))
        print(f"{name:22}" + "".join(f"  {cell:>15}" for cell in cells) + f"   {each}")
    print(f"written  {folder / TABLE}")


def with_std(accuracy: np.ndarray) -> str:
    """`76.91 % ± 0.21`: mean and sample standard deviation over the seeds."""
    std = f" ± {100 * accuracy.std(ddof=1):.2f}" if len(accuracy) > 1 else ""
    return f"{100 * accuracy.mean():.2f} %{std}"


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = options.parser("benchmark.py", __doc__.splitlines()[0])
    add = parser.add_argument
    add("--recipes", nargs="*", choices=list(RECIPES), default=["classic", "modern"], help="which [classic modern]")
    add("--baselines", nargs="*", choices=list(BASELINES), default=[KERAS],
        help=f"what to compare with, once each, seed 0 [{KERAS}]")  # fmt: skip
    add("--table", type=Path, metavar="DIR", help="only print the table of the benchmark in this folder")
    add("--seeds", type=options.count, default=3, metavar="N", help="seeds 0 to N-1 of each recipe [3]")
    add("--epochs", type=options.count, metavar="N", help="passes over the training images [each one's own]")
    options.add_data(add)
    add("--out", type=Path, metavar="DIR",
        help="folder for the runs and the CSV; what is there is not trained again [runs/benchmark-<date>]")  # fmt: skip
    return parser


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
