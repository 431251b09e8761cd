"""What the variants of the study cost: by hand, and the published table is that of the networks."""

import pytest
import tensorflow as tf
from networks_to_test import build_network

from analysis.benchmarks import study_costs
from analysis.study_parts.design import WHOLE
from core.run.errors import RunError
from core.settings.settings import PLAIN_SETTINGS


def built(variant):
    settings = variant.settings(WHOLE)
    return build_network("plain", activation=settings.activation, **{n: getattr(settings, n) for n in PLAIN_SETTINGS})


def test_the_receptive_field_by_hand():
    """Three 3x3 convolutions with 2x2 pooling: 3, 4, 8, 10, 18, 22; with stride 2: 3, 3 + 2 * 2, 7 + 2 * 4."""
    found = {v.name: study_costs.receptive_field(built(v)) for v in WHOLE.variants}
    assert found["base"] == 22 and found["stride"] == 15 and found["kernel-1"] == 8
    assert found["kernel-5"] == 32  # 36, and the image has 32


def test_the_published_table_is_that_of_the_networks():
    rows = study_costs.read(study_costs.FOLDER / "study_variants.csv")
    assert [row["variant"] for row in rows] == [variant.name for variant in WHOLE.variants]
    for row, variant in zip(rows, WHOLE.variants):
        network = built(variant)
        assert (row["parameters"], row["flops"]) == (network.parameter_count, network.flops()), row["variant"]
        assert row["receptive_field"] == study_costs.receptive_field(network) and row["step_ms"] > 0
    assert (study_costs.FOLDER / "study_variants.md").read_text() == study_costs.table(rows)


def test_milliseconds_are_the_median_after_the_warm_up():
    numbers = []

    def step(number):
        numbers.append(int(number))
        return {"loss": tf.constant(1.0)}, {}

    assert 0 < study_costs.milliseconds(step, 5, 4) < 100
    assert numbers == list(range(5, 5 + study_costs.WARM_UP + 4))


def test_another_file_is_one_line(tmp_path):
    (tmp_path / "it.csv").write_text("variant,steps\nbase,1\n")
    with pytest.raises(RunError, match=r"it.csv: not a table of study_costs.py"):
        study_costs.read(tmp_path / "it.csv")
