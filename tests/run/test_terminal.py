"""What the terminal shows: sentences for made-up runs, the bar's numbers, one line for every expected error."""

import errno
import io
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from core.measure.evaluation import Evaluation
from core.run import checkpoints, logs, run_folder, terminal
from core.run.errors import OutputError
from core.settings.command_line import parse
from core.settings.settings import Settings


@pytest.fixture
def timer(monkeypatch):
    """What time.perf_counter returns, set by a test: timer.now, in seconds."""
    timer = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time, "perf_counter", lambda: timer.now)
    return timer


def test_a_banner_is_a_sentence_between_two_rules(capsys):
    terminal.banner("a sentence")
    assert capsys.readouterr().out.splitlines() == ["=" * 88, "a sentence", "=" * 88]


def test_a_worker_that_leaves_the_terminal_to_worker_0_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "silent", True)
    terminal.say("a line")
    assert terminal.Progress(0, 10, 5).bar.disable and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("encoding", "written"), [("ascii", b"76.1 % \\xb1 0.4\n"), ("utf-8", "76.1 % ± 0.4\n".encode())]
)
def test_a_terminal_that_knows_no_plus_minus_gets_its_escape(monkeypatch, encoding, written):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    monkeypatch.setattr(terminal.sys, "stdout", out)
    terminal.say("76.1 % ± 0.4")
    assert out.buffer.getvalue() == written, "and it is there at once"


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC])
def test_an_output_that_takes_no_line_is_one_line(monkeypatch, number):
    """`| head -1`, or a disk that is full; it is not the run's folder that is full."""

    class Refusing(io.StringIO):
        def write(self, text):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(terminal.sys, "stdout", Refusing())
    with pytest.raises(OutputError) as refused:
        terminal.say("a line")
    message = terminal.one_line(refused.value, parse([]))
    assert message == f"standard output: {os.strerror(number)}; what was saved before is undamaged, see --resume"


def test_an_output_that_was_closed_before_the_start_is_left_alone(monkeypatch):
    monkeypatch.setattr(terminal.sys, "stdout", None)
    terminal.say("a line")


def test_the_bar_counts_steps_and_shows_images_a_second(monkeypatch, timer):
    monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True, raising=False)
    progress = terminal.Progress(start=20, total=100, batch_size=50)
    shown = []
    monkeypatch.setattr(progress.bar, "set_postfix_str", lambda text, refresh: shown.append(text))
    progress.bar.disable = False
    timer.now += 4.0
    progress.update(60, {"loss": 1.23456, "accuracy": 0.456})  # 40 steps of 50 images in 4 seconds
    timer.now += 100.0
    progress.restart_timer()  # an evaluation
    timer.now += 1.0
    progress.update(80, {"loss": 1.0, "accuracy": 0.5})
    assert shown == ["loss 1.235, accuracy 46 %, 500 images/s", "loss 1.000, accuracy 50 %, 1,000 images/s"]
    assert (progress.bar.initial, progress.bar.total, progress.bar.n) == (20, 100, 80)
    progress.update(90, {"loss": 1.0, "accuracy": 0.5})  # no time has passed: no division by zero
    progress.close()
    assert progress.bar.disable


def opened(capsys, start=0, notice="", holdout=False, **settings) -> str:
    """What `opening` prints of a made-up training."""
    data = SimpleNamespace(
        title="shapes10", notice=notice, holdout=holdout, train_images=[0] * 10_000, test_images=[0] * 2_000
    )
    training = SimpleNamespace(
        settings=Settings(precision="bfloat16", **settings), data=data, total_steps=7_000,
        network=SimpleNamespace(summary=lambda: "the table of the network"),
    )  # fmt: skip
    terminal.opening(Path("runs/it"), training, "the CPU", start)
    return capsys.readouterr().out


def test_the_opening_lines(capsys):
    assert opened(capsys, kernels="fast").splitlines() == [
        "the table of the network", "",
        "data     shapes10: 10,000 training and 2,000 test images",
        "device   the CPU, bfloat16, fast kernels",
        "run      runs/it/",
        "steps    1 to 7,000, 100 images each", "",
    ]  # fmt: skip
    assert "data     shapes10: 10,000 training and 2,000 hold-out images" in opened(capsys, holdout=True)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"kernels": "textbook"}, "the CPU, bfloat16, textbook kernels\n"),
        ({"kernels": "auto", "micro_batches": 1}, "the CPU, bfloat16, fast kernels\n"),
        ({"micro_batches": 2}, "the CPU, bfloat16, fast kernels, 2 micro-batches\n"),
        ({"kernels": "textbook", "eager": True}, "the CPU, bfloat16, textbook kernels, eager\n"),
        ({"start": 6_998}, "steps    6,999 to 7,000, 100 images each (resumed after step 6,998)\n"),
        ({"start": 7_000}, "steps    none left, 100 images each (resumed after step 7,000)\n"),
    ],
)
def test_the_opening_says_how_and_from_where(capsys, settings, line):
    assert line in opened(capsys, **settings)


