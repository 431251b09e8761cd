"""The event files, read back by TensorBoard's own reader."""

from types import SimpleNamespace

import numpy as np
import pytest
from runner import train_here

from core.devices import import_tensorflow
from core.run import logs, tensorboard
from core.run.errors import OutputError

tf = import_tensorflow()

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


def test_nothing_else_is_shown(run, events):
    evaluation = {f"epoch/{quantity}" for quantity in ("loss", "accuracy", "calibration_error")}
    assert set(read_events(run, "test").Tags()["tensors"]) == evaluation
    layers = logs.read(run, logs.LAYERS)
    measured = {f"{quantity.decode()}/{layer.decode()}" for quantity, layer in zip(layers["quantity"], layers["layer"])}
    batch = {f"batch/{column}" for column in ("loss", "accuracy", "learning_rate", "gradient_norm")}
    kernels = {"weights/conv1/kernel", "weights/dense1/kernel"}
    assert set(events.Tags()["tensors"]) == evaluation | batch | measured | kernels | {"images"}


@pytest.mark.parametrize(
    "plugin, tag, data_class",
    [("scalars", "batch/loss", 1), ("histograms", "weights/conv1/kernel", 2), ("images", "images", 3)],
)
def test_each_plugin_finds_its_own(events, plugin, tag, data_class):
    """data_class: 1 scalar, 2 tensor, 3 a sequence of encoded images (tensorboard/compat/proto/summary.proto)."""
    assert tag in events.PluginTagToContent(plugin)
    assert events.SummaryMetadata(tag).data_class == data_class


def test_the_latest_run_is_shown_once(run):
    """TensorBoard follows links: event files inside the run would be there again under runs/latest."""
    assert not (run / "tensorboard").exists() and (run.parent / "latest").exists()


def test_histograms_count_every_weight(events):
    for event in events.Tensors("weights/conv1/kernel"):
        bars = tensor_util.make_ndarray(event.tensor_proto)
        assert bars.shape == (30, 3) and bars[:, 2].sum() == 3 * 3 * 3 * 8
        assert np.all(bars[:, 0] < bars[:, 1])


def test_images_can_be_decoded(events):
    width, height, *images = tensor_util.make_ndarray(events.Tensors("images")[0].tensor_proto)
    assert (width, height) == (b"32", b"32") and len(images) == 16
    assert tf.io.decode_png(images[0]).shape == (32, 32, 3)


@pytest.fixture
def board(tmp_path):
    """The board of a training whose images have 4 rows and 6 columns."""
    variables = {
        "conv1/kernel": tf.Variable(tf.reshape(tf.range(8.0), [2, 2, 1, 2])),
        "conv1/bias": tf.Variable([1.0, 2.0]),
        "dense1/kernel": tf.Variable([[1.0, np.nan]]),
    }
    batches = SimpleNamespace(batch=lambda step: (tf.zeros([20, 4, 6, 3], tf.uint8) + tf.cast(step, tf.uint8), None))
    training = SimpleNamespace(network=SimpleNamespace(named_variables=variables), batches=batches)
    return tensorboard.Board(tmp_path / "one", training)


EPOCH = (3, 60, 1.5, 0.25, 2.5, 0.125, 0.5, 0.75)  # a row of epochs.csv


def test_an_evaluation_can_be_read_while_the_run_goes_on(tmp_path, board):
    """Images of its step, and the kernels that can be drawn: not biases, nothing that is no longer finite."""
    board.row(logs.EPOCHS, EPOCH)
    board.after_evaluation(60)
    train, test = (read_events(tmp_path / "one", part) for part in ("train", "test"))
    assert set(train.Tags()["tensors"]) == {
        "epoch/loss", "epoch/accuracy", "epoch/calibration_error", "weights/conv1/kernel", "images"
    }  # fmt: skip
    assert scalars(train, "epoch/loss") == ([60], [1.5]) and scalars(test, "epoch/loss") == ([60], [2.5])
    assert scalars(train, "epoch/calibration_error") == ([60], [0.5])
    assert scalars(test, "epoch/accuracy") == ([60], [0.125])
    [event] = train.Tensors("images")
    width, height, *images = tensor_util.make_ndarray(event.tensor_proto)
    assert (event.step, width, height, len(images)) == (60, b"6", b"4", 16)
    assert np.all(tf.io.decode_png(images[15]) == np.full((4, 6, 3), 60))
    [event] = train.Tensors("weights/conv1/kernel")
    bars = tensor_util.make_ndarray(event.tensor_proto)
    assert (event.step, bars[0, 0], bars[-1, 1], bars[:, 2].sum()) == (60, 0, 7, 8)


def test_the_last_rows_are_there_after_the_board_is_closed(tmp_path, board):
    board.row(logs.EPOCHS, EPOCH)
    board.row(logs.LAYERS, (60, "conv1", "sparsity", 0.25))
    board.row(logs.PREDICTIONS, (60, 0, 0, 5))
    board.row(logs.TIMING, (60, 0.5, 0.5, 0.5))
    board.close()
    train, test = (read_events(tmp_path / "one", part) for part in ("train", "test"))
    evaluation = {"epoch/loss", "epoch/accuracy", "epoch/calibration_error"}
    assert set(train.Tags()["tensors"]) == evaluation | {"sparsity/conv1"}
    assert set(test.Tags()["tensors"]) == evaluation and scalars(train, "sparsity/conv1") == ([60], [0.25])


def test_a_run_that_begins_removes_the_files_of_one_that_was_removed(tmp_path, board):
    """A run folder was removed by hand, and another run has its name: one curve would mix the two."""
    board.row(logs.EPOCHS, EPOCH)
    board.close()
    for fresh in (False, True):
        tensorboard.Board(tmp_path / "one", board.training, fresh).close()
        assert ("epoch/loss" in read_events(tmp_path / "one", "train").Tags()["tensors"]) == (not fresh)


def test_event_files_that_cannot_be_written_are_one_line(tmp_path, board, monkeypatch):
    """TensorFlow calls a full disk exhausted resources, which elsewhere are memory."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "tensorboard").touch()
    with pytest.raises(OutputError, match=r"--tensorboard: cannot write .*tensorboard/one \(is not a directory\)"):
        tensorboard.Board(tmp_path / "runs" / "one", None)

    def full(*given, **named):
        raise tf.errors.ResourceExhaustedError(None, None, "/a/b; No space left on device")

    for method in ("row", "close"):
        monkeypatch.setattr(tf.summary, "write", full)
        monkeypatch.setattr(type(board.train), "flush", full)
        monkeypatch.setattr(type(board.train), "close", full)
        with pytest.raises(OutputError, match=r"tensorboard/one \(No space left on device\); what was saved before is"):
            getattr(board, method)(*((logs.EPOCHS, EPOCH) if method == "row" else ()))
