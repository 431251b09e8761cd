"""How tightly does the road bend, and do the steps fit it? Curvature, step quality, gradient noise.

    python analysis/curvature.py              the latest run
    python analysis/curvature.py RUN          another one

Measured on fixed or single batches with probes beside the step: --diagnostics full, or light with fewer of them.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from matplotlib import ticker

from analysis.support import common, panels
from analysis.support.panels import in_words
from analysis.support.run import NotMeasured, Run, counted
from core.run import run_folder

BLUE, RED, ORANGE = "#1f77b4", "#d62728", "#ff7f0e"
SHARE = 0.2  # of the measurements that a smoothed line averages over: they are few


def of_network(run: Run, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps [S], values [S]) of a quantity of the whole network, where it is a number. Raises NotMeasured."""
    table = panels.measured(run, quantity)
    return table.steps, table.values[:, 0]


def draw_curvature(panel, run: Run) -> str:
    """The curvature along the gradient against 2 / learning rate."""
    steps, curvature = of_network(run, "curvature")
    rates = np.interp(steps, run.steps["step"], run.steps["learning_rate"])
    limit = 2 / np.maximum(rates, np.finfo(np.float32).tiny)
    up = curvature > 0
    panel.plot(steps[up], curvature[up], "o", color=BLUE, markersize=5, alpha=0.5, label="curvature g'Hg / g'g")
    if (~up).any():
        panel.plot(
            steps[~up],
            -curvature[~up],
            "v",
            color=ORANGE,
            markerfacecolor="none",
            label="its size where it is negative",
        )
    panel.plot(steps, common.smoothed(np.where(up, curvature, np.nan), SHARE), color=BLUE, linewidth=1.6)
    passed = run.steps["step"]
    within = run.steps["learning_rate"] > 0
    panel.plot(
        *common.envelope(passed[within], 2 / run.steps["learning_rate"][within]), color=RED, linestyle="--",
        label="2 / learning rate",
    )  # fmt: skip
    panel.set_ylabel("curvature (loss per squared unit of weight)")
    panels.log_scale(panel)
    panels.name_lines(panel, columns=1)
    panels.over_the_run(panel, run)
    over = curvature > limit
    return (
        f"Median {in_words(np.median(curvature))}, highest {in_words(curvature.max())} at step "
        f"{steps[curvature.argmax()]:,}; above 2 / learning rate in {over.sum()} of {len(over)} measurements"
        + (f", below zero in {(~up).sum()}" if (~up).any() else "")
        + ". The red line is one to look at, not a verdict: there plain gradient descent on a parabola begins to "
        "bounce; momentum, other batches and Adam's scales move it."
    )


def draw_scatter(panel, run: Run) -> str:
    """What calculus promised of each step against what came."""
    steps, predicted = of_network(run, "predicted_change")
    others, actual = of_network(run, "actual_change")
    both = np.intersect1d(steps, others)
    steps, predicted, actual = both, predicted[np.isin(steps, both)], actual[np.isin(others, both)]
    points = panel.scatter(predicted, actual, c=steps, cmap="viridis", s=26, alpha=0.8, rasterized=True)
    panel.figure.colorbar(points, ax=panel, label="step", pad=0.02)
    size = np.abs(np.concatenate([predicted, actual]))
    linear = 10 ** np.floor(np.log10(max(np.median(size), 1e-12)))  # around zero, where a logarithm has no place
    for set_scale, set_limits, values in (
        (panel.set_xscale, panel.set_xlim, predicted), (panel.set_yscale, panel.set_ylim, actual),
    ):  # fmt: skip
        set_scale("symlog", linthresh=linear, linscale=0.5, subs=[2, 5])
        set_limits(min(1.5 * values.min(), -linear), max(1.5 * values.max(), linear))
    ends = [1.5 * min(predicted.min(), actual.min(), -linear), 1.5 * max(predicted.max(), actual.max(), linear)]
    promised = np.linspace(*ends, 1000)
    panel.plot(promised, promised, color="black", linewidth=0.8, label="as promised")
    panel.axhline(0, color="grey", linewidth=0.8)
    panel.axvline(0, color="grey", linewidth=0.8)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    panel.set(xlabel="promised: gradient times step (loss)", ylabel="came: change of the loss, same batch")
    panels.name_lines(panel, columns=1)
    rose = int((actual > 0).sum())
    less = int(((predicted < 0) & (actual > predicted)).sum())
    return (
        f"{counted(len(steps), 'step')} measured: on the step's own batch the loss fell in {len(steps) - rose} and "
        f"rose in {rose}. In {less} it did less than was promised (above the line): the road bends up under the step. "
        f"Sum of the promises {in_words(predicted.sum())}, of what came {in_words(actual.sum())}."
    )


