"""The scaling law: cases by hand, constants counted from the networks, the table it is compared with."""

import dataclasses

import numpy as np
import pytest

from core.settings.recipes import RECIPES
from layers_explained.support import scaling_law, scaling_table
from layers_explained.support.constants import Problem
from layers_explained.support.scaling_law import Cost, Network


def test_a_case_by_hand():
    """A million numbers, 1 MB/s, latency 1 s; 8 s of computation that is divided and 1 s that is not."""
    cost, network = Cost(1_000_000, 8.0, 1.0), Network(1e6, 1.0)
    assert scaling_law.all_reduce_seconds(4, 1_000_000, network) == 2 * 0.75 * 4 + 2 * 3
    assert scaling_law.step_seconds(4, cost, network) == 8 / 4 + 1 + 12
    assert scaling_law.efficiency(4, cost, network) == 9 / (4 * 15) == 9 / (8 + 4 * (1 + 12))
    assert scaling_law.efficiency(1, cost, network) == 1
    np.testing.assert_allclose(scaling_law.efficiency([1, 4], cost, network), [1, 0.15])


def test_the_most_workers():
    free = Network(1e30, 0.0)
    assert scaling_law.most_workers(Cost(1, 1.0), free, most=77) == 77
    assert scaling_law.most_workers(Cost(1, 8.0, 1.0), free) == 10  # 9 / (8 + n) >= 1/2 up to n = 10
    assert scaling_law.most_workers(Cost(10**9, 1e-3), Network(1e6, 1.0)) == 1


def test_muon_by_hand():
    """A kernel of 2 filters over 12 inputs: X X' is 2 x 2: 2 2 2 12 and 2 2 2 2, then with X 2 2 2 12 operations."""
    assert scaling_law.muon_flops([(2, 2, 3, 2)]) == 3 * (96 + 16 + 96)
    assert scaling_law.muon_flops([(1, 1, 2, 12)]) == 3 * (96 + 16 + 96)


@pytest.mark.parametrize("name", scaling_law.RECIPES)
def test_the_constants_of_a_recipe_are_those_of_its_network(name):
    from core.build import build_network

    settings = RECIPES[name]
    network = build_network(dataclasses.replace(settings, kernels="textbook", micro_batches=1))
    shapes = [tuple(parameter.shape) for parameter in network.parameters]
    muon = scaling_law.muon_flops([shape for shape in shapes if len(shape) == 4])
    assert scaling_law.RECIPES[name] == scaling_law.Recipe(
        settings.batch_size, sum(int(np.prod(shape)) for shape in shapes), network.flops(),
        muon if settings.optimizer == "muon" else 0,
    )  # fmt: skip


def test_a_table_is_read_as_it_was_written(tmp_path):
    assert scaling_table.read(tmp_path / "none.csv") is None
    speeds = {1: np.array([10.0, 11.0]), 2: np.array([15.0, 16.5])}
    written = scaling_table.Measured("minute", speeds, Cost(5, 0.25, 0.5), Network(1e9, 1e-4))
    scaling_table.write(written, tmp_path / "deep" / "scaling.csv")
    found = scaling_table.read(tmp_path / "deep" / "scaling.csv")
    assert (found.recipe, found.cost, found.network) == ("minute", written.cost, written.network)
    np.testing.assert_allclose(found.efficiencies()[2], [0.75, 0.75])


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "recipe,workers,round,quantity,value\nx,1,0,parameters,many\n"])
def test_another_file_is_refused_in_a_line(tmp_path, text):
    (tmp_path / "scaling.csv").write_text(text)
    with pytest.raises(Problem, match=r"expected the table of analysis/benchmarks/scaling\.py"):
        scaling_table.read(tmp_path / "scaling.csv")
