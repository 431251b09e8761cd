"""The glossary explains every column and quantity that a run writes, and the terms that a reader meets."""

import re

import pytest
import runner
from documents import PROJECT

from core.measure.probes import ACTIVATION_QUANTITIES, LAYER_QUANTITIES
from core.run import logs

TEXT = (PROJECT / "docs" / "glossary.md").read_text()
TERMS = """
epoch, batch, step, loss, logit, softmax, nat, MAC, FLOP, receptive field, filter, kernel, feature map,
stride, padding, pooling, activation, dropout, batch norm, moving average, gradient, backward pass,
vector-Jacobian product, optimizer, momentum, learning rate, schedule, warm-up, weight decay, label smoothing,
augmentation, test-time augmentation, validation set, hold-out, test set, generalization, overfitting,
chance level, calibration, ECE, confusion matrix,
eager, graph, trace, bfloat16, micro-batch, fingerprint, checkpoint, replay, gain ratio, curvature,
gradient noise scale, update ratio, sparsity, dead channel"""


def rows() -> list[list[str]]:
    """The cells of every table row."""
    lines = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [re.split(r" (?<!\\)\| ", line.strip()[2:].removesuffix(" |")) for line in lines]


@pytest.mark.parametrize("term", re.split(r",\s+", TERMS.strip()))
def test_every_term_is_explained(term):
    explained = {part.strip() for row in rows() for part in row[0].split(",")}
    assert term in explained


def test_a_term_is_one_sentence_with_its_code():
    for row in rows():
        if len(row) == 3 and re.fullmatch(r"`[\w/.]+\.py:[\w.]+`", row[2]):
            assert row[1].endswith(".") and not re.search(r"(?<!al)\. ", row[1]), f"not one sentence: {row[:2]}"


@pytest.mark.parametrize("file", logs.COLUMNS)
def test_every_column_is_explained(file):
    section = TEXT[TEXT.index("## The columns") : TEXT.index("## The quantities")]
    assert [column for column in logs.COLUMNS[file] if f"`{column}`" not in section] == []


def test_every_quantity_is_explained(tmp_path):
    runner.train_here(tmp_path, "all", "--steps", 1, "--diagnostics", "full", "--test-time-augmentation")
    section = TEXT[TEXT.index("## The quantities") :]
    written = {name.decode() for name in logs.read(tmp_path / "all", logs.LAYERS)["quantity"].tolist()}
    assert {*LAYER_QUANTITIES, *ACTIVATION_QUANTITIES, "curvature", "test_accuracy_tta"} <= written
    assert sorted(name for name in written if f"`{name}`" not in section) == []