def test_other_data_than_cifar10_is_announced(capsys):
    rule, title, why, _, *_ = opened(capsys, notice="CIFAR-10 is not here.").splitlines()
    assert rule == "=" * 88 and title == "NOT CIFAR-10: training on shapes10, ten classes of drawn shapes."
    assert why == "CIFAR-10 is not here."


def test_the_closing_lines(straight, capsys):
    """`straight`: 60 steps, three evaluations, 200 test images (tests/conftest.py)."""
    data = SimpleNamespace(holdout=False, title="shapes10", test_images=[0] * 200, class_names=["a"] * 10)
    training = SimpleNamespace(data=data, settings=SimpleNamespace(steps=0))
    diagnostics = SimpleNamespace(report=lambda seconds: f"of {seconds:.6f} s")
    terminal.finished(straight, training, diagnostics, 20, 12.4, [1.25, 0.25])
    out = capsys.readouterr().out
    epochs, timing = logs.read(straight, logs.EPOCHS), logs.read(straight, logs.TIMING)
    train, test = epochs["train_accuracy"][-1], epochs["test_accuracy"][-1]
    lines = out.splitlines()
    assert lines[1] == (
        f"test accuracy {terminal.accuracy_with_error(test, 200)} (shapes10, 200 images), train {100 * train:.1f} %, "
        "12 s since it was resumed"
    )
    assert lines[3] == "evaluation   1.5 s for 2 on 200 test images and training images"
    assert lines[4] == f"diagnostics  of {timing['step_seconds'][20:].sum():.6f} s", "the steps of this process"
    assert lines[5] == f"next         {terminal.advice(train, test, 200, 10)}"
    terminal.finished(straight, training, diagnostics, 0, 12.4, [1.25, 0.25])
    assert capsys.readouterr().out.splitlines()[1].endswith("%, 12 s in all")
    assert lines[6] == f"             python analysis/curves.py {straight}; python analysis/diagnose.py {straight}"


def test_the_line_of_test_time_augmentation(capsys):
    terminal.augmented_line(SimpleNamespace(test_images=[0] * 10_000), Evaluation(1.0, 0.761, 0.1, None))
    assert capsys.readouterr().out.endswith("six views of each image: accuracy 76.1 % ± 0.4\n")


def test_the_command_that_continues(capsys, monkeypatch):
    folder = Path("runs/it")
    terminal.interrupted(folder, 7, 10, "SIGTERM")
    terminal.interrupted(folder, 7, 10, "SIGTERM", workers=True)
    monkeypatch.setenv("GLASSBOX_LAUNCHER", "core/run/launch.py --workers 2")
    terminal.interrupted(folder, 7, 10, "SIGTERM", workers=True)
    alone, by_hand, launched = re.split(r"^\n|\n\n", capsys.readouterr().out.strip())
    stopped = "SIGTERM: stopped after step 7 of 10, everything saved. To continue"
    assert alone == f"{stopped}:\n    python train_loop.py --run it --resume"
    assert by_hand == f"{stopped}, start every worker with:\n    python train_loop.py --run it --resume"
    assert launched == f"{stopped}:\n    python core/run/launch.py --workers 2 --run it --resume"


def test_accuracy_with_its_standard_error():
    assert terminal.accuracy_with_error(0.761, 10_000) == "76.1 % ± 0.4"  # sqrt(0.761 * 0.239 / 10000) = 0.43 %
    assert terminal.accuracy_with_error(1.0, 100) == "100.0 % ± 0.0"


