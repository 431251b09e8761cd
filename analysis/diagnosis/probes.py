"""Active checks of a run: short trainings and measurements of its data, which answer what its logs leave open.

    python analysis/diagnose.py --probe RUN

Each takes up to some 20 seconds, uses the settings of the run with train_step itself, and adds findings to those of
the logs or removes some. After TheDeepChecker (Ben Braiek & Khomh 2023). This file: what a check is given, what it
returns, and what follows for the diagnosis; active_checks.py has the list of checks and makes them.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from analysis.diagnosis.detectors.finding import Finding
from analysis.support.run import NotMeasured, Run

SECONDS, PATIENCE = 20, 3  # what a short training should take; it is given up after PATIENCE times that
CHECKED_AT_MOST = 2_000  # images that are evaluated, or compared with the training images
# What a short training leaves out, so that it shows the network, the loss, the optimizer and the data.
PLAIN = {
    "flip": "none", "crop": 0, "diagnostics": "off", "diagnostics_budget": 0.0, "weight_average": 0.0,
    "test_time_augmentation": False, "devices": 1, "train_images": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a check found: a sentence with its numbers, findings to add, findings of the logs that it refutes."""

    sentence: str
    findings: tuple[Finding, ...] = ()
    refuted: dict[str, str] = field(default_factory=dict)  # {id: why}


@dataclass(frozen=True)
class ShortTraining:
    """The batches of a training of some steps, [n] each, and the training afterwards."""

    losses: np.ndarray
    accuracies: np.ndarray
    training: object  # core.training.Training
    complete: bool = True  # False: it took too long, or the loss is no longer finite

    def log_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Those that the network gives to the classes, in evaluation mode.  uint8 [N,32,32,3] -> [N,K]."""
        from core.data.batches import in_order, standardize

        batches = in_order(images, np.zeros(len(images), np.int32))
        z = [self.training.network(standardize(some), training=False).numpy() for some, _ in batches]
        z = np.concatenate(z).astype(np.float64)
        z = z - z.max(axis=1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    def predicted(self, images: np.ndarray) -> np.ndarray:
        """The classes that the network predicts, in evaluation mode.  uint8 [N,32,32,3] -> [N]."""
        return self.log_probabilities(images).argmax(axis=1)

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """The fraction of correct predictions, in evaluation mode."""
        return float((self.predicted(images) == labels).mean())


class Subject:
    """The run that is probed: its settings, its data, and short trainings with them."""

    def __init__(self, run: Run, settings, data):
        self.run, self.settings, self.data = run, settings, data
        self.rate_factor = 1.0  # the learning-rate range test lowers or raises it, if the run's rate trains nothing

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        """Evenly spaced test images [N,32,32,3] and their labels [N], at most CHECKED_AT_MOST."""
        every = -(-len(self.data.test_images) // CHECKED_AT_MOST)
        return self.data.test_images[::every], self.data.test_labels[::every]

    @cached_property
    def steps(self) -> int:
        """The steps of a short training: 300, or as many as SECONDS allow by timing.csv. Raises NotMeasured."""
        most, least = 300, 50
        try:
            seconds = float(np.median(self.run.timing["step_seconds"]))
        except NotMeasured:
            return most
        steps = most if not seconds > 0 else min(most, int(SECONDS / seconds))
        if steps < least:
            raise NotMeasured(f"a step takes {seconds:.1f} s, and a short training has at least {least}")
        return steps

    def trained(self, steps: int, data=None, factor: float = 1.0, rate: Callable | None = None, **changes):
        """The ShortTraining of so many steps with the settings of the run, without augmentation.

        factor: of the learning rate. rate: step -> rate, in place of the schedule. changes: other settings.
        """
        import tensorflow as tf

        import train_loop

        changes = PLAIN | {"steps": steps, "learning_rate": factor * self.settings.learning_rate} | changes
        if self.settings.optimizer == "muon":
            changes["muon_rate"] = factor * self.settings.muon_rate
        settings = dataclasses.replace(self.settings, **changes)
        training = train_loop.prepare(settings, data or self.data, self.run.config)
        if rate is not None:
            training.learning_rate = rate
        losses, accuracies, began = [], [], None
        for step in range(1, steps + 1):
            metrics, _ = training.step(tf.constant(step))
            losses.append(float(metrics["loss"]))
            accuracies.append(float(metrics["accuracy"]))
            began = began or time.perf_counter()  # the first step is also compiled
            if not np.isfinite(losses[-1]) or time.perf_counter() - began > PATIENCE * SECONDS:
                break
        return ShortTraining(np.array(losses), np.array(accuracies), training, len(losses) == steps)

    @cached_property
    def plain(self) -> ShortTraining:
        """The training of `steps` steps on the data as it is, which several checks compare with. Raises NotMeasured."""
        return self.whole(self.data)

    def whole(self, data) -> ShortTraining:
        """A training of `steps` steps on these data. Raises NotMeasured if it did not come to its end."""
        short = self.trained(self.steps, data, self.rate_factor)
        if not short.complete:
            raise NotMeasured(f"a training of {self.steps} steps came to step {len(short.losses)} only")
        return short


def subject_of(run: Run, data_dir: str = "") -> tuple[Subject, str]:
    """(what the checks are given, the device for tf.device).

    Raises RunError, DataError or DeviceError when the run's settings, data or device are not here.
    """
    from core import devices

    devices.import_tensorflow()
    from analysis.support.network import settings_of, untrained_network
    from core.run import recovery, start

    settings = settings_of(run.config)
    settings = dataclasses.replace(settings, data_dir=data_dir or settings.data_dir)
    devices.configure(settings.threads, settings.micro_batches)
    device, _ = devices.choose(settings.device)
    untrained_network(run.folder)  # a RunError if this version cannot build the network
    data = start.load(settings.data, settings.data_dir, settings.holdout, settings.train_images)
    recovery.check_same_data(run.folder, data)
    return Subject(run, settings, data), device


def with_outcomes(found: dict[str, Finding], outcomes: dict[str, Outcome]) -> tuple[dict[str, Finding], list[str]]:
    """(the findings {id: finding} with those of the checks and without those that are refuted, what each check did).

    A finding of the logs that a check finds as well keeps its place and gets the check's evidence.
    """
    found, said = dict(found), []
    for name, outcome in outcomes.items():
        effects = []
        for new in outcome.findings:
            old = found.get(new.id)
            effects.append(f"{'confirms' if old else 'adds'} {new.id}")
            found[new.id] = dataclasses.replace(old, evidence=(*old.evidence, *new.evidence)) if old else new
        for refuted, why in outcome.refuted.items():
            if found.pop(refuted, None):
                effects.append(f"removes {refuted}: {why}")
        said.append(f"{name}: {outcome.sentence} ({'; '.join(effects) or 'changes no finding'})")
    return found, said
