import dataclasses
import functools
import os

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal
from networks_to_test import build_network, randomized
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from analysis.benchmarks.baselines.keras_fit import keras_network
from core import architecture, build, layers, model
from core.data import augmentation
from core.data.batches import standardize
from core.layers import BatchNormalization, Convolution, Dense, Dropout, Flatten, MaxPooling, ReLU
from core.losses import softmax_cross_entropy
from core.optimizers import SGD, Adam
from core.run import logs
from core.settings.recipes import RECIPES
from core.settings.settings import Settings
from core.speed import augmentation as fast_augmentation
from core.speed import kernels
from core.speed.convolution import FastConvolution
from core.speed.measured_kernels import MeasuredChoice
from core.speed.micro_batches import MicroBatchedCNN
from core.speed.muon import Muon
from core.speed.scale import Scale

NETWORKS = [*model.NETWORKS, "speed64"]
every_network = pytest.mark.parametrize("network", NETWORKS)


# The whole network beside one of Keras.


@pytest.fixture
def keras_in_float64():
    """Keras remembers the first policy it was asked for, so floatx alone is not enough."""
    before = tf.keras.config.dtype_policy()
    tf.keras.config.set_floatx("float64")  # of the input
    tf.keras.config.set_dtype_policy("float64")  # of the layers
    yield
    tf.keras.config.set_floatx("float32")
    tf.keras.config.set_dtype_policy(before)


@every_network
def test_logits_and_every_gradient_equal_those_of_keras(network, keras_in_float64):
    """With batch norm in its training mode wherever Keras' dropout, which draws other masks, is not in the way."""
    cnn = randomized(network)
    copy = keras_network(cnn)
    training = not any(isinstance(layer, Dropout) for layer in cnn.layers)
    images, labels = tf.constant(normal(5, *model.IMAGE_SHAPE)), tf.constant([3, 1, 4, 1, 5])

    with tf.GradientTape(persistent=True) as tape:
        ours, theirs = cnn(images, training), copy(images, training=training)
        our_loss = tf.reduce_mean(softmax_cross_entropy(ours, labels))
        their_loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels, theirs, from_logits=True))
    assert np.ptp(ours) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    our_gradients = tape.gradient(our_loss, cnn.parameters)
    their_gradients = tape.gradient(their_loss, [v.value for v in copy.trainable_variables])
    assert len(our_gradients) == len(their_gradients)
    for a, b in zip(our_gradients, their_gradients):
        assert np.any(a)
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-12)
    assert cnn.parameter_count == sum(np.prod(v.shape) for v in copy.trainable_variables)


@every_network
def test_probabilities_are_the_softmax_of_the_logits(network):
    cnn, images = randomized(network), tf.constant(normal(3, *model.IMAGE_SHAPE))
    logits = cnn(images, training=False).numpy()
    np.testing.assert_allclose(
        cnn.probabilities(images), np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rtol=1e-9
    )


# The table.


def table(cnn: model.CNN, image_shape=model.IMAGE_SHAPE) -> dict[str, list[str]]:
    """The summary as {layer: [output, parameters, MACs, field]}, its rules and its heading left out."""
    rows = [line.split() for line in cnn.summary(image_shape).splitlines()]
    return {row[0]: row[1:] for row in rows if row[0] != "layer" and not row[0].startswith("-")}


def test_the_table_of_classic_by_hand():
    assert table(build_network("classic")) == {
        "image": ["32x32x3", "1"],
        "conv1": ["32x32x32", "896", "884,736", "3"],
        "relu1": ["32x32x32", "0", "0", "3"],
        "pool1": ["16x16x32", "0", "0", "4"],
        "conv2": ["16x16x64", "18,496", "4,718,592", "8"],
        "relu2": ["16x16x64", "0", "0", "8"],
        "pool2": ["8x8x64", "0", "0", "10"],
        "conv3": ["8x8x128", "73,856", "4,718,592", "18"],
        "relu3": ["8x8x128", "0", "0", "18"],
        "pool3": ["4x4x128", "0", "0", "22"],
        "flatten": ["2048", "0", "0", "32"],
        "dense1": ["128", "262,272", "262,144", "32"],
        "relu4": ["128", "0", "0", "32"],
        "dropout": ["128", "0", "0", "32"],
        "dense2": ["10", "1,290", "1,280", "32"],
        "classic": ["356,810", "10,585,344"],
    }


