"""What happened at step N? The step is taken again, exactly, with every tensor in hand.

    python analysis/replay.py RUN --step N            the batch as a picture, the layers as a table, the numbers
    python analysis/replay.py RUN --step N --pdb      a prompt inside train_step, with the weights before step N
    python analysis/replay.py RUN --step N --eager    the step uncompiled: the same up to rounding

The newest checkpoint before step N is loaded and the steps up to it are taken again; then step N by
train_step itself, compiled as the run compiled it. On the machine of the run its numbers are those
in steps.csv, bit for bit: exit status 0. If they are not: 1, and a line that says what differs.
The run's folder gets a picture and is otherwise only read; it may even be training on.
"""

import bdb
import os
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common


def command_line():
    """The words after `python analysis/replay.py`."""
    args = common.parser("replay-step-N", "What happened at step N of a run? It is taken again, exactly.")
    args.prog = "analysis/replay.py"  # the word above is the picture's
    args.add_argument("--step", metavar="N", type=int, help="the step to take again, 1 for the first [the last one]")
    args.add_argument("--eager", action="store_true", help="take step N uncompiled: equal up to rounding")
    args.add_argument("--pdb", action="store_true", help="open the debugger at the first line of train_step (eager)")
    args.add_argument("--data-dir", metavar="DIR", default="", help="where the pictures are now, if they have moved")
    return args


if __name__ == "__main__":
    WORDS = command_line().parse_args()  # before TensorFlow: a wrong word is answered in a moment

import train_loop
from core import devices
from core.measure import probes
from core.run import checkpoints, logs, run_folder
from core.settings import recipes
from core.data.batches import standardize
from core.data import load as load_data
from core.losses import softmax_cross_entropy
from train_loop import tf

COMPARED = logs.COLUMNS[logs.STEPS][2:]  # loss, accuracy, learning_rate, gradient_norm
ROUNDING = {"float32": 1e-4, "bfloat16": 0.05}  # relative; how far the uncompiled step may be off
MOST, LARGEST = 128, 60  # pictures on a sheet: all of a batch up to 128, of a larger one the 60 largest losses
WIDTH, HEIGHT = 16, 9  # inches of the sheet
GRID_HEIGHT, CAPTION = 6.5, 0.36  # inches for all tiles; a tile is a square picture and a caption 0.36 as high
RIGHT, WRONG = "#00795a", "#c44601"  # also told apart by the colour-blind
HINT = (
    "You are in train_step; the weights are those before step {step:,}.\n"
    "n: next line. s: step into a call. p images.shape, p loss: look at a tensor. c: finish the step. q: leave."
)


@dataclass(frozen=True)
class Look:
    """A batch and what the network makes of it, before the step: B pictures, L layers."""

    images: np.ndarray  # [B,32,32,3] uint8, augmented
    labels: np.ndarray  # [B]
    losses: np.ndarray  # [B]
    predicted: np.ndarray  # [B]; -1 where the logits are not finite
    outputs: dict[str, tuple[float, ...]]  # {layer: (mean, deviation, share of zeros, largest |y|)}
    gradients: dict[str, np.ndarray]  # {layer with a kernel: gradient of its kernel}


def look_at(step: int, training) -> Look:
    """What train_step sees in this step, picture by picture and layer by layer, with the weights of now.

    In training mode, with the step's own dropout mask. Nothing is changed: as in probes.batch_loss,
    the moving averages of batch norm are put back.
    """
    network, step, outputs = training.network, tf.constant(step), {}
    kept = [tf.identity(statistic) for statistic in network.statistics]
    images, labels = training.batches.batch(step)
    with tf.GradientTape() as tape:
        for layer, y in network.outputs(standardize(images), training=True, step=step):
            with tape.stop_recording():
                outputs[layer.name] = described(tf.cast(y, tf.float64))
        logits = tf.cast(y, tf.float32)
        losses = softmax_cross_entropy(logits, labels, training.settings.label_smoothing)
        loss = tf.reduce_mean(losses)
    layers = probes.kernel_layers(network)
    gradients = tape.gradient(loss, [layer.kernel for layer in layers])
    for statistic, value in zip(network.statistics, kept):
        statistic.assign(value)
    finite = tf.reduce_all(tf.math.is_finite(logits), axis=-1)
    predicted = tf.where(finite, tf.argmax(logits, axis=-1, output_type=tf.int32), -1)
    return Look(
        images.numpy(), labels.numpy(), losses.numpy(), predicted.numpy(), outputs,
        {layer.name: gradient.numpy().astype(np.float64) for layer, gradient in zip(layers, gradients)},
    )  # fmt: skip


