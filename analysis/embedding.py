"""Does the network pull the classes apart? Its penultimate layer in two dimensions, over the checkpoints of a run.

    python analysis/embedding.py                 the latest run
    python analysis/embedding.py RUN             another one
    python analysis/embedding.py RUN --step N    the checkpoint of step N as a slide
    python analysis/embedding.py RUN --panel separability    a number for each checkpoint, as a slide

The penultimate layer is the input of the last dense layer: a few hundred numbers for each test image, from which
one matrix makes the ten logits. They are projected onto the first two principal components of the last checkpoint,
the same two for all checkpoints.
"""

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common, panels, style
from analysis.support.predictions import LETTERS, data_of
from analysis.support.run import Run
from core.run import checkpoints, run_folder
from core.run.errors import RunError

MOST = max(panels.GRIDS)  # checkpoints in one figure
FEWEST, IMAGES = 100, 2_000  # test images: at least, and unless asked for more
CHANGED = 0.01  # a smaller change of the separability is called none
CUT_OFF = 0.2  # % of the points on each side that may lie outside of the axes
# Petroff, "Accessible Color Sequences for Data Visualization", 2021: ten colours that stay apart for the colour-blind.
COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
MARKERS = "os^vDPX<>*"


@dataclass(frozen=True)
class Embedding:
    """The penultimate layer at one checkpoint, in evaluation mode."""

    step: int
    features: np.ndarray  # float64 [N,D]

    def on(self, plane: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """The coordinates of each image on a plane (mean [D], directions [D,2]). [N,2]"""
        mean, directions = plane
        return (self.features - mean) @ directions

    def fraction_shown(self, plane: tuple[np.ndarray, np.ndarray]) -> float:
        """The variance along the two directions of a plane, as a fraction of the variance of all D numbers."""
        total = self.features.var(axis=0).sum()
        return float(self.on(plane).var(axis=0).sum() / total) if total > 0 else 0.0


def principal_plane(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean [D], directions [D,2]): the plane that shows more of the variance of the features than any other.

    Principal component analysis: centre, then the two right singular vectors of the largest singular values. A
    singular vector has no sign of its own; here its largest entry is positive.
    """
    mean = features.mean(axis=0)
    directions = np.linalg.svd(features - mean, full_matrices=False)[2][:2].T
    if directions.shape[1] < 2:  # a layer of one number
        directions = np.hstack([directions, np.zeros_like(directions)])
    return mean, directions * np.where(directions[np.abs(directions).argmax(axis=0), [0, 1]] < 0, -1, 1)


def separability(features: np.ndarray, labels: np.ndarray) -> float:
    """Variance between the classes / total variance, in [0, 1]; 0 without any variance.  [N,D], [N] ->.

    sum_k n_k |mean_k - mean|^2 / sum_i |x_i - mean|^2: 1 if all images of a class have the same features; about
    (K-1)/(N-1) if classes and features have nothing in common. The correlation ratio (Fisher 1925), of vectors.
    """
    centred = features - features.mean(axis=0)
    total = (centred**2).sum()
    classes = (centred[labels == k] for k in np.unique(labels))
    between = sum(len(of_class) * (of_class.mean(axis=0) ** 2).sum() for of_class in classes)
    return float(between / total) if total > 0 else 0.0


def closest_classes(features: np.ndarray, labels: np.ndarray) -> tuple[int, int, float]:
    """The two classes that overlap most, and how many standard deviations their means are apart.

    Measured along the line that joins the two means; the standard deviation is the root of the mean variance of the
    two classes along it. NaN if all images of both are the same.
    """
    found = []
    for a, b in itertools.combinations(np.unique(labels), 2):
        of_a, of_b = features[labels == a], features[labels == b]
        line = of_a.mean(axis=0) - of_b.mean(axis=0)
        distance = np.sqrt((line**2).sum())
        along = np.sqrt(((of_a @ line).var() + (of_b @ line).var()) / 2)  # standard deviation times distance
        found.append((distance**2 / along if along > 0 else np.nan, int(a), int(b)))
    apart, a, b = min(found, key=lambda one: (np.isnan(one[0]), one))
    return a, b, float(apart)


def chosen_checkpoints(folder: Path, step: int | None) -> list[checkpoints.Checkpoint]:
    """Those to embed: the newest undamaged one, and before it at most MOST - 1, evenly spread; oldest first.

    With a step, its checkpoint and then the newest one. Raises RunError when there is none of that step,
    CheckpointError when there is none at all.
    """
    last, found = checkpoints.newest(folder), []
    saved = {checkpoints.step_of(path): path for path in checkpoints.newest_first(folder)[::-1]}
    if step is not None:
        if step not in saved:
            there = style.listed([f"{number:,}" for number in saved])
            raise RunError(f"--step {step}: {folder} has checkpoints of the steps {there}; choose one of them")
        return [checkpoints.read(saved[step]), last]
    older = [path for number, path in saved.items() if number < last.step]
    indices = np.linspace(0, len(older) - 1, min(len(older), MOST - 1)).round().astype(int)
    for path in (older[i] for i in indices):
        try:
            found.append(checkpoints.read(path))
        except checkpoints.CheckpointError as error:
            common.say(f"passed over: {error}")
    return [*found, last]


def embed(run: Run, checkpoint: checkpoints.Checkpoint, images: np.ndarray) -> tuple[Embedding, str]:
    """(the penultimate layer for uint8 images [N,32,32,3], the name of the layer that computes it).

    Raises RunError when the network has none, or when its outputs are not finite.
    """
    from analysis.support.network import restored_network
    from core.data import batches
    from core.layers import Dense, Dropout, Flatten

    network = restored_network(run.folder, checkpoint)
    dense = [i for i, layer in enumerate(network.layers) if isinstance(layer, Dense)]
    if not dense:
        raise RunError(f"{run.folder}: its network has no dense layer, hence no penultimate one; choose another run")
    before = network.layers[: dense[-1]]
    computing = [layer.name for layer in before if not isinstance(layer, (Dropout, Flatten))]  # in evaluation mode

    parts = []
    for x, _ in batches.in_order(images, np.zeros(len(images), np.int32)):
        x = batches.standardize(x)
        for layer in before:
            x = layer(x, training=False)
        parts.append(x.numpy())
    features = np.concatenate(parts).astype(np.float64)
    if not np.isfinite(features).all():
        raise RunError(
            f"{checkpoint.path}: the network's outputs are not finite; `analysis/diagnose.py` names the cause"
        )
    return Embedding(checkpoint.step, features), computing[-1] if computing else "the image"


def reading(embeddings: list[Embedding], plane, labels, names, layer: str, of_pixels: float) -> str:
    """What the figure shows, in words. of_pixels: the separability of the images themselves."""
    values, last = [separability(e.features, labels) for e in embeddings], embeddings[-1]
    begin, end = (f"{value:.2f} at step {e.step:,}" for value, e in ((values[0], embeddings[0]), (values[-1], last)))
    if len(values) == 1:
        change = f"is {end}"
    elif abs(values[-1] - values[0]) < CHANGED:
        change = f"does not change: {begin}, {end}"
    else:
        change = f"{'grows' if values[-1] > values[0] else 'falls'} from {begin} to {end}"
    text = (
        f"Separability, the fraction of the variance of {layer} ({last.features.shape[1]:,} numbers an image) that "
        f"lies between the classes, {change}; of the pixels it is {of_pixels:.2f}. "
    )
    if max(values) > max(values[0], values[-1]) + CHANGED:
        text += f"It is largest at step {embeddings[np.argmax(values)].step:,}, {max(values):.2f}. "
    if not last.features.var(axis=0).any():
        return text + f"At step {last.step:,} the output of {layer} is the same for every image."
    a, b, apart = closest_classes(last.features, labels)
    return text + (
        f"The plane shows {100 * last.fraction_shown(plane):.0f} % of the variance at step {last.step:,}. Closest "
        f"classes there: {names[a]} and {names[b]}, their means {apart:.1f} standard deviations apart."
    )


def draw(embeddings, plane, labels, names, title: str, conclusion: str, out: Path) -> None:
    """A panel for each checkpoint, all on the same axes; large markers are the means of the classes."""
    rows, columns = panels.GRIDS[len(embeddings)]
    drawing, axes = style.figure(1 + rows + 1, columns, heights=[0.55, *[5.6 / rows] * rows, 0.95])
    shown = np.concatenate([e.on(plane) for e in embeddings])
    low, high = np.percentile(shown, [CUT_OFF, 100 - CUT_OFF], axis=0)
    margin = np.maximum(0.05 * (high - low), 1e-6)
    order, handles = np.random.default_rng(0).permutation(len(labels)), {}  # no class lies on top of the others
    for position, (area, embedding) in enumerate(zip(axes[1:-1].flat, embeddings)):
        points = embedding.on(plane)
        area.scatter(
            *points[order].T, s=40 / rows**2, c=np.array(COLOURS)[labels[order] % len(COLOURS)], alpha=0.6, linewidth=0,
            rasterized=True,
        )  # fmt: skip
        for k in np.unique(labels):
            handles[names[k]] = area.scatter(
                *points[labels == k].mean(axis=0), s=170, color=COLOURS[k % len(COLOURS)], edgecolor="black",
                marker=MARKERS[k % len(MARKERS)], linewidth=1.5, zorder=3,
            )  # fmt: skip
        area.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + 4 * margin[1]))
        area.set_title(f"step {embedding.step:,}: separability {separability(embedding.features, labels):.2f}")
        area.annotate(
            f"{100 * embedding.fraction_shown(plane):.0f} % of the variance", (0.02, 0.97), va="top",
            xycoords="axes fraction", bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
        )  # fmt: skip
        area.locator_params(nbins=5)
        if position >= len(embeddings) - columns:
            area.set_xlabel("principal component 1")
        if position % columns == 0:
            area.set_ylabel("component 2")
    for unused in [*axes[1:-1].flat[len(embeddings) :], *axes[0], *axes[-1]]:
        unused.set_axis_off()
    axes[0, 0].legend(
        handles.values(), handles, loc="center left", bbox_to_anchor=(0, 0.5), ncols=5, borderaxespad=0
    ).set_in_layout(False)
    drawing.text(0.01, 0.015, style.wrapped(conclusion, style.WIDTH - 0.7), va="bottom", linespacing=1.2)
    drawing.suptitle(title, x=0.01, ha="left")
    style.save(drawing, out)


def draw_separability(embeddings, labels, of_pixels: float, title: str, conclusion: str, out: Path) -> None:
    """The separability over the checkpoints; that of the pixels as a line."""
    drawing, axes = style.figure(2, 1, heights=[6.6, 1.1])
    panel, below = axes.flat
    values = [separability(e.features, labels) for e in embeddings]
    panel.plot([e.step for e in embeddings], values, "o-", color=style.BLUE, markersize=10, label="penultimate layer")
    panel.axhline(of_pixels, color=style.GREY, linestyle="--", label="pixels")
    panel.set(xlabel="step", ylabel="separability", ylim=(0, max(*values, of_pixels) * 1.15 or 1))
    panel.set_title("Which fraction of the variance lies between the classes?", fontweight="normal", loc="left")
    panel.xaxis.set_major_locator(style.ticker.MaxNLocator(8, integer=True))
    panel.xaxis.set_major_formatter(style.ticker.StrMethodFormatter("{x:,.0f}"))
    panel.legend(loc="upper left", bbox_to_anchor=(0.6, 1.1), ncols=2, borderaxespad=0)
    below.set_axis_off()
    drawing.text(0.01, 0.015, style.wrapped(conclusion, style.WIDTH - 0.7), va="bottom", linespacing=1.2)
    drawing.suptitle(title, x=0.01, ha="left")
    style.save(drawing, out)


def build_parser():
    """The command line."""

    def images(text: str) -> int:
        if not text.isdecimal() or int(text) < FEWEST:
            raise argparse.ArgumentTypeError(f"expected {FEWEST} or more, found {text!r}")
        return int(text)

    parser = common.parser("embedding", __doc__.splitlines()[0])
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--step", metavar="N", type=int, help="one checkpoint as a slide [up to six in one figure]")
    text = "one panel as a slide: plane, the newest checkpoint's; separability, over the checkpoints"
    one.add_argument("--panel", metavar="NAME", choices=("plane", "separability"), help=text)
    parser.add_argument(
        "--images", metavar="N", type=images, default=IMAGES, help=f"how many of the test images are used [{IMAGES:,}]"
    )
    parser.add_argument("--data-dir", metavar="DIR", default="", help="where the images are now, if they have moved")
    return parser


def main(args) -> None:
    """Restore, embed, draw, print. Raises RunError when there is nothing to embed."""
    run = Run(run_folder.find(args.run, args.runs_dir))
    chosen = chosen_checkpoints(run.folder, args.step)  # before anything that takes long
    from core import devices

    devices.import_tensorflow()
    devices.configure(0)
    data = data_of(run, args.data_dir)
    few = np.sort(np.random.default_rng(0).permutation(len(data.test_labels))[: args.images])
    images, labels = data.test_images[few], data.test_labels[few]
    names = [style.shortened(name, LETTERS) for name in data.class_names]
    found = [embed(run, checkpoint, images) for checkpoint in chosen]
    embeddings, layer = [embedding for embedding, _ in found], found[-1][1]
    plane = principal_plane(embeddings[-1].features)
    shown = embeddings if args.step is None else embeddings[:1]
    shown = embeddings[-1:] if args.panel == "plane" else shown
    of_pixels = separability(images.reshape(len(images), -1).astype(np.float64), labels)
    conclusion = reading(shown, plane, labels, names, layer, of_pixels)
    for e in shown:
        common.say(
            f"step {e.step:>7,}: separability {separability(e.features, labels):.3f}, the plane shows "
            f"{100 * e.fraction_shown(plane):.0f} % of the variance"
        )
    suffix = f"-{args.panel}" if args.panel else "" if args.step is None else f"-step-{args.step}"
    out = args.out or run.folder / f"embedding{suffix}.png"
    title = f"Penultimate layer ({layer}): {style.shortened(run.name)} on {run.data_title}"
    if args.panel == "separability":
        draw_separability(shown, labels, of_pixels, title, conclusion, out)
    else:
        draw(shown, plane, labels, names, title, conclusion, out)
    common.say(f"{conclusion} {len(labels):,} of {len(data.test_labels):,} {run.test_name} images.", f"drawn    {out}")


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
