"""What does the network take my image for? The five most probable classes of any image file.

    python analysis/predict.py cat.jpg                      by the latest run
    python analysis/predict.py *.jpg --run RUN --step 500   by another one, as it was after step 500
    python analysis/predict.py cat.jpg --views 4            the mean over four views of the image
    python analysis/predict.py cat.jpg --panel input        one panel as a slide

An image is cropped to its centre square, resized to 32x32 and standardized, as in training. What to expect: of 32x32
pixels little is left of an object that does not fill the image, and the network knows its classes only. Photographs
are harder than test images: docs/gallery.md has numbers. Its energy (analysis/support/energy.py), compared with that
of the run's test images, tells whether an image is like the training set. Formats: JPEG, PNG, GIF, WebP, BMP. A file
that cannot be used is reported in one line, the others are predicted, and the exit status is 1.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from matplotlib.patches import Rectangle

from analysis.support import common, style
from core.settings.command_line import Parser

TOP = 5
EACH_FIGURE = 3  # images
MOST_DRAWN = 800  # pixels of a side; a larger image is drawn with every second, third ... pixel
EVALUATION_BATCH = 500
PANELS = {"file": "Image files", "input": "Input of the network", "classes": "Most probable classes"}
GREY = 128  # around an image of half the size


def build_parser():
    """The command line. The images stand first, so the run is an option here."""
    common.print_any_text()
    parser = Parser(prog="analysis/predict.py", description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", type=Path, help="an image file: JPEG, PNG, GIF, WebP, BMP"
    )
    parser.add_argument("--run", metavar="RUN", help="its name or its folder [the latest]")
    parser.add_argument("--step", metavar="N", type=int, help="the newest checkpoint up to this step [the last one]")
    text = "1: the centre square; 4: the whole image too, squeezed into a square, and both mirrored (TTA) [1]"
    parser.add_argument("--views", metavar="N", type=int, choices=(1, 4), default=1, help=text)
    text = f"one panel as a slide: {', '.join(PANELS)} [all in one figure]"
    parser.add_argument("--panel", metavar="NAME", choices=PANELS, help=text)
    parser.add_argument("--runs-dir", metavar="DIR", type=Path, default=Path("runs"), help="where runs are kept [runs]")
    text = f"the figure to write, {EACH_FIGURE} images in each: .png, .svg, .pdf [predict.png in the run's folder]"
    parser.add_argument("--out", metavar="FILE", type=Path, help=text)
    parser.add_argument("--data-dir", metavar="DIR", default="", help="where the test images are, if they have moved")
    return parser


if __name__ == "__main__":
    ARGS = build_parser().parse_args()  # before TensorFlow, which takes seconds to start
    common.end_quietly_while_importing()

from core import devices

tf = devices.import_tensorflow()

from analysis.support.classifier import views_of
from analysis.support.energy import TEST_IMAGES, Acceptance, acceptance, energy, foreign_images, signed
from analysis.support.image_file import ImageError, ImageFile, read_image
from analysis.support.network import checkpoint_at, class_names_of, restored_network
from analysis.support.predictions import data_of
from analysis.support.run import Run
from core.data.batches import standardize
from core.model import IMAGE_SHAPE
from core.run import run_folder
from core.run.errors import RunError


@dataclass(frozen=True)
class Prediction:
    """What the network makes of one image file."""

    file: ImageFile
    inputs: np.ndarray  # uint8 [V,32,32,3]: its views
    probabilities: np.ndarray  # float64 [K], the mean over the views
    energy: float  # the same

    @property
    def top(self) -> np.ndarray:
        """The classes with the largest probabilities, largest first. [TOP]"""
        return np.argsort(-self.probabilities, kind="stable")[:TOP]


def main(args) -> None:
    """Read the images, predict, draw, print. Exits with 1 after naming the files that cannot be used."""
    run = Run(run_folder.find(args.run, args.runs_dir))
    checkpoint = checkpoint_at(run.folder, args.step)
    devices.configure(0)
    files = usable(args.images)
    if files:
        network = restored_network(run.folder, checkpoint)
        names = class_names_of(run.config, network)
        predictions = [predict(network, file, args.views) for file in files]
        if not np.isfinite([p.energy for p in predictions]).all():
            raise RunError(
                f"{checkpoint.path}: the network's logits are not finite; `analysis/diagnose.py` names the cause"
            )
        data = data_of(run, args.data_dir)
        images, labels = data.test_images[:TEST_IMAGES], data.test_labels[:TEST_IMAGES]
        found, energies = evaluated(network, images, args.views)
        foreign, others = foreign_images(data)
        _, foreign_energies = evaluated(network, others, args.views)
        accepted = acceptance(energies, foreign_energies, foreign, run.test_name)
        smaller, _ = evaluated(network, half_size(images), args.views)
        right, half = (100 * np.mean(p.argmax(axis=1) == labels) for p in (found, smaller))
        common.say(
            f"network  {network.name} of {run.folder} after step {checkpoint.step:,}: {right:.1f} % of the "
            f"first {len(labels):,} {run.test_name} images are right, at chance level {100 / len(names):.0f} %",
            *[line for p in predictions for line in lines_about(p, names, accepted)],
            accepted.in_words(),
            f"The network receives {IMAGE_SHAPE[0]}x{IMAGE_SHAPE[1]} pixels. {expected(right, half, run.test_name)}",
        )
        title = f"{style.shortened(run.name)} on {run.data_title}, step {checkpoint.step:,}"
        for number, start in enumerate(range(0, len(predictions), EACH_FIGURE), start=1):
            usual = run.folder / (f"predict-{args.panel}.png" if args.panel else "predict.png")
            out = numbered(args.out or usual, number)
            draw(predictions[start : start + EACH_FIGURE], names, accepted, title, out=out, only=args.panel)
            common.say(f"drawn    {out}")
    if len(files) < len(args.images):
        sys.exit(1)


def usable(paths: list[Path]) -> list[ImageFile]:
    """The files that are images; a line on standard error about each of the others."""
    files = []
    for path in paths:
        try:
            files.append(read_image(path))
        except ImageError as error:
            print(common.one_line(f"predict.py: {error}"), file=sys.stderr, flush=True)
    return files


def predict(network, file: ImageFile, views: int) -> Prediction:
    """Preprocessing, network, softmax."""
    pixels = tf.constant(file.pixels[None])
    probabilities, energies = evaluated(network, pixels, views)
    return Prediction(file, views_of(pixels, views).numpy()[:, 0], probabilities[0], float(energies[0]))


def evaluated(network, images, views: int) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities [N,K], energy [N]) of uint8 images [N,H,W,3], float64: means over their views."""
    logits = [logits_of(network, view) for view in views_of(tf.constant(images), views).numpy()]
    energies = [energy(of_view) for of_view in logits]
    probabilities = [np.exp(z + e[:, None]) for z, e in zip(logits, energies)]
    return np.mean(probabilities, axis=0), np.mean(energies, axis=0)


