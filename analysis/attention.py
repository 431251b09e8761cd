"""Which pixels does a prediction depend on? Grad-CAM, occlusion and input gradient, each with its sanity check.

    python analysis/attention.py                            two correct predictions and a mistake of the latest run
    python analysis/attention.py RUN --image 17 42          these test images, counted from 0
    python analysis/attention.py RUN --panel cascade        one panel as a slide

Beside every map stands the same map on randomised weights: all layers are drawn anew, so nothing learned is left. A
map that hardly changes shows the image, like an edge detector, and not what the network learned (Adebayo et al. 2018,
"Sanity checks for saliency maps"). The number is Spearman's rank correlation of the two: 1 for the same order.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common, style

MOST = 4  # images in the figure


def build_parser():
    """The command line."""
    parser = common.parser("attention", "Which pixels does a prediction depend on? With a sanity check of every map.")
    add = parser.add_argument
    add(
        "--image",
        metavar="N",
        type=int,
        nargs="+",
        help=f"test images, counted from 0, at most {MOST} [2 hits, a miss]",
    )
    add("--target", choices=("predicted", "true"), default="predicted", help="whose logit is explained [predicted]")
    add("--layer", metavar="NAME", help="the feature map of Grad-CAM [the last nonlinearity before the dense layers]")
    add("--panel", metavar="NAME", choices=("maps", "cascade"), help="one panel as a slide: maps, cascade [both]")
    add("--data-dir", metavar="DIR", default="", help="where the images are now, if they have moved")
    return parser


def parse(argv=None):
    """The arguments; what is wrong with them ends the program with one line and exit status 2."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.image and len(args.image) > MOST:
        parser.error(f"--image: at most {MOST} images fit into the figure, found {len(args.image)}")
    return args


if __name__ == "__main__":
    ARGS = parse()  # before TensorFlow, which takes seconds to start
    common.end_quietly_while_importing()

from dataclasses import dataclass

from analysis.support import attribution
from analysis.support.attribution import rank_correlation
from analysis.support.network import restored_network, untrained_network
from analysis.support.predictions import data_of
from analysis.support.run import Run, counted
from core import devices
from core.data import batches
from core.run import run_folder
from core.run.errors import RunError

SAME, DIFFERENT = 0.5, 0.2  # rank correlations; rules of thumb
DRAWS = 3  # networks drawn anew that the number of a method is averaged over
COLOURS = dict(zip(("Grad-CAM", "occlusion", "input gradient"), style.COLOURS))


@dataclass(frozen=True)
class Attributions:
    """The maps of N images by M methods, on the trained weights and on L stages of the cascade."""

    numbers: list[int]  # [N] which test images
    images: np.ndarray  # [N,32,32,3] uint8
    labels: list[str]  # [N] `cat`, or for a mistake `cat → dog`
    trained: dict[str, np.ndarray]  # {method: [N,h,w]}
    randomised: dict[str, np.ndarray]  # the same with every layer drawn anew
    stages: list[str]  # [L] the layer down to which the weights are drawn anew
    correlations: dict[str, np.ndarray]  # {method: [L,N]} of the map with the trained one; NaN for a constant map
    of_draws: dict[str, np.ndarray]  # {method: [D,N]} the same with every layer drawn anew, D times
    edges: dict[str, np.ndarray]  # {method: [N]} of the trained map with the image's edges, for maps of 32x32 pixels


def chosen_images(cnn, data) -> list[int]:
    """The first two test images that are predicted correctly and the first that is not, as far as there are any."""
    some, labels = data.test_images[: batches.EVALUATION_BATCH], data.test_labels[: batches.EVALUATION_BATCH]
    right = logits_of(cnn, some).argmax(axis=1) == labels
    chosen = [*np.flatnonzero(right)[:2], *np.flatnonzero(~right)]
    return [int(i) for i in (chosen if len(chosen) >= 3 else np.arange(len(some)))[:3]]


def logits_of(cnn, images: np.ndarray) -> np.ndarray:
    """Logits [N,K] of uint8 images. Raises RunError when one is not finite."""
    logits = cnn(batches.standardize(images), training=False).numpy()
    if not np.isfinite(logits).all():
        raise RunError("the logits of this checkpoint are not finite: the run diverged, see analysis/diagnose.py")
    return logits


