"""Checkpoints: whole or not there, verified on reading, no silent start from the beginning."""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner import train_here

from analysis.support.network import restored_network
from core.devices import import_tensorflow
from core.run import checkpoints, run_folder

tf = import_tensorflow()

TENSORS = {
    "conv1/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "velocity/conv1/kernel": np.ones((3, 4), "f4"),
}


def saved(run, *steps, keep=10):
    for step in steps:
        checkpoints.save(run, step, {name: tensor + step for name, tensor in TENSORS.items()}, keep)
    return run


def test_what_is_read_is_what_was_saved(tmp_path):
    found = checkpoints.newest(saved(tmp_path, 7, 20))
    assert found.step == 20 and list(found.tensors) == list(TENSORS) and found.damaged == ()
    for name, tensor in TENSORS.items():
        assert found.tensors[name].tobytes() == (tensor + 20).tobytes() and found.tensors[name].dtype == np.float32
    assert checkpoints.newest(tmp_path, not_after=19).step == 7
    assert checkpoints.newest(tmp_path, not_after=20).step == 20
    with pytest.raises(checkpoints.CheckpointError, match="no checkpoint in it yet"):
        checkpoints.newest(tmp_path, not_after=6)


def test_a_checkpoint_is_the_two_files_of_the_docstring(tmp_path):
    """Nothing but NumPy is needed to open it, and any tool can check it."""
    folder = tmp_path / "checkpoints" / "step-00000400"
    assert checkpoints.save(tmp_path, 400, TENSORS, keep=1, identity={"seed": 3}) == folder
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "tensors.npz"]
    content = (folder / "tensors.npz").read_bytes()
    manifest = {"step": 400, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["run"] = {"seed": 3}
    assert checkpoints.newest(tmp_path).run == {"seed": 3}
    assert json.loads((folder / "manifest.json").read_text()) == manifest


def test_what_has_another_name_is_no_checkpoint(tmp_path):
    saved(tmp_path, 7, 20)
    for name in ("step-9", "step-00000030.old", "partial-00000040", "step-0000005x"):
        (tmp_path / checkpoints.FOLDER / name).mkdir()
    found = checkpoints.newest_first(tmp_path)
    assert [path.name for path in found] == ["step-00000020", "step-00000007"]
    assert [checkpoints.step_of(path) for path in found] == [20, 7]
    assert checkpoints.step_of(Path("step-1234567890")) == 1_234_567_890


def test_everything_is_on_the_disk_before_the_next_thing_happens(tmp_path, monkeypatch):
    """Both files whole, their folder, the rename, the folder above; no folder stays open."""
    order, opened, closed, fsync, replace, close = [], [], [], os.fsync, os.replace, os.close

    def sync(number):
        path = Path(os.readlink(f"/proc/self/fd/{number}"))
        order.append((path.name, None if path.is_dir() else os.fstat(number).st_size))
        opened.extend([number] if path.is_dir() else [])
        fsync(number)

    def rename(partial, final):
        order.append("renamed")
        replace(partial, final)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("only Linux says which file a number stands for")
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    monkeypatch.setattr(os, "close", lambda number: closed.append(number) or close(number))
    folder = checkpoints.save(tmp_path, 3, TENSORS, keep=1)
    assert len(opened) == 2 and closed == opened
    sizes = [(name, (folder / name).stat().st_size) for name in (checkpoints.TENSORS, checkpoints.MANIFEST)]
    assert order == [*sizes, ("partial-00000003", None), "renamed", (checkpoints.FOLDER, None)]


def test_only_the_newest_are_kept_in_the_order_of_steps(tmp_path):
    saved(tmp_path, 9, 10, 100, 1000, keep=2)
    assert [path.name for path in checkpoints.newest_first(tmp_path)] == ["step-00001000", "step-00000100"]


def test_the_same_state_makes_the_same_bytes(tmp_path):
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
    one, other = saved(tmp_path / "a", 5), saved(tmp_path / "b", 5)
    for file in (checkpoints.TENSORS, checkpoints.MANIFEST):
        path = f"{checkpoints.FOLDER}/step-00000005/{file}"
        assert (one / path).read_bytes() == (other / path).read_bytes()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A run with two checkpoints, for tests that spoil the newer and put it back."""
    (run := tmp_path_factory.mktemp("pair")).mkdir(exist_ok=True)
    return saved(run, 1, 2)


@given(data=st.data())
def test_every_damage_to_a_file_is_found(pair, data):
    """Any bit flipped, any cut: the newer is passed over with a sentence and the older is taken."""
    file = data.draw(st.sampled_from([checkpoints.TENSORS, checkpoints.MANIFEST]))
    path = pair / checkpoints.FOLDER / "step-00000002" / file
    content = path.read_bytes()
    index = data.draw(st.integers(0, len(content) - 1))
    spoiled = bytearray(content)
    if data.draw(st.booleans()):
        spoiled[index] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del spoiled[index:]
    try:
        path.write_bytes(bytes(spoiled))
        found = checkpoints.newest(pair)
        if found.step == 2:  # white space in the manifest may change; a value may not
            assert file == checkpoints.MANIFEST and json.loads(spoiled) == json.loads(content)
        else:
            assert found.step == 1 and len(found.damaged) == 1 and str(path.parent) in found.damaged[0]
    finally:
        path.write_bytes(content)


def altered(folder, **manifest):
    """Other entries in the manifest."""
    path = folder / checkpoints.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | manifest))


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda folder: altered(folder, step=1), "manifest.json: it is of step 1, its folder says otherwise"),
        (lambda folder: altered(folder, bytes=1), "tensors.npz: its bytes are not the ones that were saved"),
        (lambda folder: altered(folder, sha256="0" * 64), "tensors.npz: its bytes are not the ones that were saved"),
        (lambda folder: altered(folder, step=None), "manifest.json: unreadable (int() argument must be"),
        (lambda folder: (folder / checkpoints.MANIFEST).write_text("{}"), "manifest.json: unreadable ('step')"),
        (lambda folder: (folder / checkpoints.TENSORS).unlink(), "tensors.npz: unreadable ("),
    ],
)
def test_each_damage_has_its_sentence(tmp_path, damage, sentence):
    folder = checkpoints.newest_first(saved(tmp_path, 1, 2))[0]
    damage(folder)
    with pytest.raises(checkpoints.CheckpointError) as error:
        checkpoints.read(folder)
    assert str(error.value).startswith(f"{folder}/{sentence}")
    found = checkpoints.newest(tmp_path)
    assert (found.step, found.path.name, found.damaged) == (1, "step-00000001", (str(error.value),))


@pytest.mark.parametrize(
    "error, line",
    [
        (ValueError("one"), "x.npz: unreadable (one)"),
        (ValueError("one\ntwo"), "x.npz: unreadable (one)"),
        (EOFError(), "x.npz: unreadable (EOFError)"),
    ],
)
def test_the_reason_is_the_first_line_of_an_error_or_its_name(error, line):
    assert checkpoints.unreadable(Path("x.npz"), error) == line


def test_all_damaged_is_an_error_and_none_is_another(tmp_path):
    with pytest.raises(checkpoints.CheckpointError, match="no checkpoint in it yet"):
        checkpoints.newest(tmp_path)
    saved(tmp_path, 1, 2)
    for path in checkpoints.newest_first(tmp_path):
        (path / checkpoints.TENSORS).unlink()
    with pytest.raises(
        checkpoints.CheckpointError, match=r"all 2 checkpoints are damaged \(first: .*step-00000002/tensors.npz: unread"
    ):
        checkpoints.newest(tmp_path)


def test_a_failure_at_every_file_operation_of_a_save_keeps_the_last_one(tmp_path, monkeypatch):
    """The disk is full, or the process dies, at the first, second, ... call: the older checkpoint stays whole."""
    saved(tmp_path, 1)
    calls = {"left": 0}

    def failing(function):
        def wrapper(*arguments, **named):
            calls["left"] -= 1
            if calls["left"] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return function(*arguments, **named)

        return wrapper

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, failing(getattr(os, name)))
    monkeypatch.setattr(np, "savez", failing(np.savez))
    for survived in range(20):
        calls["left"] = survived
        try:
            saved(tmp_path, 2)
        except OSError:
            assert checkpoints.newest(tmp_path).step in (1, 2)
            assert not checkpoints.newest(tmp_path).damaged
            continue
        break
    assert survived == 6, "savez, four flushes, one rename"
    assert [path.name for path in (tmp_path / checkpoints.FOLDER).iterdir() if "partial" in path.name] == []


def test_a_damaged_checkpoint_of_the_same_step_is_replaced(tmp_path):
    saved(tmp_path, 1, 2)
    (tmp_path / checkpoints.FOLDER / "step-00000002" / checkpoints.TENSORS).write_bytes(b"no")
    saved(tmp_path, 2)
    assert checkpoints.newest(tmp_path).step == 2


def test_restoring_assigns_every_tensor(tmp_path):
    variables = {name: tf.Variable(tf.zeros_like(tensor)) for name, tensor in TENSORS.items()}
    checkpoints.restore(checkpoints.newest(saved(tmp_path, 1)), variables)
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(variables[name], tensor + 1)


@pytest.mark.parametrize(
    "variables, sentence",
    [
        ({"conv1/kernel": np.zeros((3, 4), "f4"), "conv2/kernel": np.zeros(1, "f4")}, "no tensor 'conv2/kernel'"),
        ({"conv1/kernel": np.zeros((4, 3), "f4")}, r"'conv1/kernel' is float32 \[3, 4\] there and float32 \[4, 3\]"),
        ({"conv1/kernel": np.zeros((3, 4), "f8")}, r"'conv1/kernel' is float32 \[3, 4\] there and float64 \[3, 4\]"),
        ({"conv1/kernel": np.zeros((3, 4), "f4")}, "tensor 'velocity/conv1/kernel' is not part of this network"),
    ],
)
def test_another_architecture_names_the_first_tensor_and_changes_nothing(tmp_path, variables, sentence):
    found = checkpoints.newest(saved(tmp_path, 1))
    variables = {name: tf.Variable(value) for name, value in variables.items()}
    with pytest.raises(checkpoints.CheckpointError, match=sentence):
        checkpoints.restore(found, variables)
    assert all(not np.any(variable.numpy()) for variable in variables.values())


def test_checkpoints_that_may_not_be_listed_are_not_none(tmp_path, monkeypatch):
    """A run would begin again, over its rows."""
    saved(tmp_path, 1)
    monkeypatch.setattr(checkpoints.os, "listdir", lambda path: (_ for _ in ()).throw(PermissionError(13, "no", path)))
    with pytest.raises(PermissionError):
        checkpoints.newest_first(tmp_path)


def test_a_run_folder_that_is_gone_is_not_made_again(tmp_path):
    """Somebody has removed or renamed it: checkpoints without a config.json would be of no use."""
    with pytest.raises(FileNotFoundError) as raised:
        saved(tmp_path / "gone", 1)
    assert raised.value.filename == tmp_path / "gone" / "checkpoints" or "gone" in str(raised.value.filename)
    assert not (tmp_path / "gone").exists()


def test_nothing_in_a_checkpoint_can_run(tmp_path):
    """A pickled object in the archive is refused like any other damage."""
    saved(tmp_path, 1)
    folder = tmp_path / checkpoints.FOLDER / "step-00000001"
    np.savez(folder / checkpoints.TENSORS, evil=np.array([object()]))
    size, digest = (folder / checkpoints.TENSORS).stat().st_size, checkpoints.sha256(folder / checkpoints.TENSORS)
    (folder / checkpoints.MANIFEST).write_text(json.dumps({"step": 1, "bytes": size, "sha256": digest}))
    with pytest.raises(checkpoints.CheckpointError, match="damaged"):
        checkpoints.newest(tmp_path)


# ------------------------------------------------------------- a checkpoint knows its run


def copied(run, folder):
    """A copy of a run that a test may change."""
    return Path(shutil.copytree(run, folder / "copy", symlinks=True))


def edit_config(folder, change):
    """config.json after change(its content)."""
    path = folder / run_folder.CONFIG
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda config: config["settings"].update(seed=7), r"seed is another \(then 0, now 7\); put back"),
        (lambda config: config["settings"].update(epochs=8), r"epochs is another \(then 3, now 8\)"),
        (lambda config: config["settings"].update(momentum=0.8), r"momentum is another \(then 0\.9, now 0\.8\)"),
        (lambda config: config["architecture"][0].update(stride=2), "architecture is another; put back the file that"),
        (lambda config: config["diagnostics"]["intervals"].update(norms=7), "intervals is another;"),
        (lambda config: config["settings"].update(kernels="textbook"), r"kernels is another \(then \w+, now textbook"),
        (lambda config: config["settings"].update(diagnostics="full"), r"diagnostics is another \(then \w+, now full"),
        (lambda config: config["kernels"].update(conv1="FastConv2D"), "chosen_kernels is another;"),
        (lambda config: config["data"].update(fingerprint="x"), r"fingerprint is another \(then a tenth, now x\)"),
    ],
)  # fmt: skip
def test_a_changed_config_is_noticed(straight, tmp_path, change, sentence):
    folder = copied(straight, tmp_path)
    checkpoint = checkpoints.newest(folder)
    checkpoints.check_same_run(folder, checkpoint)
    edit_config(folder, change)
    with pytest.raises(
        checkpoints.CheckpointError, match=rf"step-00000060: not written with this config\.json, whose {sentence}"
    ):
        checkpoints.check_same_run(folder, checkpoint)


def test_what_may_change_and_what_an_older_version_did_not_write(straight, tmp_path):
    folder = copied(straight, tmp_path)
    checkpoint = checkpoints.newest(folder)
    edit_config(folder, lambda config: config["settings"].update(data_dir="elsewhere", threads=1, device="cpu"))
    checkpoints.check_same_run(folder, checkpoint)
    edit_config(folder, lambda config: config["settings"].update(seed=7))
    checkpoints.check_same_run(folder, dataclasses.replace(checkpoint, run={}))


def test_a_run_is_not_continued_from_another_runs_checkpoint(straight, tmp_path):
    """Neither resumed nor replayed: the seed in config.json was edited, or the checkpoint is of another seed."""
    folder = copied(straight, tmp_path)
    edit_config(folder, lambda config: config["settings"].update(seed=7))
    with pytest.raises(checkpoints.CheckpointError, match="whose seed is another"):
        train_here(tmp_path, "copy", "--resume")
    with pytest.raises(checkpoints.CheckpointError, match="whose seed is another"):
        restored_network(folder)
