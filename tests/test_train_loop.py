"""The loop itself: one trace, the same losses eager and compiled, flat memory, a debugger that stops in train_step."""

import bdb
import contextlib
import os
import pdb
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from runner import PROJECT, run, tenth_of_shapes10, train_here

import train_loop
from core.data import batches
from core.run import checkpoints, logs, terminal
from core.settings.command_line import Invocation, parse
from core.settings.recipes import RECIPES
from core.training import Training


def test_invocation_defaults_are_the_recipe():
    asked = parse([])
    assert isinstance(asked, Invocation) and asked.settings == RECIPES["classic"]
    assert parse(["--recipe", "modern", "--epochs", "2"]).settings == replace(RECIPES["modern"], epochs=2)


def test_one_trace_of_each_compiled_function(tmp_path, monkeypatch):
    """Also with a batch that does not divide the data, and evaluation batches of unequal length."""
    monkeypatch.setattr(batches, "EVALUATION_BATCH", 150)  # 200 test images: the last batch is short
    functions, original = [], train_loop.compiled

    def compiled(*args, **given):
        functions.append(original(*args, **given))
        return functions[-1]

    monkeypatch.setattr(train_loop, "compiled", compiled)
    train_here(tmp_path, "uneven", "--batch-size", 384, "--epochs", 2, compiled=compiled)
    counts = [function.experimental_get_tracing_count() for function in functions]
    assert counts[:2] == [1, 1], "the step and the evaluation"
    assert set(counts) == {0, 1}, "a probe that is not due is not traced"


def test_eager_equals_compiled(tmp_path):
    for mode in ("--eager", "--no-eager"):
        train_here(tmp_path, mode.strip("-"), mode, "--batch-size", 8, "--steps", 10)
    one, other = logs.read(tmp_path / "eager", logs.STEPS), logs.read(tmp_path / "no-eager", logs.STEPS)
    for column in one:
        np.testing.assert_allclose(one[column], other[column], rtol=2e-5, atol=1e-6, err_msg=column)


def calendar(per_epoch: int, total_steps: int, every: int) -> Training:
    """A training of which only this is known: steps of an epoch, steps in all, --evaluate-every."""
    training = object.__new__(Training)
    training.batches, training.total_steps = SimpleNamespace(steps_per_epoch=per_epoch), total_steps
    training.settings = SimpleNamespace(evaluate_every=every)
    return training


@pytest.mark.parametrize(
    ("per_epoch", "total_steps", "every", "ends", "evaluated"),
    [
        (20, 50, 0, [20, 40, 50], [20, 40, 50]),  # the last epoch is cut short by --steps
        (20, 40, 0, [20, 40], [20, 40]),
        (20, 50, 15, [20, 40, 50], [15, 20, 30, 40, 45, 50]),
        (20, 8, 3, [8], [3, 6, 8]),
        (1, 3, 0, [1, 2, 3], [1, 2, 3]),
        (5, 6, 1, [5, 6], [1, 2, 3, 4, 5, 6]),
    ],
)
def test_when_an_epoch_ends_and_when_the_network_is_evaluated(per_epoch, total_steps, every, ends, evaluated):
    """Never after step 0, the untrained network."""
    training = calendar(per_epoch, total_steps, every)
    assert [step for step in range(total_steps + 1) if training.ends_epoch(step)] == ends
    assert [step for step in range(total_steps + 1) if training.evaluates_after(step)] == evaluated


