"""Two devices are one device that takes the halves of a batch in turn, bit for bit; and the whole batch, to rounding.

The devices are two parts of the processor (tests/conftest.py). Two GPUs add up the same numbers in the same order.
"""

import re

import numpy as np
import pytest
import tensorflow as tf
from runner import EXACT_FILES, PROJECT, run, train, train_here

import train_loop
from core import replicas
from core.run import checkpoints, logs
from core.settings.command_line import parse

TWO = ("--devices", 2, "--micro-batches", 2)
CASES = {
    "debug": (),  # dropout, batch norm
    "classic": ("--network", "classic", "--batch-size", 40),
    "minute": ("--network", "speed64", "--optimizer", "muon", "--batch-size", 40, "--flip", "alternating", "--crop", 2),
}


class HalfDone(Exception):
    """The first half of a batch has its gradient."""


def taken_in_turn(training):
    """`train_step` on one device: the gradient of the first half of the batch, that of the second, then the rest."""

    def step(step):
        first = []

        def mean(values):
            if replicas.rank() == 0:
                first.extend(tf.nest.flatten(values))
                raise HalfDone
            added = [(a + b) / 2 for a, b in zip(first, tf.nest.flatten(values))]
            return tf.nest.pack_sequence_as(values, added)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(replicas, "count", lambda: 2)
            patch.setattr(replicas, "mean", mean)
            patch.setattr(replicas, "join_moving_averages", lambda *args: None)  # they have moved twice, in turn
            patch.setattr(replicas, "mine", lambda copies: copies[0])
            patch.setattr(replicas, "rank", lambda: 0)
            with pytest.raises(HalfDone):
                train_loop.train_step(training, step)
            patch.setattr(replicas, "rank", lambda: 1)
            return train_loop.train_step(training, step)

    return step


def prepared_in_turn(settings, data, stored=None):
    training = train_loop.prepare(settings, data, stored)
    training.step = train_loop.compiled(taken_in_turn(training), [tf.TensorSpec([], tf.int32)], False)
    return training


@pytest.mark.parametrize("args", CASES.values(), ids=CASES)
def test_two_devices_are_one_that_takes_their_halves_in_turn(args, tmp_path):
    options = ("--precision", "float32", "--steps", 5, *args)
    train_here(tmp_path, "two", *options, *TWO)
    train_here(tmp_path, "in-turn", *options, "--micro-batches", 2, prepare=prepared_in_turn)
    assert (tmp_path / "two" / logs.STEPS).read_bytes() == (tmp_path / "in-turn" / logs.STEPS).read_bytes()
    two, in_turn = (checkpoints.newest(tmp_path / run).tensors for run in ("two", "in-turn"))
    assert list(two) == list(in_turn)
    for name in two:
        if "moving" in name:  # joined by a formula: to rounding
            np.testing.assert_allclose(two[name], in_turn[name], rtol=0, atol=2e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(two[name], in_turn[name], err_msg=name)


@pytest.mark.parametrize("args", [(), ("--network", "classic", "--batch-size", 40)], ids=["debug", "classic"])
def test_two_devices_are_one_with_the_whole_batch_to_rounding(args, tmp_path):
    """Muon is left out: it divides by the singular values of a gradient, and makes rounding grow."""
    options = ("--precision", "float32", "--steps", 50, "--learning-rate", 0.01, *args)
    train_here(tmp_path, "two", *options, *TWO)
    train_here(tmp_path, "one", *options, "--micro-batches", 2)
    two, one = (logs.read(tmp_path / run, logs.STEPS) for run in ("two", "one"))
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=0, atol=1e-6)
    two, one = (checkpoints.newest(tmp_path / run).tensors for run in ("two", "one"))
    for name in (name for name in one if name.endswith(("kernel", "bias")) and name.count("/") == 1):
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-6, err_msg=name)


def test_a_run_on_two_devices_is_resumed_to_the_byte(tmp_path):
    """With everything that is measured outside of a step, and the kernels that are measured before the first."""
    options = ("--epochs", 2, "--diagnostics", "full", "--kernels", "auto", "--precision", "bfloat16", *TWO)
    train_here(tmp_path, "straight", *options)
    train_here(tmp_path, "stopped", *options, "--stop-at", 27)
    train_here(tmp_path, "stopped", "--resume")
    for name in EXACT_FILES:
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


def test_replay_takes_the_step_on_as_many_devices(tmp_path):
    train(tmp_path, "two", "--steps", 5, *TWO)
    assert "is the step logged, bit for bit" in run("analysis/replay.py", tmp_path / "two", "--step", 4).stdout


def test_one_replica_gets_back_what_it_gave():
    batch = tf.range(6)
    assert replicas.my_rows(batch) is batch and replicas.mean(batch) is batch and replicas.total(batch) is batch
    assert (replicas.count(), replicas.rank(), replicas.whole([3, 2])) == (1, 0, [3, 2])
    assert replicas.on_every_replica(len)([1, 2]) == 2


def test_rows_are_handed_out_and_combined():
    def on_one(batch):
        rows = replicas.my_rows(batch)
        return rows, *replicas.mean((tf.cast(rows, tf.float32), rows)), replicas.total(tf.reduce_sum(rows))

    with replicas.placed_on(2, "/CPU:0"):
        strategy = tf.distribute.get_strategy()
        rows, mean, _, total = tf.function(lambda: strategy.run(on_one, [tf.range(8)]), autograph=False)()
    assert [x.numpy().tolist() for x in strategy.experimental_local_results(rows)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    for x in strategy.experimental_local_results(mean):
        assert x.numpy().tolist() == [2, 3, 4, 5]
    assert {int(x) for x in strategy.experimental_local_results(total)} == {28}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--devices", "3"), "--devices 3: expected a number that divides --batch-size 100"),
        (("--devices", "2", "--network", "modern"), "--devices 2: expected a number that divides --micro-batches 1"),
        (("--devices", "2", "--micro-batches", "3"), "--devices 2: expected a number that divides --micro-batches 3"),
        (("--devices", "0"), "--devices 0: expected a whole number, 1 to 64"),
    ],
)
def test_what_cannot_be_divided_is_refused(args, message, capsys):
    with pytest.raises(SystemExit):
        parse(list(args))
    assert message in capsys.readouterr().err


def test_in_the_debugger_the_loss_of_each_becomes_that_of_all(tmp_path):
    source = (PROJECT / "train_loop.py").read_text().splitlines()
    line = 1 + next(i for i, text in enumerate(source) if "= replicas.mean" in text)
    # Each replica stops before the all-reduce; behind it the first one goes on. Batch norm makes them take turns too.
    commands = [f"until {line}", f"until {line}", "p float(loss)", "n", "p float(loss)", "n", "p float(loss)", "q", "q"]
    args = ("--recipe", "debug", "--pdb", *TWO, "--runs-dir", tmp_path, "--run", "pdb")
    done = run("train_loop.py", *args, stdin="\n".join(commands) + "\n")
    out = done.stdout
    assert "WARNING" not in out + done.stderr
    first, second, both = (float(number) for number in re.findall(r"^\(Pdb\) (\d+\.\d+)$", out, re.MULTILINE))
    assert first != second and both == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("recipe", ["classic", "modern", "minute", "debug"])
def test_one_device_may_have_any_micro_batches(recipe):
    assert parse(["--recipe", recipe, "--devices", "1"]).settings.devices == 1
    assert parse(["--recipe", recipe, "--micro-batches", "3"]).settings.micro_batches == 3
