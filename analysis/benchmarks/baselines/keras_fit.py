"""The same network trained by Keras `fit`, and the speed of the machine's matrix product."""

import dataclasses
import time

from core.devices import import_tensorflow

tf = import_tensorflow()

import numpy as np

from core import build, layers, model
from core.data.batches import standardize
from core.speed.scale import Scale
from core.speed.whitening import Whitening

# Each layer in Keras. A layer that is new to core/layers/ gets its line here and in torch_loop.BUILDERS.
KERAS_BUILDERS = {
    layers.Convolution: lambda layer: tf.keras.layers.Conv2D(
        layer.out_channels, layer.kernel_size, layer.stride, layer.padding.lower(), use_bias=layer.bias is not None
    ),
    layers.Dense: lambda layer: tf.keras.layers.Dense(layer.out_features, use_bias=layer.bias is not None),
    layers.BatchNormalization: lambda layer: tf.keras.layers.BatchNormalization(
        momentum=layer.momentum, epsilon=layer.epsilon, scale=layer.use_scale
    ),
    layers.MaxPooling: lambda layer: tf.keras.layers.MaxPooling2D(
        layer.kernel_size, layer.stride, layer.padding.lower()
    ),
    layers.AveragePooling: lambda layer: tf.keras.layers.AveragePooling2D(
        layer.kernel_size, layer.stride, layer.padding.lower()
    ),
    layers.ReLU: lambda layer: tf.keras.layers.ReLU(),
    layers.LeakyReLU: lambda layer: tf.keras.layers.LeakyReLU(negative_slope=layer.slope),
    layers.Sigmoid: lambda layer: tf.keras.layers.Activation("sigmoid"),
    layers.GELU: lambda layer: tf.keras.layers.Activation("gelu"),
    layers.Dropout: lambda layer: tf.keras.layers.Dropout(layer.rate),
    layers.Flatten: lambda layer: tf.keras.layers.Flatten(),
    Whitening: lambda layer: tf.keras.layers.Conv2D(
        layer.out_channels, layer.kernel_size, use_bias=False, trainable=False
    ),
    Scale: lambda layer: tf.keras.layers.Lambda(lambda x: layer.factor * x),
}
KERAS_WEIGHTS = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")  # as get_weights() orders them


def textbook_network(settings) -> model.CNN:
    """The settings' network of textbook layers, which the baselines copy: one batch in one part."""
    return build.build_network(dataclasses.replace(settings, kernels="textbook", micro_batches=1))


def keras_network(network: model.CNN):
    """A tf.keras.Sequential of the same layers with the same weights, ending in logits."""
    copies = [KERAS_BUILDERS[type(layer)](layer) for layer in network.layers]
    same = tf.keras.Sequential([tf.keras.Input(model.IMAGE_SHAPE), *copies])
    for layer, copy in zip(network.layers, copies):
        names = [name for name in KERAS_WEIGHTS if name != "gamma" or getattr(layer, "use_scale", False)]
        weights = [getattr(layer, name, None) for name in names]
        copy.set_weights([weight.numpy() for weight in weights if weight is not None])
    return same


class StepTimes(tf.keras.callbacks.Callback):
    """The time at the end of each step."""

    def __init__(self):
        super().__init__()
        self.times = []

    def on_train_batch_end(self, batch, logs=None):  # noqa: D102
        self.times.append(time.perf_counter())


def keras_images_per_second(settings, data, steps: int, warm_up: int, jit_compile) -> float:
    """Training speed of Keras `fit` over `steps` steps, after `warm_up` (1 or more) that are not timed.

    The settings' network, batch size and precision. As in Keras's own guides: images as float32 arrays, shuffled by
    `fit`, accuracy as a metric; SGD with Nesterov momentum. jit_compile: "auto", Keras's default, or False, its
    plain graph.
    """
    if settings.precision == "bfloat16":
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    network = keras_network(textbook_network(settings))
    network.compile(
        optimizer=tf.keras.optimizers.SGD(settings.learning_rate, settings.momentum, nesterov=True),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    count = (warm_up + steps) * settings.batch_size
    images = np.resize(standardize(data.train_images[:count]).numpy(), (count, *model.IMAGE_SHAPE))
    labels = np.resize(data.train_labels[:count], count)
    timer = StepTimes()
    network.fit(images, labels, batch_size=settings.batch_size, verbose=0, callbacks=[timer])
    return steps * settings.batch_size / (timer.times[-1] - timer.times[warm_up - 1])


def matrix_product_gflops(precision: str, sizes=(2048, 3072), seconds: float = 0.5) -> float:
    """GFLOP/s of this machine's matrix product, the best of `sizes` and repetitions: an upper bound for a network.

    precision: float32 or bfloat16. A product of two n x n matrices is 2 n^3 operations; each size
    is repeated for `seconds` after two products that are not timed.
    """
    product = tf.function(tf.matmul)
    fastest = 0.0
    for size in sizes:
        matrix = tf.cast(tf.random.stateless_normal([size, size], [0, size]), precision)
        for _ in range(2):
            product(matrix, matrix)
        tf.test.experimental.sync_devices()
        stop = time.perf_counter() + seconds
        while (began := time.perf_counter()) < stop:
            product(matrix, matrix)
            tf.test.experimental.sync_devices()
            fastest = max(fastest, 2 * size**3 / (time.perf_counter() - began) / 1e9)
    return fastest
