"""The figures of the normalization walkthrough: histograms in both modes, and a trained layer."""

import numpy as np

from layers_explained.support.figures import drawing
from layers_explained.support.figures.drawing import COLOURS, heading, histogram, image
from layers_explained.support.printing import print_terms, print_total


def both_modes(forward, normalize, seed):
    """Histograms of one channel: in training x, x^ and y; in evaluation, as the moving averages converge."""
    random = np.random.default_rng(seed)
    gamma, beta, moving, history = np.array([0.5]), np.array([1.0]), np.array([[0.0], [1.0]]), []
    for _ in range(40):
        x = 6 + 2 * random.standard_normal([16, 8, 8, 1])
        y, *moving, _ = forward(x, gamma, beta, moving)
        history.append(np.ravel(moving))
    figure = drawing.new_figure()
    above, below = figure.subfigures(2, 1)
    heading(above, "Training mode: subtract the mean, divide by the std of the batch; then × γ, + β")
    heading(below, "Evaluation mode: y with the moving averages, which converge within some steps")
    x_hat, edges = (y - beta) / gamma, np.linspace(-4, 14, 73)
    for axes, (values, name) in zip(above.subplots(1, 3, sharex=True), ((x, "x"), (x_hat, "x̂"), (y, "y = γ x̂ + β"))):
        histogram(axes, values, edges, f"{name}: mean {values.mean() + 0.0:.1f}, std {values.std():.1f}")
    lines, *charts = below.subplots(1, 3)
    for values, name, colour in zip(np.transpose(history), ("moving mean", "moving variance"), COLOURS):
        lines.plot(range(1, 41), values, color=colour, linewidth=4, label=name)
    lines.set_xlabel("step")
    drawing.legend(lines)
    drawing.plain(lines)
    for axes, step in zip(charts, (5, 40)):
        y = normalize(x, *history[step - 1], gamma, beta)
        histogram(axes, y, edges, f"y at step {step}: mean {y.mean():.1f}, std {y.std():.1f}")
    return figure


def on_your_network(trained):
    """Print and draw one output number and one parameter gradient of a trained batch normalization, in evaluation."""
    layer, x, y, dy = trained.layer, trained.x, trained.y, trained.dy
    _, i, j, c = np.unravel_index(np.argmax(y), y.shape)
    gammas, betas, means, variances = (
        np.asarray(values) for values in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    )
    gamma, beta, mean, s = gammas[c], betas[c], means[c], np.sqrt(variances[c] + layer.epsilon)
    print(f"   y[0,{i},{j},{c}], the largest: row {i}, column {j}, channel {c}\n")
    print(f"   x {x[0, i, j, c]:.6f}   moving mean {mean:.6f}   moving variance {variances[c]:.6f}   "
          f"gamma {gamma:.6f}   beta {beta:.6f}")  # fmt: skip
    print(f"   gamma (x - mean) / sqrt(variance + {layer.epsilon:g}) + beta = "
          f"{gamma:.6f} * {x[0, i, j, c] - mean:.6f} / {s:.6f} + {beta:.6f}")  # fmt: skip
    print_total(gamma * (x[0, i, j, c] - mean) / s + beta, y[0, i, j, c], "layer")

    name = "gamma" if layer.use_scale else "beta"  # without a learned gamma, beta is the only parameter
    gradient = trained.gradients[0]
    q = int(np.argmax(np.abs(gradient)))
    x_hat = (x[0, :, :, q] - means[q]) / np.sqrt(variances[q] + layer.epsilon)  # [H,W]
    factor = x_hat if layer.use_scale else np.ones_like(x_hat)
    print(f"   dL/d{name}[{q}], the largest: {'x^ times ' * layer.use_scale}dL/dy, over all positions of channel {q}\n")
    total = print_terms({"x^" if layer.use_scale else "1": factor, "dL/dy": dy[0, :, :, q]})
    print_total(total, gradient[q], "tape")

    figure = drawing.new_figure()
    heading(figure, f"{layer.name}, channel {c}, in evaluation mode")
    (shown, *maps), (nothing, *charts) = figure.subplots(2, 3)
    image(shown, trained.image, "the image")
    nothing.axis("off")
    edges = np.linspace(*np.quantile([x[..., c], y[..., c]], [0.0, 1.0]), 61)
    for values, when, axes, chart in zip((x[0, ..., c], y[0, ..., c]), ("x", "y"), maps, charts):
        image(axes, values, when)
        histogram(chart, values, edges, f"{when}: mean {values.mean():.2f}, std {values.std():.2f}")
    return figure
