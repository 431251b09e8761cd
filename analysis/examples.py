"""Which training images were learned first, forgotten again, never learned? And whose labels look wrong?

    python analysis/examples.py                       5,000 training images of the latest run
    python analysis/examples.py RUN --images 50000    more of them
    python analysis/examples.py RUN --panel learning  one panel as a slide

A run does not keep what it predicted for each image: every checkpoint predicts the images once more, in evaluation
mode and without augmentation. A forgetting event (Toneva et al. 2019) is a correct prediction at one checkpoint and a
wrong one at the next. So the resolution is that of the checkpoints; `--checkpoint-every` of train_loop.py refines it.

Candidates for label errors are the images with the most negative area under the margin (Pleiss et al. 2020). They are
candidates: of 275 that a similar method listed in CIFAR-10's test set people confirmed 54, about 1 in 5 (Northcutt et
al. 2021). The others are mostly hard images with the right label.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common, style

IMAGES, FEWEST = 5_000, 100  # training images: unless asked for more, and at least
LEAST, MOST = 3, 100  # checkpoints
SHEET = 24  # candidates in their figure
PER_GROUP = 5  # images of a group; LETTERS_UNDER letters fit under one
LETTERS_UNDER = 10
PANELS = ("learning", "images", "candidates")
CONFIRMED, CHECKED = 54, 275  # label errors among the candidates in CIFAR-10's test set (Northcutt et al. 2021)


def build_parser():
    """The command line."""
    question = "Which training images were learned first, forgotten again, never learned? Whose labels look wrong?"
    default = "examples.png in the run's folder, and examples-candidates.png beside it"
    parser = common.parser("examples", question, figure=default)
    add = parser.add_argument
    add("--panel", metavar="NAME", choices=PANELS, help=f"one panel as a slide: {', '.join(PANELS)} [all of them]")
    add("--images", metavar="N", type=int, default=IMAGES, help=f"N training images, evenly spread [{IMAGES:,}]")
    add("--data-dir", metavar="DIR", default="", help="where the images are now, if they have moved")
    return parser


def parse(argv=None):
    """The arguments; what is wrong with them ends the program with one line and exit status 2."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.images < FEWEST:
        parser.error(f"--images {args.images}: at least {FEWEST}")
    return args


if __name__ == "__main__":
    ARGS = parse()  # before TensorFlow, which takes seconds to start
    common.end_quietly_while_importing()

from matplotlib import ticker

from analysis.support import checkpoint_series, image_sheet
from analysis.support.image_sheet import Tile
from analysis.support.learning_events import LearningEvents
from analysis.support.predictions import LETTERS, data_of, percent
from analysis.support.run import Run
from core.run import run_folder

STATE_COLOURS = dict(
    zip(
        ("correct since first learned", "correct again", "forgotten", "not yet learned"),
        (style.BLUE, style.SKY, style.ORANGE, "#BBBBBB"),
    )
)


def events_of(run: Run, images: np.ndarray, labels: np.ndarray) -> LearningEvents:
    """What every usable checkpoint of a run predicts for uint8 images [N,32,32,3]. Raises RunError for too few."""
    from analysis.support.network import restored_network

    paths, steps, rows = checkpoint_series.saved_paths(run.folder, MOST), [], []
    with checkpoint_series.progress(len(paths) * len(images), "images", "predictions") as bar:
        for checkpoint in checkpoint_series.undamaged(paths):
            facts = facts_of(restored_network(run.folder, checkpoint), images, labels, bar)
            if facts is None:
                common.say(f"passed over: {checkpoint.path}: its logits are not finite")
                continue
            steps.append(checkpoint.step)
            rows.append(facts)
    checkpoint_series.need(len(steps), LEAST, run.folder, "learning and forgetting")
    return LearningEvents(steps, labels, *map(np.stack, zip(*rows)))