def test_the_summary_as_it_is_printed():
    assert build_network("debug").summary().splitlines() == [
        "layer    output   parameters     MACs  field",
        "--------------------------------------------",
        "image    32x32x3                           1",
        "conv1    32x32x8         224  221,184      3",
        "norm1    32x32x8          16        0      3",
        "relu1    32x32x8           0        0      3",
        "pool1    8x8x8             0        0      6",
        "flatten  512               0        0     32",
        "dropout  512               0        0     32",
        "dense1   10            5,130    5,120     32",
        "--------------------------------------------",
        "debug                  5,370  226,304",
    ]


def test_the_parameters_of_modern_by_hand():
    """Convolutions of nine weights a pair of channels without bias, gamma and beta of 864 channels, ten outputs."""
    cnn = build_network("modern")
    pairs = 3 * 32 + 32 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 256 * 256
    assert cnn.parameter_count == 9 * pairs + 2 * (32 + 64 + 128 + 128 + 256 + 256) + 256 * 10 + 10
    blocks = ("conv1 pool1 norm1 relu1", "conv2 pool2 norm2 relu2", "conv3 norm3 relu3", "conv4 pool4 norm4 relu4",
              "conv5 norm5 relu5", "conv6 norm6 relu6", "pool6 flatten dense")  # fmt: skip
    assert " ".join(layer.name for layer in cnn.layers) == " ".join(blocks)


@every_network
def test_the_table_is_what_the_layers_really_do(network):
    cnn = build_network(network)
    rows, x = table(cnn), tf.zeros([1, *model.IMAGE_SHAPE])
    total = 0
    for k, layer in enumerate(cnn.layers):
        x = layer(x, training=False)
        output, parameters, macs, field = rows[layer.name]
        assert output == "x".join(map(str, x.shape[1:]))
        assert parameters == f"{sum(v.numpy().size for v in layer.trainable_variables):,}"
        # Every entry of a kernel is multiplied once at each output position.
        positions = np.prod(x.shape[1:-1], dtype=int)
        work = positions * layer.kernel.numpy().size if hasattr(layer, "kernel") else 0
        assert macs == f"{work:,}"
        total += work
        # The receptive field the other way round: from one output number back to the pixels it depends on.
        side = 1
        for below in reversed(cnn.layers[: k + 1]):
            side = (side - 1) * below.stride + below.kernel_size
        assert field == str(min(side, 32) if x.shape.rank == 4 else 32)
    assert rows[network] == [f"{cnn.parameter_count:,}", f"{total:,}"]


