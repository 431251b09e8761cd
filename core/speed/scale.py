"""Scale: multiplication by a constant."""

import math

from core.layers.layer import Layer


class Scale(Layer):
    """y = factor x.  Any shape -> the same shape. After the last dense layer: small initial logits."""

    def __init__(self, name: str, factor: float):
        super().__init__(name)
        self.factor = factor

    def __call__(self, x, training, step=None):  # noqa: D102
        return self.factor * x

    def flops(self, input_shape):  # noqa: D102
        return math.prod(input_shape)
