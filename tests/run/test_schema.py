"""What may stand in config.json and in the CSV files: a wrong value is one line with file, field and both values."""

import copy
import json
import random

import numpy as np
import pytest

from core.run import logs, run_folder, schema
from core.run.errors import LogError, RunError

CONFIG = {
    "run": "it", "steps_per_epoch": 100, "total_steps": 700, "precision": "float32", "git_commit": None,
    "settings": {"recipe": "classic", "holdout": False, "batch_size": 100, "learning_rate": 0.04, "epochs": 7},
    "data": {"title": "shapes10", "test_images": 100, "class_names": ["disk", "ring"], "train_class_counts": [5, 5]},
    "diagnostics": {"intervals": {"norms": 10}, "cost_seconds": None}, "kernels": {"conv1": "fast"},
}  # fmt: skip


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def edited(field: str, value) -> dict:
    """CONFIG with another value at `field`, "settings.epochs"."""
    config = copy.deepcopy(CONFIG)
    *path, last = field.split(".")
    inside = config
    for key in path:
        inside = inside[key]
    inside[last] = value
    return config


def test_what_a_run_writes_passes():
    schema.check_config("config.json", CONFIG)
    schema.check_config("config.json", edited("settings.flip", True))  # an older version's
    schema.check_config("config.json", edited("settings.pieces", 4))
    schema.check_config("config.json", edited("diagnostics", None))
    schema.check_config("config.json", {"settings": {}, "data": {"title": "a run of which little is known"}})


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"a\x1b[31m.b": 1}, "expected a printable name"),
        ({"kernels": {"\x1b[31m.conv": "fast"}}, "expected a printable name"),
        ({"kernels": {"conv.1": [1]}}, "field kernels.conv.1: expected text, found a list of 1"),
        ({"settings": {"a.b": [{}]}}, "field settings.a.b: expected a number, a text, true or false"),
    ],
)
def test_a_name_with_a_dot_is_checked_like_any_other(more, sentence):
    with pytest.raises(RunError, match=sentence):
        schema.check_config("config.json", CONFIG | more)


@pytest.mark.parametrize(
    "field, value",
    [
        ("total_steps", 1),
        ("total_steps", 10**10),
        ("data.train_class_counts", [0, 10**10]),
        ("setup_seconds", 0),
        ("setup_seconds", 2.5),
        ("setup_seconds", 1e30),
        ("settings.unknown", 0.5),
        ("settings.unknown", True),
        ("settings.unknown", "text"),
        ("settings.flip", False),
        ("something_new", "x" * 4_096),
        ("something_new", {"x" * 4_096: 1}),
        ("something_new", ""),
        ("something_new", json.loads(nested(15))),
        ("something_new", json.loads("[" * 15 + "1" + "]" * 15)),
    ],
)
def test_the_last_value_that_is_accepted(field, value):
    schema.check_config("config.json", edited(field, value))


@pytest.mark.parametrize(
    "field, value, sentence",
    [
        ("settings.epochs", None, "settings.epochs: expected a whole number, 1 to 100000, found null"),
        ("settings.epochs", True, "settings.epochs: expected a whole number, 1 to 100000, found true"),
        ("settings.pieces", "four", "settings.pieces: expected a whole number, 0 to 64, found four"),
        ("settings.learning_rate", float("nan"), "settings.learning_rate: expected a number in .*, found nan"),
        ("settings.holdout", 1, "settings.holdout: expected true or false, found 1"),
        ("settings.recipe", "a\x1b[31m", r"settings.recipe: expected printable text on one line, found 'a\\x1b\[31m'"),
        ("settings.unknown", float("nan"), "settings.unknown: expected a number, a text, true or false, found nan"),
        ("settings.unknown", "a\nb", r"settings.unknown: expected a number, a text, true or false, found 'a\\nb'"),
        ("settings.unknown", None, "settings.unknown: expected a number, a text, true or false, found null"),
        ("settings.unknown", [1], "settings.unknown: expected a number, a text, true or false, found a list of 1"),
        ("settings", None, r"settings: expected an object \{...\}, found null"),
        ("data", [], r"data: expected an object \{...\}, found a list of 0"),
        ("data.title", 7, "data.title: expected text, found 7"),
        ("data.title", "two\nlines", r"data.title: expected printable text, found 'two\\nlines'"),
        ("data.class_names", ["disk", None], r"data.class_names\[\]: expected text, found null"),
        ("data.class_names", {}, r"data.class_names: expected a list \[...\], found an object of 0"),
        ("data.test_images", 0, "data.test_images: expected a whole number, 1 to 10000000000, found 0"),
        ("data.train_class_counts", [1.5], r"data.train_class_counts\[\]: expected a whole number"),
        ("data.test_images", True, "data.test_images: expected a whole number, 1 to 10000000000, found true"),
        ("data.train_class_counts", [-1], r"data.train_class_counts\[\]: expected a whole number, 0 to 10000000000"),
        ("total_steps", 10**10 + 1, "total_steps: expected a whole number, 1 to 10000000000, found 10000000001"),
        ("total_steps", False, "total_steps: expected a whole number, 1 to 10000000000, found false"),
        ("total_steps", "", "total_steps: expected a whole number, 1 to 10000000000, found an empty text"),
        ("setup_seconds", True, "setup_seconds: expected a number, 0 to 1e30, found true"),
        ("setup_seconds", -0.5, "setup_seconds: expected a number, 0 to 1e30, found -0.5"),
        ("setup_seconds", "fast", "setup_seconds: expected a number, 0 to 1e30, found fast"),
        ("setup_seconds", float("nan"), "setup_seconds: expected a number, 0 to 1e30, found nan"),
        ("diagnostics", "light", r"diagnostics: expected an object \{...\}, found light"),
        ("kernels", None, r"kernels: expected an object \{...\}, found null"),
        ("total_steps", "700", "total_steps: expected a whole number, 1 to 10000000000, found 700"),
        ("steps_per_epoch", 10**30, "steps_per_epoch: expected a whole number"),
        ("diagnostics.intervals", {"norms": -1}, "diagnostics.intervals.norms: expected a whole number"),
        ("something_new", float("inf"), "something_new: expected a finite number, found inf"),
        ("something_new", {"a\nb": 1}, r"something_new.a\\nb'?: expected a printable name"),
        ("something_new", {"x" * 4_097: 1}, "something_new.x.*: expected a printable name"),
        ("something_new", "x" * 4_097, "something_new: expected printable text, found xxx"),
        ("something_new", json.loads(nested(100)), ".*: expected at most 16 levels"),
        ("something_new", json.loads(nested(16)), ".*: expected at most 16 levels"),
        ("something_new", json.loads("[" * 16 + "1" + "]" * 16), ".*: expected at most 16 levels"),
    ],
)
def test_every_wrong_field_gets_one_line(field, value, sentence):
    with pytest.raises(
        RunError, match=f"^runs/it/config.json: not the description of a run: field '?{sentence}"
    ) as error:
        schema.check_config("runs/it/config.json", edited(field, value))
    assert str(error.value).isprintable() and str(error.value).endswith("; was it edited or cut short?")


