"""Gradients drawn: the sentences say what the numbers are, for healthy runs, sick ones and ones that lack them."""

import numpy as np
import pytest
from made_runs import MadeRun
from matplotlib import pyplot
from runner import run

from analysis import gradients
from analysis.support import common, panels
from core.run import logs, run_folder

STEPS = np.arange(1, 101)


def says(tmp_path, draw, **quantities) -> str:
    """A panel's sentence about a run with these quantities: {layer: value or values at steps 1 to 100}."""
    made = MadeRun(epochs=1)
    for quantity, of in quantities.items():
        made.layers[quantity] = {
            layer: (STEPS, np.broadcast_to(np.float64(values), 100)) for layer, values in of.items()
        }
    found = made.write(tmp_path)
    drawing, axes = common.figure(1, 1)
    try:
        sentence = draw(axes[0, 0], found)
        drawing.canvas.draw()
    finally:
        pyplot.close(drawing)
    return sentence


def test_the_hardest_and_the_least_pushed_layer_and_the_one_that_changed(tmp_path):
    rising = np.where(STEPS > 50, 0.4, 0.1)
    args = says(tmp_path, gradients.draw_size, gradient_rms={"conv1": rising, "conv2": 0.001, "dense": 0.5})
    assert "weight of dense is pushed hardest (median 0.5), one of conv2 least (0.001)" in args
    assert "conv1 changed most: from 0.1 to 0.4" in args


@pytest.mark.parametrize(
    "first, meaning",
    [(0.5, "reaches the first layer"), (1e-4, "the gradient vanishes on its way"), (100, "explodes on its way back")],
)
def test_gradient_flow_is_first_layer_over_last(tmp_path, first, meaning):
    args = says(tmp_path, gradients.draw_flow, gradient_norm={"conv1": first, "conv2": 7, "dense": 1})
    assert meaning in args
    assert f"norm in conv1 is {panels.in_words(first)} times that in dense at the start" in args


def test_update_ratio_counts_what_lies_in_the_band(tmp_path):
    half = np.where(STEPS > 50, 0.05, 0.005)
    args = says(tmp_path, gradients.draw_ratio, update_ratio={"conv1": half, "dense": 0.001})
    assert "75 % of the measurements lie in the green band, 0.0001 to 0.01; most others lie above it" in args
    assert "those of dense by 0.001" in args


def test_credit_is_shared_among_the_layers_and_a_layer_that_raises_the_loss_is_named(tmp_path):
    args = says(tmp_path, gradients.draw_credit, first_order_change={"conv1": -0.6, "conv2": -0.3, "dense": 0.1})
    assert "lowered most by conv1 60 % and conv2 30 %; on balance raised by dense 10 %" in args
    assert "33 % of the coloured pieces lie below zero" in args


def test_the_distance_is_the_last_one_and_half_of_it_has_its_step(tmp_path):
    args = says(tmp_path, gradients.draw_distance, distance={"conv1": STEPS / 50, "dense": STEPS / 1000})
    assert "conv1 has walked furthest: 2 times the size of its first weights, half of that by step 50 of 100" in args
    assert "dense has walked least: 0.1 times" in args


@pytest.mark.parametrize("cosine, meaning", [(-0.4, "takes back"), (0.02, "neither"), (0.8, "straight on")])
def test_the_cosine_and_what_it_means(tmp_path, cosine, meaning):
    values = np.where(STEPS == 1, 0, cosine)  # the first step has none before it
    args = says(tmp_path, gradients.draw_cosine, gradient_cosine={"conv1": values, "dense": values})
    assert f"over all layers {cosine:+.2f}" in args and meaning in args


def test_steps_that_are_not_numbers_are_left_out(tmp_path):
    broken = np.where(STEPS > 90, np.nan, 0.5)
    args = says(tmp_path, gradients.draw_size, gradient_rms={"conv1": broken, "dense": 0.25})
    assert "conv1 is pushed hardest (median 0.5)" in args and "nan" not in args


def test_layers_keep_the_network_s_order(tmp_path):
    table = panels.measured(MadeRun(epochs=1).write(tmp_path), "gradient_norm")
    assert table.layers == ("conv1", "conv2", "dense")
    brightness = panels.layer_colours(table)[:, :3].sum(axis=1)
    assert (np.diff(brightness) > 0).all()


def test_a_band_is_the_percentiles_of_each_stretch():
    middle, low, high = panels.band(np.arange(1010), np.tile(np.arange(101.0), 10), stretches=1)
    np.testing.assert_allclose([middle[0], low[0], high[0]], [504.5, 10, 90])
    steps = np.concatenate([np.arange(1, 101), np.arange(110, 10_000, 10)])
    middle, low, high = panels.band(steps, np.sqrt(steps))
    assert (low <= np.sqrt(middle)).all() and (np.sqrt(middle) <= high + 0.5).all()


def test_numbers_and_lists_in_words():
    assert [panels.in_words(x) for x in (0, 0.0123, -2.06e-5, 3.14159, 99.7, 1234.5)] == [
        "0", "0.012", "-2.1e-05", "3.1", "100", "1,234",
    ]  # fmt: skip
    assert [panels.listed(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_the_script_draws_and_says_the_same(tmp_path):
    MadeRun().write(tmp_path)
    done = run("analysis/gradients.py", "it", "--runs-dir", tmp_path)
    assert (tmp_path / "it" / "gradients.png").stat().st_size > 50_000
    assert all(title in done.stdout for title in gradients.PANELS)


def test_a_run_that_lacks_a_quantity_says_which_and_the_command(tmp_path):
    old = MadeRun(epochs=1)
    for quantity in set(old.layers) - {"gradient_norm", "update_ratio"}:
        del old.layers[quantity]
    old.write(tmp_path, "old")
    done = run("analysis/gradients.py", "old", "--runs-dir", tmp_path)
    assert "first_order_change was not measured; `python train_loop.py --diagnostics full` measures it." in done.stdout
    bare = MadeRun(epochs=1)
    bare.layers = {}
    folder = bare.write(tmp_path, "bare").folder
    (folder / logs.LAYERS).unlink()
    with pytest.raises(run_folder.RunError, match=r"bare: gradient_rms was not measured; `python"):
        gradients.main(common.parser("gradients", "").parse_args(["bare", "--runs-dir", str(tmp_path)]))
