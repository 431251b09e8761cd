"""The fault collection: every known fault is named, clean runs stay clean, and a fault is a change that goes away."""

import ast
import json
import re

import numpy as np
import pytest
from runner import run

from analysis import diagnose
from analysis.diagnosis import definitions, scoring
from analysis.diagnosis.collection import COLLECTION
from analysis.diagnosis.recording import PROJECT, RECORDINGS, short_files
from analysis.support.run import Run
from core import build, model, optimizers, random_streams, schedules
from core.data import batches
from core.layers import BatchNormalization, Dense, ReLU
from core.measure import probes
from core.run import logs, start
from core.settings import command_line, recipes
from core.settings.settings import Settings

FAULTY = [name for name, case in COLLECTION.items() if case.expected]
CLEAN = [name for name in COLLECTION if name not in FAULTY]


@pytest.fixture(scope="module")
def verdicts():
    return {verdict.name: verdict for verdict in scoring.verdicts(RECORDINGS)}


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_among_the_first_two_findings(verdicts, name):
    first = [finding.id for finding in verdicts[name].findings[:2]]
    assert set(first) & set(COLLECTION[name].expected), f"{name}: {first}"


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_run_gets_no_red_finding_and_at_most_one_amber(verdicts, name):
    assert [finding.severity for finding in verdicts[name].findings] in ([], ["amber"])
    assert ": clean" in diagnose.headline(Run(RECORDINGS / name), diagnose.diagnose(Run(RECORDINGS / name)))


def test_the_score_over_the_collection(verdicts):
    table = scoring.score(list(verdicts.values()))
    print(f"\n{table}")  # pytest -s shows it
    assert f"recall     {len(FAULTY)} of {len(FAULTY)} faults" in table
    assert "| NO " not in table


def test_the_page_has_a_section_for_every_finding_and_the_score_as_it_is(verdicts):
    page = (PROJECT / "docs" / "diagnostics.md").read_text()
    assert [name for name in diagnose.RANKING if f"\n### {name}\n" not in page] == []
    table, summary = scoring.score(list(verdicts.values())).split("\n\n")
    table_file = (RECORDINGS / "README.md").read_text()
    assert table in table_file, "faults.py --score prints another table: put it into tests/faults/README.md"
    assert summary in table_file
    [row] = [line for line in page.splitlines() if line.startswith("| the first")]
    assert re.findall(r"\d+ of \d+", row) == published(summary)


def published(summary: str) -> list[str]:
    """The five fractions of a score: named, silent, right causes, clean runs with red, with red or amber."""
    fractions = re.findall(r"\d+ of \d+", summary)
    red, clean = re.search(r"red on (\d+), red or amber on \d+ of (\d+)", summary).groups()
    return [*fractions[:3], f"{red} of {clean}", fractions[3]]


def test_a_definition_is_what_is_computed():
    def dumped(code: str) -> str:
        return ast.dump(definitions.WithoutErrstate().visit(ast.parse(code)))

    assert dumped("with np.errstate(all='ignore'):\n    x = 1  # why\n    y = x") == dumped("x = 1\ny = x")
    assert dumped("with np.errstate(all='ignore'):\n    x = 2") != dumped("x = 1")
    assert dumped("with tf.device('cpu'):\n    x = 1") != dumped("x = 1")


def test_a_wrong_diagnosis_lowers_the_score(verdicts):
    swapped = [
        scoring.Verdict("blamed", (), verdicts["zero-init"].findings),
        scoring.Verdict("missed", ("leak",), verdicts["zero-init"].findings),
    ]
    table = scoring.score(swapped)
    assert "recall     0 of 1 faults" in table
    assert "0 of 2 causes" in table and table.count("| NO ") == 2


def test_the_recordings_are_of_todays_definitions(tmp_path):
    """A quantity that is defined otherwise than when it was recorded asks for recordings made again."""
    again = "defined otherwise since: record again with `python analysis/diagnosis/faults.py --out DIR`"
    assert definitions.outdated(RECORDINGS) == [], again
    definitions.write(tmp_path)
    assert definitions.outdated(tmp_path) == []
    file = tmp_path / definitions.FILE
    file.write_text(file.read_text().replace(definitions.definitions()["core/losses.py: correct"], "another"))
    assert definitions.outdated(tmp_path) == ["core/losses.py: correct"]
    assert len(definitions.outdated(tmp_path / "nowhere")) == len(definitions.definitions())


def test_a_docstring_is_no_part_of_a_definition(tmp_path):
    (tmp_path / "a.py").write_text('X, Y = 1, 2\n\n\ndef f(x):\n    """One."""\n    return x + 1  # more\n')
    (tmp_path / "b.py").write_text("X, Y = 1, 2\ndef f(x):\n    return x + 1\n")
    (tmp_path / "c.py").write_text("X, Y = 1, 2\ndef f(x):\n    return x + 2\n")
    a, b, c = (ast.dump(definitions.found(tmp_path / name, ("f", "Y"))["f"]) for name in ("a.py", "b.py", "c.py"))
    assert a == b != c