@pytest.mark.parametrize(
    "config, sentence",
    [
        (None, "expected an object {...}, found null"),
        (True, "expected an object {...}, found true"),
        (1, "expected an object {...}, found 1"),
        ("text", "expected an object {...}, found text"),
        ([], "expected an object {...}, found a list of 0"),
        ({}, "field settings is missing"),
        ({"settings": {}}, "field data is missing"),
        ({"settings": {}, "data": {}}, "field data.title is missing"),
    ],
)
def test_what_is_no_run_at_all(config, sentence):
    with pytest.raises(RunError) as error:
        schema.check_config("config.json", config)
    assert str(error.value) == (f"config.json: not the description of a run: {sentence}; was it edited or cut short?")


def table(**columns) -> dict:
    return {name: np.array(values) for name, values in columns.items()}


@pytest.mark.parametrize(
    "columns, sentence",
    [
        (table(step=[1, 2, -3]), "line 4: step: expected a whole number, 0 to 10000000000, found -3"),
        (table(step=[1, 2 * 10**18]), "line 3: step: expected a whole number, 0 to 10000000000, found 2e.18"),
        (table(step=[1], true_class=[99999]), "line 2: true_class: expected a whole number, 0 to 999, found 99999"),
        (table(test_accuracy=[0.5, 1.5]), "line 3: test_accuracy: expected a number, 0 to 1, found 1.5"),
        (table(accuracy=[np.nan]), "line 2: accuracy: expected a number, 0 to 1, found nan"),
        (table(loss=[np.inf, np.nan, -1.0]), "line 4: loss: expected a number, 0 to inf, found -1"),
        (table(learning_rate=[np.inf]), "line 2: learning_rate: expected a number"),
        (table(layer=[b"conv1", b"\xff\xfe"]), r"line 3: layer: expected printable text, found \\xff\\xfe"),
        (table(layer=[b"conv1", b"a\x1b[1m"]), r"line 3: layer: expected printable text, found 'a\\x1b\[1m'"),
        (table(step=[10**10, 10**10 + 1]), "line 3: step: expected a whole number, 0 to 10000000000, found 1e.10"),
        (table(predicted_class=[999, 1000]), "line 3: predicted_class: expected a whole number, 0 to 999, found 1000"),
        (table(test_accuracy=[0, 1.0001]), "line 3: test_accuracy: expected a number, 0 to 1, found 1.0001"),
        (table(test_calibration_error=[np.nan, 2]), "line 3: test_calibration_error: expected a number, 0 to 1, found"),
        (table(probe_seconds=[0, 1e30, np.nan]), "line 4: probe_seconds: expected a number, 0 to 1e30, found nan"),
        (table(layer=[b"conv1", b"a\x01"]), r"line 3: layer: expected printable text, found 'a\\x01'"),
        (table(layer=[b"conv1", b"\x1f"]), r"line 3: layer: expected printable text, found '\\x1f'"),
        (table(layer=[b"a b~", b"a\x7f"]), r"line 3: layer: expected printable text, found 'a\\x7f'"),
        (table(layer=[b"conv1", b"\xc2\x80"]), r"line 3: layer: expected printable text, found '\\x80'"),
        (table(layer=[b"conv1", b"\x00b"]), r"line 3: layer: expected printable text, found '\\x00b'"),
        (table(layer=[b"conv1", b"abc\x00e"]), r"line 3: layer: expected printable text, found 'abc\\x00e'"),
        (table(layer=[b"", b"conv1"]), "line 2: layer: expected printable text, found"),
        (table(quantity=[b"a\x00b"]), "line 2: quantity: expected printable text"),
    ],
)
def test_every_wrong_cell_gets_one_line(columns, sentence):
    with pytest.raises(LogError, match=f"^it.csv {sentence}.*; was it edited") as error:
        schema.check_table("it.csv", "it.csv", columns)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
