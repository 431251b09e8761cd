"""What a run records: files, numbers that read back exactly, progress, one line for every expected error."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SHORT
from runner import (
    SMALL,
    assert_same_run,
    drop_last_lines,
    run,
    run_alone,
    started,
    tenth_of_shapes10,
    train,
    train_here,
    wait_for_steps,
)

import train_loop
from core import devices, replicas
from core.run import checkpoints, logs, recovery, run_folder, start, terminal, workers
from core.run.session import Session
from core.run.signals import StopRequest
from core.settings.command_line import parse
from core.settings.recipes import RECIPES

tf = devices.import_tensorflow()


def test_what_a_run_leaves(straight):
    steps, epochs = logs.read(straight, logs.STEPS), logs.read(straight, logs.EPOCHS)
    assert steps["step"].tolist() == list(range(1, 61)) and steps["epoch"].tolist() == [1] * 20 + [2] * 20 + [3] * 20
    assert epochs["epoch"].tolist() == [1, 2, 3] and epochs["step"].tolist() == [20, 40, 60]
    assert np.all(np.isfinite(steps["loss"])) and np.all((0 <= steps["accuracy"]) & (steps["accuracy"] <= 1))
    assert steps["loss"][-10:].mean() < steps["loss"][:10].mean() - 0.2, "it learns"
    layers = logs.read(straight, logs.LAYERS)
    measured = layers["quantity"] == b"update_ratio"
    assert layers["layer"][measured][:2].tolist() == [b"conv1", b"dense1"] and layers["step"][0] == 0
    predictions = logs.read(straight, logs.PREDICTIONS)
    assert predictions["count"].reshape(3, 100).sum(axis=1).tolist() == [200] * 3
    right = predictions["count"].reshape(3, 10, 10).trace(axis1=1, axis2=2)
    np.testing.assert_allclose(right / 200, epochs["test_accuracy"])
    assert len(logs.read(straight, logs.TIMING)["step"]) == 60
    config = run_folder.read_config(straight)
    assert config["settings"]["batch_size"] == 50 and config["data"]["title"] == "shapes10"
    assert sum(config["data"]["train_class_counts"]) == 1000 and config["data"]["test_images_in_training"] == 0
    for key in ("tensorflow", "numpy", "python", "threads", "device", "precision", "git_commit", "kernels"):
        assert key in config, key
    assert config["parameter_count"] == 5370 and config["forward_flops_per_image"] > 2 * 226_304
    assert run_folder.find(None, straight.parent) == straight


def test_every_logged_number_reads_back_exactly(straight):
    """The text of a float is the float: written again it is the same text."""
    for line in (straight / logs.STEPS).read_text().splitlines()[1:]:
        for cell in line.split(",")[2:]:
            assert repr(float(cell)) == cell and np.float64(np.float32(cell)) == float(cell)


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path, straight):
    train_here(tmp_path, "again", *SHORT)
    assert_same_run(straight, tmp_path / "again")
    train_here(tmp_path, "other", *SHORT, "--seed", 1)
    assert (straight / logs.STEPS).read_bytes() != (tmp_path / "other" / logs.STEPS).read_bytes()


def test_standard_error_holds_nothing_but_the_bar(tmp_path):
    """TensorFlow's start-up lines are hidden; where standard error is no terminal, so is the bar."""
    assert train(tmp_path, "quiet", "--steps", 3, start=run_alone).stderr == ""


def test_two_processes_in_one_run_folder(straight, capsys):
    with run_folder.held(straight):
        status = train_loop.main(parse(["--runs-dir", str(straight.parent), "--run", "straight", "--resume"]))
    err = capsys.readouterr().err
    assert status == 1 and f"process {os.getpid()} is training in it" in err and err.count("\n") == 1


def test_sigterm_stops_between_two_steps(tmp_path):
    args = ("--batch-size", 50, "--epochs", 200, "--checkpoint-every", 7, "--runs-dir", tmp_path, "--run", "terminated")
    process = started("tests/little_data.py", *SMALL, *args)
    wait_for_steps(process, tmp_path / "terminated", 25)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err == "" and "SIGTERM: stopped after step" in out