def test_wilson_by_hand():
    """0 of 30: the upper end is z^2 / (n + z^2) = 3.8416 / 33.8416; 15 of 30 is symmetric."""
    assert scoring.wilson(0, 30) == pytest.approx((0, 0.11352), abs=1e-5)
    low, high = scoring.wilson(15, 30)
    assert low + high == pytest.approx(1) and low == pytest.approx(0.3315, abs=1e-4)


def test_recordings_are_small_and_tell_nothing_about_the_machine_they_were_made_on():
    files = [path for path in RECORDINGS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3.5e6
    for name in COLLECTION:
        config = json.loads((RECORDINGS / name / "config.json").read_text())
        assert config["settings"]["data_dir"] == ""
        assert not [value for value in config.values() if isinstance(value, str) and value.startswith("/")]


@pytest.mark.parametrize("name", COLLECTION)
def test_a_recording_is_read_in_todays_names(name):
    """Its settings are settings of today that can be run, and its quantities are those that the detectors ask for."""
    recorded = Run(RECORDINGS / name)
    assert Settings(**recorded.config["settings"]).problems() == []
    for quantity in ("first_order_change", "sparsity", "activation_std"):
        assert recorded.table(quantity).values.size


@pytest.mark.parametrize("name", COLLECTION)
def test_every_run_of_the_collection_can_be_started(name):
    settings = command_line.parse(COLLECTION[name].args.split()).settings  # exits if an argument is wrong
    assert (settings.kernels, settings.micro_batches) == ("textbook", 1)


@pytest.mark.parametrize(
    "name", ["frozen-step-counter", "class-missing", "batch-norm-in-training-mode", "softmax-twice", "zero-init"]
)
def test_a_fault_made_again_on_other_data_gets_the_same_name(tmp_path, name):
    recipe = COLLECTION[name].args.split()[1]
    lengths = {"softmax-twice": ["--epochs", "12", "--learning-rate", "0.5"]}.get(name, ["--epochs", "2"])
    args = ["--recipe", "debug", "--no-eager", "--data", "shapes10", "--batch-size", "100", *lengths]
    assert recipe in ("classic", "debug")
    run("analysis/diagnosis/faults.py", name, "--out", tmp_path, "--args", *args)
    first = [finding.id for finding in diagnose.findings(Run(tmp_path / name))[:2]]
    assert set(first) & set(COLLECTION[name].expected), first


def patched():
    """Everything that a fault of the collection replaces."""
    return (
        start.load, schedules.warmup_then_decay, batches.Batches.indices, recipes.RECIPES["classic"],
        random_streams.normal, build.build_network, model.CNN.__call__, optimizers.Adam.updates,
        optimizers.SGD.updates, BatchNormalization.__call__, ReLU.__call__, Dense.__call__, id(batches.MEAN),
    )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FAULTY if name != "adam-with-the-rate-of-sgd"])  # a setting
def test_a_change_is_there_in_its_context_and_gone_after_it(name):
    before = patched()
    with COLLECTION[name].change():
        assert sum(a != b for a, b in zip(before, patched())) == 1
    assert patched() == before


def test_files_are_short_in_their_context_only():
    before = logs.written, probes.DENSE_START
    with short_files():
        assert logs.written(1 / 3) == "0.333333" and logs.written("conv1") == "conv1" and probes.DENSE_START == 20
    assert (logs.written, probes.DENSE_START) == before


def changed(monkeypatch, data, name):
    """What the training with this fault gets instead of `data`."""
    monkeypatch.setattr(start, "load", lambda *arguments: data)
    with COLLECTION[name].change():
        return start.load("any", "", False)


def test_shuffled_labels_are_the_same_labels_of_other_images(monkeypatch, small_data):
    faulty = changed(monkeypatch, small_data, "labels-shuffled")
    assert np.array_equal(np.bincount(faulty.train_labels), np.bincount(small_data.train_labels))
    assert (faulty.train_labels == small_data.train_labels).mean() < 0.2
    assert faulty.train_images is small_data.train_images


def test_leaked_images_are_in_both_sets(monkeypatch, small_data):
    faulty = changed(monkeypatch, small_data, "test-leaked")
    assert len(faulty.train_images) == len(faulty.train_labels) == 300
    assert np.array_equal(faulty.train_images[-100:], small_data.test_images)


def test_a_missing_class_is_missing_in_training_only(monkeypatch, small_data):
    faulty = changed(monkeypatch, small_data, "class-missing")
    assert np.array_equal(np.bincount(faulty.train_labels, minlength=10), [20, 20, 20, 0, 20, 20, 20, 20, 20, 20])
    assert faulty.test_labels is small_data.test_labels


@pytest.mark.parametrize(("args", "status"), [(["no-shufling"], 2), (["--score", "--out", "nowhere"], 1)])
def test_a_mistake_gets_one_line(args, status):
    assert run("analysis/diagnosis/faults.py", *args, status=status).stderr.count("\n") == 1


def test_the_list_tells_what_is_wrong_with_each():
    listed = run("analysis/diagnosis/faults.py", "--list").stdout
    assert len(listed.splitlines()) == len(COLLECTION)
    assert "no-shuffling" in listed and "clean-classic" in listed
