"""What kernels.replace_layers replaces, that it names it, and that the network computes the same function."""

import dataclasses
import sys

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal
from networks_to_test import build_network, logits_and_gradients, randomized
from runner import train_here

import train_loop
from core import devices, model
from core.layers import GELU, BatchNormalization, Convolution, MaxPooling
from core.run import run_folder
from core.settings.recipes import RECIPES
from core.settings.settings import NETWORKS
from core.speed import kernels

EDGE, GRADIENT = "edge skipped", "kernel gradient as a convolution"


@pytest.fixture
def processor(monkeypatch):
    """A machine without a GPU."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])


@pytest.fixture
def gpu(monkeypatch):
    """A machine with one."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"one {kind}"])


def fused(*names):
    return dict.fromkeys(names, "fused")


# On a processor, by network and precision.
REPLACED = {
    ("classic", "float32"): {},
    ("classic", "bfloat16"): {"conv3": GRADIENT},  # its images are 8x8
    ("modern", "float32"): fused(*(f"norm{k}" for k in range(1, 7))),
    ("modern", "bfloat16"): fused(*(f"norm{k}" for k in range(1, 7))) | {f"conv{k}": GRADIENT for k in (3, 4, 5, 6)},
    ("debug", "float32"): fused("norm1"),
}
SPEED_FUSED = fused(*(f"{kind}{block}" for block in ("1a", "1b", "2a", "2b", "3a", "3b") for kind in ("norm", "act")))
SPEED_FUSED |= fused("act0")


@pytest.mark.parametrize(("network", "precision"), REPLACED)
def test_what_is_replaced_in_the_textbook_networks(processor, network, precision):
    built = build_network(network, precision=precision, kernels="fast")
    assert built.replaced == REPLACED[network, precision]


@pytest.mark.parametrize(
    ("precision", "convolutions"),
    [
        ("float32", {"conv2a": EDGE, "conv3a": EDGE}),  # 15x15 and 7x7; conv1a has 31x31, where it does not pay
        ("bfloat16", {"conv2a": EDGE, "conv2b": GRADIENT, "conv3a": f"{EDGE}, {GRADIENT}", "conv3b": GRADIENT}),
    ],
)
def test_what_is_replaced_in_the_speed_networks(processor, precision, convolutions):
    built = build_network("speed64", precision=precision, kernels="fast", activation="gelu")
    assert built.replaced == SPEED_FUSED | convolutions


def test_a_gpu_keeps_its_own_convolutions(gpu):
    assert build_network("speed64", precision="bfloat16", kernels="fast", activation="gelu").replaced == SPEED_FUSED


def test_float64_is_left_as_it_is(processor):
    assert build_network("speed64", tf.float64, kernels="fast").replaced == {}


@pytest.mark.parametrize(
    ("size", "options", "replaced"),
    [
        (8, {}, True),
        (9, {}, False),  # too large
        (10, {"padding": "VALID"}, True),  # the output counts: 8 x 8
        (11, {"padding": "VALID"}, False),
        (8, {"stride": 2}, False),
    ],
)
def test_the_kernel_gradient_is_replaced_only_where_it_pays(processor, size, options, replaced):
    layers = [Convolution("conv", 2, 2, **options)]
    assert bool(kernels.replace_layers(layers, (size, size, 2), tf.bfloat16)) == replaced
    assert kernels.replace_layers([Convolution("conv", 2, 2, **options)], (size, size, 2), tf.float32) == {}


@pytest.mark.parametrize(
    ("rows", "columns", "convolution", "pooling", "replaced"),
    [
        (15, 9, {}, {}, True),
        (14, 9, {}, {}, False),  # the last row is needed
        (9, 14, {}, {}, False),
        (17, 17, {}, {}, False),  # too large
        (9, 9, {}, {"kernel_size": 3}, False),
        (9, 9, {}, {"stride": 1}, False),
        (9, 9, {}, {"padding": "SAME"}, False),
        (9, 9, {"kernel_size": 2}, {}, False),
        (9, 9, {"kernel_size": 5}, {}, True),
        (9, 9, {"kernel_size": 6}, {}, False),
        (9, 9, {"kernel_size": 7}, {}, True),
        (9, 9, {"padding": "VALID"}, {}, False),
    ],
)
def test_the_edge_is_skipped_only_where_the_pooling_drops_it(processor, rows, columns, convolution, pooling, replaced):
    layers = [Convolution("conv", 2, 2, **convolution), MaxPooling("pool", **pooling)]
    textbook_shape = layers[1].output_shape(layers[0].output_shape((rows, columns, 2)))
    assert bool(kernels.replace_layers(layers, (rows, columns, 2), tf.float32)) == replaced
    assert layers[1].output_shape(layers[0].output_shape((rows, columns, 2))) == textbook_shape


def test_a_choice_is_asked_for_only_where_there_is_one(processor):
    """What is measured for a choice costs the start of a run."""
    asked = []

    def choose(candidates, shape, dtype):
        asked.append((candidates[""].name, shape, dtype, set(candidates)))
        return GRADIENT

    layers = [Convolution("conv1", 2, 2), MaxPooling("pool1"), Convolution("conv2", 2, 2, stride=2)]
    assert kernels.replace_layers(list(layers), (8, 8, 2), tf.float32, choose) == {} and not asked
    assert kernels.replace_layers(layers, (8, 8, 2), tf.bfloat16, choose) == {"conv1": GRADIENT}
    assert asked == [("conv1", (8, 8, 2), tf.bfloat16, {"", GRADIENT})]


