"""How fast does it train, and where does the time go? This loop, Keras `fit` and PyTorch in turn, on one machine.

    python analysis/throughput.py                      the classic recipe at its own batch size
    python analysis/throughput.py --recipe modern --precision bfloat16
    python analysis/throughput.py --diagnostics        what each level of diagnostics costs this loop
    python analysis/throughput.py --peers --also="--micro-batches 1"       what a setting gives: this loop with another, too

Same network, starting weights, batch size, precision and threads. Every measurement is a fresh
process that compiles, warms up and is then timed. Ours is train_loop.py itself, with its
augmentation, its logs and its usual diagnostics, timed after their dense start; the others get pictures that are
standardized already and not augmented, and PyTorch stays on the processor.
GFLOP/s counts three times the forward FLOPs that the result needs (backward is twice forward), and the share is
that of the best matrix product TensorFlow reaches here in the same precision. Machines drift, so all take
turns, every other round backwards; medians, and ratios within a round, are what counts.
"""

import argparse
import csv
import dataclasses
import functools
import importlib.util
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common
from core import data
from core.run import logs, run_folder
from core.settings import recipes

PROJECT = Path(__file__).resolve().parent.parent
OURS, PEAK = "this loop", "matrix product"
PEERS = {  # as --peers calls them, and as tables do
    "keras": "Keras fit",
    "keras-graph": "Keras fit, jit_compile=False",
    "torch": "PyTorch",
    "torch-compile": "PyTorch, torch.compile",
}
COLOURS = dict(zip((OURS, *PEERS.values()), ("#1f77b4", "#999999", "#bbbbbb", "#e39a6f", "#eebf9f")))
WARM_UP, STEPS = 10, 50  # steps that are not timed, and that are. The loop writes its logs every 50 steps
# The loop's diagnostics look densely at the first 100 steps, which are not timed, then at least once in 200.
DENSE_START, DIAGNOSTICS_STEPS = 100, 200
COLUMNS = ("who", "round", "quantity", "value")


def given(args) -> list[str]:
    """The settings to hand on, as words of a command line."""
    named = {"--recipe": args.recipe, "--batch-size": args.batch_size, "--precision": args.precision}
    named |= {"--threads": args.threads, "--data": args.data, "--data-dir": args.data_dir}
    return [word for name, value in named.items() if value for word in (name, str(value))]


