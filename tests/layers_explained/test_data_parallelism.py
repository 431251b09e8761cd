"""The walkthrough of data parallelism: the hand case, the ring and TensorFlow's bits, sentences that follow numbers."""

import os
import re

import numpy as np
import pytest
import runner

from core.run import launch
from layers_explained import data_parallelism
from layers_explained.support import all_reduce, per_replica, scaling_law, scaling_table

SCRIPT = "tests/layers_explained/all_reduce_of_three.py"


def made(replicas, count, seed=0):
    """Numbers of very different sizes: the order in which they are added decides the last bits."""
    random = np.random.default_rng(seed)
    return (random.standard_normal([replicas, count]) * 10 ** random.uniform(-3, 3, [replicas, count])).astype(
        "float32"
    )


def test_the_case_done_by_hand(printed):
    out = printed(data_parallelism, "by_hand")
    assert "(2 + 0.5) / 2 = 1.25;  of the whole batch: 1.25;  equal: True" in out
    assert "both go on with w = 1.375; without the all-reduce with 1 and 1.75, 0.75 apart" in out
    assert [line.split()[-3:] for line in out.splitlines()].count(["111", "222", "333"]) == 3
    assert "every row is the sum of all rows: True" in out and "sent 4 messages: 2 (n-1)/n P = 4 numbers" in out


def test_the_sentences_about_the_hand_case_are_computed(printed, monkeypatch):
    monkeypatch.setattr(data_parallelism, "HAND_T", [[2, 2, 2, 2]])
    assert "(2 + 18) / 2 = 10;  of the whole batch: 10" in printed(data_parallelism, "by_hand")
    right = data_parallelism.ring_numpy
    broken = lambda g, **how: right(g, **how) + (how.get("spreading") == 2)  # noqa: E731
    monkeypatch.setattr(data_parallelism, "ring_numpy", broken)
    assert "every row is the sum of all rows: False" in printed(data_parallelism, "by_hand")


