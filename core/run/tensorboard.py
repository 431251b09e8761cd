"""The same numbers as event files for TensorBoard, which TensorFlow writes without TensorBoard being installed.

`tf.summary.scalar` and its kin need the tensorboard package; `tf.summary.write` does not. The plugin's name in the
metadata tells TensorBoard how to show a tensor. The CSV files stay the
source of truth: a scalar here is a row there. After a kill and a resume, repeated steps stand here
twice, with the same numbers; the CSV files are cut back.
"""

import contextlib
import re
import shutil

import numpy as np
import tensorflow as tf

from core.run import logs
from core.run.errors import OutputError
from core.settings.settings import shown

HISTOGRAM_BUCKETS = 30
SHOWN_IMAGES = 16
SCALAR, TENSOR, BLOBS = 1, 2, 3  # tensorboard's DataClass


def event_folder(folder):
    """Where the event files of a run are: RUNS/tensorboard/NAME. Inside the run, runs/latest would show it twice."""
    return folder.parent / "tensorboard" / folder.name


class Board:
    """The writers of one run. What is measured on training and test images has one tag, so that it shares a chart.

    fresh: whether the run begins; event files of its name are then those of a run that was removed. All methods raise
    OutputError where the files cannot be written.
    """

    def __init__(self, folder, training, fresh: bool = False):
        self.training, self.folder = training, event_folder(folder)
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        with self.errors_in_one_line():
            self.train, self.test = (
                tf.summary.create_file_writer(str(self.folder / name)) for name in ("train", "test")
            )

    @contextlib.contextmanager
    def errors_in_one_line(self):
        """TensorFlow's errors while files are written: it calls a full disk exhausted resources."""
        try:
            yield
        except (tf.errors.OpError, UnicodeError, ValueError) as error:
            said = re.sub(r"\{\{.*?\}\} |\[Op:.*", "", str(error).partition("\n")[0])
            reason = shown(said.rpartition("; ")[2].strip().removeprefix(str(self.folder.parent)).strip())
            raise OutputError(
                f"--tensorboard: cannot write {self.folder} ({reason}); what was saved before is undamaged, see "
                "--resume"
            ) from None

    def row(self, name: str, row) -> None:
        """One row of a CSV file as scalars: batch/loss, epoch/accuracy (train, test), update_ratio/conv1, ..."""
        columns = dict(zip(logs.COLUMNS[name], row))
        step = columns.pop("step")
        if name == logs.LAYERS:
            self.scalar(self.train, f"{columns['quantity']}/{columns['layer']}", columns["value"], step)
        elif name == logs.STEPS:
            columns.pop("epoch")
            for column, value in columns.items():
                self.scalar(self.train, f"batch/{column}", value, step)
        elif name == logs.EPOCHS:
            columns.pop("epoch")
            for column, value in columns.items():
                part, _, quantity = column.partition("_")
                self.scalar(self.train if part == "train" else self.test, f"epoch/{quantity}", value, step)

    def scalar(self, writer, tag: str, value, step: int) -> None:
        """One number."""
        self.write(writer, tag, np.float32(value), step, "scalars", SCALAR)

    def close(self) -> None:
        """Write what is still waiting."""
        with self.errors_in_one_line():
            self.train.close()
            self.test.close()

    def after_evaluation(self, step: int) -> None:
        """After an evaluation: every kernel as a histogram, and images of this step's batch, augmented."""
        for name, variable in self.training.network.named_variables.items():
            if variable.shape.rank >= 2 and np.isfinite(variable.numpy()).all():
                counts, edges = np.histogram(variable.numpy(), HISTOGRAM_BUCKETS)
                bars = np.stack([edges[:-1], edges[1:], counts], axis=1)  # [buckets, 3]: left, right, how many
                self.write(self.train, f"weights/{name}", bars, step, "histograms", TENSOR)
        images, _ = self.training.batches.batch(tf.constant(step))
        height, width = images.shape[1:3]
        encoded = [tf.io.encode_png(image).numpy() for image in images[:SHOWN_IMAGES]]
        self.write(self.train, "images", np.array([str(width), str(height), *encoded], object), step, "images", BLOBS)
        with self.errors_in_one_line():
            self.train.flush()
            self.test.flush()

    def write(self, writer, tag: str, value, step: int, plugin: str, data_class: int) -> None:
        """One summary: what it is and who shows it."""
        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin), data_class=data_class
        )
        with self.errors_in_one_line(), tf.device("/CPU:0"), writer.as_default():
            tf.summary.write(tag, value, step=tf.constant(step, tf.int64), metadata=metadata)
