"""The figures of data parallelism: efficiency against workers, and the parts of a batch on a trained network."""

import numpy as np

from core import data
from core.data.data_set import MEAN, STD
from layers_explained.support import scaling_law, scaling_table
from layers_explained.support.comparison import import_tensorflow
from layers_explained.support.constants import require
from layers_explained.support.figures import drawing
from layers_explained.support.figures.drawing import COLOURS, INK
from layers_explained.support.printing import print_total

WORKERS = 2.0 ** np.linspace(0, 6, 121)  # 1 to 64
FIVE = (*COLOURS, "#E69F00")
ROWS = 2  # images of each replica of the trained network


def efficiency(worker: float):
    """Efficiency against workers: a panel for each network, a line for each recipe; a panel of what was measured."""
    measured = scaling_table.read(scaling_table.PATH)
    costs = {name: recipe.on(worker) for name, recipe in scaling_law.RECIPES.items()}
    figure = drawing.new_figure()
    drawing.heading(figure, f"Efficiency of n workers of {worker / 1e9:,.0f} GFLOP/s, the whole batch as it is on one")
    panels = np.ravel(figure.subplots(2, 2) if measured else figure.subplots(1, len(scaling_law.NETWORKS)))
    for axes, (name, network) in zip(panels, scaling_law.NETWORKS.items()):
        lines(axes, costs, network)
        drawing.title(axes, f"{name}, latency {network.latency * 1e6:.0f} µs")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(costs), fontsize=drawing.SMALL,
        frameon=False,
    )  # fmt: skip
    if measured:
        draw_measured(panels[-1], measured)
    return figure


def lines(axes, costs: dict, network) -> None:
    """E(n) of each of these costs over one network."""
    for (name, cost), colour in zip(costs.items(), FIVE):
        axes.plot(WORKERS, 100 * scaling_law.efficiency(WORKERS, cost, network), color=colour, linewidth=4, label=name)
    axis(axes, 64)


def axis(axes, most: int) -> None:
    """Workers on a scale of powers of two, efficiency in %."""
    axes.set_xscale("log", base=2)
    ticks = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= most]
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.set(ylim=(0, 105), xlabel="workers", ylabel="efficiency, %")
    axes.grid(alpha=0.3)
    drawing.plain(axes)


def draw_measured(axes, measured) -> None:
    """Measured efficiencies, median and range, beside the line of the law with the constants measured there."""
    n = np.linspace(1, max(measured.speeds), 101)
    line = 100 * scaling_law.efficiency(n, measured.cost, measured.network)
    axes.plot(n, line, color=INK, linewidth=3, label="the law")
    for workers, found in measured.efficiencies().items():
        low, middle, high = 100 * np.quantile(found, [0, 0.5, 1])
        axes.errorbar(
            workers, middle, [[middle - low], [high - middle]], fmt="o", color=COLOURS[1], markersize=12, capsize=8,
            label="measured" if workers == 1 else None,
        )  # fmt: skip
    axis(axes, max(measured.speeds))
    axes.set_ylim(0, 115)
    drawing.legend(axes, loc="lower left")
    drawing.title(axes, f"this machine, {measured.recipe}")


def on_your_network(trained, replicas: int, worker: float):
    """Print and draw the gradients of some test images, replica by replica, their mean, and that of all at once."""
    layer, images, labels = trained.layer, *batch_of(trained, ROWS * replicas)
    gradients = [gradient_of(trained, images[r::replicas], labels[r::replicas]) for r in range(replicas)]
    loss, whole = gradient_of(trained, images, labels)
    i = np.unravel_index(np.argmax(np.abs(whole)), whole.shape)
    own = [gradient[i] for _, gradient in gradients]
    position = ",".join(map(str, i))
    print(f"   {len(labels)} test images from this one on, {ROWS} for each of {replicas} replicas; loss of each: "
          + ", ".join(f"{part:.6f}" for part, _ in gradients))  # fmt: skip
    print_total(np.mean([part for part, _ in gradients]), loss, "tape")
    print(f"   dL/d({layer.name}/kernel[{position}]), the largest; of each replica: "
          + ", ".join(f"{value:.6f}" for value in own))  # fmt: skip
    print_total(np.mean(own), whole[i], "tape")
    recipe = recipe_of(trained)
    print(f"   this network and its batches of {recipe.batch_size}: {recipe.flops_per_byte:,.0f} FLOP for each byte "
          "that is all-reduced")  # fmt: skip

    figure = drawing.new_figure()
    drawing.heading(figure, f"{layer.name} on {replicas} replicas, and how its network would scale")
    bars, curves = figure.subplots(1, 2)
    names = [*(f"replica {r}" for r in range(replicas)), "their mean", "whole batch"]
    size = 10.0 ** np.ceil(-np.log10(np.max(np.abs(own))))  # bars with three digits
    drawing.bars(
        bars, names, size * np.array([*own, np.mean(own), whole[i]]), f"dL/dw × {size:g}, the largest", lying=True
    )
    for (name, network), colour in zip(scaling_law.NETWORKS.items(), COLOURS):
        line = 100 * scaling_law.efficiency(WORKERS, recipe.on(worker), network)
        curves.plot(WORKERS, line, color=colour, linewidth=4, label=name)
    axis(curves, 64)
    drawing.title(curves, f"workers of {worker / 1e9:,.0f} GFLOP/s")
    drawing.legend(curves, loc="lower left")
    return figure


def batch_of(trained, count: int):
    """(images [count,32,32,3] float64 standardized, labels): test images from the one shown on, then the first ones."""
    settings = trained.settings
    found = data.load(settings.data, settings.data_dir, settings.holdout)
    matches = (i for i, image in enumerate(found.test_images) if np.array_equal(image, trained.image))
    first = next(matches, None)
    require(first is not None, f"{trained.run}: its image is not in the test set any more; name another run")
    rows = np.arange(first, first + count) % len(found.test_images)
    return (found.test_images[rows] / 255.0 - MEAN) / STD, found.test_labels[rows].astype(np.int32)


def gradient_of(trained, images, labels):
    """(mean loss, dL/d(kernel)) of these images in evaluation mode."""
    tf = import_tensorflow()
    from core import losses

    x = tf.constant(images, tf.float64)
    with tf.GradientTape() as tape:
        for entry in trained.flow[:-1]:  # up to the logits
            x = entry[0](x, training=False)
        loss = tf.reduce_mean(losses.softmax_cross_entropy(x, tf.constant(labels)))
    return float(loss), tape.gradient(loss, trained.layer.kernel).numpy()


def recipe_of(trained) -> scaling_law.Recipe:
    """What a step of this network takes, counted from its layers."""
    flops, shape = 0, trained.image.shape
    kernels, parameters = [], 0
    for layer, *_ in trained.flow[:-1]:
        flops += layer.flops(shape)
        shape = layer.output_shape(shape)
        parameters += sum(int(np.prod(parameter.shape)) for parameter in layer.parameters)
        kernels += [tuple(parameter.shape) for parameter in layer.parameters if len(parameter.shape) == 4]
    muon = scaling_law.muon_flops(kernels) if trained.settings.optimizer == "muon" else 0
    return scaling_law.Recipe(trained.settings.batch_size, parameters, flops, muon)
