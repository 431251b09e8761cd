"""The run folder: made once, found by name, path or not at all, held by one process."""

import dataclasses
import json
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from made_folders import made

from core.run import logs, run_folder
from core.settings.command_line import parse
from core.settings.recipes import RECIPES


def test_found_by_name_by_path_and_as_the_latest(tmp_path):
    one, two = made(tmp_path, "one"), made(tmp_path, "two")
    assert run_folder.find("one", tmp_path) == one and run_folder.find(str(one), tmp_path / "elsewhere") == one
    assert run_folder.find(None, tmp_path) == two == tmp_path / "two"
    made(tmp_path, "three-shapes10")
    assert run_folder.find("three", tmp_path).name == "three-shapes10", "it fell back on the built-in data"


def test_latest_without_links(tmp_path, monkeypatch):
    """Where the system has no symbolic links, latest is a file that holds the name."""
    monkeypatch.setattr(run_folder.Path, "symlink_to", lambda *a, **k: (_ for _ in ()).throw(OSError("no links here")))
    made(tmp_path, "one")
    assert (tmp_path / "latest").is_file() and run_folder.find(None, tmp_path).name == "one"


@pytest.mark.parametrize("links", [True, False])
def test_the_latest_run_is_gone(tmp_path, monkeypatch, links):
    if not links:
        no_links = lambda *a, **k: (_ for _ in ()).throw(OSError("no links here"))  # noqa: E731
        monkeypatch.setattr(run_folder.Path, "symlink_to", no_links)
    for age, name in enumerate("cfbeda"):
        os.utime(made(tmp_path, name) / run_folder.CONFIG, (1e9 + age, 1e9 + age))
    first = made(tmp_path, "first")
    (first / run_folder.CONFIG).unlink()
    with pytest.raises(run_folder.RunError, match=r"latest points to 'first', which has no config.json; name one of"):
        run_folder.find(None, tmp_path)
    first.rename(tmp_path / "of-no-run")
    sentence = f"{tmp_path / 'latest'} points to 'first', which is gone; name one of: a, d, e, b, f"
    with pytest.raises(run_folder.RunError, match=f"^{re.escape(sentence)}$"):
        run_folder.find(None, tmp_path)
    (tmp_path / "latest").unlink()
    with pytest.raises(run_folder.RunError, match=r"latest is missing; name one of: a, d, e, b, f$"):
        run_folder.find(None, tmp_path)


def test_what_is_not_there_gets_a_sentence(tmp_path):
    with pytest.raises(run_folder.RunError, match="no run there yet; train one with"):
        run_folder.find(None, tmp_path)
    with pytest.raises(run_folder.RunError, match=r"nobody: no such run .* holds no run yet"):
        run_folder.find("nobody", tmp_path)
    made(tmp_path, "one")
    with pytest.raises(run_folder.RunError, match=r"holds one$"):
        run_folder.find("nobody", tmp_path)
    for name in "gfedcba":
        made(tmp_path, name)
    with pytest.raises(run_folder.RunError, match=r"holds d, e, f, g, one$"):
        run_folder.find("nobody", tmp_path)
    with pytest.raises(run_folder.RunError, match=r"config.json: missing; a run folder has a config.json"):
        run_folder.read_config(tmp_path)


def test_a_name_is_used_once(tmp_path):
    made(tmp_path, "one")
    with pytest.raises(run_folder.RunError, match="exists; choose another name"):
        run_folder.create(tmp_path, "one")
    run_folder.check_free(tmp_path, "two")
    run_folder.check_free(tmp_path, "")  # no name was given: the run gets one that is free


def test_the_folder_of_all_runs_is_made_with_the_first_one(tmp_path):
    assert run_folder.create(tmp_path / "all" / "runs", "one") == tmp_path / "all" / "runs" / "one"
    assert (tmp_path / "all" / "runs" / "one").is_dir()


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
    """Whatever the last process left in the file: it holds the name of this one."""
    folder = made(tmp_path, "one")
    for left in ("", "process 123456789012", None):
        if left is not None:
            (folder / run_folder.LOCK).write_text(left)
        with run_folder.held(folder):
            with pytest.raises(run_folder.RunError, match=f"one: process {os.getpid()} is training in it; wait for it"):
                with run_folder.held(folder):
                    pass
            assert (folder / run_folder.LOCK).read_text() == f"process {os.getpid()}"


def test_a_holder_that_has_not_written_its_name_yet(tmp_path):
    folder = made(tmp_path, "one")
    with run_folder.held(folder):
        (folder / run_folder.LOCK).write_text("")
        with pytest.raises(run_folder.RunError, match="one: another process is training in it"):
            with run_folder.held(folder):
                pass


# A run that was killed before it began.


@pytest.mark.parametrize("left", [[], [".lock"], [".lock", "config.json.partial"]])
def test_a_run_that_was_killed_before_it_began_can_begin_again(tmp_path, left):
    """Killed between making its folder and its config.json: there is nothing to resume and nothing to lose."""
    folder = tmp_path / "one"
    folder.mkdir()
    for name in left:
        (folder / name).write_text("half")
    assert run_folder.never_began(folder)
    run_folder.check_free(tmp_path, "one")
    with pytest.raises(run_folder.RunError, match="one: no such run"):
        run_folder.find("one", tmp_path)
    assert made(tmp_path, "one") == folder and run_folder.find("one", tmp_path) == folder
    assert not run_folder.never_began(folder)


