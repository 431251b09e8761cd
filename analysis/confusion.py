"""Where does the network err? Confusion matrix, recall and precision, the oddest images, and calibration.

    python analysis/confusion.py                       the latest run
    python analysis/confusion.py RUN                   another one
    python analysis/confusion.py RUN --panel mistakes  one panel as a slide

The newest checkpoint predicts every test image once more, one view of each, and three figures are drawn: the
numbers, the most confident mistakes, the least confident correct predictions.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common, statistics, style
from analysis.support.panels import Panel
from analysis.support.prediction_images import draw_images
from analysis.support.predictions import Predictions, calibration, error_of_calibrated, percent, predictions_of
from analysis.support.run import Run
from core.run import run_folder

LIGHT = 0.8  # a cell with less colour than this has black numbers


def interval(low: float, high: float) -> str:
    """`95 % interval 87.1 to 88.4`, in percent."""
    return f"{100 * statistics.CONFIDENCE:.0f} % interval {100 * low:.1f} to {100 * high:.1f}"


def draw_matrix(panel, found: Predictions) -> str:
    """Counts of true class i (rows) predicted as class j (columns): correct ones blue, mistakes orange."""
    counts, names = found.counts, found.names
    mistakes = counts * (1 - np.eye(len(counts), dtype=np.int64))
    rows = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    most = max((mistakes / rows).max(), 1e-9)  # the mistakes' own scale: next to the diagonal they would all be pale
    colours = {"correct": ("Blues", np.eye(len(counts)) * counts / rows), "wrong": ("Oranges", mistakes / rows / most)}
    for kind, (colour_map, shades) in colours.items():
        of_other_kind = np.eye(len(counts), dtype=bool) ^ (kind == "correct")
        panel.imshow(
            np.ma.array(0.8 * shades, mask=of_other_kind), cmap=colour_map, vmin=0, vmax=1, aspect="auto",
        )  # fmt: skip
    shades = np.where(np.eye(len(counts), dtype=bool), colours["correct"][1], colours["wrong"][1])
    for (i, j), count in np.ndenumerate(counts):
        colour = "black" if shades[i, j] < LIGHT else "white"
        weight = "bold" if i == j else "normal"
        panel.text(j, i, f"{count:,}", ha="center", va="center", color=colour, weight=weight)
    panel.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(len(names)), names)
    panel.set(xlabel="predicted class (number of images)", ylabel="true class")
    panel.grid(visible=False)
    if not mistakes.any():
        return f"All {counts.sum():,} {found.kind} images are predicted correctly."
    pairs = np.triu(mistakes + mistakes.T)
    i, j = np.unravel_index(pairs.argmax(), pairs.shape)
    return (
        f"Most confused pair: {names[i]} and {names[j]}, {percent(pairs[i, j] / mistakes.sum())} of the "
        f"{mistakes.sum():,} mistakes. {counts[i, j]:,} images of {names[i]} are predicted as {names[j]}, "
        f"{counts[j, i]:,} of {names[j]} as {names[i]}. The "
        "darker the orange, the larger the fraction of its row."
    )


def draw_classes(panel, found: Predictions) -> str:
    """Recall and precision of each class with their Wilson intervals."""
    right, names = np.diagonal(found.counts), found.names
    positions, intervals = np.arange(len(names)), {}
    for kind, axis, offset, marker, colour in (
        ("recall", 1, -0.17, "o", style.BLUE), ("precision", 0, 0.17, "D", style.ORANGE)
    ):  # fmt: skip
        of = found.counts.sum(axis=axis)
        value, (low, high) = right / of, statistics.wilson(right, of)
        intervals[kind] = value, low, high
        panel.hlines(positions + offset, 100 * low, 100 * high, color=colour, linewidth=3)
        panel.plot(100 * value, positions + offset, marker, color=colour, markersize=9, label=kind)
    panel.set_yticks(positions, names)
    panel.invert_yaxis()
    panel.set_xlabel("recall, precision (%), 95 % intervals")
    recall, low, high = intervals["recall"]
    precision, *_ = intervals["precision"]
    order = np.argsort(np.where(np.isfinite(recall), recall, 2), kind="stable")
    hardest, second, easiest = order[0], order[1], np.nanargmax(recall)
    sentences = [
        f"Hardest class: {names[hardest]}, recall {percent(recall[hardest])} ({interval(low[hardest], high[hardest])})"
    ]
    if low[second] <= high[hardest]:
        sentences.append(
            f"The interval of {names[second]} ({percent(recall[second])}) overlaps with it: on other images the order "
            "may be reversed"
        )
    else:
        sentences.append(f"The next one, {names[second]} ({percent(recall[second])}), lies above that interval")
    sentences.append(f"Easiest: {names[easiest]}, {percent(recall[easiest])}")
    lowest = np.nanargmin(precision)
    sentences.append(
        f"Lowest precision: {names[lowest]}, {percent(precision[lowest])} of the images predicted as {names[lowest]} "
        "are of that class"
    )
    if never := [name for name, value in zip(names, precision) if np.isnan(value)]:
        sentences.append(f"Never predicted: {style.listed(never)}")
    return ". ".join(sentences) + "."


def draw_reliability(panel, found: Predictions) -> str:
    """Accuracy against confidence in bins, with Wilson intervals; the fraction of images in each bin."""
    bins, error = calibration(found)
    edges, n = np.linspace(0, 100, len(bins) + 1), len(found.labels)
    count, right, confidence = bins[bins[:, 0] > 0].T
    low, high = statistics.wilson(right, count)
    x, y = 100 * confidence / count, 100 * right / count
    panel.stairs(
        100 * bins[:, 0] / n, edges, fill=True, color=style.GREY, alpha=0.35, label="images in the bin (%)",
    )  # fmt: skip
    panel.plot([0, 100], [0, 100], "--", color="black", linewidth=1.5, label="calibrated")
    panel.vlines(x, 100 * low, 100 * high, color=style.BLUE, linewidth=2.5)
    panel.plot(x, y, "o-", color=style.BLUE, markersize=8)
    panel.set(xlim=(0, 100), ylim=(0, 104), xlabel="confidence (%)", ylabel="accuracy (%)")
    gaps = found.confidence - found.correct
    gap, standard_error = gaps.mean(dtype=np.float64), gaps.std(dtype=np.float64) / np.sqrt(n)
    confident, accuracy = found.confidence.mean(dtype=np.float64), found.correct.mean()
    means = f"mean confidence {percent(confident)}, accuracy {percent(accuracy)}"
    if abs(gap) <= 2 * standard_error:
        verdict = f"Neither over- nor under-confident on average: {means}"
    else:
        verdict = f"{'Over' if gap > 0 else 'Under'}-confident: {means}"
    sentences = [
        verdict,
        f"The difference is {statistics.points(gap)} points, its standard error {100 * standard_error:.2f}",
        f"ECE ({len(bins)} bins) {error:.3f}; on {n:,} images a calibrated network would measure about "
        f"{error_of_calibrated(found):.3f}",
    ]
    if gap < -2 * standard_error and found.label_smoothing:
        sentences.append(f"Label smoothing ({found.label_smoothing:g}) lowers the confidence")
    return ". ".join(sentences) + "."


def draw_mistakes(panel, found: Predictions) -> str:
    """The most confident mistakes: the true class, → what was predicted."""
    wrong = np.flatnonzero(~found.correct)
    wrong = wrong[np.argsort(-found.confidence[wrong], kind="stable")]
    draw_images(panel, found, wrong, "→", found.predicted)
    if not len(wrong):
        return f"None: all {len(found.labels):,} {found.kind} images are predicted correctly."
    first, median = wrong[0], percent(np.median(found.confidence[wrong]))
    text = f"Median confidence of the {len(wrong):,} mistakes: {median}"
    if found.correct.any():
        text += f", of the correct predictions: {percent(np.median(found.confidence[found.correct]))}"
    return (
        f"The most confident one is {found.kind} image {first}: {found.name(found.labels[first])} predicted as "
        f"{found.name(found.predicted[first])} with {percent(found.confidence[first])}. {text}. Some may be "
        "errors of the label."
    )


def draw_hits(panel, found: Predictions) -> str:
    """The least confident correct predictions: the class, and the one with the second largest probability."""
    right = np.flatnonzero(found.correct)
    right = right[np.argsort(found.confidence[right], kind="stable")]
    others = np.where(np.eye(len(found.class_names), dtype=bool)[found.predicted], -1, found.probabilities)
    second = others.argmax(axis=1)
    draw_images(panel, found, right, "or", second)
    if not len(right):
        return f"None: none of the {len(found.labels):,} {found.kind} images is predicted correctly."
    first, below_half = right[0], (found.confidence[right] < 0.5).sum()
    return (
        f"The least confident one is {found.kind} image {first}: {found.name(found.labels[first])} with "
        f"{percent(found.confidence[first])}, then {found.name(second[first])} with {percent(others[first].max())}. "
        f"Below 50 % are {below_half:,} of the {len(right):,} correct predictions."
    )


PANELS = (
    Panel("matrix", "Confusion matrix", "Which class is predicted as which?", draw_matrix),
    Panel("classes", "Recall and precision", "Which class is the hardest?", draw_classes),
    Panel("reliability", "Reliability diagram", "How often is a prediction of this confidence correct?",
          draw_reliability),
    Panel("mistakes", "Most confident mistakes", "Which wrong predictions have the largest probability?",
          draw_mistakes),
    Panel("hits", "Least confident correct predictions", "Which correct predictions have the smallest probability?",
          draw_hits),
)  # fmt: skip
NUMBERS, IMAGES = PANELS[:3], PANELS[3:]  # in one figure; one figure each


def draw_numbers(found: Predictions, title: str, out: Path) -> list[str]:
    """The matrix at the left, classes and reliability at the right; returns what they show."""
    drawing, axes = style.figure(3, 2, heights=[3.8, 3.0, 0.95])
    grid = axes[0, 0].get_gridspec()
    grid.set_width_ratios([1.25, 1])
    for unused in (axes[0, 0], axes[1, 0], *axes[2]):
        unused.remove()
    areas, conclusions = (drawing.add_subplot(grid[:2, 0]), axes[0, 1], axes[1, 1]), []
    for panel, area in zip(NUMBERS, areas):
        with np.errstate(all="ignore"):  # a class without images, or never predicted
            conclusions.append(panel.draw(area, found))
        area.set_title(panel.title, loc="left")
    legend_above(areas[1])
    areas[2].legend(loc="upper left", bbox_to_anchor=(-0.1, -0.27), borderaxespad=0, ncols=2)
    finish(drawing, grid[2, 0], title, " ".join(text.partition(". ")[0].rstrip(".") + "." for text in conclusions), out)
    return conclusions


def draw_slide(found: Predictions, panel: Panel, title: str, out: Path) -> str:
    """One panel as a slide; returns what it shows."""
    drawing, axes = style.figure(2, 1, heights=[7, 0.9])
    with np.errstate(all="ignore"):
        conclusion = panel.draw(axes[0, 0], found)
    axes[0, 0].set_title(panel.question, fontweight="normal", loc="left")
    legend_above(axes[0, 0])
    axes[1, 0].remove()
    finish(drawing, axes[1, 0].get_subplotspec(), title, conclusion, out)
    return conclusion


def legend_above(panel) -> None:
    """What is drawn how, at the right above the panel, beside its title."""
    if panel.get_legend_handles_labels()[0]:
        panel.legend(
            loc="lower right", bbox_to_anchor=(1.02, 0.99), borderaxespad=0, ncols=2, handlelength=1,
            handletextpad=0.4, columnspacing=1,
        )  # fmt: skip


def finish(drawing, below, title: str, conclusion: str, out: Path) -> None:
    """Title, conclusion into the part `below` of the grid, from the left edge of the figure; then write it."""
    drawing.add_subplot(below).set_axis_off()  # keeps the room free
    drawing.text(0.01, 0.015, style.wrapped(conclusion, style.WIDTH - 0.7), va="bottom", linespacing=1.2)
    drawing.suptitle(title, x=0.01, ha="left")
    style.save(drawing, out)


def build_parser():
    """The command line."""
    parser = common.parser("confusion", __doc__.splitlines()[0])
    names = [panel.name for panel in PANELS]
    parser.add_argument(
        "--panel", metavar="NAME", choices=names,
        help=f"one panel as a slide: {', '.join(names)} [the first three in one figure, the images in two more]",
    )  # fmt: skip
    parser.add_argument("--data-dir", metavar="DIR", default="", help="where the images are now, if they have moved")
    return parser


def main(args) -> None:
    """Predict, draw, print what the figures show."""
    run = Run(run_folder.find(args.run, args.runs_dir))
    step, found = predictions_of(run, args.data_dir)
    n, right = len(found.labels), int(found.correct.sum())
    common.say(
        f"Step {step:,} of {run.total_steps:,}: {right:,} of {n:,} {found.kind} images are predicted correctly, "
        f"accuracy {percent(right / n)} ({interval(*statistics.wilson(right, n))}), one view of each image."
    )
    of_run, out = f": {style.shortened(run.name)} on {run.data_title}, step {step:,}", run.folder / "confusion.png"
    if not args.panel:
        conclusions = draw_numbers(found, "Predictions" + of_run, args.out or out)
        common.say(*(f"{panel.title}: {text}" for panel, text in zip(NUMBERS, conclusions)))
        common.say(f"drawn    {args.out or out}")
    for panel in IMAGES if not args.panel else [panel for panel in PANELS if panel.name == args.panel]:
        path = args.out if args.out and args.panel else named(args.out or out, panel)
        conclusion = draw_slide(found, panel, panel.title + of_run, path)
        common.say(f"{panel.title}: {conclusion}", f"drawn    {path}")


def named(out: Path, panel: Panel) -> Path:
    """confusion.png -> confusion-mistakes.png."""
    return out.with_name(f"{out.stem}-{panel.name}{out.suffix}")


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