@pytest.mark.parametrize("network", NETWORKS)
def test_the_layers_that_are_replaced_are_those_that_are_named(processor, network):
    """Same names, same variables; every other layer is of its textbook class."""
    textbook, fast = build_network(network), build_network(network, precision="bfloat16", kernels="fast")
    assert textbook.replaced == {}
    assert [layer.name for layer in textbook.layers] == [layer.name for layer in fast.layers]
    changed = [b.name for a, b in zip(textbook.layers, fast.layers) if type(a) is not type(b)]
    assert sorted(changed) == sorted(fast.replaced)
    for a, b in zip(textbook.layers, fast.layers):
        assert isinstance(b, type(a))
    assert list(textbook.named_variables) == list(fast.named_variables)
    for a, b in zip(textbook.named_variables.values(), fast.named_variables.values()):
        np.testing.assert_array_equal(a, b)
    assert textbook.parameter_count == fast.parameter_count


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("network", ["classic", "modern", "debug", "speed64"])
def test_a_fast_network_computes_the_same_function(processor, network, training):
    """Logits, every gradient, every statistic, in float32; with the kernel gradient that is meant for bfloat16."""
    textbook = randomized(network, tf.float32, activation="gelu")
    fast = randomized(network, tf.float32, activation="gelu", kernels="fast")
    for i, layer in enumerate(fast.layers):
        if type(layer) in (Convolution, kernels.FastConvolution):
            fast.layers[i] = kernels.converted(layer, kernels.FastConvolution)
            fast.layers[i].fast_gradient = True
    images, labels = tf.constant(normal(6, *model.IMAGE_SHAPE), tf.float32), tf.constant([3, 1, 4, 1, 5, 9])
    expected, found = (logits_and_gradients(cnn, images, labels, training) for cnn in (textbook, fast))
    largest = max(np.abs(a).max() for a in expected)  # a bias before batch norm has no gradient but rounding errors
    for a, b in zip(expected, found):
        assert np.any(a)
        np.testing.assert_allclose(b, a, rtol=0, atol=2e-4 * np.abs(a).max() + 1e-7 * largest)
    for a, b in zip(textbook.statistics, fast.statistics):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


# Which kernels a run takes, and what it writes down.


@pytest.mark.parametrize(
    ("kernels_setting", "eager", "chosen"),
    [
        ("auto", False, "auto"),
        ("auto", True, "textbook"),
        ("textbook", False, "textbook"),
        ("fast", True, "fast"),
    ],
)
def test_eager_runs_take_the_textbook_unless_told_otherwise(kernels_setting, eager, chosen):
    settings = dataclasses.replace(RECIPES["modern"], kernels=kernels_setting, eager=eager)
    assert devices.choose_kernels(settings) == chosen


def test_a_run_names_its_kernels(tmp_path):
    for name, args, kernels_chosen, replaced in (
        ("fast", (), "fast", {"norm1": "fused"}),
        ("textbook", ("--kernels", "textbook"), "textbook", {}),
    ):
        train_here(tmp_path, name, "--steps", 1, "--diagnostics", "off", *args)
        config = run_folder.read_config(tmp_path / name)
        assert config["settings"]["kernels"] == kernels_chosen and config["kernels"] == replaced


def test_a_step_of_an_eager_run_stays_in_the_textbook_layers(tmp_path):
    """Every line that is executed between the batch and the update: where a debugger would stop."""
    visited, classes = set(), []

    def note(frame, event, argument):
        if "core" in frame.f_code.co_filename:
            visited.add(frame.f_code.co_filename.partition("core/")[2])

    def prepare(*given):
        training = train_loop.prepare(*given)
        classes.extend(type(layer) for layer in training.network.layers)
        step = training.step

        def traced(number):
            sys.setprofile(note)
            try:
                return step(number)
            finally:
                sys.setprofile(None)

        training.step = traced
        return training

    for network in ("debug", "modern"):
        train_here(
            tmp_path, network, "--network", network, "--eager", "--batch-size", 8, "--steps", 1,
            "--diagnostics", "off", "--kernels", "auto", prepare=prepare,
        )  # fmt: skip
    assert {"layers/convolution.py", "layers/normalization.py", "layers/pooling.py", "layers/dense.py"} <= visited
    in_speed = {file for file in visited if file.startswith("speed/")}
    assert in_speed <= {"speed/weight_average.py"}, "its update is called in every run, and does nothing here"
    assert BatchNormalization in classes and Convolution in classes and GELU not in classes
    assert {cls.__module__.rpartition(".")[0] for cls in classes} == {"core.layers"}


@pytest.mark.parametrize("network", ["speed64", "airbench94"])
def test_what_a_network_costs_does_not_depend_on_its_kernels(network):
    textbook, fast = (build_network(network, precision="bfloat16", kernels=kernels) for kernels in ("textbook", "fast"))
    assert any("edge skipped" in what for what in fast.replaced.values())
    assert textbook.flops() == fast.flops() and textbook.parameter_count == fast.parameter_count
