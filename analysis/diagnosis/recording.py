"""Recording the fault collection: each run is the real training of train_loop.py, in a process of its own."""

import contextlib
import dataclasses
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from analysis.diagnosis import definitions
from analysis.diagnosis.cases import Case, replaced, with_data
from core.run import logs, run_folder
from core.settings import command_line

PROJECT = Path(__file__).resolve().parents[2]
RECORDINGS = PROJECT / "tests" / "faults"
HELD_OUT_RECORDINGS = PROJECT / "tests" / "held_out_faults"
THIRD_RECORDINGS = PROJECT / "tests" / "third_faults"
RECORDED = (run_folder.CONFIG, *logs.COLUMNS)  # no checkpoints, no figures: small enough to be kept with the code
TRAIN_IMAGES, TEST_IMAGES = 5_000, 2_000  # of CIFAR-10
DENSE_START = 20  # steps whose norms are all measured


SHORT_TRAIN_IMAGES, SHORT_TEST_IMAGES = 3_200, 1_000  # of any data set, for the fault collections


def record(name: str, out: Path, args: list[str], cases: dict[str, Case], short: bool = False) -> None:
    """Train this run of `cases` in this process, with `args` after its own; leave its logs in out/name.

    short: with SHORT_TRAIN_IMAGES of any data set, and half a minute of training.
    """
    case = cases[name]
    with tempfile.TemporaryDirectory() as runs_dir, recorded_conditions(case, short), short_files():
        import train_loop
        from core.run import start

        invocation = command_line.parse([*case.args.split(), *args, "--runs-dir", runs_dir, "--run", name])
        folder = Path(runs_dir) / name
        try:
            with start.start_session(invocation, train_loop.prepare, train_loop.compiled) as (training, session):
                if not train_loop.train(training, session):
                    raise KeyboardInterrupt  # stopped by a signal, and half a run is no recording
        except (
            run_folder.RunError
        ) as error:  # numbers that are no longer finite: the logs up to there are the recording
            if not (folder / logs.STEPS).is_file():
                raise
            print(error)
        (out / name).mkdir(parents=True, exist_ok=True)
        for file in RECORDED:
            shutil.copy(folder / file, out / name / file)
        if short:
            definitions.write(out)
    print(f"recorded {out / name}")


@contextlib.contextmanager
def recorded_conditions(case: Case, short: bool):
    """A context with the fault of this case and the images that it is recorded with."""
    import train_loop  # noqa: F401  here, so that a wrong name is reported before TensorFlow has started

    with contextlib.ExitStack() as contexts:
        contexts.enter_context(with_data(shortened if short else fewer_images))
        if short:
            contexts.enter_context(mock.patch("train_loop.TRAIN_SUBSET", SHORT_TEST_IMAGES))
        contexts.enter_context(case.change())
        yield


def fewer_images(data):
    """CIFAR-10 with its first images only, so that a run takes a minute."""
    return first(data, TRAIN_IMAGES, TEST_IMAGES) if data.name == "cifar10" else data


def shortened(data):
    """Any data set with its first images only, so that a run takes half a minute."""
    return first(data, SHORT_TRAIN_IMAGES, SHORT_TEST_IMAGES)


def first(data, train: int, test: int):
    """The same data set with so many images of each set, the first ones."""
    return dataclasses.replace(
        data, train_images=data.train_images[:train], train_labels=data.train_labels[:train],
        test_images=data.test_images[:test], test_labels=data.test_labels[:test],
    )  # fmt: skip


@contextlib.contextmanager
def short_files():
    """A context that keeps files small: six digits, and every step's norms for the first DENSE_START steps only."""

    def six_digits(written, value):
        return written(value) if isinstance(value, str | int) else f"{float(value):.6g}"

    with (
        replaced("core.run.logs.written", six_digits),
        mock.patch("core.measure.probes.DENSE_START", DENSE_START),
    ):
        yield


FAULTS = Path(__file__).with_name("faults.py")


def record_each(names: list[str], out: Path, args: list[str], script: Path = FAULTS, options: tuple = ()) -> None:
    """Let `script` record them one after the other, each in a process, so that nothing of one reaches the next."""
    for name in names:
        given = [*options, *(["--args", *args] if args else [])]
        if subprocess.run([sys.executable, script, name, "--out", out, *given]).returncode:
            raise run_folder.RunError(f"{name} failed; its own message is above")
