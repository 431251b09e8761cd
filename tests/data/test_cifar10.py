"""The reader against files that are right, and against every way in which they can be wrong."""

import hashlib
import io
import os
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest

from core import data
from core.data import DataError

ALL_FILES = [*data.TRAIN_FILES, data.TEST_FILE]


def records(k: int) -> np.ndarray:
    """The k-th file: [10000,3073] bytes, 1,000 of each label in a random order, random pixels."""
    random = np.random.default_rng(k)
    rows = random.integers(0, 256, (data.RECORDS, data.RECORD_BYTES), np.uint8)
    rows[:, 0] = random.permutation(np.arange(data.RECORDS) % 10)
    return rows


@pytest.fixture(scope="session")
def whole():
    """A folder with six good files (184 MB, deleted again at the end)."""
    with tempfile.TemporaryDirectory() as folder:
        for k, file in enumerate(ALL_FILES):
            records(k).tofile(Path(folder) / file)
        yield Path(folder)


@pytest.fixture
def linked(whole, tmp_path):
    """The same as links, one of which a test may replace."""
    folder = tmp_path / data.FOLDER
    folder.mkdir()
    for file in ALL_FILES:
        (folder / file).symlink_to(whole / file)
    return folder


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def refusal(folder: Path) -> str:
    """The one line with which the reader refuses the folder."""
    with pytest.raises(DataError) as refused:
        data.read_cifar10(folder)
    message = str(refused.value)
    assert "\n" not in message and str(folder) in message
    return message


def test_what_is_read_is_what_the_files_say(whole):
    read = data.read_cifar10(whole)
    assert read.name == read.title == "cifar10" and read.class_names[3] == "cat"
    assert read.train_images.shape == (50_000, 32, 32, 3) and read.train_images.dtype == np.uint8
    assert read.test_images.shape == (10_000, 32, 32, 3) and read.test_labels.dtype == np.int32
    row = records(1)[7]  # image 10,007: the eighth of the second file
    assert read.train_labels[10_007] == row[0]
    for y, x in ((0, 0), (0, 31), (5, 17), (31, 31)):
        red, green, blue = (row[1 + 1024 * colour + 32 * y + x] for colour in range(3))
        assert read.train_images[10_007, y, x].tolist() == [red, green, blue]
    np.testing.assert_array_equal(read.test_images[0, 2, :, 1], records(5)[0, 1 + 1024 + 64 : 1 + 1024 + 96])
    sha = hashlib.sha256(b"".join((whole / file).read_bytes() for file in ALL_FILES))
    assert read.fingerprint == sha.hexdigest()


@pytest.mark.parametrize("file", ALL_FILES)
def test_a_missing_file_is_named(linked, file):
    (linked / file).unlink()
    assert f"{linked / file}: this file is missing" in refusal(linked)


@pytest.mark.parametrize(
    ("size", "word"), [(0, "truncated"), (1, "truncated"), (30_729_999, "truncated"), (30_730_001, "too long")]
)
def test_a_file_of_another_length_is_named_with_both_lengths(linked, size, word):
    content = (linked / ALL_FILES[0]).read_bytes()
    replace(linked / ALL_FILES[0], (content + b"\0")[:size])
    message = refusal(linked)
    assert f"{linked / ALL_FILES[0]}: {word}: expected 30,730,000 bytes, found {size:,}" in message
    assert "--data-dir" in message


@pytest.mark.parametrize(("record", "label"), [(0, 10), (9_999, 255)])
def test_a_label_that_is_none_is_named_with_its_record(linked, record, label):
    rows = records(0)
    rows[record, 0] = label
    replace(linked / ALL_FILES[0], rows.tobytes())
    assert f"record {record}: expected a label from 0 to 9, found {label}" in refusal(linked)


@pytest.mark.parametrize(("file", "part", "each"), [(4, "training", "5,000"), (5, "test", "1,000")])
def test_a_class_with_too_many_pictures_is_named(linked, file, part, each):
    rows = records(file)
    rows[np.argmin(rows[:, 0]), 0] = 3  # a cat in the place of an airplane
    replace(linked / ALL_FILES[file], rows.tobytes())
    assert f"expected {each} {part} images of class 0 (airplane), found " in refusal(linked)


