"""The loss landscape: filter normalization, projections, batch-norm statistics, sentences from their numbers, runs."""

import numpy as np
import pytest
import tensorflow as tf
from made_checkpoints import cached_load, write_run
from networks_to_test import build_network
from readable import assert_readable
from runner import run, train_here

from analysis import landscape
from analysis.support import common, style, weight_space
from analysis.support.loss_surface import ALPHAS, Line, LossSurface, Plane, Weights
from analysis.support.run import Run
from core.data.batches import standardize
from core.run import checkpoints

RANDOM = np.random.default_rng(0)
FINAL = [RANDOM.normal(size=[3, 3, 2, 4]), RANDOM.normal(size=[5, 6])]


# Directions.


def test_a_displacement_by_its_own_length_has_length_one():
    scales = weight_space.filter_scales(FINAL)
    assert np.linalg.norm(weight_space.normalized(FINAL, scales)) == pytest.approx(1)
    # The same relative change of every filter is the same length, however large the filters are.
    larger = [kernel * RANDOM.uniform(0.2, 5, kernel.shape[-1]) for kernel in FINAL]
    change = [0.3 * kernel for kernel in larger]
    assert np.linalg.norm(weight_space.normalized(change, weight_space.filter_scales(larger))) == pytest.approx(
        0.3, 1e-3
    )
    back = weight_space.displacement(
        weight_space.normalized(change, scales), scales, [kernel.shape for kernel in FINAL]
    )
    for one, other in zip(back, change):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_dead_filter_sets_no_scale():
    kernel = np.ones([2, 3])
    kernel[:, 0] = 1e-12
    (scale,) = weight_space.filter_scales([kernel])
    assert scale[0] == pytest.approx(0.1 * scale[1]) and scale[1] == pytest.approx(np.sqrt(2 * 3))
    zeros = [np.zeros([2, 3])]
    assert not weight_space.normalized([np.ones([2, 3])], weight_space.filter_scales(zeros)).any()


def test_in_a_random_direction_every_filter_moves_by_its_own_length():
    scales = weight_space.filter_scales(FINAL)
    for direction in weight_space.random_directions(FINAL, scales, seed=3):
        for change, kernel in zip(weight_space.displacement(direction, scales, [k.shape for k in FINAL]), FINAL):
            axes = tuple(range(kernel.ndim - 1))
            np.testing.assert_allclose((change**2).sum(axis=axes), (kernel**2).sum(axis=axes), rtol=1e-5)


def test_principal_directions_are_those_of_the_singular_value_decomposition():
    path = RANDOM.normal(size=[6, 40])
    directions = weight_space.principal_directions(path)
    _, values, rows = np.linalg.svd(path, full_matrices=False)
    np.testing.assert_allclose(np.abs(directions @ rows[:2].T), np.eye(2), atol=1e-6)
    assert weight_space.project(path, directions).fraction == pytest.approx((values[:2] ** 2).sum() / (values**2).sum())
    assert (directions @ path[0] >= 0).all()


def test_the_projection_on_directions_that_are_not_orthogonal():
    plane = np.array([[1.0, 0, 0], [0.6, 0.8, 0]])
    found = weight_space.project(np.array([[2.0, 3, 0], [0, 0, 4]]), plane)
    np.testing.assert_allclose(found.points @ plane, [[2, 3, 0], [0, 0, 0]], atol=1e-12)
    assert found.fraction == pytest.approx(13 / 29)
    assert weight_space.project(np.zeros([2, 3]), plane).fraction == 0


def test_what_the_plane_shows_of_a_random_walk():
    steps = list(range(0, 210, 10))
    shown = []
    for _ in range(5):
        walk = np.cumsum(RANDOM.normal(size=[len(steps), 4000]), axis=0)
        path = (walk - walk[-1])[:-1]
        shown.append(weight_space.project(path, weight_space.principal_directions(path)).fraction)
    assert weight_space.random_walk_fraction(steps) == pytest.approx(np.mean(shown), abs=0.01)
    # Long walks: the eigenvalues of min(s, t) are 1 / ((k - 1/2) π)², their sum is 1/2.
    limit = 2 * (2 / np.pi) ** 2 * (1 + 1 / 9)
    assert weight_space.random_walk_fraction(list(range(400))) == pytest.approx(limit, abs=0.01)
    assert weight_space.random_walk_fraction([0, 5, 6]) == pytest.approx(1)


