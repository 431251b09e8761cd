"""What does a recipe reach, and in what time? Several seeds of each recipe, and Keras's tutorial, in turn.

    python analysis/benchmark.py                         classic and modern, seeds 0, 1 and 2
    python analysis/benchmark.py --recipes classic --seeds 5

Every training is a process of its own, timed from outside: seconds are what somebody waits from
the command to the last line, start-up and all evaluations included. Accuracy is that of the last
epoch, never of the best one. Leave the machine alone meanwhile.
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

from analysis import common
from core import data, logs, recipes, runs

PROJECT = Path(__file__).resolve().parent.parent
KERAS = "Keras tutorial"
COLUMNS = ("who", "seed", "seconds", "test_accuracy", "train_accuracy", "peak_memory_mb")


def timed(*arguments) -> tuple[str, float, float]:
    """Run a Python of ours: (what it printed, seconds from start to end, peak memory in MB). RunError if it fails."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, arguments)], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise runs.RunError(f"{arguments[0]} failed; its own message is above")
    return printed, time.perf_counter() - began, usage.ru_maxrss / 1024


def train(recipe: str, seed: int, place: Path, words) -> tuple:
    """One training; a row of COLUMNS."""
    name = f"{recipe}-seed{seed}"
    _, seconds, memory = timed(
        "train_loop.py", "--recipe", recipe, "--seed", seed, "--runs-dir", place, "--run", name,
        "--data", words.data, "--data-dir", words.data_dir, *(["--epochs", words.epochs] if words.epochs else []),
    )  # fmt: skip
    exams = logs.read(place / name, logs.EPOCHS)
    return recipe, seed, seconds, exams["test_accuracy"][-1], exams["train_accuracy"][-1], memory


def keras(words) -> tuple:
    """Keras's tutorial, as a row of COLUMNS; its seconds are those of `fit` alone."""
    printed, _, memory = timed(
        __file__, "--worker", "--data", words.data, "--data-dir", words.data_dir, "--epochs", words.epochs or 10
    )
    accuracy, seconds, _ = map(float, printed.split()[-3:])
    return KERAS, "", seconds, accuracy, float("nan"), memory


def main(words) -> None:
    """Run everything in turn, print each row as it comes, then the table; write the rows as CSV."""
    if words.worker:
        from analysis import peers

        print(*peers.keras_tutorial(data.load(words.data, words.data_dir), words.epochs or 10))
        return
    place = (words.out or PROJECT / "runs" / f"benchmark-{runs.timestamp()}").resolve()
    place.mkdir(parents=True)
    pictures = data.load(words.data, words.data_dir)
    print(f"{pictures.title}; every row is a training of its own, its files in {place}/", flush=True)
    _, start_up, _ = timed(
        "train_loop.py", "--stop-at", 1, "--runs-dir", place, "--run", "first-step",
        "--data", words.data, "--data-dir", words.data_dir,
    )  # fmt: skip
    print(f"from the command to the first step, saved and left again: {start_up:.1f} s", flush=True)
    rows = []
    for seed in range(words.seeds):
        for who in [*([KERAS] if seed == 0 else []), *words.recipes]:
            row = keras(words) if who == KERAS else train(who, seed, place, words)
            rows.append(row)
            print(
                f"{row[0]:15} seed {row[1]!s:2} {row[2]:6.0f} s  test {100 * row[3]:.2f} %  {row[5]:.0f} MB", flush=True
            )
    with open(place / "benchmark.csv", "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    report(rows, place)


def report(rows: list[tuple], place: Path) -> None:
    """The table: mean and sample deviation over the seeds, and the list they are made of."""
    keras_seconds = next(row[2] for row in rows if row[0] == KERAS)
    print(f"\n{'':15}  {'test accuracy':>15}  {'seconds':>8}  {'of Keras':>8}  {'memory':>8}   each seed")
    for who in dict.fromkeys(row[0] for row in rows):
        accuracy, seconds, memory = (np.array([row[i] for row in rows if row[0] == who]) for i in (3, 2, 5))
        deviation = f" ± {100 * accuracy.std(ddof=1):.2f}" if len(accuracy) > 1 else ""
        print(
            f"{who:15}  {100 * accuracy.mean():7.2f} %{deviation:>6}  {seconds.mean():8.0f}  "
            f"{seconds.mean() / keras_seconds:8.2f}  {memory.max():5.0f} MB   "
            + ", ".join(f"{100 * value:.2f} in {s:.0f} s" for value, s in zip(accuracy, seconds))
        )
    print(f"written  {place / 'benchmark.csv'}")


if __name__ == "__main__":
    line = argparse.ArgumentParser(prog="analysis/benchmark.py", description=__doc__.splitlines()[0])
    line.add_argument(
        "--recipes",
        nargs="+",
        choices=list(recipes.RECIPES),
        default=["classic", "modern"],
        help="which [classic modern]",
    )
    line.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N-1 of each [3]")
    line.add_argument(
        "--epochs", type=int, metavar="N", help="instead of the recipe's own number (and of the tutorial's ten)"
    )
    line.add_argument("--data", choices=("cifar10", "shapes10"), default="cifar10", help="[cifar10]")
    line.add_argument("--data-dir", metavar="DIR", default="", help="where cifar-10-batches-bin/ is")
    line.add_argument(
        "--out", type=Path, metavar="DIR", help="a new folder for the runs and the CSV [runs/benchmark-<date>]"
    )
    line.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    common.answer(main, line.parse_args())
