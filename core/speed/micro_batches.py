"""A batch in parts that pass the convolutions side by side: processors that need not wait for each other.

After every layer of a batch all processors wait for the slowest. Micro-batches are independent up to the dense
layers, so that each processor takes the whole way with its own (docs/speed.md). Without batch norm the function is
the textbook's. Batch norm normalizes each micro-batch by its own statistics: "ghost batch normalization",
Hoffer et al. 2017.
"""

import itertools

import tensorflow as tf

from core import replicas
from core.layers import BatchNormalization, Dropout, Flatten, Layer
from core.model import CNN


class MicroBatchedCNN(CNN):
    """CNN whose layers before Flatten take a batch in `micro_batches` parts, first to last.

    Each micro-batch moves batch norm's averages with momentum^(1/micro_batches), so that all of them together keep
    the fraction `momentum` of the old average, as one batch does. A dropout layer may only follow Flatten: one mask is
    drawn for the whole batch.
    """

    def __init__(self, name: str, layers: list[Layer], compute_dtype, micro_batches: int):
        super().__init__(name, layers, compute_dtype)
        self.micro_batches = micro_batches
        self.split_layers = next((i for i, layer in enumerate(layers) if isinstance(layer, Flatten)), len(layers))
        for layer in layers[: self.split_layers]:
            if isinstance(layer, Dropout):
                raise ValueError(f"layer '{layer.name}': dropout before Flatten needs --micro-batches 1")
            if isinstance(layer, BatchNormalization):
                layer.momentum **= 1 / micro_batches

    def __call__(self, images, training, step=None):  # noqa: D102
        joined = training and replicas.count() > 1
        averages, momenta = self.moving_averages() if joined else ([], [])
        before = [tf.identity(average) for average in averages]
        *_, (_, x) = self.outputs(images, training, step)
        if averages:
            replicas.join_moving_averages(before, averages, momenta)
        return tf.cast(x, images.dtype)

    def moving_averages(self) -> tuple[list[tf.Variable], list[float]]:
        """Batch norm's moving averages, and what fraction of each is left after the micro-batches of one replica."""
        layers = [layer for layer in self.layers if isinstance(layer, BatchNormalization)]
        averages = [average for layer in layers for average in layer.statistics]
        passes = self.micro_batches // replicas.count()
        return averages, [layer.momentum**passes for layer in layers for _ in layer.statistics]

    def outputs(self, images, training, step=None):
        """(layer, its output for the whole batch) in forward order."""
        x = tf.cast(images, self.compute_dtype)
        count = x.shape[0] or tf.shape(x)[0]
        parts = split(x, count, self.micro_batches // replicas.count())
        for layer in self.layers[: self.split_layers]:
            parts = [layer(part, training, step) for part in parts]
            yield layer, tf.concat(parts, axis=0)[:count]  # in a graph, joined only if somebody uses it
        x = tf.concat(parts, axis=0)[:count]
        for layer in self.layers[self.split_layers :]:
            x = layer(x, training, step)
            yield layer, x


def split(x: tf.Tensor, count: int | tf.Tensor, parts: int) -> list[tf.Tensor]:
    """x [count,...] in `parts` parts, first to last, of count / parts images or one more.

    Where count is known only at run time, as in evaluation, fewer images than parts are filled up with copies of the
    last one: TensorFlow's convolution returns a wrong shape for a part without images.
    """
    if isinstance(count, int):
        parts = min(parts, count)
    else:
        x = tf.concat([x, tf.repeat(x[-1:], tf.maximum(parts - count, 0), axis=0)], axis=0)
        count = tf.maximum(count, parts)
    ends = [count * i // parts for i in range(parts + 1)]
    return [x[begin:end] for begin, end in itertools.pairwise(ends)]
