"""The figures of the softmax walkthrough: from logits to the gradient, and those of a trained network."""

import numpy as np

from layers_explained.support.figures import drawing
from layers_explained.support.printing import number, print_total


def stages(logits, temperatures, softmax):
    """Logits, exponentials, probabilities and p - q as bars; below, the same logits at several temperatures."""
    names, z = list(logits), np.array([list(logits.values())])
    p, q = softmax(z), np.eye(len(logits))[:1]
    figure = drawing.new_figure()
    above, below = figure.subfigures(2, 1)
    drawing.heading(above, f"Softmax: scores become probabilities; the gradient is p − q (the label is {names[0]})")
    drawing.heading(below, "Temperature: softmax(z / T) is sharp for small T, flat for large T, in the same order")
    steps = ("z, the logits", z), ("exp(z)", np.exp(z)), ("p = exp(z) / sum", p), ("∂L/∂z = p − q", p - q)
    for axes, (text, values) in zip(above.subplots(1, 4), steps):
        drawing.bars(axes, names, values[0], text)
    for axes, t in zip(below.subplots(1, len(temperatures), sharey=True), temperatures):
        drawing.bars(axes, names, softmax(z / t)[0], f"p, T = {number(t)}")
    return figure


def on_your_network(trained):
    """Print and draw the probability of the label, and the gradient of its logit, of a trained network."""
    z, p, dz, label = trained.x[0], trained.y[0], trained.dx[0], trained.label
    exponentials, q = np.exp(z - z.max()), np.eye(len(z))[label]
    print("   class                   z   exp(z - m)           p   q       p - q    the tape")
    for k, name in enumerate(trained.class_names):
        print(f"   {name:16}{z[k]:9.4f}{exponentials[k]:13.6f}{p[k]:12.6f}{q[k]:4.0f}{p[k] - q[k]:12.6f}{dz[k]:12.6f}")
    own, total = exponentials[label], exponentials.sum()
    print(f"\n   p[{label}] = exp(z[{label}] - m) / (the sum of all exp(z - m)) = {own:.6f} / {total:.6f}")
    print_total(own / total, p[label], "layer")
    print(f"   dL/dz[{label}]: L = -log p[{label}], so dL/dp[{label}] = -1/p, and every other dL/dp is 0")
    print(f"   -1/p times the Jacobian's p (1 - p) = {-1 / p[label]:.6f} * {p[label] * (1 - p[label]):.6f}")
    print_total(p[label] - 1, dz[label], "tape")

    figure = drawing.new_figure()
    drawing.heading(figure, f"the image is of class {trained.class_names[label]}")
    shown, *charts = figure.subplots(1, 4, width_ratios=[1, 1.5, 1.1, 1.1])
    drawing.image(shown, trained.image, "the image")
    for axes, values, text in zip(charts, (z, p, p - q), ("z, the logits", "p", "∂L/∂z = p − q")):
        drawing.bars(axes, trained.class_names, values, text, lying=True)
        if axes is not charts[0]:
            axes.set_yticks([])  # the names stand beside the first chart
    return figure