def test_a_second_ctrl_c_ends_at_once_with_one_line(tmp_path, capsys):
    """The first one asks the loop to stop after its step, here one that never ends."""

    def prepare(*given):
        training = train_loop.prepare(*given)

        def endless(step):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("the second one raises KeyboardInterrupt")

        training.step = endless
        return training

    with pytest.raises(KeyboardInterrupt) as raised:
        train_here(tmp_path, "twice", "--steps", 3, prepare=prepare)
    message = terminal.one_line(raised.value, parse([]))
    assert message.startswith("stopped at once by a second Ctrl-C") and "\n" not in message


@pytest.mark.parametrize(("seconds", "shown"), [(1e9, [4]), (-1.0, [1, 2, 3, 4])])
def test_long_steps_are_shown_before_fifty_of_them_are_over(tmp_path, monkeypatch, seconds, shown):
    seen = []
    monkeypatch.setattr(logs, "LATE", seconds)
    monkeypatch.setattr(terminal.Progress, "update", lambda self, step, numbers: seen.append(step))
    train_here(tmp_path, "long", "--steps", 4)
    assert seen == shown


@pytest.mark.parametrize(
    "args, sentence",
    [
        (["--run", "straight"], "exists; choose another name"),
        (["--run", "nobody", "--resume"], "nobody: no such run"),
        (["--run", "straight", "--resume", "--seed", "5"], "was started with 0, and a run keeps its settings"),
        (["--run", "straight", "--resume"], "it was trained on other bytes than shapes10 has here; see --data-dir"),
        (["--data", "cifar10", "--data-dir", "/nowhere"], "/nowhere: no such folder"),
        (["--data", "shapes10", "--device", "gpu:7"], "--device gpu:7: TensorFlow finds"),
        (["--data", "shapes10", "--runs-dir", "/dev/null"], "cannot make /dev/null"),
    ],
)
def test_bad_use_gets_one_line(straight, args, sentence, capsys):
    status = train_loop.main(parse(["--runs-dir", str(straight.parent), *args]))
    out, err = capsys.readouterr()
    assert status == 1 and sentence in err and err.count("\n") == 1 and out == ""


def test_a_batch_larger_than_the_data_that_auto_found_is_one_line(tmp_path, small_data, capsys, monkeypatch):
    """With cifar10 it would fit; the data set itself checks again."""
    monkeypatch.setattr("core.run.start.load", lambda *given: small_data)
    assert train_loop.main(parse(["--runs-dir", str(tmp_path), "--batch-size", "201"])) == 1
    err = capsys.readouterr().err
    assert "--batch-size 201: larger than the 200 training images of shapes10" in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [], "no folder is made for it"


def test_a_short_run_on_real_images(tmp_path):
    """A tenth of an epoch of the classic recipe: much better than chance level, on images it was not trained on."""
    from core.data.cifar10 import find_cifar10

    if find_cifar10("") is None:
        pytest.skip("CIFAR-10 is not on this machine")
    run("train_loop.py", "--data", "cifar10", "--steps", 100, "--runs-dir", tmp_path, "--run", "real")
    epochs = logs.read(tmp_path / "real", logs.EPOCHS)
    assert epochs["test_accuracy"][-1] > 0.3 and epochs["test_loss"][-1] < 1.95
    assert run_folder.read_config(tmp_path / "real")["data"]["train_images"] == 50_000


def test_test_time_augmentation_is_an_evaluation_at_the_end(tmp_path, capsys):
    train_here(tmp_path, "augmented", "--steps", 2, "--test-time-augmentation")
    layers = logs.read(tmp_path / "augmented", logs.LAYERS)
    found = layers["quantity"] == b"test_accuracy_tta"
    assert layers["step"][found].tolist() == [2] and layers["layer"][found].tolist() == [b"network"]
    accuracy = layers["value"][found][0]
    assert f"accuracy {terminal.accuracy_with_error(accuracy, 200)}" in capsys.readouterr().out


