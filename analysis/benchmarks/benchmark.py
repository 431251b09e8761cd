"""What does a recipe reach, and in what time? Several seeds of each recipe, and Keras's tutorial, in turn.

    python analysis/benchmark.py                         classic and modern, seeds 0, 1 and 2, and Keras's tutorial
    python analysis/benchmark.py --recipes fast --peers airbench94 --seeds 5
    python analysis/benchmark.py --table DIR             the table of an earlier one, from its files
    python analysis/benchmark.py --out DIR ...           go on with one that was cut short, or add to it

Every training is a process of its own, timed from outside: seconds are what somebody waits from
the command to the last line, start-up and all evaluations included; training seconds are those of the
steps alone. Keras is timed by itself: its `fit`, evaluations after each epoch included, in both columns.
Accuracy is that of the last epoch, never of the best one. Leave the machine alone meanwhile.
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common
from core import data
from core.run import logs, run_folder
from core.settings import recipes

PROJECT = Path(__file__).resolve().parent.parent
KERAS, AIRBENCH = "Keras tutorial", "airbench94 in PyTorch"
PEERS = {"keras": KERAS, "airbench94": AIRBENCH}
COLUMNS = (
    "who", "seed", "seconds", "training_seconds", "test_accuracy", "six_views_accuracy", "train_accuracy",
    "peak_memory_mb",
)  # fmt: skip


def timed(*arguments) -> tuple[str, float, float]:
    """Run a Python of ours: (what it printed, seconds from start to end, peak memory in MB). RunError if it fails."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, arguments)], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    with process.stdout as pipe:
        printed = pipe.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise run_folder.RunError(f"{arguments[0]} failed; its own message is above")
    return printed, time.perf_counter() - began, usage.ru_maxrss / 1024


def train(recipe: str, seed: int, place: Path, args) -> tuple:
    """One training; a row of COLUMNS."""
    name = f"{recipe}-seed{seed}"
    if (place / name).exists():
        raise run_folder.RunError(f"{place / name}: half a training, which has no time; delete it and say the same again")
    _, seconds, memory = timed(
        "train_loop.py", "--recipe", recipe, "--seed", seed, "--runs-dir", place, "--run", name,
        "--data", args.data, "--data-dir", args.data_dir, *(["--epochs", args.epochs] if args.epochs else []),
    )  # fmt: skip
    return row_of(place / name, recipe, seed, seconds, memory)


def row_of(folder: Path, recipe: str, seed: int, seconds: float, memory: float) -> tuple:
    """The row of a run, from the files it left."""
    evaluations, timing, layers = (logs.read(folder, name) for name in (logs.EPOCHS, logs.TIMING, logs.LAYERS))
    views = layers["value"][layers["quantity"] == b"test_accuracy_tta"]
    return (
        recipe, seed, seconds, timing["step_seconds"].sum() + timing["probe_seconds"].sum(), evaluations["test_accuracy"][-1],
        views[-1] if len(views) else float("nan"), evaluations["train_accuracy"][-1], memory,
    )  # fmt: skip


def keras(args) -> tuple:
    """Keras's tutorial, as a row of COLUMNS; its seconds are those of `fit` alone."""
    printed, _, memory = timed(
        __file__, "--worker", "--data", args.data, "--data-dir", args.data_dir, "--epochs", args.epochs or 10
    )
    accuracy, seconds, _ = map(float, printed.split()[-3:])
    return KERAS, "", seconds, seconds, accuracy, float("nan"), float("nan"), memory


def airbench(args, seed: int) -> tuple:
    """The airbench94 recipe in PyTorch (analysis/airbench_peer.py), as a row of COLUMNS."""
    printed, seconds, memory = timed(
        "analysis/airbench_peer.py",
        "--seed",
        seed,
        "--data",
        args.data,
        "--data-dir",
        args.data_dir,
        "--epochs",
        args.epochs or 9.9,
    )
    said = dict(pair.split("=") for pair in printed.splitlines()[-1].split())
    accuracies = float(said["plain"]), float(said["six_views"])
    return AIRBENCH, seed, seconds, float(said["seconds"]), *accuracies, float("nan"), memory