def half_size(images: np.ndarray) -> np.ndarray:
    """The images at half their size, in the middle of grey.  uint8 [N,H,W,3] -> the same, H and W multiples of 4."""
    n, height, width, colours = images.shape
    small = images.reshape(n, height // 2, 2, width // 2, 2, colours).mean(axis=(2, 4))
    found = np.full_like(images, GREY)
    found[:, height // 4 : -(height // 4), width // 4 : -(width // 4)] = np.rint(small)
    return found


def expected(right: float, half: float, kind: str) -> str:
    """What the size of an object in its image means for this network, in words; both accuracies in percent."""
    text = f"Of the same {kind} images at half the size, on grey, it has {half:.1f} % right"
    return f"{text}: let the object fill the image." if half < right - 5 else f"{text}."


def logits_of(network, images: np.ndarray) -> np.ndarray:
    """uint8 [N,32,32,3] -> float64 [N,K], in evaluation mode."""
    batches = (images[start : start + EVALUATION_BATCH] for start in range(0, len(images), EVALUATION_BATCH))
    logits = [network(standardize(tf.constant(batch)), training=False).numpy() for batch in batches]
    return np.concatenate(logits).astype(np.float64)


def lines_about(prediction: Prediction, names: tuple[str, ...], accepted: Acceptance) -> list[str]:
    """What is printed about an image: its file, its classes, and whether it is like the training set."""
    top = ", ".join(f"{names[k]} {100 * prediction.probabilities[k]:.1f} %" for k in prediction.top)
    file = prediction.file
    height, width = file.pixels.shape[:2]
    return [
        f"image    {'; '.join([f'{common.one_line(str(file.path))}, {width:,}x{height:,} pixels', *file.notes])}",
        f"         {top}",
        f"         {accepted.verdict(prediction.energy)}",
    ]


def numbered(out: Path, number: int) -> Path:
    """predict.png, then predict-2.png, predict-3.png ..."""
    return out if number == 1 else out.with_stem(f"{out.stem}-{number}")


def draw(
    predictions: list[Prediction], names: tuple[str, ...], accepted: Acceptance, title: str, out: Path, only=None
) -> None:
    """A row for each image: the file with its centre square, the pixels that the network receives, the classes.

    only: one of PANELS, then its column alone, from left to right.
    """
    parts = {"file": lambda panel, p: draw_file(panel, p.file), "input": draw_input,
             "classes": lambda panel, p: draw_classes(panel, p, names, accepted)}  # fmt: skip
    count = len(predictions)
    if only:
        drawing, axes = style.figure(2, count, heights=[7.4, 1.0])
        for panel, prediction in zip(axes[0], predictions):
            parts[only](panel, prediction)
            if only == "input":
                panel.set_title(named(prediction.file))
    else:
        drawing, axes = style.figure(count + 1, 3, heights=[7.4 / count] * count + [1.0])
        for row, prediction in zip(axes, predictions):
            for panel, part in zip(row, parts.values()):
                part(panel, prediction)
    for panel in axes[0] if only == "classes" else [] if only else [axes[-2, 2]]:
        panel.set_xlabel("probability (%)")
    for below in axes[-1]:
        below.set_axis_off()
    if only in (None, "classes"):
        caption = style.wrapped(accepted.in_words(), style.WIDTH - 0.8)
        axes[-1, 0].annotate(caption, (0, 1), va="top", linespacing=1.2).set_in_layout(False)
    drawing.suptitle(f"{PANELS.get(only, 'Predictions')}: {title}", x=0.01, ha="left")
    style.save(drawing, out)


def draw_input(panel, prediction: Prediction) -> None:
    """The views that the network receives: one, or as many in each of two rows."""
    views = list(prediction.inputs)
    rows = [views] if len(views) == 1 else [views[: len(views) // 2], views[len(views) // 2 :]]  # mirrored below
    side = views[0].shape[0]
    for r, row in enumerate(rows):
        for c, view in enumerate(row):
            left, top = c * (side + 2), r * (side + 2)
            panel.imshow(view, extent=(left, left + side, top + side, top), interpolation="nearest")
    panel.set(xlim=(0, len(rows[0]) * (side + 2) - 2), ylim=(len(rows) * (side + 2) - 2, 0))
    panel.set_title("Input of the network" if len(views) == 1 else f"{len(views)} views: inputs of the network")
    panel.set_axis_off()


def draw_file(panel, file: ImageFile) -> None:
    """The image as the file has it, and the square that is cut out."""
    height, width = file.pixels.shape[:2]
    every = -(-max(height, width) // MOST_DRAWN)
    panel.imshow(file.pixels[::every, ::every], extent=(0, width, height, 0))
    if height != width:
        side = min(height, width)
        corner = (width - side) // 2, (height - side) // 2
        panel.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=style.ORANGE, linewidth=3, clip_on=False))
    panel.set_title(named(file))
    panel.set_axis_off()


def named(file: ImageFile) -> str:
    """The name of the file, as a title."""
    return style.shortened(common.one_line(file.path.name), 28)


def draw_classes(panel, prediction: Prediction, names: tuple[str, ...], accepted: Acceptance) -> None:
    """The most probable classes as bars; the title tells whether the image is like the training set."""
    like, top = accepted.accepts(prediction.energy), prediction.top
    percentages = 100 * prediction.probabilities[top]
    colour = style.BLUE if like else style.GREY
    bars = panel.barh(
        range(len(top)), percentages, color=[colour, *[style.SKY if like else "#BBBBBB"] * (len(top) - 1)]
    )
    panel.bar_label(bars, [f"{p:.1f}" for p in percentages], padding=4)
    panel.set_yticks(range(len(top)), [style.shortened(names[k], 16) for k in top])
    panel.set(xlim=(0, 118), xticks=(0, 50, 100))
    panel.invert_yaxis()
    panel.grid(visible=False)
    panel.set_title(f"{'Like' if like else 'Unlike'} the training set", color=style.BLUE if like else style.RED)
    panel.text(1, 0.08, f"energy {signed(prediction.energy)}", ha="right", transform=panel.transAxes)


if __name__ == "__main__":
    common.answer(main, ARGS)