def described(y) -> tuple[float, ...]:
    """Mean, deviation, share of zeros (|y| < 1e-6) and largest |y| of a layer's output y [N,...] float64.

    In float64, because the squares of numbers that are still finite may not be.
    """
    size = tf.abs(y)
    silent = tf.reduce_mean(tf.cast(size < probes.NEAR_ZERO, tf.float64))
    numbers = tf.reduce_mean(y), tf.math.reduce_std(y), silent, tf.reduce_max(size)
    return tuple(float(number) for number in numbers)


def kernels(training) -> dict[str, np.ndarray]:
    """{layer: its kernel now}, float64 as above."""
    return {layer.name: layer.kernel.numpy().astype(np.float64) for layer in probes.kernel_layers(training.network)}


def layer_table(look: Look, before: dict, after: dict) -> str:
    """What each layer hands on, and how it is corrected. before, after: the kernels around the step."""
    rows = [("layer", "mean", "deviation", "zeros", "largest", "|gradient|", "|weights|", "|step|/|weights|")]
    for layer, (mean, std, zeros, largest) in look.outputs.items():
        row = [layer, f"{mean:.3g}", f"{std:.3g}", f"{100 * zeros:.1f} %", f"{largest:.3g}"]
        if layer in before:
            with np.errstate(invalid="ignore"):  # inf - inf
                update = after[layer] - before[layer]
            weights, step, gradient = map(np.linalg.norm, (before[layer], update, look.gradients[layer]))
            row += [f"{gradient:.3g}", f"{weights:.3g}", f"{step / weights:.2g}" if weights else "-"]
        rows.append(tuple(row + [""] * (8 - len(row))))
    widths = [max(len(row[i]) for row in rows) for i in range(8)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def by_loss(look: Look) -> np.ndarray:
    """The places of the pictures, largest loss first; what is not a number comes before all. [B]"""
    return np.argsort(-np.where(np.isfinite(look.losses), look.losses, np.inf), kind="stable")


def draw(look: Look, class_names, title: str, out: Path) -> None:
    """The sheet: how the loss is spread over the batch, and its pictures, largest loss first."""
    drawing, axes = common.figure(2, 1, width=WIDTH, height=HEIGHT / 2)
    strip, grid = axes.flat
    strip.get_gridspec().set_height_ratios([1.2, GRID_HEIGHT])
    order = by_loss(look)
    shown = order if len(order) <= MOST else order[:LARGEST]
    draw_strip(strip, look, order, len(shown))
    draw_pictures(grid, look, shown, class_names)
    drawing.suptitle(title, fontsize="xx-large", fontweight="bold")
    common.save(drawing, out)


def draw_strip(panel, look: Look, order: np.ndarray, shown: int) -> None:
    """Every picture's loss as a bar, in the order of the pictures below; as high as the panel if it is not a number."""
    losses, guessing = look.losses[order], np.log(10)
    finite = np.isfinite(losses)
    top = 1.1 * max(losses[finite].max(initial=0), guessing)
    wrong = look.predicted[order] != look.labels[order]
    edges = np.arange(len(order) + 1) + 0.5
    for chosen, colour, word in ((wrong, WRONG, "wrong"), (~wrong, RIGHT, "right")):
        heights = np.where(finite, losses, top)
        panel.stairs(np.where(chosen, heights, 0), edges, fill=True, color=colour, label=f"{word}: {chosen.sum():,}")
    panel.axhline(guessing, color="black", linewidth=0.8, linestyle=":", label="guessing: ln 10")
    if shown < len(order):
        panel.axvline(shown + 0.5, color="black", linewidth=1)
        panel.annotate("shown below ", (shown + 0.5, 0.9), xycoords=("data", "axes fraction"), ha="right", va="top")
    panel.set(xlim=(0.5, len(order) + 0.5), ylim=(0, top), xticks=[], ylabel="loss (nats)")
    panel.grid(visible=False, axis="x")
    panel.set_title(spread(losses), fontsize="large", loc="left")
    panel.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 0.97))


