"""What the tests of the walkthroughs share: running one, and a run folder to show a layer of."""

import copy
import dataclasses
import functools
import importlib
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import runner
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))
WALKTHROUGHS = sorted(path.stem for path in (PROJECT / "layers_explained").glob("[a-z]*.py"))


def module_of(name):
    """layers_explained.<name>."""
    return importlib.import_module(f"layers_explained.{name}")


def pytest_generate_tests(metafunc):
    """A test with the argument `walkthrough` runs once for each of them: it gets the module."""
    if "walkthrough" in metafunc.fixturenames:
        metafunc.parametrize("walkthrough", WALKTHROUGHS, indirect=True)


@pytest.fixture
def walkthrough(request):
    """The module of one walkthrough."""
    return module_of(request.param)


@pytest.fixture
def main(capsys):
    """main(module, "--run", ...) -> (exit status, standard output, standard error), in this process."""

    def run(module, *args):
        try:
            status = module.WALKTHROUGH.main([str(arg) for arg in args])
        except SystemExit as exit_:
            status = exit_.code
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def printed(capsys):
    """printed(module, "by_hand") -> what that section prints."""

    def run(module, section):
        capsys.readouterr()
        module.WALKTHROUGH.sections[section][1]()
        return capsys.readouterr().out

    return run


@pytest.fixture
def script():
    """script("convolution.py", ...) -> (exit status, standard output, standard error) of a process of its own."""

    def run(name, *args, cwd=PROJECT):
        process = runner.started(f"layers_explained/{name}", *args, cwd=cwd)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    return run


@pytest.fixture
def one_line():
    """one_line(err, words...): standard error is one line of a walkthrough that holds these words."""

    def check(err, *words):
        assert err.count("\n") == 1 and ".py: " in err and "Traceback" not in err
        for word in words:
            assert word in err

    return check


@pytest.fixture
def check_figure(monkeypatch):
    """check_figure(figure): 16:9, no text under 2.5 % of the height, none outside, none on another."""

    def check(figure):
        width, height = figure.get_size_inches()
        assert width / height == pytest.approx(16 / 9)
        drawn, draw = [], Text.draw
        monkeypatch.setattr(Text, "draw", lambda text, renderer: (drawn.append(text), draw(text, renderer)))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        monkeypatch.setattr(Text, "draw", draw)
        boxes = {}
        for text in drawn:
            if text.get_visible() and text.get_text().strip() and id(text) not in boxes:
                boxes[id(text)] = text.get_text(), text.get_window_extent(canvas.get_renderer())
                assert text.get_fontsize() >= 0.025 * 72 * height, text.get_text()
        for name, box in boxes.values():
            assert min(box.x0, box.y0) > -1 and box.x1 < figure.bbox.x1 + 1 and box.y1 < figure.bbox.y1 + 1, name
        for (one, a), (other, b) in itertools.combinations(boxes.values(), 2):
            across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert across < 2 or down < 3, f"{one!r} lies on {other!r}"

    return check


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory):
    """A runs folder with a run of each kind of network, on shapes10, untrained; `classic` is the latest.

    `older` is an older version's debug network, `gone` one with a network that exists no more. `kept` has its
    architecture in config.json, and `odd` one that was edited.
    """
    from core import data, devices

    devices.import_tensorflow()
    from core.build import build_network, build_optimizer
    from core.run import checkpoints, run_folder
    from core.settings.recipes import RECIPES

    folder, architecture = tmp_path_factory.mktemp("runs"), None
    for recipe in ("minute", "modern", "debug", "classic"):
        settings = dataclasses.replace(RECIPES[recipe], data="shapes10", precision="float32")
        run = run_folder.create(folder, recipe)
        run_folder.write_config(run, {"settings": vars(settings), "data": {"name": "shapes10", "title": "shapes10"}})
        network = build_network(settings)
        architecture = network.architecture if recipe == "debug" else architecture
        tensors = {name: variable.numpy() for name, variable in network.named_variables.items()}
        names = [name for name, variable in network.named_variables.items() if variable.trainable]
        for kind, variables in build_optimizer(settings, network.parameters).state().items():
            tensors |= {f"{kind}/{name}": variable.numpy() + 0.01 for name, variable in zip(names, variables)}
        checkpoints.save(run, 7, tensors, keep=2)
    for name, network, change in (
        ("older", "debug", "conv1/kernel"), ("gone", "speed128", None), ("kept", "debug", None), ("odd", "debug", None),
    ):  # fmt: skip
        run = run_folder.create(folder, name)
        config = {"settings": {"network": network, "data": "shapes10"}, "data": {"name": "shapes10", "title": "x"}}
        if name in ("kept", "odd"):
            config["architecture"] = copy.deepcopy(architecture)
            config["architecture"][0] |= {"odd": 1} if name == "odd" else {}
        run_folder.write_config(run, config)
        tensors = checkpoints.newest(folder / "debug").tensors
        checkpoints.save(run, 7, {**tensors, **({change: np.zeros([5, 5, 3, 8])} if change else {})}, keep=1)
    run_folder.point_latest(folder, "classic")
    load, data.load = data.load, functools.cache(data.load)  # shapes10 takes two seconds to draw: once is enough
    yield folder
    data.load = load
