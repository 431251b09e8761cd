"""The front: points are means of runs, a run lies where its files say."""

import numpy as np
import pytest
from runner import run, train

from analysis.benchmarks import pareto_front
from core.run import logs, run_folder

HEADER = "who,seed,seconds,training_seconds,test_accuracy,six_views_accuracy,train_accuracy,peak_memory_mb\n"


@pytest.fixture
def points(tmp_path):
    path = tmp_path / "front.csv"
    path.write_text(
        HEADER + "slow,0,700,600,0.90,nan,1,1\nslow,1,700,660,0.92,nan,1,1\nKeras tutorial,,90,60,0.7,nan,nan,1\n"
    )
    return path


def test_points_by_minutes(points):
    found = pareto_front.measured(points)
    assert list(found) == ["Keras tutorial", "slow"]
    np.testing.assert_allclose(found["slow"], [[10, 90], [11, 92]])


def test_a_run_among_the_points(points, tmp_path):
    train(tmp_path, "mine", "--steps", 10)
    with pytest.raises(run_folder.RunError, match="trained on shapes10; the points are of cifar10"):
        pareto_front.point_of(tmp_path / "mine")
    config = run_folder.read_config(tmp_path / "mine")
    config["data"] |= {"name": "cifar10", "title": "cifar10"}
    run_folder.write_config(tmp_path / "mine", config)
    name, minutes, accuracy = pareto_front.point_of(tmp_path / "mine")
    timing, evaluations = logs.read(tmp_path / "mine", logs.TIMING), logs.read(tmp_path / "mine", logs.EPOCHS)
    assert name == "mine on cifar10" and accuracy == 100 * evaluations["test_accuracy"][-1]
    np.testing.assert_allclose(minutes * 60, timing["step_seconds"].sum() + timing["probe_seconds"].sum())
    done = run("analysis/front.py", "mine", "--runs-dir", tmp_path, "--points", points)
    assert "<- this run" in done.stdout and "slow, 2 runs" in done.stdout and "91.00 %" in done.stdout
    assert (tmp_path / "mine" / "front.png").stat().st_size > 10_000


def test_a_table_that_is_none(tmp_path):
    (tmp_path / "front.csv").write_text("a,b\n1,2\n")
    with pytest.raises(run_folder.RunError, match=r"front\.csv: not a table of analysis/benchmark\.py"):
        pareto_front.measured(tmp_path / "front.csv")
