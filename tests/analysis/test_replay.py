"""A step taken again is the step that was logged, bit for bit; and its run is only read."""

import dataclasses
import io
import json
import random
import shutil

import numpy as np
import pytest
from readable import assert_readable
from runner import run, tenth_of_shapes10, train, train_here

import train_loop
from analysis import replay
from analysis.support import batch_figure, batch_result, common, series, step_comparison
from core.data import cifar10, shapes10
from core.data.batches import standardize
from core.run import checkpoints, logs, run_folder
from core.settings.command_line import parse

SMALL = ("--batch-size", 250, "--epochs", 15, "--checkpoint-every", 7)  # 60 steps of the debug network
OFF = ("--diagnostics", "off")
SHORT = ("--no-eager", "--steps", 12, "--batch-size", 32, "--data", "shapes10", "--checkpoint-every", 5)


@pytest.fixture(scope="module", autouse=True)
def prepared_process():
    """Draw the images of a data set once, leave TensorFlow as tests/conftest.py configured it, draw small figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "load", lambda *given: tenth_of_shapes10())
        patch.setattr(replay.devices, "configure", lambda threads, micro_batches=1, devices=1: None)
        patch.setattr(batch_figure, "MOST", 3)
        yield


def train_run(runs_dir, name, *args):
    """A run of train_loop.py, in this process. Returns its folder."""
    train_here(runs_dir, name, *args)
    return runs_dir / name


def replay_here(folder, *args):
    """What `python analysis/replay.py FOLDER ...` does, in this process; SystemExit has its one line."""
    common.answer(replay.main, replay.build_parser().parse_args([str(folder), *map(str, args)]))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, prepared_process):
    """A run of sixty steps, stopped at 33."""
    return train_run(tmp_path_factory.mktemp("stopped"), "small", *SMALL, "--stop-at", 33)


@pytest.fixture(scope="module")
def small(stopped, tmp_path_factory):
    """The same run, resumed and complete."""
    runs_dir = tmp_path_factory.mktemp("resumed")
    shutil.copytree(stopped, runs_dir / "small")
    return train_run(runs_dir, "small", "--resume")


@pytest.fixture
def copy(small, tmp_path):
    """The same run in a folder of its own, which a test may change."""
    return shutil.copytree(small, tmp_path / "copy")


@pytest.fixture
def prepared(monkeypatch):
    """A list that fills with every Training that replay prepares."""
    made, original = [], train_loop.prepare
    monkeypatch.setattr(train_loop, "prepare", lambda *a: made.append(original(*a)) or made[-1])
    return made


def assert_same_bits(out: str, step: int):
    """Every number of the step, and the sentence."""
    assert out.count("the same bits") == len(step_comparison.COMPARED) == 4
    assert f"Step {step:,} replayed is the step logged, bit for bit." in out


@pytest.mark.parametrize("step", [1, *sorted(random.Random(5).sample(range(2, 60), 3)), 60])
def test_any_step_before_and_after_a_resume(small, step, capsys):
    replay_here(small, "--step", step)
    assert_same_bits(capsys.readouterr().out, step)


def test_of_a_run_that_is_still_to_be_resumed(stopped, capsys):
    replay_here(stopped, "--step", 14)  # which has a checkpoint itself; the one before it counts
    out = capsys.readouterr().out
    assert_same_bits(out, 14)
    assert "step     14 of 60\nfrom     checkpoint step-00000012 on" in out


@pytest.mark.parametrize(
    "args",
    [
        ("--recipe", "modern", "--precision", "float32", *SHORT, *OFF),
        ("--recipe", "classic", *SHORT, "--holdout"),
        ("--eager", "--steps", 12, "--batch-size", 8, "--checkpoint-every", 5),
    ],
)
def test_dropout_batch_norm_augmentation_and_the_state_after_the_step(args, tmp_path, prepared, capsys):
    """Measuring the batch before the step changes nothing: averages and optimizer state end where the run's did."""
    folder = train_run(tmp_path, "it", *args)
    prepared.clear()
    replay_here(folder)
    out = capsys.readouterr().out
    assert_same_bits(out, 12)
    assert "step     12 of 12, the last one logged\nfrom     checkpoint step-00000010 on" in out
    saved = checkpoints.newest(folder)
    assert saved.step == 12
    for name, variable in prepared[0].state.items():
        assert variable.numpy().tobytes() == saved.tensors[name].tobytes(), name


