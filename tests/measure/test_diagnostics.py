"""When the probes look: a cadence that repeats, a budget that is kept, rows that say what they claim."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_train_loop import already_awake, train_here  # noqa: F401

import train_loop
from core.measure import diagnostics
from core.run import logs, run_folder


def test_when_each_class_looks():
    light, full = diagnostics.INTERVALS["light"], diagnostics.INTERVALS["full"]
    assert [s for s in range(1, 141) if diagnostics.due(light, "norms", s)] == [*range(1, 101), 110, 120, 130, 140]
    assert [s for s in range(1, 500) if diagnostics.due(light, "quality", s)] == [1, 2, 5, 10, 20, 50, 100, 200, 400]
    assert not any(diagnostics.due(light, "curvature", s) for s in range(1, 2000))
    assert [s for s in range(1, 500) if diagnostics.due(full, "curvature", s)] == [1, 2, 5, 10, 20, 50, 100, 200, 400]
    assert not any(diagnostics.due({}, kind, s) for kind in ("norms", "quality") for s in range(1, 300))


@given(st.floats(0.2, 50), st.tuples(*[st.floats(1e-4, 1)] * 4), st.floats(1e-4, 1))
def test_the_budget_is_kept(budget, costs, step_seconds):
    """Added up over many steps, the looks stay within the budget, and one step of the ladder denser they would not."""
    costs = dict(zip(("norms", "activations", "quality", "curvature"), costs))
    intervals, allowed = diagnostics.chosen_intervals(costs, step_seconds, budget), budget / 100 * step_seconds
    assert sum(costs[kind] / every for kind, every in intervals.items()) <= allowed * (1 + 1e-6)
    for kind, every in intervals.items():
        if every > 1:
            assert costs[kind] / (every / 2.5) > allowed / 4 * (1 - 1e-6)


@pytest.mark.parametrize("number, expected", [(0.01, 1), (1, 1), (1.1, 2), (2.5, 5), (7, 10), (10, 10), (101, 200)])
def test_the_ladder(number, expected):
    assert diagnostics.rounded_up(number) == expected


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def full(runs_dir, already_awake):  # noqa: F811
    train_here(runs_dir, "full", "--epochs", 2, "--diagnostics", "full")
    return runs_dir / "full"


@pytest.mark.parametrize("args", [("--diagnostics", "off"), (), ("--diagnostics-budget", "5%")])
def test_looking_changes_nothing(runs_dir, full, args):
    """Off, light, full or by a budget: the same losses and the same weights, to the last bit."""
    name = "-".join(["words", *(w.strip("-%") for w in args)])
    train_here(runs_dir, name, "--epochs", 2, *args)
    for file in (logs.STEPS, logs.EPOCHS, logs.PREDICTIONS):
        assert (runs_dir / name / file).read_bytes() == (full / file).read_bytes()
    from core.run import checkpoints

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
    assert rows(full, "conv1", "dead_channels")[0] == [], "only where there is a bend"
    assert 0 < rows(full, "relu1", "sparsity")[1].mean() < 1
    for quantity in ("curvature", "noise_g2", "noise_s", "predicted_change", "actual_change", "gain_ratio"):
        assert rows(full, "network", quantity)[0] == [1, 2, 5, 10, 20], quantity
    assert rows(full, "network", "traces") == ([20, 40], pytest.approx([1, 1]))
    assert np.all(rows(full, "network", "evaluation_disagreement")[1] < 1e-5)


def test_credit_adds_up_to_the_predicted_change(full):
    """Kernels take most of the first_order_change; the rest is that of biases and batch norm, so the sums are close, not equal."""
    predicted, quality = (rows(full, "network", name)[1] for name in ("predicted_change", "gain_ratio"))
    assert np.all(predicted < 0), "every step goes downhill"
    actual = rows(full, "network", "actual_change")[1]
    np.testing.assert_allclose(actual / predicted, quality, rtol=1e-6)
    assert 0.5 < quality[0] < 1.2, "the first step is a small one: calculus is nearly right about it"


def test_a_budget_is_measured_once_and_followed(runs_dir):
    train_here(runs_dir, "budget", "--epochs", 2, "--diagnostics-budget", "20%", "--stop-at", 25)
    chosen = run_folder.read_config(runs_dir / "budget")["diagnostics"]
    assert set(chosen["cost_seconds"]) == {
        "norms",
        *("activations quality curvature".split()),
    }
    assert all(seconds > 0 for seconds in chosen["cost_seconds"].values())
    train_here(runs_dir, "budget", "--resume")
    assert run_folder.read_config(runs_dir / "budget")["diagnostics"] == chosen
    quality = rows(runs_dir / "budget", "network", "gain_ratio")[0]
    every = chosen["cadence"]["quality"]
    assert quality == [s for s in range(1, 41) if every and (s in diagnostics.MARKS or s % every == 0)]


def test_an_exam_that_depends_on_company_is_seen(runs_dir, monkeypatch):
    """Batch norm left in training mode at test."""

    def sick(images, labels, network):
        return train_loop.evaluations.batch_sums(
            network.logits(train_loop.standardize(images), training=True, step=1), labels
        )

    monkeypatch.setattr(train_loop, "evaluate_piece", sick)
    train_here(runs_dir, "company", "--epochs", 1)
    assert rows(runs_dir / "company", "network", "evaluation_disagreement")[1][-1] > 1e-3


def test_the_cost_is_told_at_the_end(runs_dir, full, capsys):
    train_here(runs_dir, "told", "--epochs", 1)
    said = capsys.readouterr().out
    assert "looked   activations" in said and "of the step time" in said


@pytest.mark.parametrize("args", [("--lookahead",), ("--weight-average", 0.5)])
def test_a_step_after_which_the_weights_go_to_an_average_is_not_judged(runs_dir, args):
    name = args[0].strip("-")
    train_here(runs_dir, name, "--steps", 10, *args)
    assert rows(runs_dir / name, "network", "gain_ratio")[0] == [1, 4, 9]
