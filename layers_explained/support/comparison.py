"""One function in four implementations: running each of them forward and backward on the same numbers.

A forward pass takes the arrays of the point, and the options by name; it returns y, or (y, more outputs). A backward
pass takes dL/dy first, then the same; it returns the gradient of each array of the point: the vector-Jacobian
products. The loss is L = 1/2 sum (y - t)^2, whose dL/dy is y - t; without a target t, L = sum y, whose dL/dy is 1.
"""

import contextlib
import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from core import devices
from layers_explained.support import checks
from layers_explained.support.constants import Problem
from layers_explained.support.mistakes import print_mistakes

DEVICES = 8  # the parts of the processor that an all-reduce can have; everything else runs on the first


class Numbers(NamedTuple):
    """What a function is computed on."""

    point: dict[str, np.ndarray]  # the arrays that have a gradient, float64, by name
    target: np.ndarray | None = None  # t, of the shape of y
    options: dict = {}  # noqa: RUF012  whatever else the passes need: stride, padding, mask ...

    def loss(self, y: np.ndarray) -> float:
        """L of the output y."""
        return float(np.sum(y) if self.target is None else np.sum((y - self.target) ** 2) / 2)

    def output_gradient(self, y: np.ndarray) -> np.ndarray:
        """dL/dy of the output y."""
        return np.ones(np.shape(y)) if self.target is None else y - self.target


class Mistake(NamedTuple):
    """A wrong layer: what replaces the forward or the backward pass of implementation 2."""

    name: str
    forward: Callable | None = None
    backward: Callable | None = None


@dataclass(frozen=True)
class Comparison:
    """One function, implemented four times, and the numbers it is compared on."""

    numbers: Callable[[], Numbers]
    loops: tuple[Callable, Callable]  # implementation 1: forward, backward
    numpy: tuple[Callable, Callable]  # implementation 2: forward, backward
    tensorflow: Callable  # implementation 3: forward, of TensorFlow primitives; the tape computes the backward pass
    layer: Callable  # implementation 4: -> (the layer of core/ as a function of the first array, its parameters)
    mistakes: tuple[Mistake, ...] = ()
    title: str = ""  # "" when a walkthrough has one comparison only
    outputs: tuple[str, ...] = ("y",)
    layer_numbers: Callable[[], Numbers] | None = None  # for a layer that draws its own: what it draws
    agreement: float = 1e-10  # between two implementations
    gradient_bound: float = 1e-7  # on the relative error; finite differences near a kink are less exact
    names: tuple[str, ...] = field(default=("loops", "NumPy", "TensorFlow primitives", "the layer, compiled"))

    def implementations(self):
        """(name, function that returns every output and every gradient), one after the other.

        A generator: TensorFlow is imported only when the third is reached.
        """
        numbers, (one, two, three, four) = (self.layer_numbers or self.numbers)(), self.names
        yield one, lambda: forward_and_backward(*self.loops, numbers)
        yield two, lambda: forward_and_backward(*self.numpy, numbers)
        yield three, lambda: with_tape(self.tensorflow, numbers)
        yield four, compiled(self.layer, numbers)

    def result_names(self) -> tuple[str, ...]:
        """The names of what an implementation returns."""
        return *self.outputs, *(f"dL/d{name}" for name in self.numbers().point)

    def shapes(self) -> str:
        """`x [2, 12, 12, 3], k [3, 3, 3, 8], b [8]  ->  y [2, 12, 12, 8]; 224 parameters`."""
        numbers = self.numbers()
        y = as_tuple(self.numpy[0](*numbers.point.values(), **numbers.options))[0]
        point = ", ".join(f"{name} {list(np.shape(value))}" for name, value in numbers.point.items())
        parameters = sum(value.size for value in list(numbers.point.values())[1:])
        title = f"{self.title}: " if self.title else ""
        return f"{title}{point}  ->  {self.outputs[0]} {list(np.shape(y))}; {parameters or 'no'} parameters"

    def right_outputs(self) -> list[np.ndarray]:
        """The outputs of implementation 1, which mistakes are compared with."""
        return forward_and_backward(*self.loops, self.numbers())[: len(self.outputs)]

    def gradient_check(self) -> None:
        """Compare the backward pass of implementation 2 with finite differences, and with Taylor's expansion."""
        _, *case = self.checked()
        print("   Finite differences: one number moved a little either way, and the change of the loss.\n")
        checks.gradient_check(*case, bound=self.gradient_bound)
        print("\n   Taylor: all numbers moved together, by a smaller and smaller step in one direction.\n")
        checks.taylor_check(*case)

    def print_mistakes(self) -> None:
        """Print which check finds which mistake."""
        print_mistakes(self)

    def checked(self, mistake: Mistake = Mistake("")):  # noqa: B008
        """(outputs, loss, point, gradients) of implementation 2, or of a mistake made in it, for checks.py."""
        numbers = self.numbers()
        forward, backward = mistake.forward or self.numpy[0], mistake.backward or self.numpy[1]

        def loss(**point):
            return numbers.loss(as_tuple(forward(*point.values(), **numbers.options))[0])

        results = forward_and_backward(forward, backward, numbers)
        gradients = dict(zip(numbers.point, results[-len(numbers.point) :]))
        return results[: len(self.outputs)], loss, numbers.point, gradients


def as_tuple(results) -> tuple:
    """The results of a pass as a tuple, also when there is only one."""
    return tuple(results) if isinstance(results, tuple | list) else (results,)


def forward_and_backward(forward: Callable, backward: Callable, numbers: Numbers) -> list[np.ndarray]:
    """Every output, then every gradient."""
    outputs = as_tuple(forward(*numbers.point.values(), **numbers.options))
    gradient = numbers.output_gradient(outputs[0])
    return [*outputs, *as_tuple(backward(gradient, *numbers.point.values(), **numbers.options))]


def with_tape(forward: Callable, numbers: Numbers) -> list[np.ndarray]:
    """The same, of a forward pass in TensorFlow: the tape records it and computes the vector-Jacobian products."""
    tf = import_tensorflow()
    tensors = [tf.constant(value) for value in numbers.point.values()]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = as_tuple(forward(*tensors, **numbers.options))
        loss = loss_in_tensorflow(tf, outputs[0], numbers.target)
    return [tensor.numpy() for tensor in (*outputs, *tape.gradient(loss, tensors))]


def compiled(build: Callable, numbers: Numbers) -> Callable:
    """What runs the layer of core/ forward and backward, in one compiled function."""
    tf = import_tensorflow()
    layer, parameters = build(*numbers.point.values(), **numbers.options)

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = as_tuple(layer(x))
            loss = loss_in_tensorflow(tf, outputs[0], numbers.target)
        return *outputs, *tape.gradient(loss, [x, *parameters])

    x = tf.constant(next(iter(numbers.point.values())))
    return lambda: [tensor.numpy() for tensor in step(x)]


def loss_in_tensorflow(tf, y, target):
    """The loss of `Numbers.loss`, as a tensor."""
    return tf.reduce_sum(y) if target is None else tf.reduce_sum((y - target) ** 2) / 2


@functools.cache
def import_tensorflow():
    """TensorFlow, imported silently, on the processor: the comparison is of implementations, not of devices."""
    if importlib.util.find_spec("tensorflow") is None:
        raise Problem("TensorFlow is not installed, and from here on it is needed; `make setup` installs it")
    tf = devices.import_tensorflow()
    with contextlib.suppress(RuntimeError):  # TensorFlow has started already, as in a test
        tf.config.set_visible_devices([], "GPU")
        [processor] = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * DEVICES)
    return tf
