"""Which images a network has learned at each checkpoint, which it forgot again, and which labels look wrong.

Correct predictions are an array bool [C,N] of N images at C checkpoints in time. What happens between two checkpoints
is not seen: every count of events is a lower bound.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

LISTED = 0.0275  # of the images are listed as candidates at most, as many as in Northcutt et al. 2021


@dataclass(frozen=True)
class LearningEvents:
    """What happened to N images at C checkpoints."""

    steps: list[int]  # [C] rising
    labels: np.ndarray  # int [N]
    predicted: np.ndarray  # int [C,N]
    true_probability: np.ndarray  # float [C,N] of the class that the label names
    margin: np.ndarray  # float [C,N] logit of the label minus the largest other logit

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether the prediction is the label. bool [C,N]"""
        return self.predicted == self.labels

    @cached_property
    def learned_at(self) -> np.ndarray:
        """Index of the first checkpoint with a correct prediction; C for an image that was never learned. [N]"""
        return np.where(self.correct.any(axis=0), self.correct.argmax(axis=0), len(self.steps))

    @cached_property
    def forgetting_events(self) -> np.ndarray:
        """How often a correct prediction is followed by a wrong one: Toneva et al. 2019, definition 1. [N]"""
        return (self.correct[:-1] & ~self.correct[1:]).sum(axis=0)

    @cached_property
    def never_learned(self) -> np.ndarray:
        """Wrong at every checkpoint. bool [N]"""
        return ~self.correct.any(axis=0)

    @cached_property
    def unforgettable(self) -> np.ndarray:
        """Learned, and correct at every later checkpoint: Toneva et al. 2019. bool [N]"""
        return ~self.never_learned & (self.forgetting_events == 0)

    @cached_property
    def mean_probability(self) -> np.ndarray:
        """Mean probability of the label over the checkpoints: "confidence" of Swayamdipta et al. 2020. [N]"""
        return self.true_probability.mean(axis=0)

    @cached_property
    def mean_margin(self) -> np.ndarray:
        """Mean margin over the checkpoints, the area under the margin: Pleiss et al. 2020. [N]"""
        return self.margin.mean(axis=0)

    @cached_property
    def usual_prediction(self) -> np.ndarray:
        """The class that an image was predicted as at most checkpoints; of equally many the lowest. [N]"""
        counts = np.zeros((self.predicted.max() + 1, len(self.labels)), int)
        for predicted in self.predicted:
            counts[predicted, np.arange(len(self.labels))] += 1
        return counts.argmax(axis=0)

    def states(self) -> dict[str, np.ndarray]:
        """The fraction of images in each state at every checkpoint, [C] each; they add up to 1."""
        seen_correct = np.maximum.accumulate(self.correct, axis=0)
        wrong_before = np.maximum.accumulate(seen_correct & ~self.correct, axis=0)
        return {
            "correct since first learned": (self.correct & ~wrong_before).mean(axis=1),
            "correct again": (self.correct & wrong_before).mean(axis=1),
            "forgotten": (~self.correct & seen_correct).mean(axis=1),
            "not yet learned": (~seen_correct).mean(axis=1),
        }

    # The images of each group, the clearest cases first: indices.

    def learned_first(self) -> np.ndarray:
        """Unforgettable images by the checkpoint at which they were learned, then by their mean probability."""
        chosen = np.flatnonzero(self.unforgettable)
        return chosen[np.lexsort([-self.mean_probability[chosen], self.learned_at[chosen]])]

    def most_forgotten(self) -> np.ndarray:
        """Images that were forgotten, most often first, then by their mean probability, the lowest first."""
        chosen = np.flatnonzero(self.forgetting_events)
        return chosen[np.lexsort([self.mean_probability[chosen], -self.forgetting_events[chosen]])]

    def hardest(self) -> np.ndarray:
        """Images that were never learned, the lowest mean probability first."""
        chosen = np.flatnonzero(self.never_learned)
        return chosen[np.argsort(self.mean_probability[chosen], kind="stable")]

    def candidates(self) -> np.ndarray:
        """Candidates for label errors: the most negative mean margins, at most LISTED of the images; worst first."""
        order = np.argsort(self.mean_margin, kind="stable")[: round(LISTED * len(self.labels))]
        return order[self.mean_margin[order] < 0]
