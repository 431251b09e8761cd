"""How much faster do several workers train? Images a second of 1, 2 and 4 workers, beside the scaling law.

    python analysis/benchmarks/scaling.py                                         the recipe classic
    python analysis/benchmarks/scaling.py --recipe minute --workers 1 2 --rounds 5

A worker is a process of this machine with its part of the threads: the processor stands for as many machines, whose
network is its memory. All have the same threads, also the single one, so that its speed is that of one such machine.
The batch is the same on any number of workers, and so are the micro-batches.

The law E(n) = (C + S) / (C + n (S + A(n))), layers_explained/support/scaling_law.py, is computed from other
measurements: C and S from one worker's steps with the whole batch and with the part that one of the most workers has;
bandwidth and latency from all-reduces of several sizes. A machine's speed drifts, so all take turns, every other round
backwards, and efficiencies are taken within a round.
"""

import argparse
import json
import math
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from analysis.benchmarks import options, throughput
from analysis.benchmarks.comparison import spread
from analysis.benchmarks.throughput import processor
from analysis.benchmarks.worker_processes import run_workers
from analysis.support import common, style
from core import devices
from core.data import load
from core.run import logs, run_folder
from core.run.errors import RunError
from core.settings import command_line
from core.settings.settings import PRECISIONS
from layers_explained.support import scaling_law, scaling_table
from layers_explained.support.scaling_table import SPEED, Measured

STEPS, WARM_UP = 50, 20  # timed steps of a round, and those before them
SIZES = (1, 10_000, 100_000, 1_000_000)  # numbers that are all-reduced to measure bandwidth and latency
PART, REDUCED = "part", "all-reduce"  # what is measured beside SPEED
WORDS = {SPEED: "train", PART: "train with a part", REDUCED: "all-reduce"}


def settings_of(args) -> list[str]:
    """The settings of every run, as options of train_loop.py."""
    named = {"--recipe": args.recipe, "--batch-size": args.batch_size, "--precision": args.precision}
    named |= {"--data": args.data, "--data-dir": args.data_dir}
    return [text for name, value in named.items() if value for text in (name, str(value))]


