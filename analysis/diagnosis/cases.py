"""What a recorded run is made of: a command line, a fault that is a context, the findings that name it.

A fault is a change of a line or two to the real training, made before it starts: unittest.mock.patch replaces a
function of the project by another. Each stands for a mistake that is made in practice. No measured number is edited.
"""

import contextlib
import dataclasses
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

from core.settings import recipes

# A run takes half a minute on one core: 3,200 images (recording.py), 50 steps an epoch. The textbook layers only, so
# that a change of one function is a change of the whole training.
COMMON = "--precision bfloat16 --kernels textbook --micro-batches 1 --threads 1 --batch-size 64 --epochs 6"
CLASSIC = f"--recipe classic {COMMON} --data cifar10"
SHAPES = f"--recipe classic {COMMON} --data shapes10"
MODERN = f"--recipe modern {COMMON} --data cifar10"
SMALL = f"--recipe debug --no-eager --learning-rate 0.05 {COMMON}"  # 5,370 parameters
SMALL_CIFAR = f"{SMALL} --data cifar10"


@dataclass(frozen=True)
class Case:
    """One run of the collection: its command line, its fault, and the findings that name it correctly."""

    args: str  # of train_loop.py
    change: Callable = contextlib.nullcontext  # a context in which the training has the fault
    expected: tuple[str, ...] = ()  # ids of detectors, any of which is right; none for a clean run

    @property
    def about(self) -> str:
        """What is wrong, and how it usually happens."""
        return " ".join(self.change.__doc__.split()) if self.expected else f"clean: {self.args}"


def entering(cases: dict[str, Case]):
    """`fault` for a set of cases: it enters the function below, which makes a context, under its name."""

    def fault(args: str, *expected: str):
        def entered(change):
            cases[change.__name__.replace("_", "-")] = Case(args, change, expected)
            return change

        return entered

    return fault


def replaced(target: str, change: Callable):
    """A context in which a call of the function `target`, "module.name", becomes change(function, *arguments)."""
    function = pkgutil.resolve_name(target)

    def changed(*arguments, **named):
        return change(function, *arguments, **named)

    return mock.patch(target, changed)


def with_data(change: Callable):
    """A context in which the training gets change(data) for the data set it has loaded."""
    return replaced("core.run.start.load", lambda load, *arguments: change(load(*arguments)))


def with_network(change: Callable):
    """A context in which change(network) is called for the network that was built."""

    def changed(build_network, *arguments, **named):
        network = build_network(*arguments, **named)
        change(network)
        return network

    return replaced("core.build.build_network", changed)


def with_recipe(name: str, **settings):
    """A context in which the recipe has these settings."""
    return mock.patch.dict(recipes.RECIPES, {name: dataclasses.replace(recipes.RECIPES[name], **settings)})


def with_kernels_of(std: float):
    """A context in which every kernel is drawn from N(0, std^2), whatever its size."""
    return replaced(
        "core.random_streams.normal", lambda normal, key, shape, right_std, dtype: normal(key, shape, std, dtype)
    )