def test_the_receptive_field_is_where_the_gradient_reaches():
    """Measured: on which pixels does one number in the middle of the output depend?"""
    chain = [Convolution("a", 1, 1), layers.AveragePooling("b"), Convolution("c", 1, 1, 5, 2), Convolution("d", 1, 1)]
    x = tf.ones([1, 64, 64, 1])
    for k, layer in enumerate(chain):
        cnn = model.CNN("chain", chain[: k + 1])
        if hasattr(layer, "kernel"):
            layer.kernel.assign(tf.ones_like(layer.kernel))  # so that no two paths cancel
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = cnn(x, training=False)
            middle = y[0, y.shape[1] // 2, y.shape[2] // 2, 0]
        rows = np.flatnonzero(np.any(tape.gradient(middle, x)[0, :, :, 0], axis=1))
        assert table(cnn, (64, 64, 1))[layer.name][3] == str(np.ptp(rows) + 1)


@every_network
def test_flops_are_those_that_tensorflow_counts(network):
    """Its profiler goes over the operations of the graph.

    It counts nothing for ReLU; for batch norm as it is written four operations a number and three a channel.
    """
    cnn = build_network(network)
    graph = tf.function(lambda x: cnn(x, training=False), [tf.TensorSpec([1, *model.IMAGE_SHAPE])])
    frozen = convert_variables_to_constants_v2(graph.get_concrete_function())  # the profiler needs every size
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    counted = tf.compat.v1.profiler.profile(frozen.graph, options=options).total_float_ops
    more = {ReLU: lambda shape: np.prod(shape), BatchNormalization: lambda shape: -np.prod(shape) - 3 * shape[-1]}
    difference = sum(more[type(layer)](shape) for layer, shape in cnn.shapes() if type(layer) in more)
    assert cnn.flops() == counted + difference


# Names, order, seeds.


@every_network
def test_a_network_is_built_from_its_seed(network):
    one, same, other = (build_network(network, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(one.named_variables.values(), same.named_variables.values()):
        np.testing.assert_array_equal(a, b)
    kernels = [name for name in one.named_variables if name.endswith("/kernel") and name != "whitening/kernel"]
    assert kernels
    for name in kernels:
        assert np.any(one.named_variables[name].numpy() != other.named_variables[name].numpy())


@pytest.mark.parametrize("network", model.NETWORKS)
def test_without_a_seed_it_is_seed_0(network):
    one, other = (model.CNN("net", make) for make in (model.NETWORKS[network](), model.NETWORKS[network](seed=0)))
    for a, b in zip(one.parameters, other.parameters):
        np.testing.assert_array_equal(a, b)
    masks = [[layer.key.numpy().tolist() for layer in cnn.layers if isinstance(layer, Dropout)] for cnn in (one, other)]
    assert masks[0] == masks[1]


def test_adding_a_layer_does_not_change_the_others():
    before = model.CNN("net", model.classic(seed=3)).named_variables
    with_more = model.classic(seed=3)
    with_more[1:1] = [Convolution("conv1b", 32, 32, seed=3), BatchNormalization("norm1b", 32)]
    after = model.CNN("net", with_more).named_variables
    assert len(after) == len(before) + 6
    for name, variable in before.items():
        np.testing.assert_array_equal(after[name], variable)


def test_parameters_come_in_network_order_and_not_in_that_of_the_alphabet():
    cnn = model.CNN("net", [Convolution(f"conv{k}", 1, 1, 1) for k in range(1, 13)])
    expected = [f"conv{k}/{what}" for k in range(1, 13) for what in ("kernel", "bias")]
    assert list(cnn.named_variables) == expected
    for variable, name in zip(cnn.parameters, expected):
        assert variable is cnn.named_variables[name]


@every_network
def test_a_checkpoint_has_every_variable_and_the_optimizer_changes_no_statistic(network):
    cnn = build_network(network)
    assert {id(v) for v in cnn.named_variables.values()} == {id(v) for v in cnn.variables}
    assert {id(v) for v in cnn.parameters} == {id(v) for v in cnn.trainable_variables}


def test_two_layers_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"network 'net': two layers share a name .*'relu', 'relu'"):
        model.CNN("net", [ReLU("relu"), ReLU("relu")])


def test_a_name_that_layers_csv_would_cut_is_refused(tmp_path):
    """The longest one that is accepted is read back whole."""
    longest = "a" * 48
    network = model.CNN("net", [ReLU(longest)])
    log = logs.Logs(tmp_path)
    log.layers([(1, network.layers[0].name, "gradient_norm", 0.5)])
    log.close()
    assert logs.read(tmp_path, logs.LAYERS)["layer"].tolist() == [longest.encode()]
    with pytest.raises(ValueError, match=f"network 'net': layer '{longest}a' has a name of over 48 letters"):
        model.CNN("net", [ReLU(longest + "a")])


# What a network must do before and after training.


@every_network
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_loss_is_that_of_chance_level(network, seed, small_data):
    cnn = build_network(network, seed=seed)
    images, labels = standardize(tf.constant(small_data.train_images)), small_data.train_labels
    logits = cnn(images, training=True, step=tf.constant(1))
    first_loss = float(tf.reduce_mean(softmax_cross_entropy(logits, labels)))
    assert first_loss == pytest.approx(np.log(10), abs=0.25)


@every_network
@pytest.mark.parametrize(("name", "rate"), [("sgd", 0.01), ("adam", 0.002)])
def test_it_learns_twenty_images_by_heart(network, name, rate, small_data):
    """A network that cannot do this has a mistake somewhere between its input and its update."""
    cnn = build_network(network)
    settings = dataclasses.replace(RECIPES["classic"], optimizer=name, weight_decay=0.0)
    if isinstance(cnn.layers[-1], Scale):
        rate /= cnn.layers[-1].factor  # smaller logits need larger steps
    optimizer = build.build_optimizer(settings, cnn.parameters)
    images, labels = standardize(tf.constant(small_data.train_images[:20])), small_data.train_labels[:20]

    @functools.partial(tf.function, autograph=False)
    def step(t):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(softmax_cross_entropy(cnn(images, training=True, step=t), labels))
        gradients = tape.gradient(loss, cnn.parameters)
        for weight, update in zip(cnn.parameters, optimizer.updates(gradients, rate, t)):
            weight.assign_add(update)

    evaluated = tf.function(lambda: cnn(images, training=False), autograph=False)
    for t in range(1, 101):
        step(tf.constant(t))
        if t % 10 == 0 and float(tf.reduce_mean(softmax_cross_entropy(evaluated(), labels))) < 0.02:
            break
    else:
        pytest.fail("not after 100 steps")
    np.testing.assert_array_equal(tf.argmax(evaluated(), axis=-1), labels)


@every_network
def test_bfloat16_computes_about_the_same_and_returns_float32(network):
    exact, rough = build_network(network), build_network(network, precision="bfloat16")
    images = tf.constant(normal(8, *model.IMAGE_SHAPE), tf.float32)
    a, b = exact(images, training=False), rough(images, training=False)
    assert a.dtype == b.dtype == tf.float32
    assert all(v.dtype == tf.float32 for v in rough.variables)
    assert np.any(a != b), "in bfloat16 something must have been rounded"
    np.testing.assert_allclose(a, b, atol=0.05 * np.abs(a).max())
    for v, w in zip(exact.variables, rough.variables):
        np.testing.assert_array_equal(v, w)


def test_a_shape_that_does_not_fit_names_the_layer():
    with pytest.raises(ValueError, match=r"layer 'dense1': expected input .* change the layer before it"):
        build_network("classic")(tf.zeros([1, 16, 16, 3]), training=False)


@pytest.mark.parametrize("network", ["classic", "modern"])
@pytest.mark.parametrize("training", [True, False])
def test_outputs_are_the_call_layer_by_layer(network, training):
    """(layer, its output) in forward order; the last output is the logits, bit for bit."""
    given = tf.constant(normal(3, *model.IMAGE_SHAPE)), training, tf.constant(2)
    pairs = list(randomized(network).outputs(*given))
    cnn = randomized(network)
    assert [layer.name for layer, _ in pairs] == [layer.name for layer in cnn.layers]
    np.testing.assert_array_equal(pairs[-1][1], cnn(*given))
    for (_, y), (layer, shape) in zip(pairs, cnn.shapes()):
        assert tuple(y.shape[1:]) == layer.output_shape(shape)


# From the settings (core/build.py).


def test_a_batch_in_parts_or_whole():
    assert type(build_network("modern", micro_batches=1)) is model.CNN
    cnn = build_network("modern", micro_batches=2)
    assert type(cnn) is MicroBatchedCNN and cnn.micro_batches == 2


@pytest.mark.parametrize(
    ("precision", "dtype", "computed"),
    [
        ("float32", tf.float32, tf.float32),
        ("bfloat16", tf.float32, tf.bfloat16),
        ("bfloat16", tf.float64, tf.float64),  # a gradient check stays one
        ("float32", tf.float64, tf.float64),
    ],
)
def test_the_dtype_of_the_arithmetic(precision, dtype, computed):
    assert build_network("debug", dtype, precision=precision).compute_dtype == computed


def small_network(outputs=model.CLASSES, flattened=192) -> list:
    """[convolution, 4x4 pooling, flatten, dense]: 3 channels become 3, 32x32 become 8x8."""
    return [
        Convolution("a", 3, 3), MaxPooling("b", 4), Flatten("c"), Dense("d", flattened, outputs, seed=5),
    ]  # fmt: skip


def test_the_network_of_a_run_is_the_one_it_was_begun_with():
    settings = dataclasses.replace(RECIPES["classic"], kernels="textbook", micro_batches=1, seed=5)
    described = architecture.description(small_network())
    stored = build.build_network(settings, stored={"architecture": described})
    assert stored.architecture == described and [layer.name for layer in stored.layers] == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(stored.named_variables["d/kernel"], small_network()[-1].kernel)
    for config in (None, {}, {"kernels": {}}):  # an old run did not write its architecture down
        assert len(build.build_network(settings, stored=config).layers) == len(model.classic())


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"flattened": 192 * 4}, r"^layer 'd': expected input \[N,768\] \(in_features=768\), found \[1, 192\]; "),
        ({"outputs": 9}, r"^network 'classic': expected 10 logits, found shape \[9\] after the last layer 'd'$"),
    ],
)
def test_a_network_that_cannot_classify_is_refused_before_the_first_step(sizes, sentence):
    described = architecture.description(small_network(**sizes))
    with pytest.raises(ValueError, match=sentence):
        build.build_network(RECIPES["classic"], stored={"architecture": described})


