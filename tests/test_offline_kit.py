"""docs/offline_kit.py: what is packed, followed through the wheels' own dependencies; the downloads are made up."""

import subprocess
import sys
import zipfile

import pytest
from documents import PROJECT
from packaging.requirements import Requirement

sys.path.insert(0, str(PROJECT / "docs"))

import offline_kit

# What the made-up index has: {package: (version, files' tag for each platform, what it depends on)}.
INDEX = {
    "frame": ("2.0", {"linux": "cp311-cp311-manylinux_2_17_x86_64", "macos": "cp311-cp311-macosx_11_0_arm64",
                      "windows": "cp311-cp311-win_amd64"}, ["numbers>=1", "bar[fast]", "old; python_version < '3.9'"]),
    "numbers": ("1.5", {}, []),
    "bar": ("3.1", {}, ["colour; platform_system == 'Windows'", "speed>=1; extra == 'fast'", "lint; extra == 'dev'"]),
    "colour": ("0.4", {}, []),
    "speed": ("1.0", {"linux": "cp311-cp311-manylinux_2_17_x86_64", "windows": "cp311-cp311-win_amd64"}, ["numbers"]),
}  # fmt: skip
LOCKED = {"frame": "2.0", "numbers": "1.5", "bar": "3.1", "speed": "0.9"}


@pytest.fixture
def asked():
    """What was asked of the index, a list for each call."""
    return []


@pytest.fixture
def download(asked):
    def from_index(wanted, platform, python, folder):
        asked.append(wanted)
        folder.mkdir()
        for name in (Requirement(text).name for text in wanted):
            version, tags, depends = INDEX[name]
            if tags and platform not in tags:
                raise offline_kit.KitError(f"no wheel of {name}")
            write_wheel(folder / f"{name}-{version}-{tags.get(platform, 'py3-none-any')}.whl", name, version, depends)

    return from_index


def write_wheel(path, name, version, depends):
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {d}" for d in depends)]
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join([*lines, "", "A text."]))


def collect(tmp_path, platform, download):
    wanted = ["frame>=2", "frame", "absent; sys_platform == 'plan9'"]
    return offline_kit.collect(wanted, platform, "3.11", tmp_path / "wheels", LOCKED, download)


def test_dependencies_are_followed_for_the_other_system(tmp_path, download, asked):
    linux = collect(tmp_path, "linux", download)
    assert [name.split("-")[0] for name in linux] == ["bar", "frame", "numbers", "speed"]
    assert asked == [["frame==2.0"], ["bar==3.1", "numbers==1.5"], ["speed>=1"]]  # the version here is too old
    windows = collect(tmp_path, "windows", download)
    assert [name.split("-")[0] for name in windows] == ["bar", "colour", "frame", "numbers", "speed"]
    assert asked[-1] == ["colour", "speed>=1"]
    assert sorted(path.name for path in (tmp_path / "wheels").iterdir()) == sorted({*linux, *windows})
    with pytest.raises(offline_kit.KitError, match="no wheel of speed"):
        collect(tmp_path, "macos", download)


def test_a_package_that_did_not_come_is_named(tmp_path):
    with pytest.raises(offline_kit.KitError, match="no wheel of frame"):
        collect(tmp_path, "linux", lambda wanted, platform, python, folder: folder.mkdir())


def test_what_make_setup_installs_is_what_is_packed():
    found = {Requirement(text).name for text in offline_kit.requirements((PROJECT / "pyproject.toml").read_text())}
    assert {"tensorflow", "numpy", "pytest", "tensorboard", "setuptools"} <= found and "torch" not in found
    offline = (PROJECT / "Makefile").read_text()
    assert f"EXTRAS := {','.join(offline_kit.EXTRAS)}$(if $(OFFLINE),," in offline


def test_pip_is_asked_for_the_other_system(tmp_path, monkeypatch):
    calls = []

    def run(command, **options):
        calls.append(command)
        return subprocess.CompletedProcess(command, len(calls) - 1, "", "a line\nERROR: No matching distribution\n")

    monkeypatch.setattr(subprocess, "run", run)
    offline_kit.pip_download(["frame==2.0"], "macos", "3.12", tmp_path)
    assert "--platform macosx_12_0_arm64 --dest" in " ".join(calls[0]) and calls[0][-1] == "frame==2.0"
    assert {"--no-deps", "--only-binary=:all:", "3.12"} <= set(calls[0])
    with pytest.raises(offline_kit.KitError, match="No matching distribution"):
        offline_kit.pip_download(["frame==2.0"], "macos", "3.12", tmp_path)


