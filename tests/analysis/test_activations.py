"""Activations drawn: growing and shrinking signals, sparsity and dead channels, each conclusion from its numbers."""

import re

import numpy as np
import pytest
from made_runs import FORWARD, MadeRun
from matplotlib.text import Annotation
from readable import assert_readable, texts_of
from runner import PROJECT, run

from analysis import activations
from analysis.diagnosis.detectors import DETECTORS
from analysis.support import panels, style
from analysis.support.run import ACTIVATION_BATCH, ACTIVATION_IMAGES, NotMeasured, Run
from core.measure import probes
from core.run import run_folder

MEASURED = np.array([0, 50, 100])


def conclusion(tmp_path, draw, measurements=MEASURED, **quantities) -> str:
    """A panel's conclusion about a run with these quantities: {layer: values at the measurements}."""
    made = MadeRun(epochs=1)
    for quantity, of in quantities.items():
        made.layers[quantity] = {
            layer: (measurements, np.broadcast_to(np.float64(values), len(measurements)))
            for layer, values in of.items()
        }
    found = made.write(tmp_path)
    drawing, axes = style.figure(1, 1)
    try:
        text = draw(axes[0, 0], found)
        drawing.canvas.draw()
    finally:
        style.close(drawing)
    return text


@pytest.mark.parametrize(
    "stds, meaning",
    [
        ((1, 1, 1, 1, 0.1), "the signal keeps its size: from 1 in conv1 to 1 in relu2."),
        ((1, 0.6, 0.2, 0.2, 0.2), "the signal shrinks: from 1 in conv1 to 0.2 in relu2."),
        ((1, 1, 4, 4, 4), "the signal grows: from 1 in conv1 to 4 in relu2"),
    ],
)
def test_the_size_of_the_signal_is_judged_without_the_output_layer(tmp_path, stds, meaning):
    text = conclusion(tmp_path, activations.draw_std, activation_std=dict(zip(FORWARD, stds)))
    assert meaning in text and "dense, the output layer, begins small on purpose" in text
    assert ("A factor below 0.5 or above 2: conv2" in text) == (stds[2] != stds[1])


def test_the_layer_whose_standard_deviation_changed_most(tmp_path):
    of = dict.fromkeys(FORWARD, 1.0) | {"conv2": [1, 2, 8], "relu1": [1, 1, 0.5]}
    text = conclusion(tmp_path, activations.draw_std_over_run, activation_std=of)
    assert "Changed most in conv2: from 1 to 8, a factor of 8." in text and "it grew in 1 of 5 layers." in text


def test_a_layer_of_zeros_does_not_break_the_logarithm(tmp_path):
    of = dict.fromkeys(FORWARD, 1.0) | {"relu2": 0.0}
    assert "conv1" in conclusion(tmp_path / "a", activations.draw_std, activation_std=of)
    assert "it grew in 0 of 5 layers" in conclusion(tmp_path / "b", activations.draw_std_over_run, activation_std=of)


def test_the_mean_is_given_in_standard_deviations(tmp_path):
    text = conclusion(
        tmp_path, activations.draw_mean, activation_std=dict.fromkeys(FORWARD, 2.0),
        activation_mean=dict.fromkeys(FORWARD, 0.0) | {"relu1": [0, 1, 3]},
    )  # fmt: skip
    assert "relu1, its mean +1.50 std. Without the division by std it is +3. At step 0 it was +0.00 std." in text


def test_sparsity(tmp_path):
    of = dict.fromkeys(FORWARD, 0.0) | {"relu1": [0.5, 0.5, 0.5], "relu2": [0.5, 0.7, 0.9]}
    text = conclusion(tmp_path / "a", activations.draw_sparsity_over_run, sparsity=of)
    assert "Highest at step 100: relu2 with 90 %, at step 0 50 %." in text
    text = conclusion(tmp_path / "b", activations.draw_sparsity, sparsity=of)
    assert "most in relu2: by +40 points to 90 %." in text and "layers 20 % at step 0, 28 % at step 100" in text


def test_dead_channels(tmp_path):
    text = conclusion(tmp_path / "a", activations.draw_dead, dead_channels={"relu1": 0.0, "relu2": 0.0})
    assert "None at any of the 3 measurements. Measured in relu1 and relu2." in text
    text = conclusion(tmp_path / "b", activations.draw_dead, dead_channels={"relu1": 0.0, "relu2": [0, 0.6, 0.25]})
    assert "At step 100 25 % of relu2; at most 60 %, in relu2 at step 50." in text
    text = conclusion(tmp_path / "c", activations.draw_dead, dead_channels={"relu1": [0, 0.3, 0]})
    assert "At step 100 none; at most 30 %, in relu1" in text


def test_the_dotted_lines_are_the_thresholds_of_the_diagnosis(tmp_path):
    for level, below, above in ((activations.SOME_DEAD, None, "amber"), (activations.MANY_DEAD, "amber", "red")):
        for difference, severity in ((-0.01, below), (0.01, above)):
            made = MadeRun(epochs=2)
            made.layers["dead_channels"] = {"relu1": (np.array([0, 100, 200]), np.full(3, level + difference))}
            finding = DETECTORS["dying-relu"](made.write(tmp_path, f"run{level + difference:.2f}"))
            assert (finding and finding.severity) == severity
    text = conclusion(tmp_path / "d", activations.draw_dead, dead_channels={"relu1": 0.0})
    assert "Dotted: 50 % and 90 %" in text