def checked(args):
    """The settings, with micro-batches that every number of workers divides. Exits with 2 if they do not fit."""
    settings = command_line.parse(settings_of(args)).settings
    common_multiple = math.lcm(*args.workers)
    micro_batches = common_multiple * -(-max(settings.micro_batches, 1) // common_multiple)
    return command_line.parse([
        *settings_of(args), "--devices", str(max(args.workers)), "--micro-batches", str(micro_batches),
    ]).settings  # fmt: skip


def step_seconds(args, settings, workers: int, part: int = 1) -> float:
    """Median seconds of a step of so many workers, with one of `part` equal parts of the batch. From timing.csv."""
    last = WARM_UP + args.steps
    with tempfile.TemporaryDirectory() as folder:
        run_workers(  # stopped one step before the end: no final evaluation
            workers, "train_loop.py", *settings_of(args), "--batch-size", settings.batch_size // part,
            "--micro-batches", settings.micro_batches // part, "--threads", args.threads, "--steps", last + 1,
            "--stop-at", last, "--no-eager", "--diagnostics", "off", "--kernels", "fast", "--runs-dir", folder,
            "--run", "timed",
        )  # fmt: skip
        run = run_folder.find("timed", Path(folder))  # on the built-in data it has another name
        return float(np.median(logs.read(run, logs.TIMING)["step_seconds"][WARM_UP:]))


def all_reduce_seconds(workers: int, counts: tuple[int, ...]) -> dict[int, float]:
    """{numbers: median seconds of an all-reduce of so many}, by worker processes."""
    printed = run_workers(workers, Path(__file__).with_name("measure_all_reduce.py"), *counts)
    return {int(count): float(np.median(seconds)) for count, seconds in json.loads(printed.splitlines()[-1]).items()}


def measures(args, settings, parameters: int) -> dict:
    """{(what, workers): function that measures it once}: the speeds, then what the law is computed from."""
    most, counts = max(args.workers), tuple(sorted({*SIZES, parameters}))
    found = {(SPEED, n): lambda n=n: step_seconds(args, settings, n) for n in args.workers}
    found[PART, 1] = lambda: step_seconds(args, settings, 1, most)
    return found | {(REDUCED, n): lambda n=n: all_reduce_seconds(n, counts) for n in args.workers if n > 1}


def in_turn(found: dict, rounds: int, batch: int) -> dict[tuple, list]:
    """{(what, workers): its value in each round}: all in turn, every other round backwards. Printed as they come."""
    values = {key: [] for key in found}
    for turn in range(1, rounds + 1):
        for what, n in list(found)[:: 1 if turn % 2 else -1]:
            value = found[what, n]()
            values[what, n].append(value)
            if what == REDUCED:
                shown = ", ".join(f"{count:,}: {1000 * seconds:.2f} ms" for count, seconds in value.items())
            else:
                shown = f"{1000 * value:.1f} ms a step" + f", {batch / value:,.0f} images/s" * (what == SPEED)
            print(f"round {turn}: {workers_of(n):10} {WORDS[what]:18} {shown}", flush=True)
    return values


def workers_of(n: int) -> str:
    """`1 worker`, `2 workers`."""
    return f"{n} worker" + "s" * (n > 1)


def measured(values: dict[tuple, list], recipe: str, batch: int, parameters: int) -> Measured:
    """The speeds, and the constants of the law from the other values. Raises RunError where they make none."""
    seconds = {n: np.array(each) for (what, n), each in values.items() if what == SPEED}
    reduced = [(n, count, time) for (what, n), each in values.items() if what == REDUCED for turn in each
               for count, time in turn.items()]  # fmt: skip
    try:
        network = scaling_law.network_of(*zip(*reduced))
    except ValueError as error:
        raise RunError(f"the all-reduces make no law: {error}; leave the machine alone and measure again") from None
    whole, part = np.median(seconds[1]), np.median(values[PART, 1])
    cost = scaling_law.cost_of(parameters, float(whole), float(part), max(seconds))
    return Measured(recipe, {n: batch / each for n, each in seconds.items()}, cost, network)


def table(found: Measured) -> list[str]:
    """The constants, a row for each number of workers, and whether the law lies in the range that was measured."""
    cost, network = found.cost, found.network
    lines = [
        f"C {1000 * cost.divided:.1f} ms are divided among the workers, S {1000 * cost.in_full:.1f} ms are not; "
        f"b {network.bytes_per_second / 1e9:.2f} GB/s, l {1000 * network.latency:.2f} ms",
        f"{'':10}  {'images/s':>26}  {'efficiency, %':>26}  {'law, %':>7}  {'all-reduce, ms':>14}",
    ]
    for n, efficiencies in found.efficiencies().items():
        law = 100 * float(scaling_law.efficiency(n, cost, network))
        low, high = 100 * efficiencies.min(), 100 * efficiencies.max()
        verdict = "" if n == 1 else "  as measured" if low <= law <= high else "  above" if law > high else "  below"
        all_reduce = 1000 * float(scaling_law.all_reduce_seconds(n, cost.parameters, network))
        lines.append(f"{workers_of(n):10}  {spread(found.speeds[n], ',.0f'):>26}  "
                     f"{spread(100 * efficiencies, '.0f'):>26}  {law:7.0f}  {all_reduce:14.2f}{verdict}")  # fmt: skip
    return lines


def draw(found: Measured, title: str, out: Path) -> None:
    """Images/s beside n times those of one worker, and efficiency beside the law."""
    drawing, ((speed, efficiency),) = style.figure(1, 2)
    drawing.suptitle(title)
    most = max(found.speeds)
    n, one = np.linspace(1, most, 101), float(np.median(found.speeds[1]))
    law = scaling_law.efficiency(n, found.cost, found.network)
    speed.plot(n, one * n, "--", color=style.GREY, label="n times one worker")
    for panel, line, values in ((speed, one * n * law, found.speeds), (efficiency, 100 * law, found.efficiencies())):
        panel.plot(n, line, color=style.BLUE, label="the law")
        factor = 1 if panel is speed else 100
        points = [factor * np.quantile(each, [0.5, 0, 1]) for each in values.values()]
        middle, low, high = np.transpose(points)
        panel.errorbar(list(values), middle, [middle - low, high - middle], fmt="o", color=style.ORANGE, capsize=6,
                       markersize=9, label="measured: median, lowest, highest")  # fmt: skip
        panel.set_xticks(list(values))
        panel.set_xlabel("workers")
        panel.set_ylim(bottom=0)
    speed.set_title("images a second")
    efficiency.set_title("efficiency, %")
    speed.legend(loc="upper left")
    style.save(drawing, out)


def main(args) -> None:
    """Measure in turn, print the table, write it and the figure."""
    args.workers = sorted({1, *args.workers})
    if max(args.workers) == 1:
        raise RunError("--workers 1: expected a number above 1 to compare with")
    if max(args.workers) > os.cpu_count():
        raise RunError(f"--workers {max(args.workers)}: expected at most {os.cpu_count()}, the processors there are")
    args.threads = args.threads or os.cpu_count() // max(args.workers)
    settings = checked(args)
    print(processor(devices.processor_flags()), flush=True)
    if settings.precision == "auto":  # chosen once, for every round and every worker
        args.precision = throughput.measure(args, "precision")["precision"]
        settings = checked(args)
    batch, parameters = settings.batch_size, scaling_law.RECIPES[args.recipe].parameters
    found = measured(in_turn(measures(args, settings, parameters), args.rounds, batch), args.recipe, batch, parameters)
    out = args.out or Path("runs") / "scaling.png"
    scaling_table.write(found, out.with_suffix(".csv"))
    title = f"{args.recipe}, {load(settings.data, settings.data_dir).title}, batches of {batch}, {settings.precision}"
    title += f", {args.threads} thread{'s' * (args.threads > 1)} a worker"
    print(f"\n{title}; median (lowest to highest) of {args.rounds} rounds of {args.steps} steps")
    print("\n".join(table(found)))
    draw(found, title, out)
    print(f"written  {out}, {out.with_suffix('.csv')}")


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = options.parser("scaling.py", __doc__.splitlines()[0])
    add = parser.add_argument
    add("--recipe", choices=list(scaling_law.RECIPES), default="classic", help="network and batch size [classic]")
    add("--workers", type=options.count, nargs="+", default=[1, 2, 4] if os.cpu_count() >= 4 else [1, 2], metavar="N",
        help="how many, one after the other; 1 is always measured [1 2, and 4 with so many processors]")  # fmt: skip
    add("--batch-size", type=options.count, metavar="B", help="images a step, of all workers together [the recipe's]")
    add("--precision", choices=PRECISIONS, help="[the recipe's]")
    add("--threads", type=options.count, metavar="N", help="threads of each worker [processors / the most workers]")
    options.add_data(add, default="auto")
    add("--steps", type=options.count, default=STEPS, metavar="N", help=f"timed steps in each round [{STEPS}]")
    add("--rounds", type=options.count, default=3, metavar="N", help="how often they take turns [3]")
    add("--out", type=Path, metavar="FILE", help="the figure; a .csv beside it [runs/scaling.png]")
    return parser


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