@pytest.mark.parametrize("name", [run_folder.CONFIG, logs.STEPS, "checkpoints", "notes.txt"])
def test_a_folder_that_holds_anything_else_is_not_taken(tmp_path, name):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / name).touch()
    with pytest.raises(
        run_folder.RunError, match=f"one exists{'; ' if name == run_folder.CONFIG else ' and is no run '}"
    ):
        run_folder.create(tmp_path, "one")
    (tmp_path / "file").touch()
    with pytest.raises(run_folder.RunError, match="exists"):
        run_folder.create(tmp_path, "file")


def test_runs_of_the_same_second_have_names_of_their_own(tmp_path):
    """Nobody gave the name: a number behind it. A name that was given stays as it is, or is refused."""
    for expected in ("classic-1", "classic-1-2", "classic-1-3"):
        assert run_folder.create(tmp_path, "classic-1", given=False).name == expected
    assert run_folder.create(tmp_path, "classic-1") == tmp_path / "classic-1", "nothing is in it yet"
    (tmp_path / "classic-1" / run_folder.CONFIG).touch()
    with pytest.raises(run_folder.RunError, match=r"--run classic-1: .* exists; choose another name, or continue it"):
        run_folder.create(tmp_path, "classic-1")


def test_a_folder_where_the_link_to_the_latest_run_should_be(tmp_path):
    """As a copy makes it that follows links: said before a run is begun."""
    (tmp_path / "latest").mkdir()
    with pytest.raises(
        run_folder.RunError, match=r"latest: it is a folder, where the link .* should be; rename or rem"
    ):
        run_folder.check_free(tmp_path, "one")


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_run_that_is_a_link_has_its_own_name(tmp_path):
    """Moved to a larger disk; only `latest` is followed."""
    made(tmp_path / "elsewhere", "other")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one").symlink_to(tmp_path / "elsewhere" / "other")
    run_folder.point_latest(tmp_path / "runs", "one")
    for name in (None, "latest", "one"):
        assert run_folder.find(name, tmp_path / "runs") == tmp_path / "runs" / "one"
    (tmp_path / "runs" / "latest").unlink()
    (tmp_path / "runs" / "latest").symlink_to(tmp_path / "elsewhere" / "other")  # by hand
    assert run_folder.find(None, tmp_path / "runs") == tmp_path / "elsewhere" / "other"
    (tmp_path / "runs" / "latest").unlink()
    (tmp_path / "runs" / "latest").write_text("one")  # as where there are no links
    assert run_folder.find(None, tmp_path / "runs") == tmp_path / "runs" / "one"


def test_a_run_by_its_path_has_a_name(tmp_path, monkeypatch):
    folder = made(tmp_path, "one")
    monkeypatch.chdir(folder)
    assert run_folder.find(".") == folder and run_folder.find("../one").name == "one"


def test_a_latest_that_is_no_text(tmp_path):
    (tmp_path / "latest").write_bytes(b"one\xff")
    with pytest.raises(run_folder.RunError, match="no run there yet"):
        run_folder.find(None, tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(run_folder.RunError, match=r"--runs-dir .*file: cannot make .*; name another place"):
        run_folder.create(tmp_path / "file", "one")


def test_a_config_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = made(tmp_path, "one")
    before = (folder / run_folder.CONFIG).read_bytes()
    monkeypatch.setattr(run_folder.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        run_folder.write_config(folder, {"settings": "others"})
    assert (folder / run_folder.CONFIG).read_bytes() == before


def test_a_config_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    synced, replace = [], os.replace

    def replace_it(partial, path):
        assert synced == [os.path.getsize(partial)] and synced[0] > 0
        replace(partial, path)

    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    monkeypatch.setattr(os, "replace", replace_it)
    run_folder.write_config(tmp_path, {"settings": {}})
    assert json.loads((tmp_path / run_folder.CONFIG).read_text()) == {"settings": {}}


def test_what_config_json_says_of_a_new_run(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder.time, "strftime", lambda form: f"now as {form}")
    settings = dataclasses.replace(RECIPES["debug"], data="auto", precision="bfloat16")
    data = SimpleNamespace(
        name="shapes10", title="shapes10, hold-out", fingerprint="abc", class_names=("disk", "ring"),
        train_images=np.zeros((5, 1)), test_images=np.zeros((3, 1)),
    )  # fmt: skip
    network = SimpleNamespace(
        parameter_count=12, flops=lambda: 34, architecture=[{"kind": "dense"}], replaced={"conv1": "fast"},
        kernel_milliseconds={"conv1": 0.5},
    )  # fmt: skip
    found = run_folder.describe(tmp_path / "mine", settings, data, network, {"train_class_counts": [2, 3]})
    assert found == {
        "run": "mine",
        "started": "now as %Y-%m-%d %H:%M:%S",
        "settings": dataclasses.asdict(RECIPES["debug"]) | {"data": "shapes10", "precision": "bfloat16"},
        "data": {
            "name": "shapes10", "title": "shapes10, hold-out", "fingerprint": "abc", "train_images": 5,
            "test_images": 3, "class_names": ["disk", "ring"], "train_class_counts": [2, 3],
        },
        "precision": "bfloat16",
        "parameter_count": 12,
        "forward_flops_per_image": 34,
        "architecture": [{"kind": "dense"}],
        "kernels": {"conv1": "fast"},
        "kernel_milliseconds": {"conv1": 0.5},
    }  # fmt: skip