@pytest.mark.parametrize("dead", [0.0, 0.5])
def test_one_measurement_is_enough_for_a_figure_and_says_nothing_of_a_change(tmp_path, dead):
    of = {q: dict.fromkeys(FORWARD, 0.5) for q in ("activation_std", "activation_mean", "sparsity")}
    of["dead_channels"] = {"relu1": dead}
    for panel in activations.PANELS:
        text = conclusion(tmp_path / panel.name, panel.draw, measurements=np.array([0]), **of)
        assert "nly one measurement, at step 0" in text or "None at the only measurement. Measured in relu1" in text
        assert not re.search(r"Training changed|Between|it was|at most|, at step 0 50|At step 0: from", text)


def test_the_images_are_as_many_as_were_measured(tmp_path):
    assert (ACTIVATION_IMAGES, ACTIVATION_BATCH) == (probes.ACTIVATION_IMAGES, probes.ACTIVATION_BATCH)
    for count, measured in ((50_000, 1_000), (999, 800), (300, 200), (150, 150), (1, 1)):
        made = MadeRun(epochs=1)
        made.config["data"]["train_images"] = count
        found = made.write(tmp_path / str(count))
        assert found.activation_images == measured
        drawing, axes = style.figure(1, 1)
        assert f"zero for all {measured:,} images" in activations.draw_dead(axes[0, 0], found)
        style.close(drawing)


def test_of_outputs_that_are_no_numbers_none_is_called_zero(tmp_path):
    """Of NaN no number is below 1e-6: layers.csv then has a sparsity of 0, and no dead channel."""
    of = {
        "activation_mean": {layer: [0.1, 0.2, np.nan] for layer in FORWARD},
        "sparsity": {layer: [0.5, 0.6, 0] for layer in FORWARD},
        "dead_channels": {"relu1": [0, 0.25, 0]},
    }
    assert "to 60 %" in conclusion(tmp_path / "a", activations.draw_sparsity, **of)
    assert "Highest at step 50" in conclusion(tmp_path / "b", activations.draw_sparsity_over_run, **of)
    assert conclusion(tmp_path / "c", activations.draw_dead, **of).startswith("At step 50 25 % of relu1;")
    of["activation_mean"] = dict.fromkeys(FORWARD, np.nan)
    with pytest.raises(NotMeasured, match="sparsity was never that of numbers"):
        conclusion(tmp_path / "d", activations.draw_sparsity, **of)


@pytest.mark.parametrize("level, measured", [("light", "full"), ("full", "full"), ("light", "off")])
def test_a_command_that_would_not_measure_it_is_not_given(monkeypatch, tmp_path, capsys, level, measured):
    """A network without a nonlinearity has no dead channels, whatever is measured; and a full run measured all."""
    made = MadeRun(epochs=1)
    made.config["settings"]["diagnostics"] = level
    del made.layers["dead_channels"]
    if measured == "off":
        del made.layers["sparsity"]
    drawn = []
    monkeypatch.setattr(style, "save", lambda drawing, out: drawn.append(drawing))
    panels.draw_all(made.write(tmp_path), activations.PANELS, "Activations", tmp_path / "it.png")
    out, texts = capsys.readouterr().out, assert_readable(drawn[0])
    style.close(drawn[0])
    reason = "Dead channels: no layer of this network is a nonlinearity, and only behind one a channel can die."
    assert (reason in out) == (measured == "full")
    assert any("Not measured: Dead channels." in text for text in texts) == (measured == "full")
    assert (panels.HOW in out) == (measured == "off") and not any("measures it" in text for text in texts)


def test_a_dead_channel_may_come_back(tmp_path):
    assert "rarely comes back" in conclusion(tmp_path, activations.draw_dead, dead_channels={"relu1": [0, 0.3, 0]})


def test_no_caption_touches_the_panel_below_it(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(style, "save", lambda drawing, out: drawn.append(drawing))
    found = Run(PROJECT / "tests" / "faults" / "rate-too-high")
    panels.draw_all(found, activations.PANELS, "Activations", tmp_path / "it.png")
    boxes = {text: text.get_window_extent() for text in texts_of(drawn[0])}
    captions = [text for text in boxes if isinstance(text, Annotation)]
    assert len(captions) == len(activations.PANELS)
    for one in captions:
        over = [text.get_text() for text, box in boxes.items() if text is not one and box.overlaps(boxes[one])]
        assert not over, (one.get_text(), over)
    style.close(drawn[0])


def test_the_names_of_many_layers_can_be_read(monkeypatch, tmp_path):
    """The speed networks have 27."""
    made, drawn = MadeRun(epochs=1), []
    names = [f"layer{i:02}" for i in range(27)]
    for quantity in ("activation_mean", "activation_std", "sparsity"):
        made.layers[quantity] = {name: (MEASURED, np.array([0.5, 0.4, 0.6])) for name in names}
    made.layers["dead_channels"] = {name: (MEASURED, np.zeros(3)) for name in names[1::5]}
    monkeypatch.setattr(style, "save", lambda drawing, out: drawn.append(drawing))
    panels.draw_all(made.write(tmp_path), activations.PANELS, "Activations", tmp_path / "it.png")
    assert_readable(drawn[0])
    style.close(drawn[0])


def test_the_script_draws_and_prints_the_same(tmp_path):
    MadeRun().write(tmp_path)
    done = run("analysis/activations.py", "--runs-dir", tmp_path)
    assert (tmp_path / "it" / "activations.png").stat().st_size > 50_000
    assert all(panel.title in done.stdout for panel in activations.PANELS)


def test_a_run_without_activations_says_so(tmp_path):
    made = MadeRun(epochs=1)
    made.layers = {"gradient_norm": made.layers["gradient_norm"]}
    made.write(tmp_path)
    parser = panels.build_parser("activations", "", activations.PANELS)
    with pytest.raises(run_folder.RunError, match=r"activation_std was not measured; `python train_loop.py --diag"):
        activations.main(parser.parse_args(["it", "--runs-dir", str(tmp_path)]))
