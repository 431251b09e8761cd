"""When the probes measure: intervals that repeat, a budget that is kept, rows that are what they are called."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from runner import train_here

import train_loop
from core.data.batches import standardize
from core.measure import diagnostics, evaluation
from core.run import checkpoints, logs, run_folder
from core.settings.command_line import parse

KINDS = ("norms", "activations", "gain_ratio", "curvature")


def test_when_each_kind_is_measured():
    light, full = diagnostics.INTERVALS["light"], diagnostics.INTERVALS["full"]
    assert [s for s in range(1, 141) if diagnostics.due(light, "norms", s)] == [*range(1, 101), 110, 120, 130, 140]
    rare = [1, 2, 5, 10, 20, 50, 100, 200, 400]
    assert [s for s in range(1, 500) if diagnostics.due(light, "gain_ratio", s)] == rare
    assert not any(diagnostics.due(light, "curvature", s) for s in range(1, 2000))
    assert [s for s in range(1, 500) if diagnostics.due(full, "curvature", s)] == rare
    assert not any(diagnostics.due(light, "activations", s) for s in range(1, 2000)), "only at evaluations"
    assert [s for s in range(101, 110) if diagnostics.due(full, "norms", s)] == list(range(101, 110))
    for kind in ("activations", "gain_ratio"):
        expected = [1, 2, 5, 10, 20, 50, 100, 150, 200, 250]
        assert [s for s in range(1, 300) if diagnostics.due(full, kind, s)] == expected
    assert not any(diagnostics.due({}, kind, s) for kind in KINDS for s in range(1, 300))


@given(st.floats(0.2, 50), st.tuples(*[st.floats(1e-4, 1)] * 4), st.floats(1e-4, 1))
def test_the_budget_is_kept(budget, costs, step_seconds):
    """Over many steps the measurements stay within the budget; at the next shorter interval they would not."""
    costs = dict(zip(KINDS, costs))
    intervals, allowed = diagnostics.chosen_intervals(costs, step_seconds, budget), budget / 100 * step_seconds
    assert sum(costs[kind] / every for kind, every in intervals.items()) <= allowed * (1 + 1e-6)
    for kind, every in intervals.items():
        if every > 1:
            assert costs[kind] / (every / 2.5) > allowed / 4 * (1 - 1e-6)


def test_the_intervals_of_a_budget_by_hand():
    """8 % of 0.1 s are 8 ms a step, 2 ms for each kind: a measurement of 3 ms at every second step, and so on."""
    costs = dict(zip(KINDS, (0.001, 0.003, 0.008, 0.1)))
    assert diagnostics.chosen_intervals(costs, 0.1, 8) == dict(zip(KINDS, (1, 2, 5, 50)))


@pytest.mark.parametrize("number, expected", [(0.01, 1), (1, 1), (1.1, 2), (2.5, 5), (7, 10), (10, 10), (101, 200)])
def test_intervals_are_rounded_up(number, expected):
    assert diagnostics.rounded_up(number) == expected


# The probes of a training that takes no step.


@pytest.fixture
def idle(small_data):
    """Diagnostics of all kinds, line by line, on 200 training images in batches of 50."""
    args = ["--recipe", "debug", "--eager", "--batch-size", "50", "--diagnostics", "full"]
    training = train_loop.prepare(parse(args).settings, small_data)
    return diagnostics.Diagnostics(training, train_loop.compiled)


def with_settings(idle, **changes):
    """The same diagnostics with these settings changed afterwards."""
    idle.training.settings = dataclasses.replace(idle.training.settings, **changes)
    return idle


def passing(monkeypatch, seconds):
    """Let diagnostics' timer say that so many seconds have passed; returns the function that lets more pass."""
    now = [seconds]
    monkeypatch.setattr(diagnostics.time, "perf_counter", lambda: now[0])

    def let_pass(more):
        now[0] += more

    return let_pass


def test_the_images_of_a_measurement_are_the_first_ones_of_the_training_set(small_data, idle, monkeypatch):
    """Of activations in batches of equal size, of curvature as many as a batch has."""
    np.testing.assert_array_equal(np.concatenate(idle.image_batches), small_data.train_images)
    np.testing.assert_array_equal(idle.fixed[0], small_data.train_images[:50])
    np.testing.assert_array_equal(idle.fixed[1], small_data.train_labels[:50])
    monkeypatch.setattr(diagnostics.probes, "ACTIVATION_IMAGES", 110)
    monkeypatch.setattr(diagnostics.probes, "ACTIVATION_BATCH", 30)
    monkeypatch.setattr(diagnostics, "TRAIN_SUBSET", 20)
    fewer = diagnostics.Diagnostics(idle.training, train_loop.compiled)
    assert [len(images) for images in fewer.image_batches] == [30, 30, 30]
    np.testing.assert_array_equal(np.concatenate(fewer.image_batches), small_data.train_images[:90])
    np.testing.assert_array_equal(fewer.fixed[0], small_data.train_images[:20])


