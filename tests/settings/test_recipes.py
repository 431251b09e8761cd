"""The recipes: valid, reachable by name, with numbers that are pinned: a changed recipe is a decision."""

import dataclasses

import pytest

from core.settings.command_line import parse
from core.settings.recipes import OPTIMIZER_DEFAULTS, RECIPES
from core.settings.settings import OPTIMIZERS, Settings

# What each recipe sets, beside the defaults.
PINNED = {
    "classic": {},
    "modern": {
        "network": "modern", "epochs": 12, "batch_size": 125, "learning_rate": 0.1, "warmup": 0.2,
        "label_smoothing": 0.1, "flip": "alternating", "crop": 2,
    },
    "debug": {
        "network": "debug", "data": "shapes10", "epochs": 1, "steps": 20, "batch_size": 8, "learning_rate": 0.01,
        "weight_decay": 0.0, "precision": "float32", "eager": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_valid_and_is_what_its_name_gives(name):
    recipe = RECIPES[name]
    assert recipe.recipe == name and recipe.problems() == []
    invocation = parse(["--recipe", name])
    assert invocation.settings == recipe and invocation.given == ("recipe",)


@pytest.mark.parametrize("name", PINNED)
def test_the_numbers_of_a_recipe(name):
    default = dataclasses.asdict(Settings())
    changed = {key: value for key, value in dataclasses.asdict(RECIPES[name]).items() if value != default[key]}
    changed.pop("recipe", None)
    assert changed == PINNED[name]


def test_the_numbers_of_the_default_recipe():
    classic = RECIPES["classic"]
    found = (classic.epochs, classic.batch_size, classic.learning_rate, classic.momentum, classic.weight_decay)
    assert found == (7, 100, 0.04, 0.9, 1e-3)
    assert (classic.warmup, classic.final_rate, classic.flip, classic.crop) == (0.1, 0.0, "none", 0)


def test_the_speed_recipes_share_their_parts():
    minute, five, fast = (RECIPES[name] for name in ("minute", "five", "fast"))
    of_each = ("recipe", "network", "epochs", "batch_size", "micro_batches", "final_rate", "weight_average")
    shared = [
        {key: value for key, value in dataclasses.asdict(recipe).items() if key not in of_each}
        for recipe in (minute, five, fast)
    ]
    assert shared[0] == shared[1] == shared[2]
    assert [recipe.network for recipe in (minute, five, fast)] == ["speed64", "speed192", "airbench94"]
    assert all(recipe.micro_batches > 1 for recipe in (minute, five, fast)), "no machine may choose: batch norm"


def test_every_optimizer_has_its_defaults():
    assert set(OPTIMIZER_DEFAULTS) == set(OPTIMIZERS)
    defaults = Settings()
    assert OPTIMIZER_DEFAULTS["sgd"] == {
        "learning_rate": defaults.learning_rate, "weight_decay": defaults.weight_decay
    }  # fmt: skip
