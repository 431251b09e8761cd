"""A run folder of an older version is read in today's names."""

import copy
import dataclasses
import json

import numpy as np
import pytest

from core.run import logs, old_names, run_folder
from core.run.resumed_settings import resumed_settings
from core.settings.command_line import parse
from core.settings.recipes import RECIPES
from core.settings.settings import Settings

TODAY = {"settings": dataclasses.asdict(RECIPES["modern"]), "data": {"title": "shapes10"}}


def config(**settings) -> dict:
    """Today's config with other settings; None removes one."""
    changed = TODAY["settings"] | settings
    return TODAY | {"settings": {name: value for name, value in changed.items() if value is not None}}


def test_a_config_of_today_is_returned_unchanged():
    assert old_names.renamed_config(copy.deepcopy(TODAY)) == TODAY


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"pieces": 4, "micro_batches": None}, {"micro_batches": 4}),
        ({"test_views": True, "test_time_augmentation": None}, {"test_time_augmentation": True}),
        ({"flip": False, "alternating_flip": True}, {"flip": "alternating"}),
        ({"flip": True, "alternating_flip": False}, {"flip": "random"}),
        ({"flip": False, "alternating_flip": False}, {"flip": "none"}),
        ({"flip": True}, {"flip": "random"}),
        ({"flip": None, "alternating_flip": False}, {"flip": "none"}),
        ({"flip": None, "alternating_flip": True}, {"flip": "alternating"}),
        ({"flip": True, "alternating_flip": True}, {"flip": "alternating"}),
        ({"lookahead": False, "overlapping_pools": False, "shift_rate": 1.0}, {}),
        ({"optimizer": "adam", "weight_decay": 0.01}, {"optimizer": "adamw", "weight_decay": 0.01}),
        ({"optimizer": "adam", "weight_decay": 0.0}, {"optimizer": "adam", "weight_decay": 0.0}),
    ],
)
def test_settings_of_older_versions(old, new):
    found = old_names.renamed_config(copy.deepcopy(config(**old)))
    assert found["settings"] == TODAY["settings"] | new


@pytest.mark.parametrize("setting", [{"lookahead": True}, {"overlapping_pools": True}, {"shift_rate": 2.0}])
def test_a_run_that_used_what_was_removed_is_refused_on_a_resume(tmp_path, setting):
    """In one sentence that names the setting; it can still be read."""
    folder = run_folder.create(tmp_path, "old")
    (folder / run_folder.CONFIG).write_text(json.dumps(config(**setting)))
    [name] = setting
    assert run_folder.read_config(folder)["settings"][name] == setting[name]
    with pytest.raises(run_folder.RunError, match=f"another version of this project .see '{name}'"):
        resumed_settings(folder, parse(["--resume"]))


def test_a_run_of_an_older_version_is_read_with_todays_settings(tmp_path):
    folder = run_folder.create(tmp_path, "old")
    old = config(pieces=1, micro_batches=None, flip=False, alternating_flip=True, lookahead=False)
    (folder / run_folder.CONFIG).write_text(json.dumps(old))
    settings = Settings(**run_folder.read_config(folder)["settings"])
    assert settings == dataclasses.replace(RECIPES["modern"], micro_batches=1, flip="alternating")


def test_intervals_were_a_cadence():
    old = TODAY | {"diagnostics": {"cadence": {"norms": 10, "quality": 200}, "cost_seconds": None}}
    found = old_names.renamed_config(copy.deepcopy(old))["diagnostics"]
    assert found == {"intervals": {"norms": 10, "gain_ratio": 200}, "cost_seconds": None}


def test_quantities_of_older_versions_are_read_under_todays_names(tmp_path):
    log = logs.Logs(tmp_path)
    log.layers([(1, "conv1", old.decode(), 0.5) for old in old_names.QUANTITIES])
    log.layers([(2, "conv1", "weight_norm", 1.0)])
    log.close()
    found = logs.read(tmp_path, logs.LAYERS)
    assert found["quantity"].tolist() == [*old_names.QUANTITIES.values(), b"weight_norm"]
    np.testing.assert_array_equal(found["value"], [0.5] * len(old_names.QUANTITIES) + [1.0])