def facts_of(network, images: np.ndarray, labels: np.ndarray, bar):
    """(predicted class, probability of the label, margin), [N] each; None when a logit is not finite."""
    from core.data import batches

    logits = []
    for some, _ in batches.in_order(images, labels):
        logits.append(network(batches.standardize(some), training=False).numpy())
        bar.update(len(some))
    logits = np.concatenate(logits).astype(np.float64)  # [N,K]
    if not np.isfinite(logits).all():
        return None
    own = logits[np.arange(len(labels)), labels]
    others = np.where(np.arange(logits.shape[1]) == labels[:, np.newaxis], -np.inf, logits).max(axis=1)
    top = logits.max(axis=1, keepdims=True)
    probability = np.exp(own - top[:, 0]) / np.exp(logits - top).sum(axis=1)
    return logits.argmax(axis=1), probability, own - others


def read_learning(found: LearningEvents, names: list[str], steps_per_epoch: int) -> str:
    """How many images were learned, forgotten, never learned, in words; and how finely that was seen."""
    forgotten = (found.forgetting_events > 0).mean()
    text = (
        f"Of {len(found.labels):,} training images {percent(found.unforgettable.mean())} were learned and not "
        f"forgotten again, {percent(forgotten)} had a forgetting event, {percent(found.never_learned.mean())} were "
        "never learned. "
    )
    if found.never_learned.any() and not found.never_learned.all():
        of_class = [found.never_learned[found.labels == k].mean() for k in np.unique(found.labels)]
        hardest = int(np.unique(found.labels)[np.argmax(of_class)])
        text += f"Most often never learned: {names[hardest]} ({percent(max(of_class))} of its images). "
    apart = style.number(np.median(np.diff(found.steps)) / steps_per_epoch)
    return text + (
        f"Seen at {len(found.steps)} checkpoints, steps {found.steps[0]:,} to {found.steps[-1]:,}, "
        f"{apart} epoch{'s' * (apart != '1')} apart: what happens between two is not seen."
    )


def read_candidates(found: LearningEvents) -> str:
    """How many candidates there are and what to make of them, in words."""
    count, total, checkpoints = len(found.candidates()), len(found.labels), len(found.steps)
    if not count:
        return (
            f"None of {total:,} training images has a negative area under the margin: no candidate for a label error."
        )
    return (
        f"Candidates for label errors: {count:,} of {total:,} training images, those with the most negative area under "
        f"the margin (mean over {checkpoints} checkpoints of the label's logit minus the largest other one). "
        f"{min(count, SHEET)} are shown; → is the usual prediction. Of {CHECKED} candidates that a similar method "
        f"listed in CIFAR-10's test set people confirmed {CONFIRMED}, about 1 in {CHECKED / CONFIRMED:.0f}; most of "
        "the others are hard images with the right label."
    )


def draw_learning(area, found: LearningEvents) -> dict:
    """The state of the images over the checkpoints, stacked; returns {state: its colour's handle}."""
    states = found.states()
    layers = area.stackplot(
        found.steps, *(100 * states[name] for name in STATE_COLOURS), colors=STATE_COLOURS.values(), linewidth=0
    )
    for step in found.steps:
        area.axvline(step, color="white", linewidth=0.5, alpha=0.6)
    area.set(xlim=(found.steps[0], found.steps[-1]), ylim=(0, 100), xlabel="step", ylabel="training images (%)")
    area.xaxis.set_major_locator(ticker.MaxNLocator(4, integer=True))
    area.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    return dict(zip(STATE_COLOURS, layers))


def groups_of(found: LearningEvents, images: np.ndarray, names: list[str]) -> list[tuple[str, list[Tile]]]:
    """A row of images for each group that has any, the class under each."""
    groups = {
        "learned\nfirst": found.learned_first(),
        "forgotten\nmost": found.most_forgotten(),
        "never\nlearned": found.hardest(),
    }
    tiles = {
        title: [Tile(images[i], style.shortened(names[found.labels[i]], LETTERS_UNDER)) for i in order[:PER_GROUP]]
        for title, order in groups.items()
    }
    return [(title, row) for title, row in tiles.items() if row]


