"""How fast does it train? This project's loop and Keras `fit`, in turn, on one machine.

    python analysis/throughput.py                      the classic recipe at its own batch size
    python analysis/throughput.py --recipe modern --precision bfloat16

Same network, batch size, precision and threads. Every measurement is a fresh process that
compiles, warms up and is then timed; ours is train_loop.py itself, with its logs and probes.
Machines drift, so the two take turns and medians and ratios are what counts.
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis import common
from core import data, logs, recipes, runs

PROJECT = Path(__file__).resolve().parent.parent
OURS, KERAS, KERAS_PLAIN = "this loop", "Keras fit", "Keras fit, jit_compile=False"
COLUMNS = ("who", "round", "images_per_second", "gflops")


def measure_ours(words, pictures) -> tuple[float, int]:
    """(images/s, forward FLOPs an image) of train_loop.py, from the timing.csv it leaves."""
    with tempfile.TemporaryDirectory() as place:
        run(
            "train_loop.py", "--recipe", words.recipe, "--steps", str(2 * words.steps), "--data", pictures.name,
            "--runs-dir", place, "--run", "timed", "--no-eager", *given(words),
        )  # fmt: skip
        config = runs.read_config(Path(place) / "timed")
        seconds = logs.read(Path(place) / "timed", logs.TIMING)["step_seconds"][words.steps :]
        return config["settings"]["batch_size"] / float(np.mean(seconds)), config["forward_flops_per_image"]


def given(words) -> list[str]:
    """The settings to hand on, as words of a command line."""
    named = {"--batch-size": words.batch_size, "--precision": words.precision, "--threads": words.threads}
    named["--data-dir"] = words.data_dir
    return [word for name, value in named.items() if value for word in (name, str(value))]


def run(*arguments: str) -> str:
    """What a Python of ours prints; raises RunError with its last line when it fails."""
    done = subprocess.run([sys.executable, *arguments], cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        raise runs.RunError(f"{arguments[0]} failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return done.stdout


def measure_keras(words, pictures, jit_compile: str) -> float:
    """Images/s of Keras `fit`, measured in a process of its own (this file, as a worker)."""
    return float(
        run(
            __file__, "--worker", jit_compile, "--recipe", words.recipe, "--steps", str(words.steps),
            "--data", pictures.name, *given(words),
        ).split()[-1]
    )  # fmt: skip


def work(words) -> None:
    """The worker: measure Keras once and print the images a second."""
    settings = recipes.parse(["--recipe", words.recipe, *given(words)]).settings
    from core import devices

    devices.import_tensorflow().config.threading.set_intra_op_parallelism_threads(settings.threads)
    from analysis import peers

    pictures = data.load(words.data, words.data_dir)
    jit_compile = "auto" if words.worker == "auto" else False
    print(peers.keras_images_per_second(settings, pictures, words.steps, jit_compile))


def main(words) -> None:
    """Measure in turn, print the table, write the CSV and the bar chart."""
    if words.worker:
        return work(words)
    pictures = data.load(words.data, words.data_dir)
    rows, flops = [], 0
    for turn in range(1, words.rounds + 1):
        ours, flops = measure_ours(words, pictures)
        found = {
            OURS: ours,
            KERAS: measure_keras(words, pictures, "auto"),
            KERAS_PLAIN: measure_keras(words, pictures, "off"),
        }
        print(
            f"round {turn}: " + ", ".join(f"{who} {rate:,.0f}" for who, rate in found.items()) + " images/s", flush=True
        )
        rows += [(who, turn, rate, 3 * flops * rate / 1e9) for who, rate in found.items()]
    report(words, rows, pictures)


def report(words, rows: list[tuple], pictures) -> None:
    """The table on the terminal, all rows as CSV, the medians as bars."""
    rates = {who: np.array([row[2] for row in rows if row[0] == who]) for who in (OURS, KERAS, KERAS_PLAIN)}
    gflops = {who: np.median([row[3] for row in rows if row[0] == who]) for who in rates}
    out = words.out or Path("runs") / "throughput.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out.with_suffix(".csv"), "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])

    print(f"\n{words.recipe}, {pictures.title}, median of {words.rounds} rounds of {words.steps} steps")
    print(f"{'':30}  {'images/s':>9}  {'GFLOP/s':>8}  {'ours is faster by':>18}")
    for who, rate in rates.items():
        ratios = rates[OURS] / rate
        times = "" if who == OURS else f"{np.median(ratios):.2f} x ({ratios.min():.2f}-{ratios.max():.2f})"
        print(f"{who:30}  {np.median(rate):9,.0f}  {gflops[who]:8.0f}  {times:>18}")

    drawing, axes = common.figure(1, 1, width=8, height=2.6)
    bars = axes[0, 0].barh(
        list(rates), [np.median(rate) for rate in rates.values()], color=["#1f77b4", "#999999", "#bbbbbb"]
    )
    axes[0, 0].bar_label(bars, fmt="{:,.0f}", padding=4)
    axes[0, 0].invert_yaxis()
    axes[0, 0].grid(visible=False)
    axes[0, 0].set(xlabel="training images a second (median)", title=f"{words.recipe} on {pictures.title}")
    common.save(drawing, out)
    print(f"written  {out}, {out.with_suffix('.csv')}")


if __name__ == "__main__":
    line = common.argparse.ArgumentParser(prog="analysis/throughput.py", description=__doc__.splitlines()[0])
    line.add_argument(
        "--recipe", choices=list(recipes.RECIPES), default="classic", help="network and batch size [classic]"
    )
    line.add_argument("--batch-size", type=int, metavar="N", help="images a step [the recipe's]")
    line.add_argument("--precision", choices=recipes.PRECISIONS, help="[the recipe's]")
    line.add_argument("--threads", type=int, metavar="N", help="processor threads [all]")
    line.add_argument("--data", choices=recipes.DATA_SETS, default="auto", help="[auto]")
    line.add_argument("--data-dir", metavar="DIR", default="", help="where cifar-10-batches-bin/ is")
    line.add_argument(
        "--steps", type=int, default=100, metavar="N", help="timed steps in each round, after as many unmeasured [100]"
    )
    line.add_argument("--rounds", type=int, default=5, metavar="N", help="how often they take turns [5]")
    line.add_argument("--out", type=Path, metavar="FILE", help="the bar chart; a .csv beside it [runs/throughput.png]")
    line.add_argument("--worker", help=common.argparse.SUPPRESS)
    common.answer(main, line.parse_args())
