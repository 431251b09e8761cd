"""Gradients drawn: conclusions computed from the numbers of clean runs, faulty ones and ones that lack them."""

import numpy as np
import pytest
from made_runs import MadeRun
from readable import assert_readable
from runner import run

from analysis import gradients
from analysis.support import panels, style
from core.run import logs, run_folder

STEPS = np.arange(1, 101)


def conclusion(tmp_path, draw, **quantities) -> str:
    """A panel's conclusion about a run with these quantities: {layer: value or values at steps 1 to 100}."""
    made = MadeRun(epochs=1)
    for quantity, of in quantities.items():
        made.layers[quantity] = {
            layer: (STEPS, np.broadcast_to(np.float64(values), 100)) for layer, values in of.items()
        }
    found = made.write(tmp_path)
    drawing, axes = style.figure(1, 1)
    try:
        text = draw(axes[0, 0], found)
        drawing.canvas.draw()
    finally:
        style.close(drawing)
    return text


def test_the_largest_and_the_smallest_gradient_and_the_one_that_changed(tmp_path):
    rising = np.where(STEPS > 50, 0.4, 0.1)
    text = conclusion(tmp_path, gradients.draw_size, gradient_rms={"conv1": rising, "conv2": 0.001, "dense": 0.5})
    assert "Largest in dense (median 0.5), smallest in conv2 (0.001)." in text
    assert "conv1 changed most: from 0.1 to 0.4" in text


@pytest.mark.parametrize(
    "first, meaning",
    [(0.5, "neither vanishing"), (1e-4, "the gradient vanishes"), (100, "explodes on the backward pass")],
)
def test_gradient_flow_is_first_layer_over_last(tmp_path, first, meaning):
    text = conclusion(tmp_path, gradients.draw_flow, gradient_norm={"conv1": first, "conv2": 7, "dense": 1})
    assert meaning in text
    assert text.startswith(f"conv1 / dense: {style.number(first)} at first, {style.number(first)} at the end")


def test_gradient_flow_without_a_gradient_or_with_one_that_explodes(tmp_path):
    ends = {"conv1": np.where(STEPS > 50, 0, 0.5), "dense": np.where(STEPS > 50, 0, 1)}
    text = conclusion(tmp_path / "a", gradients.draw_flow, gradient_norm=ends)
    assert text.startswith("conv1 / dense: 0.5 at first, 0 / 0 at the end, where no layer has a gradient.")
    text = conclusion(tmp_path / "b", gradients.draw_flow, gradient_norm=ends | {"conv1": 0.5})
    assert "0.5 at first, 0.5 / 0 at the end, no ratio where dense has no gradient." in text
    text = conclusion(tmp_path / "c", gradients.draw_flow, gradient_norm={"conv1": 2.0, "dense": 1e6})
    assert "below 0.001: the gradient of dense explodes, its norm is 1,000,000." in text
    text = conclusion(tmp_path / "d", gradients.draw_flow, gradient_norm={"conv1": 1e-5, "dense": [*[1] * 99, np.inf]})
    assert "1e-05 at the end, in a run that is not finite." in text and "vanish" not in text


def test_no_gradient_is_called_none(tmp_path):
    text = conclusion(tmp_path / "a", gradients.draw_size, gradient_rms={"conv1": 0, "dense": 0})
    assert text.startswith("No layer has a gradient in most of the steps (median 0). RMS:")
    text = conclusion(tmp_path / "b", gradients.draw_cosine, gradient_cosine={"conv1": 0, "dense": 0})
    assert "+0.00: no direction, as where there is no gradient." in text


def test_a_run_that_is_not_finite_is_said_to_be_so_first(tmp_path):
    made = MadeRun(epochs=1)
    made.steps["loss"][40:] = np.nan
    assert made.write(tmp_path, "lost").first_not_finite == (41, "loss")
    assert MadeRun().write(tmp_path, "well").first_not_finite is None
    for script in ("gradients", "activations"):
        first = run(f"analysis/{script}.py", "lost", "--runs-dir", tmp_path, "--out", tmp_path / "it.svg").stdout
        assert first.startswith("lost: not finite at step 41 (loss) for the first time; what follows")
        assert ", not finite at step 41" in (tmp_path / "it.svg").read_text()
    assert "not finite" not in run("analysis/gradients.py", "well", "--runs-dir", tmp_path).stdout


def test_update_ratio_counts_what_lies_in_the_band(tmp_path):
    half = np.where(STEPS > 50, 0.05, 0.005)
    text = conclusion(tmp_path, gradients.draw_ratio, update_ratio={"conv1": half, "dense": 0.001})
    assert "75 % of the measurements lie in the green band, 0.0001 to 0.01; most others lie above it" in text
    assert "smallest in dense (0.001)" in text


