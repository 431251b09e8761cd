"""The reader against files that are right, and against every way in which they can be wrong."""

import hashlib
import io
import os
import socket
import tarfile
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core import devices
from core.data import DataError, cifar10, loading
from core.data.data_set import statistics_of

ALL_FILES = [*cifar10.TRAIN_FILES, cifar10.TEST_FILE]


def records(k: int) -> np.ndarray:
    """The k-th file: [10000,3073] bytes, 1,000 of each label in a random order, random pixels."""
    random = np.random.default_rng(k)
    rows = random.integers(0, 256, (cifar10.RECORDS, cifar10.RECORD_BYTES), np.uint8)
    rows[:, 0] = random.permutation(np.arange(cifar10.RECORDS) % 10)
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
    folder = tmp_path / cifar10.FOLDER
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
        cifar10.read_cifar10(folder)
    message = str(refused.value)
    assert "\n" not in message and str(folder) in message
    return message


def test_what_is_read_is_what_is_in_the_files(whole):
    read = cifar10.read_cifar10(whole)
    assert read.name == "cifar10" and read.title == "cifar10 (unverified)" and read.class_names[3] == "cat"
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
def test_a_class_with_too_many_images_is_named(linked, file, part, each):
    rows = records(file)
    rows[np.argmin(rows[:, 0]), 0] = 3  # a cat instead of an airplane
    replace(linked / ALL_FILES[file], rows.tobytes())
    assert f"expected {each} {part} images of class 0 (airplane), found " in refusal(linked)


def test_a_file_that_may_not_be_read_is_named(linked, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    assert f"{linked / ALL_FILES[0]}: cannot be read (Permission denied); check its permissions" in refusal(linked)


def test_a_folder_instead_of_a_file_is_named(linked):
    (linked / ALL_FILES[0]).unlink()
    (linked / ALL_FILES[0]).mkdir()
    assert "cannot be read (Is a directory)" in refusal(linked)


@pytest.mark.parametrize("name", ["auto", "cifar10"])
def test_damaged_files_are_an_error_even_for_auto(linked, name):
    replace(linked / ALL_FILES[2], b"half")
    with pytest.raises(DataError, match=r"data_batch_3\.bin: truncated"):
        loading.load(name, str(linked.parent))


@pytest.mark.parametrize(
    ("verified", "title"),
    [
        (None, "cifar10 (unverified)"),
        ("same", "cifar10"),
        ("other", "cifar10 (altered)"),
        (b"\xff", "cifar10 (unverified)"),
    ],
)
def test_the_title_says_whether_the_bytes_are_the_official_ones(linked, verified, title):
    """The download leaves the fingerprint of the official files beside them; the files may have changed since."""
    fingerprint = cifar10.read_cifar10(linked).fingerprint
    content = {None: None, "same": fingerprint.encode() + b"\n", "other": b"0" * 64}.get(verified, verified)
    if content is not None:
        (linked / cifar10.VERIFIED).write_bytes(content)
    assert cifar10.read_cifar10(linked).title == title


def test_a_known_copy_is_named(tmp_path):
    [(fingerprint, name)] = cifar10.COPIES.items()
    assert cifar10.origin_of(tmp_path, fingerprint) == name


# Where it is searched for.


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Three folders, each with a file that looks like the data: --data-dir, $CIFAR10_DIR, the project's data/."""
    for folder in ("named", "environment", "project/data"):
        (tmp_path / folder / cifar10.FOLDER).mkdir(parents=True)
        (tmp_path / folder / cifar10.FOLDER / cifar10.TEST_FILE).touch()
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "environment"))
    for module in (cifar10, loading):
        monkeypatch.setattr(module, "PROJECT", tmp_path / "project")
    return tmp_path


def test_the_order_of_the_search(folders, monkeypatch):
    def found(data_dir=""):
        return cifar10.find_cifar10(data_dir).relative_to(folders).parts[0]

    assert found(str(folders / "named")) == "named"
    assert found() == "environment"
    (folders / "environment" / cifar10.FOLDER / cifar10.TEST_FILE).unlink()
    assert found() == "project"
    monkeypatch.delenv("CIFAR10_DIR")
    assert found() == "project"
    (folders / "project/data" / cifar10.FOLDER / cifar10.TEST_FILE).unlink()
    assert cifar10.find_cifar10("") is None


def test_the_folder_of_the_files_itself_may_be_named(folders):
    assert cifar10.find_cifar10(str(folders / "named" / cifar10.FOLDER)) == folders / "named" / cifar10.FOLDER


