"""Which pixels an output number of a layer depends on: its receptive field, and the patch of an image inside it."""

from dataclasses import dataclass

import numpy as np

from core.model import IMAGE_SHAPE


@dataclass(frozen=True)
class Window:
    """A layer in one direction: output i depends on the inputs i * stride - before, `size` of them, that exist."""

    size: int
    stride: int
    before: int  # zeros before the first input
    inputs: int


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a layer: its side in pixels, and the windows of all layers up to this one."""

    size: int
    windows: tuple[Window, ...]  # in forward order; none behind flatten, where it is the whole image

    def pixels(self, index: int, side: int) -> slice:
        """The rows (or columns) of an image of `side` pixels that row (or column) `index` of the output depends on."""
        if not self.windows:
            return slice(0, side)
        first = last = int(index)
        for window in reversed(self.windows):
            first = max(first * window.stride - window.before, 0)
            last = min(last * window.stride - window.before + window.size, window.inputs) - 1
        return slice(first, last + 1)

    def patch(self, image: np.ndarray, row: int, column: int) -> np.ndarray:
        """The pixels of an image [H,W,3] that output (row, column) depends on: [h,w,3], h and w at most size."""
        return image[self.pixels(row, image.shape[0]), self.pixels(column, image.shape[1])]


def receptive_fields(network, image_shape: tuple[int, int, int] = IMAGE_SHAPE) -> dict[str, ReceptiveField]:
    """The receptive field of every layer's outputs {layer: field}, in forward order.

    As in CNN.summary: its side grows by (kernel - 1) * jump, and jump, the distance in pixels between neighbouring
    outputs, is multiplied by the stride. Behind flatten it is the whole image.
    """
    fields, size, jump, windows = {}, 1, 1, ()
    for layer, shape in network.shapes(image_shape):
        if len(layer.output_shape(shape)) == 1:
            fields[layer.name] = ReceptiveField(image_shape[0], ())
            continue
        size, jump = size + (layer.kernel_size - 1) * jump, jump * layer.stride
        windows += (Window(layer.kernel_size, layer.stride, padding_before(layer, shape[0]), shape[0]),)
        fields[layer.name] = ReceptiveField(size, windows)
    return fields


def padding_before(layer, side: int) -> int:
    """The rows of zeros that a layer puts before the first of `side` rows: half of all, rounded down, for SAME."""
    if getattr(layer, "padding", "VALID") != "SAME":
        return 0
    outputs = -(-side // layer.stride)
    return max((outputs - 1) * layer.stride + layer.kernel_size - side, 0) // 2
