"""Pooling: one number for each window of the image, in every channel by itself. Nothing is learned."""

import math

import tensorflow as tf

from core.layers.layer import Layer, check_window, check_window_fits, window_positions


class Pooling(Layer):
    """The common part: a window of kernel_size x kernel_size, moved by stride (kernel_size if not given)."""

    def __init__(self, name: str, kernel_size: int = 2, stride: int | None = None, padding: str = "VALID"):
        super().__init__(name)
        self.kernel_size, self.stride, self.padding = kernel_size, stride or kernel_size, padding
        check_window(name, self.kernel_size, self.stride, padding)

    def output_shape(self, input_shape):  # noqa: D102
        rows, columns, channels = input_shape
        return (
            window_positions(rows, self.kernel_size, self.stride, self.padding),
            window_positions(columns, self.kernel_size, self.stride, self.padding),
            channels,
        )

    def flops(self, input_shape):
        """One comparison or addition for each number in each window."""
        return math.prod(self.output_shape(input_shape)) * self.kernel_size**2

    def check(self, x: tf.Tensor) -> None:
        """Raise ValueError unless x is [N,H,W,C] and the window fits."""
        if x.shape.rank != 4:
            raise ValueError(
                f"layer '{self.name}': expected input [N,H,W,C], found {list(x.shape)}; pooling comes before flatten"
            )
        check_window_fits(self.name, x, self.kernel_size, self.padding)


class MaxPooling(Pooling):
    """y[n,i,j,c] = max over u,v of  x[n, s*i+u-p, s*j+v-p, c].   [N,H,W,C] -> [N,H',W',C].

    The whole gradient goes to the position of the maximum (the first one of several equal ones).
    Padding SAME counts as minus infinity.
    """

    def __call__(self, x, training, step=None):  # noqa: D102
        self.check(x)
        return tf.nn.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AveragePooling(Pooling):
    """y[n,i,j,c] = mean over u,v of  x[n, s*i+u-p, s*j+v-p, c].   [N,H,W,C] -> [N,H',W',C].

    The gradient is divided equally. With padding SAME the mean is over the numbers that are
    inside the image, not over the padding.
    """

    def __call__(self, x, training, step=None):  # noqa: D102
        self.check(x)
        return tf.nn.avg_pool2d(x, self.kernel_size, self.stride, self.padding)
