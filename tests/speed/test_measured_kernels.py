"""The fastest implementation is chosen by measurement, remembered, written into config.json and followed."""

import json
import os

import pytest
import tensorflow as tf
from runner import train_here

from core import build
from core.layers import Convolution, MaxPooling
from core.run import run_folder
from core.settings.recipes import RECIPES
from core.speed import kernels, measured_kernels
from core.speed.convolution import FastConvolution
from core.speed.measured_kernels import MeasuredChoice

NAMES = (kernels.TEXTBOOK, kernels.FAST_GRADIENT)


@pytest.fixture
def measured(monkeypatch):
    """A list of what was measured; the times are those that the test puts into `measured.times`."""

    class Measured(list):
        times = dict.fromkeys(NAMES, 1.0)

    found = Measured()

    def milliseconds(candidates, shape, dtype):
        found.append((shape, dtype.name))
        return {name: found.times.get(name, 9.0) for name in candidates}

    monkeypatch.setattr(measured_kernels, "milliseconds", milliseconds)
    return found


def replaced(choice, size=4):
    layers = [Convolution("conv1", 2, 3), MaxPooling("pool1")]
    return kernels.replace_layers(layers, (size, size, 2), tf.bfloat16, choice), layers


@pytest.mark.parametrize(("fast", "chosen"), [(1.0, True), (1.9, True), (1.92, False), (4.0, False)])
def test_what_is_clearly_faster_replaces_the_textbook_layer(measured, tmp_path, fast, chosen):
    measured.times = dict(zip(NAMES, (2.0, fast)))
    choice = MeasuredChoice(images=8, threads=2, cache=tmp_path / "kernels.json")
    names, layers = replaced(choice)
    assert names == ({"conv1": kernels.FAST_GRADIENT} if chosen else {})
    assert isinstance(layers[0], FastConvolution) == chosen
    assert choice.milliseconds == {"conv1": {"textbook": 2.0, kernels.FAST_GRADIENT: fast}}
    assert measured == [([8, 4, 4, 2], "bfloat16")]


def test_a_second_run_remembers_and_other_sizes_are_measured(measured, tmp_path):
    cache = tmp_path / "new" / "folders" / "kernels.json"
    measured.times = dict(zip(NAMES, (1.0, 0.5)))
    replaced(MeasuredChoice(8, 2, cache))
    measured.times = dict(zip(NAMES, (1.0, 2.0)))  # the machine would decide otherwise now
    assert replaced(MeasuredChoice(8, 2, cache))[0] == {"conv1": kernels.FAST_GRADIENT}
    assert len(measured) == 1
    for choice, size in (
        (MeasuredChoice(9, 2, cache), 4),
        (MeasuredChoice(8, 1, cache), 4),
        (MeasuredChoice(8, 2, cache), 5),
    ):
        assert replaced(choice, size)[0] == {}
    assert len(measured) == 4 and len(json.loads(cache.read_text())) == 4


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 3}', '{"key": {"": "fast"}}', "[" * 5000])
def test_a_damaged_cache_is_an_empty_one(measured, tmp_path, content):
    cache = tmp_path / "kernels.json"
    cache.write_text(content)
    replaced(MeasuredChoice(8, 2, cache))
    assert len(measured) == 1 and len(json.loads(cache.read_text())) == 1


def test_times_that_lack_a_candidate_are_measured_again(measured, tmp_path):
    cache = tmp_path / "kernels.json"
    replaced(MeasuredChoice(8, 2, cache))
    [(key, times)] = json.loads(cache.read_text()).items()
    cache.write_text(json.dumps({key: {"other": times[NAMES[0]]}}))
    replaced(MeasuredChoice(8, 2, cache))
    assert len(measured) == 2 and json.loads(cache.read_text()) == {key: times}


def test_a_user_without_a_home_has_no_cache(measured, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(measured_kernels.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    replaced(MeasuredChoice(8, 2))
    assert len(measured) == 1 and measured_kernels.cache_file().is_relative_to(os.devnull)


def test_a_cache_that_cannot_be_written_is_done_without(measured, tmp_path):
    (tmp_path / "file").write_text("")
    assert replaced(MeasuredChoice(8, 2, tmp_path / "file" / "kernels.json"))[0] == {}


def test_both_passes_are_measured():
    layer = Convolution("conv1", 2, 3)
    fast = kernels.convolutions(layer, (4, 4, 2), None, tf.bfloat16)
    times = measured_kernels.milliseconds(fast, [2, 4, 4, 2], tf.bfloat16)
    assert times.keys() == set(NAMES) and min(times.values()) > 0


def test_the_first_call_does_not_count_and_the_hopeless_are_not_called_again(monkeypatch):
    """The seconds that the calls of three functions take, on a timer of the test's own."""
    takes = {
        "good": [9, 1, 2, 3], "near": [9, 2, 9, 9], "slow at first": [26, 1, 1.5, 1], "hopeless": [28, 1, 1, 1]
    }  # fmt: skip
    seconds, called = [0.0], {name: 0 for name in takes}

    def call(name):
        seconds[0] += takes[name][called[name]]
        called[name] += 1

    monkeypatch.setattr(measured_kernels.time, "perf_counter", lambda: seconds[0])
    found = measured_kernels.median_times({name: lambda name=name: call(name) for name in takes})
    assert found == {"good": 2000.0, "near": 2000.0, "slow at first": 1000.0, "hopeless": 28000.0}
    assert called == {"good": 4, "near": 2, "slow at first": 4, "hopeless": 1}


def test_where_the_times_are_remembered(monkeypatch, tmp_path):
    monkeypatch.setattr(measured_kernels.Path, "home", lambda: tmp_path)
    for variable, folder in ((str(tmp_path / "xdg"), tmp_path / "xdg"), ("", tmp_path / ".cache")):
        monkeypatch.setenv("XDG_CACHE_HOME", variable)
        assert MeasuredChoice(8, 2).cache == folder / "glassbox" / "kernels.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert measured_kernels.cache_file() == tmp_path / ".cache" / "glassbox" / "kernels.json"


def test_one_process_measures_at_a_time(tmp_path):
    fcntl = pytest.importorskip("fcntl", reason="Windows has none")
    with measured_kernels.locked(tmp_path / "kernels.json"):
        lock = open(tmp_path / "kernels.lock")
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.close()


def test_a_run_writes_what_was_chosen_and_a_resume_follows_it(measured, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measured.times = dict(zip(NAMES, (1.0, 0.5)))
    args = ("--recipe", "debug", "--precision", "bfloat16", "--kernels", "auto", "--steps", 6)
    train_here(tmp_path, "chosen", *args, "--stop-at", 3)
    config = run_folder.read_config(tmp_path / "chosen")
    assert config["kernels"]["conv1"] == kernels.FAST_GRADIENT and config["settings"]["kernels"] == "auto"
    assert config["kernel_milliseconds"]["conv1"] == {"textbook": 1.0, kernels.FAST_GRADIENT: 0.5}
    measured.clear()
    (tmp_path / "glassbox" / "kernels.json").unlink()
    assert train_here(tmp_path, "chosen", "--resume")
    assert not measured, "the choice is in config.json"
    network = build.build_network(RECIPES["debug"], stored=config | {"kernels": {}})
    assert network.replaced == {"norm1": "fused"}
