"""A run that was stopped, killed or damaged and then continued is the run that nobody stopped, byte for byte."""

import os
import shutil
import signal

import numpy as np
import pytest
from conftest import SHORT
from runner import SMALL, assert_same_run, drop_last_lines, run, started, train_here, wait_for_steps

import train_loop
from core.run import checkpoints, logs, run_folder


def test_nine_epochs_with_interruptions_are_nine_epochs(tmp_path):
    """Stopped mid-epoch by Ctrl-C, at an epoch's end, and by SIGKILL, each time in a process of its own."""
    small = (*SMALL, "--batch-size", 50, "--epochs", 9, "--checkpoint-every", 13, "--runs-dir", tmp_path, "--run")
    resume = ("--runs-dir", tmp_path, "--run", "interrupted", "--resume")
    folder = tmp_path / "interrupted"
    nine = started("tests/little_data.py", *small, "nine")

    process = started("tests/little_data.py", *small, "interrupted")
    wait_for_steps(process, folder, 30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in err
    assert "Ctrl-C: stopped after step" in out and "--run interrupted --resume" in out
    stopped = checkpoints.newest(folder).step
    assert stopped > 30

    epoch_end = (stopped // 20 + 2) * 20
    run("tests/little_data.py", *resume, "--stop-at", epoch_end)
    assert checkpoints.newest(folder).step == epoch_end

    resumed = started("tests/little_data.py", *resume)
    wait_for_steps(resumed, folder, epoch_end + 30)
    resumed.kill()
    assert resumed.wait(timeout=60) == -signal.SIGKILL

    run("tests/little_data.py", *resume)
    assert nine.wait(timeout=300) == 0
    assert_same_run(tmp_path / "nine", folder)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A function that copies a run stopped after step 25 into a folder of this name, and returns the folder."""
    import shutil

    runs_dir = tmp_path_factory.mktemp("stopped")
    train_here(runs_dir, "original", *SHORT, "--stop-at", 25)

    def copy(name):
        shutil.copytree(runs_dir / "original", runs_dir / name)
        return runs_dir / name

    return copy


def test_stopped_and_resumed_it_is_the_same_run(stopped, straight):
    folder = stopped("resumed")
    assert train_here(folder.parent, "resumed", "--resume")
    assert_same_run(straight, folder)


@pytest.mark.parametrize(
    "lost",
    ["velocity/conv1/kernel", "mean/conv1/kernel", "last_gradient/conv1/kernel", "norm1/moving_mean", "conv1/kernel"],
)
def test_a_resume_that_lost_something_is_noticed(stopped, straight, lost):
    """The control experiment: without one velocity or statistic, the continued run is a different run."""
    folder = stopped(f"without-{lost.replace('/', '-')}")
    found = checkpoints.newest(folder)
    checkpoints.save(folder, found.step, found.tensors | {lost: np.zeros_like(found.tensors[lost])}, keep=10)
    train_here(folder.parent, folder.name, "--resume", "--stop-at", 33)
    compared = checkpoints.newest(straight, not_after=35).tensors, checkpoints.newest(folder).tensors
    rows = [(of / file).read_text().splitlines() for file in (logs.STEPS, logs.LAYERS) for of in (straight, folder)]
    same_weights = all(compared[0][name].tobytes() == compared[1][name].tobytes() for name in ("conv1/kernel",))
    same_rows = rows[0][: len(rows[1])] == rows[1] and rows[2][: len(rows[3])] == rows[3]
    if lost == "mean/conv1/kernel":  # it replaces the weights at the last step
        train_here(folder.parent, folder.name, "--resume")
        with pytest.raises(AssertionError):
            assert_same_run(straight, folder)
    else:
        assert not (same_weights and same_rows)


def test_a_damaged_checkpoint_is_passed_over_and_costs_only_time(stopped, straight, capsys):
    folder = stopped("damaged")
    newest = checkpoints.newest_first(folder)[0] / checkpoints.TENSORS
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1  # a single bit
    newest.write_bytes(content)
    train_here(folder.parent, "damaged", "--resume")
    out = capsys.readouterr().out
    assert "passed over" in out and "resumed after step 21" in out
    assert_same_run(straight, folder)


def test_a_run_with_only_damaged_checkpoints_is_refused(stopped):
    folder = stopped("ruined")
    before = (folder / logs.STEPS).read_bytes()
    for checkpoint in checkpoints.newest_first(folder):
        (checkpoint / checkpoints.TENSORS).write_bytes(b"")
    with pytest.raises(checkpoints.CheckpointError, match="all 5 checkpoints are damaged"):
        train_here(folder.parent, "ruined", "--resume")
    assert (folder / logs.STEPS).read_bytes() == before, "no step may be taken again"


def test_without_a_checkpoint_it_starts_again_from_its_first_step(tmp_path, capsys):
    """Killed before the first checkpoint: the rows that were written are written again."""
    train_here(tmp_path, "whole", "--steps", 12)
    train_here(tmp_path, "early", "--steps", 12, "--stop-at", 5)
    for path in checkpoints.newest_first(tmp_path / "early"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    train_here(tmp_path, "early", "--resume")
    assert "has no checkpoint yet: it starts again from step 1" in capsys.readouterr().out
    assert_same_run(tmp_path / "whole", tmp_path / "early")


@pytest.mark.parametrize("options", [SHORT, ("--steps", 20), ("--checkpoint-every", 7, "--stop-at", 8)])
def test_a_run_whose_checkpoints_are_gone_does_not_start_again(tmp_path, options):
    """Deleted to save space, or left behind by a copy: its rows would be overwritten."""
    folder = tmp_path / "bare"
    train_here(tmp_path, "bare", *options)
    shutil.rmtree(folder / checkpoints.FOLDER)
    before = {name: (folder / name).read_bytes() for name in logs.COLUMNS}
    last = logs.read(folder, logs.STEPS)["step"][-1]
    with pytest.raises(checkpoints.CheckpointError, match=rf"bare: it is at step {last} and its checkpoints are"):
        train_here(tmp_path, "bare", "--resume")
    assert before == {name: (folder / name).read_bytes() for name in logs.COLUMNS}


@pytest.mark.parametrize("stop_at", [4, 5, 13])
def test_a_stop_at_a_step_that_is_not_taken_any_more_is_told(tmp_path, stop_at):
    with pytest.raises(run_folder.RunError, match="--stop-at 99: expected 1 to 12, at step 0 of 12"):
        train_here(tmp_path, "early", "--steps", 12, "--stop-at", 99)
    assert not (tmp_path / "early").exists()
    train_here(tmp_path, "early", "--steps", 12, "--stop-at", 5)
    before = (tmp_path / "early" / logs.STEPS).read_bytes()
    with pytest.raises(run_folder.RunError, match=f"--stop-at {stop_at}: expected 6 to 12, at step 5 of 12"):
        train_here(tmp_path, "early", "--resume", "--stop-at", stop_at)
    assert (tmp_path / "early" / logs.STEPS).read_bytes() == before


def test_an_epoch_that_was_killed_before_its_evaluation_is_evaluated_on_resume(tmp_path, straight):
    """The checkpoint of an epoch's end is there, its row in epochs.csv is not."""
    folder = tmp_path / "no-evaluation"
    train_here(tmp_path, "no-evaluation", *SHORT, "--stop-at", 40)
    drop_last_lines(folder / logs.EPOCHS, 1)
    drop_last_lines(folder / logs.PREDICTIONS, 37)  # the rest was written
    train_here(tmp_path, "no-evaluation", "--resume")
    assert_same_run(straight, folder)


def test_a_run_of_which_only_the_last_evaluation_is_left(tmp_path, capsys):
    """No step is taken any more: nothing is divided by their time, and the run is complete."""
    train_here(tmp_path, "whole", "--epochs", 2)
    train_here(tmp_path, "left", "--epochs", 2)
    drop_last_lines(tmp_path / "left" / logs.EPOCHS, 1)
    capsys.readouterr()
    assert train_here(tmp_path, "left", "--resume")
    out = capsys.readouterr().out
    assert "steps    none left" in out and "epoch   2" in out and "test accuracy" in out
    assert_same_run(tmp_path / "whole", tmp_path / "left")


def test_a_complete_run_has_no_step_left(tmp_path, straight, capsys):
    import shutil

    folder = tmp_path / "straight"
    shutil.copytree(straight, folder)
    assert train_here(tmp_path, "straight", "--resume")
    assert "steps    none left" in capsys.readouterr().out
    assert_same_run(straight, folder)


def test_a_complete_run_is_continued_to_more_epochs_where_its_schedule_allows_it(tmp_path):
    constant = ("--warmup", 0, "--final-rate", 1)
    train_here(tmp_path, "three", *constant, "--epochs", 3)
    train_here(tmp_path, "two", *constant, "--epochs", 2)
    assert train_here(tmp_path, "two", "--resume", "--epochs", 3, "--stop-at", 45)
    assert run_folder.read_config(tmp_path / "two")["total_steps"] == 60
    assert train_here(tmp_path, "two", "--resume"), "the new end is the run's"
    assert_same_run(tmp_path / "three", tmp_path / "two")


def test_a_signal_during_the_save_of_an_epochs_end_loses_no_evaluation(tmp_path, straight, monkeypatch):
    """It comes after the loop has asked for signals: the network is evaluated, and the next step is the last."""
    save = checkpoints.save

    def interrupted_save(folder, step, *rest):
        save(folder, step, *rest)
        if step == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", interrupted_save)
        assert not train_here(tmp_path, "late-signal", *SHORT)
    assert checkpoints.newest(tmp_path / "late-signal").step == 21
    assert train_here(tmp_path, "late-signal", "--resume")
    assert_same_run(straight, tmp_path / "late-signal")


def test_a_run_that_was_killed_before_it_began_is_begun_again(tmp_path, straight, monkeypatch):
    """Between the folder and its config.json: the same command starts it, and --resume has one line."""
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "write_config", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_here(tmp_path, "dead", *SHORT)
    assert (tmp_path / "dead").is_dir() and run_folder.never_began(tmp_path / "dead")
    with pytest.raises(run_folder.RunError, match="dead: no such run"):
        train_here(tmp_path, "dead", "--resume")
    assert train_here(tmp_path, "dead", *SHORT)
    assert_same_run(straight, tmp_path / "dead")


def test_a_checkpoint_of_another_architecture_is_refused(straight):
    state = {"conv1/kernel": train_loop.tf.Variable(np.zeros((5, 5, 3, 8), np.float32))}
    with pytest.raises(checkpoints.CheckpointError, match=r"'conv1/kernel' is float32 \[3, 3, 3, 8\] there"):
        checkpoints.restore(checkpoints.newest(straight), state)


def test_a_run_keeps_the_network_that_it_began_with(stopped, straight, monkeypatch):
    """core/model.py was edited meanwhile: the run goes on with the architecture in its config.json."""
    from core import model

    folder = stopped("edited")
    monkeypatch.setitem(model.NETWORKS, "debug", lambda seed=0, dtype=None: pytest.fail("the edited list is not used"))
    assert train_here(folder.parent, "edited", "--resume")
    assert_same_run(straight, folder)


def test_a_run_continued_elsewhere_says_which_bits_will_differ(stopped, monkeypatch, capsys):
    from core.run import start

    folder = stopped("elsewhere")
    here = start.devices.environment(1)
    monkeypatch.setattr(start.devices, "environment", lambda threads: here | {"numpy": "9.9", "threads": 64})
    train_here(folder.parent, "elsewhere", "--resume", "--stop-at", 26)
    expected = f"numpy {here['numpy']} (now 9.9), threads 1 (now 64)"
    assert f"other last bits from here on: the run was begun with {expected}" in capsys.readouterr().out
