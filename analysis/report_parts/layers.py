"""Per-layer diagnostics over the run, each with the conclusion of the script that draws it as a slide."""

import numpy as np

from analysis import activations, gradients
from analysis.report_parts import chart
from analysis.report_parts.chart import Line
from analysis.report_parts.markup import Undrawn, escaped, figure, missing
from analysis.support import panels, series
from analysis.support.run import NotMeasured, Run

# (script, panel there, quantity of layers.csv, factor, label of the y axis, what else is drawn)
SHOWN = (
    (gradients, "size", "gradient_rms", 1, "gradient RMS (nats)", {"log": True}),
    (gradients, "ratio", "update_ratio", 1, "|update| / |weights|", {"log": True, "band": gradients.USUAL_RATIO}),
    (gradients, "distance", "distance", 1, "|w − w₀| / |w₀|", {"log": True}),
    (gradients, "cosine", "gradient_cosine", 1, "cosine", {"levels": (gradients.OPPOSED, 0, gradients.ALIGNED)}),
    (activations, "std-over-run", "activation_std", 1, "standard deviation", {"log": True}),
    (activations, "dead", "dead_channels", 100, "dead channels (%)",
     {"y_ends": (0, 100), "levels": (100 * activations.SOME_DEAD, 100 * activations.MANY_DEAD)}),
)  # fmt: skip


def layers(run: Run) -> str:
    """A chart for each quantity; raises NotMeasured when none was measured."""
    found, reasons = [], []
    for script, name, quantity, factor, unit, more in SHOWN:
        panel = next(panel for panel in script.PANELS if panel.name == name)
        try:
            table = panels.measured(run, quantity)
            with np.errstate(all="ignore"):
                reading = panel.draw(Undrawn(), run)
        except NotMeasured as reason:
            reasons.append(f"{panel.title}: {reason}")
            continue
        found.append(figure(drawn(table, factor, unit, more), panel.title, reading, keys(table), name))
    if not found:
        raise NotMeasured("; ".join(reasons))
    scripts = "python analysis/gradients.py, activations.py and curvature.py draw these and more as slides."
    lacking = "".join(missing(reason) for reason in reasons)
    return f'<div class="charts">{"".join(found)}</div>{lacking}<p>{escaped(scripts)}</p>'


def drawn(table, factor: float, unit: str, more: dict) -> str:
    """A line for each layer; many measurements are smoothed."""
    many = len(table.steps) > 20
    colours, found = chart.layer_styles(len(table.layers)), []
    for name, values, colour in zip(table.layers, factor * table.values.T, colours):
        values = series.smoothed(values, max(0.02, 5 / len(values))) if many else values
        found.append(Line(table.steps, values, "layer", name, not many, colour))
    last = ", ".join(f"{name} {factor * value:.2g}" for name, value in zip(table.layers, table.values[-1]))
    text = f"{unit} over the steps; at step {table.steps[-1]:,}: {last}"
    return chart.lines(found, "step", unit, text, **more)


def keys(table) -> str:
    """The layers' colours."""
    colours = chart.layer_styles(len(table.layers))
    return chart.legend([("layer", colour, name) for name, colour in zip(table.layers, colours)])
