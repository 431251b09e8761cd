"""The architecture in config.json: what is described is what is built again."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal
from networks_to_test import build_network

from core import architecture, layers, model
from core.settings.settings import NETWORKS


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kernels", ["textbook", "fast"])
def test_a_network_is_rebuilt_from_its_description(network, kernels):
    """Through JSON: layers, names, shapes, initial weights. Faster implementations are described as the textbook's."""
    built = build_network(network, kernels=kernels, seed=3, activation="gelu", precision="bfloat16")
    described = json.loads(json.dumps(architecture.description(built.layers)))
    assert described == built.architecture
    rebuilt = model.CNN(network, architecture.rebuilt(described, seed=3))
    textbook = build_network(network, seed=3, activation="gelu")
    assert [type(layer) for layer in rebuilt.layers] == [type(layer) for layer in textbook.layers]
    assert list(rebuilt.named_variables) == list(textbook.named_variables)
    for name, variable in textbook.named_variables.items():
        np.testing.assert_array_equal(rebuilt.named_variables[name], variable, err_msg=name)
    assert architecture.description(rebuilt.layers) == described
    assert rebuilt.summary() == textbook.summary()


def lines_of(network: str) -> list[str]:
    """A line for each layer: `conv1 Convolution in_channels=3 out_channels=32 ...`."""
    return [
        " ".join([call.pop("name"), call.pop("layer"), *(f"{name}={value}" for name, value in call.items())])
        for call in architecture.description(build_network(network).layers)
    ]


def test_every_number_of_every_network_is_written_down_a_second_time():
    """tests/networks.txt: a number that changed by mistake is found, one that was changed is changed twice."""
    pinned = (Path(__file__).parent / "networks.txt").read_text()
    for network in NETWORKS:
        found = "\n".join([network, *(f"    {line}" for line in lines_of(network))]) + "\n"
        assert found in pinned, f"not what tests/networks.txt says; if that was meant, write it there:\n{found}"


@pytest.mark.parametrize(
    "layer",
    [
        layers.Convolution("it", 3, 8, kernel_size=5, stride=2, padding="VALID", use_bias=False, gain=1.0),
        layers.Dense("it", 12, 5, use_bias=False, gain=0.1),
        layers.BatchNormalization("it", 3, momentum=0.6, epsilon=0.01, use_scale=False),
        layers.MaxPooling("it", 3, 2, "SAME"),
        layers.AveragePooling("it", 4),
        layers.Dropout("it", 0.25),
        layers.Flatten("it"),
        layers.GELU("it"),
        layers.LeakyReLU("it", 0.2),
        layers.Sigmoid("it"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_every_argument_of_a_layer_is_described(layer):
    [call] = architecture.description([layer])
    [again] = architecture.rebuilt([call], seed=0)
    assert type(again) is type(layer) and architecture.description([again]) == [call]
    for name, value in vars(layer).items():
        if isinstance(value, (bool, int, float, str)):
            assert getattr(again, name) == value, name
    shapes = {"Dense": (2, 12)}
    x = tf.constant(normal(*shapes.get(type(layer).__name__, (2, 8, 8, 3))), tf.float32)
    given = x, True, tf.constant(1)
    np.testing.assert_array_equal(again(*given), layer(*given))


@pytest.mark.parametrize(
    "call",
    [
        {"layer": "Unknown", "name": "it"},
        {"name": "it"},
        {"layer": "Dense", "name": "it"},
        {"layer": "Dense", "name": "it", "in_features": 3, "out_features": 4, "colour": "red"},
        "Dense",
        None,
    ],
)
def test_what_is_no_description_is_one_sentence(call):
    with pytest.raises(ValueError, match=r"^layer '.*' of the stored architecture: ") as refused:
        architecture.rebuilt([call], seed=0)
    assert "\n" not in str(refused.value)


def test_a_description_with_a_layer_that_another_version_had_is_an_expected_error():
    """core/run/terminal.py shows a ValueError that names a layer or network as one line."""
    from core.run import terminal
    from core.settings.command_line import parse

    with pytest.raises(ValueError, match="of the stored architecture") as refused:
        architecture.rebuilt([{"layer": "Gone", "name": "it"}], seed=0)
    assert terminal.one_line(refused.value, parse([])) is not None
