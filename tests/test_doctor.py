"""core/doctor.py: what it says of machines that are made up here, of this one, and of one without any package."""

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf
from documents import PROJECT

from core import doctor, machine
from core.data import cifar10

OFFICIAL = {"folder": "data/cifar-10-batches-bin", "origin": ""}
INSTALLED = {"tensorflow": "2.21.0", "seconds": 4.0, "onednn": True, "gpus": [], "data": OFFICIAL}
GOOD = machine.Facts(packages=INSTALLED, memory=8e9, processor_flags=frozenset({"avx2", "avx512_vnni"}))
BARE = replace(GOOD, packages={"missing": "tensorflow, tqdm"})


def found(**changes) -> machine.Facts:
    """A good machine on which the packages find something else."""
    return replace(GOOD, packages=INSTALLED | changes)


def answers(facts: machine.Facts) -> dict[str, doctor.Answer]:
    return {answer.what: answer for answer in (question(facts) for question in doctor.QUESTIONS)}


def test_a_good_machine():
    assert {answer.state for answer in answers(GOOD).values()} == {"ok"}
    assert doctor.verdict(list(answers(GOOD).values())) == "Training works here."


CASES = [
    (replace(GOOD, python=(3, 9, 2)), "Python", "stop", "3.9.2; expected 3.11 to 3.13"),
    (replace(GOOD, python=(3, 14, 0)), "Python", "stop", "make setup PYTHON="),
    (replace(GOOD, python=(3, 13, 1)), "Python", "ok", "3.13.1"),
    (replace(GOOD, bits=32), "Python", "stop", "32 bits"),
    (BARE, "TensorFlow", "stop", "(tensorflow, tqdm): make setup (over the network"),
    (replace(BARE, wheels=True), "TensorFlow", "stop", "make setup (wheels/ is there, no network needed)"),
    (replace(BARE, ensurepip=False), "TensorFlow", "stop", "python3-venv), then make setup"),
    (replace(GOOD, packages={"problem": "it crashed"}), "TensorFlow", "stop", "it crashed"),
    (found(tensorflow="2.20.1"), "TensorFlow", "note", "tested with 2.21"),
    (GOOD, "oneDNN", "ok", "on: this processor has avx512_vnni; TF_ENABLE_ONEDNN_OPTS=0 switches it off"),
    (found(onednn=False), "oneDNN", "ok", "off: the default of TensorFlow on this system; TF_ENABLE_ONEDNN_OPTS=1"),
    (
        replace(found(onednn=False), processor_flags=frozenset({"avx2"})),
        "oneDNN",
        "ok",
        "off: this processor has no VNNI",
    ),
    (replace(found(onednn=False), onednn_setting="0"), "oneDNN", "ok", "off: TF_ENABLE_ONEDNN_OPTS=0 in the"),
    (BARE, "oneDNN", "note", "known once"),
    (replace(GOOD, cores=1), "cores", "note", "twice as many"),
    (replace(GOOD, memory=1.1e9), "memory", "note", "1.1 GB free; a training on CIFAR-10 takes 1.2 GB"),
    (replace(GOOD, memory=0.5e9), "memory", "stop", "close other programs"),
    (replace(GOOD, memory=1.2e9), "memory", "ok", "1.2 GB free"),
    (replace(GOOD, memory=0.95e9), "memory", "note", "take the built-in data"),
    (replace(GOOD, memory=None), "memory", "note", "unknown; a training takes 1.2 GB"),
    (replace(GOOD, system="Darwin"), "memory", "ok", "8.0 GB in all"),
    (found(gpus=["NVIDIA H100"]), "GPU", "ok", "NVIDIA H100"),
    (replace(GOOD, driver=True), "GPU", "note", "TensorFlow finds no GPU"),
    (replace(GOOD, driver=True, system="Windows"), "GPU", "note", "WSL2"),
    (replace(BARE, driver=True), "GPU", "ok", "make setup installs"),
    (
        found(data={"folder": "d", "origin": "JPEG copy"}),
        "data",
        "note",
        "CIFAR-10 in d: a JPEG copy, not the official",
    ),
    (found(data={"folder": "d", "origin": "altered"}), "data", "note", "altered since it was fetched: delete"),
    (found(data={"folder": "d", "origin": "unverified"}), "data", "note", "of unknown origin"),
    (found(data={"folder": "", "origin": ""}), "data", "note", "absent: the first training fetches it"),
    (found(data={"problem": "d: truncated"}), "data", "stop", "d: truncated. Or train with --data shapes10"),
    (BARE, "data", "ok", "CIFAR-10 is not in data/; shapes10 is built in"),
    (replace(BARE, data_files=True), "data", "ok", "checked once make setup is done"),
    (replace(GOOD, disk=2e9), "disk", "ok", "2.0 GB free"),
    (replace(BARE, disk=2e9), "disk", "stop", "make setup takes 2.5 GB"),
    (replace(GOOD, disk=0.4e9), "disk", "note", "room for some 8 runs"),
    (replace(BARE, disk=2.5e9), "disk", "ok", "2.5 GB free"),
    (replace(GOOD, disk=1e9), "disk", "ok", "1.0 GB free"),
    (replace(GOOD, disk=0.05e9), "disk", "note", "room for some 1 runs"),
    (replace(GOOD, disk=1e6), "disk", "stop", "a run takes up to 0.1 GB: delete old folders of runs/"),
    (replace(GOOD, writable=False), "disk", "stop", "read-only"),
    (replace(GOOD, browser=False), "browser", "note", "on any other machine"),
    (replace(GOOD, test_browser=False), "browser", "ok", "its tests are skipped"),
    (GOOD, "browser", "ok", "opens report.html; its tests run"),
]


