"""A number that stops being finite: found, named, and told from one that the machine lost."""

import re

import numpy as np
import pytest
import tensorflow as tf
from conftest import SHORT
from runner import assert_same_run, tenth_of_shapes10, train_here

import train_loop
from core.run import checkpoints, logs, recovery, run_folder
from core.settings.command_line import parse
from core.settings.settings import Settings

BROKEN = ("--recipe", "classic", "--no-eager", "--data", "shapes10", "--batch-size", 50, "--learning-rate", 1e8)


def test_numbers_that_are_not_finite_stop_the_run(tmp_path, small_data, monkeypatch, capsys):
    """Step, rate and layer in one line; nothing after that step in the log, nothing broken in a checkpoint."""
    monkeypatch.setattr("core.run.start.load", lambda *given: small_data)
    args = [str(arg) for arg in (*BROKEN, "--steps", 60, "--warmup", 0.5, "--checkpoint-every", 1)]
    assert train_loop.main(parse(["--runs-dir", str(tmp_path), "--run", "broken", *args])) == 1
    err = capsys.readouterr().err
    steps = logs.read(tmp_path / "broken", logs.STEPS)
    last = steps["step"][-1]
    finite = np.isfinite(steps["loss"]) & np.isfinite(steps["gradient_norm"])
    assert not finite[-1] and finite[:-1].all() and err.count("\n") == 1
    assert re.search(
        rf"stop being finite at step {last} \(learning rate [\de+.]+\): .*(layer|weights|gradient)", err
    ), err
    assert f"--step {last}`" in err
    newest = checkpoints.newest(tmp_path / "broken")
    assert newest.step < last and f"last good checkpoint is {newest.path.name}" in err
    for tensor in newest.tensors.values():
        assert np.isfinite(tensor).all()


def test_a_number_lost_by_the_machine_is_told_from_one_lost_by_training(tmp_path, straight):
    """A weight is lost once, as by bad memory: the line says so, and --resume ends where an unbroken run ends."""

    def struck_at_step_25(*given):
        training, strikes = train_loop.prepare(*given), [25]
        step_function = training.step

        def step(number):
            if strikes and int(number) == strikes[0]:
                strikes.clear()
                weight = training.network.parameters[0]
                weight.assign(weight * np.nan)
            return step_function(number)

        training.step = step
        return training

    with pytest.raises(run_folder.RunError) as raised:
        train_here(tmp_path, "struck", *SHORT, prepare=struck_at_step_25)
    message = str(raised.value)
    assert re.search(r"at step 25 .*same step is finite.*step-00000021; --resume continues", message), message
    assert train_here(tmp_path, "struck", "--resume")
    assert_same_run(tmp_path / "struck", straight)


def test_rewind_is_the_state_after_exactly_that_step(straight):
    """From the newest checkpoint before it, or the initial state, and the steps after that once more."""
    settings = Settings(**run_folder.read_config(straight)["settings"])
    saved = [checkpoints.step_of(path) for path in checkpoints.newest_first(straight)]
    assert 21 in saved and 20 in saved and min(saved) > 6
    taken = train_loop.prepare(settings, tenth_of_shapes10())
    states = {0: {name: variable.numpy() for name, variable in taken.state.items()}}
    for step in range(1, 25):
        taken.step(tf.constant(step))
        states[step] = {name: variable.numpy() for name, variable in taken.state.items()}
    training = train_loop.prepare(settings, tenth_of_shapes10())
    for step in (24, 6, 20, 0):
        recovery.rewind(training, straight, step)
        for name, variable in training.state.items():
            np.testing.assert_array_equal(variable, states[step][name], err_msg=f"{name} after step {step}")
