"""A data set: images and labels, the class names, and what is known about the bytes."""

from dataclasses import dataclass

import numpy as np

# Mean and standard deviation of each colour over CIFAR-10's training images, pixels scaled to [0, 1].
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)
STD = np.array([0.2470, 0.2435, 0.2616], np.float32)


class DataError(Exception):
    """A data set that cannot be used; the message says what, where, expected, found and what to do."""


@dataclass(frozen=True)
class DataSet:
    """Training and test images uint8 [N,32,32,3], labels int32 [N]."""

    name: str  # cifar10 or shapes10
    class_names: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    fingerprint: str  # SHA-256 over all records, before any hold-out is taken
    origin: str = ""  # "JPEG copy", "altered" or "unverified": figures must say so; "" for official or built-in data
    holdout: bool = False  # True: the "test" images are training images kept aside
    notice: str = ""  # a sentence the person at the terminal must see

    @property
    def title(self) -> str:
        """What figures and tables call this data."""
        origin = f" ({self.origin})" if self.origin else ""
        return self.name + origin + (", hold-out" if self.holdout else "")


def statistics_of(train_images, train_labels, test_images, test_labels, classes: int) -> dict:
    """The data set statistics that a diagnosis needs: images of each class, test images that are in training too.

    uint8 [N,32,32,3] and int [N] each. Two images are the same when all their bytes are.
    """
    in_test = {image.tobytes() for image in test_images}
    in_both = {image for image in map(np.ndarray.tobytes, train_images) if image in in_test}
    return {
        "train_class_counts": np.bincount(train_labels, minlength=classes).tolist(),
        "test_class_counts": np.bincount(test_labels, minlength=classes).tolist(),
        "test_images_in_training": sum(image.tobytes() in in_both for image in test_images) if in_both else 0,
    }