def test_the_first_order_change_of_each_layer_and_a_layer_that_raises_the_loss(tmp_path):
    text = conclusion(
        tmp_path, gradients.draw_first_order_change, first_order_change={"conv1": -0.6, "conv2": -0.3, "dense": 0.1}
    )
    assert "lowered most by conv1 60 % and conv2 30 %; raised on balance by dense 10 %." in text
    assert "33 % of the bars lie below zero" in text


def test_the_captions_of_a_run_in_which_no_layer_raises_the_loss_are_inside(monkeypatch, tmp_path):
    made, drawn = MadeRun(epochs=1), []
    monkeypatch.setattr(style, "save", lambda drawing, out: drawn.append(drawing))
    for layer, change in (("conv1", -0.33), ("conv2", -0.56), ("dense", -0.11)):
        made.layers["first_order_change"][layer][1][:] = change
    panels.draw_all(made.write(tmp_path), gradients.PANELS, "Gradients", tmp_path / "it.png")
    texts = assert_readable(drawn[0])
    style.close(drawn[0])
    assert any(
        " ".join(text.split()) == "The loss was lowered most by conv2 56 %, conv1 33 % and dense 11 %."
        for text in texts
    )


def test_the_distance_is_the_last_one_and_half_of_it_has_its_step(tmp_path):
    text = conclusion(tmp_path, gradients.draw_distance, distance={"conv1": STEPS / 50, "dense": STEPS / 1000})
    assert "Largest in conv1: 2 times the norm of its initial weights, half of that by step 50 of 100" in text
    assert "Smallest in dense: 0.1 times" in text


@pytest.mark.parametrize(
    "cosine, meaning", [(-0.4, "undoes part"), (0.02, "between the dotted lines"), (0.8, "one direction")]
)
def test_the_cosine_and_what_it_means(tmp_path, cosine, meaning):
    values = np.where(STEPS == 1, 0, cosine)  # the first step has none before it
    text = conclusion(tmp_path, gradients.draw_cosine, gradient_cosine={"conv1": values, "dense": values})
    assert f"over all layers {cosine:+.2f}:" in text and meaning in text


def test_one_step_is_enough_for_a_figure_and_says_nothing_of_a_change(monkeypatch, tmp_path, capsys):
    """train_loop.py --steps 1: a dot for every layer, one number on the axis, no distance and no cosine yet."""
    made = MadeRun(epochs=1)
    made.steps = {name: values[:1] for name, values in made.steps.items()}
    made.evaluations = {name: values[:0] for name, values in made.evaluations.items()}
    drawn = []
    monkeypatch.setattr(style, "save", lambda drawing, out: drawn.append(drawing))
    panels.draw_all(made.write(tmp_path), gradients.PANELS, "Gradients", tmp_path / "it.png")
    out = capsys.readouterr().out
    assert "changed most" not in out and "does not train" not in out and "Median over all layers" not in out
    assert "Distance from initialization: the distance before step 1 is 0: it takes a second step." in out
    assert "Gradient cosine similarity: a cosine takes two steps." in out
    assert_readable(drawn[0])
    sizes = next(area for area in drawn[0].axes if area.get_title() == "Gradient RMS")
    assert [line.get_marker() for line in sizes.lines if line.get_alpha() is None] == ["o"] * 3
    ticks = [tick.label1.get_text() for tick in sizes.xaxis.get_major_ticks()]
    assert "1" in ticks and len(set(ticks)) == len(ticks)
    style.close(drawn[0])


def test_steps_that_are_not_numbers_are_left_out(tmp_path):
    broken = np.where(STEPS > 90, np.nan, 0.5)
    text = conclusion(tmp_path, gradients.draw_size, gradient_rms={"conv1": broken, "dense": 0.25})
    assert "Largest in conv1 (median 0.5)" in text and "nan" not in text


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
    assert [style.number(x) for x in (0, 0.0123, -2.06e-5, 3.14159, 99.7, 1234.5, 7e15)] == [
        "0", "0.012", "-2.1e-05", "3.1", "100", "1,234", "7e+15",
    ]  # fmt: skip
    assert [style.listed(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_the_script_draws_and_prints_the_same(tmp_path):
    MadeRun().write(tmp_path)
    done = run("analysis/gradients.py", "it", "--runs-dir", tmp_path)
    assert (tmp_path / "it" / "gradients.png").stat().st_size > 50_000
    assert all(panel.title in done.stdout for panel in gradients.PANELS)


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
    parser = panels.build_parser("gradients", "", gradients.PANELS)
    with pytest.raises(run_folder.RunError, match=r"bare: gradient_rms was not measured; `python"):
        gradients.main(parser.parse_args(["bare", "--runs-dir", str(tmp_path)]))
