"""How much accuracy for how many minutes? The recipes and the peers as measured, and a run among them.

    python analysis/front.py             the latest run among the points of docs/front.csv
    python analysis/front.py --out docs/front.png --no-run      the points alone

The points come from analysis/benchmark.py (docs/front.csv has its columns) and were measured on one
machine; a run of another machine lies elsewhere on the time axis, so compare its accuracy and your own runs.
Minutes are those of the training steps: start-up and evaluations are left out (but for Keras, whose
`fit` is timed as a whole). Runs on other data are refused: their accuracy means something else.
"""

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common
from analysis.support.run import counted
from core.run import logs, run_folder

POINTS = Path(__file__).resolve().parent.parent / "docs" / "front.csv"
PEERS = ("Keras tutorial", "airbench94 in PyTorch")


def measured(path: Path) -> dict[str, np.ndarray]:
    """{who: [[minutes, test accuracy in %] for each run]}, by minutes. Raises RunError when the file is not one."""
    try:
        with open(path, newline="") as file:
            rows = [
                (row["who"], float(row["training_seconds"]), float(row["test_accuracy"]))
                for row in csv.DictReader(file)
            ]
    except (KeyError, ValueError) as error:
        raise run_folder.RunError(f"{path}: not a table of analysis/benchmark.py ({error})") from None
    points = {who: np.array([(s / 60, 100 * a) for w, s, a in rows if w == who]) for who in {row[0] for row in rows}}
    return dict(sorted(points.items(), key=lambda item: item[1][:, 0].mean()))


def point_of(folder: Path) -> tuple[str, float, float]:
    """(name, minutes of training, test accuracy in %) of a run at its last evaluation."""
    timing, evaluations = logs.read(folder, logs.TIMING), logs.read(folder, logs.EPOCHS)
    if not len(evaluations["step"]):
        raise run_folder.RunError(f"{folder}: no epoch is complete yet, so there is no accuracy to place; train on")
    config = run_folder.read_config(folder)
    if config["data"]["name"] != "cifar10" or config["settings"]["holdout"]:
        raise run_folder.RunError(f"{folder}: trained on {config['data']['title']}; the points are of cifar10's test set")
    until = timing["step"] <= evaluations["step"][-1]
    seconds = timing["step_seconds"][until].sum() + timing["probe_seconds"][until].sum()
    return f"{config['run']} on {config['data']['title']}", seconds / 60, 100 * evaluations["test_accuracy"][-1]


def draw(points: dict[str, np.ndarray], run: tuple | None, out: Path) -> None:
    """Accuracy against minutes, the time axis logarithmic: ours in blue, the peers in grey, the run in red."""
    from matplotlib import ticker

    drawing, axes = common.figure(1, 1, width=8, height=4.6)
    axis = axes[0, 0]
    for who, trainings in points.items():
        colour = "#888888" if who in PEERS else "#1f77b4"
        axis.plot(*trainings.T, "o", color=colour, alpha=0.5, markersize=4)
        minutes, accuracy = trainings.mean(axis=0)
        axis.plot(minutes, accuracy, "s" if who in PEERS else "o", color=colour, markersize=9)
        above = -24 if who in PEERS else 9  # theirs below, so that two neighbours do not write on each other
        axis.annotate(
            who, (minutes, accuracy), xytext=(0, above), textcoords="offset points", color=colour, ha="center"
        )
    if run:
        axis.plot(run[1], run[2], "*", color="#d62728", markersize=15, label=run[0])
        axis.legend(loc="lower right", labelcolor="#d62728")  # at the star it would lie on other names
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.margins(x=0.15, y=0.15)
    axis.set(
        xlabel="minutes of training, two cores (logarithmic)", ylabel="test accuracy, final step (%)",
        title="Accuracy against minutes, cifar10 (JPEG copy)",
    )  # fmt: skip
    common.save(drawing, out)


def main(args) -> None:
    """Print the table, draw the picture."""
    points = measured(args.points)
    folder = None if args.no_run else run_folder.find(args.run, args.runs_dir)
    run = folder and point_of(folder)
    rows = [
        (trainings[:, 0].mean(), trainings[:, 1].mean(), f"{who}, {counted(len(trainings), 'run')}")
        for who, trainings in points.items()
    ]
    rows += [(*run[1:], f"{run[0]}   <- this run")] if run else []
    print("minutes of training   test accuracy")
    for minutes, accuracy, who in sorted(rows):
        print(f"{minutes:19.1f}   {accuracy:11.2f} %   {who}")
    out = args.out or (folder / "front.png" if folder else Path("front.png"))
    draw(points, run, out)
    print(f"drawn    {out}")


if __name__ == "__main__":
    line = common.parser("front", __doc__.splitlines()[0])
    line.add_argument(
        "--points", type=Path, metavar="FILE", default=POINTS, help="the measured points [docs/front.csv]"
    )
    line.add_argument("--no-run", action="store_true", help="only the measured points")
    common.answer(main, line.parse_args())
