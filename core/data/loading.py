"""Which data set a run gets: cifar10 from a folder or the network, or the built-in shapes10."""

import dataclasses
import hashlib
from pathlib import Path

from core.data.cifar10 import PROJECT, download_cifar10, find_cifar10, read_cifar10
from core.data.data_set import DataError, DataSet
from core.data.shapes10 import CLASSES, draw
from core.settings.settings import HOLDOUT_IMAGES


def load(name: str = "auto", data_dir: str = "", holdout: bool = False, train_images: int = 0) -> DataSet:
    """The data set `name` (cifar10, shapes10 or auto), verified. Raises DataError.

    cifar10 is searched for in data_dir if it is given, else in $CIFAR10_DIR, then in data/ of the project, else
    downloaded. auto is cifar10 if it can be had, else shapes10 with a notice; a cifar10 that is
    there but damaged is an error, because somebody meant it to be used. train_images: only so many
    of the training images, the first ones; 0 for all. The order of both data sets is random.
    """
    notice = ""
    if name in ("auto", "cifar10"):
        folder = find_cifar10(data_dir)
        if folder is None:
            try:
                folder = download_cifar10(Path(data_dir) if data_dir else PROJECT / "data")
            except DataError as error:
                if name == "cifar10":
                    raise
                notice = str(error)
        if folder is not None:
            return first_images(with_holdout(read_cifar10(folder), holdout), train_images)
    return first_images(with_holdout(load_shapes10(notice), holdout), train_images)


def load_shapes10(notice: str = "") -> DataSet:
    """The drawn data set: always the same 10,000 training and 2,000 test images."""
    train_images, train_labels = draw(1_000, seed=10)
    test_images, test_labels = draw(200, seed=11)
    fingerprint = hashlib.sha256()
    for array in (train_images, train_labels, test_images, test_labels):
        fingerprint.update(array.tobytes())
    return DataSet(
        "shapes10", CLASSES, train_images, train_labels, test_images, test_labels,
        fingerprint.hexdigest(), notice=notice,
    )  # fmt: skip


def with_holdout(data: DataSet, holdout: bool) -> DataSet:
    """The same data, or with its last tenth of the training images in the place of the test set."""
    if not holdout:
        return data
    kept = len(data.train_images) - HOLDOUT_IMAGES[data.name]
    return DataSet(
        data.name, data.class_names, data.train_images[:kept], data.train_labels[:kept],
        data.train_images[kept:], data.train_labels[kept:], data.fingerprint, data.origin, True, data.notice,
    )  # fmt: skip


def first_images(data: DataSet, count: int) -> DataSet:
    """The same data with only the first `count` training images; 0: with all of them. Raises DataError for more."""
    if not count:
        return data
    if count > len(data.train_images):  # with `auto` only now is it known which data set it is
        raise DataError(f"--train-images {count}: more than the {len(data.train_images):,} of {data.name}")
    return dataclasses.replace(data, train_images=data.train_images[:count], train_labels=data.train_labels[:count])
