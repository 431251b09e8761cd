"""Two devices are one device that takes the halves of a batch in turn, bit for bit; and the whole batch, to rounding.

The devices are two parts of the processor (tests/conftest.py). Two GPUs add up the same numbers in the same order.
"""

import contextlib
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
    "random flip": ("--flip", "random", "--crop", 2),  # what the loop advises against overfitting
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


def on_two(function, *args) -> list:
    """What each of two replicas returns, first to last, as nested lists of numbers."""
    with replicas.placed_on(2, "/CPU:0"):
        strategy = tf.distribute.get_strategy()
        returned = tf.function(lambda: strategy.run(function, args), autograph=False)()
        of_each = [strategy.experimental_local_results(value) for value in tf.nest.flatten(returned)]
        return [[value.numpy().tolist() for value in values] for values in zip(*of_each)]


def test_each_of_two_knows_its_number_and_the_whole():
    numbers = on_two(lambda: [tf.constant([replicas.rank(), replicas.count()]), replicas.whole([3, 5])])
    assert numbers == [[[0, 2], [6, 5]], [[1, 2], [6, 5]]]
    assert replicas.in_all() == 1
    with replicas.placed_on(2, "/CPU:0"):
        assert (replicas.in_all(), replicas.count(), replicas.rank()) == (2, 1, 0), "outside of a step"


def test_rows_of_a_batch_whose_size_is_known_only_at_run_time():
    with replicas.placed_on(2, "/CPU:0"):
        strategy = tf.distribute.get_strategy()
        signature = [tf.TensorSpec([None, 3], tf.int32)]
        halves = tf.function(lambda batch: strategy.run(replicas.my_rows, [batch]), signature, autograph=False)
        first, second = strategy.experimental_local_results(halves(tf.reshape(tf.range(12), [4, 3])))
    assert first.numpy().tolist() == [[0, 1, 2], [3, 4, 5]] and second.numpy().tolist() == [[6, 7, 8], [9, 10, 11]]


def test_tensors_of_every_dtype_are_combined():
    def combined():
        wide = tf.constant(10.0 + replicas.rank(), tf.float64)
        return replicas.total({"a": tf.constant(0.5), "b": wide, "c": [tf.constant(2.0), 2 * wide]})

    assert on_two(combined) == [[1.0, 21, 4.0, 42]] * 2


def test_what_every_replica_returns_is_that_of_the_first():
    with replicas.placed_on(2, "/CPU:0"):
        call = replicas.on_every_replica(lambda x, y: [x + replicas.rank(), {"y": y}], tf.constant(5))
        found = call(tf.constant(7))
        assert (int(found[0]), int(found[1]["y"])) == (5, 7)


def test_what_the_first_has_and_what_all_have():
    """A broadcast and an all-gather: numbers of one dtype, the rows in the order of the ranks."""
    first = on_two(lambda: [replicas.keep_first(tf.constant([3.0, 4.0]) + 10 * replicas.rank())])
    assert first == [[[3.0, 4.0]]] * 2
    rows = on_two(lambda: [replicas.rows_of_all(tf.constant([3, 0, -5]) * (1 + replicas.rank()))])
    assert rows == [[[[3, 0, -5], [6, 0, -10]]]] * 2
    assert replicas.rows_of_all(tf.constant([3, 4])).numpy().tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("message", "length", "padded"),
    [
        (b"", 0, b""), (b"abc", 3, b"abc\0"), (b"abcd", 4, b"abcd"), (b"abcde", 5, b"abcde\0\0\0"),
        (b"abc", 9, b"abc" + 9 * b"\0"), (b"abcdefgh", 4, b"abcd"),
    ],
)  # fmt: skip
def test_a_message_is_filled_up_to_whole_words(message, length, padded):
    words = replicas.as_words(message, length)
    assert words.dtype == tf.int32 and words.numpy().tobytes() == padded


def test_messages_of_one_process_come_back():
    with replicas.placed_on(2, "/CPU:0"):
        assert replicas.exchanged(b"hello\0") == [b"hello\0"] * 2
        assert replicas.from_first(b"seven b") == b"seven b"
        assert replicas.exchanged(b"") == [b"", b""] and replicas.from_first(b"") == b""
        assert replicas.in_all() == 2


