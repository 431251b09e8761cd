"""Throughput: the peers compute the same network, the parts are the real step, the script writes what it says."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from runner import run

from analysis.benchmarks import step_parts, throughput
from analysis.benchmarks.baselines import keras_fit
from core import model
from core.measure import diagnostics, probes
from core.data.batches import standardize
from core.devices import import_tensorflow
from core.settings.recipes import RECIPES

tf = import_tensorflow()


def moved(network, seed=3):
    """The same network, every variable a little off its start: scales of 1 and shifts of 0 would hide a mix-up."""
    random = np.random.default_rng(seed)
    for variable in network.named_variables.values():
        variable.assign(variable + random.uniform(0.05, 0.2, variable.shape).astype(np.float32))
    return network


@pytest.mark.parametrize("recipe", RECIPES)
def test_keras_twin_is_the_same_network(recipe, small_data):
    network = moved(model.build(RECIPES[recipe]))
    twin = keras_fit.keras_twin(network)
    images = standardize(small_data.test_images[:8])
    np.testing.assert_allclose(
        twin(images, training=False), network.logits(images, training=False), rtol=1e-4, atol=1e-4
    )
    assert twin.count_params() == sum(np.prod(variable.shape) for variable in network.named_variables.values())


@pytest.mark.parametrize("recipe", RECIPES)
def test_torch_twin_is_the_same_network(recipe, small_data):
    torch = pytest.importorskip("torch")
    from analysis.benchmarks.baselines.torch_loop import torch_twin

    network = moved(model.build(RECIPES[recipe]))
    twin = torch_twin(network).eval()
    images = standardize(small_data.test_images[:8])
    with torch.inference_mode():
        theirs = twin(torch.from_numpy(images.numpy()).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(theirs, network.logits(images, training=False), rtol=1e-4, atol=1e-4)


def test_the_matrix_product_gets_somewhere():
    assert 0.1 < keras_fit.matrix_product_gflops("float32", sizes=(256,), seconds=0.05) < 1e7


def test_the_parts_are_the_real_step_cut_short(small_data):
    settings = replace(RECIPES["debug"], batch_size=20, eager=False)
    given = step_parts.train_loop.prepare(replace(settings, eager=True), small_data).one_step.keywords
    step, network = tf.constant(1), given["network"]
    before = [weight.numpy() for weight in network.parameters]
    images, _ = step_parts.step_through("input", step, **given)
    np.testing.assert_array_equal(images, given["batches"].batch(step)[0])
    assert step_parts.step_through("forward", step, **given).shape == (20, model.CLASSES)
    gradients = step_parts.step_through("backward", step, **given)
    assert [g.shape for g in gradients] == [weight.shape for weight in network.parameters]
    for weight, start in zip(network.parameters, before):
        np.testing.assert_array_equal(weight, start)  # nothing has moved yet
    step_parts.step_through("update", step, **given)
    assert all(np.any(weight.numpy() != start) for weight, start in zip(network.parameters, before))
    metrics = step_parts.step_through("metrics", step, **given)
    whole, layer_quantities = step_parts.step_through("diagnostics", step, **given)
    assert set(metrics) == set(whole) >= {"loss", "accuracy", "learning_rate"} and layer_quantities


def test_each_part_does_more_than_the_one_before(small_data):
    """As operations of the graphs, where no clock can blur it."""
    settings = replace(RECIPES["debug"], batch_size=20, eager=False)
    functions = step_parts.compiled_parts(settings, small_data)
    graphs = [functions[part].get_concrete_function().graph for part in ("input", "forward", "backward", "update")]
    sizes = [len(graph.get_operations()) for graph in graphs]
    assert sizes[0] < sizes[1] < sizes[2] < sizes[3]
    times = step_parts.milliseconds_through(settings, small_data, steps=1)
    assert list(times) == list(step_parts.PARTS)
    assert all(len(values) == step_parts.TURNS and min(values) > 0 for values in times.values())


def test_diagnostics_are_timed_over_whole_periods_after_their_dense_start():
    assert throughput.DENSE_START >= max(probes.DENSE_START, *diagnostics.MARKS)
    periods = [every for intervals in diagnostics.INTERVALS.values() for every in intervals.values() if every]
    assert all(throughput.DIAGNOSTICS_STEPS % every == 0 for every in periods)


def test_parts_are_differences_of_medians():
    times = {"input": [1.0, 1.0, 9.0], "forward": [4.0, 3.0, 5.0], "backward": [3.5, 3.5, 3.5]}
    assert throughput.parts(times) == {"input": 1.0, "forward": 3.0, "backward": -0.5}


def test_the_script_measures_in_turn_and_writes_table_rows_and_chart(tmp_path):
    done = run(
        "analysis/throughput.py", "--recipe", "debug", "--data", "shapes10", "--steps", 5, "--rounds", 1,
        "--peers", "keras-graph", "--also", "--no-eager --threads 1", "--out", tmp_path / "t.png",
    )  # fmt: skip
    assert re.search(r"this loop +[\d,]+", done.stdout) and re.search(r"False +[\d,]+ .* x [\d.]+ \(", done.stdout)
    assert re.search(r"backward +-?[\d.]+ ms", done.stdout)
    rows = list(csv.DictReader(open(tmp_path / "t.csv")))
    order = [(row["who"], row["round"]) for row in rows if row["quantity"] == "gflops"]
    also = "this loop, --no-eager --threads 1"
    assert order == [(who, "1") for who in ("this loop", "matrix product", also, "Keras fit, jit_compile=False")]
    assert {f"step through {part}" for part in step_parts.PARTS} < {row["who"] for row in rows}
    assert all(float(row["value"]) > 0 for row in rows)
    assert (tmp_path / "t.png").stat().st_size > 5_000


def test_a_wrong_word_is_answered_in_a_line():
    assert "a whole number, 1 or above, found 0" in run("analysis/throughput.py", "--rounds", 0, status=2).stderr
    done = run("analysis/throughput.py", "--batch-size", 60000, status=2)
    assert "larger than the 50000 training images" in done.stderr
    done = run("analysis/throughput.py", "--also", "--micro-batches -1", status=2)
    assert "--micro-batches -1: expected 1 to the number of images a step" in done.stderr
    assert "--also: invalid split value" in run("analysis/throughput.py", "--also", "'", status=2).stderr
    done = run("analysis/throughput.py", "--diagnostics", "--also", "--micro-batches 1", status=2)
    assert "two comparisons; give one of them" in done.stderr
