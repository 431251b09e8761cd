"""What does the network take my image for? The five most probable classes of any image file.

    python analysis/predict.py cat.jpg                      by the latest run
    python analysis/predict.py *.jpg --run RUN --step 500   by another one, as it was after step 500

An image is cropped to its centre square, resized to 32x32 and standardized, as in training; the network sees one view
of it. Its energy (analysis/support/energy.py), compared with that of the run's test images, tells
whether it is like the training set. Formats: JPEG, PNG, GIF, WebP, BMP. A file that cannot be used is reported in one
line, the others are predicted, and the exit status is 1.
"""

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


def build_parser():
    """The command line. The images stand first, so the run is an option here."""
    common.print_any_text()
    question = "What does the network of a run take my image for?"
    parser = Parser(prog="analysis/predict.py", description=question, allow_abbrev=False)
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", type=Path, help="an image file: JPEG, PNG, GIF, WebP, BMP"
    )
    parser.add_argument("--run", metavar="RUN", help="its name or its folder [the latest]")
    parser.add_argument("--step", metavar="N", type=int, help="the newest checkpoint up to this step [the last one]")
    parser.add_argument("--runs-dir", metavar="DIR", type=Path, default=Path("runs"), help="where runs are kept [runs]")
    text = f"the figure to write, {EACH_FIGURE} images in each: .png, .svg, .pdf [predict.png in the run's folder]"
    parser.add_argument("--out", metavar="FILE", type=Path, help=text)
    parser.add_argument("--data-dir", metavar="DIR", default="", help="where the test images are, if they have moved")
    return parser


if __name__ == "__main__":
    ARGS = build_parser().parse_args()  # before TensorFlow, which takes seconds to start

from core import devices

tf = devices.import_tensorflow()

from analysis.support.classifier import network_input
from analysis.support.energy import TEST_IMAGES, Acceptance, acceptance, energy, foreign_images, signed
from analysis.support.image_file import ImageError, ImageFile, read_image
from analysis.support.network import checkpoint_at, class_names_of, restored_network
from analysis.support.predictions import data_of
from analysis.support.run import Run
from core.data.batches import standardize
from core.run import run_folder
from core.run.errors import RunError


@dataclass(frozen=True)
class Prediction:
    """What the network makes of one image file."""

    file: ImageFile
    network_input: np.ndarray  # uint8 [32,32,3]
    probabilities: np.ndarray  # float64 [K]
    energy: float

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
        predictions = [predict(network, file) for file in files]
        if not np.isfinite([p.energy for p in predictions]).all():
            raise RunError(
                f"{checkpoint.path}: the network's logits are not finite; `analysis/diagnose.py` names the cause"
            )
        data = data_of(run, args.data_dir)
        test_logits = logits_of(network, data.test_images[:TEST_IMAGES])
        foreign, images = foreign_images(data)
        accepted = acceptance(energy(test_logits), energy(logits_of(network, images)), foreign, run.test_name)

        accuracy = np.mean(test_logits.argmax(axis=1) == data.test_labels[: len(test_logits)])
        common.say(
            f"network  {network.name} of {run.folder} after step {checkpoint.step:,}: {100 * accuracy:.1f} % of the "
            f"first {len(test_logits):,} {run.test_name} images are right, at chance level {100 / len(names):.0f} %",
            *[line for p in predictions for line in lines_about(p, names, accepted)],
            accepted.in_words(),
        )
        title = f"Predictions: {style.shortened(run.name)} on {run.data_title}, step {checkpoint.step:,}"
        for number, start in enumerate(range(0, len(predictions), EACH_FIGURE), start=1):
            out = numbered(args.out or run.folder / "predict.png", number)
            draw(predictions[start : start + EACH_FIGURE], names, accepted, title, out=out)
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


def predict(network, file: ImageFile) -> Prediction:
    """Preprocessing, network, softmax."""
    seen = network_input(tf.constant(file.pixels[None])).numpy()
    logits = logits_of(network, seen)
    energies = energy(logits)
    return Prediction(file, seen[0], np.exp(logits[0] + energies[0]), float(energies[0]))


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


def draw(predictions: list[Prediction], names: tuple[str, ...], accepted: Acceptance, title: str, out: Path) -> None:
    """A row for each image: the file with its centre square, the pixels that the network receives, the classes."""
    rows = len(predictions)
    drawing, axes = style.figure(rows + 1, 3, heights=[7.4 / rows] * rows + [1.0])
    for row, prediction in zip(axes, predictions):
        draw_file(row[0], prediction.file)
        row[1].imshow(prediction.network_input, interpolation="nearest")
        row[1].set_title("Input of the network")
        row[1].set_axis_off()
        draw_classes(row[2], prediction, names, accepted)
    axes[rows - 1, 2].set_xlabel("probability (%)")
    for below in axes[rows]:
        below.set_axis_off()
    caption = style.wrapped(accepted.in_words(), style.WIDTH - 0.8)
    axes[rows, 0].annotate(caption, (0, 1), va="top", linespacing=1.2).set_in_layout(False)
    drawing.suptitle(title, x=0.01, ha="left")
    style.save(drawing, out)


def draw_file(panel, file: ImageFile) -> None:
    """The image as the file has it, and the square that is cut out."""
    height, width = file.pixels.shape[:2]
    every = -(-max(height, width) // MOST_DRAWN)
    panel.imshow(file.pixels[::every, ::every], extent=(0, width, height, 0))
    if height != width:
        side = min(height, width)
        corner = (width - side) // 2, (height - side) // 2
        panel.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=style.ORANGE, linewidth=3, clip_on=False))
    panel.set_title(style.shortened(common.one_line(file.path.name), 28))
    panel.set_axis_off()


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
