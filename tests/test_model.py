import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from analysis.benchmarks.baselines.keras_fit import keras_twin
from core import layers, model, optimizers
from core.data.batches import standardize
from core.layers import BatchNormalization, Convolution, Dropout, ReLU
from core.losses import softmax_cross_entropy
from core.settings.recipes import RECIPES
from core.settings.settings import BY_PICTURE, SPEED

NETWORKS = [*model.NETWORKS, "speed64"]
every_network = pytest.mark.parametrize("network", NETWORKS)


def build(network: str, seed: int = 0, dtype=tf.float32) -> model.CNN:
    return model.build(dataclasses.replace(RECIPES["classic"], network=network, identity_init=False, seed=seed), dtype)


def randomized(network: str, dtype=tf.float64) -> model.CNN:
    """A network none of whose variables is what it starts with, so that a forgotten one shows."""
    cnn = build(network, dtype=dtype)
    for k, variable in enumerate(cnn.named_variables.values()):
        noise = normal(*variable.shape, seed=k)
        variable.assign(variable + (0.1 * np.abs(noise) if variable.shape.rank == 1 else 0.01 * noise))
    return cnn


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
    twin = keras_twin(cnn)
    training = not any(isinstance(layer, Dropout) for layer in cnn.layers)
    images, labels = tf.constant(normal(5, *model.IMAGE_SHAPE)), tf.constant([3, 1, 4, 1, 5])

    with tf.GradientTape(persistent=True) as tape:
        ours, theirs = cnn.logits(images, training), twin(images, training=training)
        our_loss = tf.reduce_mean(softmax_cross_entropy(ours, labels))
        their_loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels, theirs, from_logits=True))
    assert np.ptp(ours) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    our_gradients = tape.gradient(our_loss, cnn.parameters)
    their_gradients = tape.gradient(their_loss, [v.value for v in twin.trainable_variables])
    assert len(our_gradients) == len(their_gradients)
    for a, b in zip(our_gradients, their_gradients):
        assert np.any(a)
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-12)
    assert cnn.parameter_count == sum(np.prod(v.shape) for v in twin.trainable_variables)


@every_network
def test_probabilities_are_the_softmax_of_the_logits(network):
    cnn, images = randomized(network), tf.constant(normal(3, *model.IMAGE_SHAPE))
    logits = cnn.logits(images, training=False).numpy()
    np.testing.assert_allclose(
        cnn.probabilities(images), np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rtol=1e-9
    )


# The table.


def table(cnn: model.CNN, image_shape=model.IMAGE_SHAPE) -> dict[str, list[str]]:
    """The summary as {layer: [output, parameters, MACs, field]}, its rules and its heading left out."""
    rows = [line.split() for line in cnn.summary(image_shape).splitlines()]
    return {row[0]: row[1:] for row in rows if row[0] != "layer" and not row[0].startswith("-")}


