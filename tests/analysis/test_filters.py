"""Filters and patches: receptive fields, the right image at the right place, each reading from its numbers."""

import re

import numpy as np
import pytest
import tensorflow as tf
from made_checkpoints import cached_load, write_run
from networks_to_test import build_network
from runner import run

from analysis import filters
from analysis.support import channels, image_sheet
from analysis.support.image_sheet import Tile
from analysis.support.receptive_field import receptive_fields
from core.layers import AveragePooling, Convolution, Dense, Flatten, MaxPooling, ReLU
from core.model import CNN
from core.run import checkpoints
from core.run.errors import RunError


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch):
    """shapes10 is drawn once for all tests."""
    monkeypatch.setattr("core.data.load", cached_load)


CLASSES = tuple(f"kind{k}" for k in range(10))


def ones(name, in_channels, out_channels, kernel_size, stride=1, padding="SAME") -> Convolution:
    """A convolution that adds up its window: every weight is 1."""
    layer = Convolution(name, in_channels, out_channels, kernel_size, stride, padding)
    layer.kernel.assign(tf.ones_like(layer.kernel))
    return layer


@pytest.mark.parametrize("network", ["classic", "modern", "debug", "speed64"])
def test_size_of_the_receptive_field_is_that_of_the_summary(network):
    cnn = build_network(network)
    by_name = {line.split()[0]: line.split()[-1] for line in cnn.summary().splitlines() if line}
    for layer, field in receptive_fields(cnn).items():
        assert str(min(field.size, 32)) == by_name[layer], layer


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_a_patch_is_exactly_the_pixels_whose_gradient_is_not_zero(padding):
    cnn = CNN("sums", [
        ones("a", 3, 2, 3, 1, padding), AveragePooling("b", 2), ones("c", 2, 1, 4, 2, padding), ones("d", 1, 1, 3)
    ])  # fmt: skip
    numbered = np.arange(32 * 32).reshape(32, 32, 1)
    for name, field in receptive_fields(cnn).items():
        x = tf.ones([1, 32, 32, 3])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = next(y for layer, y in cnn.outputs(x, training=False) if layer.name == name)
            outputs = {at: y[0, at[0], at[1], 0] for at in ((0, 0), (1, 2), (y.shape[1] - 1, y.shape[2] - 2))}
        for (row, column), output in outputs.items():
            depends = np.flatnonzero(tape.gradient(output, x)[0, ..., 0])
            assert np.array_equal(field.patch(numbered, row, column).ravel(), depends), (name, row, column)


def test_behind_flatten_a_patch_is_the_whole_image():
    image = np.arange(32 * 32 * 3).reshape(32, 32, 3)
    assert np.array_equal(receptive_fields(build_network("classic"))["dense2"].patch(image, 0, 0), image)


def test_the_largest_output_of_each_channel_and_where():
    """Channel 0 is the red of a pixel, channel 1 its negative blue; two of five images have a bright pixel."""
    pick = Convolution("pick", 3, 2, 1, use_bias=False)
    pick.kernel.assign([[[[1, 0], [0, 0], [0, -1]]]])
    cnn = CNN("picks", [pick, ReLU("relu"), MaxPooling("pool"), Flatten("flatten")])
    images = np.full((5, 32, 32, 3), 90, np.uint8)
    images[1, 7, 20, 0], images[3, 30, 31, 0] = 200, 250
    images[2, 4, 9, 2] = 0
    values, where = channels.excitations(cnn, "pick", images)
    assert channels.strongest(values[:, 0])[:2].tolist() == [3, 1] and channels.strongest(values[:, 1])[0] == 2
    assert where[[3, 1], 0].tolist() == [[30, 31], [7, 20]] and where[2, 1].tolist() == [4, 9]
    assert values[3, 0] == pytest.approx((250 / 255 - 0.4914) / 0.2470, abs=1e-5)
    values, where = channels.excitations(cnn, "pool", images)
    assert where[[3, 1], 0].tolist() == [[15, 15], [3, 10]]
    values, where = channels.excitations(cnn, "flatten", images)
    assert values.shape == (5, 512) and not where.any()


def test_outputs_that_are_not_finite_are_refused():
    layer = ones("a", 3, 1, 1)
    layer.bias.assign([np.nan])
    with pytest.raises(RunError, match="layer 'a': its outputs are not finite"):
        channels.excitations(CNN("nan", [layer]), "a", np.zeros((2, 32, 32, 3), np.uint8))


def test_channels_that_stand_out():
    values = np.tile(np.linspace(0, 1, 200)[:, None], 6)
    values[:10, 4] = 50
    values[:, 5] = 3  # dead: the same for all
    assert channels.outstanding(values)[0] == 4 and 5 not in channels.outstanding(values)
    assert len(channels.outstanding(values)) == channels.CHANNELS


