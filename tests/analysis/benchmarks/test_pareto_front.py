"""The Pareto front: points are means of runs, a run is drawn where its files put it."""

import numpy as np
import pytest
from runner import run, train

from analysis.benchmarks import pareto_front
from core.run import logs, run_folder
from core.run.errors import RunError

HEADER = "name,seed,seconds,training_seconds,test_accuracy,test_accuracy_tta,train_accuracy,peak_memory_mb\n"


@pytest.fixture
def points(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(
        HEADER + "slow,0,700,600,0.90,nan,1,1\nslow,1,700,660,0.92,nan,1,1\nkeras_tutorial,,90,60,0.7,nan,nan,1\n"
        "beaten,0,90,90,0.65,nan,nan,1\n"
    )
    return path


def test_points_by_minutes(points):
    found = pareto_front.measured(points)
    assert list(found) == ["keras_tutorial", "beaten", "slow"]
    np.testing.assert_allclose(found["slow"], [[10, 90], [11, 92]])


def test_the_front_is_what_nothing_beats_in_both(points):
    assert pareto_front.pareto_front(pareto_front.measured(points)) == ["keras_tutorial", "slow"]
    same_time = {"a": np.array([[1.0, 80.0]]), "b": np.array([[1.0, 90.0]]), "c": np.array([[2.0, 90.0]])}
    assert pareto_front.pareto_front(same_time) == ["b"]


def test_the_points_of_the_documents_are_a_table():
    found = pareto_front.measured(pareto_front.POINTS)
    assert {"classic", "fast", "keras_tutorial"} <= set(found)


def test_a_run_among_the_points(points, tmp_path):
    train(tmp_path, "mine", "--steps", 10)
    with pytest.raises(RunError, match="trained on shapes10; the points are of cifar10"):
        pareto_front.point_of(tmp_path / "mine")
    config = run_folder.read_config(tmp_path / "mine")
    config["data"] |= {"name": "cifar10", "title": "cifar10"}
    run_folder.write_config(tmp_path / "mine", config)
    name, minutes, accuracy = pareto_front.point_of(tmp_path / "mine")
    timing, evaluations = logs.read(tmp_path / "mine", logs.TIMING), logs.read(tmp_path / "mine", logs.EPOCHS)
    assert name == "mine on cifar10" and accuracy == 100 * evaluations["test_accuracy"][-1]
    np.testing.assert_allclose(minutes * 60, timing["step_seconds"].sum() + timing["probe_seconds"].sum())
    done = run("analysis/benchmarks/pareto_front.py", "mine", "--runs-dir", tmp_path, "--points", points)
    assert "<- this run" in done.stdout and "slow, 2 runs, on the Pareto front" in done.stdout
    assert "91.00 %" in done.stdout and "beaten, 1 run\n" in done.stdout
    assert (tmp_path / "mine" / "pareto_front.png").stat().st_size > 10_000


def test_a_table_that_is_none(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match=r"points\.csv: not a table of analysis/benchmarks/benchmark\.py"):
        pareto_front.measured(path)
    for rows in ("", "x,0,1,0,0.5,,,\n", "x,0,1,1,,,,\n"):
        path.write_text(HEADER + rows)
        with pytest.raises(RunError, match="expected rows with training_seconds above 0"):
            pareto_front.measured(path)
