"""When the probes measure: intervals that repeat, a budget that is kept, rows that are what they are called."""

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

KINDS = ("norms", "activations", "gain_ratio", "curvature")


def test_when_each_kind_is_measured():
    light, full = diagnostics.INTERVALS["light"], diagnostics.INTERVALS["full"]
    assert [s for s in range(1, 141) if diagnostics.due(light, "norms", s)] == [*range(1, 101), 110, 120, 130, 140]
    rare = [1, 2, 5, 10, 20, 50, 100, 200, 400]
    assert [s for s in range(1, 500) if diagnostics.due(light, "gain_ratio", s)] == rare
    assert not any(diagnostics.due(light, "curvature", s) for s in range(1, 2000))
    assert [s for s in range(1, 500) if diagnostics.due(full, "curvature", s)] == rare
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


@pytest.mark.parametrize("number, expected", [(0.01, 1), (1, 1), (1.1, 2), (2.5, 5), (7, 10), (10, 10), (101, 200)])
def test_intervals_are_rounded_up(number, expected):
    assert diagnostics.rounded_up(number) == expected


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


def rows(folder, layer, quantity):
    table = logs.read(folder, logs.LAYERS)
    chosen = (table["layer"] == layer.encode()) & (table["quantity"] == quantity.encode())
    return table["step"][chosen].tolist(), table["value"][chosen]


def test_what_full_writes(full):
    steps, distance = rows(full, "conv1", "distance")
    assert steps == list(range(1, 41)) and distance[0] == 0 and np.all(np.diff(distance[:5]) > 0)
    assert rows(full, "relu1", "activation_mean")[0] == [0, 1, 2, 5, 10, 20, 40]
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
    from core.settings.command_line import parse

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
    assert "diagnostics  activations" in out and "of the step time" in out


@pytest.mark.parametrize("steps, measured", [(10, [1, 2, 5]), (5, [1, 2])])
def test_no_gain_ratio_of_the_step_after_which_the_weights_are_averaged(runs_dir, steps, measured):
    train_here(runs_dir, f"averaged-{steps}", "--steps", steps, "--weight-average", 0.5)
    assert rows(runs_dir / f"averaged-{steps}", "network", "gain_ratio")[0] == measured
