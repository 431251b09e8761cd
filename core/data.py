"""Pictures and labels from files, checked. NumPy only: no TensorFlow, no pickle, nothing in a file can run.

`cifar10` is the official *binary* release: records of 1 label byte and 3,072 pixel bytes (1,024
red, then green, then blue, row by row). `shapes10` is drawn here (core/shapes10.py).
"""

import hashlib
import os
import socket
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import shapes10
from core.recipes import HOLDOUT_IMAGES

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
TEST_FILE = "test_batch.bin"
RECORDS = 10_000  # in each file
RECORD_BYTES = 1 + 32 * 32 * 3
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVE_URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

# Copies that are known not to be the official bytes, by fingerprint: figures measured on one must say so.
COPIES = {"08fb299e0e5391067909a4538e22e78002acad367066e87e777127d4237d9d00": "JPEG copy"}

# Mean and deviation of each colour over CIFAR-10's training images, of pixels scaled to [0, 1].
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)
DEVIATION = np.array([0.2470, 0.2435, 0.2616], np.float32)


class DataError(Exception):
    """A data set that cannot be used; the message says what, where, expected, found and what to do."""


@dataclass(frozen=True)
class DataSet:
    """Pictures uint8 [N,32,32,3] and labels int32 [N], to learn from and to be tested on."""

    name: str  # cifar10 or shapes10
    class_names: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    fingerprint: str  # SHA-256 over all records, before any hold-out is taken
    holdout: bool = False  # True: the "test" images are training images kept aside
    notice: str = ""  # a sentence the person at the terminal must see

    @property
    def title(self) -> str:
        """What figures and tables call this data."""
        copy = f" ({COPIES[self.fingerprint]})" if self.fingerprint in COPIES else ""
        return self.name + copy + (", hold-out" if self.holdout else "")


def census(train_images, train_labels, test_images, test_labels, classes: int) -> dict:
    """What a diagnosis must know of the pictures: how many of each class, how many test pictures are in training too.

    uint8 [N,32,32,3] and int [N] each. Two pictures are the same when all their bytes are.
    """
    examined = {picture.tobytes() for picture in test_images}
    seen = {picture for picture in map(np.ndarray.tobytes, train_images) if picture in examined}
    return {
        "train_class_counts": np.bincount(train_labels, minlength=classes).tolist(),
        "test_class_counts": np.bincount(test_labels, minlength=classes).tolist(),
        "test_images_in_training": sum(picture.tobytes() in seen for picture in test_images) if seen else 0,
    }


