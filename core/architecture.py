"""The architecture of a network as data: what config.json stores, and the layers rebuilt from it.

A run keeps the network that it began with, even if core/model.py is edited afterwards.
"""

import inspect

import tensorflow as tf

from core import layers as textbook
from core.layers import Layer
from core.settings.settings import shown
from core.speed.scale import Scale
from core.speed.whitening import Whitening

CLASSES = {cls.__name__: cls for cls in (*(getattr(textbook, name) for name in textbook.__all__), Scale, Whitening)}
NOT_STORED = ("self", "seed", "dtype")  # the seed is in the settings, the dtype is the caller's choice


def description(layers: list[Layer]) -> list[dict]:
    """[{"layer": "Convolution", "name": "conv1", "in_channels": 3, ...}, ...]: the constructor calls, for JSON."""
    return [{"layer": textbook_class(layer).__name__} | arguments_of(layer) for layer in layers]


def rebuilt(described: list[dict], seed: int, dtype=tf.float32) -> list[Layer]:
    """The layers of a description, their weights drawn from the seed. Raises ValueError for one that is none."""
    layers = []
    for call in described:
        try:
            arguments = dict(call)
            layer_class = CLASSES[arguments.pop("layer")]
            accepted = inspect.signature(layer_class.__init__).parameters
            extra = {name: value for name, value in (("seed", seed), ("dtype", dtype)) if name in accepted}
            layers.append(layer_class(**arguments, **extra))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            name = call.get("name", "?") if isinstance(call, dict) else "?"
            raise ValueError(f"layer '{shown(name)}' of the stored architecture: {shown(error)}") from None
    return layers


def textbook_class(layer: Layer) -> type:
    """The class of a layer, or for a faster implementation the textbook class that it replaces."""
    return next((cls for cls in type(layer).__mro__ if CLASSES.get(cls.__name__) is cls), type(layer))


def arguments_of(layer: Layer) -> dict:
    """{argument: value} of a layer's constructor, read back from its attributes."""
    names = inspect.signature(textbook_class(layer).__init__).parameters
    return {name: getattr(layer, name) for name in names if name not in NOT_STORED and hasattr(layer, name)}
