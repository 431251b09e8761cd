"""Activations drawn: fading, shouting, zeros and dead channels are called what they are."""

import numpy as np
import pytest
from made_runs import FORWARD, MadeRun
from matplotlib import pyplot
from runner import run

from analysis import activations
from analysis.support import common
from core.run import run_folder

LOOKS = np.array([0, 50, 100])


def says(tmp_path, draw, measurements=LOOKS, **quantities) -> str:
    """A panel's sentence about a run with these quantities: {layer: values at the looks}."""
    made = MadeRun(epochs=1)
    for quantity, of in quantities.items():
        made.layers[quantity] = {
            layer: (measurements, np.broadcast_to(np.float64(values), len(measurements))) for layer, values in of.items()
        }
    found = made.write(tmp_path)
    drawing, axes = common.figure(1, 1)
    try:
        sentence = draw(axes[0, 0], found)
        drawing.canvas.draw()
    finally:
        pyplot.close(drawing)
    return sentence


@pytest.mark.parametrize(
    "deviations, meaning",
    [
        ((1, 1, 1, 1, 0.1), "the signal keeps its size: its deviation goes from 1 in conv1 to 1 in relu2"),
        ((1, 0.6, 0.2, 0.2, 0.2), "the signal fades: its deviation goes from 1 in conv1 to 0.2 in relu2"),
        ((1, 1, 4, 4, 4), "the signal grows louder"),
    ],
)
def test_fading_and_shouting_are_judged_before_the_output(tmp_path, stds, meaning):
    args = says(tmp_path, activations.draw_fading, activation_std=dict(zip(FORWARD, stds)))
    assert meaning in args and "dense starts small on purpose" in args
    assert ("halving or doubling in conv2" in args) == (stds[2] != stds[1])


def test_the_layer_whose_deviation_changed_most(tmp_path):
    of = dict.fromkeys(FORWARD, 1.0) | {"conv2": [1, 2, 8], "relu1": [1, 1, 0.5]}
    args = says(tmp_path, activations.draw_deviation, activation_std=of)
    assert "grew in 1 of 5 layers. It changed most in conv2: from 1 to 8, 8 times." in args


def test_a_silent_layer_does_not_break_the_logarithm(tmp_path):
    of = dict.fromkeys(FORWARD, 1.0) | {"relu2": 0.0}
    assert "conv1" in says(tmp_path / "a", activations.draw_fading, activation_std=of)
    assert "deviation grew in 0 of 5" in says(tmp_path / "b", activations.draw_deviation, activation_std=of)


def test_the_mean_is_told_in_deviations(tmp_path):
    args = says(
        tmp_path, activations.draw_mean, activation_std=dict.fromkeys(FORWARD, 2.0),
        activation_mean=dict.fromkeys(FORWARD, 0.0) | {"relu1": [0, 1, 3]},
    )  # fmt: skip
    assert "output of relu1 is furthest from zero: its mean is +1.50 deviations (+3)" in args


def test_zeros(tmp_path):
    of = dict.fromkeys(FORWARD, 0.0) | {"relu1": [0.5, 0.5, 0.5], "relu2": [0.5, 0.7, 0.9]}
    args = says(tmp_path / "a", activations.draw_zeros, sparsity=of)
    assert "Most zeros at step 100: relu2 with 90 %, where it had 50 % at step 0" in args
    args = says(tmp_path / "b", activations.draw_sparsity, sparsity=of)
    assert "most in relu2: by +40 points, to 90 %. Averaged over the layers: 20 % at step 0, 28 % at step 100" in args


def test_dead_channels(tmp_path):
    args = says(tmp_path / "a", activations.draw_dead, dead_channels={"relu1": 0.0, "relu2": 0.0})
    assert "No channel was dead at any of the 3 measurements: each unit of relu1 and relu2" in args
    args = says(tmp_path / "b", activations.draw_dead, dead_channels={"relu1": 0.0, "relu2": [0, 0.6, 0.25]})
    assert "25 % of the channels of relu2 are off for every picture; the most at any time was 60 %" in args
    assert "in relu2 at step 50" in args
    args = says(tmp_path / "c", activations.draw_dead, dead_channels={"relu1": [0, 0.3, 0]})
    assert "At step 100 no channel is off for every picture; the most at any time was 30 %" in args


def test_one_look_is_enough_for_a_picture(tmp_path):
    for name, draw in activations.PANELS.items():
        of = {q: dict.fromkeys(FORWARD, 0.5) for q in ("activation_std", "activation_mean", "sparsity")}
        assert says(tmp_path / name.split()[0] / str(len(name)), draw, measurements=np.array([0]), **of)


def test_the_script_draws_and_says_the_same(tmp_path):
    MadeRun().write(tmp_path)
    done = run("analysis/activations.py", "--runs-dir", tmp_path)
    assert (tmp_path / "it" / "activations.png").stat().st_size > 50_000
    assert all(title in done.stdout for title in activations.PANELS)


def test_a_run_without_activations_says_so(tmp_path):
    made = MadeRun(epochs=1)
    made.layers = {"gradient_norm": made.layers["gradient_norm"]}
    made.write(tmp_path)
    with pytest.raises(run_folder.RunError, match=r"activation_std was not measured; `python train_loop.py --diag"):
        activations.main(common.parser("activations", "").parse_args(["it", "--runs-dir", str(tmp_path)]))
