"""The speed networks: their sizes, and what each of their settings changes."""

import dataclasses

import numpy as np
import pytest

from core import build
from core.layers import GELU, BatchNormalization, Convolution, MaxPooling, ReLU
from core.settings.recipes import RECIPES
from core.settings.settings import SPEED_NETWORKS
from core.speed.networks import WIDTHS


def built(recipe: str, images=None, **settings):
    """The textbook layers of a speed recipe's network, some settings replaced."""
    settings = {"kernels": "textbook", "micro_batches": 1} | settings
    return build.build_network(dataclasses.replace(RECIPES[recipe], **settings), images=images)


@pytest.mark.parametrize(("whitening_init", "kind", "learned"), [(True, "Whitening", 0), (False, "Convolution", 312)])
def test_the_first_layer_is_computed_or_learned(whitening_init, kind, learned):
    """Learned it has 24 filters of 2x2x3 numbers and 24 biases."""
    first = built("fast", whitening_init=whitening_init).layers[0]
    assert (type(first).__name__, first.parameter_count) == (kind, learned)
    assert first.output_shape((32, 32, 3)) == (31, 31, 24)


def test_airbench94_is_the_network_of_the_records():
    """Jordan's 1,971,640 numbers less the 24 biases and the 288 filters of the whitening layer; 118.15 MMAC."""
    network = built("fast", network="airbench94")
    assert network.parameter_count == 1_971_640 - 24 - 288
    assert round(sum(layer.macs(shape) for layer, shape in network.shapes()) / 1e6, 2) == 118.15


@pytest.mark.parametrize(("network", "widths"), [("speed64", (32, 64, 64)), ("speed192", (32, 192, 192))])
def test_the_parameters_of_the_narrower_ones_by_hand(network, widths):
    """3x3 convolutions and the dense layer without bias, a beta a channel; the filters of the first layer are fixed."""
    pairs, channels = 0, 24
    for width in widths:
        pairs, channels = pairs + channels * width + width * width, width
    assert built("fast", network=network).parameter_count == 9 * pairs + 2 * sum(widths) + 10 * channels


def test_what_the_records_begin_with():
    """Weights as large as those of U(-1/sqrt(n), 1/sqrt(n)), logits divided by 9, a momentum of 0.6 in batch norm."""
    network = built("fast")
    assert len(network.layers) == 27 and network.layers[-1].factor == pytest.approx(1 / 9)
    assert " ".join(layer.name for layer in network.layers[:10]) == (
        "whitening act0 conv1a pool1a norm1a act1a conv1b norm1b act1b conv2a"
    )
    assert {layer.momentum for layer in network.layers if isinstance(layer, BatchNormalization)} == {0.6}
    for name in ("conv2b", "dense"):
        kernel = network.named_variables[f"{name}/kernel"].numpy()
        inputs = np.prod(kernel.shape[:-1])
        uniform = np.random.default_rng(0).uniform(-1, 1, 100_000) / np.sqrt(inputs)
        assert kernel.std() == pytest.approx(uniform.std(), rel=4 / np.sqrt(2 * kernel.size))
        assert next(layer for layer in network.layers if layer.name == name).gain == pytest.approx(1 / np.sqrt(3))


@pytest.mark.parametrize("network", SPEED_NETWORKS)
def test_the_speed_networks_differ_in_their_widths_only(network):
    """Three blocks of two convolutions, from 31x31 to 3x3."""
    cnn = built("minute", network=network)
    kernels = [layer for layer in cnn.layers if isinstance(layer, Convolution)]
    a, b, c = WIDTHS[network]
    widths = [tuple(layer.kernel.shape[2:]) for layer in kernels]
    assert widths == [(3, 24), (24, a), (a, a), (a, b), (b, b), (b, c), (c, c)]  # whitening is a convolution too
    assert [shape for _, shape in cnn.shapes()][-4:] == [(3, 3, c), (1, 1, c), (c,), (10,)]
    pooled = [layer.output_shape(shape)[0] for layer, shape in cnn.shapes() if isinstance(layer, MaxPooling)]
    assert pooled == [15, 7, 3, 1]


def test_the_activation_is_a_setting():
    for name, activation in (("gelu", GELU), ("relu", ReLU)):
        network = built("minute", activation=name)
        assert {type(layer) for layer in network.layers if layer.is_activation} == {activation}


def test_the_whitening_filters_are_computed_from_the_images_that_are_given(small_data):
    assert build.WHITENING_IMAGES == 5_000, "as many as in the records"
    one, other = built("minute", images=small_data.train_images), built("minute")
    assert np.abs(one.layers[0].kernel.numpy() - other.layers[0].kernel.numpy()).max() > 0.1
    np.testing.assert_array_equal(one.named_variables["dense/kernel"], other.named_variables["dense/kernel"])