def compute(trained, drawn: list, data, numbers: list[int], target: str, layer: str) -> Attributions:
    """All maps and correlations of the test images `numbers`. drawn: untrained networks like the trained one."""
    images, true = data.test_images[numbers], data.test_labels[numbers]
    predicted = logits_of(trained, images).argmax(axis=1)
    classes, x = (predicted if target == "predicted" else true), batches.standardize(images).numpy()

    def maps(cnn) -> dict[str, np.ndarray]:
        found = (
            attribution.grad_cam(cnn, x, classes, layer),
            attribution.occlusion(cnn, x, classes),
            attribution.input_gradient(cnn, x, classes),
        )
        return dict(zip(COLOURS, found))

    def correlate(some, others) -> np.ndarray:
        return np.array([rank_correlation(one, other) for one, other in zip(some, others)])

    def correlations(of_networks: list[dict]) -> dict[str, np.ndarray]:
        return {m: np.array([correlate(some, other[m]) for other in of_networks]) for m, some in of_trained.items()}

    of_trained, stages = maps(trained), attribution.cascade(trained, drawn[0])
    of_stages = [maps(cnn) for _, cnn in stages]
    of_draws = [of_stages[-1], *(maps(attribution.cascade(trained, fresh)[-1][1]) for fresh in drawn[1:])]

    whole = {method: found for method, found in of_trained.items() if found.shape[1:] == x.shape[1:3]}
    names = [data.class_names[k] for k in true]
    labels = [
        name if k == p else f"{name} → {data.class_names[p]}" for name, k, p in zip(names, true, predicted)
    ]  # fmt: skip
    return Attributions(
        numbers, images, labels, of_trained, of_stages[-1], [name for name, _ in stages],
        correlations(of_stages), correlations(of_draws),
        {method: correlate(some, attribution.edges(x)) for method, some in whole.items()},
    )  # fmt: skip


def mean_of_numbers(values: np.ndarray) -> float:
    """The mean of those that are numbers, NaN when none is."""
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan")


def read_method(found: Attributions, method: str) -> str:
    """What the sanity check of one method shows, in words."""
    values = found.of_draws[method].ravel()
    kept, tried = values[np.isfinite(values)], counted(len(values), "comparison")
    if not len(kept):
        return f"{method}: in each of {tried} a map is constant, so there is no rank correlation."
    mean, error = kept.mean(), 2 * kept.std(ddof=1) / len(kept) ** 0.5 if len(kept) > 1 else np.inf
    if mean + error < DIFFERENT:
        meaning = "the map depends on what was learned"
    elif mean - error < DIFFERENT:
        meaning = "too few comparisons to tell whether the map depends on what was learned"
    elif mean < SAME:
        meaning = "part of the map is there before anything is learned"
    else:
        meaning = "much of the map is there before anything is learned: it shows the image and the architecture"
    text = f"{method}: ρ = {signed(mean)}" + (f" ± {error:.2f}" if len(kept) > 1 else "") + f" ({tried}"
    if len(kept) < len(values):
        text += f", {len(values) - len(kept)} of a constant map left out"
    if np.isfinite(found.edges.get(method, np.nan)).any():
        text += f"; with the edges of the image {signed(mean_of_numbers(found.edges[method]))}"
    return f"{text}): {meaning}."


def signed(value: float) -> str:
    """`0.12`, `−0.12`."""
    return f"{value:.2f}".replace("-", "−")


def draw_maps(panel, found: Attributions, width: float, height: float) -> None:
    """A row for each image: the image, then for every method the trained map and the randomised one. In inches."""
    heading, under = 2.3 * style.LINE, 2.1 * style.LINE
    rows = len(found.images)
    side = min(width / 7 - 0.12, (height - heading) / rows - under)
    pair, group = min(max(side + 0.12, 1.5), width / 7), 2 * width / 7  # from a map to its other, to the next method
    for m, method in enumerate(found.trained):
        left = width / 7 + m * group
        panel.text(left, 0, method, va="top", fontweight="bold", color=COLOURS[method])
        for k, name in enumerate(("trained", "random")):
            panel.text(left + k * pair, style.LINE, name, va="top")
    for i, image in enumerate(found.images):
        top = heading + i * (side + under)
        panel.imshow(image, extent=(0, side, top + side, top), interpolation="nearest")
        label, _, wrong = found.labels[i].partition(" → ")
        panel.text(0, top + side + 0.04, style.shortened(label, 11), va="top")
        if wrong:
            under_label = top + side + 0.02 + style.LINE
            panel.text(0, under_label, f"→ {style.shortened(wrong, 10)}", va="top", color=style.ORANGE)
        for m, method in enumerate(found.trained):
            for k, maps in enumerate((found.trained, found.randomised)):
                left, top_value = width / 7 + m * group + k * pair, max(maps[method][i].max(), 1e-30)
                panel.imshow(
                    maps[method][i], extent=(left, left + side, top + side, top), cmap="inferno", vmin=0,
                    vmax=top_value, interpolation="nearest",
                )  # fmt: skip
            value = found.correlations[method][-1, i]
            text = "constant" if np.isnan(value) else f"ρ = {signed(value)}"
            panel.text(width / 7 + m * group + pair, top + side + 0.04, text, va="top")
    panel.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    panel.set_anchor("NW")
    panel.axis("off")