def test_what_a_checkpoint_holds_by_name(small_data):
    """The network's variables, then for each of those that it belongs to: velocity, mean, last gradient."""
    args = ["--recipe", "debug", "--eager", "--batch-size", "50", "--weight-average", "0.5"]
    training = train_loop.prepare(parse(args).settings, small_data)
    kernels, parameters = ["conv1/kernel", "dense1/kernel"], ["conv1/bias", "norm1/gamma", "norm1/beta", "dense1/bias"]
    statistics = ["norm1/moving_mean", "norm1/moving_variance"]
    owned = {
        "velocity": [*kernels, *parameters],
        "mean": [*kernels, *parameters, *statistics],
        "last_gradient": kernels,
    }  # fmt: skip
    own = [*kernels, *parameters, *statistics]
    assert sorted(training.state) == sorted([*own, *(f"{kind}/{name}" for kind in owned for name in owned[kind])])
    for name, variable in training.state.items():
        owner = name if name in own else name.partition("/")[2]
        assert variable.shape == training.network.named_variables[owner].shape, name
        np.testing.assert_array_equal(training.initial_state[name], variable)
    before = training.initial_state["dense1/kernel"].copy()
    training.step(tf.constant(1))
    np.testing.assert_array_equal(training.initial_state["dense1/kernel"], before)
    assert np.any(training.state["dense1/kernel"] != before)


def test_the_traces_of_step_and_evaluation_are_counted(small_data):
    training = train_loop.prepare(parse(["--recipe", "debug", "--no-eager", "--batch-size", "50"]).settings, small_data)
    assert training.trace_counts() == [0, 0]
    training.evaluate_batch(tf.constant(small_data.test_images[:5]), tf.constant(small_data.test_labels[:5]))
    assert training.trace_counts() == [0, 1]
    training.evaluate_batch = print  # as with --eager: a function that is not traced
    assert training.trace_counts() == [0]


GOLDEN = [2.28381, 3.20622, 3.49997, 3.54609, 2.48612, 2.71754, 2.51063, 2.80130, 2.70308, 2.69857]


def test_golden_losses_of_ten_steps(tmp_path):
    """The first ten losses of the debug recipe, as this code once computed them: no change goes unnoticed.

    To a few parts in ten thousand, because another processor adds in another order.
    """
    train_here(tmp_path, "golden", "--batch-size", 8, "--steps", 10, data=train_loop.start.load("shapes10"))
    np.testing.assert_allclose(logs.read(tmp_path / "golden", logs.STEPS)["loss"], GOLDEN, rtol=5e-4)


def test_a_run_ends_at_the_mean_of_its_last_weights(tmp_path):
    args = ("--steps", 8, "--checkpoint-every", 1)
    train_here(tmp_path, "last", *args)
    train_here(tmp_path, "mean", *args, "--weight-average", 0.5)
    last, mean = (
        [checkpoints.newest(tmp_path / name, not_after=step).tensors for step in (5, 6, 7, 8)]
        for name in ("last", "mean")
    )
    names = [name for name in last[0] if name.count("/") == 1]  # conv1/kernel, but not velocity/conv1/kernel
    assert len(names) == 8
    for name in names:
        np.testing.assert_array_equal(mean[-2][name], last[-2][name], err_msg="until then nothing is different")
        np.testing.assert_allclose(mean[-1][name], np.mean([w[name] for w in last], axis=0), rtol=1e-5, atol=1e-7)
    evaluations = [logs.read(tmp_path / name, logs.EPOCHS)["test_loss"][-1] for name in ("last", "mean")]
    assert evaluations[0] != evaluations[1]


def resident_megabytes() -> float:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc, which is not there")
def test_memory_is_flat_over_epochs(tmp_path, monkeypatch, small_data):
    """Nothing is kept of a step or an epoch once it is written: more epochs, no more memory.

    One batch kept in each of the last 45 epochs would be 55 megabytes. The system's own allocations come in leaps of
    some ten megabytes, at a time of its own choosing.
    """
    held, line = [], terminal.evaluation_line
    monkeypatch.setattr(terminal, "evaluation_line", lambda *given: (held.append(resident_megabytes()), line(*given)))
    train_here(tmp_path, "long", "--batch-size", 100, "--epochs", 60, data=small_data)
    assert len(held) == 60 and np.mean(held[-10:]) < np.mean(held[10:20]) + 30, held