def test_intervals_are_followed_from_then_on_inside_the_step_too(idle):
    assert [step for step in range(101, 116) if idle.norms_due(step)] == list(range(101, 116))
    idle.set_intervals({"norms": 7, "activations": 0, "gain_ratio": 0, "curvature": 0})
    assert [step for step in range(101, 116) if idle.norms_due(step)] == [105, 112]
    assert idle.layer_probe.every == 7
    nothing = [tf.zeros_like(w) for w in idle.training.network.parameters]
    for step in (104, 105, 106):
        weight_norms = idle.layer_probe.measure(tf.constant(step), nothing, nothing)["weight_norm"].numpy()
        assert weight_norms.all() == (step == 105)


def test_the_gain_ratio_by_hand(idle):
    """The loss fell from 2.25 to 2, half of what was predicted. An update of zero has no ratio."""
    idle.batch_loss = lambda step: tf.constant(2.0)
    for predicted, ratio in ((-0.5, 0.5), (0.0, 0.0)):
        rows = idle.measure_gain_ratio(3, {"loss": tf.constant(2.25), "predicted_change": tf.constant(predicted)})
        values = {"predicted_change": predicted, "actual_change": -0.25, "gain_ratio": ratio}
        assert rows == [(3, "network", name, value) for name, value in values.items()]


@pytest.mark.parametrize("batch_size, quantities", [(3, ["curvature"]), (4, ["curvature", "noise_g2", "noise_s"])])
def test_a_batch_of_three_images_has_no_four_parts_whose_gradients_could_be_compared(idle, batch_size, quantities):
    idle.curvature, idle.noise = lambda images, labels: 1.0, lambda step: (2.0, 3.0)
    rows = with_settings(idle, batch_size=batch_size).measure_curvature(7)
    assert rows == [(7, "network", name, value) for name, value in zip(quantities, (1.0, 2.0, 3.0))]


def test_the_evaluation_disagreement_by_hand(idle):
    """The loss of 500 images is 0.25 together and 10 times 0.02 class by class: 20 % less."""
    sizes = []

    def evaluate_batch(images, labels):
        sizes.append((len(images), len(set(labels.numpy()))))
        return {"loss": tf.constant(0.25 if sizes[-1][1] > 1 else 0.02)}

    idle.training.evaluate_batch = evaluate_batch
    idle.training.data = dataclasses.replace(
        idle.training.data, test_images=np.zeros((600, 1), np.uint8), test_labels=np.arange(600, dtype=np.int32) % 10
    )
    assert idle.evaluation_disagreement() == pytest.approx(0.2)
    assert sizes == [(500, 10), *10 * [(50, 1)]]
    idle.training.evaluate_batch = lambda images, labels: {"loss": tf.constant(0.0)}
    assert idle.evaluation_disagreement() == 0, "no loss, no disagreement"


def test_an_evaluation_measures_activations_unless_its_step_did(idle):
    idle.measure_activations = lambda step, metrics=None: [(step, "relu1", "activation_mean", 1.0)]
    idle.training.evaluate_batch = lambda images, labels: {"loss": tf.constant(0.0)}
    disagreement = (50, "network", "evaluation_disagreement", 0.0)
    assert idle.at_evaluation(50) == [disagreement]
    assert idle.at_evaluation(60) == [(60, "relu1", "activation_mean", 1.0), (60, *disagreement[1:])]
    own = ("traces", "replica_disagreement", "evaluation_disagreement", "test_accuracy_tta")
    assert idle.evaluation_quantities(50) == own
    assert idle.evaluation_quantities(60) == (*own, "activation_mean", "activation_std", "sparsity", "dead_channels")
    of_two = with_settings(idle, devices=2).at_evaluation(50)
    assert of_two == [(50, "network", "replica_disagreement", 0.0), disagreement]
    idle.training.trace_counts = lambda: [1, 3]
    assert idle.at_evaluation(50) == [(50, "network", "traces", 3), *of_two]
    idle.set_intervals({})
    assert idle.at_evaluation(60) == idle.at_start() == idle.after_step(50, {}) == []


