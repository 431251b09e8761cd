"""The recipes: valid, reachable by name, with numbers that are pinned: a changed recipe is a decision."""

import dataclasses

import pytest

from core.settings.command_line import parse
from core.settings.recipes import OPTIMIZER_DEFAULTS, RECIPES
from core.settings.settings import OPTIMIZERS, Settings

# What each recipe sets, beside the defaults.
SPEED = {
    "activation": "gelu", "optimizer": "muon", "learning_rate": 2.0, "muon_rate": 0.14, "momentum": 0.65,
    "warmup": 0.0, "label_smoothing": 0.2, "flip": "alternating", "crop": 2, "test_time_augmentation": True,
}  # fmt: skip
PINNED = {
    "classic": {},
    "modern": {
        "network": "modern", "epochs": 12, "batch_size": 125, "learning_rate": 0.1, "warmup": 0.2,
        "label_smoothing": 0.1, "flip": "alternating", "crop": 2,
    },
    "minute": {"network": "speed64", "epochs": 3, "batch_size": 500, "micro_batches": 4, "final_rate": 0.07, **SPEED},
    "five": {"network": "speed192", "epochs": 6, "batch_size": 1000, "micro_batches": 8, **SPEED},
    "fast": {
        "network": "airbench94", "epochs": 8, "batch_size": 1000, "micro_batches": 8, "weight_average": 0.2, **SPEED,
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


@pytest.mark.parametrize("name", RECIPES)
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


def test_every_optimizer_has_its_defaults():
    assert set(OPTIMIZER_DEFAULTS) == set(OPTIMIZERS)
    defaults = Settings()
    found = {name: tuple(default.values()) for name, default in OPTIMIZER_DEFAULTS.items()}
    sgd = (defaults.learning_rate, defaults.weight_decay)
    assert found == {"sgd": sgd, "adam": (1e-3, 0.0), "adamw": (1e-3, 0.01), "muon": (2.0, 1e-3)}
