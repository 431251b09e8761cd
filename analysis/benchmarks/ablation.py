"""What is each part of a speed recipe worth? The recipe whole, and without one part at a time, over several seeds.

    python analysis/benchmarks/ablation.py                    the recipe `minute`, seeds 0, 1 and 2
    python analysis/benchmarks/ablation.py --recipe five --parts whitening crop

Trained on 45,000 images and evaluated on the other 5,000 of the training set (--holdout): the test set is not
used. What a part is worth is the difference to the whole recipe seed by seed, in percentage points, with its 95 % t
interval over the seeds; "not shown" where 0 lies inside. With three seeds the interval is 4.3 standard errors wide on
either side. Test-time augmentation needs no run of its own: every run is evaluated both ways.
"""

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from analysis.benchmarks import benchmark, options
from analysis.benchmarks.comparison import effect
from analysis.support import common
from core.run import run_folder
from core.run.errors import RunError
from core.settings import command_line
from core.settings.recipes import RECIPES
from core.settings.settings import SPEED_NETWORKS

# Every part that can be taken out, and the options of train_loop.py that do it.
PARTS = {
    "whitening": ["--no-whitening-init"],
    "weight averaging": ["--weight-average", "0"],
    "alternating flip": ["--flip", "random"],
    "label smoothing": ["--label-smoothing", "0"],
    "crop": ["--crop", "0"],
}
COLUMNS = ("without", "seed", "accuracy", "accuracy_tta", "training_seconds")


def parts_of(recipe: str) -> list[str]:
    """Those of PARTS that change this recipe."""
    without = {name: command_line.parse(["--recipe", recipe, *args]).settings for name, args in PARTS.items()}
    return [name for name, settings in without.items() if settings != RECIPES[recipe]]


def train(name: str, seed: int, args, folder: Path) -> tuple:
    """One training without the part `name` ("" for the whole recipe); a row of COLUMNS."""
    run = f"{(name or 'whole').replace(' ', '-')}-seed{seed}"
    row = benchmark.train(args.recipe, run, seed, folder, args, "--holdout", *PARTS.get(name, []))
    return name, seed, row["test_accuracy"], row["test_accuracy_tta"], row["training_seconds"]


def main(args) -> None:
    """Run everything, print each row as it comes, then the table; write the rows as CSV."""
    available = parts_of(args.recipe)
    args.parts = args.parts or available
    if missing := [part for part in args.parts if part not in available]:
        raise RunError(f"--parts {', '.join(missing)}: {args.recipe} does not have it; it has {', '.join(available)}")
    folder = (args.out or Path("runs") / f"ablation-{run_folder.timestamp()}").resolve()
    folder.mkdir(parents=True)
    rows = []
    for seed in range(args.seeds):
        for name in ["", *args.parts]:
            rows.append(train(name, seed, args, folder))
            what = f"without {name}" if name else "the whole recipe"
            print(f"seed {seed}  {what:32} {100 * rows[-1][2]:.2f} %, with TTA {100 * rows[-1][3]:.2f} %", flush=True)
            with open(folder / "ablation.csv", "w", newline="") as file:  # after each row: a stop loses one training
                csv.writer(file).writerows([COLUMNS, *rows])
    report(rows, args)
    print(f"written  {folder / 'ablation.csv'}")


def report(rows: list[tuple], args) -> None:
    """The table: accuracy, and what each part is worth."""
    accuracy = {name: 100 * np.array([row[2] for row in rows if row[0] == name]) for name in ["", *args.parts]}
    augmented = np.array([[100 * (row[3] - row[2]) for row in rows if row[1] == seed] for seed in range(args.seeds)])
    title = f"{args.recipe}, hold-out, seeds: {args.seeds}"
    print(f"\n{title:44}  accuracy   the part is worth (points, 95 % interval)")
    print(f"{'the whole recipe':44}  {accuracy[''].mean():6.2f} %")
    for name in args.parts:
        print(f"{'without ' + name:44}  {accuracy[name].mean():6.2f} %   {effect(accuracy[''] - accuracy[name])}")
    # One number a seed: the runs of a seed share it, so they are not independent.
    print(f"{'test-time augmentation (TTA), on top, all runs':46}  {'':6}   {effect(augmented.mean(axis=1))}")


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = options.parser("ablation.py", __doc__.splitlines()[0])
    speed_recipes = [name for name, settings in RECIPES.items() if settings.network in SPEED_NETWORKS]
    add = parser.add_argument
    add("--recipe", choices=speed_recipes, default="minute", help="[minute]")
    add("--parts", nargs="+", choices=list(PARTS), help="which to take out [all that the recipe has]")
    add("--seeds", type=options.count, default=3, metavar="N", help="seeds 0 to N-1 [3]")
    add("--epochs", type=options.count, metavar="N", help="passes over the training images [the recipe's]")
    options.add_data(add)
    add("--out", type=Path, metavar="DIR", help="a new folder for the runs and the CSV [runs/ablation-<date>]")
    return parser


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
