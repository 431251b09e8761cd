"""The loop keeps its promises: exactness, resume, one trace, a debugger that stops on real tensors."""

import functools
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from runner import PROJECT, command, run, train

import train_loop
from core import data
from core.run import checkpoints, logs, run_folder
from core.settings.command_line import Invocation, parse
from core.settings.recipes import RECIPES

EXACT_FILES = (logs.STEPS, logs.EPOCHS, logs.LAYERS, logs.PREDICTIONS)
SHORT = ("--epochs", 3, "--checkpoint-every", 7, "--weight-average", 0.75)  # 60 steps, the last 45 averaged


def train_here(runs_dir, name, *args):
    """What `tests/runner.train` runs, in this process: TensorFlow is awake and the pictures are drawn already."""
    small = ["--recipe", "debug", "--no-eager", "--data", "shapes10", "--batch-size", 500]
    args = [str(word) for word in (*([] if "--resume" in args else small), *args)]
    return train_loop.train(parse(["--runs-dir", str(runs_dir), "--run", name, *args]))


@pytest.fixture(scope="module", autouse=True)
def already_awake():
    """Draw the pictures once, and leave TensorFlow as tests/conftest.py configured it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_loop, "load_data", functools.cache(data.load))
        patch.setattr(train_loop.devices, "configure", lambda threads, pieces=1: None)
        yield


def assert_same_run(one, other):
    """The same bytes in every exact file and the same bits in the last checkpoint."""
    for name in EXACT_FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    left, right = checkpoints.newest(one), checkpoints.newest(other)
    assert left.step == right.step and list(left.tensors) == list(right.tensors)
    for name, tensor in left.tensors.items():
        assert tensor.tobytes() == right.tensors[name].tobytes(), name


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def straight(runs_dir, already_awake):
    """Three epochs in one piece."""
    train_here(runs_dir, "straight", *SHORT)
    return runs_dir / "straight"


def start_and_wait(runs_dir, name, steps, *args):
    """Start a run in the background; return the process once `steps` steps are logged and a checkpoint is there."""
    process = subprocess.Popen(
        command(
            "train_loop.py", "--recipe", "debug", "--no-eager", "--data", "shapes10", "--batch-size", 500,
            "--runs-dir", runs_dir, "--run", name, *args,
        ),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    folder, deadline = runs_dir / name, time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / logs.STEPS).exists() and (folder / logs.STEPS).read_text().count("\n") > steps:
            if checkpoints.newest_first(folder):
                return process
        time.sleep(0.01)
    pytest.fail(f"the run did not get to step {steps}: {process.communicate()}")


def test_twenty_epochs_in_pieces_are_twenty_epochs(runs_dir):
    """Stopped mid-epoch by Ctrl-C, at an epoch's end, and by SIGKILL: the same weights and the same bytes."""
    length = ("--epochs", 20, "--checkpoint-every", 13)
    train(runs_dir, "twenty", *length)

    process = start_and_wait(runs_dir, "pieces", 30, *length)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in err
    assert "Ctrl-C: stopped after step" in out and "--run pieces --resume" in out
    stopped = checkpoints.newest(runs_dir / "pieces").step
    assert stopped > 30

    epoch_end = (stopped // 20 + 2) * 20
    run("train_loop.py", "--runs-dir", runs_dir, "--run", "pieces", "--resume", "--stop-at", epoch_end)
    assert checkpoints.newest(runs_dir / "pieces").step == epoch_end

    resumed = subprocess.Popen(
        command("train_loop.py", "--runs-dir", runs_dir, "--run", "pieces", "--resume"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    steps = runs_dir / "pieces" / logs.STEPS
    while steps.read_text().count("\n") < epoch_end + 60 and resumed.poll() is None:
        time.sleep(0.01)
    resumed.kill()
    assert resumed.wait() == -signal.SIGKILL

    run("train_loop.py", "--runs-dir", runs_dir, "--run", "pieces", "--resume")
    assert_same_run(runs_dir / "twenty", runs_dir / "pieces")


def test_same_seed_same_bytes_other_seed_other_bytes(runs_dir, straight):
    train(runs_dir, "again", *SHORT)  # in a process of its own
    assert_same_run(straight, runs_dir / "again")
    train_here(runs_dir, "other", *SHORT, "--seed", 1)
    assert (straight / logs.STEPS).read_bytes() != (runs_dir / "other" / logs.STEPS).read_bytes()


def test_a_run_ends_at_the_mean_of_its_last_weights(runs_dir):
    args = ("--steps", 8, "--checkpoint-every", 1)
    train_here(runs_dir, "last", *args)
    train_here(runs_dir, "mean", *args, "--weight-average", 0.5)
    last, mean = (
        [checkpoints.newest(runs_dir / name, not_after=step).tensors for step in (5, 6, 7, 8)]
        for name in ("last", "mean")
    )
    names = [name for name in last[0] if name.count("/") == 1]  # conv1/kernel, but not velocity/conv1/kernel
    assert len(names) == 8
    for name in names:
        np.testing.assert_array_equal(mean[-2][name], last[-2][name], err_msg="until then nothing is different")
        np.testing.assert_allclose(mean[-1][name], np.mean([w[name] for w in last], axis=0), rtol=1e-5, atol=1e-7)
    evaluations = [logs.read(runs_dir / name, logs.EPOCHS)["test_loss"][-1] for name in ("last", "mean")]
    assert evaluations[0] != evaluations[1]


@pytest.mark.parametrize("network", ["classic", "speed64"])
def test_pieces_that_race_give_the_same_bytes(runs_dir, network):
    """Which piece of a batch is done first is chance; what comes out must not be, nor what batch norm measured."""
    args = ("--network", network, "--batch-size", 50, "--steps", 30, "--micro-batches")
    race, another, alone = (f"{name}-{network}" for name in ("race", "another-race", "no-race"))
    for name in (race, another):
        train_here(runs_dir, name, *args, 2)
    assert_same_run(runs_dir / race, runs_dir / another)
    train_here(runs_dir, alone, *args, 1)
    losses = [logs.read(runs_dir / name, logs.STEPS)["loss"] for name in (race, alone)]
    assert (losses[0] != losses[1]).any()
    if network == "classic":
        assert np.allclose(*losses, rtol=1e-2), "the sums are split elsewhere, no more"


@pytest.mark.parametrize(
    "spoil",
    ["velocity/conv1/kernel", "mean/conv1/kernel", "last_gradient/conv1/kernel", "norm1/moving_mean", "conv1/kernel"],
)
def test_a_resume_that_lost_something_is_noticed(runs_dir, straight, spoil, monkeypatch):
    """The control experiment: without one slot or statistic, the continued run is a different run."""
    name = f"without-{spoil.replace('/', '-')}"
    train_here(runs_dir, name, *SHORT, "--stop-at", 25)
    folder = runs_dir / name
    found = checkpoints.newest(folder)
    checkpoints.save(folder, found.step, found.tensors | {spoil: np.zeros_like(found.tensors[spoil])}, keep=10)
    train_here(runs_dir, name, "--resume")
    with pytest.raises(AssertionError):
        assert_same_run(straight, folder)


def test_a_damaged_checkpoint_is_passed_over_and_costs_only_time(runs_dir, straight, capsys):
    train_here(runs_dir, "damaged", *SHORT, "--stop-at", 25)
    newest = checkpoints.newest_first(runs_dir / "damaged")[0] / checkpoints.TENSORS
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1  # a single bit
    newest.write_bytes(content)
    train_here(runs_dir, "damaged", "--resume")
    out = capsys.readouterr().out
    assert "passed over" in out and "resumed after step 21" in out
    assert_same_run(straight, runs_dir / "damaged")


def test_a_run_with_only_damaged_checkpoints_is_refused(runs_dir):
    train_here(runs_dir, "ruined", *SHORT, "--stop-at", 25)
    before = (runs_dir / "ruined" / logs.STEPS).read_bytes()
    for folder in checkpoints.newest_first(runs_dir / "ruined"):
        (folder / checkpoints.TENSORS).write_bytes(b"")
    done = run("train_loop.py", "--runs-dir", runs_dir, "--run", "ruined", "--resume", status=1)
    assert "all 5 checkpoints are damaged" in done.stderr and done.stderr.count("\n") == 1
    assert (runs_dir / "ruined" / logs.STEPS).read_bytes() == before, "nothing may be started over"


def test_killed_before_its_exam_an_epoch_sits_it_on_resume(runs_dir, straight):
    """The checkpoint of an epoch's end is there, its row in epochs.csv is not."""
    train_here(runs_dir, "no-evaluation", *SHORT, "--stop-at", 40)
    epochs = runs_dir / "no-evaluation" / logs.EPOCHS
    epochs.write_text("".join(epochs.read_text().splitlines(keepends=True)[:-1]))
    predictions = runs_dir / "no-evaluation" / logs.PREDICTIONS
    predictions.write_text("".join(predictions.read_text().splitlines(keepends=True)[:-37]))  # half of it was written
    train_here(runs_dir, "no-evaluation", "--resume")
    assert_same_run(straight, runs_dir / "no-evaluation")


def test_a_signal_during_the_save_of_an_epoch_end_loses_no_exam(runs_dir, straight, monkeypatch):
    """It comes after the loop has looked for it: the evaluation is sat, and the next step is the last."""
    save = checkpoints.save

    def interrupted_save(folder, step, *rest):
        save(folder, step, *rest)
        if step == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", interrupted_save)
        assert not train_here(runs_dir, "late-signal", *SHORT)
    assert checkpoints.newest(runs_dir / "late-signal").step == 21
    assert train_here(runs_dir, "late-signal", "--resume")
    assert_same_run(straight, runs_dir / "late-signal")


def test_two_processes_in_one_run_folder(runs_dir, straight):
    with run_folder.held(straight):
        done = run("train_loop.py", "--runs-dir", runs_dir, "--run", "straight", "--resume", status=1)
    assert f"process {os.getpid()} is training in it" in done.stderr and done.stderr.count("\n") == 1


def test_sigterm_stops_between_two_steps(runs_dir):
    process = start_and_wait(runs_dir, "terminated", 25, "--epochs", 200, "--checkpoint-every", 7)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err == "" and "SIGTERM: stopped after step" in out


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
    assert predictions["count"].reshape(3, 100).sum(axis=1).tolist() == [2000] * 3
    right = predictions["count"].reshape(3, 10, 10).trace(axis1=1, axis2=2)
    np.testing.assert_allclose(right / 2000, epochs["test_accuracy"])
    assert len(logs.read(straight, logs.TIMING)["step"]) == 60
    config = run_folder.read_config(straight)
    assert config["settings"]["batch_size"] == 500 and config["data"]["title"] == "shapes10"
    assert config["data"]["train_class_counts"] == [1000] * 10 and config["data"]["test_images_in_training"] == 0
    for key in ("tensorflow", "numpy", "python", "threads", "device", "precision", "git_commit"):
        assert key in config, key
    assert config["parameter_count"] == 5370 and config["forward_flops_per_image"] > 2 * 226_304
    assert os.path.realpath(straight.parent / "latest").startswith(str(straight.parent))


def test_every_logged_number_reads_back_exactly(straight):
    """The text of a float is the float: written again it is the same text."""
    for line in (straight / logs.STEPS).read_text().splitlines()[1:]:
        for cell in line.split(",")[2:]:
            assert repr(float(cell)) == cell and np.float64(np.float32(cell)) == float(cell)


def compiled_functions(monkeypatch) -> list:
    """A list that fills with the functions that train() compiles from here on."""
    made, original = [], train_loop.compiled
    monkeypatch.setattr(train_loop, "compiled", lambda *a, **k: made.append(original(*a, **k)) or made[-1])
    return made


def test_one_trace_of_each_compiled_function(tmp_path, monkeypatch):
    """Also with a batch that does not divide the data, and evaluation pieces of unequal length."""
    monkeypatch.setattr("core.batches.EVALUATION_BATCH", 300)  # 2,000 test images: the last piece is short
    made = compiled_functions(monkeypatch)
    train_here(tmp_path, "uneven", "--batch-size", 384, "--epochs", 2)
    counts = [function.experimental_get_tracing_count() for function in made]
    assert counts[:2] == [1, 1] and set(counts) == {0, 1}, "the step, the evaluation; probes that nobody asked are not traced"


def resident_megabytes():
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_memory_is_flat_over_epochs(tmp_path, monkeypatch, small_data):
    """Nothing is kept of a step or an epoch once it is written: more epochs, no more memory."""
    held, finish = [], train_loop.terminal.epoch_line
    monkeypatch.setattr(train_loop.terminal, "epoch_line", lambda *a: (held.append(resident_megabytes()), finish(*a)))
    monkeypatch.setattr(train_loop, "load_data", lambda *a: small_data)
    train_here(tmp_path, "long", "--batch-size", 100, "--epochs", 60)
    assert len(held) == 60 and np.mean(held[-10:]) < np.mean(held[10:20]) + 10, held


def test_eager_equals_graph(tmp_path):
    for mode in ("--eager", "--no-eager"):
        train_here(tmp_path, mode.strip("-"), mode, "--batch-size", 8, "--steps", 10)
    one, other = logs.read(tmp_path / "eager", logs.STEPS), logs.read(tmp_path / "no-eager", logs.STEPS)
    for column in one:
        np.testing.assert_allclose(one[column], other[column], rtol=2e-5, atol=1e-6, err_msg=column)


GOLDEN = [2.28381, 3.20622, 3.49997, 3.54609, 2.48612, 2.71754, 2.51063, 2.80130, 2.70308, 2.69857]


@pytest.mark.parametrize(("seconds", "measurements"), [(1e9, [4]), (-1.0, [1, 2, 3, 4])])
def test_long_steps_are_shown_before_fifty_of_them_are_over(tmp_path, monkeypatch, seconds, measurements):
    seen = []
    monkeypatch.setattr(logs, "LATE", seconds)
    monkeypatch.setattr(train_loop.terminal.Progress, "update", lambda self, step, numbers: seen.append(step))
    train_here(tmp_path, "long", "--steps", 4)
    assert seen == measurements


def test_golden_losses_of_ten_steps(tmp_path):
    """The first ten losses of the debug recipe, as this code once computed them: nothing moves unnoticed.

    To a few parts in ten thousand, because another processor adds in another order.
    """
    train_here(tmp_path, "golden", "--batch-size", 8, "--steps", 10)
    np.testing.assert_allclose(logs.read(tmp_path / "golden", logs.STEPS)["loss"], GOLDEN, rtol=5e-4)


def test_pdb_stops_in_train_step_with_real_tensors(tmp_path):
    """`make debug`, typed by a script: next, look, step into the tape, leave."""
    done = run(
        "train_loop.py", "--recipe", "debug", "--pdb", "--runs-dir", tmp_path, status=1,
        stdin="next\np images.shape, images.dtype.name\np int(labels[0]) in range(10)\nnext\nnext\nnext\nnext\n"
        "p float(loss) > 0\np logits.numpy().shape\ncontinue\np int(step)\nquit\n",
    )  # fmt: skip
    assert "def train_step" in done.stdout or "train_step()" in done.stdout
    assert "(TensorShape([8, 32, 32, 3]), 'uint8')" in done.stdout
    assert re.search(r"\(Pdb\) True\n", done.stdout) and "(8, 10)" in done.stdout
    assert "(Pdb) 2\n" in done.stdout, "the next step stops again"


def test_make_debug_is_that_command():
    assert "train_loop.py --recipe debug --pdb" in (PROJECT / "Makefile").read_text()


@pytest.mark.parametrize(
    "args, sentence",
    [
        (["--run", "straight"], "exists; choose another name"),
        (["--run", "nobody", "--resume"], "nobody: no such run"),
        (["--run", "straight", "--resume", "--seed", "5"], "was started with 0, and a run keeps its settings"),
        (["--data", "cifar10", "--data-dir", "/nowhere"], "/nowhere: no such folder"),
        (["--data", "shapes10", "--device", "gpu:7"], "--device gpu:7: TensorFlow finds"),
        (["--data", "shapes10", "--runs-dir", "/dev/null"], "cannot make /dev/null"),
        (["--data", "shapes10", "--batch-size", "10001"], "larger than the 10000 training images"),
    ],
)
def test_bad_use_gets_one_line(runs_dir, straight, args, sentence, capsys):
    try:
        status = train_loop.main(parse(["--runs-dir", str(runs_dir), *args]))
    except SystemExit as stopped:
        status = stopped.code
    out, err = capsys.readouterr()
    assert status in (1, 2) and sentence in err and err.count("\n") == 1 and out == ""


def test_another_architecture_is_refused(runs_dir, straight, monkeypatch):
    state = {"conv1/kernel": train_loop.tf.Variable(np.zeros((5, 5, 3, 8), np.float32))}
    with pytest.raises(checkpoints.CheckpointError, match=r"'conv1/kernel' is float32 \[3, 3, 3, 8\] there"):
        checkpoints.restore(checkpoints.newest(straight), state)


def test_standard_error_holds_nothing_but_the_bar(runs_dir):
    """TensorFlow's start-up noise is gone; where nobody looks, so is the bar."""
    assert train(runs_dir, "quiet", "--steps", 3).stderr == ""


def test_a_short_run_on_real_pictures(tmp_path):
    """A tenth of an epoch of the classic recipe: much better than guessing, on pictures it has not seen."""
    if data.find_cifar10("") is None:
        pytest.skip("CIFAR-10 is not on this machine")
    run("train_loop.py", "--data", "cifar10", "--steps", 100, "--runs-dir", tmp_path, "--run", "real")
    epochs = logs.read(tmp_path / "real", logs.EPOCHS)
    assert epochs["test_accuracy"][-1] > 0.3 and epochs["test_loss"][-1] < 1.95
    assert run_folder.read_config(tmp_path / "real")["data"]["train_images"] == 50_000


BROKEN = ("--recipe", "classic", "--no-eager", "--data", "shapes10", "--batch-size", 50, "--learning-rate", 1e8)


ON_ANOTHER_DEVICE = """
import dataclasses
from core import devices, data, recipes
tf = devices.import_tensorflow()
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
import train_loop
settings = command_line.parse(["--recipe", "debug", "--no-eager", "--precision", "float32"]).settings
pictures, losses = data.load("shapes10"), []
for device in ("/CPU:0", "/CPU:1"):
    with tf.device(device):
        training = train_loop.prepare(settings, pictures)
        metrics, _ = training.one_step(tf.constant(1))
        sums = training.one_piece(tf.constant(pictures.test_images[:8]), tf.constant(pictures.test_labels[:8]))
    held = [training.batches.images, *training.state.values(), *metrics.values(), *sums.values()]
    print({tensor.device.rpartition(":")[2] for tensor in held})
    losses.append(float(metrics["loss"]))
print(losses[0] == losses[1])
"""


def test_all_of_it_lives_and_happens_on_the_device_that_was_chosen():
    """Two logical devices stand in for a processor and a GPU: pictures, weights, slots, step and evaluation are on one."""
    done = subprocess.run([sys.executable, "-c", ON_ANOTHER_DEVICE], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["{'0'}", "{'1'}", "True"], done.stdout + done.stderr


def test_numbers_that_are_not_finite_stop_the_run(runs_dir, capsys):
    """With the step, the rate and the layer in one line; nothing after that step in the log, nothing broken saved."""
    args = [str(word) for word in (*BROKEN, "--steps", 60, "--warmup", 0.5, "--checkpoint-every", 1)]
    assert train_loop.main(parse(["--runs-dir", str(runs_dir), "--run", "broken", *args])) == 1
    err = capsys.readouterr().err
    steps = logs.read(runs_dir / "broken", logs.STEPS)
    last = steps["step"][-1]
    finite = np.isfinite(steps["loss"]) & np.isfinite(steps["gradient_norm"])
    assert not finite[-1] and finite[:-1].all() and err.count("\n") == 1
    assert re.search(
        rf"stop being finite at step {last} \(learning rate [\de+.]+\): .*(layer|weights|gradient)", err
    ), err
    assert f"--step {last}`" in err
    newest = checkpoints.newest(runs_dir / "broken")
    assert newest.step < last and f"last good checkpoint is {newest.path.name}" in err
    for tensor in newest.tensors.values():
        assert np.isfinite(tensor).all()


def test_a_number_lost_by_chance_is_told_from_one_lost_by_training(runs_dir, straight, monkeypatch):
    """A weight is broken once, as bad memory would: the line says so, and --resume ends where an unbroken run ends."""
    healthy = train_loop.prepare

    def struck_at_step_25(settings, pictures):
        training, strikes = healthy(settings, pictures), [25]

        def one_step(step):
            if strikes and int(step) == strikes[0]:
                strikes.clear()
                weight = training.network.parameters[0]
                weight.assign(weight * np.nan)
            return training.one_step(step)

        return replace(training, one_step=one_step)

    monkeypatch.setattr(train_loop, "prepare", struck_at_step_25)
    with pytest.raises(run_folder.RunError) as told:
        train_here(runs_dir, "struck", *SHORT)
    assert re.search(r"at step 25 .*same step is finite.*step-00000021; --resume goes on", str(told.value)), told.value
    monkeypatch.setattr(train_loop, "prepare", healthy)
    assert train_here(runs_dir, "struck", "--resume")
    assert_same_run(runs_dir / "struck", straight)


def test_invocation_defaults_are_the_recipe():
    asked = parse([])
    assert isinstance(asked, Invocation) and asked.settings == RECIPES["classic"]
    assert parse(["--recipe", "modern", "--epochs", "2"]).settings == replace(RECIPES["modern"], epochs=2)
