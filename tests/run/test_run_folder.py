"""The run folder: made once, found by name, path or not at all, held by one process."""

import json
from types import SimpleNamespace

import pytest

from core.run import run_folder
from core.settings.command_line import parse
from core.settings.recipes import RECIPES
from core.settings.settings import Settings


def made(runs_dir, name, **config):
    """A run folder with a minimal config.json."""
    folder = run_folder.create(runs_dir, name)
    settings = {field: getattr(RECIPES["debug"], field) for field in Settings.__dataclass_fields__}
    run_folder.write_config(folder, {"run": name, "settings": settings, "data": {"title": "shapes10"}} | config)
    return folder


def test_found_by_name_by_path_and_as_the_latest(tmp_path):
    one, two = made(tmp_path, "one"), made(tmp_path, "two")
    assert run_folder.find("one", tmp_path) == one and run_folder.find(str(one), tmp_path / "elsewhere") == one
    assert run_folder.find(None, tmp_path).name == "two" == two.name
    made(tmp_path, "three-shapes10")
    assert run_folder.find("three", tmp_path).name == "three-shapes10", "it fell back on the built-in data"


def test_latest_without_links(tmp_path, monkeypatch):
    """Where the system has no symbolic links, latest is a file that holds the name."""
    monkeypatch.setattr(run_folder.Path, "symlink_to", lambda *a, **k: (_ for _ in ()).throw(OSError("no links here")))
    made(tmp_path, "one")
    assert (tmp_path / "latest").is_file() and run_folder.find(None, tmp_path).name == "one"


def test_what_is_not_there_gets_a_sentence(tmp_path):
    with pytest.raises(run_folder.RunError, match="no run there yet; train one with"):
        run_folder.find(None, tmp_path)
    with pytest.raises(run_folder.RunError, match=r"nobody: no such run .* holds no run yet"):
        run_folder.find("nobody", tmp_path)
    made(tmp_path, "one")
    with pytest.raises(run_folder.RunError, match=r"holds one$"):
        run_folder.find("nobody", tmp_path)


def test_a_name_is_used_once(tmp_path):
    made(tmp_path, "one")
    with pytest.raises(run_folder.RunError, match="exists; choose another name"):
        run_folder.create(tmp_path, "one")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"settings": {}, "data": {}}', '"text"'])
def test_a_config_that_is_not_one(tmp_path, content):
    folder = made(tmp_path, "one")
    (folder / run_folder.CONFIG).write_text(content)
    with pytest.raises(run_folder.RunError, match="not the description of a run"):
        run_folder.read_config(folder)


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "x" * 65, "latest", "né", "a b", "a\n"])
def test_no_name_leaves_the_runs_folder(name, capsys):
    if not name:
        return  # the default name
    with pytest.raises(SystemExit) as stopped:
        parse(["--run", name])
    assert stopped.value.code == 2 and "expected 1 to 64 letters" in capsys.readouterr().err


def test_names():
    drawn = SimpleNamespace(name="shapes10", notice="")
    fallen_back = SimpleNamespace(name="shapes10", notice="no network")
    real = SimpleNamespace(name="cifar10", notice="")
    assert run_folder.name_for("mine", "classic", real) == run_folder.name_for("mine", "classic", drawn) == "mine"
    assert run_folder.name_for("mine", "classic", fallen_back) == "mine-shapes10"
    assert run_folder.name_for("", "classic", drawn).startswith("classic-shapes10-2")
    assert run_folder.name_for("", "modern", real).startswith("modern-2")


def test_one_process_at_a_time_and_the_lock_goes_with_it(tmp_path):
    folder = made(tmp_path, "one")
    with run_folder.held(folder):
        with pytest.raises(run_folder.RunError, match=r"process \d+ is training in it"):
            with run_folder.held(folder):
                pass
    with run_folder.held(folder):
        pass


def test_a_run_keeps_its_settings(tmp_path):
    folder = made(tmp_path, "one")
    assert run_folder.resumed_settings(folder, parse(["--resume"])) == RECIPES["debug"]
    assert run_folder.resumed_settings(folder, parse(["--resume", "--data-dir", "elsewhere"])).data_dir == "elsewhere"
    with pytest.raises(run_folder.RunError, match=r"--batch-size 9: .* was started with 8"):
        run_folder.resumed_settings(folder, parse(["--resume", "--batch-size", "9"]))


def test_a_config_of_another_version_or_an_edited_one(tmp_path):
    folder = made(tmp_path, "one")
    config = run_folder.read_config(folder)
    (folder / run_folder.CONFIG).write_text(json.dumps(config | {"settings": config["settings"] | {"fashion": 1}}))
    with pytest.raises(run_folder.RunError, match=r"another version of this project .see 'fashion'"):
        run_folder.resumed_settings(folder, parse(["--resume"]))
    (folder / run_folder.CONFIG).write_text(json.dumps(config | {"settings": config["settings"] | {"epochs": 0}}))
    with pytest.raises(run_folder.RunError, match="--epochs 0: expected at least 1; was it edited"):
        run_folder.resumed_settings(folder, parse(["--resume"]))
