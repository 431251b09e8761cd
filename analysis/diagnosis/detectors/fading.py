"""Signals that fade: vanishing gradients, dead channels, updates too large or too small for the weights."""

import numpy as np

from analysis.diagnosis.detectors.finding import (
    AMBER,
    RED,
    Finding,
    begin_of_lasting,
    percent,
)
from analysis.diagnosis.detectors.runaway import gradient_flow, in_a_row
from analysis.support.run import Run

LONG = 200  # steps: how long an update must be too large or too small


def vanishing(run: Run) -> Finding | None:
    """The gradient fades in the backward pass, on its way to the first layer.

    Rule: |g_first| / |g_last| < 1e-3 (AUTOTRAINER) and |g_first| < 1e-4 [H] at 10 measured steps in a row; over
    after > 3e-3.
    """
    flow, tiny, rows = 1e-3, 1e-4, 10
    steps, values = gradient_flow(run)
    first = run.table("gradient_norm").values[:, 0]
    at = in_a_row((values < flow) & (first < tiny), (values < 3 * flow) & (first < 3 * tiny), rows)
    if at is None:
        return None
    names = run.table("gradient_norm").layers
    last = values[-rows:]
    ends = np.nanmedian(last) if np.isfinite(last).any() else 0.0
    gone = ends < 3 * flow
    return Finding(
        "vanishing", "The gradient does not reach the first layer", RED if gone else AMBER, int(steps[at]),
        (f"from step {steps[at]:,} on the gradient norm of '{names[0]}' is "
         f"{np.median(values[at : at + rows]):.2g} times that of '{names[-1]}', {np.median(first[at : at + rows]):.2g} "
         f"(median of {rows} measured steps)",
         f"at the end the ratio is {ends:.2g}"),
    )  # fmt: skip


def dying_relu(run: Run) -> Finding | None:
    """Channels that are 0 for every image, and so get no gradient and stay 0.

    Rule: a channel is dead if it is 0 for all of 1,000 images everywhere. In some layer >= 50 % dead (SageMaker
    Debugger), behind a dense layer >= 75 % [H], at the last two measurements: amber; >= 90 % [H], which cuts the
    signal: red. It began when the fraction rose above 40 % [H] for good. (A channel of a convolution has a value at
    each position of each image and so many chances to be above 0; a unit of a dense layer has one. Wide dense layers
    lose up to half of their units and no accuracy.)
    """
    amber, of_dense, red, over, rows = 0.5, 0.75, 0.9, 0.4, 2
    table = run.table("dead_channels", rows)
    lasting = table.values[-rows:].min(axis=0)  # [L]
    limits = np.array([of_dense if name in behind_dense(run) else amber for name in table.layers])
    worst = int(np.argmax(lasting / limits))
    if lasting[worst] < limits[worst]:
        return None
    name, fraction = table.layers[worst], table.values[:, worst]
    first = begin_of_lasting(fraction >= over)
    return Finding(
        "dying-relu", f"Many channels of layer '{name}' are 0 for every image", RED if lasting[worst] >= red else AMBER,
        int(table.steps[first]),
        (f"{percent(fraction[-1])} of its channels are 0 for all {run.activation_images:,} images at step "
         f"{table.steps[-1]:,}; "
         f"{percent(fraction[0])} were at step {table.steps[0]:,}",
         "all layers at the end: " + ", ".join(f"{n} {percent(v)}" for n, v in zip(table.layers, table.values[-1]))),
    )  # fmt: skip


def behind_dense(run: Run) -> set[str]:
    """The names of the layers whose last kernel before them is that of a dense layer, by config.json."""
    found, dense = set(), False
    for layer in run.config.get("architecture") or []:
        if layer.get("layer") in LINEAR:
            dense = layer["layer"] == "Dense"
        elif dense:
            found.add(layer.get("name"))
    return found


def saturated(run: Run) -> Finding | None:
    """A nonlinearity works in its flat part: its output is one of two values, and little gradient passes through.

    Rule: behind a nonlinearity (a layer with dead_channels) fewer than 1 % of the outputs are 0, and at the last two
    measurements at least mean(y^2) is between 0.8 and 1.001, the outputs -1 and 1 of tanh, or within 10 % of mean(y)
    and above 0.1, the outputs 0 and 1 of a sigmoid [H]. Red with two layers, amber with one.
    """
    rows = 2
    layers = run.table("dead_channels").layers
    mean, std, zeros = (run.table(name, rows) for name in ("activation_mean", "activation_std", "sparsity"))
    found = []
    for name in layers:
        i = mean.layers.index(name)
        m, square = mean.values[-rows:, i], mean.values[-rows:, i] ** 2 + std.values[-rows:, i] ** 2
        tanh = (square > 0.8) & (square < 1.001)
        sigmoid = (np.abs(square - m) < 0.1 * m) & (m > 0.1) & (m < 1.001)
        if (zeros.values[-rows:, i] < 0.01).all() and (tanh.all() or sigmoid.all()):
            found.append((name, m[-1], square[-1]))
    if not found:
        return None
    names = ", ".join(f"'{name}' {m:.2f} and {square:.2f}" for name, m, square in found)
    return Finding(
        "saturated", "Nonlinearities work in their flat part", RED if len(found) > 1 else AMBER, 0,
        (f"mean(y) and mean(y^2) of the outputs at the end: {names}; nearly all outputs are at one of the two ends",),
    )  # fmt: skip


LINEAR = ("Convolution", "Dense", "Whitening")  # the layers with a kernel, by their names in config.json
KEEPING = ("Flatten", "Dropout", "BatchNormalization", "AveragePooling", "Scale")  # two kernels stay one linear map


def no_nonlinearity(run: Run) -> Finding | None:
    """Two layers with a kernel follow each other without a nonlinearity: together they are one linear map.

    Rule, on the architecture in config.json: between them stand only layers that are linear as well. No threshold.
    """
    last, found = None, []
    for layer in run.fact("architecture"):
        kind = layer.get("layer")
        if kind in LINEAR:
            if last:
                found.append((last, layer["name"]))
            last = layer["name"]
        elif kind not in KEEPING:
            last = None
    if not found:
        return None
    pairs = ", ".join(f"'{a}' and '{b}'" for a, b in found)
    return Finding(
        "no-nonlinearity", "A nonlinearity is missing between two layers", AMBER, 0,
        (f"no nonlinearity stands between {pairs}: the two compute what one layer could",),
    )  # fmt: skip
