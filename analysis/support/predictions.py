"""What the network of a run predicts for its test images, computed from a checkpoint.

Importing this does not import TensorFlow; `predictions_of` does, which takes seconds.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.support import style
from analysis.support.run import Run
from core.run import checkpoints
from core.run.errors import RunError

LETTERS = 14  # of a class name in a figure: "stripes across" is whole
TOLERATED = 0.005  # the accuracy here and in epochs.csv may differ by so much: rounding tips a few images


@dataclass(frozen=True)
class Predictions:
    """What a network predicts for N images of K classes."""

    images: np.ndarray  # uint8 [N,32,32,3]
    labels: np.ndarray  # int [N]: the true classes
    probabilities: np.ndarray  # float32 [N,K]
    class_names: tuple[str, ...]
    kind: str = "test"  # or validation
    label_smoothing: float = 0.0  # that the network was trained with

    @cached_property
    def predicted(self) -> np.ndarray:
        """The class of the largest probability. [N]"""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def confidence(self) -> np.ndarray:
        """The largest probability of each image. [N]"""
        return self.probabilities.max(axis=1)

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether each prediction is the true class. bool [N]"""
        return self.predicted == self.labels

    @cached_property
    def counts(self) -> np.ndarray:
        """The confusion matrix: images of true class i that were predicted as class j. int64 [K,K]"""
        counts = np.zeros((len(self.class_names),) * 2, np.int64)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def name(self, number: int) -> str:
        """What a class is called, short enough for a figure."""
        return style.shortened(self.class_names[number], LETTERS)

    @property
    def names(self) -> list[str]:
        """The same of all classes. [K]"""
        return [self.name(number) for number in range(len(self.class_names))]


def percent(fraction: float) -> str:
    """`87.8 %`."""
    return f"{100 * fraction:.1f} %"


def calibration(found: Predictions) -> tuple[np.ndarray, float]:
    """(bins [B,3], ECE), both as core/measure/evaluation.py defines them.

    A row holds, for the images whose confidence falls into that bin: how many they are, how many predictions are
    correct, the sum of the confidences.
    """
    from core.measure.evaluation import CALIBRATION_BINS, calibration_error  # imports TensorFlow

    index = np.minimum((found.confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    facts = np.ones(len(index)), found.correct, found.confidence
    bins = np.stack([np.bincount(index, weights=fact, minlength=CALIBRATION_BINS) for fact in facts], axis=1)
    return bins, calibration_error(bins)


def error_of_calibrated(found: Predictions) -> float:
    """The ECE that a calibrated network with these confidences would measure, because the images are finite.

    In a bin, correct predictions minus confidences have the variance sum c (1 - c), c the confidences; if they are
    normal, their mean magnitude is sqrt(2/pi) times the standard deviation. ECE is the sum over bins, divided by n.
    """
    edges = np.linspace(0, 1, len(calibration(found)[0]) + 1)
    c = found.confidence.astype(np.float64)
    variances, _ = np.histogram(c, edges, weights=c * np.maximum(1 - c, 0))
    return float(np.sqrt(2 / np.pi * variances).sum() / len(c))


def predictions_of(run: Run, data_dir: str = "") -> tuple[int, Predictions]:
    """(step, predictions for all test images) of a run's newest checkpoint, one view of each image.

    data_dir: where the images are now, if they have moved. Raises RunError, CheckpointError or DataError.
    """
    checkpoint = checkpoints.newest(run.folder)  # before anything that takes long
    from core import devices

    devices.import_tensorflow()
    from analysis.support.network import restored_network, settings_of
    from core.data import batches

    devices.configure(0)
    network, settings = restored_network(run.folder, checkpoint), settings_of(run.config)
    data = data_of(run, data_dir)

    in_order = batches.in_order(data.test_images, data.test_labels)
    found = np.concatenate([network.probabilities(batches.standardize(images)).numpy() for images, _ in in_order])
    if not np.isfinite(found).all():
        raise RunError(
            f"{checkpoint.path}: the network's logits are not finite; `analysis/diagnose.py` names the cause"
        )
    found = Predictions(
        data.test_images, data.test_labels, found, data.class_names, run.test_name, settings.label_smoothing
    )
    logged = run.epochs["test_accuracy"][run.epochs["step"] == checkpoint.step]
    if logged.size and abs(found.correct.mean() - logged[0]) > TOLERATED + 3 / len(found.labels):
        raise RunError(
            f"{checkpoint.path}: {100 * found.correct.mean():.2f} % here, {100 * logged[0]:.2f} % in epochs.csv: was "
            "the code edited since? train again"
        )
    return checkpoint.step, found


def data_of(run: Run, data_dir: str = ""):
    """The DataSet that a run was trained on. Raises DataError or RunError when these bytes are not here."""
    from analysis.support.network import settings_of
    from core.data import load
    from core.run import recovery

    settings = settings_of(run.config)
    data = load(run.required("data", "name"), data_dir or settings.data_dir, settings.holdout)
    recovery.check_same_data(run.folder, data)
    return data
