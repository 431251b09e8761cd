"""How much accuracy for how many minutes? The recipes and the baselines as measured, and a run among them.

    python analysis/benchmarks/pareto_front.py                  the latest run among the points of docs/pareto_front.csv
    python analysis/benchmarks/pareto_front.py --out docs/pareto_front.png --no-run      the points alone

The Pareto front is the line through the points that no other point beats in both accuracy and time. The points come
from analysis/benchmarks/benchmark.py (docs/pareto_front.csv has its columns) and were measured on one machine; a run of
another machine lies elsewhere on the time axis, so compare its accuracy and your own runs.
Minutes are those of the training steps: start-up and evaluations are left out (but for Keras, whose
`fit` is timed as a whole). Runs on other data are refused: their accuracy means something else.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from analysis.benchmarks import options
from analysis.benchmarks.benchmark import read_table
from analysis.support import common, style
from analysis.support.run import counted, names_apart
from core.run import logs, run_folder
from core.run.errors import RunError
from core.settings.recipes import RECIPES

POINTS = Path(__file__).resolve().parents[2] / "docs" / "pareto_front.csv"
TITLE = "cifar10 (JPEG copy), two cores"


def measured(path: Path) -> dict[str, np.ndarray]:
    """{name: [[minutes, test accuracy in %] for each training]}, by minutes. Raises RunError when it is no table."""
    points = {}
    for row in read_table(path):
        points.setdefault(row["name"], []).append((row["training_seconds"] / 60, 100 * row["test_accuracy"]))
    points = {name: np.array(trainings) for name, trainings in points.items()}
    if not points or not all(
        (trainings[:, 0] > 0).all() and np.isfinite(trainings).all() for trainings in points.values()
    ):
        raise RunError(f"{path}: expected rows with training_seconds above 0 and a test_accuracy")
    return dict(sorted(points.items(), key=lambda item: item[1][:, 0].mean()))


def pareto_front(points: dict[str, np.ndarray]) -> list[str]:
    """The names whose mean no other mean beats in time and accuracy, by minutes."""
    front, best = [], -np.inf
    for name, trainings in sorted(points.items(), key=lambda item: tuple(item[1].mean(axis=0) * (1, -1))):
        if (accuracy := trainings[:, 1].mean()) > best:
            front.append(name)
            best = accuracy
    return front


def point_of(folder: Path) -> tuple[str, float, float]:
    """(name, minutes of training, test accuracy in %) of a run at its last evaluation."""
    timing, evaluations = logs.read(folder, logs.TIMING), logs.read(folder, logs.EPOCHS)
    if not len(evaluations["step"]):
        raise RunError(f"{folder}: no epoch is complete yet, so there is no accuracy to draw; train on")
    config = run_folder.read_config(folder)
    if config["data"]["name"] != "cifar10" or config["settings"]["holdout"]:
        raise RunError(f"{folder}: trained on {config['data']['title']}; the points are of cifar10's test set")
    until = timing["step"] <= evaluations["step"][-1]
    seconds = timing["step_seconds"][until].sum() + timing["probe_seconds"][until].sum()
    return (
        f"{names_apart([folder])[0]} on {config['data']['title']}",
        seconds / 60,
        100 * evaluations["test_accuracy"][-1],
    )


def draw(points: dict[str, np.ndarray], run: tuple | None, title: str, out: Path) -> None:
    """Accuracy against minutes (logarithmic): recipes blue, baselines grey, the run red, the front a line."""
    from matplotlib import ticker

    drawing, axes = style.figure(1, 1)
    axis = axes[0, 0]
    front = np.array([points[name].mean(axis=0) for name in pareto_front(points)])
    axis.plot(*front.T, color="#bbbbbb", zorder=0, label="Pareto front")
    for name, trainings in points.items():
        own = name in RECIPES
        colour = style.BLUE if own else style.GREY
        axis.plot(*trainings.T, "o", color=colour, alpha=0.5, markersize=6)
        minutes, accuracy = trainings.mean(axis=0)
        axis.plot(minutes, accuracy, "o" if own else "s", color=colour, markersize=14)
        above = 14 if own else -34  # baselines below their point, so that two neighbours do not overlap
        axis.annotate(
            name, (minutes, accuracy), xytext=(0, above), textcoords="offset points", color=colour, ha="center"
        )
    if run:
        axis.plot(run[1], run[2], "*", color=style.RED, markersize=24, label=run[0])
    axis.legend(loc="lower right")  # at its star the name of the run would lie on others
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.margins(x=0.15, y=0.15)
    axis.set(
        xlabel="minutes of training (logarithmic)", ylabel="test accuracy after the last step (%)",
        title=f"Accuracy against minutes: {title}",
    )  # fmt: skip
    style.save(drawing, out)


def main(args) -> None:
    """Print the table, draw the figure."""
    points = measured(args.points)
    folder = None if args.no_run else run_folder.find(args.run, args.runs_dir)
    run = folder and point_of(folder)
    front = pareto_front(points)
    rows = [
        (
            *trainings.mean(axis=0),
            f"{name}, {counted(len(trainings), 'run')}" + ", on the Pareto front" * (name in front),
        )
        for name, trainings in points.items()
    ]
    rows += [(*run[1:], f"{run[0]}   <- this run")] if run else []
    print("minutes of training   test accuracy")
    for minutes, accuracy, name in sorted(rows):
        common.say(f"{minutes:19.1f}   {accuracy:11.2f} %   {name}")
    out = args.out or (folder / "pareto_front.png" if folder else Path("pareto_front.png"))
    draw(points, run, args.title, out)
    print(f"written  {out}")


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = options.parser("pareto_front.py", __doc__.splitlines()[0])
    add = parser.add_argument
    add("run", metavar="RUN", nargs="?", help="a run: its name, its folder, or nothing for the latest")
    add("--runs-dir", metavar="DIR", type=Path, default=Path("runs"), help="where runs are kept [runs]")
    add("--points", type=Path, metavar="FILE", default=POINTS, help="the measured points [docs/pareto_front.csv]")
    add("--title", default=TITLE, metavar="TEXT", help=f"what the points were measured on [{TITLE}]")
    add("--no-run", action="store_true", help="only the measured points")
    add("--out", type=Path, metavar="FILE", help="the figure to write [pareto_front.png in the run's folder]")
    return parser


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
