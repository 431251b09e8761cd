"""The part of a finding that does not depend on its numbers, and sentences that several findings share."""

from collections.abc import Callable
from dataclasses import dataclass

from analysis.diagnosis import experiments
from analysis.support.run import Run


@dataclass(frozen=True)
class Advice:
    """The part of a finding that does not depend on its numbers."""

    alternatives: tuple[str, ...]
    experiment: str  # what to do and which outcome means what
    command: Callable[[Run], str]  # "" when it does not apply to this run
    read: str  # beside the detector's own section in docs/diagnostics.md
    otherwise: str = ""  # the experiment of a run to which `command` does not apply
    other_command: Callable[[Run], str] = experiments.replay


A_BATCH = "compare the images of a batch with their labels"
ON_HOLDOUT = "it is evaluated on training images already, so the cause is in those: " + A_BATCH
READING = "core/data/cifar10.py and core/data/loading.py"
