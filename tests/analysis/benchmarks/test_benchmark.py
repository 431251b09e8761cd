"""The benchmark: rows from real trainings, each measured once."""

import csv

import pytest
from runner import run, run_python

from analysis.benchmarks import benchmark
from analysis.benchmarks.processes import Finished
from core.run import logs
from core.run.errors import RunError


def asked(folder, *more):
    """The options: the debug recipe, 20 steps."""
    given = ["--recipes", "debug", "--baselines", "--seeds", 1, "--data", "shapes10", "--out", folder]
    return benchmark.build_parser().parse_args([str(text) for text in (*given, *more)])


def rows_in(folder):
    with open(folder / "benchmark.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_is_what_the_run_left_and_what_is_there_is_not_trained_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "run_python", run_python)
    folder = tmp_path / "bench"
    benchmark.main(asked(folder))
    assert "from the command to the first step" in capsys.readouterr().out
    first = rows_in(folder)
    evaluations = logs.read(folder / "debug-seed0", logs.EPOCHS)
    timing = logs.read(folder / "debug-seed0", logs.TIMING)
    assert [row["name"] for row in first] == ["debug"] and tuple(first[0]) == benchmark.COLUMNS
    assert float(first[0]["test_accuracy"]) == evaluations["test_accuracy"][-1]
    assert 0 < timing["step_seconds"].sum() < float(first[0]["seconds"])
    written = (folder / "debug-seed0" / logs.STEPS).stat().st_mtime_ns

    benchmark.main(asked(folder))
    out = capsys.readouterr().out
    assert "trained already, and kept: debug 0\n" in out and "first step" not in out
    assert rows_in(folder) == first and (folder / "debug-seed0" / logs.STEPS).stat().st_mtime_ns == written


def test_an_incomplete_training_in_the_way_is_named_and_left_alone(tmp_path, monkeypatch):
    (tmp_path / "debug-seed0").mkdir()
    (tmp_path / "first-step").mkdir()
    with pytest.raises(RunError, match="debug-seed0: an incomplete training"):
        benchmark.main(asked(tmp_path))
    assert (tmp_path / "debug-seed0").is_dir()


def test_baselines_are_trained_once_and_the_output_says_which_program_they_follow(tmp_path, monkeypatch, capsys):
    commands = []

    def run_python(script, *arguments):
        commands.append([str(script), *map(str, arguments)])
        tta = "" if "keras" in str(script) else "accuracy_tta=0.75 "
        return Finished(f"progress\naccuracy=0.5 {tta}seconds=2.0 parameters=7\n", 3.0, 100.0)

    monkeypatch.setattr(benchmark, "run_python", run_python)
    names = ["keras_tutorial", "airbench94", "airbench94_muon"]
    benchmark.main(asked(tmp_path, "--recipes", "--baselines", *names, "--seeds", 3))
    out = capsys.readouterr().out
    assert "baseline airbench94: legacy/airbench94.py of github.com/KellerJordan" in out
    assert "baseline airbench94_muon: airbench94_muon.py of github.com/KellerJordan" in out
    assert [row["name"] for row in rows_in(tmp_path)] == names
    assert [row["test_accuracy_tta"] for row in rows_in(tmp_path)] == ["nan", "0.75", "0.75"]
    assert [row["seconds"] for row in rows_in(tmp_path)] == ["2.0", "3.0", "3.0"]  # of Keras: `fit` alone
    versions = [command[command.index("--version") + 1] for command in commands if "--version" in command]
    assert versions == ["airbench94", "airbench94_muon"]


def test_a_table_of_an_earlier_version_is_read(tmp_path, capsys):
    header = "who,seed,seconds,training_seconds,test_accuracy,six_views_accuracy,train_accuracy,peak_memory_mb\n"
    (tmp_path / "benchmark.csv").write_text(
        header + "fast,0,700,600,0.90,0.91,0.97,1000\nfast,1,720,620,0.92,0.93,,1\n"
    )
    benchmark.main(asked(tmp_path, "--table", tmp_path))
    out = capsys.readouterr().out
    assert "91.00 % ± 1.41" in out and "92.00 % ± 1.41" in out and "90.00 in 700 s, 92.00 in 720 s" in out


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "name,seed\nx\n", "\xff\n", "name,seed,seconds\nx,0,fast\n"])
def test_what_is_no_table_is_answered_in_a_line(tmp_path, content):
    (tmp_path / "benchmark.csv").write_bytes(content.encode("latin-1"))
    if content.startswith("name,seed\n"):
        assert benchmark.read_table(tmp_path / "benchmark.csv")[0]["seed"] is None
        return
    with pytest.raises(RunError, match=r"benchmark\.csv: not a table of analysis/benchmarks/benchmark\.py"):
        benchmark.read_table(tmp_path / "benchmark.csv")


def test_a_folder_without_a_table_is_answered_in_a_line(tmp_path):
    done = run("analysis/benchmarks/benchmark.py", "--table", tmp_path, status=1)
    assert "benchmark.csv: No such file" in done.stderr and done.stderr.count("\n") == 1
