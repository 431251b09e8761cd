"""What all tests share: a quiet, deterministic TensorFlow, hypothesis that repeats itself, a little data, one run."""

import os
import sys
import tempfile

import pytest
from hypothesis import settings

from core import devices
from core.data import DataSet, shapes10

tf = devices.import_tensorflow()
# What --kernels auto measures here, beside other tests, is worth nothing to the runs of the person at this machine.
CACHE = tempfile.TemporaryDirectory(prefix="glassbox-cache-")
os.environ["XDG_CACHE_HOME"] = CACHE.name
# One thread for each operation, so that pytest's worker processes (Makefile) do not compete for the processors; two
# operations at once, so that micro-batches can overtake each other; four devices, of which tests/test_replicas.py takes
# two. A run with --threads 1 has the same bits.
devices.configure(threads=2, micro_batches=2, devices=4)
tf.config.experimental.enable_tensor_float_32_execution(False)  # a GPU's three digits would fail honest comparisons
# The optimizer of graphs takes a third of a short run; the runs in processes of their own have it.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

from core.run import start

# The same examples in every run: a red test stays red until somebody mends the code. To search
# further: pytest --hypothesis-profile=thorough
settings.register_profile("repeatable", deadline=None, max_examples=25, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("repeatable")

SHORT = ("--epochs", 3, "--checkpoint-every", 7, "--weight-average", 0.75)  # 60 steps, the last 45 averaged


@pytest.fixture(scope="session", autouse=True)
def one_process():
    """Runs in this process share its TensorFlow, which is configured above: that can only be done once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start.devices, "configure", lambda threads, micro_batches=1, devices=1: None)
        yield


@pytest.fixture(autouse=True)
def no_open_figures():
    """A test may look at a figure after it was saved. It is closed here: matplotlib warns at the twenty-first open one,
    and which tests share a process depends on the machine."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def small_data():
    """A shapes10 of 200 training images and 100 test images, as many of each class."""
    train, test = shapes10.draw(20, seed=1), shapes10.draw(10, seed=2)
    return DataSet("shapes10", shapes10.CLASSES, *train, *test, fingerprint="small")


@pytest.fixture(scope="session")
def straight(tmp_path_factory, one_process):
    """The folder of three epochs without an interruption. Read only: many tests compare their run with it."""
    from runner import train_here

    runs_dir = tmp_path_factory.mktemp("straight")
    train_here(runs_dir, "straight", *SHORT)
    return runs_dir / "straight"
