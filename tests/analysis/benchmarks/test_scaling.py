"""Scaling: the settings of every run, the constants of the law from measurements, the table and the figure."""

import itertools
import json
import math
import os

import numpy as np
import pytest
import runner
from readable import assert_readable

from analysis.benchmarks import measure_all_reduce, scaling
from core.run import launch
from core.run.errors import RunError
from layers_explained.support import scaling_law, scaling_table
from layers_explained.support.scaling_law import Cost, Network

SCRIPT = "analysis/benchmarks/scaling.py"
COST, NETWORK = Cost(356_810, 0.040, 0.004), Network(0.5e9, 1e-3)


def test_the_network_is_found_from_its_own_times():
    cases = np.array(list(itertools.product([2, 4], [1, 1000, 100_000, 1_000_000])))
    seconds = [scaling_law.all_reduce_seconds(n, count, NETWORK) for n, count in cases]
    found = scaling_law.network_of(*cases.T, seconds)
    assert found.bytes_per_second == pytest.approx(0.5e9) and found.latency == pytest.approx(1e-3)
    with pytest.raises(ValueError, match="did not take longer"):
        scaling_law.network_of([2, 2], [1, 1000], [1.0, 0.5])


def test_what_is_divided_is_found_from_a_part_of_the_batch():
    found = scaling_law.cost_of(5, whole=0.044, part=0.014, parts=4)
    assert (found.divided, found.in_full) == (pytest.approx(0.040), pytest.approx(0.004))
    assert scaling_law.cost_of(5, whole=1.0, part=0.4, parts=2) == Cost(5, 1.0, 0.0)  # less than half: cost nothing


@pytest.fixture
def machine(monkeypatch):
    """A machine of four processors that obeys the law: training and all-reduces take what it says, nothing is run."""
    calls, drift = [], itertools.cycle([1.0, 1.1, 0.95])

    def step_seconds(args, settings, workers, part=1):
        calls.append(("train", workers, part))
        whole = Cost(COST.parameters, COST.divided / part, COST.in_full)
        return float(scaling_law.step_seconds(workers, whole, NETWORK)) * next(drift)

    def all_reduce_seconds(workers, counts):
        calls.append(("all-reduce", workers, counts))
        return {count: float(scaling_law.all_reduce_seconds(workers, count, NETWORK)) for count in counts}

    monkeypatch.setattr(scaling, "step_seconds", step_seconds)
    monkeypatch.setattr(scaling, "all_reduce_seconds", all_reduce_seconds)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    return calls


def test_it_measures_in_turn_and_writes_table_and_figure(machine, tmp_path, capsys, monkeypatch):
    drawn, save = [], scaling.style.save

    def checked_and_saved(figure, out):
        assert_readable(figure)
        drawn.append(out)
        save(figure, out)

    monkeypatch.setattr(scaling.style, "save", checked_and_saved)
    given = ["--precision", "float32", "--data", "shapes10", "--rounds", "3", "--out", str(tmp_path / "s.png")]
    scaling.main(scaling.build_parser().parse_args(given))
    counts = (1, 10_000, 100_000, 356_810, 1_000_000)
    one = [("train", 1, 1), ("train", 2, 1), ("train", 4, 1), ("train", 1, 4)]
    one += [("all-reduce", 2, counts), ("all-reduce", 4, counts)]
    assert machine == [*one, *one[::-1], *one]
    assert drawn == [tmp_path / "s.png"] and (tmp_path / "s.png").stat().st_size > 5_000
    found = scaling_table.read(tmp_path / "s.csv")
    assert found.recipe == "classic" and list(found.speeds) == [1, 2, 4] and len(found.speeds[4]) == 3
    assert found.network.bytes_per_second == pytest.approx(0.5e9)
    out = capsys.readouterr().out
    assert "round 2: 4 workers  all-reduce         1: 6.00 ms" in out
    assert "classic, shapes10" in out and "1 thread a worker" in out


def rows(speeds):
    found = scaling_table.Measured("classic", {n: np.array(each) for n, each in speeds.items()}, COST, NETWORK)
    return [line for line in scaling.table(found) if line[0].isdigit()], found