@pytest.mark.parametrize(("facts", "what", "state", "text"), CASES, ids=[f"{w} {s} {t[:30]}" for _, w, s, t in CASES])
def test_what_it_says_of_a_machine(facts, what, state, text):
    answer = answers(facts)[what]
    assert answer.state == state and text in answer.sentence, answer
    assert "\n" not in answer.sentence


def test_the_exit_status_is_1_only_when_training_cannot_work(monkeypatch, capsys):
    for facts, status, last in (
        (GOOD, 0, "Training works here."),
        (replace(GOOD, cores=1), 0, "Training works here; 1 note."),
        (replace(GOOD, cores=1, browser=False), 0, "Training works here; 2 notes."),
        (replace(BARE, disk=1e6), 1, "Training cannot work here yet: TensorFlow, disk."),
    ):
        monkeypatch.setattr(doctor, "measured", lambda facts=facts: facts)
        assert doctor.main([]) == status
        assert capsys.readouterr().out.splitlines()[-1] == last
    with pytest.raises(SystemExit) as left:
        doctor.main(["--absent"])
    assert left.value.code == 2


def test_the_help_explains_the_words_of_the_lines(capsys):
    with pytest.raises(SystemExit) as left:
        doctor.main(["--help"])
    _, question, *rest = [line for line in capsys.readouterr().out.splitlines() if line]
    assert left.value.code == 0 and question.startswith("Is this machine ready to train?")
    assert "python core/doctor.py" in rest and all(f"`{word}`" in " ".join(rest) for word in ("ok", "note", "stop"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_answers_that_cannot_be_written_are_one_line():
    command = [sys.executable, PROJECT / "core" / "doctor.py"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "doctor.py: standard output: No space left on device\n")


def test_letters_that_the_output_does_not_know_are_escaped(tmp_path):
    given = {"PYTHONIOENCODING": "cp1252", "CIFAR10_DIR": str(tmp_path / "\u0434")}
    command = [sys.executable, PROJECT / "core" / "doctor.py"]
    done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True)
    assert done.stderr == "" and "\\u0434: no such folder" in done.stdout


def test_a_python_without_packages_says_what_to_do(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (python,) = (*(tmp_path / "bare").glob("bin/python3"), *(tmp_path / "bare").glob("Scripts/python.exe"))
    done = subprocess.run([python, PROJECT / "core" / "doctor.py"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "stop  TensorFlow  not installed here (tensorflow, numpy, matplotlib, tqdm): make setup" in done.stdout
    assert done.stdout.endswith("Training cannot work here yet: TensorFlow.\n")


@pytest.mark.parametrize("name", ["doctor.py", "machine.py", "processor.py", "__init__.py"])
def test_a_python_that_is_too_old_can_read_it(name):
    """It has to say so itself."""
    ast.parse((PROJECT / "core" / name).read_text(), feature_version=(3, 8))


def test_what_this_machine_has(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "absent"))
    here = machine.with_packages()
    assert here["tensorflow"] == tf.__version__ and isinstance(here["onednn"], bool)
    assert 0 <= here["seconds"] < 60, "imported already"
    assert here["data"]["problem"].endswith("no such folder; name the one that holds cifar-10-batches-bin/")
    monkeypatch.setenv("CIFAR10_DIR", "")
    monkeypatch.setattr(cifar10, "PROJECT", tmp_path)
    assert machine.data_found() == {"folder": "", "origin": ""}
    refused = PermissionError(13, "Permission denied", "here")
    monkeypatch.setattr(cifar10, "find_cifar10", lambda named: (_ for _ in ()).throw(refused))
    assert "Permission denied" in machine.data_found()["problem"]
    monkeypatch.setattr(cifar10, "find_cifar10", lambda named: tmp_path)
    monkeypatch.setattr(cifar10, "read_cifar10", lambda folder: SimpleNamespace(origin=f"read from {folder}"))
    assert machine.data_found() == {"folder": str(tmp_path), "origin": f"read from {tmp_path}"}
    assert 1 <= machine.core_count() <= 4096 and 1e8 < machine.free_memory() < 1e14


@pytest.mark.parametrize(
    ("status", "out", "err", "expected"),
    [
        (0, 'a line\nanother\n{"tensorflow": "2.21.0"}\n', "", {"tensorflow": "2.21.0"}),
        (-4, "", "", "has no AVX"),
        (132, "", "Illegal instruction\n", "has no AVX"),
        (0xC000001D, "", "", "has no AVX"),
        (4, "", "", "exit status 4: nothing printed"),
        (1, "", "Traceback\n  x\nImportError: libx.so: not found\n", "ImportError: libx.so: not found): delete .venv"),
        (-9, "", "", "exit status -9: nothing printed"),
    ],
)
def test_why_an_import_fails(status, out, err, expected):
    came_back = machine.what_came_back(status, out, err)
    assert came_back == expected if isinstance(expected, dict) else expected in came_back["problem"]


def test_an_import_without_end(monkeypatch):
    monkeypatch.setattr(machine, "PATIENCE", 0.01)
    assert "takes more than 0.01 s" in machine.in_own_process()["problem"]


def test_an_import_that_fails_in_its_own_process(monkeypatch, tmp_path):
    """What it writes does not reach the terminal; its last line is quoted."""
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "machine.py").write_text("raise ImportError('no such library')")
    monkeypatch.setattr(machine, "PROJECT", tmp_path)
    assert machine.in_own_process()["problem"] == (
        "its import fails (exit status 1: ImportError: no such library): delete .venv and make setup again"
    )


@pytest.fixture
def pretended(monkeypatch, tmp_path):
    """pretended(path, text): from now on machine.py reads this where it opens that path; the others are not there."""
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / path.lstrip("/"))

    def pretend(path: str, text: str) -> None:
        (tmp_path / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path.lstrip("/")).write_text(text)

    return pretend


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("9900000 100000", 8)],
)
def test_the_cores_of_a_container(pretended, monkeypatch, quota, cores):
    monkeypatch.setattr(machine.os, "sched_getaffinity", {0: set(range(8))}.get, raising=False)  # 0: this process
    assert machine.core_count() == 8
    pretended("/sys/fs/cgroup/cpu.max", quota)
    assert machine.core_count() == cores


