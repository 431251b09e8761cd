"""The figures of the optimization walkthrough: a bowl, a ravine, learning rates, an update of a trained network."""

import numpy as np

from core.settings.settings import train_images
from layers_explained.support.comparison import import_tensorflow
from layers_explained.support.constants import require
from layers_explained.support.figures import drawing
from layers_explained.support.figures.drawing import COLOURS, INK, plain
from layers_explained.support.printing import print_total
from layers_explained.support.trajectory import quadratic


def bowl_and_ravine(walks, schedule, start, bowl, ravine, peaks):
    """Above, the weights each optimizer visits and its loss; below, rates of gradient descent, noise and a schedule."""
    figure = drawing.new_figure()
    above, below = figure.subplots(2, 3)
    for axes, curvature, name in ((above[0], bowl, "bowl"), (above[1], ravine, "ravine")):
        contours(axes, curvature, start)
        drawing.title(axes, f"{name}: c = {curvature[0]:g}, {curvature[1]:g}")
        for (title, walk), colour in zip(walks.items(), COLOURS):
            w = walk(start, curvature, schedule(peaks[title]))
            axes.plot(*w.T, ".-", color=colour, linewidth=2, markersize=6, label=title)
            if name == "ravine":
                above[2].semilogy(quadratic(w, curvature), color=colour, linewidth=4, label=title)
    drawing.title(above[2], "loss in the ravine, by step")
    above[0].legend(fontsize=drawing.SMALL, loc="upper right", framealpha=1, edgecolor="white")
    largest = max(ravine)
    for factor, colour in ((0.5, COLOURS[0]), (1.9, COLOURS[2]), (2.05, COLOURS[1])):
        w = walks["gradient descent"](start, ravine, np.full(60, factor / largest))
        below[0].semilogy(quadratic(w, ravine), color=colour, linewidth=4, label=f"rate = {factor:g} / max c")
    drawing.title(below[0], "gradient descent, constant rate")
    drawing.legend(below[0], loc="upper left")
    below[0].set_ylim(1e-2, 1e9)  # room for the legend
    rates = schedule(peaks["gradient descent"])
    for name, values, colour in (
        ("constant rate", np.full(len(rates), rates.max()), COLOURS[1]), ("schedule", rates, COLOURS[0]),
    ):  # fmt: skip
        below[1].semilogy(noisy(start, ravine, values), color=colour, linewidth=4, label=name)
        below[2].plot(range(1, len(values) + 1), values, color=colour, linewidth=4, label=name)
    drawing.title(below[1], "noisy gradients: mean loss of 200 runs")
    drawing.title(below[2], "the two learning rates, by step")
    for axes in below[1:]:
        drawing.legend(axes, loc="best" if axes is below[1] else "lower center")
    for axes in (above[2], *below):
        plain(axes)
    for axes in (above[2], *below[:2]):
        axes.yaxis.set_major_formatter("{x:g}")  # powers would be written with small exponents
        axes.yaxis.set_minor_formatter("")
    return figure


def contours(axes, curvature, start) -> None:
    """Lines of equal loss, and the minimum."""
    x, y = np.meshgrid(np.linspace(-5, 5, 201), np.linspace(-2.5, 2.5, 201))
    levels = quadratic(start, curvature) * np.array([0.02, 0.1, 0.3, 0.6, 1.0])
    axes.contour(x, y, quadratic(np.stack([x, y], axis=-1), curvature), np.sort(levels), colors=drawing.RULE)
    axes.plot(0, 0, "+", color=INK, markersize=16, markeredgewidth=3)
    axes.set(xlim=(-5, 5), ylim=(-2.5, 2.5))
    plain(axes)


def noisy(start, curvature, rates, runs=200) -> np.ndarray:
    """The mean loss of gradient descent over runs whose gradients have noise of std 4, as those of small batches."""
    noise = 4 * np.random.default_rng(0).standard_normal([len(rates), runs, 2])
    w, losses = np.tile(start, (runs, 1)), [quadratic(start, curvature)]
    for rate, disturbance in zip(rates, noise):
        w = w - rate * (curvature * w + disturbance)
        losses.append(np.mean(quadratic(w, curvature)))
    return np.array(losses)


def on_your_network(trained):
    """Print and draw the update that this image alone would give one weight of a trained dense layer."""
    tf = import_tensorflow()
    from core import build, schedules

    settings, layer, step = trained.settings, trained.layer, trained.checkpoint.step
    steps = settings.steps or settings.epochs * (train_images(settings.data, settings.holdout) // settings.batch_size)
    rate = float(schedules.from_settings(settings, steps)(tf.constant(step)))
    rule = build.build_optimizer(settings, [layer.kernel])
    for name, (variable,) in rule.state().items():
        saved = f"{name}/{layer.name}/kernel"
        require(saved in trained.checkpoint.tensors, f"{trained.checkpoint.path}: no tensor '{saved}', so no optimizer "
                "state to go on from; name another run")  # fmt: skip
        variable.assign(trained.checkpoint.tensors[saved])
    w, g = layer.kernel.numpy(), trained.gradients[0]
    state = {name: variable.numpy() for name, (variable,) in rule.state().items()}
    updates = rule.updates([tf.constant(g)], tf.constant(rate, tf.float64), tf.constant(step))[0].numpy()
    i = np.unravel_index(np.argmax(np.abs(g)), g.shape)
    print(f"   {layer.name}/kernel[{i[0]},{i[1]}], the weight with the largest gradient for this image: w = {w[i]:.6f}")
    print(f"   learning rate {rate:.6f} at step {step:,} of {steps:,}, optimizer {settings.optimizer}\n")
    if "velocity" in state:
        decayed = g[i] + rule.decay_of(layer.kernel) * w[i]
        v = rule.momentum * state["velocity"][i] + decayed
        print(f"   g = {g[i]:.6f}; with weight decay {decayed:.6f};  v = {rule.momentum:g} * "
              f"{state['velocity'][i]:.6f} + g = {v:.6f}")  # fmt: skip
        own = -rate * (decayed + rule.momentum * v)
    else:
        m = rule.beta1 * state["first_moment"][i] + (1 - rule.beta1) * g[i]
        s = rule.beta2 * state["second_moment"][i] + (1 - rule.beta2) * g[i] ** 2
        corrected = m / (1 - rule.beta1**step), s / (1 - rule.beta2**step)
        print(f"   g = {g[i]:.6f};  m^ = {corrected[0]:.6f}, s^ = {corrected[1]:.8f}")
        own = -rate * (corrected[0] / (corrected[1] ** 0.5 + rule.epsilon) + rule.weight_decay * w[i])
    print("   the update of w:")
    print_total(own, updates[i], "optimizer")

    figure = drawing.new_figure()
    drawing.heading(figure, f"{layer.name}/kernel after step {step:,}: weights, the updates of one image, the schedule")
    weights, changes, curve = figure.subplots(1, 3)
    for axes, values, text in ((weights, w, "w"), (changes, updates, "updates")):
        edges = np.linspace(-3, 3, 61) * values.std()
        drawing.histogram(axes, values, edges, f"{text}: root mean square {np.sqrt(np.mean(values**2)):.1e}")
        axes.locator_params(axis="x", nbins=3)
    t = np.unique(np.linspace(1, steps, 200).astype(int))
    curve.plot(
        t, [schedules.from_settings(settings, steps)(tf.constant(int(k))) for k in t], color=COLOURS[0], linewidth=4
    )
    curve.plot([step], [rate], "o", color=COLOURS[1], markersize=16)
    drawing.title(curve, "learning rate, by step")
    plain(curve)
    return figure