@pytest.mark.parametrize(
    ("train_accuracy", "test_accuracy", "images", "sentence"),
    [
        (0.10, 0.10, 10_000, "nothing was learned; the diagnosis names the likely cause"),
        (0.12, 0.1089, 10_000, "nothing was learned"),  # chance level + 3 * 0.3 points
        (0.12, 0.1091, 10_000, "close"),
        (0.99, 0.11, 100, "nothing was learned"),  # 100 images: 3 * 3 points
        (0.95, 0.70, 10_000, "25 points above test: overfitting"),
        (1.00, 0.20, 10_000, "80 points above test: overfitting"),
        (0.60, 0.59, 10_000, "train and test accuracy are close"),
        (0.60, 0.5699, 10_000, "change one thing"),  # 3.01 points
        (0.60, 0.5701, 10_000, "close"),  # 2.99 points
        (0.80, 0.6999, 10_000, "overfitting"),  # 10.01 points
        (0.80, 0.7001, 10_000, "change one thing"),  # 9.99 points
        (0.949, 0.93, 10_000, "close"),
        (0.951, 0.93, 10_000, "change one thing"),
        (0.99, 0.98, 10_000, "change one thing"),
        (0.80, 0.75, 10_000, "change one thing"),
    ],
)
def test_the_advice_fits_the_two_accuracies(train_accuracy, test_accuracy, images, sentence):
    assert sentence in terminal.advice(train_accuracy, test_accuracy, images, 10)


def test_the_advice_names_the_option_that_has_an_effect(straight, capsys):
    """With --steps, --epochs has none."""
    assert "try more --epochs, or" in terminal.advice(0.6, 0.6, 10_000, 10)
    data = SimpleNamespace(holdout=False, title="shapes10", test_images=[0] * 200, class_names=["a"] * 2)
    training = SimpleNamespace(data=data, settings=SimpleNamespace(steps=60))
    close = {"train_accuracy": [0.8], "test_accuracy": [0.8]}
    timing = {"step": np.array([1]), "step_seconds": np.array([0.1])}
    with mock.patch.object(terminal.logs, "read", lambda folder, name: close if name == logs.EPOCHS else timing):
        terminal.finished(straight, training, SimpleNamespace(report=lambda seconds: ""), 0, 1.0, [1.0])
    assert "try more --steps, or a larger network" in capsys.readouterr().out


def test_the_line_of_an_evaluation(capsys):
    data = SimpleNamespace(holdout=False)
    train_evaluation = Evaluation(1.5, 0.5, 0.1, np.eye(10, dtype=int))
    terminal.evaluation_line("epoch   3", data, train_evaluation, Evaluation(1.625, 0.4, 0.1, np.eye(10, dtype=int)))
    terminal.evaluation_line("epoch   3", SimpleNamespace(holdout=True), train_evaluation, train_evaluation)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "epoch   3   loss: train 1.500, test 1.625   accuracy: train  50.0 %, test  40.0 %"
    assert "hold-out 1.500" in second and "test" not in second


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (run_folder.RunError("that run"), "that run"),
        (logs.LogError("that line"), "that line"),
        (MemoryError(), "out of memory with --batch-size 100: try half of it"),
        (OSError(28, "No space left on device", "runs/x/steps.csv"), "runs/x/steps.csv: No space left on device; what"),
        (checkpoints.CheckpointError("that tensor"), "that tensor"),
        (KeyboardInterrupt(), "stopped at once by a second Ctrl-C; what was saved before is undamaged, see --resume"),
        (type("ResourceExhaustedError", (Exception,), {})(), "out of memory with --batch-size 100: try half of it"),
        (OSError("the disk is gone"), "runs: the disk is gone; what was saved before is undamaged, see --resume"),
        (ValueError("network 'plain': expected"), "the network cannot be built: network 'plain': expected"),
        (ValueError("layer 'conv1': expected"), "the network cannot be built: layer 'conv1': expected"),
        (ValueError("something else"), None),
        (TypeError("a mistake of this project"), None),
    ],
)
def test_expected_errors_are_one_line_and_mistakes_are_shown_whole(error, sentence):
    found = terminal.one_line(error, parse([]))
    assert found is None if sentence is None else found.startswith(sentence)


def test_a_resume_that_is_out_of_memory_keeps_its_batch():
    found = terminal.one_line(MemoryError(), parse(["--resume"]))
    assert found == "out of memory: close other programs, or train again with a smaller --batch-size"


def test_the_command_that_continues_is_quoted(tmp_path, capsys):
    folder = tmp_path / "with a space" / "it"
    terminal.interrupted(folder, 1_234, 5_000, "Ctrl-C")
    out = capsys.readouterr().out
    assert "Ctrl-C: stopped after step 1,234 of 5,000, everything saved" in out
    assert f"python train_loop.py --run it --resume --runs-dir '{folder.parent}'" in out