def test_the_report_by_hand(idle, monkeypatch):
    """The first measurement of a kind also traces its functions: its time is not that of the others."""
    let_pass = passing(monkeypatch, 1000.0)
    took = iter([7.0, 0.5, 1.5])
    idle.measure_activations = lambda step, metrics: let_pass(next(took)) or [step]
    idle.measure_gain_ratio = lambda step, metrics: let_pass(0.5) or [step]
    nothing = "nothing to compare with: no step was taken"
    assert idle.report(0.0) == nothing
    assert [idle.timed("activations", step) for step in (0, 10, 20)] == [[0], [10], [20]]
    idle.timed("gain_ratio", 1, {})
    assert idle.report(0.0) == nothing
    first = "the first of each kind 7.5 s; norms are part of the step"
    assert idle.report(100.0) == f"activations 2.0 % of the step time; {first}"
    idle.timed("gain_ratio", 2, {})
    assert idle.report(100.0) == f"activations 2.0 %, gain ratio 0.5 % of the step time; {first}"
    idle.set_intervals({})
    assert idle.report(100.0) == "off"


def test_a_cost_is_the_median_of_a_few_measurements_after_one_that_does_not_count(idle, monkeypatch):
    let_pass = passing(monkeypatch, 1000.0)
    took = {kind: iter(seconds) for kind, seconds in {
        "step": (90, 80, 2, 1, 6), "norms": (90, 3, 2, 1), "activations": (90, 8, 5, 4), "gain_ratio": (90, 7, 7, 1),
        "curvature": (90, 9, 10, 100),
    }.items()}  # fmt: skip
    metrics = {"loss": tf.constant(1.0)}

    def taking(kind, outcome=None):
        return lambda *given: let_pass(next(took[kind])) or outcome

    idle.training.step = taking("step", (metrics, {}))
    idle.layer_probe.measure = taking("norms", metrics)
    for kind in ("activations", "gain_ratio", "curvature"):
        setattr(idle, f"measure_{kind}", taking(kind))
    costs, of_a_step = idle.measured_costs(train_loop.compiled, repeats=3)
    assert of_a_step == 2 and costs == {"norms": 2, "activations": 5, "gain_ratio": 7, "curvature": 10}


# Runs.


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def full(runs_dir):
    train_here(runs_dir, "full", "--epochs", 2, "--diagnostics", "full")
    return runs_dir / "full"


@pytest.mark.parametrize("args", [("--diagnostics", "off"), (), ("--diagnostics-budget", "5%")])
def test_measuring_changes_nothing(runs_dir, full, args):
    """Off, light, full or by a budget: the same losses and the same weights, to the last bit."""
    name = "-".join(["run", *(arg.strip("-%") for arg in args)])
    train_here(runs_dir, name, "--epochs", 2, *args)
    for file in (logs.STEPS, logs.EPOCHS, logs.PREDICTIONS):
        assert (runs_dir / name / file).read_bytes() == (full / file).read_bytes()
    one, other = checkpoints.newest(full).tensors, checkpoints.newest(runs_dir / name).tensors
    for tensor in one.keys() & other.keys():
        assert one[tensor].tobytes() == other[tensor].tobytes(), tensor
    if "off" in args:
        assert (runs_dir / name / logs.LAYERS).read_text().count("\n") == 1, "nothing but the header"


def test_outputs_that_are_no_numbers_are_not_counted_as_other_than_zero(idle):
    """Of a run whose numbers were lost: neither sparsity nor dead channels of the layers behind are 0."""
    kernel = idle.training.network.layers[0].parameters[0]
    kernel.assign(kernel * np.nan)
    values = {(layer, name): value for _, layer, name, value in idle.measure_activations(3)}
    assert all(np.isnan(values[layer, "sparsity"]) for layer in idle.layer_names)
    assert np.isnan(values["relu1", "dead_channels"])


def rows(folder, layer, quantity):
    table = logs.read(folder, logs.LAYERS)
    chosen = (table["layer"] == layer.encode()) & (table["quantity"] == quantity.encode())
    return table["step"][chosen].tolist(), table["value"][chosen]


