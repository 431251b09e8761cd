"""The settings themselves: ranges stand with their field, and a value from a file is checked like one from a person."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings.settings import GROUPS, Settings, expected, in_words, inside, one_of, shown

FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_is_described(name):
    """A sentence, a group; a range for every number, words or a pattern where a text is not free."""
    accepted = FIELDS[name].metadata
    assert accepted["text"] and accepted["group"] in GROUPS
    assert bool(accepted["interval"]) == (FIELDS[name].type in (int, float))
    assert expected(FIELDS[name].default, FIELDS[name]) == ""


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


def test_a_learning_rate_may_be_a_whole_number():
    assert dataclasses.replace(Settings(), learning_rate=1).problems() == []


@given(st.text())
def test_a_value_is_shown_in_one_short_printable_line(text):
    assert shown(text).isprintable() and len(shown(text)) <= 40


def test_one_of_suggests_the_nearest():
    assert one_of("cifar", ("auto", "cifar10")) == "one of auto, cifar10 (did you mean cifar10?)"
    assert one_of("zzz", ("auto", "cifar10")) == "one of auto, cifar10"
