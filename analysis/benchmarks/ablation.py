"""What is each part of the speed recipe worth? The recipe whole, and without one part at a time, over several seeds.

    python analysis/ablation.py                    the recipe `minute`, seeds 0, 1 and 2
    python analysis/ablation.py --recipe five --parts whitening crop

Trained on 45,000 pictures and judged on the other 5,000 of the training set (--holdout): the test set
is not looked at. What a part is worth is the difference to the whole recipe seed by seed, in points,
with its standard error over the seeds; differences below two of those are nothing. Test-time
augmentation needs no run of its own: every run is evaluated both ways.
"""

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.benchmarks import benchmark
from analysis.support import common
from core.run import run_folder
from core.settings import recipes

# Every part that can be taken out, and the words of the command line that do it.
PARTS = {
    "whitening": ["--no-whitening-init"],
    "identity start": ["--no-identity-init"],
    "longer steps of shifts": ["--bias-lr-scale", "1"],
    "lookahead": ["--no-lookahead"],
    "weight averaging": ["--weight-average", "0"],
    "alternating flip": ["--no-alternating-flip", "--flip"],  # a coin instead
    "label smoothing": ["--label-smoothing", "0"],
    "crop": ["--crop", "0"],
}
COLUMNS = ("without", "seed", "accuracy", "six_views_accuracy", "training_seconds")


def parts_of(recipe: str) -> list[str]:
    """Those of PARTS that this recipe has: without them it is another."""
    has = {name: command_line.parse(["--recipe", recipe, *args]).settings for name, args in PARTS.items()}
    return [name for name, without in has.items() if without != recipes.RECIPES[recipe]]


def train(name: str, seed: int, args, place: Path) -> tuple:
    """One training without the part `name` ("" for the whole recipe); a row of COLUMNS."""
    run = f"{(name or 'whole').replace(' ', '-')}-seed{seed}"
    _, seconds, memory = benchmark.timed(
        "train_loop.py", "--recipe", args.recipe, "--seed", seed, "--holdout", "--runs-dir", place, "--run", run,
        "--data", args.data, "--data-dir", args.data_dir, *PARTS.get(name, []),
        *(["--epochs", args.epochs] if args.epochs else []),
    )  # fmt: skip
    row = dict(zip(benchmark.COLUMNS, benchmark.row_of(place / run, args.recipe, seed, seconds, memory)))
    return name, seed, row["test_accuracy"], row["six_views_accuracy"], row["training_seconds"]


def main(args) -> None:
    """Run everything, print each row as it comes, then the table; write the rows as CSV."""
    there = parts_of(args.recipe)
    args.parts = args.parts or there
    if missing := [part for part in args.parts if part not in there]:
        raise run_folder.RunError(f"--parts {', '.join(missing)}: {args.recipe} does not have it; it has {', '.join(there)}")
    place = (args.out or Path("runs") / f"ablation-{run_folder.timestamp()}").resolve()
    place.mkdir(parents=True)
    rows = []
    for seed in range(args.seeds):
        for name in ["", *args.parts]:
            rows.append(train(name, seed, args, place))
            said = f"without {name}" if name else "the whole recipe"
            print(f"seed {seed}  {said:32} {100 * rows[-1][2]:.2f} %, six views {100 * rows[-1][3]:.2f} %", flush=True)
            with open(place / "ablation.csv", "w", newline="") as file:  # after each row, as in analysis/benchmark.py
                csv.writer(file).writerows([COLUMNS, *rows])
    report(rows, args)
    print(f"written  {place / 'ablation.csv'}")


def report(rows: list[tuple], args) -> None:
    """The table: accuracy, and what the part is worth, as mean ± standard error over the seeds."""
    accuracy = {name: 100 * np.array([row[2] for row in rows if row[0] == name]) for name in ["", *args.parts]}
    views = 100 * np.array([row[3] - row[2] for row in rows])
    print(f"\n{args.recipe}, hold-out of 5,000 pictures, {args.seeds} seeds{'':14}  accuracy   the part is worth")
    print(f"{'the whole recipe':44}  {accuracy[''].mean():6.2f} %")
    for name in args.parts:
        print(f"{'without ' + name:44}  {accuracy[name].mean():6.2f} %   {gain(accuracy[''] - accuracy[name])}")
    print(f"{'test-time augmentation, on top, all runs':44}  {'':8}   {gain(views)}")


def gain(points: np.ndarray) -> str:
    """`+1.23 ± 0.20`: mean and standard error."""
    error = f" ± {points.std(ddof=1) / len(points) ** 0.5:.2f}" if len(points) > 1 else ""
    return f"{points.mean():+.2f}{error}"


if __name__ == "__main__":
    line = argparse.ArgumentParser(prog="analysis/ablation.py", description=__doc__.splitlines()[0])
    fast = [name for name, settings in recipes.RECIPES.items() if settings.network in SETTINGS_MODULE.SPEED]
    line.add_argument("--recipe", choices=fast, default="minute", help="[minute]")
    line.add_argument("--parts", nargs="+", choices=list(PARTS), help="which to take out [all there are]")
    line.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N-1 [3]")
    line.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's own number")
    line.add_argument("--data", choices=("cifar10", "shapes10"), default="cifar10", help="[cifar10]")
    line.add_argument("--data-dir", metavar="DIR", default="", help="where cifar-10-batches-bin/ is")
    line.add_argument("--out", type=Path, metavar="DIR", help="a new folder for the runs and the CSV [runs/...]")
    common.answer(main, line.parse_args())