@pytest.mark.parametrize(("replicas", "count"), [(2, 40), (3, 1), (3, 10), (3, 17), (3, 300), (4, 1001), (4, 356_810)])
def test_the_ring_has_the_bits_of_tensorflow(replicas, count):
    given = made(replicas, count)
    found = all_reduce.on_devices(given)
    np.testing.assert_array_equal(data_parallelism.ring_numpy(given).view("uint32"), found.view("uint32"))
    if count < 2000:
        np.testing.assert_array_equal(data_parallelism.ring_loops(given).view("uint32"), found.view("uint32"))
        if replicas > 2 and count > 16:  # no other order has them
            for first in range(replicas):
                one_order = np.add.reduce(np.roll(given, -first, axis=0), axis=0)
                assert np.any(one_order != found[0])


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A file of tensors [3,...], and what the ring makes of them. TensorFlow packs them last to first."""
    path = tmp_path_factory.mktemp("packed") / "given.npz"
    shapes = {"conv": (3, 3, 5), "bias": (5,), "dense": (40, 7), "loss": ()}
    flat = [made(3, int(np.prod(shape)), seed) for seed, shape in enumerate(shapes.values())]
    given = {name: rows.reshape(3, *shape) for rows, (name, shape) in zip(flat, shapes.items())}
    np.savez(path, **given)
    sums = data_parallelism.ring_numpy(np.concatenate(flat_order(given), axis=1))[0]
    ends = np.cumsum([rows.shape[1] for rows in flat_order(given)])[:-1]
    return path, {name: part.reshape(given[name].shape[1:]) for name, part in zip(order(given), np.split(sums, ends))}


def order(given):
    """tf.nest sorts the names; the all-reduce packs the last tensor first."""
    return sorted(given)[::-1]


def flat_order(given):
    return [given[name].reshape(3, -1) for name in order(given)]


def check(path, sums):
    found = np.load(path)
    for name, expected in sums.items():
        np.testing.assert_array_equal(found[f"{name}-total"].view("uint32"), expected.view("uint32"), err_msg=name)
        mean = expected * (np.float32(1) / np.float32(3))  # so TensorFlow's graphs divide by a constant
        np.testing.assert_array_equal(found[name].view("uint32"), mean.view("uint32"), err_msg=name)


def test_three_devices_of_core_have_the_bits_of_the_ring(packed, tmp_path):
    runner.run(SCRIPT, packed[0], tmp_path / "found.npz")
    check(tmp_path / "found.npz", packed[1])


def test_three_processes_have_the_bits_of_the_ring(packed, tmp_path):
    hosts = [f"127.0.0.1:{port}" for port in launch.free_ports(3)]
    processes = []
    for i in range(3):
        environment = os.environ | {"TF_CONFIG": launch.tf_config(hosts, i)}
        processes.append(runner.started(SCRIPT, packed[0], tmp_path / f"{i}.npz", env=environment))
    try:
        for process in processes:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, out + err
    finally:
        for process in processes:
            process.kill()
    for i in range(3):
        check(tmp_path / f"{i}.npz", packed[1])


def test_what_the_gradient_check_of_the_ring_says_is_counted(printed, monkeypatch, capsys):
    def orders(replicas, count=1000):
        monkeypatch.setattr(data_parallelism, "REPLICAS", replicas)
        monkeypatch.setattr(data_parallelism, "COUNT", count)
        out = printed(data_parallelism, "gradient_check")
        return [int(text) for text in re.findall(r": ([\d,]+) of", out)], "the same bits: True" in out

    assert orders(2) == ([0, 0], True)
    assert orders(3, 10)[0][0] == 0
    (first, last), same = orders(4)
    assert 100 < first < 900 and 100 < last < 900 and same
    capsys.readouterr()
    all_reduce.AllReduce("apart", lambda: made(3, 9), None, lambda given: given, None).gradient_check()
    assert "the same bits: False" in capsys.readouterr().out


def test_what_goes_wrong_is_computed(capsys):
    def said(replicas):
        per_replica.print_what_goes_wrong(replicas, 0)
        return capsys.readouterr().out

    three, six = said(3), said(6)
    assert "Fewer rows, larger difference: True" in three and "to rounding the same: True" in three
    for out, n, images in ((three, 3, 32), (six, 6, 16)):
        found = float(re.search(r"the noise of (\d+) images", out)[1])
        assert found == pytest.approx(images, rel=0.1)
        assert f"{n:.2f} times the mean" in out
        assert re.search(rf"^ +{n} +{96 // n} ", out, re.MULTILINE)


def test_masks_that_are_independent_have_no_more_noise(capsys, monkeypatch):
    right = per_replica.gradient_noise
    monkeypatch.setattr(per_replica, "gradient_noise", lambda random, rows, n, one: right(random, rows, n, False))
    per_replica.print_what_goes_wrong(3, 0)
    times = float(re.search(r"([\d.]+) times,\n", capsys.readouterr().out)[1])
    assert times == pytest.approx(1, abs=0.05)


def test_batch_norm_of_as_many_micro_batches_is_compared(capsys, monkeypatch):
    right = per_replica.normalized
    monkeypatch.setattr(per_replica, "normalized", lambda x, dy: tuple(1.01 * part for part in right(x, dy)))
    per_replica.print_what_goes_wrong(3, 0)
    assert "to rounding the same: False" in capsys.readouterr().out


def test_the_law_names_the_best_and_the_worst(capsys, monkeypatch):
    per_replica.print_law(scaling_law.WORKER)
    out = capsys.readouterr().out
    assert "fast scales best, classic worst" in out and "computes 20.1 times as much" in out
    small = {"fast": scaling_law.Recipe(1, 1_971_328, 236_915_754), "classic": scaling_law.RECIPES["classic"]}
    monkeypatch.setattr(scaling_law, "RECIPES", small)
    per_replica.print_law(scaling_law.WORKER)
    assert "classic scales best, fast worst" in capsys.readouterr().out


def test_what_the_questions_claim(monkeypatch):
    for recipe in scaling_law.RECIPES.values():
        assert scaling_law.most_workers(recipe.on(1e14), scaling_law.NETWORKS["10 Gb/s"]) == 1


def test_the_figure_shows_what_was_measured(monkeypatch, tmp_path, check_figure):
    measured = scaling_table.Measured(
        "classic", {1: np.array([4000.0, 4100]), 2: np.array([6000.0, 6100]), 4: np.array([7000.0, 9000])},
        scaling_law.Cost(356_810, 0.025, 0.001), scaling_law.Network(1e9, 1e-3),
    )  # fmt: skip
    monkeypatch.setattr(scaling_table, "PATH", tmp_path / "none.csv")
    assert len(data_parallelism.figures.efficiency(3e11).axes) == 3
    scaling_table.write(measured, tmp_path / "scaling.csv")
    monkeypatch.setattr(scaling_table, "PATH", tmp_path / "scaling.csv")
    figure = data_parallelism.figures.efficiency(3e11)
    check_figure(figure)
    panel = figure.axes[3]
    assert panel.get_title() == "this machine, classic"
    line = panel.lines[0]
    expected = 100 * scaling_law.efficiency(4, measured.cost, measured.network)
    assert line.get_ydata()[-1] == pytest.approx(expected)
    points = [container.lines[0].get_xydata()[0] for container in panel.containers]
    np.testing.assert_allclose(points[1], [2, 100 * np.median([6000 / 8000, 6100 / 8200])])


@pytest.mark.parametrize(("changes", "words"), [
    ({"REPLICAS": 1}, ["REPLICAS = 1", "2 to 8 replicas"]),
    ({"REPLICAS": 9, "BATCH": 18}, ["REPLICAS = 9", "2 to 8 replicas"]),
    ({"BATCH": 13}, ["BATCH = 13", "a multiple"]),
    ({"WORKER": 0}, ["WORKER = 0"]),
    ({"HAND_T": [[1, 2]]}, ["HAND_T (1, 2)", "equally long"]),
    ({"HAND_GRADIENTS": [[1, 2, 3]]}, ["HAND_GRADIENTS (1, 3)"]),
])  # fmt: skip
def test_a_bad_constant_gets_a_line(main, one_line, monkeypatch, changes, words):
    for constant, value in changes.items():
        monkeypatch.setattr(data_parallelism, constant, value)
    status, _, err = main(data_parallelism)
    assert status == 1
    one_line(err, *words)