def load(name: str = "auto", data_dir: str = "", holdout: bool = False) -> DataSet:
    """The data set `name` (cifar10, shapes10 or auto), verified. Raises DataError.

    cifar10 is looked for in data_dir, then $CIFAR10_DIR, then data/ in the project, else
    downloaded. auto is cifar10 if it can be had, else shapes10 with a notice; a cifar10 that is
    there but damaged is an error even so, because somebody meant it to be used.
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
            return with_holdout(read_cifar10(folder), holdout)
    return with_holdout(load_shapes10(notice), holdout)


def find_cifar10(data_dir: str) -> Path | None:
    """The folder that holds the binary files, or None. A place that was named must exist."""
    named = {"--data-dir": data_dir, "$CIFAR10_DIR": os.environ.get("CIFAR10_DIR", "")}
    for way, place in named.items():
        if place and not Path(place).is_dir():
            raise DataError(f"{way} {place}: no such folder; name the one that holds {FOLDER}/")
    places = [Path(data_dir)] if data_dir else [*map(Path, filter(None, named.values())), PROJECT / "data"]
    for place in places:
        for folder in (place / FOLDER, place):
            if any((folder / file).exists() for file in (*TRAIN_FILES, TEST_FILE)):
                return folder
    return None


def read_cifar10(folder: Path) -> DataSet:
    """All 60,000 records, every one checked. Raises DataError naming the file and what is wrong with it."""
    fingerprint = hashlib.sha256()
    records = [read_records(folder / file, fingerprint) for file in (*TRAIN_FILES, TEST_FILE)]
    train, test = np.concatenate(records[:-1]), records[-1]
    for part, rows, each in (("training", train, 5_000), ("test", test, 1_000)):
        counts = np.bincount(rows[:, 0], minlength=10)
        if np.any(counts != each):
            odd = int(np.argmax(counts != each))
            raise DataError(
                f"{folder}: expected {each:,} {part} images of class {odd} ({CIFAR10_CLASSES[odd]}), found "
                f"{counts[odd]:,}; a file is there twice or altered: delete the folder and load it again"
            )
    return DataSet(
        "cifar10", CIFAR10_CLASSES, images_of(train), labels_of(train), images_of(test), labels_of(test),
        fingerprint.hexdigest(),
    )  # fmt: skip


def read_records(path: Path, fingerprint) -> np.ndarray:
    """One file as [10000,3073] uint8, its bytes added to `fingerprint`."""
    advice = "delete it and load the data again, or name another folder with --data-dir"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: this file is missing, the others are there; {advice}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    expected = RECORDS * RECORD_BYTES
    if len(content) != expected:
        what = "truncated" if len(content) < expected else "too long"
        raise DataError(f"{path}: {what}: expected {expected:,} bytes, found {len(content):,}; {advice}")
    fingerprint.update(content)
    records = np.frombuffer(content, np.uint8).reshape(RECORDS, RECORD_BYTES)
    bad = np.flatnonzero(records[:, 0] > 9)
    if bad.size:
        raise DataError(f"{path}: record {bad[0]}: expected a label from 0 to 9, found {records[bad[0], 0]}; {advice}")
    return records


def images_of(records: np.ndarray) -> np.ndarray:
    """Records [N,3073] -> pictures [N,32,32,3]: colour planes become the last axis."""
    return np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def labels_of(records: np.ndarray) -> np.ndarray:
    """Records [N,3073] -> labels [N] int32."""
    return records[:, 0].astype(np.int32)


def load_shapes10(notice: str = "") -> DataSet:
    """The drawn data set: 10,000 pictures to learn from, 2,000 to be tested on, always the same ones."""
    train_images, train_labels = shapes10.draw(1_000, seed=10)
    test_images, test_labels = shapes10.draw(200, seed=11)
    fingerprint = hashlib.sha256()
    for array in (train_images, train_labels, test_images, test_labels):
        fingerprint.update(array.tobytes())
    return DataSet(
        "shapes10", shapes10.CLASSES, train_images, train_labels, test_images, test_labels,
        fingerprint.hexdigest(), notice=notice,
    )  # fmt: skip


def with_holdout(data: DataSet, holdout: bool) -> DataSet:
    """The same data, or with its last tenth of the training images in the place of the test set."""
    if not holdout:
        return data
    kept = len(data.train_images) - HOLDOUT_IMAGES[data.name]
    return DataSet(
        data.name, data.class_names, data.train_images[:kept], data.train_labels[:kept],
        data.train_images[kept:], data.train_labels[kept:], data.fingerprint, True, data.notice,
    )  # fmt: skip


def download_cifar10(place: Path) -> Path:
    """Fetch the official archive into `place`, check its SHA-256, unpack the eight files. Raises DataError.

    Only members of the expected names are read, into files we name ourselves: a hostile archive
    has no path to choose and nothing is unpacked before the checksum has been found right.
    """
    print(f"CIFAR-10 is not on this machine; fetching {ARCHIVE_URL} (170 MB, its host can be slow)", flush=True)
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not os.access(place, os.W_OK):  # get_file would quietly use a folder that everybody can guess
            raise PermissionError(13, "this folder is read-only")
        archive = fetch(ARCHIVE_URL, place)
        try:
            unpack(archive, place / FOLDER)
        finally:
            archive.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"CIFAR-10 could not be fetched into {place} ({reason}); put {FOLDER}/ there yourself, or name "
            "its place with --data-dir"
        ) from None
    return place / FOLDER


def fetch(url: str, place: Path) -> Path:
    """The archive behind `url`, downloaded into `place` and its SHA-256 checked. Raises DataError."""
    from core.devices import import_tensorflow

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # seconds of silence after which the network counts as absent
    try:
        return Path(
            import_tensorflow().keras.utils.get_file(
                fname=ARCHIVE, origin=url, file_hash=ARCHIVE_SHA256, hash_algorithm="sha256", extract=False,
                cache_dir=str(place), cache_subdir="",
            )
        )  # fmt: skip
    except ValueError:  # get_file's word for a checksum that does not fit
        (place / ARCHIVE).unlink(missing_ok=True)
        raise DataError(
            f"{url}: the download does not have the SHA-256 of CIFAR-10 ({ARCHIVE_SHA256[:16]}...) and was "
            "deleted; try again, or name a local copy with --data-dir"
        ) from None
    except Exception as error:  # urllib's many ways of saying that there is no network
        if isinstance(error, OSError):
            raise
        raise DataError(f"CIFAR-10 could not be fetched ({error}); name a local copy with --data-dir") from None
    finally:
        socket.setdefaulttimeout(patience)


def unpack(archive: Path, folder: Path) -> None:
    """Write the six data files of the archive into `folder`. Raises DataError when one is not in it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            for file in (*TRAIN_FILES, TEST_FILE):
                member = tar.extractfile(f"{FOLDER}/{file}")
                if member is None:
                    raise KeyError(file)
                partial = folder / f"{file}.partial"
                partial.write_bytes(member.read(RECORDS * RECORD_BYTES + 1))
                partial.replace(folder / file)
    except (KeyError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{archive}: not the CIFAR-10 archive ({error}); delete it and try again") from None
