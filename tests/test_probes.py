import numpy as np
import pytest
import tensorflow as tf
from gradients import normal

from core import probes
from core.layers import BatchNormalization, Convolution, Dense, Flatten, ReLU
from core.model import CNN

# What each quantity is, in NumPy: w the kernel before the step, g its gradient, d the step taken.
BY_FORMULA = {
    "gradient_norm": lambda w, g, d: np.sqrt(np.sum(g**2)),
    "weight_norm": lambda w, g, d: np.sqrt(np.sum(w**2)),
    "update_ratio": lambda w, g, d: np.sqrt(np.sum(d**2)) / np.sqrt(np.sum(w**2)),
}


@pytest.fixture
def network():
    """Parameters besides the kernels stand before and between them, so that a wrong place shows."""
    norm, flatten = BatchNormalization("norm", 3), Flatten("flatten")
    layers = [norm, Convolution("conv10", 3, 4), ReLU("relu"), Convolution("conv2", 4, 2), flatten, Dense("out", 32, 5)]
    return CNN("small", layers)


def test_layers_with_a_kernel_in_network_order(network):
    assert [layer.name for layer in probes.kernel_layers(network)] == ["conv10", "conv2", "out"]


def test_every_quantity_is_its_formula_in_network_order(network):
    gradients = [tf.constant(normal(*w.shape, seed=k), tf.float32) for k, w in enumerate(network.parameters)]
    updates = [tf.constant(-0.01 * normal(*w.shape, seed=50 + k), tf.float32) for k, w in enumerate(network.parameters)]
    measured = probes.layer_quantities(network, gradients, updates)
    assert list(measured) == list(probes.LAYER_QUANTITIES) == list(BY_FORMULA)
    places = [2, 4, 6]  # of the kernels among gamma, beta, kernel, bias, kernel, bias, kernel, bias
    for name, values in measured.items():
        expected = [BY_FORMULA[name](*(a[k].numpy() for a in (network.parameters, gradients, updates))) for k in places]
        assert values.dtype == tf.float32
        np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_another_quantity_is_a_line(network, monkeypatch):
    monkeypatch.setitem(probes.LAYER_QUANTITIES, "largest_weight", lambda w, g, d: tf.reduce_max(tf.abs(w)))
    still = [tf.zeros_like(w) for w in network.parameters]
    measured = probes.layer_quantities(network, still, still)
    largest = [np.abs(layer.kernel.numpy()).max() for layer in probes.kernel_layers(network)]
    np.testing.assert_array_equal(measured["largest_weight"], largest)


def test_when_they_are_written():
    due = [step for step in range(1, 141) if probes.due(step)]
    assert due == [*range(1, 101), 110, 120, 130, 140]