def test_what_full_writes(full):
    steps, distance = rows(full, "conv1", "distance")
    assert steps == list(range(1, 41)) and distance[0] == 0 and np.all(np.diff(distance[:5]) > 0)
    for layer, quantity in (("relu1", "activation_mean"), ("conv1", "activation_std"), ("relu1", "dead_channels")):
        assert rows(full, layer, quantity)[0] == [0, 1, 2, 5, 10, 20, 40], quantity
    assert rows(full, "conv1", "dead_channels")[0] == [], "only behind a nonlinearity"
    assert 0 < rows(full, "relu1", "sparsity")[1].mean() < 1
    for quantity in ("curvature", "noise_g2", "noise_s", "predicted_change", "actual_change", "gain_ratio"):
        assert rows(full, "network", quantity)[0] == [1, 2, 5, 10, 20], quantity
    assert rows(full, "network", "traces") == ([20, 40], pytest.approx([1, 1]))
    assert np.all(rows(full, "network", "evaluation_disagreement")[1] < 1e-5)


def test_the_gain_ratio_is_the_actual_over_the_predicted_change(full):
    predicted, gain_ratio = (rows(full, "network", name)[1] for name in ("predicted_change", "gain_ratio"))
    assert np.all(predicted < 0), "every update points downhill"
    actual = rows(full, "network", "actual_change")[1]
    np.testing.assert_allclose(actual / predicted, gain_ratio, rtol=1e-6)
    assert 0.5 < gain_ratio[0] < 1.2, "the first update is small: to first order is nearly right about it"


def test_the_first_order_changes_of_the_kernels_are_most_of_the_predicted_change(full):
    """The rest is that of biases and batch norm."""
    steps, predicted = rows(full, "network", "predicted_change")
    of_kernels = 0
    for layer in ("conv1", "dense1"):
        at, change = rows(full, layer, "first_order_change")
        of_kernels = of_kernels + change[np.isin(at, steps)]
    assert np.all(of_kernels < 0) and np.all(of_kernels / predicted > 0.5) and np.all(of_kernels / predicted < 1)


def test_a_budget_is_measured_once_and_followed(runs_dir):
    train_here(runs_dir, "budget", "--epochs", 2, "--diagnostics-budget", "20%", "--stop-at", 25)
    chosen = run_folder.read_config(runs_dir / "budget")["diagnostics"]
    assert set(chosen["cost_seconds"]) == set(KINDS)
    assert all(seconds > 0 for seconds in chosen["cost_seconds"].values())
    train_here(runs_dir, "budget", "--resume")
    assert run_folder.read_config(runs_dir / "budget")["diagnostics"] == chosen
    every = chosen["intervals"]["gain_ratio"]
    expected = [s for s in range(1, 41) if every and (s in diagnostics.EARLY_STEPS or s % every == 0)]
    assert rows(runs_dir / "budget", "network", "gain_ratio")[0] == expected


def test_measuring_the_costs_restores_the_training(small_data):
    settings = parse(["--recipe", "debug", "--no-eager"]).settings
    training = train_loop.prepare(settings, small_data)
    training.step(tf.constant(1))
    before = {name: variable.numpy() for name, variable in training.state.items()}
    diagnostics.Diagnostics(training, train_loop.compiled).measured_costs(train_loop.compiled, repeats=1)
    for name, variable in training.state.items():
        np.testing.assert_array_equal(variable, before[name], err_msg=name)


def test_an_evaluation_that_depends_on_the_rest_of_the_batch_is_found(runs_dir, monkeypatch):
    """Batch norm left in training mode at the evaluation."""

    def in_training_mode(images, labels, network, augmented=False):
        return evaluation.batch_sums(network(standardize(images), training=True, step=1), labels)

    monkeypatch.setattr(evaluation, "evaluate_batch", in_training_mode)
    train_here(runs_dir, "dependent", "--epochs", 1)
    assert rows(runs_dir / "dependent", "network", "evaluation_disagreement")[1][-1] > 1e-3


def test_the_cost_is_reported_at_the_end(runs_dir, capsys):
    train_here(runs_dir, "reported", "--steps", 2)
    out = capsys.readouterr().out
    assert re.search(r"diagnostics  .*the first of each kind \d+\.\d s; norms are part of the step", out)


@pytest.mark.parametrize("steps, measured", [(10, [1, 2, 5]), (5, [1, 2])])
def test_no_gain_ratio_of_the_step_after_which_the_weights_are_averaged(runs_dir, steps, measured):
    train_here(runs_dir, f"averaged-{steps}", "--steps", steps, "--weight-average", 0.5)
    assert rows(runs_dir / f"averaged-{steps}", "network", "gain_ratio")[0] == measured