def read_groups(found: LearningEvents) -> str:
    """What the rows of images are, in words."""
    at_once = percent((found.unforgettable & (found.learned_at == 0)).mean())
    text = f"Learned first: {at_once} of the images were correct at step {found.steps[0]:,} and ever since."
    if most := int(found.forgetting_events.max()):
        times = "once" if most == 1 else f"{most} times"
        text += (
            f" Forgotten most: {times} ({len(found.steps) // 2} is the most that {len(found.steps)} checkpoints show)."
        )
    return text


def candidate_tiles(found: LearningEvents, images: np.ndarray, names: list[str]) -> list[Tile]:
    """The first candidates, the label and the usual prediction under each."""
    return [
        Tile(images[i], "\n→ ".join(style.shortened(names[k[i]], 12) for k in (found.labels, found.usual_prediction)))
        for i in found.candidates()[:SHEET]
    ]


def draw(found: LearningEvents, images, names, panel: str | None, title: str, reading: str, out: Path) -> None:
    """The states over the checkpoints and the groups of images, or one of the two as a slide."""
    both = panel is None
    drawing, axes = style.figure(3, 2 if both else 1, heights=[0.55, 6.3, 1.3])
    handles = {}
    if panel != "images":
        handles = draw_learning(axes[1, 0], found)
    if panel != "learning":
        image_sheet.draw_rows(axes[1, -1], groups_of(found, images, names), *((9.6, 6.3) if both else (15.6, 6.7)))
    if both:
        axes[0, 0].get_subplotspec().get_gridspec().set_width_ratios([5.4, 9.6])
    for area in [*axes[0], *axes[2]]:
        area.set_axis_off()
    style.legend_above(axes[0, 0], handles)
    drawing.text(0.01, 0.015, style.wrapped(reading, style.WIDTH - 0.7), va="bottom", linespacing=1.2)
    drawing.suptitle(title, x=0.01, ha="left")
    style.save(drawing, out)


def main(args) -> None:
    """Predict, count, draw, print. Raises RunError for a run with too few checkpoints."""
    run = Run(run_folder.find(args.run, args.runs_dir))
    checkpoint_series.need(
        len(checkpoint_series.saved_paths(run.folder, MOST)), LEAST, run.folder, "learning and forgetting"
    )  # before anything that takes long
    from core import devices

    devices.import_tensorflow()
    devices.configure(0)
    data = data_of(run, args.data_dir)
    trained_on = run.config["settings"].get("train_images") or len(data.train_images)
    chosen = checkpoint_series.spread(trained_on, args.images)
    images, labels = data.train_images[chosen], data.train_labels[chosen]
    names = [style.shortened(name, LETTERS) for name in data.class_names]
    found = events_of(run, images, labels)

    learning = read_learning(found, names, run.steps_per_epoch)
    groups, candidates = read_groups(found), read_candidates(found)
    about = f"{style.shortened(run.name, 24)} on {run.data_title}"
    out = args.out or run.folder / (f"examples-{args.panel}.png" if args.panel else "examples.png")
    if args.panel != "candidates":
        reading = {"learning": learning, "images": groups}.get(args.panel, f"{learning} {groups}")
        draw(found, images, names, args.panel, f"Training images, learned and forgotten: {about}", reading, out)
        common.say(reading, f"drawn    {out}")
    if args.panel in (None, "candidates"):
        sheet = out if args.panel else out.with_name(f"{out.stem}-candidates{out.suffix}")
        tiles = candidate_tiles(found, images, names)
        if tiles:
            rows = image_sheet.in_rows(tiles)
            image_sheet.draw(rows, f"Candidates for label errors: {about}", candidates, sheet)
        common.say(candidates, f"drawn    {sheet}" if tiles else "no candidate: no sheet is drawn")
        if tiles:
            shown = chosen[found.candidates()[:SHEET]]
            common.say(f"training images {style.listed([str(i) for i in shown])}, counted from 0")


if __name__ == "__main__":
    common.answer(main, ARGS)