@pytest.mark.parametrize("kernels", ["textbook", "fast"])
def test_in_micro_batches_the_batch_measured_is_the_batch_of_the_step(tmp_path, kernels, prepared, monkeypatch, capsys):
    """Batch norm normalizes each micro-batch by itself: one pass of the whole batch has other logits."""
    args = ("--recipe", "minute", "--data", "shapes10", "--no-eager", "--precision", "float32", "--steps", 4)
    folder = train_run(tmp_path, "it", *args, "--batch-size", 16, "--kernels", kernels, "--checkpoint-every", 2, *OFF)
    prepared.clear()
    measured, measure = [], batch_result.measure_batch
    monkeypatch.setattr(batch_result, "measure_batch", lambda *a: measured.append(measure(*a)) or measured[-1])
    replay_here(folder, "--step", 3)
    assert_same_bits(capsys.readouterr().out, 3)
    network, logged = prepared[0].network, logs.read(folder, logs.STEPS)
    assert network.micro_batches == 4
    assert measured[0].losses.mean() == pytest.approx(logged["loss"][2], rel=1e-5)
    assert np.mean(measured[0].predicted == measured[0].labels) == logged["accuracy"][2]
    assert measured[0].outputs["norm1a"][1] == pytest.approx(1, abs=0.01), "each micro-batch is normalized"

    # The logits of the layers one after the other are those of the step's own call; those of one pass are not.
    step = train_loop.tf.constant(4)
    x = standardize(prepared[0].batches.batch(step)[0])
    *_, (_, y) = network.outputs(x, training=True, step=step)
    logits = network(x, training=True, step=step).numpy()
    np.testing.assert_array_equal(y.numpy(), logits)
    network.micro_batches = 1
    assert np.abs(network(x, training=True, step=step).numpy() - logits).max() > 1e-3


def test_on_cifar10(tmp_path, capsys):
    if cifar10.find_cifar10("") is None:
        pytest.skip("CIFAR-10 is not on this machine")
    folder = train_run(tmp_path, "real", "--recipe", "debug", "--no-eager", "--data", "cifar10", "--steps", 4, *OFF)
    replay_here(folder, "--step", 3)
    assert_same_bits(capsys.readouterr().out, 3)


def test_the_end_of_a_broken_run(tmp_path, capsys):
    with pytest.raises(run_folder.RunError, match="stop being finite at step"):
        train_run(tmp_path, "lost", *SMALL, "--learning-rate", 1e9, "--warmup", 0, "--weight-decay", 1e9)
    last = int(logs.read(tmp_path / "lost", logs.STEPS)["step"][-1])
    replay_here(tmp_path / "lost")
    out = capsys.readouterr().out
    assert_same_bits(out, last)
    assert "nan" in out and "Not finite: " in out and "every number of that step is finite" not in out


def test_uncompiled_it_agrees_up_to_rounding(small, prepared, capsys):
    replay_here(small, "--step", 1, "--eager")
    out = capsys.readouterr().out
    assert "Step 1 uncompiled is the step logged up to rounding" in out
    assert prepared[0].step.experimental_get_tracing_count() == 0, "it was compiled"
    replayed = float(next(line for line in out.splitlines() if line.startswith("loss")).split()[1])
    assert replayed == pytest.approx(logs.read(small, logs.STEPS)["loss"][0], rel=1e-5)


def test_a_prompt_in_train_step_with_the_weights_before_the_step(small, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("next\nnext\np images.shape\np int(step)\ncontinue\n"))
    replay_here(small, "--step", 45, "--pdb")
    out = capsys.readouterr().out
    assert "You are in train_step; the weights are those before step 45." in out and "train_step()" in out
    assert "TensorShape([250, 32, 32, 3])" in out and "(Pdb) 45\n" in out
    assert "Step 45 uncompiled is the step logged up to rounding" in out

    monkeypatch.setattr("sys.stdin", io.StringIO("quit\n"))
    with pytest.raises(SystemExit, match="left the debugger before the end of step 45: nothing was compared"):
        replay_here(small, "--step", 45, "--pdb")


@pytest.mark.parametrize("args", [(), ("--eager",)])
def test_an_edited_number_in_steps_csv_is_noticed(copy, args, capsys):
    lines = (copy / logs.STEPS).read_text().splitlines(keepends=True)
    cells = lines[44].split(",")
    cells[2] = logs.written(float(cells[2]) * 1.001)  # the loss of step 44
    lines[44] = ",".join(cells)
    (copy / logs.STEPS).write_text("".join(lines))
    with pytest.raises(SystemExit, match=r"step 44 replayed is not the step logged \(loss .*\); ") as stopped:
        replay_here(copy, "--step", 44, *args)
    assert "\n" not in stopped.value.code and "0e-03 apart" in capsys.readouterr().out
    assert (copy / "replay-step-44.png").exists(), "the figure is drawn even so"