def test_without_an_affinity_the_cores_are_those_of_the_machine(pretended, monkeypatch):
    monkeypatch.delattr(machine.os, "sched_getaffinity", raising=False)
    for found, cores in ((6, 6), (None, 1)):
        monkeypatch.setattr(machine.os, "cpu_count", lambda found=found: found)
        assert machine.core_count() == cores


def test_the_memory_is_the_least_that_any_source_says(pretended, monkeypatch):
    monkeypatch.setattr(machine.os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.get, raising=False)
    assert machine.free_memory() == 4_096_000
    pretended("/proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    3000 kB\n")
    assert machine.free_memory() == 3_072_000
    pretended("/sys/fs/cgroup/memory.max", "5000000\n")
    assert machine.free_memory() == 3_072_000, "memory.current is not there"
    pretended("/sys/fs/cgroup/memory.current", "4000000\n")
    assert machine.free_memory() == 1_000_000
    pretended("/sys/fs/cgroup/memory.max", "max\n")
    assert machine.free_memory() == 3_072_000


def test_a_system_that_says_nothing_of_its_memory(pretended, monkeypatch):
    monkeypatch.delattr(machine.os, "sysconf", raising=False)
    assert machine.free_memory() is None


def test_pythons_that_fit():
    """Those of pyproject.toml."""
    fitting = [version for version in ((2, 7), (3, 10), (3, 11), (3, 13), (3, 14), (4, 12)) if machine.fits(version)]
    assert fitting == [(3, 11), (3, 13)]