@pytest.fixture
def project(tmp_path):
    """A small git checkout that asks for `frame`."""
    folder = tmp_path / "project"
    (folder / "docs").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["numbers"]\n[project]\ndependencies = ["frame>=2"]\n'
        "[project.optional-dependencies]\ntest = []\ntensorboard = []\n"
    )
    for name in ("offline.md", "offline.fr.md"):
        (folder / "docs" / name).write_text(f"# {name}\n")
    offline_kit.git("init", "--quiet", project=folder)
    offline_kit.git("add", ".", project=folder)
    offline_kit.git("-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "-m", "all", project=folder)
    (folder / "not-committed").touch()
    return folder


def test_a_kit_is_packed_checked_and_refused_when_a_file_differs(tmp_path, project, download, capsys):
    data = tmp_path / "data"
    data.mkdir()
    (data / "test_batch.bin").write_bytes(b"123")
    out = tmp_path / "kit"
    contents = offline_kit.pack(offline_kit.parse(["--out", str(out)]), data, download, project)
    assert contents[0].startswith("project  glassbox/, commit ")
    count = sum(path.is_file() for path in out.rglob("*")) - 1  # but the list itself
    assert contents[1:] == [
        "wheels   Linux x86_64, Python 3.11: 4 files",
        "wheels   macOS arm64, Python 3.11: not complete, no wheel of speed",
        "wheels   Windows x86_64, Python 3.11: 5 files",
        "data     CIFAR-10, as it was where the kit was packed",
        f"files    {count}, with this one, each with its checksum in SHA256SUMS",
    ]
    assert (out / "CONTENTS.txt").read_text().splitlines() == contents
    assert (out / "README.md").read_text() == "# offline.md\n" and (out / "README.fr.md").is_file()
    assert (out / "glassbox" / "data" / "cifar-10-batches-bin" / "test_batch.bin").read_bytes() == b"123"
    assert not (out / "glassbox" / "not-committed").exists() and (tmp_path / "kit.tar").is_file()
    capsys.readouterr()
    assert offline_kit.main(["--check", str(out)]) == 0
    (out / "README.md").write_text("other")
    (out / "glassbox" / "pyproject.toml").unlink()
    assert offline_kit.main(["--check", str(out)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "every file is as it was packed", "README.md: altered; copy it again", "glassbox/pyproject.toml: missing",
    ]  # fmt: skip
    with pytest.raises(offline_kit.KitError, match="kit exists; delete it"):
        offline_kit.pack(offline_kit.parse(["--out", str(out)]), None, download, project)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda whole: b"", "it lists 0 of "),
        (lambda whole: b"\n".join(whole.splitlines()[:2]), "it lists 2 of "),
        (lambda whole: whole[:30], "not a list of checksums any more"),
        (lambda whole: b"\xff\xfe" + whole, "not a list of checksums any more"),
    ],
)
def test_a_list_of_checksums_that_broke_is_not_every_file_as_packed(
    tmp_path, project, download, capsys, damage, sentence
):
    out = tmp_path / "kit"
    offline_kit.pack(offline_kit.parse(["--out", str(out), "--no-tar"]), None, download, project)
    capsys.readouterr()
    (out / "SHA256SUMS").write_bytes(damage((out / "SHA256SUMS").read_bytes()))
    assert offline_kit.main(["--check", str(out)]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and sentence in printed.err and printed.err.count("\n") == 1


def test_a_folder_without_a_name_is_refused_in_one_line(capsys):
    for folder in (".", "/"):
        assert offline_kit.main(["--out", folder, "--no-data"]) == 1
        assert capsys.readouterr().err.startswith(f"offline_kit.py: {folder} exists; delete it, or name another")


def test_without_a_network_it_says_so_in_one_line(tmp_path, project):
    def no_network(*args):
        raise offline_kit.KitError("Could not find a version")

    choice = offline_kit.parse(["--out", str(tmp_path / "kit"), "--platform", "linux"])
    with pytest.raises(offline_kit.KitError, match="no platform is complete: Could not find a version; is there a net"):
        offline_kit.pack(choice, None, no_network, project)


def test_what_cannot_be_checked_or_packed(tmp_path, capsys):
    assert offline_kit.main(["--check", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"offline_kit.py: {tmp_path}: no SHA256SUMS; name the folder of a kit\n"
    with pytest.raises(offline_kit.KitError, match="the kit is packed from a git checkout"):
        offline_kit.unpack_project(tmp_path / "x", tmp_path)
    with pytest.raises(SystemExit) as left:
        offline_kit.main(["--platform", "plan9"])
    assert left.value.code == 2
