"""The ablation: every switch really takes its part out, and the table says what was measured."""

from types import SimpleNamespace

import numpy as np
import pytest
from runner import run

from analysis.benchmarks import ablation


@pytest.mark.parametrize("part", ablation.PARTS)
def test_its_words_take_each_part_out_of_the_recipes_that_have_it(part):
    alone_in = {"lookahead": ["minute"], "weight averaging": ["fast"]}  # the rates of `five` and `fast` end at zero
    has = [recipe for recipe in ("minute", "five", "fast") if part in ablation.parts_of(recipe)]
    assert has == alone_in.get(part, ["minute", "five", "fast"])


def test_a_part_that_the_recipe_does_not_have_is_answered_in_a_line(tmp_path):
    done = run("analysis/ablation.py", "--recipe", "fast", "--parts", "lookahead", "--out", tmp_path / "a", status=1)
    assert "--parts lookahead: fast does not have it; it has whitening" in done.stderr
    assert not (tmp_path / "a").exists()


def test_the_table(capsys):
    rows = [("", 0, 0.80, 0.81, 1), ("crop", 0, 0.79, 0.80, 1), ("", 1, 0.82, 0.84, 1), ("crop", 1, 0.78, 0.78, 1)]
    ablation.report(rows, SimpleNamespace(recipe="minute", parts=["crop"], seeds=2))
    said = capsys.readouterr().out
    assert "81.00 %" in said and "78.50 %   +2.50 ± 1.50" in said
    gains = np.array([1, 1, 2, 0])
    assert f"+1.00 ± {gains.std(ddof=1) / 2:.2f}" in said


def test_as_a_user_runs_it(tmp_path):
    done = run(
        "analysis/ablation.py", "--data", "shapes10", "--seeds", 1, "--epochs", 1, "--parts", "crop",
        "--out", tmp_path / "ablation",
    )  # fmt: skip
    assert "the part is worth" in done.stdout
    assert (tmp_path / "ablation" / "ablation.csv").read_text().count("\n") == 3
