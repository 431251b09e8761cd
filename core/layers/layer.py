"""The base class of the layers: how a layer is called, its variables, its output shape, its cost.

There is no magic here: a layer creates its variables in its own __init__, from sizes it was
given, and its __call__ is the only code between the input and the output.
"""

import math

import tensorflow as tf


class Layer(tf.Module):
    """A named step of the forward pass.

    Calling it: `layer(x, training, step)`. `training` is required because dropout and batch
    normalization do two different things; `step` (int32 scalar, 1 for the first) only matters
    to layers that draw random numbers. The other layers ignore both.

    A layer computes in the dtype of its input: the variables stay in theirs (float32; float64
    in gradient checks) and are cast where they are used. That is all there is to mixed precision.
    """

    kernel_size = 1  # rows (and columns) of the input that one output position depends on
    stride = 1  # rows (and columns) of the input between two output positions
    is_activation = False  # True for nonlinearities: their units can die

    def __call__(self, x: tf.Tensor, training: bool, step: tf.Tensor | None = None) -> tf.Tensor:
        """The layer's output for the input x."""
        raise TypeError(f"{type(self).__name__} has no __call__")

    @property
    def parameters(self) -> list[tf.Variable]:
        """The variables the optimizer moves, in a fixed order."""
        return []

    @property
    def statistics(self) -> list[tf.Variable]:
        """The non-trainable variables: batch norm's moving averages."""
        return []

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one image's output, from the shape of one image's input; N is left out."""
        return input_shape

    def macs(self, input_shape: tuple[int, ...]) -> int:
        """Multiply-accumulates for one image. Only convolution and dense layers have any."""
        return 0

    def flops(self, input_shape: tuple[int, ...]) -> int:
        """Floating-point operations of one image's forward pass: two a multiply-accumulate, one a bias."""
        return 0

    @property
    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(math.prod(variable.shape) for variable in self.parameters)

    def check_channels(self, x: tf.Tensor, rank: int, channels: int, meaning: str) -> None:
        """Raise ValueError, naming this layer and the way out, unless x is [N,...,channels] of this rank."""
        if x.shape.rank != rank or x.shape[-1] != channels:
            wanted = {4: f"[N,H,W,{channels}]", 2: f"[N,{channels}]"}[rank]
            raise ValueError(
                f"layer '{self.name}': expected input {wanted} ({meaning}={channels}), found "
                f"{list(x.shape)}; give '{self.name}' {meaning}={x.shape[-1]}, or change the layer before it"
            )


def window_positions(size: int, kernel_size: int, stride: int, padding: str) -> int:
    """How many windows fit along one side.

    VALID: floor((size - kernel_size) / stride) + 1, the window never leaves the image.
    SAME: ceil(size / stride), zeros are put around the image, the odd one below and to the right.
    """
    if padding == "SAME":
        return -(-size // stride)
    return (size - kernel_size) // stride + 1


def check_window(name: str, kernel_size: int, stride: int, padding: str) -> None:
    """Raise ValueError unless a sliding window of these sizes makes sense."""
    if kernel_size < 1 or stride < 1:
        raise ValueError(f"layer '{name}': kernel size {kernel_size} and stride {stride} must be at least 1")
    if padding not in ("SAME", "VALID"):
        raise ValueError(f"layer '{name}': padding is 'SAME' or 'VALID', found {padding!r}")


def check_window_fits(name: str, x: tf.Tensor, kernel_size: int, padding: str) -> None:
    """Raise ValueError when a VALID window is larger than the image."""
    rows, columns = x.shape[1:3]
    if padding == "VALID" and min(rows, columns) < kernel_size:
        raise ValueError(
            f"layer '{name}': a {kernel_size}x{kernel_size} window does not fit into {rows}x{columns}; "
            "use a smaller one, padding='SAME', or pool less before it"
        )
