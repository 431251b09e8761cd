"""What all tests share: a quiet, deterministic TensorFlow, hypothesis that repeats itself, a little data."""

import pytest
from hypothesis import settings

from core import devices
from core.data import shapes10
from core.data import DataSet

tf = devices.import_tensorflow()
devices.configure(threads=0)
tf.config.experimental.enable_tensor_float_32_execution(False)  # a GPU's three digits would fail honest comparisons

# The same examples in every run: a red test stays red until somebody mends the code. To search
# further: pytest --hypothesis-profile=thorough
settings.register_profile("repeatable", deadline=None, max_examples=25, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def small_data():
    """A shapes10 of 200 pictures to learn from and 100 to be tested on, as many of each class."""
    train, test = shapes10.draw(20, seed=1), shapes10.draw(10, seed=2)
    return DataSet("shapes10", shapes10.CLASSES, *train, *test, fingerprint="small")