def test_the_table_says_whether_the_law_holds():
    law = float(scaling_law.efficiency(2, COST, NETWORK))
    assert law == pytest.approx(0.044 / (0.04 + 2 * (0.004 + 4 * 356_810 / 0.5e9 + 2e-3)))
    for factor, verdict in ((1.0, "as measured"), (1.3, "below"), (0.7, "above")):
        (_, two), _ = rows({1: [100, 100], 2: [200 * law * factor * 0.99, 200 * law * factor * 1.01]})
        assert two.endswith(verdict) and f"{100 * law:.0f}" in two
    (one, _), found = rows({1: [100, 110], 2: [150, 150]})
    assert one.split()[-2:] == ["100", "0.00"] and "100 (100 to 100)" in one
    np.testing.assert_allclose(found.efficiencies()[2], [0.75, 150 / 220])


def test_times_that_make_no_law_are_one_line():
    values = {(scaling.SPEED, 1): [0.1], (scaling.SPEED, 2): [0.06], (scaling.PART, 1): [0.05]}
    values[scaling.REDUCED, 2] = [{1: 0.5, 1000: 0.1}]
    with pytest.raises(RunError, match="the all-reduces make no law: more numbers did not take longer; leave"):
        scaling.measured(values, "classic", 100, 356_810)


@pytest.mark.parametrize(("given", "micro_batches"), [
    ("--recipe classic --workers 1 2", 2),
    ("--recipe minute --workers 1 2 4", 4),
    ("--recipe five --workers 1 2 5", 10),
])  # fmt: skip
def test_micro_batches_are_the_same_for_any_number_of_workers(given, micro_batches):
    args = scaling.build_parser().parse_args(given.split())
    found = scaling.checked(args).micro_batches
    assert found == micro_batches and all(found % n == 0 for n in args.workers)
    assert found % math.lcm(*args.workers) == 0


def test_the_options_of_a_training(monkeypatch):
    calls = []
    monkeypatch.setattr(scaling, "run_workers", lambda *given: calls.append(given))
    monkeypatch.setattr(scaling.run_folder, "find", lambda name, runs_dir: runs_dir / f"{name}-shapes10")
    monkeypatch.setattr(scaling.logs, "read", lambda *given: {"step_seconds": np.arange(70.0)})
    args = scaling.build_parser().parse_args("--recipe minute --workers 1 2 --threads 3".split())
    settings = scaling.checked(args)
    assert scaling.step_seconds(args, settings, 2) == 44.5  # the median behind the first 20
    scaling.step_seconds(args, settings, 1, part=2)
    for given, workers, batch_size, micro_batches in zip(calls, (2, 1), (500, 250), (4, 2)):
        assert given[:2] == (workers, "train_loop.py")
        parsed = scaling.command_line.parse([str(word) for word in given[2:]]).settings
        assert (parsed.threads, parsed.batch_size, parsed.micro_batches) == (3, batch_size, micro_batches)
        assert (parsed.steps, parsed.diagnostics, parsed.eager) == (71, "off", False)


def test_two_processes_measure_their_all_reduces(tmp_path):
    """One call for each size, behind those that are not counted; the first worker prints."""
    hosts = [f"127.0.0.1:{port}" for port in launch.free_ports(2)]
    processes = []
    for index in range(2):
        environment = os.environ | {"TF_CONFIG": launch.tf_config(hosts, index)}
        processes.append(runner.started("analysis/benchmarks/measure_all_reduce.py", 1, 5000, env=environment))
    try:
        (first, _), (second, _) = (process.communicate(timeout=60) for process in processes)
    finally:
        for process in processes:
            process.kill()
    found = json.loads(first)
    assert list(found) == ["1", "5000"] and second == "" and processes[1].returncode == 0
    assert all(len(times) == measure_all_reduce.TIMES and min(times) > 0 for times in found.values())


@pytest.mark.parametrize(("given", "status", "expected"), [
    (["--recipe", "modern", "--workers", 2], 2, "--devices 2: expected a number that divides --batch-size 125"),
    (["--workers", 0], 2, "a whole number, 1 or above, found 0"),
    (["--workers", 1], 1, "--workers 1: expected a number above 1"),
    (["--workers", 4096], 1, "--workers 4096: expected at most"),
    (["--recipe", "debug"], 2, "debug"),
])  # fmt: skip
def test_a_wrong_argument_is_answered_in_a_line(given, status, expected):
    done = runner.run(SCRIPT, *given, status=status)
    assert expected in done.stderr and done.stderr.count("\n") == 1
