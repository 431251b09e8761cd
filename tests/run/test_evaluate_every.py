"""--evaluate-every: evaluations between the ends of the epochs, exact under resume."""

import numpy as np
import pytest
from runner import train_here

from core.run import logs

ARGS = ("--epochs", 2, "--evaluate-every", 7, "--checkpoint-every", 5)  # 20 steps an epoch


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train_here(folder, "straight", *ARGS)
    return folder


def test_it_evaluates_every_so_many_steps_and_at_the_end_of_each_epoch(runs_dir):
    epochs = logs.read(runs_dir / "straight", logs.EPOCHS)
    assert epochs["step"].tolist() == [7, 14, 20, 21, 28, 35, 40]
    assert epochs["epoch"].tolist() == [1, 1, 1, 2, 2, 2, 2]


def test_the_rows_before_an_evaluation_are_written_before_its_own(runs_dir):
    """Also where no checkpoint is due: a reader refuses steps that go back."""
    for name in (logs.LAYERS, logs.PREDICTIONS):
        assert np.all(np.diff(logs.read(runs_dir / "straight", name)["step"]) >= 0), name


@pytest.mark.parametrize("stop", [10, 23])
def test_a_resumed_run_has_the_same_evaluations(runs_dir, stop):
    name = f"stopped-{stop}"
    train_here(runs_dir, name, *ARGS, "--stop-at", stop)
    train_here(runs_dir, name, "--resume")
    for file in (logs.EPOCHS, logs.PREDICTIONS, logs.LAYERS, logs.STEPS):
        assert (runs_dir / name / file).read_bytes() == (runs_dir / "straight" / file).read_bytes(), file


def test_evaluating_more_often_does_not_change_the_training(runs_dir):
    train_here(runs_dir, "rarely", "--epochs", 2)
    assert (runs_dir / "rarely" / logs.STEPS).read_bytes() == (runs_dir / "straight" / logs.STEPS).read_bytes()
