"""The answer key: what the diagnoses must say of runs whose illness is known, and nothing bad of healthy ones."""

import json

import numpy as np
import pytest
from runner import run

import train_loop
from analysis import diagnose
from analysis.diagnosis import faults
from analysis.diagnosis.detectors import DETECTORS
from analysis.support.run import Run
from core.data import batches

ILL = [name for name, specimen in faults.ZOO.items() if specimen.expected]
HEALTHY = [name for name in faults.ZOO if name not in ILL]


@pytest.fixture(scope="module")
def verdicts():
    return {verdict.name: verdict for verdict in faults.verdicts(faults.HOME)}


@pytest.mark.parametrize("name", ILL)
def test_an_illness_is_among_the_first_two_findings(verdicts, name):
    first = [finding.id for finding in verdicts[name].findings[:2]]
    assert set(first) & set(faults.ZOO[name].expected), f"{name}: {first}"


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_gets_no_red_finding_and_at_most_one_amber(verdicts, name):
    assert [finding.severity for finding in verdicts[name].findings] in ([], ["amber"])


def test_the_score_over_the_zoo(verdicts):
    table = faults.score(list(verdicts.values()))
    print(f"\n{table}")  # pytest -s shows it
    assert f"recall     {len(ILL)} of {len(ILL)} illnesses" in table
    assert "| NO " not in table


def test_the_page_has_a_section_for_every_finding_and_the_table_as_it_is(verdicts):
    page = (faults.PROJECT / "docs" / "diagnostics.md").read_text()
    assert [name for name in DETECTORS if f"\n## {name}\n" not in page] == []
    table, summary = faults.score(list(verdicts.values())).split("\n\n")
    assert table in page, "python analysis/zoo.py --score prints another table: put it into docs/diagnostics.md"
    assert summary in page


def test_a_wrong_answer_lowers_the_score(verdicts):
    swapped = [
        faults.Verdict("blamed", (), verdicts["zero-start"].findings),
        faults.Verdict("missed", ("leak",), verdicts["zero-start"].findings),
    ]
    table = faults.score(swapped)
    assert "recall     0 of 1 illnesses" in table
    assert "0 of 2 causes" in table and table.count("| NO ") == 2


def test_recordings_are_small_and_say_nothing_about_the_machine_they_were_made_on():
    files = [path for path in faults.HOME.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2.5e6
    for name in faults.ZOO:
        config = json.loads((faults.HOME / name / "config.json").read_text())
        assert config["settings"]["data_dir"] == ""
        assert not [value for value in config.values() if isinstance(value, str) and value.startswith("/")]


@pytest.mark.parametrize("name", ["clock-frozen", "class-missing"])
def test_an_illness_made_again_on_other_data_gets_the_same_name(tmp_path, name):
    args = "--recipe debug --no-eager --data shapes10 --batch-size 500 --epochs 2".split()
    run("analysis/zoo.py", name, "--out", tmp_path, "--words", *args)
    first = [finding.id for finding in diagnose.findings(Run(tmp_path / name))[:2]]
    assert set(first) & set(faults.ZOO[name].expected), first


@pytest.mark.parametrize("name", ILL)
def test_a_change_is_gone_when_its_context_is_left(name):
    before = train_loop.load_data, train_loop.warmup_then_decay, batches.Batches.indices, faults.recipes.RECIPES["classic"]
    with faults.ZOO[name].change():
        pass
    after = train_loop.load_data, train_loop.warmup_then_decay, batches.Batches.indices, faults.recipes.RECIPES["classic"]
    assert after == before


def changed(monkeypatch, data, name):
    """What the specimen's training gets instead of `data`."""
    monkeypatch.setattr(train_loop, "load_data", lambda *where: data)
    with faults.ZOO[name].change():
        return train_loop.load_data("any", "", False)


def test_shuffled_labels_are_the_same_labels_of_other_pictures(monkeypatch, small_data):
    ill = changed(monkeypatch, small_data, "labels-shuffled")
    assert np.array_equal(np.bincount(ill.train_labels), np.bincount(small_data.train_labels))
    assert (ill.train_labels == small_data.train_labels).mean() < 0.2
    assert ill.train_images is small_data.train_images


def test_leaked_pictures_are_in_both_sets(monkeypatch, small_data):
    ill = changed(monkeypatch, small_data, "test-leaked")
    assert len(ill.train_images) == len(ill.train_labels) == 300
    assert np.array_equal(ill.train_images[-100:], small_data.test_images)


def test_a_missing_class_is_missing_in_training_only(monkeypatch, small_data):
    ill = changed(monkeypatch, small_data, "class-missing")
    assert np.array_equal(np.bincount(ill.train_labels, minlength=10), [20, 20, 20, 0, 20, 20, 20, 20, 20, 20])
    assert ill.test_labels is small_data.test_labels


@pytest.mark.parametrize(("args", "status"), [(["no-shufling"], 2), (["--score", "--out", "nowhere"], 1)])
def test_a_wrong_word_is_answered_in_one_line(args, status):
    assert run("analysis/zoo.py", *args, status=status).stderr.count("\n") == 1


def test_the_list_says_what_is_wrong_with_each():
    listed = run("analysis/zoo.py", "--list").stdout
    assert len(listed.splitlines()) == len(faults.ZOO)
    assert "no-shuffling" in listed and "healthy-classic" in listed