def test_a_named_folder_is_the_only_one_searched(folders):
    (folders / "empty").mkdir()
    assert cifar10.find_cifar10(str(folders / "empty")) is None


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_named_folder_that_is_none_is_an_error(folders, name):
    (folders / "file").touch()
    with pytest.raises(DataError, match=f"--data-dir .*{name}: no such folder; name the one that holds"):
        loading.load("auto", str(folders / name))


def test_a_folder_that_may_not_be_searched_is_one_line(folders, monkeypatch):
    """pathlib raises for a folder without the right to enter it."""
    refused = PermissionError(13, "Permission denied")
    monkeypatch.setattr(Path, "exists", lambda path: (_ for _ in ()).throw(refused))
    with pytest.raises(DataError, match=r"cifar-10-batches-bin: cannot be read \(Permission denied\); check its perm"):
        cifar10.find_cifar10(str(folders / "named"))


def test_a_wrong_environment_does_not_count_where_a_folder_is_named(folders, monkeypatch):
    monkeypatch.setenv("CIFAR10_DIR", str(folders / "nowhere"))
    assert cifar10.find_cifar10(str(folders / "named")) == folders / "named" / cifar10.FOLDER
    with pytest.raises(DataError, match=r"\$CIFAR10_DIR .*nowhere: no such folder"):
        cifar10.find_cifar10("")


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


GOOD = [member(f"{cifar10.FOLDER}/{file}", file.encode()) for file in ALL_FILES]


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """offer(members): the official archive is one of these members, on this disk; returns where it will go."""

    def serve(members, checksum=None):
        archive = archive_of(members, tmp_path / "served.tar.gz")
        monkeypatch.setattr(cifar10, "ARCHIVE_URL", archive.as_uri())
        monkeypatch.setattr(cifar10, "ARCHIVE_SHA256", checksum or hashlib.sha256(archive.read_bytes()).hexdigest())
        return tmp_path / "target"

    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.setattr(cifar10, "read_cifar10", lambda folder: SimpleNamespace(fingerprint="of these files"))
    return serve


def test_an_archive_that_was_there_stays(offer, tmp_path):
    """Somebody put it there; one that was fetched is removed."""
    target = offer(GOOD)
    target.mkdir()
    (target / cifar10.ARCHIVE).write_bytes((tmp_path / "served.tar.gz").read_bytes())
    cifar10.download_cifar10(target)
    assert (target / cifar10.ARCHIVE).exists() and (target / cifar10.FOLDER).is_dir()


def test_a_download_leaves_the_six_files_and_their_fingerprint(offer, capsys):
    target = offer(GOOD)
    folder = cifar10.download_cifar10(target)
    assert folder == target / cifar10.FOLDER
    assert f"CIFAR-10 is not on this machine; fetching {cifar10.ARCHIVE_URL}" in capsys.readouterr().out
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert content.pop(cifar10.VERIFIED) == b"of these files\n"
    assert content == {file: file.encode() for file in ALL_FILES}
    assert [path.name for path in target.iterdir()] == [cifar10.FOLDER]


@pytest.mark.parametrize("there_already", [False, True])
def test_the_folder_of_a_download_may_be_there_or_not(offer, there_already):
    target = offer(GOOD) / "of" / "data"
    if there_already:
        (target / cifar10.FOLDER).mkdir(parents=True)
        (target / cifar10.FOLDER / ALL_FILES[0]).write_bytes(b"another file")
    cifar10.download_cifar10(target)
    assert all((target / cifar10.FOLDER / file).read_bytes() == file.encode() for file in ALL_FILES)


def test_a_download_with_another_checksum_is_deleted_unopened(offer):
    target = offer(GOOD, checksum="0" * 64)
    with pytest.raises(DataError, match=r"does not have the SHA-256 of CIFAR-10 \(0{16}\.\.\.\).*--data-dir"):
        cifar10.download_cifar10(target)
    assert list(target.iterdir()) == []


@pytest.mark.parametrize(
    "hostile",
    [
        member("../escaped", b"out"),
        member("/tmp/escaped", b"out"),
        member(f"{cifar10.FOLDER}/../../escaped", b"out"),
        member(f"{cifar10.FOLDER}/extra", kind=tarfile.SYMTYPE, target="/etc"),
    ],
)
def test_a_hostile_member_is_never_written(offer, hostile, tmp_path):
    target = offer([hostile, *GOOD])
    cifar10.download_cifar10(target)
    assert sorted(path.name for path in target.rglob("*") if path.is_file()) == sorted([*ALL_FILES, cifar10.VERIFIED])
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
    target = offer([instead, *GOOD[1:]])
    with pytest.raises(DataError, match="not the CIFAR-10 archive"):
        cifar10.download_cifar10(target)


