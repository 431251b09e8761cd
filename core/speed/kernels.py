"""The one place where faster implementations replace textbook layers, each computing the same function.

What was replaced is named in config.json under "kernels". tests/speed/ holds every replacement to the textbook
layer, values and gradients.
"""

import itertools
from collections.abc import Callable

import tensorflow as tf

from core.layers import GELU, BatchNormalization, Convolution, Layer, MaxPooling
from core.speed.batch_norm import FusedBatchNormalization
from core.speed.convolution import SMALL, WIDE, FastConvolution
from core.speed.gelu import FusedGELU

TEXTBOOK = ""  # the name of no replacement
FAST_GRADIENT, EDGE_SKIPPED = "kernel gradient as a convolution", "edge skipped"


def by_rule(candidates: dict[str, Layer], input_shape: tuple, dtype: tf.DType) -> str:
    """The candidate that was the fastest on the processors where this was developed (docs/speed.md)."""
    edge = EDGE_SKIPPED in candidates and max(candidates[TEXTBOOK].output_shape(input_shape)[:2]) <= WIDE
    rows_and_columns = candidates[EDGE_SKIPPED if edge else TEXTBOOK].output_shape(input_shape)[:2]
    gradient = FAST_GRADIENT in candidates and max(rows_and_columns) <= SMALL
    return name_of(edge, gradient)


def replace_layers(
    layers: list[Layer], image_shape: tuple[int, int, int], dtype: tf.DType, choose: Callable = by_rule
) -> dict[str, str]:
    """Replace in the list `layers` what has a faster implementation for images of this shape and layers of this dtype.

    choose(candidates, input_shape, dtype) names one of the {name: layer} that compute a convolution. Returns {layer
    name: what replaces it, in words}. float64, which gradient checks use, is left as it is.
    """
    replaced, shape = {}, image_shape
    if dtype == tf.float64:
        return replaced
    for i, (layer, following) in enumerate(itertools.zip_longest(list(layers), layers[1:])):
        what = TEXTBOOK
        if type(layer) is BatchNormalization:
            layers[i], what = converted(layer, FusedBatchNormalization), "fused"
        elif type(layer) is GELU:
            layers[i], what = converted(layer, FusedGELU), "fused"
        elif type(layer) is Convolution:
            candidates = convolutions(layer, shape, following, dtype)
            if len(candidates) > 1:
                what = choose(candidates, shape, dtype)
                layers[i] = candidates.get(what, layer)
        if what:
            replaced[layer.name] = what
        shape = layers[i].output_shape(shape)
    return replaced


def convolutions(layer: Convolution, shape: tuple, following: Layer | None, dtype: tf.DType) -> dict[str, Layer]:
    """{name: layer}: the textbook convolution and what may replace it on a processor, for this input and next layer."""
    candidates = {TEXTBOOK: layer}
    if layer.stride != 1 or tf.config.list_physical_devices("GPU"):
        return candidates
    rows, columns, _ = layer.output_shape(shape)
    pooled = isinstance(following, MaxPooling) and following.kernel_size == following.stride == 2
    droppable = pooled and following.padding == "VALID" and rows % 2 and columns % 2
    edge_possible = bool(droppable and layer.padding == "SAME" and layer.kernel_size in (3, 5, 7))
    for edge, gradient in itertools.product((False, edge_possible), (False, dtype == tf.bfloat16)):
        if edge or gradient:
            fast = converted(layer, FastConvolution)
            fast.skip_edge, fast.fast_gradient = edge, gradient
            candidates[name_of(edge, gradient)] = fast
    return candidates


def name_of(edge: bool, gradient: bool) -> str:
    """What a convolution does differently, in words."""
    return ", ".join([EDGE_SKIPPED] * edge + [FAST_GRADIENT] * gradient)


def converted(layer: Layer, fast_class: type) -> Layer:
    """The same layer, name and variables, with the __call__ of `fast_class`, a subclass of its own class."""
    fast = fast_class.__new__(fast_class)
    fast.__dict__.update(layer.__dict__)
    return fast