def run(*arguments) -> str:
    """What a Python of ours prints; raises RunError with its last line when it fails."""
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        raise run_folder.RunError(f"{arguments[0]} failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return done.stdout


def ours(args, *more: str) -> dict[str, float]:
    """Images/s and GFLOP/s of train_loop.py, from the timing.csv it leaves; more: words of its command line."""
    last = DENSE_START + args.steps
    with tempfile.TemporaryDirectory() as place:
        run(  # stopped one step before the end: the evaluation is not what is asked
            "train_loop.py", *given(args), "--steps", last + 1, "--stop-at", last, "--no-eager",
            "--runs-dir", place, "--run", "timed", *more,
        )  # fmt: skip
        config = run_folder.read_config(Path(place) / "timed")
        timing = logs.read(Path(place) / "timed", logs.TIMING)
        seconds = np.mean((timing["step_seconds"] + timing["probe_seconds"])[DENSE_START:])
    return rates(config["settings"]["batch_size"] / seconds, config["forward_flops_per_image"])


def rates(images_per_second: float, forward_flops: int) -> dict[str, float]:
    """The quantities of a measurement."""
    return {"images_per_second": float(images_per_second), "gflops": float(3 * forward_flops * images_per_second / 1e9)}


def worker(args, what: str) -> dict:
    """What this file measures as a worker, in a process of its own."""
    return json.loads(run(__file__, "--worker", what, "--steps", args.steps, *given(args)).splitlines()[-1])


def work(args, settings) -> dict:
    """The worker: measure once."""
    from core import devices

    if args.worker == "parts":
        settings = dataclasses.replace(settings, pieces=devices.choose_micro_batches(settings))
        devices.configure(settings.threads, settings.pieces)
    else:
        devices.import_tensorflow().config.threading.set_intra_op_parallelism_threads(settings.threads)
    from analysis.benchmarks.baselines import keras_fit
    from core import model

    if args.worker == "precision":
        device, _ = devices.choose(settings.device)
        return {"precision": devices.choose_precision(settings.precision, device)[0]}
    if args.worker == "peak":
        return {"gflops": keras_fit.matrix_product_gflops(settings.precision)}
    pictures = data.load(settings.data, settings.data_dir)
    if args.worker == "parts":
        from analysis.benchmarks import step_parts

        return step_parts.milliseconds_through(settings, pictures, args.steps)
    if args.worker.startswith("torch"):
        from analysis.benchmarks.baselines.torch_loop import torch_images_per_second as measure

        how = args.worker == "torch-compile"
    else:
        measure, how = keras_fit.keras_images_per_second, "auto" if args.worker == "keras" else False
    return rates(measure(settings, pictures, args.steps, WARM_UP, how), model.build(settings).flops())


def contestants(args) -> dict:
    """{who: function that measures it once}: ours, as it is and as asked for --also, and the peers; or ours with each
    level of diagnostics."""
    if args.diagnostics:
        return {
            f"diagnostics {level}": functools.partial(ours, args, "--diagnostics", level)
            for level in SETTINGS_MODULE.DIAGNOSTICS
        }
    wanted = list(args.peers)
    if any(peer.startswith("torch") for peer in wanted) and not importlib.util.find_spec("torch"):
        wanted = [peer for peer in wanted if not peer.startswith("torch")]
        print('PyTorch is not installed and is left out; to have it: python -m pip install --editable ".[torch]"')
    found = {OURS: functools.partial(ours, args), PEAK: functools.partial(worker, args, "peak")}
    found |= {f"{OURS}, {shlex.join(more)}": functools.partial(ours, args, *more) for more in args.also}
    return found | {PEERS[peer]: functools.partial(worker, args, peer) for peer in wanted}


def main(args) -> None:
    """Measure in turn, take our own step apart, print the tables, write the CSV and the chart."""
    settings = command_line.parse(given(args)).settings  # a wrong word is answered here, with status 2
    for more in args.also:
        command_line.parse([*given(args), *more])
    if args.worker:
        return print(json.dumps(work(args, settings)))
    args.steps = args.steps or (DIAGNOSTICS_STEPS if args.diagnostics else STEPS)
    if settings.precision == "auto":  # decided once: every round and everybody computes in the same
        args.precision = worker(args, "precision")["precision"]
        settings = command_line.parse(given(args)).settings
    out = args.out or Path("runs") / "throughput.png"
    pictures = data.load(settings.data, settings.data_dir)
    measures, rows = contestants(args), []
    for turn in range(1, args.rounds + 1):
        for who in list(measures)[:: 1 if turn % 2 else -1]:
            found = measures[who]()
            rows += [(who, turn, quantity, value) for quantity, value in found.items()]
            shown = ", ".join(f"{value:,.0f} {UNITS[quantity]}" for quantity, value in found.items())
            print(f"round {turn}: {who:29}  {shown}", flush=True)
    times = {} if args.diagnostics else worker(args, "parts")
    rows += [
        (f"step through {part}", turn, "milliseconds", value)
        for part, values in times.items()
        for turn, value in enumerate(values, start=1)
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out.with_suffix(".csv"), "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])

    title = f"{settings.recipe}, {pictures.title}, batches of {settings.batch_size}, {settings.precision}"
    print(f"\n{title}; median (lowest to highest); rounds: {args.rounds}, of {args.steps} steps each")
    speeds = {who: by_round(rows, who, "images_per_second") for who in measures if who != PEAK}
    if args.diagnostics:
        diagnostics_table(speeds)
    else:
        speed_table(rows, speeds)
        parts_table(parts(times), settings.batch_size / np.median(speeds[OURS]))
    draw(speeds, parts(times), title, out)
    print(f"written  {out}, {out.with_suffix('.csv')}")


UNITS = {"images_per_second": "images/s", "gflops": "GFLOP/s"}


def by_round(rows: list[tuple], who: str, quantity: str) -> np.ndarray:
    """The values of one quantity, first round to last."""
    return np.array([row[3] for row in sorted(rows, key=lambda row: row[1]) if (row[0], row[2]) == (who, quantity)])


def spread(values: np.ndarray, form: str) -> str:
    """`1.30 (1.05 to 1.54)`: the median and the range around it."""
    return f"{np.median(values):{form}} ({values.min():{form}} to {values.max():{form}})"


def speed_table(rows: list[tuple], speeds: dict[str, np.ndarray]) -> None:
    """Who trains how many images a second, with which share of the peak, and how much faster ours is."""
    peak = by_round(rows, PEAK, "gflops")
    print(f"{'':29}  {'images/s':>26}  {'GFLOP/s':>8}  {'of the peak':>11}  {'ours is faster by':>23}")
    for who, speed in speeds.items():
        gflops = by_round(rows, who, "gflops")
        times = "" if who == OURS else "x " + spread(speeds[OURS] / speed, ".2f")
        share = f"{100 * np.median(gflops / peak):.0f} %"
        print(f"{who:29}  {spread(speed, ',.0f'):>26}  {np.median(gflops):8.0f}  {share:>11}  {times:>23}")
    print(f"{PEAK + ', the peak':29}  {'':26}  {np.median(peak):8.0f}")


def diagnostics_table(speeds: dict[str, np.ndarray]) -> None:
    """What each level of diagnostics adds to a step, in % of the step without."""
    without = next(iter(speeds.values()))
    print(f"{'':20}  {'images/s':>26}  {'longer step, %':>26}")
    for who, speed in speeds.items():
        cost = "" if speed is without else spread(100 * (without / speed - 1), "+.1f")
        print(f"{who:20}  {spread(speed, ',.0f'):>26}  {cost:>26}")


def parts(times: dict[str, list[float]]) -> dict[str, float]:
    """{part: its own milliseconds}: the differences of the medians, as analysis/step_parts.py explains."""
    medians = [np.median(values) for values in times.values()]
    return dict(zip(times, np.diff(medians, prepend=0.0)))


def parts_table(own: dict[str, float], script_seconds: float) -> None:
    """Where the time of our own step goes."""
    whole = sum(own.values())
    print("\none step of this loop, in a process that does nothing else (how: analysis/step_parts.py)")
    for part, milliseconds in own.items():
        print(f"{part:12}  {milliseconds:8.2f} ms  {100 * milliseconds / whole:5.1f} %")
    print(f"{'whole':12}  {whole:8.2f} ms; in the rounds above, with its logs, {1000 * script_seconds:.2f} ms")


def draw(speeds: dict[str, np.ndarray], own: dict[str, float], title: str, out: Path) -> None:
    """The speeds as bars with whiskers from lowest to highest; under them our own step as one stacked bar."""
    drawing, axes = common.figure(2 if own else 1, 1, width=9, height=2.4 if own else 2.6)
    panel = axes[0, 0]
    medians = np.array([np.median(speed) for speed in speeds.values()])
    whiskers = [medians - [s.min() for s in speeds.values()], [s.max() for s in speeds.values()] - medians]
    colours = [COLOURS.get(who, COLOURS[OURS]) for who in speeds]
    names = [who.replace(" --", "\n--") for who in speeds]  # a setting a line: the panels keep their width
    panel.barh(names, medians, xerr=np.array(whiskers), color=colours, capsize=3, ecolor="#444444")
    for place, (median, speed) in enumerate(zip(medians, speeds.values())):
        panel.annotate(f"{median:,.0f}", (speed.max(), place), xytext=(6, 0), textcoords="offset points", va="center")
    panel.margins(x=0.12)
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")
    panel.set_title(title, loc="left")
    panel.set_xlabel("training images a second: median, lowest and highest round")
    if own:
        draw_parts(axes[1, 0], own)
        axes[1, 0].get_gridspec().set_height_ratios([len(speeds) + 1, 2.5])
    common.save(drawing, out)


def draw_parts(panel, own: dict[str, float]) -> None:
    """One stacked bar; a part that came out below zero is noise and shows as nothing."""
    from matplotlib import pyplot as plt

    left, whole = 0.0, sum(own.values())
    for part, colour in zip(own, plt.cm.viridis(np.linspace(0.15, 0.95, len(own)))):
        width = max(own[part], 0.0)
        panel.barh([0], [width], left=left, color=colour, label=f"{part} {100 * own[part] / whole:.0f} %")
        left += width
    panel.set_yticks([0], ["one step"])
    panel.grid(visible=False)
    panel.set_xlim(0, left)
    panel.set_xlabel("milliseconds of this loop's step, in a process that does nothing else")
    panel.legend(ncols=len(own), loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, fontsize="small",
                 columnspacing=1.2, handlelength=1.2)  # fmt: skip


def counted(word: str) -> int:
    """A whole number, 1 or above; argparse's error says so."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or above, found {word}")
    return int(word)


if __name__ == "__main__":
    line = argparse.ArgumentParser(prog="analysis/throughput.py", description=__doc__.splitlines()[0])
    line.add_argument("--recipe", choices=list(recipes.RECIPES), default="classic", help="network and batch [classic]")
    line.add_argument("--batch-size", type=counted, metavar="N", help="images a step [the recipe's]")
    line.add_argument("--precision", choices=SETTINGS_MODULE.PRECISIONS, help="[the recipe's]")
    line.add_argument("--threads", type=counted, metavar="N", help="processor threads [all]")
    line.add_argument("--data", choices=SETTINGS_MODULE.DATA_SETS, default="auto", help="[auto]")
    line.add_argument("--data-dir", metavar="DIR", default="", help="where cifar-10-batches-bin/ is")
    line.add_argument(
        "--peers", nargs="*", choices=list(PEERS), default=list(PEERS), metavar="PEER",
        help=f"who else is measured, of {', '.join(PEERS)}; none after the word: only ours [all]",
    )  # fmt: skip
    line.add_argument(
        "--also", type=shlex.split, action="append", default=[], metavar="WORDS",
        help='this loop once more, with these settings, as in --also="--micro-batches 1"; can be given several times',
    )  # fmt: skip
    line.add_argument(
        "--diagnostics", action="store_true",
        help=f"instead compare this loop with --diagnostics {', '.join(SETTINGS_MODULE.DIAGNOSTICS)}",
    )  # fmt: skip
    line.add_argument(
        "--steps", type=counted, metavar="N",
        help=f"timed steps in each round [{STEPS}; {DIAGNOSTICS_STEPS} with --diagnostics]",
    )  # fmt: skip
    line.add_argument("--rounds", type=counted, default=3, metavar="N", help="how often they take turns [3]")
    line.add_argument("--out", type=Path, metavar="FILE", help="the chart; a .csv beside it [runs/throughput.png]")
    line.add_argument("--worker", help=argparse.SUPPRESS)
    args = line.parse_args()
    if args.also and args.diagnostics:
        line.error("--also and --diagnostics: two comparisons; give one of them")
    common.answer(main, args)