def draw_quality(panel, run: Run) -> str:
    """Step quality over the run: what came over what was promised."""
    steps, quality = of_network(run, "gain_ratio")
    panel.plot(steps, quality, "o", color=BLUE, markersize=4, alpha=0.4, rasterized=True)
    panel.plot(steps, common.smoothed(quality, SHARE), color=BLUE, linewidth=1.6, label="smoothed")
    panel.axhline(1, color="black", linewidth=0.8, linestyle=":")
    panel.axhline(0, color=RED, linewidth=0.8)
    panel.axhspan(0, 0.5, color=ORANGE, alpha=0.1, zorder=0)
    low, high = np.percentile(quality, [5, 95])
    panel.set_ylim(min(low, 0) - 0.25, max(high, 1) + 0.25)  # a promise near zero makes a quotient without bounds
    hidden = int(((quality < panel.get_ylim()[0]) | (quality > panel.get_ylim()[1])).sum())
    panel.set(ylabel="change of the loss / promised change")
    panels.name_lines(panel)
    panels.over_the_run(panel, run)
    shares = [100 * np.mean(part) for part in (quality < 0, (quality >= 0) & (quality < 0.5), quality >= 0.5)]
    return (
        f"Median {np.median(quality):.2f}: 1 (dotted) is a step that did what calculus promised. {shares[2]:.0f} % of "
        f"the measured steps reached 0.5, {shares[1]:.0f} % lie between 0 and 0.5 (shaded: overshooting), "
        f"{shares[0]:.0f} % below 0"
        + (f"; {hidden} lie outside the picture." if hidden else ".")
        + " With momentum a step is not along its own gradient, so single values scatter."
    )


def draw_noise(panel, run: Run) -> str:
    """The gradient noise scale against the batch size."""
    steps, signal = of_network(run, "noise_g2")
    others, noise = of_network(run, "noise_s")
    both = np.intersect1d(steps, others)
    steps, signal, noise = both, signal[np.isin(steps, both)], noise[np.isin(others, both)]
    over, under = common.smoothed(noise, SHARE), common.smoothed(signal, SHARE)
    scale = np.divide(over, under, out=np.full(len(steps), np.nan), where=(under > 0) & (over > 0))
    if np.isnan(scale).all():
        raise NotMeasured("too few measurements of noise_g2 and noise_s: their mean is not above zero")
    batch = run.fact("settings", "batch_size")
    panel.plot(steps, scale, "o-", color=BLUE, linewidth=1.6, markersize=4, label="noise scale")
    panel.axhline(batch, color=RED, linestyle="--", label=f"batch size {batch:,}")
    panel.set_ylabel("images")
    panel.set_ylim(min(np.nanmin(scale), batch) / 3, max(np.nanmax(scale), batch) * 3)
    panels.log_scale(panel)
    panels.name_lines(panel, columns=1)
    panels.over_the_run(panel, run)
    whole = noise.mean() / signal.mean() if signal.mean() > 0 else np.nan
    last = scale[np.isfinite(scale)][-1]
    if batch < last / 3:
        meaning = "noise makes most of each step, and a larger batch would still buy nearly its price"
    elif batch > 3 * last:
        meaning = "the images of a batch mostly say the same, and a smaller one would do"
    else:
        meaning = "signal and noise are about as large in each step"
    return (
        f"mean(S) / mean(G2) over all {counted(len(steps), 'measurement')}: "
        f"{in_words(whole) + ' images' if whole > 0 else 'not known, they are too few'}; over the last ones "
        f"{in_words(last)} images, against batches of {batch:,}: {meaning}. A noisy estimate: read its power of ten."
    )


PANELS = {
    "How tightly the road bends where we drive": draw_curvature,
    "Did the step do what calculus promised?": draw_scatter,
    "Step quality over the run": draw_quality,
    "How many opinions before acting: noise scale": draw_noise,
}


def main(args) -> None:
    """Draw the panels and say what they show."""
    run = Run(run_folder.find(args.run, args.runs_dir))
    title = f"Curvature, steps and noise: {run.name} on {run.data_title}"
    panels.draw_all(run, PANELS, 2, title, args.out or run.folder / "curvature.png")


if __name__ == "__main__":
    common.answer(main, common.parser("curvature", __doc__.splitlines()[0]).parse_args())
