"""The same numbers as event files for TensorBoard, which TensorFlow writes without TensorBoard being installed.

`tf.summary.scalar` and its kin need the tensorboard package; `tf.summary.write` does not. The plugin's name in the
metadata tells TensorBoard how to show a tensor. The CSV files stay the
source of truth: a scalar here is a row there. After a kill and a resume, repeated steps stand here
twice, with the same numbers; the CSV files are cut back.
"""

import numpy as np
import tensorflow as tf

from core.run import logs

HISTOGRAM_BUCKETS = 30
SHOWN_IMAGES = 16
SCALAR, TENSOR, BLOBS = 1, 2, 3  # tensorboard's DataClass


class Board:
    """The writer of one run, in runs/NAME/tensorboard/."""

    def __init__(self, folder, training):
        self.training = training
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def row(self, name: str, row) -> None:
        """One row of a CSV file as scalars: steps/loss, epochs/test_accuracy, update_ratio/conv1, ..."""
        columns = dict(zip(logs.COLUMNS[name], row))
        step = columns.pop("step")
        if name == logs.LAYERS:
            self.write(
                f"{columns['quantity']}/{columns['layer']}", np.float32(columns["value"]), step, "scalars", SCALAR
            )
        elif name in (logs.STEPS, logs.EPOCHS):
            columns.pop("epoch")
            for column, value in columns.items():
                self.write(f"{name[:-4]}/{column}", np.float32(value), step, "scalars", SCALAR)

    def close(self) -> None:
        """Write what is still waiting."""
        self.writer.close()

    def after_evaluation(self, step: int) -> None:
        """After an evaluation: every kernel as a histogram, and images of this step's batch, augmented."""
        for name, variable in self.training.network.named_variables.items():
            if variable.shape.rank >= 2 and np.isfinite(variable.numpy()).all():
                counts, edges = np.histogram(variable.numpy(), HISTOGRAM_BUCKETS)
                bars = np.stack([edges[:-1], edges[1:], counts], axis=1)  # [buckets, 3]: left, right, how many
                self.write(f"weights/{name}", bars, step, "histograms", TENSOR)
        images, _ = self.training.batches.batch(tf.constant(step))
        height, width = images.shape[1:3]
        encoded = [tf.io.encode_png(image).numpy() for image in images[:SHOWN_IMAGES]]
        self.write("batch", np.array([str(width), str(height), *encoded], object), step, "images", BLOBS)
        self.writer.flush()

    def write(self, tag: str, value, step: int, plugin: str, data_class: int) -> None:
        """One summary: what it is and who shows it."""
        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin), data_class=data_class
        )
        with tf.device("/CPU:0"), self.writer.as_default():
            tf.summary.write(tag, value, step=tf.constant(step, tf.int64), metadata=metadata)
