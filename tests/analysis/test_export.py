"""The exported network: another program without this project gets the same answers from it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis import export
from analysis.support.classifier import Classifier, network_input
from analysis.support.network import restored_network
from core.data import shapes10
from core.data.batches import standardize
from core.model import CNN, debug
from core.run import checkpoints
from core.run.checkpoints import CheckpointError
from core.run.errors import RunError
from train_loop import tf

SIZES = ((32, 32), (75, 48), (9, 300))

# What somebody else's program would do. -S leaves out the links of the environment to this project.
STRANGER = """
import importlib.util, sys
import numpy as np
import tensorflow as tf

for name in ("core", "analysis", "layers_explained", "train_loop"):
    assert importlib.util.find_spec(name) is None, name
model = tf.saved_model.load(sys.argv[1])
images = np.load("images.npz")
answers = {}
for name in images.files:
    for answer, value in model(images[name]).items():
        answers[f"{name}/{answer}"] = value.numpy().astype("U" if answer == "class_name" else np.float32)
    served = model.signatures["serving_default"](images=tf.constant(images[name]))
    np.testing.assert_array_equal(served["probabilities"], answers[f"{name}/probabilities"])
np.savez("answers.npz", class_names=model.names()["class_names"].numpy().astype("U"), **answers)
"""


@pytest.fixture
def copied(straight, tmp_path):
    """A folder of runs with a copy of a small run."""
    shutil.copytree(straight, tmp_path / "runs" / "it")
    return tmp_path / "runs"


def exported(runs_dir, *options) -> None:
    """The script, in this process."""
    export.main(export.build_parser().parse_args(["it", "--runs-dir", str(runs_dir), *map(str, options)]))


def test_a_process_without_this_project_gets_the_same_answers(copied, tmp_path, capsys):
    exported(copied)
    out = capsys.readouterr().out
    assert "the copy are the same, bit for bit" in out and "after step 60, 5,370 parameters" in out
    shutil.move(copied / "it" / "saved_model", tmp_path / "moved")
    draw = np.random.default_rng(0)
    images = {f"{h}x{w}": draw.integers(0, 256, (3, h, w, 3), np.uint8) for h, w in SIZES}
    np.savez(tmp_path / "images.npz", **images)
    (tmp_path / "stranger.py").write_text(STRANGER)
    done = subprocess.run(
        [sys.executable, "-S", "stranger.py", "moved"], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={"PYTHONPATH": str(Path(tf.__file__).parent.parent), "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "answers.npz")
    assert tuple(found["class_names"]) == shapes10.CLASSES
    network = restored_network(copied / "it")
    for name, some in images.items():
        expected = network.probabilities(standardize(network_input(tf.constant(some)))).numpy()
        # Another number of threads, and a graph beside single operations: the sums are rounded in another order.
        np.testing.assert_allclose(found[f"{name}/probabilities"], expected, rtol=0, atol=1e-6)
        assert list(found[f"{name}/class_name"]) == [shapes10.CLASSES[k] for k in expected.argmax(axis=1)]


def test_an_earlier_checkpoint_replaces_the_copy_that_is_there(copied, capsys):
    exported(copied)
    exported(copied, "--step", 30)
    checkpoint = checkpoints.newest(copied / "it", 30)
    assert f"after step {checkpoint.step}, " in capsys.readouterr().out
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    found = tf.saved_model.load(str(copied / "it" / "saved_model"))(images)["probabilities"]
    expected = restored_network(copied / "it", checkpoint).probabilities(standardize(tf.constant(images)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert not list((copied / "it").glob(".partial*"))


def test_only_a_saved_model_is_replaced(copied, tmp_path):
    (tmp_path / "homework").mkdir()
    (tmp_path / "homework" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="something else than a SavedModel; name another folder"):
        exported(copied, "--out", tmp_path / "homework")
    with pytest.raises(RunError, match="something else"):
        exported(copied, "--out", tmp_path / "homework" / "notes.txt")
    assert (tmp_path / "homework" / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    export.check_replaceable(tmp_path / "empty")
    export.check_replaceable(tmp_path / "new")


def test_a_folder_that_cannot_be_written(copied, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"--out .*file/x: cannot be written \(.+\); name another folder"):
        exported(copied, "--out", tmp_path / "file" / "x")


def test_a_copy_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    classifier = Classifier(CNN("debug", debug()), shapes10.CLASSES)
    other = Classifier(CNN("debug", debug(seed=1)), shapes10.CLASSES)
    assert export.largest_difference(classifier, classifier) == 0 < export.largest_difference(classifier, other)
    monkeypatch.setattr(export.tf.saved_model, "load", lambda path: other)
    with pytest.raises(RunError, match="the copy computes other probabilities"):
        export.save(classifier, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_run_without_checkpoints(copied):
    shutil.rmtree(copied / "it" / "checkpoints")
    with pytest.raises(CheckpointError, match="no checkpoint in it yet"):
        exported(copied)
    assert not (copied / "it" / "saved_model").exists()