def test_checkpoints_hold_the_state_by_name(straight):
    found = checkpoints.newest(straight)
    assert found.step == 60
    kinds = {name.rpartition("conv1/kernel")[0] for name in found.tensors if name.endswith("conv1/kernel")}
    assert kinds == {"", "velocity/", "mean/", "last_gradient/"}


def test_checkpoints_are_written_when_asked_for_and_at_the_end_of_an_epoch(tmp_path):
    train_here(tmp_path, "run", "--epochs", 2, "--checkpoint-every", 15)
    assert [path.name for path in checkpoints.newest_first(tmp_path / "run")] == [
        f"step-{step:08d}" for step in (40, 30, 20, 15)
    ]


# ---------------------------------------------------------------------------- what is done after which step


class Measured:
    """Diagnostics that measure norms after steps 1 and 3 and the curvature after step 3."""

    def norms_due(self, step):
        return step in (1, 3)

    def after_step(self, step, metrics):
        return [(step, "network", "curvature", float(metrics["loss"]))] if step == 3 else []

    def at_start(self):
        return [(0, "conv1", "sparsity", 0.5)]

    def at_evaluation(self, step):
        return [(step, "conv1", "sparsity", 0.25)]


def session_in(folder, first: int = 0, stop_at: int = 0, stop=None, **settings) -> Session:
    """The session of a run of 250 steps: epochs of 60, evaluated every 40 steps, continued after `first`."""
    given = {"tensorboard": False, "batch_size": 10, "checkpoint_every": 0, "keep_checkpoints": 2} | settings
    training = SimpleNamespace(
        settings=SimpleNamespace(**given),
        batches=SimpleNamespace(epoch=lambda step: (step + 59) // 60),
        layer_probe=SimpleNamespace(names=["conv1"]),
        data=tenth_of_shapes10(),
        total_steps=250,
        ends_epoch=lambda step: step > 0 and (step % 60 == 0 or step == 250),
        evaluates_after=lambda step: step > 0 and (step % 60 == 0 or step == 250 or step % 40 == 0),
        state={"conv1/kernel": tf.Variable([1.0, 2.0])},
    )
    run_folder.write_config(folder, {"settings": {"seed": 3}, "data": {"title": "a tenth"}})
    return Session(training, folder, Measured(), stop or StopRequest(), first, stop_at)


def numbers(loss=2.0) -> dict:
    return {"loss": loss, "accuracy": 0.5, "learning_rate": 0.1, "gradient_norm": 1.0}


def norms(value=1.5) -> dict:
    return {"weight_norm": tf.constant([value])}


@pytest.fixture
def now(monkeypatch):
    """The time, as the only item of a list; it passes when a test says so."""
    seconds = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: seconds[0])
    return seconds


@pytest.mark.parametrize("first", [0, 240, 249, 250])
def test_the_steps_of_a_session(tmp_path, now, first):
    """From the one after the last that was taken; only a new run has a row of the untrained network."""
    session = session_in(tmp_path, first)
    now[0] = 130.0
    assert list(session.steps()) == list(range(first + 1, 251)) and session.step == 250
    assert session.recorder.previous == 130.0, "what came before the first step is not part of it"
    session.log.flush()
    assert logs.read(tmp_path, logs.LAYERS)["step"].tolist() == ([0] if first == 0 else [])


def test_no_step_is_taken_after_the_one_that_is_stopped_at(tmp_path):
    session, taken = session_in(tmp_path, stop_at=3), []
    for step in session.steps():
        taken.append(step)
        session.record(step, numbers(), norms())
    assert taken == [1, 2, 3] and session.stopping == "--stop-at 3"


def test_a_signal_is_the_reason_even_at_the_last_step_of_stop_at(tmp_path):
    stop = StopRequest()
    session = session_in(tmp_path, stop_at=2, stop=stop)
    session.record(1, numbers(), norms())
    assert session.stopping is None
    stop.signal = "SIGTERM"
    session.record(2, numbers(), norms())
    assert session.stopping == "SIGTERM"