def test_packages_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None if name in ("tqdm", "numpy") else name)
    assert machine.with_packages() == {"missing": "numpy, tqdm"}


def test_the_packages_are_asked_in_a_process_of_its_own(monkeypatch, capsys):
    """One line of JSON goes from the one to the other."""
    monkeypatch.setattr(machine, "with_packages", lambda: {"tensorflow": "2.21.0"})
    machine.print_with_packages()
    printed = capsys.readouterr().out

    def finished(command, **options):
        assert command[0] == sys.executable and options["cwd"] == str(PROJECT) and options["timeout"] == 120
        return SimpleNamespace(returncode=0, stdout=printed, stderr="")

    monkeypatch.setattr(machine.subprocess, "run", finished)
    assert machine.in_own_process() == {"tensorflow": "2.21.0"}


def test_the_facts_of_this_machine(monkeypatch, pretended, tmp_path):
    """Each fact has its source."""
    monkeypatch.setattr(machine, "PROJECT", tmp_path)
    monkeypatch.setattr(machine, "in_own_process", lambda: {"data": {}})
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    programs = set()
    monkeypatch.setattr(machine.shutil, "which", lambda name: name if name in programs else None)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: SimpleNamespace(free=7))
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    bare = machine.measured()
    assert bare.python == sys.version_info[:3] and bare.bits == 64 and bare.ensurepip and bare.system == "Linux"
    assert bare.packages == {"data": {}} and bare.onednn_setting == "0" and bare.disk == 7 and bare.writable
    assert not (bare.wheels or bare.driver or bare.data_files or bare.browser or bare.test_browser)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a.whl").touch()
    (tmp_path / "data" / "cifar-10-batches-bin").mkdir(parents=True)
    programs.update({"nvidia-smi", "chromium"})
    found = machine.measured()
    assert found.wheels and found.driver and found.data_files and found.browser and not found.test_browser
    programs.add("chromedriver")
    assert machine.measured().test_browser
    programs.clear()
    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    assert machine.measured().browser
    monkeypatch.setattr(machine, "fits", lambda version: False)
    assert machine.measured().packages == {"missing": "tensorflow"}, "nothing is imported"
    monkeypatch.setattr(machine, "sys", SimpleNamespace(version_info=sys.version_info, maxsize=2**31 - 1))
    assert machine.measured().bits == 32
