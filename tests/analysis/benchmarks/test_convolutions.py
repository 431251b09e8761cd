"""Convolutions by themselves: a row for each learned one, and the mark behind what the loop takes."""

import re
from dataclasses import replace

import tensorflow as tf
from runner import run

from analysis.benchmarks import convolutions
from core import build
from core.settings.recipes import RECIPES

SCRIPT = "analysis/benchmarks/convolutions.py"


def test_each_learned_convolution_gets_its_row():
    done = run(SCRIPT, "--recipe", "minute", "--batch-size", 4, "--precision", "bfloat16")
    head, _, *rows = done.stdout.splitlines()
    assert head.startswith("minute, batches of 4, bfloat16")
    assert [row.split()[0] for row in rows] == ["conv1a", "conv1b", "conv2a", "conv2b", "conv3a", "conv3b"]
    assert all(len(re.findall(r"\d\.\d", row)) == (6 if row.split()[0].endswith("a") else 4) for row in rows)
    assert all(row.count("<") == (2 if row.split()[0].endswith("a") else 1) for row in rows)


def test_the_convolutions_are_those_of_the_network_and_the_edge_is_where_a_pooling_drops_it():
    settings = replace(RECIPES["minute"], kernels="fast", precision="bfloat16", micro_batches=1)
    found = list(convolutions.learned_convolutions(build.build_network(settings)))
    assert [(layer.name, shape[0], drops) for layer, shape, drops in found] == [
        ("conv1a", 31, True), ("conv1b", 15, False), ("conv2a", 15, True), ("conv2b", 7, False),
        ("conv3a", 7, True), ("conv3b", 3, False),
    ]  # fmt: skip
    classic = list(convolutions.learned_convolutions(build.build_network(RECIPES["classic"])))
    assert [(layer.name, drops) for layer, _, drops in classic] == [
        ("conv1", False),
        ("conv2", False),
        ("conv3", False),
    ]


def test_the_functions_take_turns():
    order = []

    def counted(name):
        def function():
            tf.py_function(lambda: order.append(name), [], [])
            return tf.constant(1.0)

        return function

    found = convolutions.milliseconds({"a": counted("a"), "b": counted("b")})
    assert set(found) == {"a", "b"} and all(value > 0 for value in found.values())
    assert order == ["a", "b"] * (1 + convolutions.TIMES)


def test_a_wrong_argument_is_answered_in_a_line():
    done = run(SCRIPT, "--batch-size", "many", status=2)
    assert "--batch-size many: expected a whole number" in done.stderr