def test_a_step_is_logged_with_what_is_measured_after_it(tmp_path):
    session = session_in(tmp_path, stop_at=4)
    for step in (1, 2, 3, 4):
        session.record(step, numbers(loss=float(step)), norms(step + 0.5))
    layers = logs.read(tmp_path, logs.LAYERS)
    assert layers["quantity"].tolist() == [b"weight_norm", b"weight_norm", b"curvature"]
    assert layers["step"].tolist() == [1, 3, 3] and layers["value"].tolist() == [1.5, 3.5, 3.0]
    assert logs.read(tmp_path, logs.STEPS)["loss"].tolist() == [1, 2, 3, 4]


def test_rows_are_on_the_disk_before_a_checkpoint_refers_to_them(tmp_path, monkeypatch):
    """Elsewhere a wait for the disk would only cost time."""
    flushed = []
    session = session_in(tmp_path, checkpoint_every=30)
    monkeypatch.setattr(session.log, "flush", lambda to_disk=False: flushed.append((session.step, to_disk)))
    for session.step in range(1, 61):
        session.record(session.step, numbers(), {})
    assert flushed == [(30, True), (40, False), (50, False), (60, True)]


def test_a_loss_that_is_not_finite_ends_the_run_before_anything_is_saved(tmp_path, monkeypatch):
    session = session_in(tmp_path)
    monkeypatch.setattr(recovery, "why_not_finite", lambda training, folder, step: f"lost at step {step} of {folder}")
    for step in range(1, 40):
        session.record(step, numbers(loss=np.nan if step >= 7 else 2.0), {})
    with pytest.raises(run_folder.RunError, match=f"^lost at step 7 of {tmp_path}$"):
        session.record(40, numbers(), {})
    assert all(file.closed for file in session.log.files.values()) and not checkpoints.newest_first(tmp_path)
    assert logs.read(tmp_path, logs.STEPS)["step"].tolist() == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    "steps, every, save, flush",
    [
        ((1, 25, 49, 51, 241), 0, False, False),
        ((50, 100, 200), 0, False, True),  # FLUSH_EVERY
        ((40, 80, 160), 0, False, True),  # an evaluation
        ((60, 120, 240, 250), 0, True, True),  # the end of an epoch, of the run
        ((7, 14, 21, 70), 7, True, True),
        ((6, 8, 15), 7, False, False),
    ],
)
def test_when_a_checkpoint_is_written_and_when_rows_are(tmp_path, steps, every, save, flush):
    session = session_in(tmp_path, checkpoint_every=every)
    assert [session.save_due(step) for step in steps] == [save] * len(steps)
    assert [bool(session.flush_due(step)) for step in steps] == [flush] * len(steps)
    session.stopping = "Ctrl-C"
    assert all(session.save_due(step) and session.flush_due(step) for step in steps), "the last step is saved"


@pytest.mark.parametrize("connected", [False, True])
def test_who_watches_one_process_is_not_kept_waiting(tmp_path, monkeypatch, connected):
    """Several processes flush together, and their times differ."""
    session = session_in(tmp_path)
    monkeypatch.setattr(session.recorder, "overdue", lambda: True)
    monkeypatch.setattr(replicas, "connected", connected)
    assert session.flush_due(3) is not connected and session.flush_due(60)


def test_a_checkpoint_is_written_where_one_is_due(tmp_path, now):
    session = session_in(tmp_path, checkpoint_every=10)
    for step in range(1, 31):
        session.training.state["conv1/kernel"].assign([step, 2.0])
        now[0] += 1
        session.save_if_due(step)
    found = checkpoints.newest_first(tmp_path)
    assert [path.name for path in found] == ["step-00000030", "step-00000020"], "keep_checkpoints is 2"
    assert checkpoints.newest(tmp_path).tensors["conv1/kernel"].tolist() == [30, 2]
    assert checkpoints.newest(tmp_path).run["seed"] == 3
    now[0] = 200.0
    session.save_if_due(31)
    assert session.recorder.previous == session.progress.seconds == 130.0, "a save is not part of the next step"


