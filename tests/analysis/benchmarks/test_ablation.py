"""The ablation: every switch takes its part out, and the table says what was measured."""

from types import SimpleNamespace

import numpy as np
import pytest
from runner import run

from analysis.benchmarks import ablation
from analysis.benchmarks.comparison import effect
from core.settings import command_line
from core.settings.recipes import RECIPES

SCRIPT = "analysis/benchmarks/ablation.py"


@pytest.mark.parametrize("part", ablation.PARTS)
def test_the_options_of_each_part_exist_and_change_a_recipe(part):
    assert any(part in ablation.parts_of(recipe) for recipe in ("minute", "five", "fast"))
    changed = command_line.parse(["--recipe", "fast", *ablation.PARTS[part]]).settings
    assert sum(getattr(changed, name) != value for name, value in vars(RECIPES["fast"]).items()) == 1  # one at a time


def test_a_part_belongs_to_the_recipes_that_have_it():
    averaging = [recipe for recipe in ("minute", "five", "fast") if "weight averaging" in ablation.parts_of(recipe)]
    assert averaging == [recipe for recipe in ("minute", "five", "fast") if RECIPES[recipe].weight_average]


def test_a_part_that_the_recipe_does_not_have_is_answered_in_a_line(tmp_path):
    done = run(SCRIPT, "--recipe", "five", "--parts", "weight averaging", "--out", tmp_path / "a", status=1)
    assert "--parts weight averaging: five does not have it; it has whitening" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "a").exists()


def test_the_table(capsys):
    rows = [("", 0, 0.80, 0.81, 1), ("crop", 0, 0.79, 0.80, 1), ("", 1, 0.82, 0.84, 1), ("crop", 1, 0.78, 0.78, 1)]
    ablation.report(rows, SimpleNamespace(recipe="minute", parts=["crop"], seeds=2))
    out = capsys.readouterr().out
    assert "81.00 %" in out and "minute, hold-out, seeds: 2" in out
    assert f"78.50 %   {effect(np.array([1.0, 4.0]))}" in out and "not shown" in out
    assert effect(np.array([1.0, 1.0])) in out  # test-time augmentation: 1 and 1 point, 2 and 0 points


def test_every_part_is_trained_without_on_the_hold_out_for_every_seed(tmp_path, monkeypatch, capsys):
    trained = []

    def train(recipe, run, seed, folder, args, *more):
        trained.append((recipe, run, seed, *more))
        return {"test_accuracy": 0.5 + 0.1 * seed, "test_accuracy_tta": 0.6, "training_seconds": 7.0}

    monkeypatch.setattr(ablation.benchmark, "train", train)
    given = ["--parts", "crop", "label smoothing", "--seeds", "2", "--out", str(tmp_path / "ablation")]
    ablation.main(ablation.build_parser().parse_args(given))
    assert trained == [
        (
            "minute", f"{name}-seed{seed}", seed, "--holdout", *more,
        )
        for seed in (0, 1)
        for name, more in (("whole", ()), ("crop", ("--crop", "0")), ("label-smoothing", ("--label-smoothing", "0")))
    ]  # fmt: skip
    assert (tmp_path / "ablation" / "ablation.csv").read_text().splitlines()[:3] == [
        "without,seed,accuracy,accuracy_tta,training_seconds", ",0,0.5,0.6,7.0", "crop,0,0.5,0.6,7.0",
    ]  # fmt: skip
    assert "without label smoothing" in capsys.readouterr().out
