"""The printed commands: they parse for every recipe, repeat the run but for what they change, and fit into a shell."""

import dataclasses
import itertools
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from made_runs import MadeRun
from runner import PROJECT, run, train

from analysis.diagnosis import advice, experiments
from analysis.support.run import Run
from core.settings import command_line
from core.settings.recipes import RECIPES
from core.settings.settings import Settings

RECORDINGS = sorted(path.parent for path in (PROJECT / "tests" / "faults").glob("*/config.json"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run whose settings a test replaces."""
    return MadeRun(epochs=1).write(tmp_path_factory.mktemp("runs"))


def with_settings(run: Run, settings: Settings) -> Run:
    """The run, as if it had been made with these settings, resolved as core/run/start.py does."""
    data = "cifar10" if settings.data == "auto" else settings.data
    resolved = {"data": data, "precision": "float32", "micro_batches": settings.micro_batches or 1}
    resolved["kernels"] = "textbook" if settings.eager else settings.kernels
    run.config["settings"] = dataclasses.asdict(settings) | resolved
    run.config["data"]["name"] = data
    return run


def parsed(command: str) -> Settings:
    """The settings of a printed training; fails the test where the command line would refuse it."""
    python, script, *args = shlex.split(command)
    assert script == "train_loop.py" and shutil.which(python)
    return command_line.parse(args).settings


def trained(command: str) -> bool:
    return bool(command) and shlex.split(command)[1] == "train_loop.py"


def given(*args: str) -> Settings:
    """The settings of this command line."""
    return command_line.parse(list(args)).settings


GRID = [
    ["--recipe", recipe, *more]
    for recipe, more in itertools.product(
        RECIPES,
        ([], ["--holdout"], ["--steps", "7"], ["--epochs", "3"], ["--data", "shapes10"], ["--seed", "2147483647"],
         ["--optimizer", "adamw"], ["--optimizer", "adam"], ["--optimizer", "muon"], ["--optimizer", "sgd"],
         ["--flip", "random", "--crop", "8"], ["--flip", "alternating", "--crop", "8", "--label-smoothing", "0.9"],
         ["--batch-size", "50000", "--micro-batches", "2"], ["--data-dir", "my images"], ["--eager"],
         ["--threads", "1", "--device", "cpu", "--kernels", "textbook"],
         ["--micro-batches", "1"],         ["--learning-rate", "0.0123456"], ["--weight-decay", "0"]),
    )
    if not (recipe == "debug" and "50000" in more)  # shapes10 has 10,000 images
]  # fmt: skip


@pytest.mark.parametrize("args", GRID, ids=" ".join)
def test_every_experiment_parses_and_changes_something(written, args):
    settings = given(*args)
    run, count = with_settings(written, settings), 0
    for name in advice.ADVICE:
        sentence, command = advice.experiment(run, name)
        assert sentence
        if not trained(command):
            continue
        new = parsed(command)
        count += 1
        same = dataclasses.replace(new, kernels=settings.kernels, precision=settings.precision, data=settings.data,
                                   micro_batches=settings.micro_batches)  # fmt: skip
        assert same != settings or new.data != run.config["settings"]["data"], f"{name} repeats the run: {command}"
    assert count > 8


@pytest.mark.parametrize("folder", RECORDINGS, ids=lambda folder: folder.name)
def test_every_experiment_parses_for_runs_of_an_older_version(folder):
    run = Run(folder)
    commands = [command for name in advice.ADVICE if trained(command := advice.experiment(run, name)[1])]
    assert len(commands) > 8 and all(parsed(command) for command in commands)


def test_a_run_again_is_the_run(written):
    """Without a change the command gives the settings of the run, but for the machine's own choices."""
    for args in GRID:
        settings = given(*args)
        again = parsed(experiments.again(with_settings(written, settings)))
        machine = {name: getattr(settings, name) for name in ("precision", "kernels", "micro_batches", "data")}
        assert dataclasses.replace(again, **machine) == settings, args


def test_only_what_differs_from_the_recipe_is_written(written):
    run = with_settings(written, given("--batch-size", "50", "--crop", "2"))
    command = experiments.again(run, learning_rate=0.01).removeprefix(experiments.interpreter())
    assert command == (
        " train_loop.py --recipe classic --batch-size 50 --learning-rate 0.01 --crop 2 --precision float32 "
        "--runs-dir runs/experiments"
    )


def test_the_debug_recipe_has_one_length(written):
    assert "--steps" not in experiments.again(with_settings(written, given("--recipe", "debug", "--epochs", "2")))
    assert parsed(experiments.longer(with_settings(written, given("--recipe", "debug")))).steps == 40
    assert parsed(experiments.longer(with_settings(written, given("--recipe", "debug", "--epochs", "2")))).epochs == 4


def test_a_rate_is_scaled_with_that_of_the_convolutions(written):
    run = with_settings(written, RECIPES["minute"])
    new = parsed(experiments.scaled_rate(10)(run))
    assert (new.learning_rate, new.muon_rate) == (20.0, 1.4)


def test_a_seed_never_leaves_its_range(written):
    assert parsed(experiments.other_seed(with_settings(written, Settings(seed=2**31 - 1)))).seed == 0


def test_a_run_on_the_holdout_is_sent_to_its_images(written):
    run = with_settings(written, Settings(holdout=True))
    assert experiments.on_holdout(run) == ""
    sentence, command = advice.experiment(run, "leak")
    assert "on training images already" in sentence and "analysis/replay.py" in command


def test_a_network_that_is_gone_gives_no_command(written):
    run = with_settings(written, Settings())
    run.config["settings"]["network"] = "speed128"
    assert experiments.longer(run) == "" and advice.experiment(run, "underfit")[0]


def test_paths_with_spaces_are_quoted(tmp_path):
    run = MadeRun(epochs=1).write(tmp_path / "my runs", "it")
    command = experiments.replay(run, 3)
    assert shlex.split(command)[1:] == ["analysis/replay.py", str(tmp_path / "my runs" / "it"), "--step", "3"]


def test_the_python_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: sys.executable)
    assert experiments.interpreter() == "python"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.chdir(tmp_path)
    assert experiments.interpreter() == sys.executable
    monkeypatch.chdir(Path(sys.executable).parent)
    assert experiments.interpreter() == f"./{Path(sys.executable).name}"


def test_an_experiment_runs_as_printed_and_leaves_latest_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train("runs", "first", "--steps", 3)
    python, script, *args = shlex.split(experiments.scaled_rate(1 / 3)(Run(Path("runs/first"))))
    assert shutil.which(python)
    run(script, *args)
    [experiment] = [folder for folder in Path("runs/experiments").iterdir() if folder.name != "latest"]
    assert Path("runs/latest").resolve().name == "first"
    was, now = Run(Path("runs/first")).config["settings"], Run(experiment).config["settings"]
    assert {name for name in was if was[name] != now[name]} == {"learning_rate"}
