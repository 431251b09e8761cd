"""TensorFlow's CNN tutorial, with Keras `fit`: what the accuracy and the time of the recipes are compared with.

    python analysis/benchmarks/baselines/keras_tutorial.py --epochs 10

The last line is `accuracy=A seconds=S parameters=P`: test accuracy after the last epoch, and the seconds of `fit`,
evaluations included.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from analysis.benchmarks import options


def command_line() -> argparse.ArgumentParser:
    """The options."""
    parser = options.parser("keras_tutorial.py", __doc__.splitlines()[0])
    parser.add_argument("--epochs", type=options.count, default=10, metavar="N", help="passes over the images [10]")
    options.add_data(parser.add_argument)
    return parser


if __name__ == "__main__":
    ARGS = command_line().parse_args()  # before TensorFlow: --help does not need it

from core.devices import import_tensorflow

tf = import_tensorflow()

import numpy as np

from analysis.support import common
from core.data import load
from core.model import IMAGE_SHAPE


def keras_tutorial(data, epochs: int) -> tuple[float, float, int]:
    """(test accuracy after the last epoch, seconds of `fit`, parameters) of the tutorial's network.

    Three 3x3 convolutions (32, 64, 64) without padding, two max-poolings, dense 64, dense 10; pixels
    scaled to [0, 1], Adam, batches of 32, the test set after each epoch: as that tutorial trains it.
    """
    keras = tf.keras
    network = keras.Sequential([
        keras.Input(IMAGE_SHAPE),
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


def main(args) -> None:
    """Train, print the line that others read."""
    accuracy, seconds, parameters = keras_tutorial(load(args.data, args.data_dir), args.epochs)
    print(f"accuracy={accuracy:.4f} seconds={seconds:.1f} parameters={parameters}")


if __name__ == "__main__":
    common.answer(main, ARGS)