@pytest.mark.parametrize(
    ("given", "kind"), [("textbook", augmentation), ("fast", fast_augmentation), ("auto", fast_augmentation)]
)
def test_which_functions_flip_and_crop(given, kind, small_data):
    settings = dataclasses.replace(RECIPES["debug"], kernels=given)
    assert build.build_batches(small_data, settings).augmentation is kind


def test_how_the_kernels_are_chosen():
    """None for the textbook; as the run did before; by measurement; by rule."""
    settings = dataclasses.replace(RECIPES["classic"], kernels="textbook")
    assert build.chosen_kernels(settings, None) is build.chosen_kernels(settings, {"kernels": {"conv1": "x"}}) is None
    for stored in (None, {}, {"architecture": []}):
        assert build.chosen_kernels(dataclasses.replace(settings, kernels="fast"), stored) is kernels.by_rule
        measured = build.chosen_kernels(dataclasses.replace(settings, kernels="auto"), stored)
        assert isinstance(measured, MeasuredChoice)
    for kernels_setting in ("fast", "auto"):
        as_before = build.chosen_kernels(
            dataclasses.replace(settings, kernels=kernels_setting), {"kernels": {"conv1": kernels.EDGE_SKIPPED}}
        )
        for name, what in (("conv1", kernels.EDGE_SKIPPED), ("conv2", kernels.TEXTBOOK)):
            candidates = {kernels.TEXTBOOK: Convolution(name, 3, 3)}
            assert as_before(candidates, model.IMAGE_SHAPE, tf.float32) == what