@pytest.mark.parametrize(
    "step, stopping, by_signal, due",
    [
        (60, None, None, True),
        (40, None, None, True),
        (59, None, None, False),
        (60, "--stop-at 60", None, True),
        (60, "Ctrl-C", "Ctrl-C", False),
        (60, None, "Ctrl-C", True),  # it came after the step: the next one is the last
    ],
)
def test_a_signal_does_not_wait_for_an_evaluation(tmp_path, step, stopping, by_signal, due):
    session = session_in(tmp_path)
    session.stopping, session.stop.signal = stopping, by_signal
    assert session.evaluation_due(step) is due


EVALUATED = SimpleNamespace(loss=1.25, accuracy=0.5, calibration_error=0.125, confusion=np.full((10, 10), 2))


@pytest.mark.parametrize("first, missing", [(0, False), (59, False), (60, False), (80, True), (120, True)])
def test_an_evaluation_is_missing_where_one_was_due_and_has_no_row(tmp_path, first, missing):
    log = logs.Logs(tmp_path)
    log.evaluations(1, 60, EVALUATED, EVALUATED)
    log.close()
    assert session_in(tmp_path, first).evaluation_missing() is missing


def test_the_board_receives_every_row_and_every_evaluation(tmp_path, monkeypatch):
    received = []
    board = SimpleNamespace(row=lambda name, row: received.append(name), after_evaluation=received.append)
    monkeypatch.setattr("core.run.session.Board", lambda folder, training, fresh: board)
    session = session_in(tmp_path, tensorboard=True)
    session.record(60, numbers(), {})
    session.record_evaluation(60, EVALUATED, EVALUATED)
    assert received == [logs.STEPS, logs.TIMING, logs.LAYERS, logs.EPOCHS, *[logs.PREDICTIONS] * 100, 60]
    assert session_in(tmp_path, 60).board is None