# The loss.


def test_batch_norm_uses_the_statistics_of_the_images_and_dropout_is_off():
    network = build_network("debug")
    data = cached_load("shapes10", "", False)
    images, labels = data.train_images[:60], data.train_labels[:60]
    surface = LossSurface(network, (images, labels), (images, labels))
    stale = float(surface.test_loss())
    parameters = [2 * variable.numpy() for variable in network.parameters]
    train, test = surface(parameters, with_test=True)
    assert train == pytest.approx(test, rel=1e-5) and train == surface(parameters)  # the statistics were kept
    norm = next(layer for layer in network.layers if layer.name == "norm1")
    before = network.layers[0](standardize(images), training=False).numpy()
    np.testing.assert_allclose(norm.moving_mean, before.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, before.var(axis=(0, 1, 2)), rtol=1e-4)
    norm.moving_variance.assign(tf.ones_like(norm.moving_variance))
    assert float(surface.test_loss()) != pytest.approx(train, rel=1e-3) and stale != pytest.approx(train, rel=1e-3)


def line(train, test=None) -> str:
    return landscape.read_line(Line(train, train if test is None else test), "validation")


def test_the_sentences_about_the_line_follow_the_numbers():
    falling = 2.3 - 1.5 * ALPHAS + 1.0 * np.maximum(ALPHAS - 1, 0) * 3
    text = line(falling, falling + (ALPHAS - 0.5) ** 2 + 1.5 * ALPHAS)
    assert "initial to final: 2.30 to 0.80, falling all the way. Half of the fall is reached at α = 0.50." in text
    assert "training loss at α = 1.00, validation loss at α = 0.50." in text
    barrier = falling + 2 * np.exp(-(((ALPHAS - 0.25) / 0.1) ** 2))
    assert "with a barrier: up by 1.7 to 3.92 at α = 0.25." in line(barrier)
    rising = 2.3 + 1.5 * ALPHAS
    assert "2.30 to 3.80, not falling: up by 1.5 to 3.80 at α = 1.00." in line(rising) and "Half" not in line(rising)
    broken = np.where(np.isclose(ALPHAS, 0.5), np.inf, falling)
    assert "at 1 point it is not finite" in line(broken)


def plane(**other) -> Plane:
    given = dict(
        directions="pca", x=np.linspace(-1, 1, 5), y=np.linspace(-1, 1, 5), losses=1 + np.arange(25.0).reshape(5, 5),
        steps=[0, 10, 20, 30], points=np.array([[0.9, 0.2], [0.6, -0.3], [0.2, -0.2], [0, 0]]),
        own_losses=np.array([2.3, 1.7, 1.3, 1.1]), projected_loss=1.9, fraction=0.87,
    )  # fmt: skip
    return Plane(**(given | other))


def test_the_sentences_about_the_plane_follow_the_numbers():
    text = landscape.read_plane(plane())
    walk = 100 * weight_space.random_walk_fraction([0, 10, 20, 30])
    assert f"shows 87 % of the path's variance (4 points); of a random walk's it shows {walk:.0f} %." in text
    assert "Final loss 1.10, lowest on the grid 1.00, highest 25.00." in text and "white" not in text
    assert "The initial weights have the loss 2.30, their projection 1.90" in text
    losses = plane().losses.copy()
    losses[0, 0], losses[1, 1] = np.nan, np.inf
    text = landscape.read_plane(plane(losses=losses, directions="random", fraction=0.0004))
    assert "These random directions show 0.04 % of the variance of the path" in text
    assert "lowest on the grid 2.00" in text and "At 2 points it is not finite (white)." in text


# Runs.


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch):
    """shapes10 is drawn once for all tests."""
    monkeypatch.setattr("core.data.load", cached_load)