def test_of_each_file_no_more_is_unpacked_than_shows_that_it_is_too_long(tmp_path, monkeypatch):
    """An archive cannot fill the disk."""
    monkeypatch.setattr(cifar10, "RECORDS", 2)
    monkeypatch.setattr(cifar10, "RECORD_BYTES", 5)
    sizes = dict(zip(ALL_FILES, (9, 10, 11, 12, 1000, 0)))
    members = [member(f"{cifar10.FOLDER}/{file}", bytes(size)) for file, size in sizes.items()]
    cifar10.unpack(archive_of(members, tmp_path / "archive.tar.gz"), tmp_path / "new" / "folder")
    unpacked = [(tmp_path / "new" / "folder" / file).stat().st_size for file in ALL_FILES]
    assert unpacked == [9, 10, 11, 11, 11, 0]


def test_an_archive_is_unpacked_whole_or_not_at_all(tmp_path, monkeypatch):
    """A full disk in the middle: four files without the others would be called damaged ever after."""
    members = [member(f"{cifar10.FOLDER}/{file}", b"content") for file in ALL_FILES]
    archive, folder = archive_of(members, tmp_path / "archive.tar.gz"), tmp_path / "folder"
    write = Path.write_bytes

    def full(path, content):
        if path.name == ALL_FILES[3]:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        cifar10.unpack(archive, folder)
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(Path, "write_bytes", write)
    cifar10.unpack(archive, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(ALL_FILES)


@pytest.mark.parametrize("content", [b"", b"no archive at all", "half"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    archive = archive_of([(info, os.urandom(100_000)) for info, _ in GOOD], tmp_path / "archive.tar.gz")
    archive.write_bytes(archive.read_bytes()[:150_000] if content == "half" else content)
    with pytest.raises(DataError, match="not the CIFAR-10 archive"):
        cifar10.unpack(archive, tmp_path / "there")


@pytest.fixture
def get_file(monkeypatch):
    """get_file(error): TensorFlow's download raises this error; returns what it was asked for and its patience."""

    def patched(error):
        seen = {}

        def raising(**asked):
            seen.update(asked, patience=socket.getdefaulttimeout())
            raise error

        tensorflow = SimpleNamespace(keras=SimpleNamespace(utils=SimpleNamespace(get_file=raising)))
        monkeypatch.setattr(devices, "import_tensorflow", lambda: tensorflow)
        return seen

    return patched


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("Incomplete or corrupted file detected"), "the download does not have the SHA-256 of CIFAR-10"),
        (OSError(28, "No space left on device"), "could not be fetched into {target} (No space left on device); put"),
        (TimeoutError("timed out"), "could not be fetched into {target} (timed out); put"),
        (RuntimeError("URL fetch failure"), "CIFAR-10 could not be fetched (URL fetch failure); name a local copy"),
    ],
)
def test_a_download_that_fails_is_one_line_with_the_reason(tmp_path, get_file, error, sentence):
    get_file(error)
    with pytest.raises(DataError) as refused:
        cifar10.download_cifar10(tmp_path / "target")
    assert sentence.format(target=tmp_path / "target") in str(refused.value) and "\n" not in str(refused.value)


def test_a_silent_network_is_given_up_after_twenty_seconds_and_nothing_else_is(tmp_path, get_file):
    """The patience of every other connection of this process is what it was; nothing but `unpack` unpacks."""
    seen, before = get_file(OSError("silent")), socket.getdefaulttimeout()
    socket.setdefaulttimeout(77)
    try:
        with pytest.raises(OSError, match="silent"):
            cifar10.fetch("https://nowhere", tmp_path)
        assert (seen["patience"], socket.getdefaulttimeout()) == (20, 77)
    finally:
        socket.setdefaulttimeout(before)
    assert seen["file_hash"] == cifar10.ARCHIVE_SHA256 and not seen["extract"]


