"""The design of the study: what its variants are, what is trained next, and what may not be mixed."""

import csv
import dataclasses
import json

import pytest
from made_study import HELLO, finish, made_row
from networks_to_test import build_network

from analysis.study_parts import design, runner, table
from analysis.study_parts.design import SMALL, WHOLE
from analysis.study_parts.table import FINAL, RATE
from core.run.errors import RunError
from core.settings.settings import PLAIN_SETTINGS

# The variants.


def test_every_variant_differs_from_the_base_in_its_options_only():
    base = dataclasses.asdict(WHOLE.variants[0].settings(WHOLE))
    for variant in WHOLE.variants[1:]:
        settings = dataclasses.asdict(variant.settings(WHOLE))
        different = {name for name in base if settings[name] != base[name]} - {"learning_rate"}
        asked = {option[2:].replace("-", "_") for option in variant.options if option.startswith("--")}
        if variant.name == "adam":
            asked |= {"weight_decay"}  # plain Adam has none
        assert different == asked, variant.name


def test_the_comparisons_at_equal_cost_are_within_a_few_percent():
    def built(name):
        variant = next(v for v in WHOLE.variants if v.name == name)
        settings = variant.settings(WHOLE)
        network = build_network("plain", **{n: getattr(settings, n) for n in PLAIN_SETTINGS})
        return network.parameter_count, network.flops(), network.flops() * settings.steps

    parameters, flops, work = built("base")
    for name in ("deep-parameters", "wide-parameters"):
        assert built(name)[0] == pytest.approx(parameters, rel=0.01), name
    assert built("deep-flops")[1] == pytest.approx(flops, rel=0.12)  # the nearest whole width
    assert built("wide-flops")[2] == pytest.approx(work, rel=0.01)


def test_every_variant_has_an_expectation_and_a_reason():
    with open(table.PROJECT / "docs" / "study" / table.EXPECTATIONS, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == [variant.name for variant in WHOLE.variants[1:]]
    assert all(row["expected"] in ("better", "worse", "same") and row["why"].endswith(".") for row in rows)


def test_the_test_set_is_read_by_the_final_seeds_only():
    for variant in WHOLE.variants:
        assert variant.settings(WHOLE, final=False).holdout and not variant.settings(WHOLE, final=True).holdout
    assert design.TUNING_SEED not in WHOLE.seeds and len(set(WHOLE.seeds)) == 6


# What is trained next.


def test_the_rates_come_first_and_the_grid_grows_at_its_edge():
    tried = {-1: 0.5, 0: 0.6, 1: 0.7}
    assert runner.rates_to_try(WHOLE, {-1: 0.5}) == [0, 1]
    assert runner.rates_to_try(WHOLE, tried) == [2]
    assert runner.rates_to_try(WHOLE, tried | {2: 0.65}) == []
    assert runner.rates_to_try(WHOLE, {-1: 0.5, 0: 0.6, 1: 0.6}) == [] and runner.best_rate({0: 0.6, 1: 0.6}) == 0
    assert runner.rates_to_try(WHOLE, {-1: 0.7, 0: 0.6, 1: 0.5}) == [-2]
    assert runner.rates_to_try(WHOLE, {k: 0.1 * k + 0.5 for k in range(-1, 4)}) == []  # far enough
    one_rate = dataclasses.replace(SMALL, rates=(0,))
    assert runner.rates_to_try(one_rate, {0: 0.5}) == []
    assert [WHOLE.variants[0].rate_at(k) for k in (-1, 0, 1)] == [0.0133, 0.04, 0.12]


def test_a_whole_study_is_trained_variant_after_variant():
    """Best of 0.04, 0.12, 0.36: the final seeds have the best rate, and nothing is trained twice."""
    rows = finish(WHOLE, lambda name, purpose, seed, k: 0.6 + 0.01 * k if k < 2 else 0.3)
    assert len({row.key for row in rows}) == len(rows) == 32 * (4 + 6) and runner.runs_left(WHOLE, rows) == 0
    assert [row.purpose for row in rows[:10]] == [RATE] * 4 + [FINAL] * 6
    assert {row.k for row in rows if row.purpose == FINAL} == {1}
    order = list(dict.fromkeys(row.variant for row in rows))
    assert order == [variant.name for variant in WHOLE.variants]
    assert runner.runs_left(WHOLE, []) == 32 * 9


# The files.


def test_rows_are_read_back_exactly_and_a_torn_line_is_dropped(tmp_path):
    variant = WHOLE.variants[1]
    rows = [made_row(WHOLE, variant, FINAL, seed, 0, 0.1 + 0.2 * seed) for seed in (1, 2)]
    for row in rows:
        table.append(tmp_path / table.RUNS, table.COLUMNS, [[getattr(row, name) for name in table.COLUMNS]])
    assert table.read(tmp_path) == rows
    path = tmp_path / table.RUNS
    path.write_text(path.read_text()[:-20])
    assert table.read(tmp_path) == rows[:1]
    table.append(path, table.COLUMNS, [[getattr(rows[1], name) for name in table.COLUMNS]])
    assert table.read(tmp_path) == rows
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    with pytest.raises(RunError, match=r"line 4: batch-norm final 2 0 is there twice"):
        table.read(tmp_path)
    path.write_text(path.read_text().replace("batch-norm,final,2,0", "batch-norm,final,two,0", 1))
    with pytest.raises(RunError, match=r"runs.csv line 3: not a row of a study .*'two'"):
        table.read(tmp_path)


@pytest.mark.parametrize("changed", ["data_fingerprint", "base", "code", "seeds"])
def test_rows_of_another_data_set_recipe_or_code_are_refused(tmp_path, changed):
    table.check_same_study(tmp_path, WHOLE, HELLO)
    row = made_row(WHOLE, WHOLE.variants[0], RATE, 0, 0, 0.5)
    table.append(tmp_path / table.RUNS, table.COLUMNS, [[getattr(row, name) for name in table.COLUMNS]])
    table.check_same_study(tmp_path, WHOLE, HELLO)
    path = tmp_path / table.FACTS
    path.write_text(json.dumps(json.loads(path.read_text()) | {changed: "another"}))
    with pytest.raises(RunError, match=rf"its rows are of another .*{changed} another, now .*another --out"):
        table.check_same_study(tmp_path, WHOLE, HELLO)


def test_a_row_with_other_settings_is_refused(tmp_path):
    table.check_same_study(tmp_path, WHOLE, HELLO)
    row = dataclasses.replace(made_row(WHOLE, WHOLE.variants[1], RATE, 0, 0, 0.5), settings="0" * 12)
    table.append(tmp_path / table.RUNS, table.COLUMNS, [[getattr(row, name) for name in table.COLUMNS]])
    with pytest.raises(RunError, match="batch-norm seed 0 has other settings than the design"):
        table.check_same_study(tmp_path, WHOLE, HELLO)


def test_comments_and_docstrings_are_not_code():
    one = 'def f(x):\n    """Old words."""\n    return x + 1  # why\n'
    assert table.without_docstrings(one) == table.without_docstrings('def f(x):\n\n    "New."\n    return (x + 1)\n')
    assert table.without_docstrings(one) != table.without_docstrings(one.replace("1", "2"))
