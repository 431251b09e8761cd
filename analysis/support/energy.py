"""Is an image like those that a network was trained on? The energy of its logits, with a threshold from test images.

    E(x) = -log sum_k exp(z_k)      z the K logits;  Liu et al., "Energy-based Out-of-distribution Detection", 2020

A network has large logits for the patterns that it was trained to find, so E is low for images like the training set.
The largest softmax probability is the older score (Hendrycks & Gimpel 2017). At 95 % acceptance E rejected more drawn
shapes in one run each of classic (21 against 11 %), minute (56 against 30 %) and five (35 against 27 %), on the JPEG
copy of CIFAR-10. It is a weak test all the same: the run of classic accepted noise. `Acceptance.in_words` therefore
gives the fraction of foreign images that it rejects in the run at hand.
"""

from dataclasses import dataclass

import numpy as np

from core.data import DataSet, shapes10

ACCEPTED = 0.95  # fraction of the test images that count as like the training set
TEST_IMAGES, FOREIGN_IMAGES = 2_000, 500  # enough for 95 % +- 0.5 and 50 % +- 2.2 (standard errors)
SEED = 0


def energy(logits: np.ndarray) -> np.ndarray:
    """E(x) of each image.  [N,K] -> float64 [N].  The largest logit is taken out of the sum, so none overflows."""
    logits = np.asarray(logits, np.float64)
    largest = logits.max(axis=1, keepdims=True)
    return -(largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=1)))


@dataclass(frozen=True)
class Acceptance:
    """A threshold of the energy, and how well it tells images apart that are known."""

    threshold: float  # images with a higher energy count as unlike the training set
    test_images: int  # from which it was computed
    test_name: str  # test, or validation
    foreign: str  # what images of none of the classes it was tried on
    rejected: float  # fraction of those with a higher energy

    def accepts(self, energy: float) -> bool:
        """Whether an image with this energy counts as like the training set."""
        return energy <= self.threshold

    def verdict(self, energy: float) -> str:
        """`energy −3.10, threshold −2.59: like the training set`."""
        like = "like" if self.accepts(energy) else "unlike"
        return f"energy {signed(energy)}, threshold {signed(self.threshold)}: {like} the training set"

    def in_words(self) -> str:
        """Where the threshold comes from and what it is worth."""
        worth = "" if self.rejected >= ACCEPTED else "; an image below it may still show none of the classes"
        if self.rejected <= 2 * (1 - ACCEPTED):
            worth = ", hardly more than of the test images: of this network the energy tells nothing"
        return (
            f"Energy is −log Σ exp(logit). {100 * ACCEPTED:.0f} % of the first {self.test_images:,} {self.test_name} "
            f"images are below the threshold {signed(self.threshold)}. {100 * self.rejected:.0f} % of "
            f"{FOREIGN_IMAGES} {self.foreign} are above it{worth}."
        )


def acceptance(test_energies: np.ndarray, foreign_energies: np.ndarray, foreign: str, test_name: str) -> Acceptance:
    """The threshold that ACCEPTED of the test images do not exceed, and the fraction of foreign images that do."""
    threshold = float(np.quantile(test_energies, ACCEPTED, method="inverted_cdf"))
    rejected = float(np.mean(foreign_energies > threshold))
    return Acceptance(threshold, len(test_energies), test_name, foreign, rejected)


def foreign_images(data: DataSet) -> tuple[str, np.ndarray]:
    """(what they are, uint8 [FOREIGN_IMAGES,32,32,3]): images of none of the data set's classes."""
    if data.name != "shapes10":
        return "drawn shapes (shapes10)", shapes10.draw(FOREIGN_IMAGES // 10, seed=SEED)[0]
    random = np.random.default_rng(SEED)
    images = np.resize(data.test_images, (FOREIGN_IMAGES, *data.test_images.shape[1:]))
    pixels = images.reshape(FOREIGN_IMAGES, -1, 3)
    order = random.permuted(np.broadcast_to(np.arange(pixels.shape[1]), pixels.shape[:2]), axis=1)
    shuffled = np.take_along_axis(pixels, order[:, :, None], axis=1)
    return "test images with shuffled pixels", shuffled.reshape(images.shape)


def signed(value: float) -> str:
    """Two digits after the point, with a minus sign that is as long as a plus."""
    return f"{value:.2f}".replace("-", "−")