def test_replicas_that_differ_are_measured():
    with replicas.placed_on(2, "/CPU:0"):
        variables = [tf.Variable([1.0, 2.0]), tf.Variable([3, 4])]
        measure = replicas.on_every_replica(replicas.disagreement, variables)
        assert float(measure()) == 0
        variables[0].values[1].assign([1.0, 2.5])
        assert float(measure()) == 0.5


def test_an_array_lies_on_the_device_of_each():
    array = np.array([1.5, 2.5])
    [alone] = replicas.copies(array)
    np.testing.assert_array_equal(alone, array)
    assert replicas.mine([alone]) is alone
    with replicas.placed_on(2, "/CPU:0"):
        placed = replicas.copies(array)
        assert [tensor.device[-5:] for tensor in placed] == ["CPU:0", "CPU:1"]
        for tensor in placed:
            np.testing.assert_array_equal(tensor, array)
    assert on_two(lambda: [replicas.mine([tf.constant(7), tf.constant(8)])]) == [[7], [8]]


def test_the_first_device_of_a_second_process_has_the_first_copy(monkeypatch):
    for rank, copy in ((2, "first"), (3, "second")):  # each process has two
        monkeypatch.setattr(replicas, "rank", lambda rank=rank: rank)
        assert replicas.mine(["first", "second"]) == copy


def test_outside_of_a_step_the_variables_are_those_of_the_first():
    alone = tf.Variable(1.0)
    assert replicas.on_first([alone])[0] is alone
    with replicas.placed_on(2, "/CPU:0"):
        of_both = tf.Variable(1.0)
        assert replicas.on_first([of_both])[0] is of_both.values[0]


@pytest.mark.parametrize(("replica", "by_itself", "move"), [(0, 4.0, 0.75), (1, 2.0, 0.5), (2, 7.0, 6.0)])
def test_moving_averages_are_those_of_the_rows_taken_in_turn(replica, by_itself, move, monkeypatch):
    """Three replicas, k = 1/2, m = 2: their batches of 6, 2 and 12 move m to 4, then 3, then 7.5."""

    def total(moves):
        assert [float(one) for one in moves] == [move], "k^(n-1-r) (m_r - k m)"
        return [tf.constant(0.75 + 0.5 + 6.0)]

    monkeypatch.setattr(replicas, "count", lambda: 3)
    monkeypatch.setattr(replicas, "rank", lambda: replica)
    monkeypatch.setattr(replicas, "total", total)
    average = tf.Variable(by_itself)
    replicas.join_moving_averages([tf.constant(2.0)], [average], [0.5])
    assert float(average) == 7.5


def test_the_devices_are_those_that_are_named(monkeypatch):
    with replicas.placed_on(1, "/CPU:1"):
        assert tf.constant(1.0).device.endswith("CPU:1") and not tf.distribute.has_strategy()
    with replicas.placed_on(2, "/CPU:0"):
        devices = tf.distribute.get_strategy().extended.worker_devices
        assert [device[-5:] for device in devices] == ["CPU:0", "CPU:1"]
    asked = []

    class Strategy:
        def scope(self):
            return contextlib.nullcontext("the scope")

    monkeypatch.setattr(replicas, "mirrored_strategy", lambda *args: asked.append(args) or Strategy())
    for device in ("/GPU:0", "/CPU:0"):
        with replicas.placed_on(3, device) as entered:
            assert entered == "the scope"
    assert asked == [(3, "GPU"), (3, "CPU")]


@pytest.mark.parametrize(("gpus", "kind"), [([], "RING"), (["a GPU"], "NCCL")])
def test_several_processes_are_connected_over_what_their_devices_have(gpus, kind, monkeypatch):
    """Once connected, every training is placed on the devices of all of them."""
    asked = []

    class Strategy:
        def __init__(self, communication_options):
            asked.append(communication_options.implementation.name)

        def scope(self):
            return contextlib.nullcontext("the scope")

    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", Strategy)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(replicas, "connected", None)
    replicas.connect()
    assert asked == [kind] and isinstance(replicas.connected, Strategy)
    with replicas.placed_on(1, "/CPU:0") as entered:
        assert entered == "the scope"


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