def test_a_file_that_may_not_be_read_is_named(linked, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    assert f"{linked / ALL_FILES[0]}: cannot be read (Permission denied); check its permissions" in refusal(linked)


def test_a_folder_in_the_place_of_a_file_is_named(linked):
    (linked / ALL_FILES[0]).unlink()
    (linked / ALL_FILES[0]).mkdir()
    assert "cannot be read (Is a directory)" in refusal(linked)


@pytest.mark.parametrize("name", ["auto", "cifar10"])
def test_damaged_files_are_an_error_even_for_auto(linked, name):
    replace(linked / ALL_FILES[2], b"half")
    with pytest.raises(DataError, match=r"data_batch_3\.bin: truncated"):
        data.load(name, str(linked.parent))


# Where it is looked for.


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Three places, each with a file that looks like the data: --data-dir, $CIFAR10_DIR, the project's data/."""
    for place in ("named", "environment", "project/data"):
        (tmp_path / place / data.FOLDER).mkdir(parents=True)
        (tmp_path / place / data.FOLDER / data.TEST_FILE).touch()
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "environment"))
    monkeypatch.setattr(data, "PROJECT", tmp_path / "project")
    return tmp_path


def test_the_order_of_the_search(places, monkeypatch):
    def found(data_dir=""):
        return data.find_cifar10(data_dir).relative_to(places).parts[0]

    assert found(str(places / "named")) == "named"
    assert found() == "environment"
    (places / "environment" / data.FOLDER / data.TEST_FILE).unlink()
    assert found() == "project"
    monkeypatch.delenv("CIFAR10_DIR")
    assert found() == "project"
    (places / "project/data" / data.FOLDER / data.TEST_FILE).unlink()
    assert data.find_cifar10("") is None


def test_the_folder_of_the_files_itself_may_be_named(places):
    assert data.find_cifar10(str(places / "named" / data.FOLDER)) == places / "named" / data.FOLDER


def test_a_named_folder_is_the_only_one_looked_into(places):
    (places / "empty").mkdir()
    assert data.find_cifar10(str(places / "empty")) is None


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_named_folder_that_is_none_is_an_error(places, name):
    (places / "file").touch()
    with pytest.raises(DataError, match=f"--data-dir .*{name}: no such folder; name the one that holds"):
        data.load("auto", str(places / name))


# The download, from an archive on this disk.


def archive_of(members: list[tuple[tarfile.TarInfo, bytes]], path: Path) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def member(name: str, content: bytes = b"few bytes", kind: bytes = tarfile.REGTYPE, target: str = ""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, content if kind == tarfile.REGTYPE else b""


GOOD = [member(f"{data.FOLDER}/{file}", file.encode()) for file in ALL_FILES]


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """offer(members): the official archive is one of these members, on this disk; returns where it will go."""

    def serve(members, checksum=None):
        archive = archive_of(members, tmp_path / "served.tar.gz")
        monkeypatch.setattr(data, "ARCHIVE_URL", archive.as_uri())
        monkeypatch.setattr(data, "ARCHIVE_SHA256", checksum or hashlib.sha256(archive.read_bytes()).hexdigest())
        return tmp_path / "place"

    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    return serve


def test_a_download_leaves_the_six_files_and_nothing_else(offer):
    place = offer(GOOD)
    folder = data.download_cifar10(place)
    assert folder == place / data.FOLDER
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {file: file.encode() for file in ALL_FILES}
    assert [path.name for path in place.iterdir()] == [data.FOLDER]


def test_a_download_with_another_checksum_is_deleted_unopened(offer):
    place = offer(GOOD, checksum="0" * 64)
    with pytest.raises(DataError, match=r"does not have the SHA-256 of CIFAR-10 \(0{16}\.\.\.\).*--data-dir"):
        data.download_cifar10(place)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "hostile",
    [
        member("../escaped", b"out"),
        member("/tmp/escaped", b"out"),
        member(f"{data.FOLDER}/../../escaped", b"out"),
        member(f"{data.FOLDER}/extra", kind=tarfile.SYMTYPE, target="/etc"),
    ],
)
def test_a_hostile_member_is_never_written(offer, hostile, tmp_path):
    place = offer([hostile, *GOOD])
    data.download_cifar10(place)
    assert sorted(path.name for path in place.rglob("*") if path.is_file()) == sorted(ALL_FILES)
    assert not list(tmp_path.rglob("escaped")) and not Path("/tmp/escaped").exists()


