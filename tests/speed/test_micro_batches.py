"""MicroBatchedCNN: without batch norm the textbook network; with it, each micro-batch by its own statistics."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal
from networks_to_test import build_network, logits_and_gradients, randomized
from runner import assert_same_run, train_here

import train_loop
from core import layers, model, replicas
from core.data import batches
from core.data.batches import standardize
from core.measure import evaluation, probes
from core.run import logs
from core.settings.recipes import RECIPES
from core.settings.settings import NETWORKS, WITHOUT_BATCH_NORM
from core.speed.micro_batches import MicroBatchedCNN, split

STEP = tf.constant(3)


def images(count: int) -> tf.Tensor:
    return tf.constant(normal(count, *model.IMAGE_SHAPE))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_layers_before_flatten_take_micro_batches(network):
    cnn = build_network(network, micro_batches=2)
    assert isinstance(cnn, MicroBatchedCNN) and cnn.micro_batches == 2
    assert isinstance(cnn.layers[cnn.split_layers], layers.Flatten)
    with_batch_norm = any(isinstance(layer, layers.BatchNormalization) for layer in cnn.layers)
    # plain has batch norm or not, as its settings say: it gets micro-batches only if somebody asks for them
    assert network == "plain" or (network in WITHOUT_BATCH_NORM) != with_batch_norm
    assert type(build_network(network)) is model.CNN


@pytest.mark.parametrize("micro_batches", [2, 3, 7])
def test_without_batch_norm_it_is_the_textbook_network(micro_batches):
    """Logits, dropout included, and every gradient; seven images do not divide into equal halves."""
    labels = tf.constant([3, 1, 4, 1, 5, 9, 2])
    expected = logits_and_gradients(randomized("classic"), images(7), labels)
    found = logits_and_gradients(randomized("classic", micro_batches=micro_batches), images(7), labels)
    for a, b in zip(expected, found):
        assert np.any(a)
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("network", "micro_batches", "count"), [("classic", 60, 34), ("classic", 6, 1), ("modern", 6, 2), ("modern", 6, 13)]
)
def test_evaluated_it_is_the_textbook_network(network, micro_batches, count):
    """Also with more micro-batches than images, whose number a graph learns only at run time."""
    expected = randomized(network)(images(count), training=False)
    cut = randomized(network, micro_batches=micro_batches)
    compiled = tf.function(
        lambda x: cut(x, training=False), [tf.TensorSpec([None, *model.IMAGE_SHAPE], tf.float64)], autograph=False
    )
    for evaluated in (cut(images(count), training=False), compiled(images(count))):
        np.testing.assert_allclose(evaluated, expected, rtol=1e-9)


def test_batch_norm_normalizes_each_micro_batch_by_itself():
    """The logits of two micro-batches are those of the two halves, each in a batch of its own."""
    found = randomized("modern", micro_batches=2)(images(10), training=True, step=STEP)
    textbook = randomized("modern")
    halves = [textbook(half, training=True, step=STEP) for half in (images(10)[:5], images(10)[5:])]
    np.testing.assert_allclose(found, tf.concat(halves, axis=0), rtol=1e-9)
    whole = randomized("modern")(images(10), training=True, step=STEP)
    assert not np.allclose(found, whole, rtol=1e-3), "one batch has other statistics"


@pytest.mark.parametrize("micro_batches", [1, 2, 4, 8])
@pytest.mark.parametrize("network", ["modern", "speed64"])
def test_batch_norms_averages_move_as_far_as_one_batch_moves_them(network, micro_batches):
    """What is left of the old average after a step is the fraction `momentum`, however many micro-batches."""
    after = []
    for old in (0.0, 1.0):
        cnn = randomized(network, micro_batches=micro_batches)
        norms = [layer for layer in cnn.layers if isinstance(layer, layers.BatchNormalization)]
        for layer in norms:
            for average in layer.statistics:
                average.assign(tf.fill(average.shape, tf.constant(old, tf.float64)))
        cnn(images(16), training=True, step=STEP)
        after.append([average.numpy() for layer in norms for average in layer.statistics])
    momentum = {"modern": 0.9, "speed64": 0.6}[network]
    for from_zero, from_one in zip(*after):
        np.testing.assert_allclose(from_one - from_zero, momentum, rtol=1e-9)


def test_on_two_devices_batch_norms_averages_are_those_of_one():
    """Each device takes two of the four micro-batches; in evaluation they only read the averages."""
    x = tf.constant(1 + normal(8, 4, 4, 3), tf.float32)

    def build() -> MicroBatchedCNN:
        network = [layers.BatchNormalization("norm", 3, momentum=0.8), layers.Flatten("flatten")]
        return MicroBatchedCNN("net", network, tf.float32, 4)

    alone = build()
    expected = alone(x, training=True, step=STEP)
    with replicas.placed_on(2, "/CPU:0"):
        of_both = build()
        strategy = tf.distribute.get_strategy()

        def on_each(training):
            return strategy.run(lambda: of_both(replicas.my_rows(x), training, STEP))

        for training in (True, False):
            y = tf.function(lambda training=training: on_each(training), autograph=False)()
            if training:
                found = tf.concat(strategy.experimental_local_results(y), axis=0)
                np.testing.assert_allclose(found, expected, rtol=1e-5)
            for one, both in zip(alone.statistics, of_both.statistics):
                for average in strategy.experimental_local_results(both):
                    np.testing.assert_allclose(average, one, rtol=1e-5)


@pytest.mark.parametrize("network", ["classic", "modern"])
@pytest.mark.parametrize("training", [True, False])
def test_outputs_are_those_of_the_call(network, training):
    """The last of outputs() are the logits of __call__; every one has the shape of the textbook network's."""
    cnn, textbook = randomized(network, micro_batches=3), randomized(network)
    found = [y for _, y in cnn.outputs(images(7), training, STEP)]
    np.testing.assert_array_equal(found[-1], randomized(network, micro_batches=3)(images(7), training, STEP))
    assert [y.shape for y in found] == [y.shape for _, y in textbook.outputs(images(7), training, STEP)]


