"""Runs for the tests: as a user starts them, in a process; or in this process, where TensorFlow is loaded already."""

import dataclasses
import functools
import json
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import forked

import train_loop
from analysis.benchmarks.processes import Finished
from core.data import DataSet, load
from core.run import checkpoints, logs, start
from core.settings.command_line import parse

PROJECT = Path(__file__).resolve().parent.parent

# A small compiled run on the built-in data: the debug network, 20 steps an epoch. One thread, as the tests' own process
# has (tests/conftest.py): another number changes the last bits.
SMALL = ("--recipe", "debug", "--no-eager", "--data", "shapes10", "--threads", "1", "--kernels", "fast")

EXACT_FILES = (logs.STEPS, logs.EPOCHS, logs.LAYERS, logs.PREDICTIONS)  # the same bytes for the same seed


def command(script: str, *args) -> list[str]:
    """The command line of a script of this project."""
    return [sys.executable, str(PROJECT / script), *map(str, args)]


def started(script: str, *args, stdin: str = "", **options):
    """The script in a process of its own, forked where TensorFlow is imported already (tests/forked.py).

    options: stdout, cwd and env as subprocess.Popen takes them.
    """
    if forked.AVAILABLE:
        return forked.Process(command(script, *args)[1:], stdin, **options)
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command(script, *args), **streams | options, text=True)
    process.stdin.write(stdin)
    process.stdin.close()
    process.stdin = None
    return process


def run(script: str, *args, status: int = 0, stdin: str = "") -> subprocess.CompletedProcess:
    """Run it to its end; the exit status must be `status`, and no traceback may show."""
    process = started(script, *args, stdin=stdin)
    return as_expected(status, process, *process.communicate(timeout=300))


def run_alone(script: str, *args, status: int = 0) -> subprocess.CompletedProcess:
    """The same in a Python of its own, which starts as it does at a terminal; it imports TensorFlow itself."""
    done = subprocess.run(command(script, *args), capture_output=True, text=True, input="", timeout=300)
    return as_expected(status, done, done.stdout, done.stderr)


def run_python(script, *args, quiet: bool = False) -> Finished:
    """What analysis.benchmarks.processes.run_python does, in a forked process; its memory is that of no machine."""
    began = time.perf_counter()
    done = run(str(script), *args)
    return Finished(done.stdout, time.perf_counter() - began, 100.0)


def as_expected(status: int, process, out: str, err: str) -> subprocess.CompletedProcess:
    """What the process printed; the exit status must be `status`, and no traceback may show."""
    assert "Traceback" not in err, err
    assert process.returncode == status, out + err
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def train(runs_dir, name: str, *args, start=run, **expected) -> subprocess.CompletedProcess:
    """A small run in a process."""
    return start("train_loop.py", *SMALL, "--batch-size", 500, "--runs-dir", runs_dir, "--run", name, *args, **expected)


def wait_for_steps(process, folder: Path, steps: int) -> None:
    """Return once more than `steps` steps of this training are logged and a checkpoint is there."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / logs.STEPS).exists() and (folder / logs.STEPS).read_text().count("\n") > steps:
            if checkpoints.newest_first(folder):
                return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"the run did not get to step {steps}: {process.communicate()}")


def train_here(runs_dir, name: str, *args, data=None, prepare=train_loop.prepare, compiled=train_loop.compiled) -> bool:
    """A small run in this process, on a tenth of shapes10; with --resume, a run that is there.

    Whether it reached its end. data, prepare, compiled: what the run uses instead.
    """
    args = [str(arg) for arg in (*(() if "--resume" in args else (*SMALL, "--batch-size", 50)), *args)]
    invocation = parse(["--runs-dir", str(runs_dir), "--run", name, *args])
    with (
        mock.patch.object(start, "load", lambda *given: data or tenth_of_shapes10()),
        start.start_session(invocation, prepare, compiled) as (training, session),
    ):
        return train_loop.train(training, session)


@functools.cache
def tenth_of_shapes10() -> DataSet:
    """1,000 training images and 200 test images."""
    whole = load("shapes10")
    return dataclasses.replace(
        whole, train_images=whole.train_images[:1000], train_labels=whole.train_labels[:1000],
        test_images=whole.test_images[:200], test_labels=whole.test_labels[:200], fingerprint="a tenth",
    )  # fmt: skip


def assert_same_run(one: Path, other: Path) -> None:
    """The same bytes in every exact file and the same bits in the last checkpoint."""
    for name in EXACT_FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    left, right = checkpoints.newest(one), checkpoints.newest(other)
    assert left.step == right.step and list(left.tensors) == list(right.tensors)
    for name, tensor in left.tensors.items():
        assert tensor.tobytes() == right.tensors[name].tobytes(), name


def forget_run(folder: Path) -> None:
    """Let the checkpoints not know what their run was, as those of an older version."""
    for path in checkpoints.newest_first(folder):
        manifest = json.loads((path / checkpoints.MANIFEST).read_text())
        del manifest["run"]
        (path / checkpoints.MANIFEST).write_text(json.dumps(manifest))


def drop_last_lines(path: Path, count: int) -> None:
    """Remove the last lines of a file, as if they had never reached the disk."""
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-count]))
