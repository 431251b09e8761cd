"""What happened at step N? The step is taken again, exactly, with every tensor at hand.

    python analysis/replay.py RUN --step N            the batch as a figure, the layers as a table, the numbers
    python analysis/replay.py RUN --step N --pdb      a prompt inside train_step, with the weights before step N
    python analysis/replay.py RUN --step N --eager    the step uncompiled: the same up to rounding

The newest checkpoint before step N is loaded and the steps up to it are taken again; then step N by
train_step itself, compiled as the run compiled it. On the machine of the run its numbers are those
in steps.csv, bit for bit: exit status 0. If they are not: 1, and a line with what differs.
The run's folder gets a figure and is otherwise only read; it may even be training on.
"""

import bdb
import os
import pdb
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common
from analysis.support.batch_figure import PANELS


def build_parser():
    """The command line."""
    parser = common.parser(
        "replay", "What happened at step N of a run? It is taken again, exactly.",
        figure="replay-step-N.png in the run's folder",
    )  # fmt: skip
    parser.add_argument("--step", metavar="N", type=int, help="the step to take again, 1 for the first [the last one]")
    parser.add_argument("--eager", action="store_true", help="take step N uncompiled: equal up to rounding")
    parser.add_argument("--pdb", action="store_true", help="open the debugger at the first line of train_step (eager)")
    parser.add_argument(
        "--panel", metavar="NAME", choices=PANELS, help=f"one panel as a slide: {', '.join(PANELS)} [both]"
    )
    parser.add_argument("--data-dir", metavar="DIR", default="", help="where the images are now, if they have moved")
    return parser


if __name__ == "__main__":
    ARGS = build_parser().parse_args()  # before TensorFlow, which takes seconds to start
    common.end_quietly_while_importing()

import train_loop
from analysis.support import batch_figure, batch_result, step_comparison, style
from analysis.support.run import names_apart
from core import devices, replicas
from core.data import load
from core.measure import probes
from core.run import checkpoints, logs, recovery, run_folder
from core.run.errors import RunError
from core.run.resumed_settings import resumed_settings
from core.settings import command_line
from train_loop import tf

HINT = (
    "You are in train_step; the weights are those before step {step:,}.\n"
    "n: next line. s: step into a call. p images.shape, p loss: print a tensor. c: finish the step. q: leave."
)


def logged_row(folder: Path, step: int | None) -> dict[str, float]:
    """The row of steps.csv of this step, or the last row for None. Raises RunError when it is not there."""
    table = logs.read(folder, logs.STEPS)
    if not len(table["step"]):
        raise RunError(f"{folder / logs.STEPS}: no step in it yet; let the run take one")
    row = np.flatnonzero(table["step"] == (table["step"][-1] if step is None else step))
    if not row.size:
        there = f"{folder / logs.STEPS} has steps {table['step'][0]} to {table['step'][-1]}"
        raise RunError(f"--step {step}: {there}; choose one of them")
    return {name: values[row[0]].item() for name, values in table.items()}


def main(args) -> None:
    """Rewind, measure the batch, draw, take the step, compare. Raises RunError when it is not the step logged."""
    folder = run_folder.find(args.run, args.runs_dir)
    config = run_folder.read_config(folder)
    moved = ["--data-dir", args.data_dir] if args.data_dir else []
    settings = resumed_settings(folder, command_line.parse(moved))
    logged = logged_row(folder, args.step)
    step = logged["step"]

    # As many threads as the run had: another number gives other last bits.
    threads = settings.threads or (0 if config.get("threads") == os.cpu_count() else config.get("threads", 0))
    devices.configure(threads, settings.micro_batches, settings.devices)
    device, device_name = devices.choose(settings.device, settings.devices)
    data = load(settings.data, settings.data_dir, settings.holdout, settings.train_images)
    recovery.check_same_data(folder, data)

    with replicas.placed_on(settings.devices, device):
        training = train_loop.prepare(settings, data, config)
        saved = [path.name for path in checkpoints.newest_first(folder, not_after=step - 1)]
        common.say(
            f"run      {folder}/, {data.title}",
            f"step     {step:,} of {training.total_steps:,}" + ", the last one logged" * (args.step is None),
            f"from     {f'checkpoint {saved[0]}' if saved else 'the untrained network'} on",
        )
        recovery.rewind(training, folder, step - 1)

        result = batch_result.measure_batch(step, training)
        out = args.out or folder / (f"replay-step-{step}" + (f"-{args.panel}.png" if args.panel else ".png"))
        batch_figure.draw(result, data.class_names, title_of(names_apart([folder])[0], logged), out, args.panel)
        common.say(f"drawn    {out}", "")
        lost = not np.isfinite([logged["loss"], logged["gradient_norm"]]).all()
        if lost:
            where = probes.first_not_finite(tf.constant(step), training.batches, training.network, settings)

        before = batch_result.kernels(training)
        replayed = take(step, training, args)
        table = batch_result.layer_table(result, before, batch_result.kernels(training))
        common.say(table, "", step_comparison.comparison(replayed, logged), "")
    if lost:
        common.say(f"Not finite: {where}.")

    exact = settings.eager or not (args.eager or args.pdb)
    if not step_comparison.agrees(replayed, logged, exact, settings):
        here = devices.environment(threads) | {"device": device_name}
        raise RunError(
            f"step {step:,} replayed is not the step logged (loss {replayed['loss']:.9g} here, {logged['loss']:.9g} in "
            f"{logs.STEPS}); {step_comparison.reasons(config, here)}"
        )
    if exact:
        common.say(f"Step {step:,} replayed is the step logged, bit for bit.")
    else:
        common.say(
            f"Step {step:,} uncompiled is the step logged up to rounding; without --eager and --pdb, bit for bit."
        )


def take(step: int, training, args) -> dict[str, float]:
    """Take the step, compiled as the run did, or uncompiled, or under the debugger; return its numbers."""
    take_step = training.step
    if args.eager or args.pdb:
        take_step = getattr(take_step, "python_function", take_step)  # an eager run has it uncompiled already
    if args.pdb:
        common.say(HINT.format(step=step))
        take_step = train_loop.under_debugger(take_step)
    try:
        metrics, _ = take_step(tf.constant(step))
    except (bdb.BdbQuit, pdb.Restart):
        raise RunError(f"left the debugger before the end of step {step:,}: nothing was compared") from None
    return {name: float(metrics[name]) for name in step_comparison.COMPARED}


def title_of(name: str, logged: dict) -> str:
    """The title of the figure."""
    return (
        f"Step {logged['step']:,} of {style.shortened(name)}: loss {logged['loss']:.3g}, accuracy "
        f"{100 * logged['accuracy']:.0f} %, learning rate {logged['learning_rate']:.3g}"
    )


if __name__ == "__main__":
    common.answer(main, ARGS)
