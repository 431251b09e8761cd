"""How fast does it train, and where does the time go? This loop, Keras `fit` and PyTorch in turn, on one machine.

    python analysis/benchmarks/throughput.py                      the classic recipe at its own batch size
    python analysis/benchmarks/throughput.py --recipe modern --precision bfloat16
    python analysis/benchmarks/throughput.py --diagnostics        what each level of diagnostics costs this loop
    python analysis/benchmarks/throughput.py --baselines --also="--micro-batches 1"     this loop with another setting

Same network, starting weights, batch size, precision and threads. Every measurement is a fresh process that compiles,
warms up and is then timed. This loop is train_loop.py itself, with its augmentation, its logs and its usual
diagnostics, timed after their dense start; the baselines get images that are standardized already and not augmented,
and PyTorch stays on the processor.
GFLOP/s counts three times the forward FLOPs that the result needs (backward is twice forward), and the percentage is
that of the best matrix product that TensorFlow reaches here in the same precision. A machine's speed drifts, so all
take turns, every other round backwards; ratios are taken within a round, and a verdict needs their whole range on one
side of 1.
"""

import argparse
import csv
import functools
import importlib.util
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from analysis.benchmarks import options, throughput_figure
from analysis.benchmarks.comparison import spread, verdict
from analysis.benchmarks.measure_once import rates
from analysis.benchmarks.processes import run_python
from analysis.support import common
from core import devices
from core.data import load
from core.run import logs, run_folder
from core.settings import command_line
from core.settings.recipes import RECIPES
from core.settings.settings import DIAGNOSTICS, PRECISIONS

LOOP, PEAK = "this loop", "matrix product"
BASELINES = {  # as --baselines calls them, and as tables do
    "keras": "Keras fit",
    "keras-graph": "Keras fit, jit_compile=False",
    "torch": "PyTorch",
    "torch-compile": "PyTorch, torch.compile",
}
STEPS = 50  # timed steps; the loop writes its logs every 50 steps
# The loop's diagnostics measure densely at the first 100 steps, which are not timed, then at least once in 200.
DENSE_START, DIAGNOSTICS_STEPS = 100, 200
COLUMNS = ("name", "round", "quantity", "value")
UNITS = {"images_per_second": "images/s", "gflops": "GFLOP/s"}
# What decides a processor's speed here: {flag in /proc/cpuinfo: name}.
INSTRUCTION_SETS = {"avx2": "AVX2", "avx512f": "AVX512", "avx512_bf16": "AVX512_BF16", "amx_bf16": "AMX"}


def processor(flags: set[str]) -> str:
    """The processor in one line: name, how many, and which of INSTRUCTION_SETS it has."""
    found = [name for flag, name in INSTRUCTION_SETS.items() if flag in flags]
    missing = [name for flag, name in INSTRUCTION_SETS.items() if flag not in flags]
    if not flags:
        instructions = "the system does not name its instruction sets"
    else:
        instructions = (", ".join(found) or "none of the known instruction sets") + (
            f"; without {', '.join(missing)}" if missing else ""
        )
    return f"{devices.processor_name()} x {os.cpu_count()}: {instructions}"


def settings_of(args) -> list[str]:
    """The settings that everybody is measured with, as options of train_loop.py."""
    named = {"--recipe": args.recipe, "--batch-size": args.batch_size, "--precision": args.precision}
    named |= {"--threads": args.threads, "--data": args.data, "--data-dir": args.data_dir}
    return [text for name, value in named.items() if value for text in (name, str(value))]


def measure_loop(args, *more: str) -> dict[str, float]:
    """Images/s and GFLOP/s of train_loop.py, from its timing.csv; more: further options."""
    last = DENSE_START + args.steps
    with tempfile.TemporaryDirectory() as folder:
        run_python(  # stopped one step before the end: no final evaluation
            "train_loop.py", *settings_of(args), "--steps", last + 1, "--stop-at", last, "--no-eager",
            "--runs-dir", folder, "--run", "timed", *more, quiet=True,
        )  # fmt: skip
        config = run_folder.read_config(Path(folder) / "timed")
        timing = logs.read(Path(folder) / "timed", logs.TIMING)
        seconds = np.mean((timing["step_seconds"] + timing["probe_seconds"])[DENSE_START:])
    return rates(config["settings"]["batch_size"] / seconds, config["forward_flops_per_image"])


