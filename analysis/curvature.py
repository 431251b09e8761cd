"""How curved is the loss along the gradient, and do the steps fit it? Curvature, gain ratio, gradient noise scale.

    python analysis/curvature.py                    the latest run
    python analysis/curvature.py RUN                another one
    python analysis/curvature.py RUN --panel noise  one panel as a slide

Measured on fixed or single batches with probes beside the step: --diagnostics full, or light with fewer of them.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from matplotlib import ticker

from analysis.support import common, panels, series, style
from analysis.support.panels import Panel
from analysis.support.run import NotMeasured, Run, counted
from analysis.support.style import BLUE, ORANGE, RED, number

FRACTION = 0.2  # of the measurements that a smoothed line averages over: they are few
OVERSHOOT = 0.5  # a gain ratio below this
NOISE_PARTS = 4  # of a batch: core/measure/probes.py, without TensorFlow


def of_network(run: Run, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps [S], values [S]) of a quantity of the whole network, where it is a number. Raises NotMeasured."""
    table = panels.measured(run, quantity)
    return table.steps, table.values[:, 0]


def pair(run: Run, one: str, other: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(steps [S], values of one [S], values of the other [S]) where both were measured. Raises NotMeasured."""
    (steps, values), (other_steps, other_values) = of_network(run, one), of_network(run, other)
    both = np.intersect1d(steps, other_steps)
    if not len(both):
        raise NotMeasured(f"{one} and {other} were never measured at the same step")
    return both, values[np.isin(steps, both)], other_values[np.isin(other_steps, both)]


def draw_curvature(panel, run: Run) -> str:
    """The curvature along the gradient against 2 / learning rate."""
    steps, curvature = of_network(run, "curvature")
    run.need_steps(1)
    rates = run.steps["learning_rate"]
    limit = 2 / np.maximum(np.interp(steps, run.steps["step"], rates), np.finfo(np.float32).tiny)
    positive = curvature > 0
    panel.plot(steps[positive], curvature[positive], "o", color=BLUE, markersize=5, alpha=0.5, label="gᵀHg / gᵀg")
    if (~positive).any():
        panel.plot(
            steps[~positive], -curvature[~positive], "v", color=ORANGE, markerfacecolor="none", markersize=7,
            label="magnitude where negative",
        )  # fmt: skip
    panel.plot(steps, series.smoothed(np.where(positive, curvature, np.nan), FRACTION), color=BLUE)
    line = series.envelope(run.steps["step"][rates > 0], 2 / rates[rates > 0])
    panel.plot(*line, color=RED, linestyle="--", label="2 / learning rate")
    panel.set_ylabel("curvature (nats)")
    style.log_scale(panel)
    panel.legend()
    panels.over_the_run(panel, run)
    over = curvature > limit
    return (
        f"Above 2 / learning rate in {over.sum()} of {len(over)} measurements; median {number(np.median(curvature))}, "
        f"highest {number(curvature.max())} at step {steps[curvature.argmax()]:,}. "
        + (f"Negative in {(~positive).sum()}. " if (~positive).any() else "")
        + "Above the dashed line plain gradient descent on a parabola oscillates with growing amplitude; momentum, "
        "changing batches and Adam's scaling move that limit, so it is a guide and not a verdict."
    )


def draw_changes(panel, run: Run) -> str:
    """The change of the loss that the gradient predicts for each step against the actual one."""
    steps, predicted, actual = pair(run, "predicted_change", "actual_change")
    colours = {"vmin": steps[0], "vmax": max(steps[-1], steps[0] + 1)}  # also of a single step
    points = panel.scatter(predicted, actual, c=steps, cmap="viridis", s=40, alpha=0.8, rasterized=True, **colours)
    panel.figure.colorbar(points, ax=panel, label="step", pad=0.02, format=lambda value, _: f"{value:,.0f}",
                          ticks=ticker.MaxNLocator(6, integer=True))  # fmt: skip
    size = np.abs(np.concatenate([predicted, actual]))
    linear = 10 ** np.floor(np.log10(max(np.median(size), 1e-12)))  # linear around zero, where a logarithm ends
    for set_scale, set_limits, axis, values in (
        (panel.set_xscale, panel.set_xlim, panel.xaxis, predicted),
        (panel.set_yscale, panel.set_ylim, panel.yaxis, actual),
    ):
        set_scale("symlog", linthresh=linear, linscale=0.5)
        low, high = min(1.5 * values.min(), -linear), max(1.5 * values.max(), linear)
        set_limits(low, high)
        axis.set_major_locator(ticker.FixedLocator(symmetric_ticks(low, high, linear)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(ticker.NullLocator())
    ends = [1.5 * min(predicted.min(), actual.min(), -linear), 1.5 * max(predicted.max(), actual.max(), linear)]
    diagonal = np.linspace(*ends, 1000)
    panel.plot(diagonal, diagonal, color="black", linewidth=1, label="actual = predicted")
    panel.axhline(0, color="grey", linewidth=0.8)
    panel.axvline(0, color="grey", linewidth=0.8)
    panel.set(xlabel="predicted change g·Δw (nats)", ylabel="actual change (nats)")
    panel.legend()
    fell, rose, above = actual < 0, actual > 0, actual > predicted
    return (
        f"Of {counted(len(steps), 'measured step')}, the loss of the step's own batch decreased in {fell.sum()} "
        f"and increased in {rose.sum()}. In {(fell & above).sum()} it decreased less than predicted. Above the line, "
        f"in {above.sum()}, the loss is convex along the step. Sums: predicted {number(predicted.sum())}, actual "
        f"{number(actual.sum())} nats."
    )


def symmetric_ticks(low: float, high: float, linear: float) -> list[float]:
    """Zero and at most three powers of ten on each side of it, from `linear` outwards. low <= 0 <= high."""
    powers = linear * 10.0 ** np.arange(0, 40)
    sides = [powers[powers <= abs(end)] for end in (low, high)]
    few = [side[:: -(-len(side) // 3)] if len(side) else side for side in sides]
    return [*(-few[0][::-1]), 0.0, *few[1]]


def draw_gain_ratio(panel, run: Run) -> str:
    """Gain ratio over the run: actual / predicted change, of the steps for which a decrease is predicted."""
    steps, ratio, predicted = pair(run, "gain_ratio", "predicted_change")
    rises = int((predicted >= 0).sum())  # momentum may carry a step uphill; its ratio is then no part of a decrease
    if rises == len(ratio):
        raise NotMeasured("no step for which a decrease of the loss is predicted")
    steps, ratio = steps[predicted < 0], ratio[predicted < 0]
    panel.plot(steps, ratio, "o", color=BLUE, markersize=5, alpha=0.4, rasterized=True)
    panel.plot(steps, series.smoothed(ratio, FRACTION), color=BLUE)
    panel.axhline(1, color="black", linewidth=1, linestyle=":")
    panel.axhline(0, color=RED, linewidth=1)
    panel.axhspan(0, OVERSHOOT, color=ORANGE, alpha=0.1, zorder=0)
    low, high = np.percentile(ratio, [5, 95])
    panel.set_ylim(min(low, 0) - 0.25, max(high, 1) + 0.25)  # a predicted change near zero makes a ratio without bounds
    hidden = int(((ratio < panel.get_ylim()[0]) | (ratio > panel.get_ylim()[1])).sum())
    panel.set_ylabel("actual / predicted")
    panels.over_the_run(panel, run)
    negative, small = ratio < 0, (ratio >= 0) & (ratio < OVERSHOOT)
    percentages = [100 * np.mean(part) for part in (~negative & ~small, small, negative)]
    return (
        f"Median {np.median(ratio):.2f}; {percentages[0]:.0f} % of the steps reach {OVERSHOOT}, {percentages[1]:.0f} % "
        f"lie between 0 and {OVERSHOOT}, {percentages[2]:.0f} % below 0. 1 (dotted) is a step that lowers the loss of "
        "its own batch as predicted; the shaded band is overshooting, below 0 the loss increased. The line is smoothed."
        + (f" Outside the axes: {counted(hidden, 'measurement')}." if hidden else "")
        + (f" Left out: {counted(rises, 'step')} for which the gradient predicts an increase." if rises else "")
        + " With momentum a step does not follow its own gradient, so single values scatter."
    )


def draw_noise(panel, run: Run) -> str:
    """The gradient noise scale against the batch size."""
    batch = run.fact("settings", "batch_size")
    if batch < NOISE_PARTS:
        raise NotMeasured(f"it takes batches of {NOISE_PARTS} images or more, the run's have {batch}")
    steps, signal, noise = pair(run, "noise_g2", "noise_s")
    over, under = series.smoothed(noise, FRACTION), series.smoothed(signal, FRACTION)
    scale = np.divide(over, under, out=np.full(len(steps), np.nan), where=(under > 0) & (over > 0))
    if not np.isfinite(scale).any():
        raise NotMeasured("too few measurements of noise_g2 and noise_s: their mean is not above zero")
    panel.plot(steps, scale, "o-", color=BLUE, markersize=5, label="noise scale")
    panel.axhline(batch, color=RED, linestyle="--", label=f"batch size {batch:,}")
    panel.set_ylabel("batch size (images)")
    known = scale[np.isfinite(scale)]
    panel.set_ylim(min(known.min(), batch) / 3, max(known.max(), batch) * 10)
    style.log_scale(panel)
    panel.legend(ncols=2, loc="upper right")
    panels.over_the_run(panel, run)
    whole, last = noise.mean() / signal.mean() if signal.mean() > 0 else np.nan, known[-1]
    if batch < last / 3:
        meaning = "most of each gradient is noise, and a larger batch would reduce it nearly in proportion"
    elif batch > 3 * last:
        meaning = "the images of a batch are largely redundant, and a smaller batch would do"
    else:
        meaning = "signal and noise of each gradient are about equal"
    over_all = f"{number(whole)} images" if whole > 0 else "not known, too few"
    return (
        f"Last {number(last)} images against batches of {batch:,}: {meaning}. mean(S) / mean(G²) over all "
        f"{counted(len(steps), 'measurement')}: {over_all}. A noisy estimate: only its power of ten counts "
        "(McCandlish et al. 2018)."
    )


PANELS = (
    Panel("curvature", "Curvature along the gradient", "Is the learning rate small enough for it?", draw_curvature),
    Panel("changes", "Predicted and actual loss change", "Does a step do what its gradient predicts?", draw_changes),
    Panel("gain", "Gain ratio", "Which part of the predicted decrease comes about?", draw_gain_ratio),
    Panel("noise", "Gradient noise scale", "Would a larger batch help?", draw_noise),
)


def main(args) -> None:
    """Draw the panels and print what they show."""
    panels.run_script("curvature", "Curvature, gain ratio, noise", PANELS, args)


if __name__ == "__main__":
    common.answer(main, panels.build_parser("curvature", __doc__.splitlines()[0], PANELS).parse_args())
