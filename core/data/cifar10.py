"""CIFAR-10 from its official *binary* files, every record checked; downloaded if it is not there.

A record is 1 label byte and 3,072 pixel bytes: 1,024 red, then green, then blue, row by row. NumPy only: no
TensorFlow, no pickle, nothing in a file can run.
"""

import hashlib
import os
import shutil
import socket
import tarfile
from pathlib import Path

import numpy as np

from core.data.data_set import DataError, DataSet

PROJECT = Path(__file__).resolve().parent.parent.parent
FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
TEST_FILE = "test_batch.bin"
RECORDS = 10_000  # in each file
RECORD_BYTES = 1 + 32 * 32 * 3
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# Copies that are known not to be the official bytes, by fingerprint: figures measured on one must say so.
COPIES = {"08fb299e0e5391067909a4538e22e78002acad367066e87e777127d4237d9d00": "JPEG copy"}
VERIFIED = "verified.sha256"  # written beside the files that come from the archive with the official SHA-256

ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVE_URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"


def find_cifar10(data_dir: str) -> Path | None:
    """The folder that holds the binary files, or None. A folder that was named must exist."""
    named = {"--data-dir": data_dir} if data_dir else {"$CIFAR10_DIR": os.environ.get("CIFAR10_DIR", "")}
    for source, folder in named.items():
        if folder and not Path(folder).is_dir():
            raise DataError(f"{source} {folder}: no such folder; name the one that holds {FOLDER}/")
    parents = [Path(data_dir)] if data_dir else [*map(Path, filter(None, named.values())), PROJECT / "data"]
    for parent in parents:
        for folder in (parent / FOLDER, parent):
            try:
                if any((folder / file).exists() for file in (*TRAIN_FILES, TEST_FILE)):
                    return folder
            except OSError as error:
                raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from None
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
        fingerprint.hexdigest(), origin_of(folder, fingerprint.hexdigest()),
    )  # fmt: skip


def origin_of(folder: Path, fingerprint: str) -> str:
    """What is known of these bytes: "" for the official ones, the name of a known copy, "altered" or "unverified".

    Official are the files that `download_cifar10` took out of the archive with the official SHA-256.
    """
    if fingerprint in COPIES:
        return COPIES[fingerprint]
    try:
        verified = (folder / VERIFIED).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return "unverified"
    return "" if verified == fingerprint else "altered"


def read_records(path: Path, fingerprint) -> np.ndarray:
    """One file as [10000,3073] uint8, its bytes added to `fingerprint`."""
    advice = "delete its folder and load the data again, or name another one with --data-dir"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: this file is missing and others are there; {advice}") from None
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
    """Records [N,3073] -> images [N,32,32,3]: colour planes become the last axis."""
    return np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def labels_of(records: np.ndarray) -> np.ndarray:
    """Records [N,3073] -> labels [N] int32."""
    return records[:, 0].astype(np.int32)


def download_cifar10(folder: Path) -> Path:
    """Fetch the official archive into `folder`, check its SHA-256, unpack the six files of images. Raises DataError.

    Only members of the expected names are read, into files we name ourselves: a hostile archive
    has no path to choose and nothing is unpacked before the checksum has been found right.
    """
    print(f"CIFAR-10 is not on this machine; fetching {ARCHIVE_URL} (170 MB, its host can be slow)", flush=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):  # get_file would quietly use a folder that everybody can guess
            raise PermissionError(13, "this folder is read-only")
        there = (folder / ARCHIVE).exists()  # somebody put it there and keeps it
        archive = fetch(ARCHIVE_URL, folder)
        try:
            unpack(archive, folder / FOLDER)
            (folder / FOLDER / VERIFIED).write_text(read_cifar10(folder / FOLDER).fingerprint + "\n")
        finally:
            if not there:
                archive.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"CIFAR-10 could not be fetched into {folder} ({reason}); put {FOLDER}/ there yourself, or name "
            "its folder with --data-dir"
        ) from None
    return folder / FOLDER


def fetch(url: str, folder: Path) -> Path:
    """The archive behind `url`, downloaded into `folder` and its SHA-256 checked. Raises DataError."""
    from core.devices import import_tensorflow

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # seconds of silence after which the network counts as absent
    try:
        return Path(
            import_tensorflow().keras.utils.get_file(
                fname=ARCHIVE, origin=url, file_hash=ARCHIVE_SHA256, hash_algorithm="sha256", extract=False,
                cache_dir=str(folder), cache_subdir="",
            )
        )  # fmt: skip
    except ValueError:  # get_file's word for a checksum that does not fit
        (folder / ARCHIVE).unlink(missing_ok=True)
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
    """Write the six data files of the archive into `folder`: all of them, or none if writing one fails.

    Raises DataError when one is not in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        with tarfile.open(archive) as tar:
            for file in (*TRAIN_FILES, TEST_FILE):
                member = tar.extractfile(f"{FOLDER}/{file}")
                if member is None:
                    raise KeyError(file)
                (partial / file).write_bytes(member.read(RECORDS * RECORD_BYTES + 1))
        for file in (*TRAIN_FILES, TEST_FILE):
            (partial / file).replace(folder / file)
    except (KeyError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{archive}: not the CIFAR-10 archive ({error}); delete it and try again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
