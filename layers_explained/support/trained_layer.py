"""One layer of a network you trained, with the real numbers that flow through it for one real picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import data
from core.run import checkpoints, run_folder
from layers_explained.support import walkthrough


@dataclass(frozen=True)
class TrainedLayer:
    """A layer of core/layers/ with its trained weights, and what enters and leaves it. All arrays float64, N = 1."""

    run: Path
    layer: object  # the layer itself: .name, .kernel, .stride, ...
    picture: np.ndarray  # uint8 [32,32,3]
    x: np.ndarray  # what enters the layer
    y: np.ndarray  # what leaves it
    dx: np.ndarray  # dL/dx, L the cross-entropy of this picture in evaluation mode
    dy: np.ndarray  # dL/dy; zero for the softmax, because the loss is computed from what enters it
    gradients: tuple[np.ndarray, ...]  # dL/d(parameter), in the order of layer.parameters
    story: str  # which layer, run, step, picture and loss, in a few printed lines
    label: int  # the right class of the picture
    class_names: tuple[str, ...]
    flow: tuple[tuple, ...]  # (layer, y, dL/dy, dL/d(parameters)) of every layer, in forward order


def find(args, classes: tuple[str, ...]) -> TrainedLayer:
    """The layer that the command line asks for: the one called --layer, or the first whose class is in `classes`.

    The newest checkpoint of the run is read, and one test picture goes forward and back in
    float64, so that sums written out by hand agree to the last digits. Raises RunError,
    CheckpointError, DataError or Problem, one line each.
    """
    folder = run_folder.find(args.run or None, Path(args.runs_dir or "runs"))
    config = run_folder.read_config(folder)
    checkpoint = checkpoints.newest(folder)
    settings, number = config["settings"], args.image or 0
    pictures = data.load(config["data"]["name"], settings["data_dir"], settings["holdout"])
    if not 0 <= number < len(pictures.test_images):
        last = len(pictures.test_images) - 1
        raise walkthrough.Problem(f"--image {number}: not there; the test set of {pictures.title} has pictures 0 to {last}")
    picture, label = pictures.test_images[number], int(pictures.test_labels[number])

    tf = walkthrough.import_tensorflow()
    from core import losses, model

    layers = model.NETWORKS[settings["network"]](settings["seed"], tf.float64)
    network = model.CNN(settings["network"], layers, tf.float64)
    layers = [*layers, network.softmax]
    for name, variable in network.named_variables.items():
        if name not in checkpoint.tensors or checkpoint.tensors[name].shape != tuple(variable.shape):
            raise walkthrough.Problem(
                f"{checkpoint.path}: no tensor '{name}' of shape {list(variable.shape)}: another '{network.name}' was "
                "trained than core/model.py describes now; train it again"
            )
        variable.assign(checkpoint.tensors[name])
    chosen = choose(layers, classes, args.layer, folder)

    x = tf.constant((picture[None] / 255.0 - data.MEAN) / data.STD, tf.float64)  # [1,32,32,3]
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = [x]
        for layer in layers:
            outputs.append(layer(outputs[-1], training=False))
        loss = losses.softmax_cross_entropy(outputs[-2], tf.constant([label]))[0]  # from the logits
    sources = [*outputs, *network.parameters]
    back = [tensor.numpy() for tensor in tape.gradient(loss, sources, unconnected_gradients="zero")]
    outputs, back, gradients = [tensor.numpy() for tensor in outputs], back[: len(outputs)], back[len(outputs) :]
    flow = []
    for layer, y, dy in zip(layers, outputs[1:], back[1:]):
        own, gradients = gradients[: len(layer.parameters)], gradients[len(layer.parameters) :]
        flow.append((layer, y, dy, tuple(own)))
    place = layers.index(chosen)
    x, dx, (_, y, dy, own) = outputs[place], back[place], flow[place]
    guess = pictures.class_names[int(np.argmax(outputs[-2][0]))]
    story = (
        f"   layer    {chosen.name}: {list(x.shape)} -> {list(y.shape)}, {chosen.parameter_count:,} parameters\n"
        f"   run      {folder.name}, network {network.name}, after step {checkpoint.step:,}\n"
        f"   picture  test picture {number} of {pictures.title}: {pictures.class_names[label]} "
        f"(the network says {guess}; loss {float(loss):.3f})"
    )
    return TrainedLayer(
        folder, chosen, picture, x, y, dx, dy, own, story, label, pictures.class_names, tuple(flow)
    )  # fmt: skip


def choose(layers, classes: tuple[str, ...], name: str | None, folder: Path):
    """The layer called `name`, or the first of these classes. Raises Problem when there is none."""
    fitting = [layer for layer in layers if type(layer).__name__ in classes]
    kind = " or ".join(classes)
    if not fitting:
        there = ", ".join(layer.name for layer in layers)
        raise walkthrough.Problem(f"{folder.name}: its network has no {kind} layer; it has {there}: name another run")
    if name is None:
        return fitting[0]
    for layer in fitting:
        if layer.name == name:
            return layer
    there = ", ".join(layer.name for layer in fitting)
    raise walkthrough.Problem(f"--layer {name}: {folder.name} has no {kind} layer of that name; it has {there}")
