"""One layer of a network you trained, with the numbers that pass through it for one image of the test set."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import data
from core.data.data_set import MEAN, STD
from core.run import checkpoints, run_folder
from core.settings.settings import Settings
from layers_explained.support.comparison import import_tensorflow
from layers_explained.support.constants import Problem


@dataclass(frozen=True)
class TrainedLayer:
    """A layer of core/layers/ with its trained weights, its input and its output. All arrays float64, N = 1."""

    run: Path
    settings: Settings
    checkpoint: checkpoints.Checkpoint
    layer: object  # the layer itself: .name, .kernel, .stride, ...
    image: np.ndarray  # uint8 [32,32,3]
    x: np.ndarray  # the layer's input
    y: np.ndarray  # the layer's output
    dx: np.ndarray  # dL/dx, L the cross-entropy of this image in evaluation mode
    dy: np.ndarray  # dL/dy; zero for the softmax, because the loss is computed from the logits, its input
    gradients: tuple[np.ndarray, ...]  # dL/d(parameter), in the order of layer.parameters
    summary: str  # layer, run, step, image and loss, in a few printed lines
    label: int  # the class of the image
    class_names: tuple[str, ...]
    flow: tuple[tuple, ...]  # (layer, y, dL/dy, dL/d(parameters)) of every layer, in forward order


def find(args, classes: tuple[str, ...]) -> TrainedLayer:
    """The layer called --layer, or the first whose class is in `classes`, of the newest checkpoint of --run.

    One test image passes forward and backward in float64, so that sums written out by hand agree to the
    last printed digit. Raises RunError, CheckpointError, DataError or Problem, one line each.
    """
    folder = run_folder.find(args.run or None, Path(args.runs_dir or "runs"))
    config = run_folder.read_config(folder)
    settings = settings_of(config["settings"])
    checkpoint = checkpoints.newest(folder)
    checkpoints.check_same_run(folder, checkpoint)
    images = data.load(config["data"].get("name", settings.data), settings.data_dir, settings.holdout)
    number = args.image or 0
    if not 0 <= number < len(images.test_images):
        last = len(images.test_images) - 1
        raise Problem(f"--image {number}: not there; the test set of {images.title} has images 0 to {last}")
    image, label = images.test_images[number], int(images.test_labels[number])

    network = restored_network(settings, checkpoint, config)
    layers = [*network.layers, network.softmax]
    chosen = choose(layers, classes, args.layer, folder)
    position = layers.index(chosen)
    outputs, output_gradients, parameter_gradients, loss = forward_and_backward(network, image, label)
    flow = tuple(zip(layers, outputs[1:], output_gradients[1:], parameter_gradients))
    _, y, dy, own = flow[position]
    x, dx = outputs[position], output_gradients[position]
    prediction = images.class_names[int(np.argmax(outputs[-2][0]))]
    summary = (
        f"   layer    {chosen.name}: {list(x.shape)} -> {list(y.shape)}, {chosen.parameter_count:,} parameters\n"
        f"   run      {folder.name}, network {network.name}, after step {checkpoint.step:,}\n"
        f"   image    test image {number} of {images.title}: {images.class_names[label]} "
        f"(prediction: {prediction}; loss {loss:.3f})"
    )
    return TrainedLayer(
        folder, settings, checkpoint, chosen, image, x, y, dx, dy, own, summary, label, images.class_names, flow
    )


def settings_of(stored: dict) -> Settings:
    """The settings of a run; those that an older version did not have keep their defaults."""
    known = {field.name for field in dataclasses.fields(Settings)}
    return Settings(**{name: value for name, value in stored.items() if name in known})


def restored_network(settings: Settings, checkpoint: checkpoints.Checkpoint, config: dict):
    """The network of a config.json in float64, textbook layers throughout, with the weights of the checkpoint."""
    tf = import_tensorflow()
    from core.build import build_network

    textbook = dataclasses.replace(settings, kernels="textbook", micro_batches=1)
    try:
        network = build_network(textbook, tf.float64, stored=config)
    except (ValueError, KeyError, TypeError) as error:
        where = checkpoint.path.parent.parent / run_folder.CONFIG
        raise Problem(f"{where}: its network cannot be built ({error}); was it edited?") from None
    for name, variable in network.named_variables.items():
        if name not in checkpoint.tensors or checkpoint.tensors[name].shape != tuple(variable.shape):
            raise Problem(
                f"{checkpoint.path}: no tensor '{name}' of shape {list(variable.shape)}: the run's '{network.name}' is "
                "another network than this version builds; train it again, or name another run"
            )
        variable.assign(checkpoint.tensors[name])
    return network


def forward_and_backward(network, image: np.ndarray, label: int):
    """(input and every output, dL/d(each), dL/d(parameters) of each layer, L) of one image in evaluation mode."""
    tf = import_tensorflow()
    from core import losses

    layers = [*network.layers, network.softmax]
    x = tf.constant((image[None] / 255.0 - MEAN) / STD, tf.float64)  # [1,32,32,3]
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = [x]
        for layer in layers:
            outputs.append(layer(outputs[-1], training=False))
        loss = losses.softmax_cross_entropy(outputs[-2], tf.constant([label]))[0]  # from the logits
    sources = [*outputs, *network.parameters]
    found = [tensor.numpy() for tensor in tape.gradient(loss, sources, unconnected_gradients="zero")]
    output_gradients, of_parameters = found[: len(outputs)], iter(found[len(outputs) :])
    parameter_gradients = [tuple(next(of_parameters) for _ in layer.parameters) for layer in layers]
    return [tensor.numpy() for tensor in outputs], output_gradients, parameter_gradients, float(loss)


def choose(layers, classes: tuple[str, ...], name: str | None, folder: Path):
    """The layer called `name`, or the first of these classes. Raises Problem when there is none."""
    fitting = [layer for layer in layers if type(layer).__name__ in classes or not classes]
    kind = " or ".join(classes)
    if not fitting:
        there = ", ".join(layer.name for layer in layers)
        raise Problem(f"{folder.name}: its network has no {kind} layer; it has {there}: name another run")
    if name is None:
        return fitting[0]
    for layer in fitting:
        if layer.name == name:
            return layer
    there = ", ".join(layer.name for layer in fitting)
    raise Problem(f"--layer {name}: {folder.name} has no {kind} layer of that name; it has {there}")