@pytest.mark.parametrize("bad, found", [(b"", ""), (b"\xff", r"\xff"), (b"\x1b", r"'\x1b'")])
def test_text_is_checked_to_the_last_row_in_parts_of_any_size(monkeypatch, rows, bad, found):
    monkeypatch.setattr(schema, "TEXT_ROWS", rows)
    schema.check_table("it.csv", "it.csv", table(layer=[b"conv1"] * 7))
    for wrong in range(7):
        layer = [b"conv1"] * 7
        layer[wrong] = bad
        with pytest.raises(LogError) as error:
            schema.check_table("it.csv", "it.csv", table(layer=layer))
        assert str(error.value) == (
            f"it.csv line {wrong + 2}: layer: expected printable text, found {found}; was it edited?"
        )


def test_what_a_run_may_write_passes():
    schema.check_table("it", "it", table(count=[0, 10**10], predicted_class=[0, 999], elapsed_seconds=[0, 1e30]))
    schema.check_table("it", "it", table(train_accuracy=[1 + 1e-7], true_class=[0], layer=[b"a"]))
    lost = [2.3, np.nan, np.inf]
    schema.check_table("it", "it", table(step=[1, 2, 3], loss=lost, gradient_norm=lost, accuracy=[0, 0.5, 1]))
    schema.check_table(
        "it", "it", table(test_loss=lost, test_calibration_error=[0, 1, np.nan], value=[-1e300, np.nan, 0])
    )
    schema.check_table("it", "it", table(layer=[b"conv1", "größe".encode()], count=[0, 10_000]))
    schema.check_table("it", "it", {"layer": np.empty(0, "S1"), "step": np.empty(0, np.int64)})


# ---------------------------------------------------------------------------- as a reader meets it


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder with config.json and the first rows of every CSV file."""
    folder = run_folder.create(tmp_path_factory.mktemp("runs"), "it")
    run_folder.write_config(folder, CONFIG)
    rows = {
        logs.STEPS: [(1, 1, 2.3, 0.1, 0.04, 1.5), (2, 1, 2.2, 0.2, 0.04, 1.4)],
        logs.EPOCHS: [(1, 2, 2.1, 0.3, 2.2, 0.2, 0.01, 0.02)],
        logs.LAYERS: [(0, "conv1", "sparsity", 0.5), (1, "conv1", "gradient_norm", 1e-3)],
        logs.PREDICTIONS: [(2, i, j, 25) for i in (0, 1) for j in (0, 1)],
        logs.TIMING: [(1, 0.01, 0.01, 0.0), (2, 0.01, 0.02, 0.0)],
    }
    log = logs.Logs(folder)
    for name, of in rows.items():
        for row in of:
            log.append(name, row)
    log.close()
    return folder


def test_a_config_nested_3000_deep_is_one_line(recorded, tmp_path):
    (tmp_path / run_folder.CONFIG).write_text(nested(3_000))
    with pytest.raises(RunError, match="not the description of a run"):
        run_folder.read_config(tmp_path)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """One change such as editors, disks and strangers make: a byte, a cell, a line, a stretch."""
    cells = (b"", b"nan", b"-1", b"9" * 20, b"99999", b"1e400", b"\xff", b"\x1b[31m", b"\x00", b"null", b"true", b'"',
             b"{", b"[[[[", b"0x10", "２".encode(), b"1_0", b"inf", b"\n", b",", b"1.5")  # fmt: skip
    begin = draw.randrange(len(content))
    end = min(begin + draw.choice((0, 1, 1, 3, 10, 100)), len(content))
    return content[:begin] + draw.choice(cells) + content[end:]


@pytest.mark.parametrize("name", [run_folder.CONFIG, *logs.COLUMNS])
def test_whatever_is_changed_is_read_or_refused_in_one_line(recorded, tmp_path, name):
    """2,000 random changes of each file, drawn from a fixed seed."""
    draw, content, refused = random.Random(18), (recorded / name).read_bytes(), 0
    for _ in range(2_000):
        (tmp_path / name).write_bytes(mutated(content, draw))
        try:
            run_folder.read_config(tmp_path) if name == run_folder.CONFIG else logs.read(tmp_path, name)
        except (RunError, LogError) as error:
            refused += 1
            assert "\n" not in str(error) and "\x1b" not in str(error)
    assert refused > 500