def spread(losses: np.ndarray) -> str:
    """How the loss is spread over the pictures, in words. losses [B], largest first."""
    if not np.isfinite(losses).all():
        return f"The loss of {(~np.isfinite(losses)).sum():,} of {len(losses):,} pictures is not a number"
    worst = -(-len(losses) // 10)
    return (
        f"Each picture's loss, largest first: the worst {worst:,} of {len(losses):,} "
        f"{'carries' if worst == 1 else 'carry'} {100 * losses[:worst].sum() / max(losses.sum(), 1e-30):.0f} % of it"
    )


def draw_pictures(panel, look: Look, order: np.ndarray, class_names) -> None:
    """The pictures as tiles, row by row: the loss in the corner, what it is and what it was taken for below."""

    def side(columns):
        return min((WIDTH - 0.3) / columns, GRID_HEIGHT / (-(-len(order) // columns) * (1 + CAPTION)))

    columns = max(range(1, len(order) + 1), key=side)
    letters = 2 + max(map(len, class_names))
    points = min(72 * side(columns) * min(CAPTION / 2.5, 0.96 / (0.6 * letters)), 15)
    for place, i in enumerate(order):
        y, x = place // columns * (1 + CAPTION), place % columns
        right = look.predicted[i] == look.labels[i]
        colour = RIGHT if right else WRONG
        panel.imshow(look.images[i], extent=(x + 0.04, x + 0.96, y + 0.96, y + 0.04), interpolation="nearest")
        panel.plot(
            [x + 0.04, x + 0.96, x + 0.96, x + 0.04, x + 0.04], [y + 0.04, y + 0.04, y + 0.96, y + 0.96, y + 0.04],
            color=colour, linewidth=1 + side(columns),
        )  # fmt: skip
        panel.text(
            x + 0.07, y + 0.07, f"{look.losses[i]:.2f}", va="top", fontsize=points,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
        )  # fmt: skip
        panel.text(x + 0.04, y + 1, class_names[look.labels[i]], va="top", fontsize=points)
        if not right:
            taken_for = class_names[look.predicted[i]] if look.predicted[i] >= 0 else "not a number"
            panel.text(x + 0.04, y + 1 + CAPTION / 2.2, f"→ {taken_for}", va="top", fontsize=points, color=colour)
    rows = -(-len(order) // columns)
    panel.set(xlim=(0, columns), ylim=(rows * (1 + CAPTION), 0), aspect="equal")
    panel.set_anchor("N")
    panel.axis("off")
    panel.set_title(
        "The pictures as the network saw them; in the corner the loss, below what it is and → what it was taken for",
        fontsize="large", loc="left",
    )  # fmt: skip


def logged_row(folder: Path, step: int | None) -> dict[str, float]:
    """The row of steps.csv of this step, or the last row for None. Raises RunError when it is not there."""
    table = logs.read(folder, logs.STEPS)
    if not len(table["step"]):
        raise run_folder.RunError(f"{folder / logs.STEPS}: no step in it yet; let the run take one")
    place = np.flatnonzero(table["step"] == (table["step"][-1] if step is None else step))
    if not place.size:
        raise run_folder.RunError(
            f"--step {step}: {folder / logs.STEPS} has steps {table['step'][0]} to {table['step'][-1]}; "
            "choose one of them"
        )
    return {name: values[place[0]].item() for name, values in table.items()}


def comparison(replayed: dict[str, float], logged: dict[str, float]) -> str:
    """The numbers of the step, here and in steps.csv, with all their digits."""
    lines = [f"{'':13}  {'replayed':>22}  {'logged':>22}"]
    for name in COMPARED:
        here, there = logs.written(replayed[name]), logs.written(logged[name])
        word = "the same bits" if here == there else f"{apart(replayed[name], logged[name]):.1e} apart"
        lines.append(f"{name.replace('_', ' '):13}  {here:>22}  {there:>22}  {word}")
    return "\n".join(lines)


def apart(one: float, other: float) -> float:
    """The distance of two numbers as a share of the larger; 0 for two that are not finite in the same way."""
    if one == other or (np.isnan(one) and np.isnan(other)):
        return 0.0
    distance = abs(one - other) / max(abs(one), abs(other))
    return distance if np.isfinite(distance) else np.inf


def agrees(replayed: dict, logged: dict, exact: bool, settings) -> bool:
    """Whether it is the logged step: the same bits, or if not `exact` the same up to rounding.

    Rounding may also tip one picture's answer from right to wrong.
    """
    if exact:
        return all(logs.written(replayed[name]) == logs.written(logged[name]) for name in COMPARED)
    tipped = abs(replayed["accuracy"] - logged["accuracy"]) * settings.batch_size
    others = [apart(replayed[name], logged[name]) for name in COMPARED if name != "accuracy"]
    return tipped < 1.5 and max(others) <= ROUNDING[settings.precision]


def reasons(config: dict, here: dict) -> str:
    """What decides the bits and is another here than in config.json, in words."""
    different = [
        f"{name.replace('_', ' ')} ({config.get(name)} then, {value} now)"
        for name, value in here.items()
        if config.get(name) != value
    ]
    if different:
        return "what differs from config.json: " + ", ".join(different) + "; or was steps.csv edited?"
    edited = str(here["git_commit"]).endswith("+")
    return (
        "versions, threads, processor and commit are those of config.json; "
        + ("but files here differ from that commit: " if edited else "")
        + "was the code, config.json, steps.csv or a checkpoint edited?"
    )


def main(args) -> None:
    """Go back, look, draw, take the step, compare. Raises RunError when the step is not the one that was logged."""
    folder = run_folder.find(args.run, args.runs_dir)
    config = run_folder.read_config(folder)
    moved = ["--data-dir", args.data_dir] if args.data_dir else []
    settings = run_folder.resumed_settings(folder, command_line.parse(moved))
    logged = logged_row(folder, args.step)
    step = logged["step"]

    # As many threads as the run had: another number gives other last bits.
    threads = settings.threads or (0 if config.get("threads") == os.cpu_count() else config.get("threads", 0))
    devices.configure(threads, settings.pieces)
    try:
        device, device_name = devices.choose(settings.device)
    except devices.DeviceError as error:
        raise run_folder.RunError(str(error)) from None
    data = load_data(settings.data, settings.data_dir, settings.holdout)
    train_loop.check_same_pictures(folder, data)

    with tf.device(device):
        training = train_loop.prepare(settings, data)
        saved = [path.name for path in checkpoints.newest_first(folder) if int(path.name[5:]) < step]
        print(f"run      {folder}/, {data.title}")
        print(f"step     {step:,} of {training.total_steps:,}" + ", the last one logged" * (args.step is None))
        print(f"from     {f'checkpoint {saved[0]}' if saved else 'the untouched network'} on", flush=True)
        train_loop.rewind(training, folder, step - 1)

        look = look_at(step, training)
        out = args.out or folder / f"replay-step-{step}.png"
        draw(look, data.class_names, title_of(config, logged), out)
        print(f"drawn    {out}\n")
        lost = not np.isfinite([logged["loss"], logged["gradient_norm"]]).all()
        if lost:
            where = probes.first_not_finite(tf.constant(step), training.batches, training.network, settings)

        before = kernels(training)
        replayed = take(step, training, args)
        print(layer_table(look, before, kernels(training)), "", comparison(replayed, logged), "", sep="\n")
    if lost:
        print(f"Not finite: {where}.")

    exact = settings.eager or not (args.eager or args.pdb)
    if not agrees(replayed, logged, exact, settings):
        raise run_folder.RunError(
            f"step {step:,} replayed is not the step logged (loss {replayed['loss']:.9g} here, {logged['loss']:.9g} in "
            f"{logs.STEPS}); {reasons(config, devices.environment(threads) | {'device': device_name})}"
        )
    if exact:
        print(f"Step {step:,} replayed is the step logged, bit for bit.")
    else:
        print(f"Step {step:,} uncompiled is the step logged up to rounding; without --eager and --pdb, bit for bit.")


def take(step: int, training, args) -> dict[str, float]:
    """Take the step, compiled as the run did, or uncompiled, or under the debugger; return its numbers."""
    one_step = training.one_step
    if args.eager or args.pdb:
        one_step = getattr(one_step, "python_function", one_step)  # an eager run has it uncompiled already
    if args.pdb:
        print(HINT.format(step=step), flush=True)
        one_step = train_loop.under_debugger(one_step)
    try:
        metrics, _ = one_step(tf.constant(step))
    except bdb.BdbQuit:
        raise run_folder.RunError(f"left the debugger before the end of step {step:,}: nothing was compared") from None
    return {name: float(metrics[name]) for name in COMPARED}


def title_of(config: dict, logged: dict) -> str:
    """What stands above the sheet."""
    return (
        f"Step {logged['step']:,} of {config['run']} on {config['data']['title']}: loss {logged['loss']:.3f}, "
        f"accuracy {100 * logged['accuracy']:.0f} %, learning rate {logged['learning_rate']:.3g}"
    )


if __name__ == "__main__":
    common.answer(main, WORDS)
