"""The network `plain`: `classic` with its choices as settings, to measure what each one buys (analysis/study.py).

    python train_loop.py --network plain --activation sigmoid --batch-norm
    python train_loop.py --network plain --depth 2 --width 16 --pooling average --head average

core/model.py stays a list to be read; here the same list is computed. With the default settings it is `classic`, layer
for layer and weight for weight (tests/test_variants.py).
"""

import math

import tensorflow as tf

from core.layers import AveragePooling, BatchNormalization, Convolution, Dense, Dropout, Flatten, Layer, MaxPooling
from core.layers.activation import activation_layers
from core.layers.convolution import HE
from core.model import CLASSES, OUTPUT_GAIN

BLOCKS = 3  # each halves rows and columns: 32x32 -> 16x16 -> 8x8 -> 4x4


def plain(settings, dtype=tf.float32) -> list[Layer]:
    """Three blocks of convolutions, each with twice the channels of the one before, then the head.

    [N,32,32,3] -> [N,10]. settings: width, depth, kernel_size, pooling, activation, batch_norm, dropout, head,
    dense_units, initialization and seed (core/settings/settings.py describes each).
    """
    layers, channels = [], 3
    for number in range(1, BLOCKS + 1):
        width = settings.width * 2 ** (number - 1)
        layers += block(settings, number, channels, width, dtype)  # [N,H,W,channels] -> [N,H/2,W/2,width]
        channels = width
    return layers + HEADS[settings.head](settings, channels, dtype)


def block(settings, number: int, in_channels: int, out_channels: int, dtype) -> list[Layer]:
    """(Convolution, batch norm, activation) `depth` times, then pooling.  [N,H,W,Cin] -> [N,H/2,W/2,Cout].

    With --pooling stride the last convolution takes every second position instead.
    """
    layers = []
    for k in range(settings.depth):
        name = f"{number}{'abcdefgh'[k] if k else ''}"  # conv1, conv1b, conv1c
        strided = settings.pooling == "stride" and k == settings.depth - 1
        channels = out_channels if k else in_channels
        layers.append(Convolution(
            f"conv{name}", channels, out_channels, settings.kernel_size, stride=2 if strided else 1,
            use_bias=not settings.batch_norm, gain=gain(settings.initialization, channels, out_channels),
            seed=settings.seed, dtype=dtype,
        ))  # fmt: skip
        if settings.batch_norm:
            layers.append(BatchNormalization(f"norm{name}", out_channels, dtype=dtype))
        layers += activation_layers(settings.activation, f"{settings.activation}{name}")
    if settings.pooling != "stride":
        layers.append(POOLINGS[settings.pooling](f"pool{number}"))
    return layers


def dense_head(settings, channels: int, dtype) -> list[Layer]:
    """Flatten and two dense layers, dropout between them: every position has weights of its own."""
    features, units = 4 * 4 * channels, settings.dense_units
    return [
        Flatten("flatten"),  # [N,4,4,C] -> [N,16C]
        Dense("dense1", features, units, gain=gain(settings.initialization, features, units), seed=settings.seed,
              dtype=dtype),  # -> [N,units]
        *activation_layers(settings.activation, f"{settings.activation}{BLOCKS + 1}"),
        Dropout("dropout", settings.dropout, seed=settings.seed),
        Dense("dense2", units, CLASSES, gain=OUTPUT_GAIN, seed=settings.seed, dtype=dtype),  # -> [N,10]
    ]  # fmt: skip


def average_head(settings, channels: int, dtype) -> list[Layer]:
    """Global average pooling and one dense layer: where a feature is makes no difference.  Lin, Chen & Yan 2014."""
    return [
        AveragePooling("average", 4),  # [N,4,4,C] -> [N,1,1,C]
        Flatten("flatten"),  # -> [N,C]
        Dropout("dropout", settings.dropout, seed=settings.seed),
        Dense("dense", channels, CLASSES, gain=OUTPUT_GAIN, seed=settings.seed, dtype=dtype),  # -> [N,10]
    ]


HEADS = {"dense": dense_head, "average": average_head}
POOLINGS = {"max": MaxPooling, "average": AveragePooling}


def gain(initialization: str, inputs: int, outputs: int) -> float:
    """The gain g of an initialization N(0, g^2 / fan_in) of a layer from `inputs` to `outputs` channels or features.

    he: sqrt 2, keeps the activations' size under ReLU (He et al. 2015). glorot: a variance of 2 / (fan_in + fan_out), a
    compromise between forward and backward pass (Glorot & Bengio 2010). small and large: a tenth and three times He's.
    """
    return {
        "he": HE,
        "glorot": math.sqrt(2 * inputs / (inputs + outputs)),
        "small": HE / 10,
        "large": 3 * HE,
    }[initialization]