def test_the_last_bit_counts(small):
    logged = {name: 0.5 for name in step_comparison.COMPARED}
    settings = parse(["--precision", "float32"]).settings
    other = logged | {"gradient_norm": float(np.nextafter(np.float32(0.5), np.float32(1)))}
    assert step_comparison.agrees(logged, logged, True, settings) and not step_comparison.agrees(
        other, logged, True, settings
    )
    assert step_comparison.agrees(other, logged, False, settings), "rounding"
    changed = logged | {"accuracy": 0.5 + 1 / settings.batch_size}
    assert step_comparison.agrees(changed, logged, False, settings)
    assert not step_comparison.agrees(logged | {"accuracy": 0.5 + 2 / settings.batch_size}, logged, False, settings)
    assert not step_comparison.agrees(logged | {"loss": np.nan}, logged, False, settings)


def test_reasons_name_what_is_different():
    here = {"tensorflow": "2.21.0", "threads": 2, "git_commit": "a" * 40, "device": "the CPU"}
    assert step_comparison.reasons(here | {"threads": 4}, here).startswith(
        "what differs from config.json: threads (4 then, 2 now); or was"
    )
    other = here | {"git_commit": "b" * 40}
    assert f"git commit ({'b' * 40} then, {'a' * 40} now)" in step_comparison.reasons(other, here)
    assert "was the code, config.json, steps.csv or a checkpoint edited?" in step_comparison.reasons(here, here)
    edited = here | {"git_commit": "a" * 40 + "+"}
    assert "files here differ from that commit" in step_comparison.reasons(edited, edited)


def contents(folder):
    """{path: bytes} of every file of a run."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_run_is_only_read_even_while_somebody_trains_in_it(copy, capsys):
    before = contents(copy)
    with run_folder.held(copy):
        held = contents(copy)
        replay_here(copy, "--step", 50)
        after = contents(copy)
    assert set(after) - set(held) == {(copy / "replay-step-50.png").relative_to(copy)}
    assert {name: after[name] for name in held} == held and set(held) == set(before)


def test_the_figure(small, tmp_path, prepared, monkeypatch):
    """One tile an image, largest loss first, in the shape of a slide; of the batch that was logged."""
    drawn, save = [], batch_figure.style.save
    monkeypatch.setattr(batch_figure.style, "save", lambda drawing, path: drawn.append(drawing) or save(drawing, path))
    monkeypatch.setattr(batch_figure, "MOST", 20)
    measured, measure = [], batch_result.measure_batch
    monkeypatch.setattr(batch_result, "measure_batch", lambda *a: measured.append(measure(*a)) or measured[-1])
    replay_here(small, "--step", 45, "--out", tmp_path / "it.png")
    content = (tmp_path / "it.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) == (1920, 1080)
    result, (_, grid) = measured[0], drawn[0].axes
    assert result.images.shape == (250, 32, 32, 3) and len(grid.images) == 20
    order = result.by_loss()
    assert np.all(np.diff(result.losses[order]) <= 0)
    for tile, i in zip(grid.images, order):
        np.testing.assert_array_equal(tile.get_array(), result.images[i])
    texts = [text.get_text() for text in grid.texts]
    assert f"{result.losses.max():.2f}" == texts[0]
    logged = logs.read(small, logs.STEPS)
    assert result.losses.mean() == pytest.approx(logged["loss"][44], rel=1e-5)
    assert np.mean(result.predicted == result.labels) == pytest.approx(logged["accuracy"][44], abs=1 / 250 + 1e-6)
    # All images of a small batch.
    eight = batch_result.BatchResult(
        result.images[:8], result.labels[:8], np.array([1, np.nan, 3, 2, 0, 5, 4, 1.5]), result.predicted[:8], {}, {}
    )
    batch_figure.draw(eight, shapes10.CLASSES, "eight", tmp_path / "eight.png")
    assert [text.get_text() for text in drawn[1].axes[1].texts if text.get_text()[0] in "n012345"] == [
        "nan", "5.00", "4.00", "3.00", "2.00", "1.50", "1.00", "0.00",
    ]  # fmt: skip
    # Losses at the end of float32, as after a learning rate of 1e8: their sum has no place there.
    huge = dataclasses.replace(eight, losses=np.array([3.3e38, 1e38, 2e9, 950, 3, 2, 1, 0.5], np.float32))
    with monkeypatch.context() as patch:
        patch.setattr(batch_figure.style, "save", lambda drawing, path: drawn.append(drawing))
        batch_figure.draw(huge, shapes10.CLASSES, "huge", tmp_path / "huge.png")
    losses, grid = drawn[-1].axes
    assert_readable(drawn.pop())
    assert not losses.yaxis.get_offset_text().get_text()  # it would lie under the legend
    assert "the largest 1 of 8 make up 77 % of the sum." in losses.get_title("left")
    assert grid.texts[0].get_text() == "3.3e+38" and losses.get_ylim()[1] > 3.5e38
    # One panel as a slide.
    monkeypatch.setattr(batch_figure.style, "save", lambda drawing, path: drawn.append(drawing))
    for panel in batch_figure.PANELS:
        batch_figure.draw(result, shapes10.CLASSES, "one panel", tmp_path / "slide.png", panel)
        slide = drawn.pop()
        written = assert_readable(slide)
        assert len(slide.axes) == 1 and len(slide.axes[0].images) == (20 if panel == "images" else 0)
        assert ("loss (nats)" in written) == (panel == "losses") and not any("shown below" in text for text in written)


def test_the_layers_table_is_what_the_run_measured(small, capsys):
    """Gradient norm and update-to-weight ratio of step 45 as layers.csv has them; a dense layer's outputs by hand."""
    replay_here(small, "--step", 45)
    lines = capsys.readouterr().out.splitlines()
    measured = series.layer_series(small)
    for layer in ("conv1", "dense1"):
        row = next(line for line in lines if line.startswith(layer)).split()
        for column, quantity in ((-3, "gradient_norm"), (-2, "weight_norm"), (-1, "update_ratio")):
            steps, values = measured[quantity][layer]
            assert float(row[column]) == pytest.approx(values[steps == 45][0], rel=0.05), quantity
    dropped = next(line for line in lines if line.startswith("dropout")).split()
    pooled = next(line for line in lines if line.startswith("pool1")).split()
    assert float(dropped[3]) > float(pooled[3]) + 5, "in training mode a tenth is dropped"
    assert batch_result.statistics_of(train_loop.tf.constant([[1.0, -3.0], [0.0, 4.0]])) == pytest.approx(
        (0.5, np.sqrt(6.25), 0.25, 4)
    )


