"""The event files, read back by TensorBoard's own reader."""

import numpy as np
import pytest
from runner import train_here

from core.run import logs

MISSING = "TensorBoard is not installed: pip install tensorboard"
accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=MISSING)
tensor_util = pytest.importorskip("tensorboard.util.tensor_util", reason=MISSING)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    runs_dir = tmp_path_factory.mktemp("runs")
    train_here(runs_dir, "shown", "--epochs", 2, "--tensorboard")
    return runs_dir / "shown"


@pytest.fixture(scope="module")
def events(run):
    return read_events(run, "train")


def read_events(run, part):
    folder = run.parent / "tensorboard" / run.name / part
    reader = accumulator.EventAccumulator(str(folder), size_guidance={"tensors": 0})
    reader.Reload()
    return reader


def scalars(events, tag):
    found = events.Tensors(tag)
    return [event.step for event in found], [float(tensor_util.make_ndarray(e.tensor_proto)) for e in found]


def test_every_scalar_is_its_row(run, events):
    steps = logs.read(run, logs.STEPS)
    for column in ("loss", "accuracy", "learning_rate", "gradient_norm"):
        at, values = scalars(events, f"batch/{column}")
        assert at == steps["step"].tolist() and values == steps[column].tolist()
    for part in ("train", "test"):  # one tag, so that they share a chart
        at, values = scalars(read_events(run, part), "epoch/accuracy")
        assert at == [20, 40]
        np.testing.assert_allclose(values, logs.read(run, logs.EPOCHS)[f"{part}_accuracy"], rtol=1e-6)
    assert scalars(events, "update_ratio/conv1")[0] == list(range(1, 41))


@pytest.mark.parametrize(
    "plugin, tag", [("scalars", "batch/loss"), ("histograms", "weights/conv1/kernel"), ("images", "images")]
)
def test_each_plugin_finds_its_own(events, plugin, tag):
    assert tag in events.PluginTagToContent(plugin)
    assert events.SummaryMetadata(tag).data_class


def test_the_latest_run_is_shown_once(run):
    """TensorBoard follows links: event files inside the run would be there again under runs/latest."""
    assert not (run / "tensorboard").exists() and (run.parent / "latest").exists()


def test_histograms_count_every_weight(events):
    for event in events.Tensors("weights/conv1/kernel"):
        bars = tensor_util.make_ndarray(event.tensor_proto)
        assert bars.shape == (30, 3) and bars[:, 2].sum() == 3 * 3 * 3 * 8
        assert np.all(bars[:, 0] < bars[:, 1])


def test_images_can_be_decoded(events):
    import tensorflow as tf

    width, height, *images = tensor_util.make_ndarray(events.Tensors("images")[0].tensor_proto)
    assert (width, height) == (b"32", b"32") and len(images) == 16
    assert tf.io.decode_png(images[0]).shape == (32, 32, 3)
