"""The settings themselves: ranges stand with their field, and a value from a file is checked like one from a person."""

import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings.settings import GROUPS, Settings, expected, in_words, inside, one_of, shown, train_images

FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_is_described(name):
    """A sentence, a group; a range for every number, words or a pattern where a text is not free."""
    accepted = FIELDS[name].metadata
    assert accepted["text"] and accepted["group"] in GROUPS
    assert bool(accepted["interval"]) == (FIELDS[name].type in (int, float))
    assert expected(FIELDS[name].default, FIELDS[name]) == ""


def test_every_default_and_range_is_written_down_a_second_time():
    """tests/settings/defaults.txt: a number that changed by mistake is found, one that was changed is changed twice."""
    written = []
    for name, field in FIELDS.items():
        accepted = field.metadata["interval"] or field.metadata["pattern"] or " ".join(field.metadata["choices"])
        written.append(f"{name:<24} {str(field.default) or '-':<10} {accepted}".rstrip())
    pinned = (Path(__file__).parent / "defaults.txt").read_text().splitlines()
    found = "\n".join(sorted(set(written) ^ {line for line in pinned if not line.startswith("#")}))
    assert not found, f"not what tests/settings/defaults.txt says; if that was meant, change it there:\n{found}"


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().epochs = 3


def test_how_many_training_images_there_are():
    assert [train_images("cifar10", holdout) for holdout in (False, True)] == [50_000, 45_000]
    assert [train_images("shapes10", holdout) for holdout in (False, True)] == [10_000, 9_000]


CONTRADICTIONS = [
    ({"micro_batches": 9, "batch_size": 8}, "--micro-batches 9: expected at most --batch-size 8"),
    ({"devices": 3}, "--devices 3: expected a number that divides --batch-size 100"),
    (
        {"devices": 2, "micro_batches": 3},
        "--devices 2: expected a number that divides --micro-batches 3; with --micro-batches 2 batch "
        "norm, if there is one, normalizes each device's images by themselves",
    ),
    (
        {"devices": 2, "network": "modern"},
        "--devices 2: expected a number that divides --micro-batches 1; with --micro-batches 2 batch "
        "norm, if there is one, normalizes each device's images by themselves",
    ),
    (
        {"diagnostics": "off", "diagnostics_budget": 5.0},
        "--diagnostics off and --diagnostics-budget 5: give only one of them",
    ),
    ({"optimizer": "adam"}, "--weight-decay 0.001: adam has none; use --optimizer adamw"),
    ({"holdout": True, "train_images": 45_001}, "--train-images 45001: more than the 45,000 that there are"),
    (
        {"train_images": 99},
        "--batch-size 100: larger than the 99 training images there are",
    ),
    (
        {"data": "shapes10", "batch_size": 10_001},
        "--batch-size 10001: larger than the 10,000 training images there are",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "sentence"), CONTRADICTIONS, ids=[" ".join(given) for given, _ in CONTRADICTIONS])
def test_settings_that_contradict_each_other(given, sentence):
    assert dataclasses.replace(Settings(), **given).problems() == [sentence]


@pytest.mark.parametrize(
    "given",
    [
        {"micro_batches": 8, "batch_size": 8},
        {"devices": 2},
        {"network": "modern"},
        {"devices": 2, "network": "modern", "micro_batches": 2},
        {"diagnostics": "off"},
        {"diagnostics_budget": 5.0},
        {"optimizer": "adam", "weight_decay": 0.0},
        {"optimizer": "adamw"},
        {"train_images": 50_000},
        {"holdout": True, "train_images": 45_000},
        {"train_images": 100},
        {"batch_size": 50_000},
        {"data": "shapes10", "batch_size": 10_000},
    ],
    ids=str,
)
def test_settings_at_the_edge_of_a_contradiction(given):
    assert dataclasses.replace(Settings(), **given).problems() == []


@pytest.mark.parametrize(
    ("interval", "inside_it", "outside"),
    [
        ("[0, 1)", [0, 0.5, 0.999], [-1e-9, 1, 2, math.nan]),
        ("(0, 1e9]", [1e-300, 1, 1e9], [0, -1, 1e9 + 1, math.inf, math.nan]),
        ("[1, 100000]", [1, 100_000], [0, 100_001]),
    ],
)
def test_intervals(interval, inside_it, outside):
    assert all(inside(value, interval) for value in inside_it)
    assert not any(inside(value, interval) for value in outside)


def test_intervals_in_words():
    assert in_words("[1, 100000]", "a whole number") == "a whole number, 1 to 100000"
    assert in_words("[0, 1)", "a number") == "a number in [0, 1)"


WRONG_TYPES = {
    "epochs": [None, True, 2.0, "7", [7], math.nan],
    "learning_rate": [None, True, "0.1", math.nan, math.inf, {}],
    "eager": [None, 0, 1, "yes"],
    "data": [None, 5, True, "cifar", ["cifar10"]],
    "data_dir": [None, 5, "a\nb"],
    "device": [None, "gpu:", "gpu:x", "cpu:0", "gpu\n"],
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_a_value_of_another_type_is_one_sentence(name):
    """As an edited config.json may hold it."""
    for value in WRONG_TYPES[name]:
        problems = dataclasses.replace(Settings(), **{name: value}).problems()
        assert len(problems) == 1 and problems[0].startswith(f"--{name.replace('_', '-')} ")
        assert ": expected " in problems[0] and problems[0].isprintable()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"epochs": 2.0}, "--epochs 2.0: expected a whole number, 1 to 100000"),
        ({"learning_rate": "0.1"}, "--learning-rate 0.1: expected a number in (0, 1e9]"),
        ({"eager": 1}, "--eager 1: expected true or false"),
        ({"data_dir": 5}, "--data-dir 5: expected text"),
        ({"data_dir": "a\nb"}, "--data-dir 'a\\nb': expected printable text on one line"),
        ({"device": "gpu:"}, "--device gpu:: expected auto, cpu, gpu or gpu:K"),
        ({"flip": "random "}, "--flip random : expected one of none, random, alternating (did you mean random?)"),
    ],
    ids=str,
)
def test_what_was_expected_instead(given, sentence):
    assert dataclasses.replace(Settings(), **given).problems() == [sentence]


def test_a_learning_rate_may_be_a_whole_number():
    assert dataclasses.replace(Settings(), learning_rate=1).problems() == []


@given(st.text())
def test_a_value_is_shown_in_one_short_printable_line(text):
    assert shown(text).isprintable() and len(shown(text)) <= 40


def test_a_value_is_shown_whole_where_it_fits():
    assert [shown("x" * n) for n in (40, 41)] == ["x" * 40, "x" * 37 + "..."]
    assert shown(7) == "7" and shown("a\nb") == "'a\\nb'"


def test_one_of_suggests_the_nearest():
    assert one_of("cifar", ("auto", "cifar10")) == "one of auto, cifar10 (did you mean cifar10?)"
    assert one_of("zzz", ("auto", "cifar10")) == "one of auto, cifar10"
