"""What a run records: files, numbers that read back exactly, progress, one line for every expected error."""

import os
import signal

import numpy as np
import pytest
from conftest import SHORT
from runner import SMALL, assert_same_run, run, run_alone, started, train, train_here, wait_for_steps

import train_loop
from core.run import checkpoints, logs, run_folder, terminal
from core.settings.command_line import parse


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
    assert os.path.realpath(straight.parent / "latest").startswith(str(straight.parent))


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