def test_the_table_of_classic_by_hand():
    assert table(build("classic")) == {
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


@every_network
def test_the_table_says_what_the_layers_really_do(network):
    cnn = build(network)
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
        # The receptive field the other way round: from one output number back to the pixels it sees.
        side = 1
        for below in reversed(cnn.layers[: k + 1]):
            side = (side - 1) * below.stride + below.kernel_size
        assert field == str(min(side, 32) if x.shape.rank == 4 else 32)
    assert rows[network] == [f"{cnn.parameter_count:,}", f"{total:,}"]


def test_the_receptive_field_is_where_the_gradient_reaches():
    """Measured: in which pixels does one number in the middle of the output have a slope?"""
    chain = [Convolution("a", 1, 1), layers.AveragePooling("b"), Convolution("c", 1, 1, 5, 2), Convolution("d", 1, 1)]
    x = tf.ones([1, 64, 64, 1])
    for k, layer in enumerate(chain):
        cnn = model.CNN("chain", chain[: k + 1])
        if hasattr(layer, "kernel"):
            layer.kernel.assign(tf.ones_like(layer.kernel))  # so that no two paths cancel
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = cnn.logits(x, training=False)
            middle = y[0, y.shape[1] // 2, y.shape[2] // 2, 0]
        rows = np.flatnonzero(np.any(tape.gradient(middle, x)[0, :, :, 0], axis=1))
        assert table(cnn, (64, 64, 1))[layer.name][3] == str(np.ptp(rows) + 1)


@every_network
def test_flops_are_those_that_tensorflow_counts(network):
    """Its profiler goes over the operations of the graph; it counts nothing for ReLU and batch norm, we 1 and 3."""
    cnn = build(network)
    graph = tf.function(lambda x: cnn.logits(x, training=False), [tf.TensorSpec([1, *model.IMAGE_SHAPE])])
    frozen = convert_variables_to_constants_v2(graph.get_concrete_function())  # the profiler needs every size
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    counted = tf.compat.v1.profiler.profile(frozen.graph, options=options).total_float_ops
    each = {ReLU: 1, BatchNormalization: 3}
    uncounted = sum(each.get(type(layer), 0) * np.prod(shape) for layer, shape in cnn.shapes())
    assert uncounted > 0
    assert cnn.flops() == counted + uncounted


# Names, order, seeds.


@every_network
def test_a_network_is_built_from_its_seed(network):
    one, same, other = build(network, 1), build(network, 1), build(network, 2)
    for a, b in zip(one.named_variables.values(), same.named_variables.values()):
        np.testing.assert_array_equal(a, b)
    kernels = [name for name in one.named_variables if name.endswith("/kernel") and name != "whitening/kernel"]
    assert kernels
    for name in kernels:
        assert np.any(one.named_variables[name].numpy() != other.named_variables[name].numpy())


def test_adding_a_layer_does_not_move_the_others():
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
def test_a_checkpoint_misses_no_variable_and_the_optimizer_moves_no_statistic(network):
    cnn = build(network)
    assert {id(v) for v in cnn.named_variables.values()} == {id(v) for v in cnn.variables}
    assert {id(v) for v in cnn.parameters} == {id(v) for v in cnn.trainable_variables}


def test_two_layers_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"network 'net': two layers share a name .*'relu', 'relu'"):
        model.CNN("net", [ReLU("relu"), ReLU("relu")])


# What a network must do before and after learning.


@every_network
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_before_learning_it_guesses(network, seed, small_data):
    cnn = build(network, seed)
    images, labels = standardize(tf.constant(small_data.train_images)), small_data.train_labels
    logits = cnn.logits(images, training=True, step=tf.constant(1))
    first_loss = float(tf.reduce_mean(softmax_cross_entropy(logits, labels)))
    assert first_loss == pytest.approx(np.log(10), abs=0.25)


@every_network
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_it_learns_twenty_pictures_by_heart(network, optimizer, small_data):
    """A network that cannot do this has a mistake somewhere between its input and its update."""
    cnn = build(network)
    settings = dataclasses.replace(RECIPES["classic"], optimizer=optimizer)
    rate = {"sgd": 0.01, "adam": 0.002}[optimizer]
    if isinstance(cnn.layers[-1], layers.Scale):
        rate /= cnn.layers[-1].factor  # softer answers need longer steps
    mover = optimizers.build(settings, cnn.parameters)
    images, labels = standardize(tf.constant(small_data.train_images[:20])), small_data.train_labels[:20]

    @functools.partial(tf.function, autograph=False)
    def step(t):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(softmax_cross_entropy(cnn.logits(images, training=True, step=t), labels))
        gradients = tape.gradient(loss, cnn.parameters)
        for weight, update in zip(cnn.parameters, mover.updates(gradients, rate, t)):
            weight.assign_add(update)

    for t in range(1, 101):
        step(tf.constant(t))
    logits = cnn.logits(images, training=False)
    assert float(tf.reduce_mean(softmax_cross_entropy(logits, labels))) < 0.02
    np.testing.assert_array_equal(tf.argmax(logits, axis=-1), labels)


@every_network
def test_bfloat16_computes_about_the_same_and_answers_in_float32(network):
    settings = dataclasses.replace(RECIPES["classic"], network=network)
    exact = model.build(settings)
    rough = model.build(dataclasses.replace(settings, precision="bfloat16"))
    images = tf.constant(normal(8, *model.IMAGE_SHAPE), tf.float32)
    a, b = exact.logits(images, training=False), rough.logits(images, training=False)
    assert a.dtype == b.dtype == tf.float32
    assert all(v.dtype == tf.float32 for v in rough.variables)
    assert np.any(a != b), "in bfloat16 something must have been rounded"
    np.testing.assert_allclose(a, b, atol=0.05 * np.abs(a).max())
    for v, w in zip(exact.variables, rough.variables):
        np.testing.assert_array_equal(v, w)


# A batch in pieces.


def test_the_front_of_every_network_takes_pieces():
    for network in NETWORKS:
        cnn = model.build(dataclasses.replace(RECIPES["classic"], network=network, pieces=2))
        assert cnn.pieces == 2
        front = cnn.layers[: cnn.front]
        assert isinstance(front[-1], layers.Flatten)
        assert (network in BY_PICTURE) != any(isinstance(layer, BatchNormalization) for layer in front), network
    assert model.CNN("net", [ReLU("relu")], pieces=2).front == 0  # no Flatten: nothing to cut for
    dropout = [layers.Dropout("dropout", 0.5, seed=0), layers.Flatten("flatten")]
    assert model.CNN("net", dropout, pieces=2).pieces == 1  # both pieces would lose the same numbers


def test_batch_norm_measures_each_piece_by_itself():
    """Logits and moving averages in two pieces are those of the two halves, taken one after the other."""
    images = tf.constant(normal(10, *model.IMAGE_SHAPE))
    in_two, alone = randomized("modern"), randomized("modern")
    in_two.pieces = 2
    found = in_two.logits(images, training=True, step=tf.constant(3))
    halves = [alone.logits(half, training=True, step=tf.constant(3)) for half in (images[:5], images[5:])]
    np.testing.assert_allclose(found, tf.concat(halves, axis=0), rtol=1e-9)
    for a, b in zip(in_two.statistics, alone.statistics):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    whole = randomized("modern").logits(images, training=True, step=tf.constant(3))
    assert not np.allclose(found, whole, rtol=1e-3), "in one piece the statistics are others"


@pytest.mark.parametrize("pieces", [2, 3, 7])
def test_in_pieces_the_numbers_are_the_same(pieces):
    """Logits, dropout and all, and every gradient; seven pictures cannot be cut into equal halves."""
    cnn, images = randomized("classic"), tf.constant(normal(7, *model.IMAGE_SHAPE))
    labels, found = tf.constant([3, 1, 4, 1, 5, 9, 2]), []
    for cnn.pieces in (1, pieces):
        with tf.GradientTape() as tape:
            logits = cnn.logits(images, training=True, step=tf.constant(3))
            loss = tf.reduce_mean(softmax_cross_entropy(logits, labels))
        found.append([logits, *tape.gradient(loss, cnn.parameters)])
    for whole, cut in zip(*found):
        assert np.any(whole)
        np.testing.assert_allclose(whole, cut, rtol=1e-9, atol=1e-12)


def test_pieces_are_cut_first_to_last_and_none_is_lost():
    for count, pieces, sizes in ((7, 2, [3, 4]), (8, 4, [2, 2, 2, 2]), (1, 2, [0, 1]), (3, 1, [3])):
        x = tf.range(count)
        unknown = tf.function(lambda x: model.cut(x, pieces), [tf.TensorSpec([None], tf.int32)], autograph=False)  # noqa: B023
        for parts in (model.cut(x, pieces), unknown(x)):
            assert [len(part) for part in parts] == sizes
            np.testing.assert_array_equal(tf.concat(parts, axis=0), x)


@pytest.mark.parametrize("network", ["classic", "modern"])
def test_a_single_picture_passes_a_network_in_pieces(network):
    """The smallest evaluation: one of the two pieces is empty."""
    cnn = randomized(network)
    images = tf.constant(normal(1, *model.IMAGE_SHAPE))
    whole = cnn.logits(images, training=False)
    cnn.pieces = 2
    np.testing.assert_allclose(cnn.logits(images, training=False), whole, rtol=1e-9)


def test_a_shape_that_does_not_fit_names_the_layer():
    with pytest.raises(ValueError, match=r"layer 'dense1': expected input .* change the layer before it"):
        build("classic").logits(tf.zeros([1, 16, 16, 3]), training=False)


@pytest.mark.parametrize("args, change", [
    ({}, ("Whitening", 0)), ({"whitening_init": False}, ("Convolution", 24 * 13)),
])  # fmt: skip
def test_the_parts_of_the_speed_network_can_be_switched_off(args, change):
    network = model.build(dataclasses.replace(RECIPES["fast"], **args))
    assert (type(network.layers[0]).__name__, network.layers[0].parameter_count) == change
    assert network.layers[0].output_shape((32, 32, 3)) == (31, 31, 24)


def test_airbench94_is_the_network_of_the_records():
    """Jordan's 1,971,640 numbers less the 24 biases and the 288 filters of the whitening layer; 118.15 MMAC.

    An eleventh of them is for rows and columns that poolings drop, and is not done.
    """
    network = model.build(dataclasses.replace(RECIPES["fast"], network="airbench94"))
    assert network.parameter_count == 1_971_640 - 24 - 288
    assert round(sum(layer.macs(shape) for layer, shape in network.shapes()) / 1e6, 2) == 105.36
    for layer in network.layers:
        layer.skip_edge = False
    assert round(sum(layer.macs(shape) for layer, shape in network.shapes()) / 1e6, 2) == 118.15


@pytest.mark.parametrize("network", SPEED)
def test_the_speed_networks_differ_in_their_widths_only(network):
    """The docstring of `speed`: three blocks of two convolutions, 31x31 to 3x3."""
    cnn = model.build(dataclasses.replace(RECIPES["minute"], network=network))
    kernels = [layer for layer in cnn.layers if isinstance(layer, Convolution)]
    a, b, c = model.WIDTHS[network]
    widths = [tuple(layer.kernel.shape[2:]) for layer in kernels]
    assert widths == [(3, 24), (24, a), (a, a), (a, b), (b, b), (b, c), (c, c)]  # whitening is a convolution too
    assert [shape for layer, shape in cnn.shapes()][-4:] == [(3, 3, c), (1, 1, c), (c,), (10,)]


@pytest.mark.parametrize("overlapping, seen", [(False, 30), (True, 31)])
def test_overlapping_pools_see_the_last_row_and_column(overlapping, seen):
    """Same shapes behind them, and nothing of the first layer's output is in vain: 118.15 MMAC in all."""
    network = model.build(dataclasses.replace(RECIPES["fast"], overlapping_pools=overlapping))
    assert [shape[0] for _, shape in network.shapes()][-4:] == [3, 1, 256, 10]
    assert [layer.output_shape(shape)[0] for layer, shape in network.shapes() if "pool" in layer.name] == [15, 7, 3, 1]
    work = sum(layer.macs(shape) for layer, shape in network.shapes()) / 1e6
    assert round(work, 2) == (118.15 if overlapping else 105.36)
    x = tf.constant(normal(1, 31, 31, 64))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = next(layer for layer in network.layers if layer.name == "pool1a")(x, True)
    rows = np.flatnonzero(np.any(tape.gradient(y, x).numpy() != 0, axis=(0, 2, 3)))
    assert rows.max() + 1 == seen


def test_identity_and_activation_are_settings():
    on, off = (model.build(dataclasses.replace(RECIPES["minute"], identity_init=flag)) for flag in (True, False))
    kernel = {net: net.named_variables["conv1b/kernel"].numpy() for net in (on, off)}
    np.testing.assert_array_equal(kernel[on][1, 1, :, :32], np.eye(32))
    assert np.abs(kernel[off][1, 1, :, :32] - np.eye(32)).max() > 0.5
    gelu = model.build(dataclasses.replace(RECIPES["minute"], activation="gelu"))
    assert {type(layer).__name__ for layer in gelu.layers if layer.is_activation} == {"GELU"}


def test_whitening_is_measured_on_the_pictures_it_is_given(small_data):
    one, other = model.build(RECIPES["minute"], images=small_data.train_images), model.build(RECIPES["minute"])
    assert np.abs(one.layers[0].kernel.numpy() - other.layers[0].kernel.numpy()).max() > 0.1
    np.testing.assert_array_equal(one.named_variables["dense/kernel"], other.named_variables["dense/kernel"])
