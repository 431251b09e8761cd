"""What the page shows of the network itself: filters, feature maps and probabilities, checkpoint by checkpoint.

The page computes the first convolution by its own script, with the weights stored here; deeper layers come as images.
Importing this does not import TensorFlow; `inside_of` does.
"""

from dataclasses import dataclass

import matplotlib
import numpy as np

from analysis.report_parts.png import as_text, data_uri
from analysis.support.predictions import Predictions
from analysis.support.run import Run
from core.data.data_set import MEAN, STD
from core.run import checkpoints
from core.run.errors import RunError

CHECKPOINTS = 8  # at most, the untrained network among them
FILTERS = 64  # of the first convolution, at most
LAYERS, CHANNELS = 3, 12  # deeper layers; channels of each
SIDE = 16  # rows of a map; of larger maps half as many channels


@dataclass(frozen=True)
class FirstConvolution:
    """The convolution of the image, at C checkpoints."""

    name: str
    stride: int
    padding: str  # SAME or VALID
    kernels: np.ndarray  # float32 [C,kh,kw,3,F]
    biases: np.ndarray | None  # float32 [C,F]
    filters: int  # how many the layer has; F of them are here
    learned: bool
    next_layer: str  # the class of the layer behind it: ReLU


@dataclass(frozen=True)
class LayerMaps:
    """Outputs of one layer, for some of its channels, as bytes: 255 is the value that 1 % of them exceed."""

    name: str
    channels: list[int]  # n of them
    maps: np.ndarray  # uint8 [C,I,n,H,W]


@dataclass(frozen=True)
class Inside:
    """C checkpoints, I images of K classes."""

    steps: list[int]  # [C]; 0 is the untrained network
    images: np.ndarray  # uint8 [I,32,32,3]
    numbers: list[int]  # [I]: which test images they are
    labels: list[int]  # [I]
    probabilities: np.ndarray  # float32 [C,I,K]
    first: FirstConvolution
    layers: list[LayerMaps]
    remarks: list[str]  # sentences: which checkpoints are not here, and why


def chosen_images(found: Predictions) -> list[int]:
    """For each class two test images: a correct prediction of median confidence, the most confident mistake."""
    chosen = []
    for label in range(len(found.class_names)):
        right = np.flatnonzero(found.correct & (found.labels == label))
        wrong = np.flatnonzero(~found.correct & (found.labels == label))
        if len(right):
            chosen.append(int(right[np.argsort(found.confidence[right], kind="stable")[len(right) // 2]]))
        if len(wrong):
            chosen.append(int(wrong[np.argmax(found.confidence[wrong])]))
    return chosen


def inside_of(run: Run, found: Predictions) -> Inside:
    """The run's network at up to CHECKPOINTS checkpoints. Raises RunError or CheckpointError."""
    from analysis.support import channels
    from analysis.support.network import restored_network, untrained_network

    chosen = chosen_images(found)
    images = found.images[chosen]
    paths = checkpoints.newest_first(run.folder)[::-1]
    spread = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), CHECKPOINTS - 1)).round().astype(int))
    steps, networks, remarks = [], [], []
    for path in (paths[i] for i in spread):
        try:
            checkpoint = checkpoints.read(path)
        except checkpoints.CheckpointError as error:
            remarks.append(f"Passed over: {error}.")
            continue
        steps.append(checkpoint.step)
        networks.append(restored_network(run.folder, checkpoint))
    if not networks:
        raise RunError(f"{run.folder}: no checkpoint that can be read")
    untrained = untrained_network(run.folder)  # a whitening layer is computed from images: the same before and after
    untrained.layers = [own if own.parameters else other for own, other in zip(untrained.layers, networks[-1].layers)]
    steps, networks = [0, *steps], [untrained, *networks]
    if len(paths) > len(spread):
        remarks.append(f"{len(spread)} of the run's {len(paths)} checkpoints are here, evenly spread.")
    if steps[1] > run.steps_per_epoch:
        remarks.append(f"The first checkpoint that is still there is that of step {steps[1]:,} (--keep-checkpoints).")

    first = channels.first_convolution(networks[-1])
    outputs = [outputs_of(network, images) for network in networks]
    names = shown_layers(networks[-1], first, images.shape[1:])
    return Inside(
        steps=steps,
        images=images,
        numbers=chosen,
        labels=[int(label) for label in found.labels[chosen]],
        probabilities=np.stack([softmax(values[networks[-1].layers[-1].name]) for values in outputs]),
        first=first_convolution(networks, first.name),
        layers=[layer_maps(name, np.stack([values[name] for values in outputs])) for name in names],
        remarks=remarks,
    )


