"""core/doctor.py: what it says of machines that are made up here, of this one, and of one without any package."""

import ast
import subprocess
import sys
from dataclasses import replace
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
    (replace(GOOD, memory=None), "memory", "note", "unknown"),
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
    (replace(GOOD, disk=1e6), "disk", "stop", "delete old folders of runs/"),
    (replace(GOOD, writable=False), "disk", "stop", "read-only"),
    (replace(GOOD, browser=False), "browser", "note", "on any other machine"),
    (replace(GOOD, test_browser=False), "browser", "ok", "its tests are skipped"),
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


def test_a_python_without_packages_says_what_to_do(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (python,) = (*(tmp_path / "bare").glob("bin/python3"), *(tmp_path / "bare").glob("Scripts/python.exe"))
    done = subprocess.run([python, PROJECT / "core" / "doctor.py"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "stop  TensorFlow  not installed here (tensorflow, numpy, matplotlib, tqdm): make setup" in done.stdout
    assert done.stdout.endswith("Training cannot work here yet: TensorFlow.\n")


@pytest.mark.parametrize("name", ["doctor.py", "machine.py", "__init__.py"])
def test_a_python_that_is_too_old_can_read_it(name):
    """It has to say so itself."""
    ast.parse((PROJECT / "core" / name).read_text(), feature_version=(3, 8))


def test_what_this_machine_has(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "absent"))
    here = machine.with_packages()
    assert here["tensorflow"] == tf.__version__ and isinstance(here["onednn"], bool)
    assert here["data"]["problem"].endswith("no such folder; name the one that holds cifar-10-batches-bin/")
    monkeypatch.setenv("CIFAR10_DIR", "")
    monkeypatch.setattr(cifar10, "PROJECT", tmp_path)
    assert machine.data_found() == {"folder": "", "origin": ""}
    monkeypatch.setattr(cifar10, "find_cifar10", lambda named: tmp_path)
    monkeypatch.setattr(cifar10, "read_cifar10", lambda folder: SimpleNamespace(origin=f"read from {folder}"))
    assert machine.data_found() == {"folder": str(tmp_path), "origin": f"read from {tmp_path}"}
    assert 1 <= machine.core_count() <= 4096 and 1e8 < machine.free_memory() < 1e14


@pytest.mark.parametrize(
    ("status", "out", "err", "expected"),
    [
        (0, 'a line\n{"tensorflow": "2.21.0"}\n', "", {"tensorflow": "2.21.0"}),
        (-4, "", "", "has no AVX"),
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
