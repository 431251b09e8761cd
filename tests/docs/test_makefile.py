"""The verbs of the Makefile: what they run, tried with a Python that only notes how it was called."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import runner
from documents import PROJECT

STUB = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in
*--help*) exit 0 ;;
train_loop.py*fail*) exit 1 ;;
train_loop.py*) if [ -n "$GLASSBOX_RUN_FILE" ]; then printf '%s' "the runs/mine" > "$GLASSBOX_RUN_FILE"; fi ;;
esac
"""


def outside_make() -> dict[str, str]:
    """The environment without what `make test ARGS=...` adds to it: a make inside a make would take it over."""
    added = ("MAKE", "MFLAGS", "ARGS", "RUN", "EX")
    return {name: value for name, value in os.environ.items() if not name.startswith(added)}


@pytest.fixture
def make(tmp_path):
    """make(*arguments, status) -> the calls of Python that it made, a line each."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").write_text(STUB)
    (environment / "bin" / "python").chmod(0o755)
    (environment / ".ready").touch()
    calls = tmp_path / "calls"

    def call(*args, status=0):
        calls.write_text("")
        done = subprocess.run(
            ["make", f"VENV={environment}", *args], cwd=PROJECT, capture_output=True, text=True,
            env=outside_make() | {"CALLS": str(calls), "TMPDIR": str(tmp_path)}, timeout=60,
        )  # fmt: skip
        assert (done.returncode == 0) == (status == 0), done.stdout + done.stderr
        return calls.read_text().splitlines()

    return call


def test_train_draws_the_run_that_was_trained(make):
    training, curves, diagnose, report = make("train", "ARGS=--runs-dir X --run two")
    assert training.split() == ["train_loop.py", "--runs-dir", "X", "--run", "two"]
    assert curves == "analysis/curves.py the runs/mine"
    assert diagnose == "analysis/diagnose.py --summary the runs/mine"
    assert report == "analysis/report.py the runs/mine"


def test_train_with_a_name(make):
    assert make("train", "RUN=first", "ARGS=--epochs 2")[0].split() == "train_loop.py --run first --epochs 2".split()


def test_help_draws_nothing(make):
    assert make("train", "ARGS=--help") == ["train_loop.py --help"]


def test_a_training_that_fails_is_not_drawn(make):
    assert len(make("train", "ARGS=--run fail", status=1)) == 1


def test_the_temporary_file_is_gone(make, tmp_path):
    make("train")
    assert not list(tmp_path.glob("tmp.*"))


@pytest.mark.parametrize(("verb", "script"), [(name, name) for name in ("curves", "diagnose", "report", "replay")])
def test_run_names_the_runs(make, verb, script):
    assert make(verb, "RUN=first second", "ARGS=--out x") == [f"analysis/{script}.py first second --out x"]
    assert make(verb) == [f"analysis/{script}.py"]


def test_debug_keeps_nothing(make, tmp_path):
    (call,) = make("debug")
    folder = re.fullmatch(r"train_loop.py --recipe debug --pdb --runs-dir (\S+)", call)[1]
    assert folder.startswith(str(tmp_path)) and not os.path.exists(folder)


def test_doctor_is_asked_before_anything_is_installed(make, tmp_path):
    assert make("doctor", "ARGS=--help")[-1] == "core/doctor.py --help"
    # Without an environment the first Python that is there answers.
    done = call_make("doctor", "VENV=absent", f"PYTHON=nowhere {sys.executable}", "ARGS=--help", cwd=PROJECT)
    assert done.returncode == 0 and done.stdout.startswith("usage: doctor.py")
    done = call_make("doctor", "VENV=absent", "PYTHON=nowhere", cwd=PROJECT)
    assert done.returncode == 2 and done.stdout.startswith("no Python 3 among: nowhere; install")


def call_make(*args, cwd):
    """make with this project's Makefile in some folder."""
    return subprocess.run(["make", "-f", str(PROJECT / "Makefile"), *args], cwd=cwd, capture_output=True, text=True,
                          env=outside_make(), timeout=60)  # fmt: skip


def test_setup_takes_the_wheels_of_an_offline_kit(tmp_path):
    (tmp_path / "pyproject.toml").touch()
    assert "--no-index" not in call_make("-n", "setup", cwd=tmp_path).stdout
    (tmp_path / "wheels").mkdir()
    wheel = tmp_path / "wheels" / f"tensorflow-2.21.0-cp3{sys.version_info[1]}-any.whl"
    wheel.touch()
    commands = call_make("-n", "setup", cwd=tmp_path).stdout
    assert '--no-index --find-links wheels --editable ".[test,tensorboard]"' in commands
    wheel.rename(wheel.with_name("tensorflow-2.21.0-cp399-any.whl"))
    done = call_make("setup", f"PYTHON={sys.executable}", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout.startswith("no Python 3.11, 3.12 or 3.13 that wheels/ is for among: ")


def test_layers_runs_every_walkthrough(make):
    names = sorted(path.name for path in (PROJECT / "layers_explained").glob("*.py") if path.name != "__init__.py")
    assert sorted(call.split()[0].rpartition("/")[2] for call in make("layers")) == names


def test_the_verbs_are_those_of_the_readme():
    done = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, env=outside_make())
    verbs = [line.rstrip() for line in done.stdout.splitlines()]
    readme = (PROJECT / "README.md").read_text()
    block = readme[readme.index("$ make\n") + len("$ make\n") :].split("```")[0].splitlines()
    assert [line.rstrip() for line in block] == verbs, "README.md shows another list than `make` prints"


def test_a_run_tells_its_folder(tmp_path, monkeypatch):
    note = tmp_path / "note"
    monkeypatch.setenv("GLASSBOX_RUN_FILE", str(note))
    runner.train_here(tmp_path / "runs", "told", "--steps", 1, "--diagnostics", "off")
    assert note.read_text() == str(tmp_path / "runs" / "told")