def measure(args, what: str) -> dict:
    """What measure_once.py measures."""
    script = Path(__file__).with_name("measure_once.py")
    return json.loads(run_python(script, what, args.steps, *settings_of(args), quiet=True).printed.splitlines()[-1])


def candidates(args) -> dict:
    """{name: function that measures it once}: the loop, as it is and with each --also, the peak and the baselines; or
    the loop with each level of diagnostics."""
    if args.diagnostics:
        return {
            f"diagnostics {level}": functools.partial(measure_loop, args, "--diagnostics", level)
            for level in DIAGNOSTICS
        }
    wanted = list(args.baselines)
    if any(name.startswith("torch") for name in wanted) and not importlib.util.find_spec("torch"):
        wanted = [name for name in wanted if not name.startswith("torch")]
        print('PyTorch is not installed and is left out; to have it: python -m pip install --editable ".[torch]"')
    found = {LOOP: functools.partial(measure_loop, args), PEAK: functools.partial(measure, args, "peak")}
    found |= {f"{LOOP}, {shlex.join(more)}": functools.partial(measure_loop, args, *more) for more in args.also}
    return found | {BASELINES[name]: functools.partial(measure, args, name) for name in wanted}


def main(args) -> None:
    """Measure in turn, take our own step apart, print the tables, write the CSV and the figure."""
    settings = command_line.parse(settings_of(args)).settings  # a mistake is reported here, with status 2
    for more in args.also:
        command_line.parse([*settings_of(args), *more])
    args.steps = args.steps or (DIAGNOSTICS_STEPS if args.diagnostics else STEPS)
    print(processor(devices.processor_flags()), flush=True)
    if settings.precision == "auto":  # chosen once, for every round and everybody
        args.precision = measure(args, "precision")["precision"]
        settings = command_line.parse(settings_of(args)).settings
    out = args.out or Path("runs") / "throughput.png"
    data = load(settings.data, settings.data_dir)
    rows = measure_in_turn(candidates(args), args.rounds)
    times = {} if args.diagnostics else measure(args, "parts")
    rows += [
        (f"step through {part}", turn, "milliseconds", value)
        for part, values in times.items()
        for turn, value in enumerate(values, start=1)
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out.with_suffix(".csv"), "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])

    title = f"{settings.recipe}, {data.title}, batches of {settings.batch_size}, {settings.precision}"
    print(f"\n{title}; median (lowest to highest); rounds: {args.rounds}, of {args.steps} steps each")
    speeds = speeds_of(rows)
    if args.diagnostics:
        diagnostics_table(speeds)
    else:
        speed_table(rows, speeds)
        parts_table(parts(times), settings.batch_size / np.median(speeds[LOOP]))
    throughput_figure.draw(speeds, parts(times), title, out)
    print(f"written  {out}, {out.with_suffix('.csv')}")


def measure_in_turn(measures: dict, rounds: int) -> list[tuple]:
    """Rows of COLUMNS: everybody once a round, every other round backwards. Printed as they come."""
    rows = []
    for turn in range(1, rounds + 1):
        for name in list(measures)[:: 1 if turn % 2 else -1]:
            found = measures[name]()
            rows += [(name, turn, quantity, value) for quantity, value in found.items()]
            shown = ", ".join(f"{value:,.0f} {UNITS[quantity]}" for quantity, value in found.items())
            print(f"round {turn}: {name:29}  {shown}", flush=True)
    return rows


def by_round(rows: list[tuple], name: str, quantity: str) -> np.ndarray:
    """The values of one quantity, first round to last."""
    return np.array([row[3] for row in sorted(rows, key=lambda row: row[1]) if (row[0], row[2]) == (name, quantity)])


def speeds_of(rows: list[tuple]) -> dict[str, np.ndarray]:
    """{name: images/s of each round} in the order of the first round."""
    names = dict.fromkeys(row[0] for row in rows if row[2] == "images_per_second")
    return {name: by_round(rows, name, "images_per_second") for name in names}


def speed_table(rows: list[tuple], speeds: dict[str, np.ndarray]) -> None:
    """Images/s, the percentage of the peak, the ratio of this loop to each of the others; then the verdicts."""
    peak = by_round(rows, PEAK, "gflops")
    print(f"{'':29}  {'images/s':>26}  {'GFLOP/s':>8}  {'of the peak':>11}  {'this loop / it':>23}")
    for name, speed in speeds.items():
        gflops = by_round(rows, name, "gflops")
        ratio = "" if name == LOOP else spread(speeds[LOOP] / speed, ".2f")
        percentage = f"{100 * np.median(gflops / peak):.0f} %"
        print(f"{name:29}  {spread(speed, ',.0f'):>26}  {np.median(gflops):8.0f}  {percentage:>11}  {ratio:>23}")
    print(f"{PEAK + ', the peak':29}  {'':26}  {np.median(peak):8.0f}")
    print("\n".join(verdicts(speeds)))


def verdicts(speeds: dict[str, np.ndarray]) -> list[str]:
    """A sentence for each of the others, and which baseline is the fastest."""
    others = {name: speed for name, speed in speeds.items() if name != LOOP}
    baselines = [name for name in others if name in BASELINES.values()]
    fastest = max(baselines, key=lambda name: np.median(others[name]), default=None)
    return [
        f"{LOOP}: {verdict(speeds[LOOP] / speed, name.replace(f'{LOOP}, ', 'itself with '))}"
        + "   <- the fastest baseline" * (name == fastest)
        for name, speed in others.items()
    ]


def diagnostics_table(speeds: dict[str, np.ndarray]) -> None:
    """What each level of diagnostics adds to a step, in % of the step without."""
    without = next(iter(speeds.values()))
    print(f"{'':20}  {'images/s':>26}  {'longer step, %':>26}")
    for name, speed in speeds.items():
        cost = "" if speed is without else spread(100 * (without / speed - 1), "+.1f")
        print(f"{name:20}  {spread(speed, ',.0f'):>26}  {cost:>26}")


def parts(times: dict[str, list[float]]) -> dict[str, float]:
    """{part: its own milliseconds}: the differences of the medians, as step_parts.py explains."""
    medians = [np.median(values) for values in times.values()]
    return dict(zip(times, np.diff(medians, prepend=0.0)))


def parts_table(own: dict[str, float], loop_seconds: float) -> None:
    """Where the time of our own step goes."""
    whole = sum(own.values())
    print("\none step of this loop, in a process that does nothing else (how: analysis/benchmarks/step_parts.py)")
    for part, milliseconds in own.items():
        print(f"{part:12}  {milliseconds:8.2f} ms  {100 * milliseconds / whole:5.1f} %")
    print(f"{'whole':12}  {whole:8.2f} ms; in the rounds above, with its logs, {1000 * loop_seconds:.2f} ms")


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = options.parser("throughput.py", __doc__.splitlines()[0])
    add = parser.add_argument
    add("--recipe", choices=list(RECIPES), default="classic", help="network and batch size [classic]")
    add("--batch-size", type=options.count, metavar="N", help="images a step [the recipe's]")
    add("--precision", choices=PRECISIONS, help="[the recipe's]")
    add("--threads", type=options.count, metavar="N", help="processor threads [all]")
    options.add_data(add, default="auto")
    add(
        "--baselines", nargs="*", choices=list(BASELINES), default=list(BASELINES), metavar="NAME",
        help=f"who else is measured, of {', '.join(BASELINES)}; no name: only this loop [all]",
    )  # fmt: skip
    add(
        "--also", type=shlex.split, action="append", default=[], metavar="OPTIONS",
        help='this loop once more, with these settings, as in --also="--micro-batches 1"; can be given several times',
    )  # fmt: skip
    add("--diagnostics", action="store_true",
        help=f"instead compare this loop with --diagnostics {', '.join(DIAGNOSTICS)}")  # fmt: skip
    add("--steps", type=options.count, metavar="N",
        help=f"timed steps in each round [{STEPS}; {DIAGNOSTICS_STEPS} with --diagnostics]")  # fmt: skip
    add("--rounds", type=options.count, default=3, metavar="N", help="how often they take turns [3]")
    add("--out", type=Path, metavar="FILE", help="the figure; a .csv beside it [runs/throughput.png]")
    return parser


if __name__ == "__main__":
    PARSER = build_parser()
    ARGS = PARSER.parse_args()
    if ARGS.also and ARGS.diagnostics:
        PARSER.error("--also and --diagnostics: two comparisons; give one of them")
    common.answer(main, ARGS)