@pytest.mark.parametrize("step, when", [(60, "epoch   1   loss"), (80, "step   80   loss"), (250, "step  250   loss")])
@pytest.mark.parametrize("augmented", [None, SimpleNamespace(accuracy=0.75)])
def test_an_evaluation_is_logged_shown_and_timed(tmp_path, now, monkeypatch, capsys, step, when, augmented):
    """Its rows are on the disk: what the terminal says can be read in the files."""
    session, synced = session_in(tmp_path), []
    monkeypatch.setattr(os, "fsync", synced.append)
    now[0] = 110.0
    session.record(step, numbers(), {})
    now[0] = 117.0
    synced.clear()
    session.record_evaluation(step, EVALUATED, EVALUATED, augmented)
    assert len(synced) == len(logs.COLUMNS)
    assert logs.read(tmp_path, logs.EPOCHS)["step"].tolist() == [step]
    assert logs.read(tmp_path, logs.EPOCHS)["epoch"].tolist() == [(step + 59) // 60]
    layers = logs.read(tmp_path, logs.LAYERS)
    tta = [(b"network", b"test_accuracy_tta", 0.75)] if augmented else []
    rows = list(zip(*(layers[name].tolist() for name in ("layer", "quantity", "value"))))
    assert rows == [(b"conv1", b"sparsity", 0.25), *tta] and set(layers["step"].tolist()) == {step}
    out = capsys.readouterr().out
    assert out.startswith(when) and ("test-time augmentation" in out) is bool(augmented)
    assert session.evaluation_times == [7.0] and session.recorder.previous == session.progress.seconds == 117.0


@pytest.mark.parametrize(
    "step, evaluated, stop_at, stopping, connected, status, line",
    [
        (250, True, 0, None, None, True, ("finished", 30.0, [3.0])),
        (250, False, 0, "Ctrl-C", None, False, ("interrupted", 250, 250, "Ctrl-C", False)),
        (70, False, 0, "SIGTERM", True, False, ("interrupted", 70, 250, "SIGTERM", True)),
        (70, False, 70, "--stop-at 70", None, True, ("interrupted", 70, 250, "--stop-at 70", False)),
        (70, False, 71, None, None, False, ("interrupted", 70, 250, "stopped", False)),
    ],
)
def test_the_end_of_a_session(tmp_path, now, monkeypatch, step, evaluated, stop_at, stopping, connected, status, line):
    """True if the run is complete, or ends where it was to be stopped."""
    session, said = session_in(tmp_path, stop_at=stop_at), []
    session.step, session.stopping, session.evaluation_times = step, stopping, [3.0]
    session.progress = SimpleNamespace(close=lambda: said.append("bar closed"))
    session.board = SimpleNamespace(close=lambda: said.append("board closed"))
    if evaluated:
        session.log.evaluations(5, 250, EVALUATED, EVALUATED)
    monkeypatch.setattr(terminal, "finished", lambda folder, data, diagnostics, first, seconds, times: said.append(
        ("finished", seconds, times)))  # fmt: skip
    monkeypatch.setattr(terminal, "interrupted", lambda folder, step, total, reason, workers: said.append(
        ("interrupted", step, total, reason, workers)))  # fmt: skip
    monkeypatch.setattr(replicas, "connected", connected)
    now[0] = 130.0
    assert session.close() is status
    assert said == ["bar closed", "board closed", line] and all(file.closed for file in session.log.files.values())


# ---------------------------------------------------------------------------- before the first step


def test_what_is_agreed_on_locked_and_noted_before_the_first_step(tmp_path, monkeypatch, capsys):
    agreed, placed = [], []

    @contextlib.contextmanager
    def placed_on(count, device):
        placed.append((count, device))
        yield
        placed.clear()

    def prepare(*given):
        assert placed == [(1, "/CPU:0")], "the variables belong to the device"
        return train_loop.prepare(*given)

    monkeypatch.setattr(start, "load", lambda *given: tenth_of_shapes10())
    monkeypatch.setattr(workers, "check_same", agreed.append)
    monkeypatch.setattr(replicas, "placed_on", placed_on)
    monkeypatch.setenv("GLASSBOX_RUN_FILE", str(tmp_path / "note"))
    data = {"data": f"shapes10 {tenth_of_shapes10().fingerprint}"}
    for number, args in enumerate([(*SMALL, "--device", "cpu", "--batch-size", 50), ("--resume", "--stop-at", 9)]):
        invocation = parse([str(arg) for arg in ("--runs-dir", tmp_path / "runs", "--run", "one", *args)])
        with start.start_session(invocation, prepare, train_loop.compiled) as (training, session):
            assert session.folder == tmp_path / "runs" / "one" == run_folder.find(None, tmp_path / "runs")
            assert session.training is training and session.stop_at == [0, 9][number]
            assert Path(os.environ["GLASSBOX_RUN_FILE"]).read_text() == str(session.folder)
            assert signal.getsignal(signal.SIGTERM) == session.stop.note and type(session.stop) is StopRequest
            with pytest.raises(run_folder.RunError, match="is training in it"), run_folder.held(session.folder):
                pass
            assert "\nsteps    1 to 20, 50 images each\n" in capsys.readouterr().out, "the opening lines"
        assert placed == [] and agreed == [[data], [data, {"step of the checkpoint": "0"}]][number]
        agreed.clear()
        with run_folder.held(session.folder):
            pass


def test_a_name_that_is_taken_is_refused_before_the_data_are_read(straight, monkeypatch):
    monkeypatch.setattr(start, "load", lambda *given: pytest.fail("that takes a while"))
    invocation = parse(["--runs-dir", str(straight.parent), "--run", "straight"])
    with pytest.raises(run_folder.RunError, match="exists"):
        with start.start_session(invocation, train_loop.prepare, train_loop.compiled):
            pass


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize(("eager", "pdb"), [(False, False), (True, False), (False, True)])
def test_auto_is_resolved(monkeypatch, connected, eager, pdb):
    """Several processes have configured TensorFlow when they connected."""
    configured, asked = [], []
    monkeypatch.setattr(devices, "choose_kernels", lambda settings: "textbook" if settings.eager else "fast")
    monkeypatch.setattr(devices, "choose_micro_batches", lambda settings: 4)
    monkeypatch.setattr(devices, "configure", lambda *given: configured.append(given))
    monkeypatch.setattr(devices, "choose", lambda *given: asked.append(given) or ("/CPU:0", "a processor"))
    monkeypatch.setattr(devices, "choose_precision", lambda wanted, device: ("bfloat16", f"{wanted} on {device}"))
    monkeypatch.setattr(replicas, "connected", connected)
    settings = dataclasses.replace(RECIPES["classic"], eager=eager, devices=2, threads=3)
    found, device, name, reason = start.resolved(settings, pdb)
    kernels = "textbook" if eager or pdb else "fast"
    assert found == dataclasses.replace(
        settings, eager=eager or pdb, kernels=kernels, micro_batches=4, precision="bfloat16"
    )
    assert (device, reason) == ("/CPU:0", "auto on /CPU:0")
    if connected:
        assert name == "2 replicas on several workers, the first on a processor" and configured == []
        assert asked == [("auto",)]
    else:
        assert name == "a processor" and configured == [(3, 4, 2)] and asked == [("auto", 2)]


@pytest.mark.parametrize(
    "budget, costs, intervals", [(0.0, None, {"norms": 7}), (10.0, {"norms": 0.5, "curvature": 4.0}, {"norms": 10,
                                                                                                   "curvature": 100})]
)  # fmt: skip
def test_what_decides_the_bits_is_in_config_json(tmp_path, now, monkeypatch, small_data, budget, costs, intervals):
    """Intervals that are chosen for a budget come from measured costs: here a step takes a second."""
    diagnostics = SimpleNamespace(intervals={"norms": 7}, measured_costs=lambda compiled: (costs, 1.0))
    diagnostics.set_intervals = lambda chosen: setattr(diagnostics, "intervals", chosen)
    images, labels = tf.constant(small_data.train_images), tf.constant(small_data.train_labels)

    def augment():
        pass

    network = SimpleNamespace(
        parameter_count=12, flops=lambda: 34, architecture=[], replaced={}, kernel_milliseconds={}
    )  # fmt: skip
    training = SimpleNamespace(
        settings=dataclasses.replace(RECIPES["debug"], diagnostics_budget=budget, threads=3), data=small_data,
        batches=SimpleNamespace(images=[images], labels=labels, augmentation=augment, steps_per_epoch=20),
        network=network, total_steps=60,
    )  # fmt: skip
    invocation = SimpleNamespace(command=("--run", "a\nb"), began=93.0)
    start.write_config(tmp_path, training, diagnostics, None, "a processor", "a reason", invocation)
    config = json.loads((tmp_path / run_folder.CONFIG).read_text())
    facts = {
        "command": ["--run", "'a\\nb'"], "setup_seconds": 7.0, "device": "a processor", "precision_reason": "a reason",
        "augmentation": "augment", "steps_per_epoch": 20, "total_steps": 60, "parameter_count": 12, "threads": 3,
        "diagnostics": {"intervals": intervals, "cost_seconds": costs}, "numpy": np.__version__,
    }  # fmt: skip
    assert config == config | facts
    assert config["data"]["train_class_counts"] == [20] * 10 and config["data"]["test_class_counts"] == [10] * 10


def resumed(folder, monkeypatch, step: int, devices: int = 1, epochs: int = 3):
    """Resume a run whose newest checkpoint is of this step; returns the intervals that were set."""
    intervals = []
    monkeypatch.setattr(recovery, "restore_newest", lambda training, folder: step)
    settings = dataclasses.replace(RECIPES["debug"], threads=1, devices=devices, epochs=epochs)
    training = SimpleNamespace(
        data=tenth_of_shapes10(), settings=settings, layer_probe=SimpleNamespace(names=["conv1", "dense1"]),
        total_steps=20 * epochs,
    )  # fmt: skip
    diagnostics = SimpleNamespace(
        set_intervals=intervals.append, evaluation_quantities=lambda step: ("traces", "evaluation_disagreement")
    )
    assert start.resume(training, diagnostics, folder, "the CPU") == step
    return intervals


@pytest.fixture
def copied(tmp_path, straight):
    """A copy of the run of three epochs."""
    return Path(shutil.copytree(straight, tmp_path / "copied"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("the CPU", "CPU"), ("the CPU (no GPU found)", "CPU"), ("2 parts of the CPU, a rehearsal for 2 GPUs", "CPU"),
        ("2 replicas on several workers, the first on the CPU", "CPU"), ("H100", "H100"),
        ("2 replicas on several workers, the first on H100", "H100"),
    ],
)  # fmt: skip
def test_which_device_decides_the_bits(name, kind):
    """How the work is divided among processors does not; which processor it is stands in its own name."""
    assert start.kind_of(name) == kind


def rows_of(folder, name: str, step: int) -> int:
    return int((logs.read(folder, name)["step"] == step).sum())


def test_a_resume_goes_on_behind_the_rows_of_its_checkpoint(copied, monkeypatch, capsys):
    of_evaluation = rows_of(copied, logs.LAYERS, 40)
    config = run_folder.read_config(copied)
    assert resumed(copied, monkeypatch, 40) == [config["diagnostics"]["intervals"]]
    assert logs.read(copied, logs.STEPS)["step"].tolist() == list(range(1, 41))
    assert logs.read(copied, logs.EPOCHS)["step"].tolist() == [20, 40]
    assert rows_of(copied, logs.PREDICTIONS, 40) == 100 and rows_of(copied, logs.LAYERS, 40) == of_evaluation
    assert capsys.readouterr().out == "", "nothing is different here"


def test_an_evaluation_that_was_cut_short_leaves_no_row(copied, monkeypatch):
    drop_last_lines(copied / logs.EPOCHS, 2)
    resumed(copied, monkeypatch, 40)
    assert rows_of(copied, logs.PREDICTIONS, 40) == 0 and rows_of(copied, logs.PREDICTIONS, 20) == 100
    layers = logs.read(copied, logs.LAYERS)
    left = set(layers["quantity"][layers["step"] == 40].tolist())
    assert b"update_ratio" in left and b"evaluation_disagreement" not in left


def test_a_run_that_starts_again_has_no_row(copied, monkeypatch):
    """Not even that of the untrained network, which is measured again."""
    resumed(copied, monkeypatch, 0)
    assert [len(logs.read(copied, name)["step"]) for name in logs.COLUMNS] == [0] * len(logs.COLUMNS)


def test_a_run_that_was_killed_before_its_first_row_starts_again(copied, monkeypatch):
    for name in logs.COLUMNS:
        (copied / name).unlink()
    resumed(copied, monkeypatch, 0)


def test_a_run_that_lost_a_row_is_not_continued(copied, monkeypatch):
    lines = (copied / logs.STEPS).read_text().splitlines(keepends=True)
    (copied / logs.STEPS).write_text("".join(lines[:30] + lines[31:]))
    with pytest.raises(logs.LogError, match=r"steps.csv: step 30 is missing"):
        resumed(copied, monkeypatch, 40)


@pytest.mark.parametrize(
    ("name", "wanted", "sentence"),
    [
        (logs.PREDICTIONS, "40,7,3,", "predictions.csv: step 40 has 99 of 100 rows; restore the file, or train again"),
        (logs.LAYERS, "30,conv1,gradient_norm,", "layers.csv: step 30 has 1 of 2 rows of gradient_norm; restore the"),
    ],
)
def test_a_run_that_lost_one_of_several_rows_of_a_step_is_not_continued(copied, monkeypatch, name, wanted, sentence):
    lines = (copied / name).read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(wanted)]
    assert len(kept) == len(lines) - 1
    (copied / name).write_text("".join(kept))
    with pytest.raises(logs.LogError, match=re.escape(sentence)):
        resumed(copied, monkeypatch, 40)
    resumed(copied, monkeypatch, 20)  # what comes after the checkpoint is written again


def test_more_epochs_are_the_runs_own_from_then_on(copied, monkeypatch):
    before = run_folder.read_config(copied)
    resumed(copied, monkeypatch, 40, epochs=5)
    after = run_folder.read_config(copied)
    assert (before["settings"]["epochs"], before["total_steps"]) == (3, 60)
    assert after == before | {"settings": before["settings"] | {"epochs": 5}, "total_steps": 100}


def test_a_resume_on_more_devices_says_that_bits_will_differ(copied, monkeypatch, capsys):
    resumed(copied, monkeypatch, 40, devices=2)
    assert capsys.readouterr().out == "other last bits from here on: the run was begun with devices 1 (now 2)\n"
