"""Curvature drawn: counted against 2 / learning rate, predicted against actual change, the noise scale by hand."""

import numpy as np
import pytest
from made_runs import MadeRun
from runner import run

from analysis import curvature
from analysis.support import style
from analysis.support.run import NotMeasured
from core.measure import probes

STEPS = np.array([1, 2, 5, 10, 20, 50, 100])


def made_run(**quantities) -> MadeRun:
    """A run with these quantities of the whole network at STEPS, at a learning rate of 0.04."""
    made = MadeRun(epochs=1)
    made.steps["learning_rate"] = np.full(100, 0.04)
    for quantity, values in quantities.items():
        made.layers[quantity] = {"network": (STEPS, np.broadcast_to(np.float64(values), len(STEPS)))}
    return made


def conclusion(tmp_path, draw, **quantities) -> str:
    found = made_run(**quantities).write(tmp_path)
    drawing, axes = style.figure(1, 1)
    try:
        text = draw(axes[0, 0], found)
        drawing.canvas.draw()
    finally:
        style.close(drawing)
    return text


def test_curvature_is_counted_against_two_over_the_rate(tmp_path):
    text = conclusion(tmp_path, curvature.draw_curvature, curvature=[10, 20, 30, 60, 51, 49, 12])  # 2 / 0.04 = 50
    assert "Above 2 / learning rate in 2 of 7 measurements; median 30, highest 60 at step 10." in text
    assert "not a verdict" in text and "momentum" in text


def test_a_negative_curvature_is_drawn_and_counted(tmp_path):
    text = conclusion(tmp_path / "a", curvature.draw_curvature, curvature=[10, -5, 30, -60, 51, 49, 12])
    assert "Negative in 2." in text
    assert "Negative in 7." in conclusion(tmp_path / "b", curvature.draw_curvature, curvature=-1.0)


def test_predicted_against_actual_change(tmp_path):
    text = conclusion(
        tmp_path, curvature.draw_changes, predicted_change=[-0.4, -0.2, -0.1, -0.1, -0.1, -0.05, -0.05],
        actual_change=[-0.2, -0.3, 0.1, -0.05, -0.05, -0.04, -0.06],
    )  # fmt: skip
    assert "Of 7 measured steps, the loss of the step's own batch decreased in 6 and increased in 1. In 4 it" in text
    assert "decreased less than predicted. Above the line, in 5, the loss is convex along the step." in text
    assert "Sums: predicted -1, actual -0.6 nats" in text
    text = conclusion(tmp_path / "b", curvature.draw_changes, predicted_change=0, actual_change=0)
    assert "Sums: predicted 0, actual 0" in text and "decreased in 0 and increased in 0. In 0 it" in text
    text = conclusion(tmp_path / "c", curvature.draw_changes, predicted_change=-1, actual_change=[-0.5, *range(1, 7)])
    assert "decreased in 1 and increased in 6. In 1 it decreased less than predicted. Above the line, in 7" in text


def test_gain_ratio_and_its_percentages(tmp_path):
    falls = {"predicted_change": -0.1}
    text = conclusion(tmp_path / "a", curvature.draw_gain_ratio, gain_ratio=[1, 0.9, 0.8, 0.4, 0.2, -0.5, 0.7], **falls)
    assert "Left out" not in text and "Median 0.70" in text
    assert "57 % of the steps reach 0.5, 29 % lie between 0 and 0.5" in text and "14 % below 0" in text
    text = conclusion(tmp_path / "b", curvature.draw_gain_ratio, gain_ratio=[1, 1, 1, 1, 1, 1, 5000], **falls)
    assert "57" not in text and "100 % of the steps reach 0.5" in text and "Outside the axes: 1 measurement." in text


def test_a_predicted_increase_has_no_part_in_the_gain_ratio(tmp_path):
    """An increase that came as predicted is a ratio of 1, and no step that lowers the loss as predicted."""
    ratios = {"gain_ratio": [1, 1, 0.2, 0.2, 0.2, -1, 1], "predicted_change": [0.1, 0.2, -0.1, -0.1, -0.1, -0.1, 0.0]}
    text = conclusion(tmp_path / "a", curvature.draw_gain_ratio, **ratios)
    assert "Median 0.20; 0 % of the steps reach 0.5, 75 % lie between 0 and 0.5, 25 % below 0" in text
    assert "Left out: 3 steps for which the gradient predicts an increase." in text
    with pytest.raises(NotMeasured, match="no step for which a decrease of the loss is predicted"):
        conclusion(tmp_path / "b", curvature.draw_gain_ratio, gain_ratio=1.0, predicted_change=0.1)


@pytest.mark.parametrize(
    "noise, meaning", [(2.0, "a smaller batch would do"), (20.0, "are about equal"), (2000.0, "a larger batch")]
)
def test_the_noise_scale_is_a_ratio_of_means(tmp_path, noise, meaning):
    """Mean of S over mean of G2, not the mean of the quotients: single G2 may be negative."""
    signal = np.array([0.3, -0.1, 0.2, 0.3, -0.1, 0.2, 0.6])  # mean 0.2
    text = conclusion(tmp_path, curvature.draw_noise, noise_g2=signal, noise_s=noise)
    assert f"over all 7 measurements: {noise / 0.2:,.0f} images" in text and meaning in text


def test_a_batch_has_as_many_parts_as_the_loop_divides_it_into():
    assert curvature.NOISE_PARTS == probes.NOISE_PARTS


def test_too_little_signal_is_not_drawn(tmp_path):
    with pytest.raises(NotMeasured, match="too few measurements"):
        conclusion(tmp_path, curvature.draw_noise, noise_g2=-1.0, noise_s=1.0)


def test_the_script_draws_what_is_there_and_names_what_is_not(tmp_path):
    made_run(curvature=20.0, gain_ratio=0.8, predicted_change=-0.1, actual_change=-0.08).write(tmp_path)
    done = run("analysis/curvature.py", "--runs-dir", tmp_path)
    assert (tmp_path / "it" / "curvature.png").stat().st_size > 50_000
    assert "Gain ratio: Median 0.80" in done.stdout
    assert "noise_g2 was not measured; `python train_loop.py --diagnostics full` measures it." in done.stdout
    MadeRun(epochs=1).write(tmp_path, "light")
    done = run("analysis/curvature.py", "--runs-dir", tmp_path, status=1)
    assert "curvature was not measured; `python train_loop.py --diagnostics full` measures it" in done.stderr
