"""Throughput: the peer computes the same network, and the script measures and writes what it says."""

import csv
import re

import numpy as np
import pytest
from runner import run

from analysis import peers
from core import model
from core.batches import standardize
from core.recipes import RECIPES


@pytest.mark.parametrize("recipe", ["classic", "modern", "debug"])
def test_keras_twin_is_the_same_network(recipe, small_data):
    network = model.build(RECIPES[recipe])
    twin = peers.keras_twin(network)
    images = standardize(small_data.test_images[:8])
    np.testing.assert_allclose(
        twin(images, training=False), network.logits(images, training=False), rtol=1e-4, atol=1e-5
    )
    assert twin.count_params() == sum(np.prod(variable.shape) for variable in network.named_variables.values())


def test_the_script_measures_in_turn_and_writes_table_rows_and_bars(tmp_path):
    done = run(
        "analysis/throughput.py", "--recipe", "debug", "--data", "shapes10", "--steps", 5, "--rounds", 1,
        "--out", tmp_path / "t.png",
    )  # fmt: skip
    assert re.search(r"this loop +[\d,]+", done.stdout) and re.search(r"Keras fit +[\d,]+ .* x \(", done.stdout)
    rows = list(csv.DictReader(open(tmp_path / "t.csv")))
    assert [row["who"] for row in rows] == ["this loop", "Keras fit", "Keras fit, jit_compile=False"]
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    assert (tmp_path / "t.png").stat().st_size > 5_000