@pytest.mark.parametrize("network", ["classic", "speed64"])
def test_probes_and_the_search_for_nan_compute_the_function_of_the_step(network, small_data, monkeypatch):
    """The loss of a step, of the gain ratio's probe, and of the search for a number that is not finite."""
    settings = dataclasses.replace(
        RECIPES["classic"], network=network, batch_size=16, micro_batches=4, kernels="fast", precision="float32",
        eager=True, diagnostics="off",
    )  # fmt: skip
    training = train_loop.prepare(settings, small_data)
    given = (training.batches, training.network, settings)
    before = {name: variable.numpy() for name, variable in training.state.items()}
    probed, seen = float(probes.batch_loss(STEP, *given)), []
    monkeypatch.setattr(probes, "all_finite", lambda x: seen.append(x) or True)
    probes.first_not_finite(STEP, *given)
    searched = next(float(x) for x in seen if x.shape.rank == 0)
    for name, variable in training.state.items():
        np.testing.assert_array_equal(variable, before[name], err_msg=name)
    metrics, _ = training.step(STEP)
    assert probed == pytest.approx(float(metrics["loss"]), rel=1e-6)
    assert searched == pytest.approx(float(metrics["loss"]), rel=1e-6)
    if network == "speed64":
        one_batch = train_loop.prepare(dataclasses.replace(settings, micro_batches=1), small_data)
        other, _ = one_batch.step(STEP)
        assert abs(float(other["loss"]) / probed - 1) > 1e-4, "one batch is another function with batch norm"


def test_more_micro_batches_than_images_in_an_evaluation_batch(tmp_path, monkeypatch, small_data):
    """--micro-batches 60, evaluated on 34 images at a time: the same sums as in one batch."""
    monkeypatch.setattr(batches, "EVALUATION_BATCH", 34)
    args = ("--batch-size", 60, "--micro-batches", 60, "--steps", 2, "--diagnostics", "off")
    assert train_here(tmp_path, "sixty", *args, data=small_data)
    assert logs.read(tmp_path / "sixty", logs.PREDICTIONS)["count"].sum() == 100
    cut, whole = randomized("debug", tf.float32, micro_batches=60), randomized("debug", tf.float32)
    given = tf.constant(small_data.test_images[:34]), tf.constant(small_data.test_labels[:34])
    found, expected = (evaluation.evaluate_batch(*given, network=network) for network in (cut, whole))
    np.testing.assert_array_equal(found["confusion"], expected["confusion"])
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-5)


@pytest.mark.parametrize("network", ["classic", "speed64"])
def test_micro_batches_that_overtake_each_other_give_the_same_bytes(tmp_path, network, small_data):
    """Which one is done first is chance; what comes out is not, nor are batch norm's statistics."""
    args = ("--network", network, "--batch-size", 50, "--steps", 6, "--diagnostics", "off", "--micro-batches")
    for name in ("one", "another"):
        train_here(tmp_path, name, *args, 2, data=small_data)
    assert_same_run(tmp_path / "one", tmp_path / "another")
    train_here(tmp_path, "whole", *args, 1, data=small_data)
    losses = [logs.read(tmp_path / name, logs.STEPS)["loss"] for name in ("one", "whole")]
    assert (losses[0] != losses[1]).any()
    if network == "classic":  # only the order of the sums is another
        np.testing.assert_allclose(*losses, rtol=1e-2)


def test_parts_come_first_to_last_and_none_is_lost():
    """Of a count that is known only at run time, fewer images than parts are filled up with the last one."""
    for count, parts, sizes, filled in (
        (7, 2, [3, 4], [3, 4]), (8, 4, [2, 2, 2, 2], [2, 2, 2, 2]), (3, 1, [3], [3]), (1, 2, [1], [1, 1]),
        (2, 3, [1, 1], [1, 1, 1]),
    ):  # fmt: skip
        x = tf.range(count)
        known, at_run_time = split(x, count, parts), split(x, tf.constant(count), parts)
        assert [len(part) for part in known] == sizes and [len(part) for part in at_run_time] == filled
        np.testing.assert_array_equal(tf.concat(known, axis=0), x)
        joined = tf.concat(at_run_time, axis=0)
        np.testing.assert_array_equal(joined, [*x, *[count - 1] * (len(joined) - count)])


def test_dropout_before_flatten_is_refused():
    """Its mask is drawn for a whole batch: every micro-batch would lose the same numbers."""
    network = [layers.Dropout("early", 0.5), layers.Flatten("flatten")]
    with pytest.raises(ValueError, match=r"layer 'early': dropout before Flatten needs --micro-batches 1"):
        MicroBatchedCNN("net", network, tf.float32, 2)


def test_a_batch_is_standardized_alike():
    """uint8 images through standardize, cut anywhere: the same numbers."""
    drawn = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(standardize(drawn)[4:], standardize(drawn[4:]))
