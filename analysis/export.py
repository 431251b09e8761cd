"""The network of a run as a SavedModel: uint8 images of any size in, class names and probabilities out.

    python analysis/export.py                        the latest run, into its folder
    python analysis/export.py RUN --out cat_or_dog   another one, somewhere else

Preprocessing and class names are inside, so a program that has TensorFlow needs nothing of this project:

    model = tf.saved_model.load("runs/NAME/saved_model")
    model(images)     # uint8 [N,H,W,3] -> {"class_name": [N], "probabilities": [N,10]}
    model.names()     # {"class_names": [10]}

The images are cropped to their centre square, resized to 32x32 and standardized, as analysis/predict.py does it.
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common

FOLDER = "saved_model"
MARK = "saved_model.pb"  # the file that every SavedModel has
SIZES = ((32, 32), (480, 640), (37, 11))  # of the random images with which the copy is compared


def build_parser():
    """The command line."""
    parser = common.parser("export", "The network of a run for other programs: a SavedModel.", figure="")
    parser.add_argument("--step", metavar="N", type=int, help="the newest checkpoint up to this step [the last one]")
    parser.add_argument("--out", metavar="DIR", type=Path, help=f"the folder to write [{FOLDER} in the run's folder]")
    return parser


if __name__ == "__main__":
    ARGS = build_parser().parse_args()  # before TensorFlow, which takes seconds to start
    common.end_quietly_while_importing()

from core.devices import import_tensorflow

tf = import_tensorflow()

from analysis.support.classifier import Classifier
from analysis.support.network import checkpoint_at, class_names_of, restored_network
from core.run import run_folder
from core.run.errors import RunError


def main(args) -> None:
    """Restore, save, load again, compare. Raises RunError if the copy computes something else."""
    folder = run_folder.find(args.run, args.runs_dir)
    config = run_folder.read_config(folder)
    out = args.out or folder / FOLDER
    check_replaceable(out)
    checkpoint = checkpoint_at(folder, args.step)
    network = restored_network(folder, checkpoint)
    classifier = Classifier(network, class_names_of(config, network))
    difference = save(classifier, out)

    megabytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    common.say(
        f"saved    {out}: the network '{network.name}' after step {checkpoint.step:,}, {network.parameter_count:,} "
        f"parameters, {megabytes:.1f} MB",
        f"classes  {', '.join(classifier.class_names)}",
        f"compared {len(SIZES)} images of noise, up to {max(h * w for h, w in SIZES):,} pixels: the probabilities of "
        + ("the copy are the same, bit for bit" if difference == 0 else f"the copy differ by at most {difference:.1g}"),
        f'use it   model = tf.saved_model.load("{out}"); model(images), images uint8 [N,H,W,3]',
    )


def check_replaceable(out: Path) -> None:
    """Raise RunError if something other than a SavedModel is there: only that is replaced."""
    empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not empty and not (out / MARK).is_file():
        raise RunError(f"--out {out}: there is something else than a SavedModel; name another folder")


def save(classifier: Classifier, out: Path) -> float:
    """Write the SavedModel, whole or not at all. Returns the largest difference that the copy's probabilities have."""
    partial = out.with_name(f".partial-{out.name}")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was stopped while it saved
    try:
        signatures = {"serving_default": classifier.__call__, "class_names": classifier.names}
        tf.saved_model.save(classifier, str(partial), signatures=signatures)
        difference = largest_difference(classifier, tf.saved_model.load(str(partial)))
        if not difference < 1e-4:
            raise RunError(f"{out}: the copy computes other probabilities (by {difference:.2g}); nothing was written")
        if out.exists():
            shutil.rmtree(out)
        partial.replace(out)
    except tf.errors.OpError as error:  # a full disk, a folder that cannot be written
        raise RunError(
            f"--out {out}: cannot be written ({error.message.splitlines()[0]}); name another folder"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return difference


def largest_difference(one, other) -> float:
    """The largest difference of the probabilities of two classifiers over images of noise; NaN if one has no number."""
    random = np.random.default_rng(0)
    differences = []
    for height, width in SIZES:
        images = tf.constant(random.integers(0, 256, (1, height, width, 3), np.uint8))
        a, b = (classifier(images)["probabilities"].numpy() for classifier in (one, other))
        differences.append(np.abs(a - b).max())
    return float(np.max(differences))


if __name__ == "__main__":
    common.answer(main, ARGS)
