"""The benchmark: rows from real trainings, each measured once."""

import csv
from argparse import Namespace

import pytest

from analysis.benchmarks import benchmark
from core.run import logs, run_folder


def asked(folder, **args):
    """The words of the command line."""
    given = {
        "recipes": ["debug"], "peers": [], "seeds": 1, "epochs": 1, "data": "shapes10", "data_dir": "", "out": folder,
        "table": None, "worker": False,
    }  # fmt: skip
    return Namespace(**(given | args))


def rows_in(folder):
    with open(folder / "benchmark.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_is_what_the_run_left_and_what_is_there_is_not_trained_again(tmp_path, capsys):
    place = tmp_path / "bench"
    benchmark.main(asked(place))
    assert "from the command to the first step" in capsys.readouterr().out
    first = rows_in(place)
    evaluations = logs.read(place / "debug-seed0", logs.EPOCHS)
    timing = logs.read(place / "debug-seed0", logs.TIMING)
    assert [row["who"] for row in first] == ["debug"]
    assert float(first[0]["test_accuracy"]) == evaluations["test_accuracy"][-1]
    assert 0 < timing["step_seconds"].sum() < float(first[0]["seconds"])
    written = (place / "debug-seed0" / logs.STEPS).stat().st_mtime_ns

    benchmark.main(asked(place))
    out = capsys.readouterr().out
    assert "trained already, and kept: debug 0\n" in out and "first step" not in out
    assert rows_in(place) == first and (place / "debug-seed0" / logs.STEPS).stat().st_mtime_ns == written


def test_half_a_training_in_the_way_is_named_and_left_alone(tmp_path):
    (tmp_path / "debug-seed0").mkdir()
    with pytest.raises(run_folder.RunError, match="debug-seed0: half a training"):
        benchmark.main(asked(tmp_path))
    assert (tmp_path / "debug-seed0").is_dir()