def test_colourless_filters_and_cosines():
    edge = np.repeat([[[1.0], [-1.0]]], 3, axis=2)  # [1,2,3]: dark to bright in every colour
    colour = np.array([[[1.0, 0, -1], [1, 0, -1]]])  # red against blue
    kernels = np.stack([edge, colour, edge + 0.1 * colour])
    assert channels.colourless(kernels).tolist() == [True, False, True]
    assert channels.cosines(kernels, kernels * [[[[2]]], [[[-3]]], [[[0]]]]) == pytest.approx([1, -1, 0])


def test_a_filter_as_an_image_is_grey_at_zero():
    tile = filters.filter_tile(np.array([[[0.0, 2, -4]]]), "7")
    assert np.allclose(tile.image, [[[0.5, 0.75, 0]]]) and tile.under == "7"
    assert (filters.filter_tile(np.zeros((3, 3, 3))).image == 0.5).all()


def test_the_reading_of_filters_follows_the_numbers():
    grey, colour = np.ones((2, 2, 3)), np.ones((2, 2, 3)) * [1, 0, -1]
    text = filters.read_filters("conv1", np.stack([colour] * 4), np.stack([grey, colour, grey, colour]), True)
    assert "Colourless filters of conv1 (brightness and edges): 2 of 4, untrained 0." in text
    assert "Cosine with the untrained filter: 0.50" in text and "No filter is weaker" in text
    text = filters.read_filters("conv1", np.stack([colour] * 4), np.stack([grey, 0.01 * colour, grey, grey]), True)
    assert "3 of 4, untrained 0." in text and "Weaker than a tenth of the median norm: 1." in text
    assert "Nothing is learned in whitening" in filters.read_filters("whitening", grey[None], grey[None], False)


def test_the_reading_of_an_evolution_is_the_distance_left():
    begin, end = np.zeros((2, 1, 1, 3)), np.ones((2, 1, 1, 3))
    begin[..., 0] = 1
    names = ["untrained", "step 5", "step 10"]
    text = filters.read_filter_evolution(names, [begin, 0.9 * begin + 0.1 * end, end], True)
    assert "with those at step 10: 0.58 in the median of all 2." in text
    assert "left to those: 90 % at step 5" in text and "Before step 10 less than half" in text
    text = filters.read_filter_evolution(names, [begin, 0.3 * begin + 0.7 * end, end], True)
    assert "30 % at step 5" in text and "At step 5 more than half" in text
    assert "Distance" not in filters.read_filter_evolution(["untrained", "step 5"], [begin, end], True)
    assert "Distance" not in filters.read_filter_evolution(names, [end, end, end], True)


def test_the_reading_of_a_channel_names_the_class_that_prevails():
    labels = np.array([3] * 12 + [k % 10 for k in range(88)])
    values = np.linspace(1, 0, 100)
    assert filters.read_channel(5, values, labels, CLASSES) == "Channel 5: kind3 in 13 of the top 24"
    text = filters.read_channel(5, values[::-1].copy(), labels, CLASSES)
    assert text.endswith("of the top 24, no class prevails") and "in 3 of" in text
    text = filters.read_channel(5, np.zeros(100), labels, CLASSES)
    assert text == "Channel 5 is 0 for all 100 images: a dead channel"


def test_the_reading_of_strongest_images_counts_the_common_ones():
    tops = [np.array([1, 2, 3]), np.array([3, 4, 9]), np.array([4, 3, 7])]
    text = filters.read_overlap(2, ["untrained", "step 5", "step 9"], tops)
    assert "Of the 3 strongest images of channel 2 at step 9" in text and "untrained: 1, step 5: 2." in text


