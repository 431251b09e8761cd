"""The one place where faster implementations replace textbook layers, each computing the same function.

What was replaced is named in config.json under "kernels". tests/speed/ holds every replacement to the textbook
layer, values and gradients.
"""

import itertools

import tensorflow as tf

from core.layers import GELU, BatchNormalization, Convolution, Layer, MaxPooling
from core.speed.batch_norm import FusedBatchNormalization
from core.speed.convolution import SMALL, WIDE, FastConvolution
from core.speed.gelu import FusedGELU


def replace_layers(layers: list[Layer], image_shape: tuple[int, int, int], dtype: tf.DType) -> dict[str, str]:
    """Replace in the list `layers` what has a faster implementation for images of this shape and layers of this dtype.

    Returns {layer name: what replaces it, in words}. float64, which gradient checks use, is left as it is.
    """
    replaced, shape = {}, image_shape
    if dtype == tf.float64:
        return replaced
    on_processor = not tf.config.list_physical_devices("GPU")
    for i, (layer, following) in enumerate(itertools.zip_longest(list(layers), layers[1:])):
        fast = None
        if type(layer) is BatchNormalization:
            fast, what = converted(layer, FusedBatchNormalization), "fused"
        elif type(layer) is GELU:
            fast, what = converted(layer, FusedGELU), "fused"
        elif type(layer) is Convolution and layer.stride == 1 and on_processor:
            fast, what = fast_convolution(layer, shape, following, dtype)
        if fast:
            layers[i], replaced[layer.name] = fast, what
        shape = layers[i].output_shape(shape)
    return replaced


def fast_convolution(layer: Convolution, shape: tuple, following: Layer | None, dtype: tf.DType):
    """(the faster implementation or None, what it does in words) of a convolution with this input and next layer."""
    rows, columns, _ = layer.output_shape(shape)
    fast, what = converted(layer, FastConvolution), []
    pooled = isinstance(following, MaxPooling) and following.kernel_size == following.stride == 2
    if pooled and following.padding == "VALID" and rows % 2 and columns % 2 and max(rows, columns) <= WIDE:
        fast.skip_edge = layer.padding == "SAME" and layer.kernel_size in (3, 5, 7)
    if max(fast.output_shape(shape)[:2]) <= SMALL and dtype == tf.bfloat16:
        fast.fast_gradient = True
    what += ["edge skipped"] * fast.skip_edge + ["kernel gradient as a convolution"] * fast.fast_gradient
    return (fast, ", ".join(what)) if what else (None, "")


def converted(layer: Layer, fast_class: type) -> Layer:
    """The same layer, name and variables, with the __call__ of `fast_class`, a subclass of its own class."""
    fast = fast_class.__new__(fast_class)
    fast.__dict__.update(layer.__dict__)
    return fast
