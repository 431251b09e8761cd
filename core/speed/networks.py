"""The network of the CIFAR-10 speed records, in three widths (Jordan 2024, airbench94)."""

import tensorflow as tf

from core.layers import BatchNormalization, Convolution, Dense, Flatten, Layer, MaxPooling
from core.layers.activation import activation_layers
from core.model import CLASSES
from core.speed.scale import Scale
from core.speed.whitening import Whitening

# Channels of the three blocks. Half of the record's 64 in the first one costs little loss (docs/speed.md).
WIDTHS = {"speed64": (32, 64, 64), "speed192": (32, 192, 192), "airbench94": (64, 256, 256)}
SMALL_GAIN = 3**-0.5  # the standard deviation of U(-1/sqrt(n), 1/sqrt(n)), the records' initialization


def build_layers(settings, dtype=tf.float32) -> list[Layer]:
    """Whitening, three blocks of two convolutions each, dense.  [N,32,32,3] -> [N,10].

    settings: network (its widths), activation, whitening_init and seed. Without whitening_init the
    first layer is a learned convolution of the same shape.
    """
    activation, seed = settings.activation, settings.seed
    first = Whitening("whitening", 3, dtype=dtype)
    if not settings.whitening_init:
        first = Convolution("conv0", 3, first.out_channels, kernel_size=2, padding="VALID", seed=seed, dtype=dtype)

    def half_block(name: str, in_channels: int, out_channels: int, pool: bool) -> list[Layer]:
        """Convolution, (2x2 max-pooling,) batch norm, activation."""
        return [
            Convolution(
                f"conv{name}", in_channels, out_channels, use_bias=False, gain=SMALL_GAIN, seed=seed, dtype=dtype
            ),
            *([MaxPooling(f"pool{name}")] if pool else []),
            BatchNormalization(f"norm{name}", out_channels, momentum=0.6, use_scale=False, dtype=dtype),
            *activation_layers(activation, f"act{name}"),
        ]

    layers = [first, *activation_layers(activation, "act0")]  # [N,32,32,3] -> [N,31,31,24]
    channels = first.out_channels
    for block, width in enumerate(WIDTHS[settings.network], start=1):  # -> 15x15, 7x7, 3x3
        layers += half_block(f"{block}a", channels, width, pool=True)
        layers += half_block(f"{block}b", width, width, pool=False)
        channels = width
    return [
        *layers,
        MaxPooling("pool", 3),  # -> [N,1,1,C]
        Flatten("flatten"),
        Dense("dense", channels, CLASSES, use_bias=False, gain=SMALL_GAIN, seed=seed, dtype=dtype),
        Scale("scale", 1 / 9),  # -> [N,10]
    ]