def test_pdb_stops_in_train_step_with_real_tensors(tmp_path):
    """`make debug`, typed by a script: next, print, step into the tape, leave."""
    done = run(
        "train_loop.py", "--recipe", "debug", "--pdb", "--runs-dir", tmp_path,
        stdin="next\nnext\np images.shape, images.dtype.name\np int(labels[0]) in range(10)\nnext\nnext\nnext\nnext\n"
        "p float(loss) > 0\np logits.numpy().shape\ncontinue\np int(step)\nquit\n",
    )  # fmt: skip
    assert "def train_step" in done.stdout or "train_step()" in done.stdout
    assert "(TensorShape([8, 32, 32, 3]), 'uint8')" in done.stdout
    assert re.search(r"\(Pdb\) True\n", done.stdout) and "(8, 10)" in done.stdout
    assert "(Pdb) 2\n" in done.stdout, "the next step stops again"


@pytest.mark.parametrize("leave", [bdb.BdbQuit, pdb.Restart])
def test_whoever_leaves_the_debugger_is_told_what_was_saved(tmp_path, monkeypatch, capsys, leave):
    """`quit`, and `run` or `restart`, which pdb would begin the script again for."""
    monkeypatch.setattr(train_loop, "train", lambda *given: (_ for _ in ()).throw(leave))
    monkeypatch.setattr(train_loop.start, "start_session", lambda *given: contextlib.nullcontext((None, None)))
    assert train_loop.main(parse(["--recipe", "debug", "--runs-dir", str(tmp_path)])) == 0
    assert capsys.readouterr().out == "\nleft the debugger; nothing after the last checkpoint was saved\n"


def test_make_debug_is_that_command():
    assert "train_loop.py --recipe debug --pdb" in (PROJECT / "Makefile").read_text()


ON_ANOTHER_DEVICE = """
from core import devices
tf = devices.import_tensorflow()
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
import train_loop
from core.data import load
from core.settings.command_line import parse
settings = parse(["--recipe", "debug", "--no-eager", "--precision", "float32"]).settings
data, losses = load("shapes10"), []
for device in ("/CPU:0", "/CPU:1"):
    with tf.device(device):
        training = train_loop.prepare(settings, data)
        metrics, _ = training.step(tf.constant(1))
        sums = training.evaluate_batch(tf.constant(data.test_images[:8]), tf.constant(data.test_labels[:8]))
    held = [*training.batches.images, *training.state.values(), *metrics.values(), *sums.values()]
    print({tensor.device.rpartition(":")[2] for tensor in held})
    losses.append(float(metrics["loss"]))
print(losses[0] == losses[1])
"""


def test_everything_is_on_the_device_that_was_chosen():
    """Two logical devices stand in for a processor and a GPU: images, weights, state, step, evaluation are on one."""
    done = subprocess.run([sys.executable, "-c", ON_ANOTHER_DEVICE], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["{'0'}", "{'1'}", "True"], done.stdout + done.stderr


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (lambda layers: layers[:-1], r"network 'debug': expected 10 logits, found shape \[512\]"),
        (lambda layers: [*layers[:3], *layers[4:]], r"layer 'dense1': expected input \[N,512\]"),
        (lambda layers: [*layers, layers[-1]], "network 'debug': two layers share a name"),
    ],
)
def test_a_network_that_does_not_fit_makes_no_folder(tmp_path, network, sentence, monkeypatch, capsys):
    """Somebody changed the list in core/model.py."""
    from core import model

    original = model.NETWORKS["debug"]
    monkeypatch.setitem(model.NETWORKS, "debug", lambda *given: network(original(*given)))
    monkeypatch.setattr("core.run.start.load", lambda *given: tenth_of_shapes10())
    status = train_loop.main(parse(["--recipe", "debug", "--runs-dir", str(tmp_path), "--run", "edited"]))
    err = capsys.readouterr().err
    assert status == 1 and re.search(f"the network cannot be built: .*{sentence}", err) and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [], "no folder, and `latest` is where it was"
