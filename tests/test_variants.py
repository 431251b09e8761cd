"""The network `plain`: with its defaults it is `classic`; each setting changes what its sentence says."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal
from networks_to_test import build_network

from core import model
from core.settings import settings as names
from core.settings.settings import Settings


def plain(**settings) -> model.CNN:
    return build_network("plain", **settings)


def layers_of(network: model.CNN) -> dict[str, tuple]:
    """{name: (class, shape of one image's output)}."""
    return {layer.name: (type(layer).__name__, layer.output_shape(shape)) for layer, shape in network.shapes()}


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_with_its_defaults_it_is_classic(dtype):
    """Layers, arguments, initial weights and outputs: the same bits."""
    classic, same = build_network("classic", dtype, seed=3), build_network("plain", dtype, seed=3)
    assert same.architecture == classic.architecture
    for name, variable in classic.named_variables.items():
        np.testing.assert_array_equal(same.named_variables[name], variable, err_msg=name)
    images, step = tf.constant(normal(4, *model.IMAGE_SHAPE), dtype), tf.constant(7)
    for training in (False, True):  # with the same dropout mask
        np.testing.assert_array_equal(same(images, training, step), classic(images, training, step))


def test_a_wide_and_deep_one_by_hand():
    network = plain(width=8, depth=2, batch_norm=True, activation="gelu", pooling="average", dense_units=20)
    expected = {}
    for block, (size, channels) in enumerate([(32, 8), (16, 16), (8, 32)], start=1):
        for letter in ("", "b"):
            shape = (size, size, channels)
            expected |= {f"conv{block}{letter}": ("Convolution", shape)}
            expected |= {f"norm{block}{letter}": ("BatchNormalization", shape)}
            expected |= {f"gelu{block}{letter}": ("GELU", shape)}
        expected[f"pool{block}"] = ("AveragePooling", (size // 2, size // 2, channels))
    expected |= {"flatten": ("Flatten", (512,)), "dense1": ("Dense", (20,)), "gelu4": ("GELU", (20,))}
    expected |= {"dropout": ("Dropout", (20,)), "dense2": ("Dense", (10,))}
    assert layers_of(network) == expected
    kernels = 9 * (3 * 8 + 8 * 8 + 8 * 16 + 16 * 16 + 16 * 32 + 32 * 32)
    dense = 512 * 20 + 20 + 20 * 10 + 10
    assert network.parameter_count == kernels + 2 * 2 * (8 + 16 + 32) + dense  # no biases before a batch norm


def test_stride_takes_every_second_position():
    network = plain(pooling="stride", width=4, depth=2)
    assert not [name for name in layers_of(network) if name.startswith("pool")]
    strides = [layer.stride for layer in network.layers if layer.name.startswith("conv")]
    assert strides == [1, 2, 1, 2, 1, 2]
    assert layers_of(network)["conv3b"][1] == (4, 4, 16)


def test_the_average_head_forgets_where_a_feature_is():
    network = plain(head="average", width=4)
    assert list(layers_of(network).items())[-4:] == [
        ("average", ("AveragePooling", (1, 1, 16))), ("flatten", ("Flatten", (16,))),
        ("dropout", ("Dropout", (16,))), ("dense", ("Dense", (10,))),
    ]  # fmt: skip
    head = network.layers[-4:]
    features = normal(1, 4, 4, 16)
    outputs = []
    for x in (features, features[:, ::-1]):
        for layer in head:
            x = layer(tf.cast(x, tf.float32), training=False)
        outputs.append(x)
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-6)


def test_without_an_activation_the_convolutions_are_one_linear_function():
    """f(x) + f(y) - f(0) = f(x + y); averages are linear too."""
    x, y = (tf.constant(normal(1, *model.IMAGE_SHAPE, seed=seed), tf.float64) for seed in (1, 2))
    for activation, linear in (("none", True), ("relu", False)):
        network = build_network("plain", tf.float64, activation=activation, pooling="average", width=4)
        f = [network(images, training=False).numpy() for images in (x, y, tf.zeros_like(x), x + y)]
        assert np.allclose(f[0] + f[1] - f[2], f[3]) == linear


@pytest.mark.parametrize(
    ("word", "gain"), [("he", math.sqrt(2)), ("small", math.sqrt(2) / 10), ("large", 3 * math.sqrt(2))]
)
def test_the_initialization_scales_every_layer_but_the_last(word, gain):
    found = {layer.name: layer.gain for layer in plain(initialization=word).layers if hasattr(layer, "gain")}
    assert found == dict.fromkeys(("conv1", "conv2", "conv3", "dense1"), pytest.approx(gain)) | {"dense2": 0.1}


def test_glorot_has_the_variance_of_its_paper():
    """2 / (fan_in + fan_out); of a convolution both count the positions of the kernel."""
    network = plain(initialization="glorot")
    for name, fans in (("conv2", 9 * (32 + 64)), ("dense1", 2048 + 128)):
        kernel = network.named_variables[f"{name}/kernel"].numpy()
        assert kernel.std() == pytest.approx(math.sqrt(2 / fans), rel=0.03)


def test_every_combination_of_its_words_can_be_built():
    every = itertools.product(names.ACTIVATIONS, names.POOLINGS, (False, True), names.HEADS, names.INITIALIZATIONS)
    for activation, pooling, batch_norm, head, initialization in every:
        given = {"activation": activation, "pooling": pooling, "batch_norm": batch_norm, "head": head}
        network = plain(**given, initialization=initialization, width=1, dense_units=2)
        assert len(network.parameters) == (3 if batch_norm else 2) * 3 + (4 if head == "dense" else 2)


def test_its_settings_are_those_of_the_command_line():
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    said = [name for name, field in fields.items() if field.metadata["text"].startswith("plain: ")]
    assert set(said) | {"batch_norm"} == set(names.PLAIN_SETTINGS)
