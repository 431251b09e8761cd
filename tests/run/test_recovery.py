"""A number that stops being finite: found, named, and told from one that the machine lost."""

import dataclasses
import re
from types import SimpleNamespace

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
    assert f"--step {last}`" in err and f"(learning rate {steps['learning_rate'][-1]:.3g})" in err
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


NONE, SAVED = "no checkpoint was written yet", "the last good checkpoint is step-00001000"


@pytest.mark.parametrize(
    "loss, norm, saved, sentence",
    [
        (2.0, 1.0, [900, 1000], f"repeated, the same step is finite, so the machine lost them (memory, processor, "
         f"library); {SAVED}; --resume continues from there"),
        (2.0, 1.0, [], f"repeated, the same step is finite, so the machine lost them (memory, processor, library); "
         f"{NONE}; --resume continues from there"),
        (np.nan, 1.0, [900, 1000], f"layer 'conv1' at step 1234; {SAVED}; try a third of the --learning-rate or a "
         "longer --warmup; see it with `python analysis/replay.py FOLDER --step 1234`"),
        (2.0, np.inf, [], f"layer 'conv1' at step 1234; {NONE}; try a third of the --learning-rate or a longer "
         "--warmup; see it with `python analysis/replay.py FOLDER --step 1234`"),
    ],
)  # fmt: skip
def test_the_line_about_a_number_that_is_not_finite(tmp_path, monkeypatch, loss, norm, saved, sentence):
    """From the state before the step: where it was lost, then whether the step loses it again."""
    log, taken = logs.Logs(tmp_path), []
    for step, rate in ((1232, 0.5), (1233, 0.25), (1234, 0.0123456)):
        log.append(logs.STEPS, [step, 1, 2.0, 0.5, rate, 1.0])
    log.close()
    for step in saved:
        (tmp_path / checkpoints.FOLDER / f"step-{step:08d}").mkdir(parents=True)

    def first_not_finite(step, *rest):
        taken.append(("searched", int(step)))
        return f"layer 'conv1' at step {step}"

    def step_function(step):
        taken.append(("repeated", int(step)))
        return {"loss": tf.constant(loss), "gradient_norm": tf.constant(norm), "accuracy": tf.constant(np.nan)}, {}

    monkeypatch.setattr(recovery, "rewind", lambda training, folder, step: taken.append(("state after", step)))
    monkeypatch.setattr(recovery.probes, "first_not_finite", first_not_finite)
    training = SimpleNamespace(batches=None, network=None, settings=None, step=step_function)
    line = recovery.why_not_finite(training, tmp_path, 1234)
    assert line == (
        "the numbers stop being finite at step 1,234 (learning rate 0.0123): "
        + sentence.replace("FOLDER", str(tmp_path))
    )
    assert taken == [("state after", 1233), ("searched", 1234), ("repeated", 1234)]


def test_a_state_that_is_not_finite_is_not_saved(tmp_path):
    """The update of a step whose loss and gradient were finite: also of the last one, after which none would tell."""

    def prepare(*given):
        training = train_loop.prepare(*given)
        step_function, kernel = training.step, training.network.parameters[0]

        def step(number):
            metrics = step_function(number)
            if int(number) == 3:
                kernel.assign(kernel / 0)
            return metrics

        training.step = step
        return training

    with pytest.raises(run_folder.RunError, match=r"^the update of step 3 left 'conv1/kernel' not finite; the last"):
        train_here(tmp_path, "lost", "--steps", 3, "--checkpoint-every", 1, prepare=prepare)
    assert [path.name for path in checkpoints.newest_first(tmp_path / "lost")] == ["step-00000002", "step-00000001"]


def test_a_run_is_not_continued_on_other_data(straight):
    recovery.check_same_data(straight, tenth_of_shapes10())
    other = dataclasses.replace(tenth_of_shapes10(), fingerprint="another")
    with pytest.raises(run_folder.RunError, match="straight: it was trained on other bytes than shapes10 has here; "):
        recovery.check_same_data(straight, other)


HERE = {"tensorflow": "2.21", "numpy": "2.0", "processor": "A", "device": "CPU", "threads": 8, "devices": 1}


@pytest.mark.parametrize(
    "begun, sentence",
    [
        ({}, ""),
        ({"python": "3.11", "git_commit": "abc"}, ""),
        ({"processor": "B"}, "processor B (now A)"),
        ({"device": "H100", "processor": "B"}, "processor B (now A), device H100 (now CPU)"),
        ({"devices": 2, "tensorflow": "2.20"}, "tensorflow 2.20 (now 2.21), devices 2 (now 1)"),
        ({"numpy": "1.9", "threads": 4}, "numpy 1.9 (now 2.0), threads 4 (now 8)"),
    ],
)
def test_what_decides_the_last_bits(begun, sentence):
    assert recovery.different_environment(HERE | begun, HERE | {"python": "3.12"}) == sentence


def test_what_an_older_version_did_not_write_is_not_different():
    assert recovery.different_environment({"numpy": "1.9"}, HERE) == "numpy 1.9 (now 2.0)"


def test_rewind_is_the_state_after_exactly_that_step(straight, capsys):
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
    assert capsys.readouterr().out == "", "only a resume says that it starts again from step 1"