def main(args) -> None:
    """Run everything in turn, print each row as it comes, then the table; write the rows as CSV."""
    if args.worker:
        from analysis.benchmarks.baselines import keras_fit

        print(*keras_fit.keras_tutorial(data.load(args.data, args.data_dir), args.epochs or 10))
        return
    if args.table:
        return report(again(args.table), args.table)
    place = (args.out or PROJECT / "runs" / f"benchmark-{run_folder.timestamp()}").resolve()
    place.mkdir(parents=True, exist_ok=True)
    rows = again(place) if (place / "benchmark.csv").exists() else []
    there = {(row[0], str(row[1])) for row in rows}
    pictures = data.load(args.data, args.data_dir)
    print(f"{pictures.title}; every row is a training of its own, its files in {place}/", flush=True)
    if there:
        kept = ", ".join(f"{who} {seed}".strip() for who, seed in sorted(there))
        print(f"trained already, and kept: {kept}", flush=True)
    if not (place / "first-step").exists():
        _, start_up, _ = timed(
            "train_loop.py", "--stop-at", 1, "--runs-dir", place, "--run", "first-step",
            "--data", args.data, "--data-dir", args.data_dir,
        )  # fmt: skip
        print(f"from the command to the first step, saved and left again: {start_up:.1f} s", flush=True)
    for seed in range(args.seeds):
        for who in [*(PEERS[peer] for peer in args.peers if seed == 0), *args.recipes]:
            if (who, "" if who == KERAS else str(seed)) in there:
                continue
            if who == KERAS:
                row = keras(args)
            else:
                row = airbench(args, seed) if who == AIRBENCH else train(who, seed, place, args)
            rows.append(row)
            print(
                f"{row[0]:22} seed {row[1]!s:2} {row[2]:6.0f} s  test {100 * row[4]:.2f} %  {row[7]:.0f} MB", flush=True
            )
            with open(place / "benchmark.csv", "w", newline="") as file:  # after each row: hours of work, if cut short
                csv.writer(file).writerows([COLUMNS, *rows])
    report(rows, place)


def again(place: Path) -> list[tuple]:
    """The rows of an earlier benchmark: the peers' from its CSV, ours from the runs beside it."""
    with open(place / "benchmark.csv", newline="") as file:
        written = list(csv.DictReader(file))
    rows = []
    for row in written:
        folder = place / f"{row['who']}-seed{row['seed']}"
        if folder.is_dir():
            rows.append(
                row_of(folder, row["who"], int(row["seed"]), float(row["seconds"]), float(row["peak_memory_mb"]))
            )
        else:
            numbers = (float(row.get(name) or "nan") for name in COLUMNS[2:])
            rows.append((row["who"], row["seed"], *numbers))
    return rows


def report(rows: list[tuple], place: Path) -> None:
    """The table: mean and sample deviation over the seeds, and the list they are made of."""
    keras_seconds = next((row[2] for row in rows if row[0] == KERAS), float("nan"))
    headings = ("test accuracy", "six views", "seconds", "training", "of Keras", "memory")
    print(f"\n{'':22}" + "".join(f"  {heading:>15}" for heading in headings) + "   each seed")
    for who in dict.fromkeys(row[0] for row in rows):
        seconds, training, accuracy, views, _, memory = np.array([row[2:] for row in rows if row[0] == who]).T
        cells = (
            with_deviation(accuracy), with_deviation(views) if np.isfinite(views).all() else "",
            f"{seconds.mean():.0f}", f"{training.mean():.0f}",
            f"{seconds.mean() / keras_seconds:.2f}" if np.isfinite(keras_seconds) else "",
            f"{memory.max():.0f} MB",
        )  # fmt: skip
        each = ", ".join(f"{100 * value:.2f} in {s:.0f} s" for value, s in zip(accuracy, seconds))
        print(f"{who:22}" + "".join(f"  {cell:>15}" for cell in cells) + f"   {each}")
    print(f"written  {place / 'benchmark.csv'}")


def with_deviation(accuracy: np.ndarray) -> str:
    """`76.91 % ± 0.21`: mean and sample deviation over the seeds."""
    std = f" ± {100 * accuracy.std(ddof=1):.2f}" if len(accuracy) > 1 else ""
    return f"{100 * accuracy.mean():.2f} %{std}"


if __name__ == "__main__":
    line = argparse.ArgumentParser(prog="analysis/benchmark.py", description=__doc__.splitlines()[0])
    line.add_argument(
        "--recipes",
        nargs="*",
        choices=list(recipes.RECIPES),
        default=["classic", "modern"],
        help="which [classic modern]",
    )
    line.add_argument(
        "--peers", nargs="*", choices=list(PEERS), default=["keras"], help="whom to compare with, once [keras]"
    )
    line.add_argument("--table", type=Path, metavar="DIR", help="only print the table of the benchmark in this folder")
    line.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N-1 of each [3]")
    line.add_argument(
        "--epochs", type=int, metavar="N", help="instead of the recipe's own number (and of the tutorial's ten)"
    )
    line.add_argument("--data", choices=("cifar10", "shapes10"), default="cifar10", help="[cifar10]")
    line.add_argument("--data-dir", metavar="DIR", default="", help="where cifar-10-batches-bin/ is")
    line.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the runs and the CSV; what is there already is not trained again [runs/benchmark-<date>]",
    )
    line.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    common.answer(main, line.parse_args())
