"""The figures of the activation walkthrough: the curves, and a trained activation."""

import numpy as np

from layers_explained.support.figures import drawing
from layers_explained.support.figures.drawing import COLOURS, SMALL, image, plain
from layers_explained.support.printing import number, print_total

GREY = "#888888"


def curves(forward, derivative, kinds, seed):
    """Both curves, their derivatives, how a unit dies; and what they make of numbers from N(0, 1)."""
    figure = drawing.new_figure()
    above, below = figure.subplots(2, 3)
    x, normal = np.linspace(-4, 4, 401), np.random.default_rng(seed).standard_normal(20_000)
    biases = np.linspace(-6, 2, 41)
    for kind, colour in zip(kinds, COLOURS):
        slopes = [np.mean(np.abs(derivative(normal[:2000] + bias, kind))) for bias in biases]
        lines = (x, forward(x, kind)), (x, derivative(x, kind)), (biases, slopes)
        for axes, line in zip(above, lines):
            axes.plot(*line, color=colour, linewidth=4, label=kind)
    drawing.legend(above[0])
    for axes, title, label in zip(above, ("y", "dy/dx", "mean |dy/dx| of x + bias"), ("x", "x", "bias")):
        drawing.title(axes, title)
        axes.axhline(0, color=drawing.RULE, zorder=0)
        axes.set_xlabel(label)
    results = ("x from N(0, 1)", normal), *((f"{kind} of x", forward(normal, kind)) for kind in kinds)
    for axes, (title, values), colour in zip(below, results, (GREY, *COLOURS)):
        axes.hist(values, np.linspace(-4, 4, 81), color=colour)
        drawing.title(axes, f"{title}: mean {values.mean() + 0.0:.2f}, {np.mean(values == 0):.0%} zeros")
        axes.set(yticks=[], ylim=(0, 0.075 * normal.size))  # one scale: the bar of the zeros is cut off
    for axes in (*above, *below):
        plain(axes)
    return figure


def on_your_network(trained, forward, derivative):
    """Print and draw one output and one gradient of a trained activation."""
    kind, x, y, dy, dx = type(trained.layer).__name__, trained.x, trained.y, trained.dy, trained.dx
    index = tuple(int(k) for k in np.unravel_index(np.argmax(np.abs(dx)), dx.shape))
    at, slope = list(index), derivative(x[index], kind)
    print(f"   y{at}, where |dL/dx| is largest: {kind} of {x[index]:.6f}")
    print_total(forward(x[index], kind), y[index], "layer")
    print(f"   dL/dx{at}: dy/dx = {number(slope)} there, times dL/dy = {dy[index]:.6f}")
    print_total(slope * dy[index], dx[index], "tape")
    inactive = np.all(x <= 0, axis=tuple(range(x.ndim - 1)))
    print(f"   {np.mean(x <= 0):.0%} of the inputs are not positive; {inactive.sum()} of {inactive.size} channels have "
          "no positive input for this image")  # fmt: skip

    figure, c = drawing.new_figure(), index[-1]
    stopped = "ReLU passes neither the number nor its gradient" if kind == "ReLU" else "GELU passes little of either"
    drawing.heading(figure, f"{trained.layer.name}: where x is negative, {stopped}")
    (shown, before, after), (chart, received, sent) = figure.subplots(2, 3)
    image(shown, trained.image, "the image")
    one_channel = x.ndim == 4

    def panel(values):
        if one_channel:
            return values[0, :, :, c]
        rows = next(rows for rows in range(int(np.sqrt(values.size)), 0, -1) if values.size % rows == 0)
        return values[0].reshape(rows, -1)

    which = f"channel {c}" if one_channel else "all features"
    largest = max(np.abs(panel(x)).max(), np.abs(panel(y)).max())
    steepest = max(np.abs(panel(dx)).max(), np.abs(panel(dy)).max())
    for axes, values, name, most in (
        (before, x, "x", largest), (after, y, "y", largest), (received, dx, "∂L/∂x", steepest),
        (sent, dy, "∂L/∂y", steepest),
    ):  # fmt: skip
        image(axes, panel(values), f"{name}, {which}", scale=(-most, most))
    chart.hist([x.ravel(), y.ravel()], 40, log=True, color=[GREY, COLOURS[0]], label=["x", "y"])
    drawing.legend(chart)
    plain(chart)
    chart.yaxis.set_major_formatter("{x:,.0f}")  # powers would be written with small exponents
    drawing.title(chart, "how often (logarithmic)")
    chart.set_xlabel(f"grey in x, y: 0; black −{largest:.2g}, white {largest:.2g}", fontsize=SMALL)
    return figure