def answer(folder, tmp_path, *args) -> None:
    """What `python analysis/landscape.py FOLDER ...` does, in this process."""
    given = [folder, "--out", tmp_path / "it.png", "--images", 50, "--grid", 5, *args]
    common.answer(landscape.main, landscape.parse([*map(str, given)]))


def test_the_initial_weights_are_those_before_the_first_step(tmp_path):
    """|w1 - w0| / |w0| of the rebuilt w0 is the update ratio that the run measured in its first step."""
    train_here(tmp_path, "one", "--steps", 1, "--checkpoint-every", 1)
    weights, table = Weights(Run(tmp_path / "one")), Run(tmp_path / "one").table("update_ratio")
    ratios = [
        np.linalg.norm(w - w0) / np.linalg.norm(w0)
        for w0, w in zip(weights.kernels(weights.initial), weights.kernels(weights.final))
    ]
    assert table.steps[0] == 1 and len(ratios) == len(table.layers)
    np.testing.assert_allclose(ratios, table.values[0], rtol=1e-3)


def change(step, name, tensor):
    """A path: each checkpoint has moved farther from the initial weights, and not in one direction."""
    draw = np.random.default_rng(int(name.encode().hex(), 16) % 2**32)
    one, other = (draw.normal(size=tensor.shape).astype(np.float32) for _ in range(2))
    if not name.endswith("kernel") or "whitening" in name:
        return tensor
    return tensor + 0.02 * (step / 10 * one + (step / 10) ** 2 * other)


@pytest.mark.parametrize("recipe, holdout", [("debug", True), ("minute", False)])
def test_the_figure_of_a_run(recipe, holdout, tmp_path, capsys, monkeypatch):
    folder = write_run(tmp_path, recipe, steps=(5, 10, 15, 20), holdout=holdout, change=change)
    (checkpoints.newest_first(folder)[1] / "tensors.npz").write_bytes(b"cut short")
    texts, save = [], style.save
    monkeypatch.setattr(
        style, "save", lambda drawing, path: (texts.append(assert_readable(drawing)), save(drawing, path))
    )
    answer(folder, tmp_path)
    text = capsys.readouterr().out
    # Two displacements span the path: nothing of it lies off the plane.
    assert "passed over" in text and "The plane shows 100 % of the path's variance (4 points)" in text
    assert f"50 training and 50 {'validation' if holdout else 'test'} images" in text
    assert {"step 0", "step 20"} <= {*texts[0]} and (tmp_path / "it.png").stat().st_size > 10_000
    if recipe == "debug":
        answer(folder, tmp_path, "--panel", "plane", "--directions", "random")
        assert "These random directions show" in capsys.readouterr().out and len(texts) == 2


def test_what_a_user_can_do_wrong(tmp_path, capsys):
    single = write_run(tmp_path / "single", "debug", steps=(20,))
    diverged = write_run(tmp_path / "nan", "debug", change=lambda step, name, tensor: tensor * np.nan)
    bare = write_run(tmp_path / "bare", "debug", steps=())
    for folder, args, message in (
        (
            single,
            ("--panel", "plane"),
            "takes 2 usable checkpoints, the run has 1; --panel line and --directions random",
        ),
        (diverged, (), "its weights are not finite; `analysis/diagnose.py` names the cause"),
        (bare, (), "no checkpoint in it yet"),
    ):
        with pytest.raises(SystemExit) as left:
            answer(folder, tmp_path, *args)
        assert message in str(left.value) and "\n" not in str(left.value)
    answer(single, tmp_path)
    text = capsys.readouterr().out
    assert "the line alone is drawn" in text and "Loss from initial to final weights" in text
    for args, message in (
        (("--grid", "4"), "--grid 4: expected 5 to 61"),
        (("--images", "9"), "--images 9: at least 50"),
    ):
        with pytest.raises(SystemExit) as left:
            landscape.parse(args)
        assert left.value.code == 2 and message in capsys.readouterr().err


def test_help_is_quick_and_names_the_options():
    text = run("analysis/landscape.py", "--help").stdout
    assert all(option in text for option in ("--panel", "--directions", "--grid", "--images", "--runs-dir"))