@pytest.mark.parametrize(
    "instead",
    [
        member(GOOD[0][0].name, kind=tarfile.SYMTYPE, target="/etc/passwd"),
        member(GOOD[0][0].name, kind=tarfile.LNKTYPE, target="/etc/passwd"),
        member(GOOD[0][0].name, kind=tarfile.DIRTYPE),
        member(GOOD[0][0].name, kind=tarfile.FIFOTYPE),
        member("another/name"),
    ],
)
def test_an_archive_without_one_of_the_files_is_refused(offer, instead):
    place = offer([instead, *GOOD[1:]])
    with pytest.raises(DataError, match="not the CIFAR-10 archive"):
        data.download_cifar10(place)


@pytest.mark.parametrize("content", [b"", b"no archive at all", "half"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    archive = archive_of([(info, os.urandom(100_000)) for info, _ in GOOD], tmp_path / "archive.tar.gz")
    archive.write_bytes(archive.read_bytes()[:150_000] if content == "half" else content)
    with pytest.raises(DataError, match="not the CIFAR-10 archive"):
        data.unpack(archive, tmp_path / "there")


def test_no_network_is_an_error_for_cifar10_and_a_notice_for_auto(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.setattr(data, "ARCHIVE_URL", "http://127.0.0.1:9/cifar-10-binary.tar.gz")  # nobody listens there
    with pytest.raises(DataError, match="CIFAR-10 could not be fetched") as refused:
        data.load("cifar10", str(tmp_path))
    assert "--data-dir" in str(refused.value) and "\n" not in str(refused.value)
    fallback = data.load("auto", str(tmp_path))
    assert fallback.name == "shapes10" and "could not be fetched" in fallback.notice
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(data.os, "access", lambda *_: False)
    with pytest.raises(DataError, match=r"could not be fetched into .*place \(this folder is read-only\)"):
        data.download_cifar10(tmp_path / "place")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="could not be fetched into"):
        data.download_cifar10(tmp_path / "file")


# shapes10 and the hold-out.


def test_shapes10_is_asked_for_by_name_and_needs_no_file(monkeypatch):
    monkeypatch.setattr(data, "find_cifar10", lambda _: pytest.fail("shapes10 looks for no file"))
    drawn = data.load("shapes10")
    assert drawn.name == drawn.title == "shapes10" and drawn.notice == ""
    assert (len(drawn.train_images), len(drawn.test_images)) == (10_000, 2_000)
    # Written down when the data set was drawn for the first time: a changed pen would spoil every comparison.
    assert drawn.fingerprint == "2788ba27200fac84d3d6a9fea8f01226994ae3da2c8b7d518542b97ede5558f2"


def test_the_holdout_is_the_last_tenth_of_the_training_images(whole, small_data, monkeypatch):
    full, held = data.read_cifar10(whole), data.load("cifar10", str(whole), holdout=True)
    assert (len(held.train_images), len(held.test_images)) == (45_000, 5_000)
    np.testing.assert_array_equal(held.train_labels, full.train_labels[:45_000])
    np.testing.assert_array_equal(held.test_images, full.train_images[45_000:])
    np.testing.assert_array_equal(held.test_labels, full.train_labels[45_000:])
    assert held.holdout and held.title == "cifar10, hold-out" and held.fingerprint == full.fingerprint

    monkeypatch.setitem(data.HOLDOUT_IMAGES, "shapes10", 20)
    held = data.with_holdout(small_data, True)
    assert (len(held.train_images), len(held.test_images), held.title) == (180, 20, "shapes10, hold-out")
    np.testing.assert_array_equal(held.test_images, small_data.train_images[180:])
    assert data.with_holdout(small_data, False) is small_data


def test_the_census_finds_what_was_leaked(small_data):
    """Counts by class, and test pictures that are byte for byte in the training set."""
    d = small_data
    honest = data.census(d.train_images, d.train_labels, d.test_images, d.test_labels, 10)
    assert honest == {
        "train_class_counts": [20] * 10, "test_class_counts": [10] * 10, "test_images_in_training": 0,
    }  # fmt: skip
    leaked = np.concatenate([d.train_images, d.test_images[:7]])
    labels = np.concatenate([d.train_labels, d.test_labels[:7]])
    assert data.census(leaked, labels, d.test_images, d.test_labels, 10)["test_images_in_training"] == 7
    none_of_three = d.train_labels != 3
    found = data.census(d.train_images[none_of_three], d.train_labels[none_of_three], d.test_images, d.test_labels, 10)
    assert found["train_class_counts"][3] == 0