def test_a_damaged_checkpoint_costs_only_time(copy, capsys):
    spoil(copy, "step-00000044")
    replay_here(copy, "--step", 45)
    out = capsys.readouterr().out
    assert "passed over: " in out
    assert_same_bits(out, 45)


def spoil(folder, *names):
    """Empty the tensors of these checkpoints."""
    for name in names:
        (folder / checkpoints.FOLDER / name / checkpoints.TENSORS).write_bytes(b"")


def all_spoiled(folder):
    spoil(folder, *(path.name for path in checkpoints.newest_first(folder)))


def no_step_yet(folder):
    (folder / logs.STEPS).write_text((folder / logs.STEPS).read_text().partition("\n")[0] + "\n")


def edited_config(edit):
    def change(folder):
        config = run_folder.read_config(folder)
        edit(config)
        (folder / run_folder.CONFIG).write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    "change, step, sentence",
    [
        (None, 0, r"--step 0: .*steps.csv has steps 1 to 60; choose one of them"),
        (None, 61, r"--step 61: .*steps.csv has steps 1 to 60; choose one of them"),
        (no_step_yet, 1, "steps.csv: no step in it yet"),
        (all_spoiled, 45, "checkpoints are damaged"),
        (edited_config(lambda config: config["settings"].pop("crop")), 45, r"of another version .* \(see 'crop'\)"),
        (edited_config(lambda config: config["data"].update(fingerprint="0")), 45, "it was trained on other bytes"),
        (edited_config(lambda config: config["settings"].update(device="gpu:7")), 45, "--device gpu:7: TensorFlow"),
    ],
)
def test_bad_use_gets_one_line(copy, change, step, sentence):
    if change:
        change(copy)
    with pytest.raises(SystemExit, match=sentence) as stopped:
        replay_here(copy, "--step", step)
    assert "\n" not in stopped.value.code


def test_as_a_user_runs_it(tmp_path):
    """Processes of their own, which set threads and determinism themselves."""
    train(tmp_path, "it", "--steps", 5, *OFF)
    done = run("analysis/replay.py", tmp_path / "it", "--step", 4, "--out", tmp_path / "new" / "it.svg")
    assert_same_bits(done.stdout, 4)
    assert done.stderr == "" and (tmp_path / "new" / "it.svg").read_text().startswith("<?xml")
    done = run("analysis/replay.py", "--step", "last", status=2)
    assert "argument --step: invalid int value: 'last'" in done.stderr
