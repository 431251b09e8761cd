"""What the tests of the essays share: running an essay, and a run folder to show a layer of."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))


@pytest.fixture
def tell(capsys):
    """tell(essay_module, "--run", ...) -> (exit status, standard output, standard error), in this process."""
    from layers_explained.support import walkthrough

    def run(module, *args):
        try:
            status = walkthrough.tell(vars(module), module.figure, module.on_your_network, [str(word) for word in args])
        except SystemExit as left:
            status = left.code
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def script():
    """script("convolution.py", ...) -> the finished process, as a person at a terminal would start it."""

    def run(name, *args, cwd=PROJECT):
        command = [sys.executable, str(PROJECT / "layers_explained" / name), *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)

    return run


@pytest.fixture
def one_line():
    """one_line(err, words...): what stands on standard error is one sentence of an essay that has these words."""

    def check(err, *args):
        assert err.count("\n") == 1 and ".py: " in err and "Traceback" not in err
        for word in args:
            assert word in err

    return check


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory):
    """A runs folder with a run of each network, on shapes10, at its first weights; `classic` is the latest."""
    from core import data, devices
    from core.run import checkpoints

    devices.import_tensorflow()
    from core import model
    from core.run import run_folder

    folder = tmp_path_factory.mktemp("runs")
    for network in ("debug", "modern", "classic"):
        run = run_folder.create(folder, network)
        settings = {"network": network, "data": "shapes10", "data_dir": "", "holdout": False, "seed": 0}
        run_folder.write_config(run, {"settings": settings, "data": {"name": "shapes10", "title": "shapes10"}})
        variables = model.CNN(network, model.NETWORKS[network]()).named_variables
        checkpoints.save(run, 7, {name: variable.numpy() for name, variable in variables.items()}, keep=2)
    load, data.load = data.load, functools.cache(data.load)  # shapes10 takes two seconds to draw: once is enough
    yield folder
    data.load = load
