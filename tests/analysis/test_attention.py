"""Attribution maps against formulas, finite differences and by hand; the sanity check reads from its numbers."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal
from made_checkpoints import cached_load, write_run
from networks_to_test import build_network, randomized
from runner import run

from analysis import attention
from analysis.attention import Attributions
from analysis.support import attribution
from analysis.support.attribution import occlusion
from core import random_streams
from core.layers import GELU, Convolution, Dense, Flatten, MaxPooling, ReLU
from core.model import CNN
from core.run import checkpoints
from core.run.errors import RunError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """shapes10 is drawn once, and occlusion takes few positions."""
    monkeypatch.setattr("core.data.load", cached_load)
    coarse = functools.partial(occlusion, square=16, stride=16)
    monkeypatch.setattr(attention.attribution, "occlusion", coarse)


def linear(weights: np.ndarray) -> CNN:
    """Logit 3 is the sum of image times weights [32,32,3]; the other logits are 0."""
    dense = Dense("dense", 3072, 10)
    kernel = np.zeros((3072, 10), np.float32)
    kernel[:, 3] = weights.ravel()
    dense.kernel.assign(kernel)
    return CNN("linear", [Flatten("flatten"), dense])


def small_network(dtype=tf.float32, activation=GELU) -> CNN:
    """Convolution, nonlinearity, pooling, dense, with weights that are not tiny."""
    layers = [
        Convolution("conv", 3, 4, 3, stride=2, dtype=dtype), activation("act"), MaxPooling("pool", 2),
        Flatten("flatten"), Dense("dense", 256, 10, dtype=dtype),
    ]  # fmt: skip
    return CNN("small", layers, dtype)


def images(count: int, dtype=np.float32) -> np.ndarray:
    return normal(count, 32, 32, 3, seed=1).astype(dtype)


# The three maps.


@pytest.mark.parametrize("square, stride", [(8, 4), (4, 2), (8, 8)])
def test_occlusion_of_a_network_that_depends_on_one_corner(square, stride):
    """y is the sum of the 3x5 pixels in a corner: each square takes away the pixels that it covers."""
    weights = np.zeros((32, 32, 3), np.float32)
    weights[:3, :5] = 1
    x = np.abs(images(2))
    maps = occlusion(linear(weights), x, [3, 3], square, stride)
    covered, times = np.zeros((2, 32, 32)), np.zeros((32, 32))
    for top in range(stride - square, 32, stride):
        for left in range(stride - square, 32, stride):
            here = np.zeros((32, 32, 1))
            here[max(top, 0) : top + square, max(left, 0) : left + square] = 1
            covered += (here * weights * x).sum(axis=(1, 2, 3))[:, None, None] * here[..., 0]
            times += here[..., 0]
    assert len(np.unique(times)) == 1  # every pixel is covered equally often
    assert np.allclose(maps, covered / times, atol=1e-4)
    reach = square + 5
    assert (maps[:, :3, :5] > 0).all() and np.allclose(maps[:, reach:], 0, atol=1e-5)
    assert np.allclose(occlusion(linear(weights), x, [4, 4], square, stride), 0)  # another class


@pytest.mark.parametrize("layer", ["conv", "act", "pool"])
def test_grad_cam_is_its_formula(layer):
    """Behind this layer the network is linear in the layer's output A where gradients are taken: by NumPy."""
    network, x, classes = small_network(activation=ReLU), images(3), [0, 7, 7]
    outputs = {one.name: y.numpy() for one, y in network.outputs(tf.constant(x), training=False)}
    a, act = outputs[layer], outputs["act"]
    kernel = network.layers[-1].kernel.numpy()
    gradient = np.stack([kernel[:, k].reshape(8, 8, 4) for k in classes])  # dy/d pool
    if layer != "pool":  # to the largest of each 2x2 window, the first one of several
        windows = act.reshape(3, 8, 2, 8, 2, 4).transpose(0, 1, 3, 5, 2, 4).reshape(3, 8, 8, 4, 4)
        first = np.eye(4)[windows.argmax(axis=-1)] * gradient[..., None]
        gradient = first.reshape(3, 8, 8, 4, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(3, 16, 16, 4)
    if layer == "conv":
        gradient = gradient * (a > 0)
    wanted = np.maximum((gradient.mean(axis=(1, 2), keepdims=True) * a).sum(axis=-1), 0)
    found = attribution.grad_cam(network, x, classes, layer)
    assert found.shape == wanted.shape and wanted.max() > 0.01 and np.allclose(found, wanted, atol=1e-5)


def test_input_gradient_by_finite_differences():
    network, x, classes = small_network(tf.float64), images(2, np.float64), [2, 9]

    def y(x):
        return network(tf.constant(x), training=False).numpy()[[0, 1], classes]

    def slope(row, column, colour):
        up, down = x.copy(), x.copy()
        up[:, row, column, colour] += 1e-6
        down[:, row, column, colour] -= 1e-6
        return (y(up) - y(down)) / 2e-6

    found = attribution.input_gradient(network, x, classes)
    for row, column in ((0, 0), (7, 12), (31, 31), (20, 3)):
        wanted = np.abs([slope(row, column, colour) for colour in range(3)]).max(axis=0)
        assert np.allclose(found[:, row, column], wanted, atol=1e-8) and wanted.max() > 0


def test_the_gradient_passes_a_layer_in_which_nothing_is_learned():
    network = build_network("speed64", whitening_init=True)
    assert not network.layers[0].parameters
    assert (attribution.input_gradient(network, images(1), [0]) > 0).mean() > 0.9


@pytest.mark.parametrize(
    "network, layer", [("classic", "relu3"), ("modern", "relu6"), ("debug", "relu1"), ("speed64", "act3b")]
)
def test_the_layer_of_grad_cam(network, layer):
    assert attribution.grad_cam_layer(build_network(network)) == layer
    assert attribution.grad_cam_layer(linear(np.zeros((32, 32, 3)))) is None


def test_edges():
    x = np.zeros((1, 32, 32, 3))
    x[:, :, 16:] = 2
    found = attribution.edges(x)[0]
    assert np.array_equal(np.flatnonzero(found[5]), [15, 16]) and np.allclose(found[:, 15:17], 1)


# The sanity check.


def test_ranks_share_ties():
    assert attribution.ranks(np.array([30, 10, 20, 20, 5])).tolist() == [5, 2, 3.5, 3.5, 1]


def test_rank_correlation_of_known_cases():
    a = np.array([1.0, 2, 3, 4, 5])
    # With tied ranks: the published example of SciPy's spearmanr.
    assert attribution.rank_correlation(a, np.array([5, 6, 7, 8, 7])) == pytest.approx(0.8207826816681233)
    # Without ties: 1 - 6 sum d^2 / (n (n^2 - 1)); d = 1, 1, 1, 1, 0.
    assert attribution.rank_correlation(a, np.array([2, 1, 4, 3, 5])) == pytest.approx(1 - 6 * 4 / (5 * 24))
    x = normal(8, 8)
    assert attribution.rank_correlation(x, np.exp(3 * x)) == pytest.approx(1)
    assert attribution.rank_correlation(x, -(x**3)) == pytest.approx(-1)
    assert np.isnan(attribution.rank_correlation(x, np.ones((8, 8))))


def test_the_cascade_draws_layers_anew_from_the_top_down():
    trained = randomized("speed64", tf.float32)
    fresh = build_network("speed64", seed=5)
    before = [v.numpy() for v in trained.named_variables.values()]
    stages = attribution.cascade(trained, fresh)
    assert [name for name, _ in stages] == ["dense", "conv3b", "conv3a", "conv2b", "conv2a", "conv1b", "conv1a"]
    names = [layer.name for layer in trained.layers]
    for name, network in stages:
        for k, layer in enumerate(network.layers):
            drawn = k >= names.index(name) and bool(layer.parameters)
            assert layer is (fresh if drawn else trained).layers[k], (name, layer.name)
    assert all(np.array_equal(a, v.numpy()) for a, v in zip(before, trained.named_variables.values()))


def attributions(of_draws, edges=None) -> Attributions:
    """What compute returns, as far as a reading needs it."""
    return Attributions([0], None, ["kind0"], {}, {}, ["dense"], {}, {"it": np.array(of_draws)}, edges or {})


@pytest.mark.parametrize(
    "of_draws, meaning",
    [
        ([[0.6, 0.8], [0.5, 0.7]], "it: ρ = 0.65 ± 0.13 (4 comparisons): much of the map is there before"),
        ([[0.3, 0.4]], "it: ρ = 0.35 ± 0.10 (2 comparisons): part of the map is there before"),
        ([[-0.3, -0.2]], "it: ρ = −0.25 ± 0.10 (2 comparisons): the map depends on what was learned."),
        ([[-0.3, 0.9]], "it: ρ = 0.30 ± 1.20 (2 comparisons): too few comparisons to tell"),
        ([[0.05, np.nan, 0.05]], "it: ρ = 0.05 ± 0.00 (3 comparisons, 1 of a constant map left out): the map depends"),
        ([[0.1]], "it: ρ = 0.10 (1 comparison): too few comparisons"),
        ([[np.nan, np.nan]], "it: in each of 2 comparisons a map is constant, so there is no rank correlation."),
    ],
)
def test_the_reading_follows_the_correlations(of_draws, meaning):
    assert attention.read_method(attributions(of_draws), "it").startswith(meaning)


def test_the_reading_names_the_edges():
    text = attention.read_method(attributions([[0.6, 0.6]], {"it": np.array([0.2, np.nan])}), "it")
    assert "; with the edges of the image 0.20): much of the map" in text


def test_a_map_that_does_not_depend_on_the_weights_is_found_out():
    """Drawn anew with the same weights every map stays; with others it does not. The number is what separates them."""
    data, network = cached_load("shapes10", "", False), randomized("debug", tf.float32)
    same = attention.compute(network, [network] * 2, data, [4, 90], "true", "relu1")
    for method, values in same.of_draws.items():
        assert values.shape == (2, 2) and np.allclose(values, 1), method
        assert "before anything is learned" in attention.read_method(same, method)
    other = attention.compute(network, [build_network("debug", seed=9)], data, [4, 90], "true", "relu1")
    assert other.stages == ["dense1", "conv1"]
    for method, values in other.correlations.items():
        assert values.shape == (2, 2) and (values < 0.999).all(), method
        assert np.array_equal(values[-1:], other.of_draws[method])
    assert set(other.edges) == {"Grad-CAM", "occlusion", "input gradient"}  # all three have 32x32 here


def test_labels_and_target():
    data, network = cached_load("shapes10", "", False), linear(np.zeros((32, 32, 3)))
    network.layers[-1].bias.assign(np.eye(10)[6])  # predicts class 6 for everything
    network.layers.insert(0, ReLU("relu"))
    wrong = int(np.flatnonzero(data.test_labels != 6)[0])
    right = int(np.flatnonzero(data.test_labels == 6)[0])
    found = attention.compute(network, [network], data, [wrong, right], "predicted", "relu")
    names = data.class_names
    assert found.labels == [f"{names[data.test_labels[wrong]]} → {names[6]}", names[6]]
    assert attention.read_method(found, "occlusion").startswith("occlusion: in each of 2 comparisons a map is constant")


def test_images_chosen_are_two_hits_and_a_miss():
    data, network = cached_load("shapes10", "", False), linear(np.zeros((32, 32, 3)))
    network.layers[-1].bias.assign(np.eye(10)[6])
    chosen = attention.chosen_images(network, data)
    assert (data.test_labels[chosen] == 6).tolist() == [True, True, False]
    network.layers[-1].bias.assign([np.nan] * 10)
    with pytest.raises(RunError, match="not finite"):
        attention.chosen_images(network, data)


# The script.


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Runs with noise on their weights: {recipe: folder}."""
    runs_dir = tmp_path_factory.mktemp("runs")

    def noisy(step, name, tensor):
        noise = random_streams.normal(random_streams.stream(1, name), tensor.shape, 0.1, tf.float32).numpy()
        return tensor + noise if name.endswith("/kernel") and "whitening" not in name else tensor

    return {recipe: write_run(runs_dir, recipe, change=noisy) for recipe in ("debug", "minute", "classic")}


def drawn(folder, tmp_path, capsys, *args) -> str:
    """What the script prints for this run."""
    out = tmp_path / "it.png"
    attention.main(attention.parse([str(folder), "--out", str(out), *map(str, args)]))
    assert out.stat().st_size > 10_000
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "recipe, args, layer",
    [
        ("debug", (), "relu1"),
        ("minute", ("--image", 7, "--panel", "maps"), "act3b"),
        ("classic", ("--image", 3, 1999, "--panel", "cascade", "--target", "true", "--layer", "pool2"), "pool2"),
    ],
)
def test_every_recipe(folders, tmp_path, capsys, recipe, args, layer):
    text = drawn(folders[recipe], tmp_path, capsys, *args)
    assert f"Grad-CAM of {layer}." in text
    assert text.count("comparison") >= 3 and "drawn " in text
    assert ("test images 3 (" in text and "1999 (" in text and "of the true class" in text) == (recipe == "classic")


def test_what_cannot_be_drawn_is_refused(folders, tmp_path, capsys):
    empty = write_run(tmp_path, "debug", steps=())
    for folder, args, message in (
        (folders["debug"], ("--layer", "dense1"), "--layer dense1: Grad-CAM needs a layer with a feature map; this"),
        (folders["debug"], ("--image", 2000), "--image 2000: the test images are 0 to 1,999"),
        (folders["debug"], ("--image", -1), "--image -1: the test images are 0 to 1,999"),
        (empty, (), "no checkpoint in it yet"),
    ):
        with pytest.raises((RunError, checkpoints.CheckpointError), match=message):
            drawn(folder, tmp_path, capsys, *args)
    with pytest.MonkeyPatch.context() as patch:  # as with --network plain --activation none
        patch.setattr(attribution, "grad_cam_layer", lambda network: None)
        with pytest.raises(RunError, match="this network has none; choose a map, --layer conv1, norm1, "):
            drawn(folders["debug"], tmp_path, capsys)
    for args in (("--image", "1", "2", "3", "4", "5"), ("--image", "cat"), ("--target", "dog")):
        with pytest.raises(SystemExit) as stopped:
            attention.parse(args)
        assert stopped.value.code == 2


def test_help_is_quick_and_names_the_options():
    text = run("analysis/attention.py", "--help").stdout
    assert all(option in text for option in ("--image", "--target", "--layer", "--panel", "--runs-dir"))