def test_tiles_fill_the_figure_and_each_is_drawn_once():
    rows = image_sheet.in_rows([Tile(np.zeros((3, 3, 3)))] * 32)
    assert sum(len(tiles) for _, tiles in rows) == 32 and {len(tiles) for _, tiles in rows[:-1]} == {len(rows[0][1])}
    assert [image_sheet.columns_beside(rows, 10) for rows in (2, 3, 4, 5)] == [4, 7, 10, 10]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Runs whose filters are twice as large at step 20 as at step 10: {recipe: folder}."""
    runs_dir = tmp_path_factory.mktemp("runs")

    def change(step, name, tensor):
        return tensor * 2 if step == 20 and name.endswith("/kernel") and "whitening" not in name else tensor

    return {recipe: write_run(runs_dir, recipe, change=change) for recipe in ("debug", "minute", "modern")}


def drawn(folder, tmp_path, capsys, *args) -> str:
    """What the script prints for this run."""
    out = tmp_path / "it.png"
    filters.main(filters.parse([str(folder), "--images", "50", "--out", str(out), *map(str, args)]))
    assert out.stat().st_size > 10_000
    return capsys.readouterr().out


@pytest.mark.parametrize("recipe, first", [("debug", "conv1"), ("minute", "whitening"), ("modern", "conv1")])
def test_the_filters_of_every_recipe(folders, tmp_path, capsys, recipe, first):
    text = drawn(folders[recipe], tmp_path, capsys)
    assert f"filters of {first} " in text and ("Nothing is learned" in text) == (recipe == "minute")
    if recipe != "minute":  # a factor of two does not turn a filter
        assert "Cosine with the untrained filter: 1.00" in text
        assert "left to those: 100 % at step 10 of" in drawn(folders[recipe], tmp_path, capsys, "--evolution")


@pytest.mark.parametrize(
    "recipe, layer, size, args",
    [("debug", "relu1", 3, ()), ("minute", "act1a", 5, ("--channel", 3)), ("minute", "scale", 32, ("--evolution",))],
)
def test_the_patches_of_every_recipe(folders, tmp_path, capsys, recipe, layer, size, args):
    text = drawn(folders[recipe], tmp_path, capsys, "--layer", layer, *args)
    assert f"receptive field, {size}×{size} pixels" in text and "50 test images" in text
    assert text.count("Channel") == {0: 4, 2: 1, 1: 0}[len(args)]
    # The checkpoint of step 10 holds the untrained weights.
    assert bool(re.search(r"untrained: (\d+), step 10: \1\.", text)) == ("--evolution" in args)


def test_one_row_is_a_slide(folders, tmp_path, capsys, monkeypatch):
    sheets = []
    monkeypatch.setattr(image_sheet, "draw", lambda rows, title, *rest: sheets.append((rows, title)))
    (tmp_path / "it.png").write_bytes(b"." * 20_000)
    drawn(folders["debug"], tmp_path, capsys, "--evolution")
    drawn(folders["debug"], tmp_path, capsys, "--evolution", "--panel", "step-10")
    drawn(folders["debug"], tmp_path, capsys, "--layer", "conv1")
    channel, tiles = sheets[2][0][1]
    drawn(folders["debug"], tmp_path, capsys, "--layer", "conv1", "--panel", channel.replace(" ", "-"))
    (_, of_step_10), *_ = [row for row in sheets[0][0] if row[0] == "step 10"]
    found = [tile for _, row in sheets[1][0] for tile in row]
    assert [np.array_equal(a.image, b.image) for a, b in zip(found, of_step_10)] == [True] * len(of_step_10)
    assert all(tile.under.isdigit() for tile in found) and sheets[1][1].startswith("Step 10: evolution of the 8 ")
    found = [tile for _, row in sheets[3][0] for tile in row]
    assert len(found) == channels.TOP > len(tiles) and sheets[3][1].startswith(f"Channel {channel.split()[1]}: patches")
    assert all(np.array_equal(a.image, b.image) for a, b in zip(found, tiles))
    with pytest.raises(RunError, match="--panel step-11: the rows of this figure are untrained, step-10, step-20"):
        drawn(folders["debug"], tmp_path, capsys, "--evolution", "--panel", "step-11")


def test_evolution_passes_over_a_damaged_checkpoint(tmp_path, capsys):
    folder = write_run(tmp_path, "debug", steps=(5, 10, 20), holdout=True)
    (checkpoints.newest_first(folder)[1] / "tensors.npz").write_bytes(b"cut short")
    text = drawn(folder, tmp_path, capsys, "--layer", "conv1", "--evolution")
    assert "passed over" in text and "untrained: 24, step 5: 24." in text and "validation images" in text


def test_what_cannot_be_drawn_is_refused(folders, tmp_path, capsys):
    empty = write_run(tmp_path, "debug", steps=())
    diverged = write_run(tmp_path / "nan", "debug", change=lambda step, name, tensor: tensor * np.nan)
    for folder, args, message in (
        (folders["debug"], ("--layer", "conv9"), "--layer conv9: not a layer of this network; it has conv1, norm1"),
        (folders["debug"], ("--layer", "conv1", "--channel", 8), "layer 'conv1' has the channels 0 to 7"),
        (empty, (), "no checkpoint in it yet"),
        (diverged, (), "the filters of this checkpoint are not finite"),
    ):
        with pytest.raises((RunError, checkpoints.CheckpointError), match=message):
            drawn(folder, tmp_path, capsys, *args)
    with pytest.raises(RunError, match="has no convolution"):
        channels.first_convolution(CNN("none", [Flatten("flatten"), Dense("dense", 3072, 10)]))
    for args in (("--channel", "3"), ("--images", "0"), ("--panel", "x")):
        with pytest.raises(SystemExit) as stopped:
            filters.parse(args)
        assert stopped.value.code == 2


def test_the_images_searched_are_spread_over_all(folders, tmp_path, capsys, monkeypatch):
    data, searched = cached_load("shapes10", "", False), []
    monkeypatch.setattr(channels, "excitations", lambda cnn, name, images: searched.append(images) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drawn(folders["debug"], tmp_path, capsys, "--layer", "conv1")
    assert np.array_equal(searched[0], data.test_images[::40])


def test_help_is_quick_and_names_the_options():
    text = run("analysis/filters.py", "--help").stdout
    assert all(option in text for option in ("--layer", "--channel", "--evolution", "--images", "--runs-dir"))
