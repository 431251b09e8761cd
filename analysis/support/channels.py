"""The channels of a layer as arrays: the first convolution's filters, each channel's largest output in an image."""

from core import devices

tf = devices.import_tensorflow()

import numpy as np

from core.data import batches
from core.run.errors import RunError

COLOURLESS = 0.8  # a filter with this fraction of its energy equal in the three colours has no colour
TOP = 24  # images that a channel is judged by
CHANNELS = 4  # that stand out most


def first_convolution(cnn):
    """The convolution that is applied to the image. Raises RunError when there is none."""
    for layer in cnn.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and kernel.shape.rank == 4 and kernel.shape[2] == 3:
            return layer
    raise RunError(f"network '{cnn.name}' has no convolution of an image with three colours: it has no filters to show")


def filters_of(cnn) -> np.ndarray:
    """The filters of the first convolution, one after the other: float64 [Cout,kh,kw,3]. Raises RunError."""
    filters = first_convolution(cnn).kernel.numpy().astype(np.float64).transpose(3, 0, 1, 2)
    if not np.isfinite(filters).all():
        raise RunError("the filters of this checkpoint are not finite: the run diverged, see analysis/diagnose.py")
    return filters


def colourless(kernels: np.ndarray) -> np.ndarray:
    """Which filters [C,kh,kw,3] hardly differ between the colours: 3 |mean over colours|^2 > 0.8 |k|^2. [C] bool"""
    grey = 3 * (kernels.mean(axis=3) ** 2).sum(axis=(1, 2))
    return grey > COLOURLESS * (kernels**2).sum(axis=(1, 2, 3))


def cosines(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The cosine of each filter with its counterpart, [C,...] each: 1 for the same direction. 0 for zeros. [C]"""
    axes = tuple(range(1, some.ndim))
    lengths = np.sqrt((some**2).sum(axis=axes) * (others**2).sum(axis=axes))
    return (some * others).sum(axis=axes) / np.maximum(lengths, 1e-30)


def excitations(cnn, name: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each channel's largest output in each image, and where: (float32 [N,C], int64 [N,C,2] row and column).

    images: uint8 [N,32,32,3]. A layer behind flatten has one output a channel, at (0, 0).
    """

    @tf.function(autograph=False)
    def largest(some):
        outputs = cnn.outputs(batches.standardize(some), training=False)
        y = next(y for layer, y in outputs if layer.name == name)
        y = tf.reshape(tf.cast(y, tf.float32), [y.shape[0], -1, y.shape[-1]])  # [n,H,W,C] -> [n,H*W,C]
        return tf.reduce_max(y, axis=1), tf.argmax(y, axis=1)

    found = [largest(some) for some, _ in batches.in_order(images, np.zeros(len(images), np.int32))]
    values, positions = (np.concatenate([part.numpy() for part in parts]) for parts in zip(*found))
    if not np.isfinite(values).all():
        raise RunError(f"layer '{name}': its outputs are not finite; the run diverged, see analysis/diagnose.py")
    shapes = {layer.name: layer.output_shape(shape) for layer, shape in cnn.shapes()}
    columns = shapes[name][1] if len(shapes[name]) == 3 else 1
    return values, np.stack([positions // columns, positions % columns], axis=-1)


def strongest(values: np.ndarray) -> np.ndarray:
    """The images [at most TOP] with the largest values [N], largest first."""
    return np.argsort(-values, kind="stable")[:TOP]


def outstanding(values: np.ndarray) -> np.ndarray:
    """The channels [at most 4] whose strongest images stand out most: (mean of the top - mean) / std. values [N,C]"""
    std = values.std(axis=0)
    top = -np.sort(-values, axis=0)[:TOP]
    score = np.where(std > 0, (top.mean(axis=0) - values.mean(axis=0)) / np.where(std > 0, std, 1), 0)
    return np.argsort(-score, kind="stable")[:CHANNELS]