@pytest.mark.parametrize(
    ("batch_size", "micro_batches", "images"),
    [(100, 1, 100), (100, 4, 25), (100, 3, 34), (100, 0, 100)],
)
def test_the_kernels_are_measured_with_as_many_images_and_threads_as_a_step_has(batch_size, micro_batches, images):
    for threads, measured_with in ((3, 3), (0, os.cpu_count())):
        settings = dataclasses.replace(
            RECIPES["classic"], kernels="auto", batch_size=batch_size, micro_batches=micro_batches, threads=threads
        )
        choice = build.chosen_kernels(settings, None)
        assert (choice.images, choice.threads) == (images, measured_with)


def test_what_was_replaced_and_measured_is_kept_with_the_network(monkeypatch):
    def choice(images, threads):
        def choose(candidates, shape, dtype):
            return kernels.FAST_GRADIENT if candidates[kernels.TEXTBOOK].name == "conv2" else kernels.TEXTBOOK

        choose.milliseconds = {"conv2": {"textbook": 2.0}}
        return choose

    monkeypatch.setattr(build, "MeasuredChoice", choice)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    cnn = build_network("classic", kernels="auto", precision="bfloat16")
    assert cnn.replaced == {"conv2": kernels.FAST_GRADIENT}
    assert cnn.kernel_milliseconds == {"conv2": {"textbook": 2.0}}
    assert [layer.name for layer in cnn.layers if isinstance(layer, FastConvolution)] == ["conv2"]
    textbook = build_network("classic", precision="bfloat16")
    assert (textbook.replaced, textbook.kernel_milliseconds) == ({}, {})


@pytest.mark.parametrize(
    ("settings", "kind", "expected"),
    [
        ({"momentum": 0.7, "weight_decay": 0.2}, SGD, {"momentum": 0.7, "weight_decay": 0.2}),
        ({"optimizer": "adam", "weight_decay": 0.0}, Adam, {"weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999}),
        ({"optimizer": "adamw", "weight_decay": 0.3}, Adam, {"weight_decay": 0.3}),
        (
            {"optimizer": "muon", "muon_rate": 0.1, "learning_rate": 0.5, "momentum": 0.7, "weight_decay": 0.2},
            Muon,
            {"rate_ratio": 0.2, "momentum": 0.7, "weight_decay": 0.2},
        ),
    ],
)
def test_the_optimizer_is_the_one_that_the_settings_name(settings, kind, expected):
    parameters = [tf.Variable([1.0])]
    optimizer = build.build_optimizer(dataclasses.replace(Settings(), **settings), parameters)
    assert type(optimizer) is kind and optimizer.parameters[0] is parameters[0]
    assert {name: getattr(optimizer, name) for name in expected} == pytest.approx(expected)