def draw_cascade(panel, found: Attributions) -> None:
    """The rank correlation with the trained map while layer after layer is drawn anew, from the top down."""
    x = np.arange(len(found.stages) + 1)
    for method, values in found.correlations.items():
        values = np.vstack([np.ones(values.shape[1]), values])
        panel.plot(x, values, color=COLOURS[method], alpha=0.3, linewidth=0.8)
        mean = [mean_of_numbers(row) for row in values]
        panel.plot(x, mean, "o-", color=COLOURS[method], label=method)
    panel.axhline(0, color="black", linewidth=1)
    panel.set_xticks(x, ["none", *found.stages], rotation=90 if len(x) > 5 else 0)
    panel.set(ylim=(-1.02, 1.02), xlabel="drawn anew from the top down to", ylabel="Spearman rank correlation")
    panel.legend(loc="lower left")


def draw(found: Attributions, panel: str | None, title: str, reading: str, out: Path) -> None:
    """Both panels, or the one that was asked for, and the reading below."""
    drawing, axes = style.figure(2, 1 if panel else 2, heights=[6.4, 1.55])
    if panel != "cascade":
        draw_maps(axes[0, 0], found, 15.6 if panel else 11.2, 6.4)
    if panel != "maps":
        draw_cascade(axes[0, -1], found)
    if not panel:
        axes[0, 0].get_subplotspec().get_gridspec().set_width_ratios([11.2, 4.3])
    for below in axes[1]:
        below.set_axis_off()
    left_edge = {"xy": (0.006, 1), "xycoords": ("figure fraction", "axes fraction")}
    axes[1, 0].annotate(style.wrapped(reading, 15), va="top", **left_edge).set_in_layout(False)
    drawing.suptitle(title, x=0.01, ha="left")
    style.save(drawing, out)


def main(args) -> None:
    """Compute the maps, draw them, print what the check shows. Raises RunError for a missing layer or image."""
    run = Run(run_folder.find(args.run, args.runs_dir))
    devices.configure(0)
    trained = restored_network(run.folder)
    shapes = {layer.name: layer.output_shape(shape) for layer, shape in trained.shapes()}
    layer = args.layer or attribution.grad_cam_layer(trained)
    if len(shapes.get(layer, ())) != 3:
        maps = ", ".join(name for name, shape in shapes.items() if len(shape) == 3)
        if layer is None:
            wrong = "without --layer Grad-CAM takes the last nonlinearity, and this network has none; choose a map"
            raise RunError(f"{run.folder}: {wrong}, --layer {maps}")
        raise RunError(f"--layer {layer}: Grad-CAM needs a layer with a feature map; this network has {maps}")
    data = data_of(run, args.data_dir)
    for i in args.image or ():
        if not 0 <= i < len(data.test_images):
            raise RunError(f"--image {i}: the {run.test_name} images are 0 to {len(data.test_images) - 1:,}")
    numbers = args.image or chosen_images(trained, data)
    # Other seeds than the run's: the weights that training began with are still in the trained ones.
    seeds = [(run.config["settings"].get("seed", 0) + k) % 2**31 for k in range(1, DRAWS + 1)]
    drawn = [untrained_network(run.folder, seed) for seed in seeds]
    found = compute(trained, drawn, data, numbers, args.target, layer)
    reading = [read_method(found, method) for method in found.trained]
    title = f"Attribution: {style.shortened(run.name, 24)} on {run.data_title}"
    out = args.out or run.folder / (f"attention-{args.panel}.png" if args.panel else "attention.png")
    rho = "ρ: rank correlation of a trained map with the one on random weights, ± two standard errors."
    draw(found, args.panel, title, " ".join([rho, *reading]), out)
    shown = [f"{number} ({label})" for number, label in zip(found.numbers, found.labels)]
    of = "true class" if args.target == "true" else "predicted class"
    common.say(
        f"{run.test_name} images {style.listed(shown)}; the logit of the {of}; Grad-CAM of {layer}.", rho, *reading
    )
    common.say(f"drawn    {out}")


if __name__ == "__main__":
    common.answer(main, ARGS)