def test_a_download_goes_into_the_named_folder_or_into_data_in_the_project(folders, monkeypatch):
    asked = []

    def failing(folder):
        asked.append(folder)
        raise DataError("nothing there")

    monkeypatch.setattr(loading, "find_cifar10", lambda data_dir: None)
    monkeypatch.setattr(loading, "download_cifar10", failing)
    for data_dir in (str(folders / "named"), ""):
        with pytest.raises(DataError, match="nothing there"):
            loading.load("cifar10", data_dir)
    assert asked == [folders / "named", folders / "project" / "data"]


def test_no_network_is_an_error_for_cifar10_and_a_notice_for_auto(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.setattr(cifar10, "ARCHIVE_URL", "http://127.0.0.1:9/cifar-10-binary.tar.gz")  # nobody listens there
    with pytest.raises(DataError, match="CIFAR-10 could not be fetched") as refused:
        loading.load("cifar10", str(tmp_path))
    assert "--data-dir" in str(refused.value) and "\n" not in str(refused.value)
    fallback = loading.load("auto", str(tmp_path))
    assert fallback.name == "shapes10" and "could not be fetched" in fallback.notice
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10.os, "access", lambda *_: False)
    with pytest.raises(DataError, match=r"could not be fetched into .*target \(this folder is read-only\)"):
        cifar10.download_cifar10(tmp_path / "target")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="could not be fetched into"):
        cifar10.download_cifar10(tmp_path / "file")


# shapes10 and the hold-out.


def test_shapes10_is_asked_for_by_name_and_needs_no_file(monkeypatch):
    monkeypatch.setattr(loading, "find_cifar10", lambda _: pytest.fail("shapes10 needs no file"))
    drawn = loading.load("shapes10")
    assert drawn.name == drawn.title == "shapes10" and drawn.notice == ""
    assert (len(drawn.train_images), len(drawn.test_images)) == (10_000, 2_000)
    # Written down when the data set was drawn for the first time: another drawing would spoil every comparison.
    assert drawn.fingerprint == "2788ba27200fac84d3d6a9fea8f01226994ae3da2c8b7d518542b97ede5558f2"


def test_the_holdout_is_the_last_tenth_of_the_training_images(whole, small_data, monkeypatch):
    full, held = cifar10.read_cifar10(whole), loading.load("cifar10", str(whole), holdout=True)
    assert (len(held.train_images), len(held.test_images)) == (45_000, 5_000)
    np.testing.assert_array_equal(held.train_labels, full.train_labels[:45_000])
    np.testing.assert_array_equal(held.test_images, full.train_images[45_000:])
    np.testing.assert_array_equal(held.test_labels, full.train_labels[45_000:])
    assert held.holdout and held.title == "cifar10 (unverified), hold-out" and held.fingerprint == full.fingerprint

    monkeypatch.setitem(loading.HOLDOUT_IMAGES, "shapes10", 20)
    held = loading.with_holdout(small_data, True)
    assert (len(held.train_images), len(held.test_images), held.title) == (180, 20, "shapes10, hold-out")
    np.testing.assert_array_equal(held.test_images, small_data.train_images[180:])
    assert loading.with_holdout(small_data, False) is small_data


def test_fewer_training_images_are_the_first_ones(small_data):
    few = loading.first_images(small_data, 30)
    np.testing.assert_array_equal(few.train_images, small_data.train_images[:30])
    np.testing.assert_array_equal(few.train_labels, small_data.train_labels[:30])
    assert len(few.test_images) == len(small_data.test_images) and few.fingerprint == small_data.fingerprint
    assert loading.first_images(small_data, 0) is small_data
    assert len(loading.first_images(small_data, 200).train_images) == 200
    with pytest.raises(loading.DataError, match=r"^--train-images 201: more than the 200 of shapes10$"):
        loading.first_images(small_data, 201)


def test_the_statistics_count_test_images_in_training(small_data):
    """Counts by class, and test images that are byte for byte in the training set."""
    d = small_data
    honest = statistics_of(d.train_images, d.train_labels, d.test_images, d.test_labels, 10)
    assert honest == {
        "train_class_counts": [20] * 10, "test_class_counts": [10] * 10, "test_images_in_training": 0,
    }  # fmt: skip
    leaked = np.concatenate([d.train_images, d.test_images[:7]])
    labels = np.concatenate([d.train_labels, d.test_labels[:7]])
    assert statistics_of(leaked, labels, d.test_images, d.test_labels, 10)["test_images_in_training"] == 7
    none_of_three = d.train_labels != 3
    found = statistics_of(
        d.train_images[none_of_three], d.train_labels[none_of_three], d.test_images, d.test_labels, 10
    )
    assert found["train_class_counts"][3] == 0
