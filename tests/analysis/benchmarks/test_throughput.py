"""Throughput: the baselines compute the same network, the parts are the real step, the output is what was measured."""

import csv
import importlib.util
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from runner import PROJECT, run, run_python

from analysis.benchmarks import measure_once, step_parts, throughput
from analysis.benchmarks.baselines import keras_fit
from core import model
from core.data.batches import standardize
from core.devices import import_tensorflow
from core.measure import diagnostics, probes
from core.settings.recipes import RECIPES

tf = import_tensorflow()
SCRIPT = "analysis/benchmarks/throughput.py"


def changed(network, seed=3):
    """The same network, every variable a little changed: scales of 1 and biases of 0 would hide a mix-up."""
    random = np.random.default_rng(seed)
    for variable in network.named_variables.values():
        variable.assign(variable + random.uniform(0.05, 0.2, variable.shape).astype(np.float32))
    return network


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_network_in_keras_is_the_same(recipe, small_data):
    network = changed(keras_fit.textbook_network(RECIPES[recipe]))
    same = keras_fit.keras_network(network)
    images = standardize(small_data.test_images[:8])
    np.testing.assert_allclose(same(images, training=False), network(images, training=False), rtol=1e-4, atol=1e-4)
    assert same.count_params() == sum(np.prod(variable.shape) for variable in network.named_variables.values())


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_network_in_pytorch_is_the_same(recipe, small_data):
    torch = pytest.importorskip("torch")
    from analysis.benchmarks.baselines.torch_loop import torch_network

    network = changed(keras_fit.textbook_network(RECIPES[recipe]))
    same = torch_network(network).eval()
    images = standardize(small_data.test_images[:8])
    with torch.inference_mode():
        logits = same(torch.from_numpy(images.numpy()).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(logits, network(images, training=False), rtol=1e-4, atol=1e-4)


def test_baselines_normalize_whole_batches():
    """This loop moves batch norm's averages once a micro-batch, by momentum^(1/parts); a baseline has one part."""
    layer = keras_fit.textbook_network(RECIPES["minute"]).layers[4]
    assert layer.name == "norm1a" and layer.momentum == 0.6


def test_the_matrix_product_gets_somewhere():
    assert 0.1 < keras_fit.matrix_product_gflops("float32", sizes=(256,), seconds=0.05) < 1e7


def test_rates_count_three_forward_passes():
    assert measure_once.rates(1000, 2_000_000) == {"images_per_second": 1000.0, "gflops": 6.0}


@pytest.fixture
def training(small_data):
    settings = replace(RECIPES["debug"], batch_size=20, eager=False)
    return step_parts.train_loop.prepare(settings, small_data)


def test_the_parts_are_the_real_step_cut_short(training):
    def through(part):
        return step_parts.step_through(part, step_parts.cut_short(training, part), tf.constant(1))

    network = training.network
    before = [weight.numpy() for weight in network.parameters]
    np.testing.assert_array_equal(through("input")[0], training.batches.batch(tf.constant(1))[0])
    assert through("forward").shape == (20, model.CLASSES)
    assert [g.shape for g in through("backward")] == [weight.shape for weight in network.parameters]
    for weight, start in zip(network.parameters, before):
        np.testing.assert_array_equal(weight, start)  # no update so far
    assert through("update") == ()
    assert all(np.any(weight.numpy() != start) for weight, start in zip(network.parameters, before))
    metrics = through("metrics")
    whole, layer_quantities = through("diagnostics")
    assert set(metrics) == set(whole) >= {"loss", "accuracy", "learning_rate"} and layer_quantities


def test_a_training_cut_short_leaves_the_original_whole(training):
    parts = {name: vars(training)[name] for name in ("batches", "network", "optimizer", "layer_probe")}
    for part in step_parts.PARTS:
        step_parts.cut_short(training, part)
    assert all(vars(training)[name] is value for name, value in parts.items())


def test_each_part_does_more_than_the_one_before(training, small_data):
    """As operations of the graphs, which no noise of a timer can blur."""
    functions = step_parts.compiled_parts(training)
    graphs = [functions[part].get_concrete_function().graph for part in ("input", "forward", "backward", "update")]
    sizes = [len(graph.get_operations()) for graph in graphs]
    assert sizes[0] < sizes[1] < sizes[2] < sizes[3]
    times = step_parts.milliseconds_through(training.settings, small_data, steps=1)
    assert list(times) == list(step_parts.PARTS)
    assert all(len(values) == step_parts.TURNS and min(values) > 0 for values in times.values())


def test_diagnostics_are_timed_over_whole_intervals_after_their_dense_start():
    assert throughput.DENSE_START >= max(probes.DENSE_START, *diagnostics.EARLY_STEPS)
    intervals = [every for kinds in diagnostics.INTERVALS.values() for every in kinds.values() if every]
    assert all(throughput.DIAGNOSTICS_STEPS % every == 0 for every in intervals)


def test_parts_are_differences_of_medians():
    times = {"input": [1.0, 1.0, 9.0], "forward": [4.0, 3.0, 5.0], "backward": [3.5, 3.5, 3.5]}
    assert throughput.parts(times) == {"input": 1.0, "forward": 3.0, "backward": -0.5}


def test_everybody_takes_turns_every_other_round_backwards():
    order = []
    measures = {name: lambda name=name: order.append(name) or {"gflops": 1.0} for name in "abc"}
    rows = throughput.measure_in_turn(measures, 3)
    assert "".join(order) == "abccbaabc"
    assert [(row[0], row[1]) for row in rows] == [*zip("abc", [1] * 3), *zip("cba", [2] * 3), *zip("abc", [3] * 3)]


def test_ratios_are_taken_within_a_round_and_the_fastest_baseline_is_named():
    speeds = {
        "this loop": np.array([100.0, 50.0, 110.0]),
        "this loop, --threads 1": np.array([50.0, 25.0, 55.0]),
        "Keras fit": np.array([90.0, 60.0, 100.0]),
        "PyTorch": np.array([80.0, 40.0, 80.0]),
    }
    assert throughput.verdicts(speeds) == [
        "this loop: 2.00 times itself with --threads 1 (2.00 to 2.00)",
        "this loop: not distinguishable from Keras fit: 0.83 to 1.11   <- the fastest baseline",
        "this loop: 1.25 times PyTorch (1.25 to 1.38)",
    ]


def test_the_processor_and_its_instruction_sets(monkeypatch):
    monkeypatch.setattr(throughput.devices, "processor_name", lambda: "Xeon")
    monkeypatch.setattr(throughput.os, "cpu_count", lambda: 2)
    assert throughput.processor({"avx2", "avx512f", "avx512_bf16", "amx_bf16", "fpu"}) == (
        "Xeon x 2: AVX2, AVX512, AVX512_BF16, AMX"
    )
    assert throughput.processor({"avx2"}) == "Xeon x 2: AVX2; without AVX512, AVX512_BF16, AMX"
    assert throughput.processor(set()) == "Xeon x 2: the system does not name its instruction sets"


def test_it_measures_in_turn_and_writes_table_rows_and_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(throughput, "run_python", run_python)
    given = ["--recipe", "debug", "--data", "shapes10", "--steps", 5, "--rounds", 1, "--baselines", "keras-graph"]
    given += ["--precision", "float32", "--out", tmp_path / "t.png"]
    throughput.main(throughput.build_parser().parse_args([*map(str, given)]))
    out = capsys.readouterr().out
    assert out.startswith(throughput.processor(throughput.devices.processor_flags()))
    assert re.search(r"this loop +[\d,]+", out) and re.search(r"False +[\d,]+ .* [\d.]+ \(", out)
    assert re.search(r"this loop: [\d.]+ times Keras fit, jit_compile=False, in the only round", out)
    assert re.search(r"backward +-?[\d.]+ ms", out)
    rows = list(csv.DictReader(open(tmp_path / "t.csv")))
    order = [(row["name"], row["round"]) for row in rows if row["quantity"] == "gflops"]
    assert order == [(name, "1") for name in ("this loop", "matrix product", "Keras fit, jit_compile=False")]
    assert {f"step through {part}" for part in step_parts.PARTS} < {row["name"] for row in rows}
    assert all(float(row["value"]) > 0 for row in rows)
    assert (tmp_path / "t.png").stat().st_size > 5_000


def test_who_is_measured(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(throughput, "measure_loop", lambda args, *more: calls.append(more))
    monkeypatch.setattr(throughput, "measure", lambda args, what: calls.append(what))

    def measured(*given):
        calls.clear()
        found = throughput.candidates(throughput.build_parser().parse_args(given))
        for function in found.values():
            function()
        return list(found)

    loop = ["this loop", "matrix product", "this loop, --threads 1 --micro-batches 1"]
    assert measured("--also", "--threads 1 --micro-batches 1", "--baselines", "keras") == [*loop, "Keras fit"]
    assert calls == [(), "peak", ("--threads", "1", "--micro-batches", "1"), "keras"]
    assert measured("--diagnostics") == ["diagnostics off", "diagnostics light", "diagnostics full"]
    assert calls == [("--diagnostics", level) for level in ("off", "light", "full")]
    monkeypatch.setattr(throughput.importlib.util, "find_spec", lambda name: None)
    assert measured("--baselines", "torch", "keras-graph") == [*loop[:2], "Keras fit, jit_compile=False"]
    assert "PyTorch is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--rounds", 0], "a whole number, 1 or above, found 0"),
        (["--batch-size", 60000], "--batch-size 60000: expected a whole number, 1 to 50000"),
        (["--also", "--micro-batches -1"], "--micro-batches -1: expected a whole number"),
        (["--also", "'"], "--also"),
        (["--diagnostics", "--also", "--micro-batches 1"], "two comparisons; give one of them"),
        (["--baselines", "jax"], "jax"),
    ],
)
def test_a_wrong_argument_is_answered_in_a_line(given, expected):
    done = run(SCRIPT, *given, status=2)
    assert expected in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("folder", ["analysis/benchmarks", "analysis/benchmarks/baselines"])
def test_no_script_hides_a_module_of_somebody_else(folder):
    """Python puts the folder of a script first on its path: `import NAME` must not find a file of it."""
    for path in (PROJECT / folder).glob("*.py"):
        if path.stem != "__init__":
            assert path.stem not in sys.stdlib_module_names and importlib.util.find_spec(path.stem) is None, path