def outputs_of(network, images: np.ndarray) -> dict[str, np.ndarray]:
    """{layer: its output [I,...] float32} in evaluation mode. Raises RunError when they are not finite."""
    from core.data.batches import standardize

    found = {
        layer.name: np.asarray(output, np.float32)
        for layer, output in network.outputs(standardize(images), training=False)
    }
    if not all(np.isfinite(values).all() for values in found.values()):
        raise RunError("the outputs of a checkpoint are not finite; `analysis/diagnose.py` names the cause")
    return found


def softmax(logits: np.ndarray) -> np.ndarray:
    """[I,K] -> probabilities [I,K]."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def first_convolution(networks: list, name: str) -> FirstConvolution:
    """Its weights in each of the networks."""
    layers = [next(layer for layer in network.layers if layer.name == name) for network in networks]
    layer, index = layers[-1], [other.name for other in networks[-1].layers].index(name)
    return FirstConvolution(
        name=name,
        stride=layer.stride,
        padding=layer.padding,
        kernels=np.stack([some.kernel.numpy()[..., :FILTERS] for some in layers]).astype(np.float32),
        biases=None if layer.bias is None else np.stack([some.bias.numpy()[:FILTERS] for some in layers]),
        filters=layer.out_channels,
        learned=bool(layer.parameters),
        next_layer=type(networks[-1].layers[index + 1]).__name__,
    )


def shown_layers(network, first, image_shape) -> list[str]:
    """The layers whose maps are shown: activations behind the first convolution's, at most LAYERS, evenly spread."""
    shapes = {layer.name: layer.output_shape(shape) for layer, shape in network.shapes(image_shape)}
    spatial = [layer for layer in network.layers if len(shapes[layer.name]) == 3 and layer is not first]
    deep = [layer.name for layer in spatial if layer.is_activation] or [layer.name for layer in spatial]
    deep = deep[1:] or deep  # the first one repeats what the first convolution shows
    return [deep[i] for i in np.unique(np.linspace(0, len(deep) - 1, min(len(deep), LAYERS)).round().astype(int))]


def layer_maps(name: str, values: np.ndarray) -> LayerMaps:
    """The channels that differ most from image to image at the last checkpoint. values: [C,I,H,W,n]."""
    positive = np.maximum(values, 0)
    count = CHANNELS if values.shape[2] <= SIDE else CHANNELS // 2
    score = positive[-1].max(axis=(1, 2)).std(axis=0)  # [n]
    chosen = np.sort(np.argsort(-score, kind="stable")[:count])
    positive = positive[..., chosen]
    bright = np.maximum(np.quantile(positive, 0.99, axis=(0, 1, 2, 3)), 1e-12)
    maps = np.round(255 * np.minimum(positive / bright, 1)).astype(np.uint8)
    return LayerMaps(name, [int(channel) for channel in chosen], maps.transpose(0, 1, 4, 2, 3))


def sheet(maps: np.ndarray) -> np.ndarray:
    """The maps of one checkpoint in one image, images downwards, channels to the right: [I,n,H,W] -> [I*H, n*W]."""
    count, channels, height, width = maps.shape
    return maps.transpose(0, 2, 1, 3).reshape(count * height, channels * width)


def as_data(inside: Inside, class_names: list[str], accuracies: list[float | None], test_name: str) -> dict:
    """What the page's script reads."""
    first, palette = inside.first, np.round(255 * matplotlib.colormaps["viridis"](np.arange(256))[:, :3])
    return {
        "steps": inside.steps,
        "accuracies": accuracies,
        "testName": test_name,
        "classes": class_names,
        "mean": [float(value) for value in MEAN],
        "std": [float(value) for value in STD],
        "images": [
            {"number": number, "label": label, "pixels": as_text(image)}
            for number, label, image in zip(inside.numbers, inside.labels, inside.images)
        ],
        "probabilities": np.round(inside.probabilities.astype(np.float64), 4).tolist(),
        "first": {
            "name": first.name, "stride": first.stride, "padding": first.padding, "next": first.next_layer,
            "shape": list(first.kernels.shape[1:]), "kernels": [as_text(kernel) for kernel in first.kernels],
            "biases": None if first.biases is None else [as_text(bias) for bias in first.biases],
        },
        "layers": [
            {
                "name": layer.name, "channels": layer.channels, "height": layer.maps.shape[3],
                "width": layer.maps.shape[4],
                "sheets": [data_uri(sheet(maps), palette) for maps in layer.maps],
            }
            for layer in inside.layers
        ],
    }  # fmt: skip
