"""The same network in other hands: what this project's speed and numbers are compared with."""

import time

from core.devices import import_tensorflow

tf = import_tensorflow()

import numpy as np

from core import layers, model
from core.batches import standardize


def keras_twin(network: model.CNN):
    """A tf.keras.Sequential of the same layers with the same weights, ending in logits."""
    builders = {
        layers.Convolution: lambda layer: tf.keras.layers.Conv2D(
            layer.out_channels, layer.kernel_size, layer.stride, layer.padding.lower(), use_bias=layer.bias is not None
        ),
        layers.MaxPooling: lambda layer: tf.keras.layers.MaxPooling2D(
            layer.kernel_size, layer.stride, layer.padding.lower()
        ),
        layers.AveragePooling: lambda layer: tf.keras.layers.AveragePooling2D(
            layer.kernel_size, layer.stride, layer.padding.lower()
        ),
        layers.Dense: lambda layer: tf.keras.layers.Dense(layer.out_features, use_bias=layer.bias is not None),
        layers.ReLU: lambda layer: tf.keras.layers.ReLU(),
        layers.GELU: lambda layer: tf.keras.layers.Activation("gelu"),
        layers.Dropout: lambda layer: tf.keras.layers.Dropout(layer.rate),
        layers.Flatten: lambda layer: tf.keras.layers.Flatten(),
        layers.BatchNormalization: lambda layer: tf.keras.layers.BatchNormalization(
            momentum=layer.momentum, epsilon=layer.epsilon
        ),
    }
    twin = tf.keras.Sequential([tf.keras.Input(model.IMAGE_SHAPE), *(builders[type(x)](x) for x in network.layers)])
    with_weights = [layer for layer in network.layers if layer.parameters]
    for layer, copy in zip(with_weights, [x for x in twin.layers if x.weights]):
        copy.set_weights([variable.numpy() for variable in layer.parameters + layer.statistics])
    return twin


class _SecondEpoch(tf.keras.callbacks.Callback):
    """The seconds that the second of two epochs took; the first one compiles and warms up."""

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.began


def keras_images_per_second(settings, data, steps: int, jit_compile) -> float:
    """Training speed of Keras `fit` on the settings' network, batch size and precision, over `steps` steps.

    As its own guides have it: pictures as float32 arrays, shuffled by `fit`, accuracy as a metric.
    jit_compile: "auto", what Keras does when not asked, or False, its plain graph.
    """
    if settings.precision == "bfloat16":
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    twin = keras_twin(model.build(settings))
    twin.compile(
        optimizer=tf.keras.optimizers.SGD(settings.learning_rate, settings.momentum, nesterov=True),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    count = steps * settings.batch_size
    images = np.resize(standardize(data.train_images[:count]).numpy(), (count, *model.IMAGE_SHAPE))
    labels = np.resize(data.train_labels[:count], count)
    timer = _SecondEpoch()
    twin.fit(images, labels, batch_size=settings.batch_size, epochs=2, verbose=0, callbacks=[timer])
    return count / timer.seconds


def keras_tutorial(data, epochs: int = 10) -> tuple[float, float, int]:
    """(test accuracy after the last epoch, seconds of `fit`, parameters) of the TensorFlow CNN tutorial's network.

    Three 3x3 convolutions (32, 64, 64) without padding, two max-poolings, dense 64, dense 10; pixels
    scaled to [0, 1], Adam, batches of 32, the test set after each epoch: as that tutorial trains it.
    """
    keras = tf.keras
    network = keras.Sequential([
        keras.Input(model.IMAGE_SHAPE),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(64, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(64, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10),
    ])  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    train, test = data.train_images.astype(np.float32) / 255, data.test_images.astype(np.float32) / 255
    began = time.perf_counter()
    history = network.fit(
        train, data.train_labels, batch_size=32, epochs=epochs, validation_data=(test, data.test_labels), verbose=0
    )
    return history.history["val_accuracy"][-1], time.perf_counter() - began, network.count_params()
