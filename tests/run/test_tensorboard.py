"""The event files, read back by TensorBoard's own reader."""

import numpy as np
import pytest
from test_train_loop import already_awake, train_here  # noqa: F401

from core.run import logs

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
tensor_util = pytest.importorskip("tensorboard.util.tensor_util")


@pytest.fixture(scope="module")
def run(tmp_path_factory, already_awake):  # noqa: F811
    runs_dir = tmp_path_factory.mktemp("runs")
    train_here(runs_dir, "shown", "--epochs", 2, "--tensorboard")
    return runs_dir / "shown"


@pytest.fixture(scope="module")
def events(run):
    reader = accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance={"tensors": 0})
    reader.Reload()
    return reader


def scalars(events, tag):
    found = events.Tensors(tag)
    return [event.step for event in found], [float(tensor_util.make_ndarray(e.tensor_proto)) for e in found]


def test_every_scalar_is_its_row(run, events):
    steps = logs.read(run, logs.STEPS)
    for column in ("loss", "accuracy", "learning_rate", "gradient_norm"):
        at, values = scalars(events, f"steps/{column}")
        assert at == steps["step"].tolist() and values == steps[column].tolist()
    at, values = scalars(events, "epochs/test_accuracy")
    assert at == [20, 40]
    np.testing.assert_allclose(values, logs.read(run, logs.EPOCHS)["test_accuracy"], rtol=1e-6)
    assert scalars(events, "update_ratio/conv1")[0] == list(range(1, 41))


@pytest.mark.parametrize(
    "plugin, tag", [("scalars", "steps/loss"), ("histograms", "weights/conv1/kernel"), ("images", "batch")]
)
def test_each_plugin_finds_its_own(events, plugin, tag):
    assert tag in events.PluginTagToContent(plugin)
    assert events.SummaryMetadata(tag).data_class


def test_histograms_count_every_weight(events):
    for event in events.Tensors("weights/conv1/kernel"):
        bars = tensor_util.make_ndarray(event.tensor_proto)
        assert bars.shape == (30, 3) and bars[:, 2].sum() == 3 * 3 * 3 * 8
        assert np.all(bars[:, 0] < bars[:, 1])


def test_images_are_pictures(events):
    import tensorflow as tf

    width, height, *pictures = tensor_util.make_ndarray(events.Tensors("batch")[0].tensor_proto)
    assert (width, height) == (b"32", b"32") and len(pictures) == 16
    assert tf.io.decode_png(pictures[0]).shape == (32, 32, 3)
