"""The figures of the dense walkthrough: the hand case as a net, templates, and a trained layer."""

import numpy as np

from layers_explained.support.figures import drawing
from layers_explained.support.figures.drawing import COLOURS, INK, SMALL, heading
from layers_explained.support.printing import number, print_terms, print_total


def hand_case(x, w, b, y, images):
    """Left the hand case as a net, every output connected with every input; right the columns of W as templates."""
    figure = drawing.new_figure()
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.25])
    heading(left, "Every input reaches every output")
    axes = left.subplots()
    axes.set(xlim=(-0.35, 1.4), ylim=(0, 1.1))
    axes.axis("off")
    heights = [1 - (np.arange(count) + 0.5) / count for count in w.shape]
    white = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    for o, end in enumerate(heights[1]):
        colour = COLOURS[o % 4]
        for i, start in enumerate(heights[0]):
            axes.plot([0, 1], [start, end], color=colour, linewidth=3, zorder=0)
            axes.text(0.25, start + 0.25 * (end - start), number(w[i, o]), fontsize=18, color=colour,
                      ha="center", va="center", bbox=white)  # fmt: skip
        axes.text(1.13, end, f"b = {number(b[0, o])}", fontsize=SMALL, va="center", color=colour)
    for side, (values, name) in enumerate(((x[0], "x"), (y[0], "y"))):
        axes.scatter([side] * len(values), heights[side], s=3600, color="white", edgecolors=INK, zorder=1)
        for height, value in zip(heights[side], values):
            axes.text(side, height, number(value), fontsize=22, ha="center", va="center", color=INK)
        axes.text(side, 1.05, name, fontsize=22, ha="center", color=INK)
    templates(right, images)
    return figure


def templates(figure, images):
    """The score of each image with each image used as a template."""
    heading(figure, "x · w is large where x resembles w")
    drawn = {name: np.array([[1 if dot == "#" else -1 for dot in line] for line in lines])
             for name, lines in images.items()}  # fmt: skip
    cells = figure.subplots(len(drawn) + 1, len(drawn) + 1)
    cells[0, 0].axis("off")
    cells[0, 0].text(0.5, 0.5, "images ↓\n\ntemplates →", fontsize=SMALL, ha="center", va="center", color=INK)
    for row, (name, pixels) in enumerate(drawn.items(), start=1):
        drawing.image(cells[row, 0], -pixels, name)
        drawing.image(cells[0, row], -pixels, name)
        for column, template in enumerate(drawn.values(), start=1):
            score = np.sum(pixels * template)
            tints = drawing.by_sign(np.array([[score]]), pixels.size)
            drawing.grid(cells[row, column], [[score]], size=26, tints=tints)


def on_your_network(trained):
    """Print and draw one output number and two gradients of a trained dense layer, term by term."""
    layer, x, y, dy, dx, (dw, *_) = trained.layer, trained.x, trained.y, trained.dy, trained.dx, trained.gradients
    w, bias = layer.kernel.numpy(), None if layer.bias is None else layer.bias.numpy()
    o = int(np.argmax(y))
    print(f"   y[0,{o}], the largest output: the inputs times column {o} of W\n")
    own = print_terms({"x": x[0], "W": w[:, o]}, bias=None if bias is None else bias[o])
    print_total(own, y[0, o], "layer")

    i = int(np.argmax(np.abs(dx)))
    print(f"   dL/dx[0,{i}], the largest: row {i} of W times dL/dy, over all outputs\n")
    print_total(print_terms({"W": w[i], "dL/dy": dy[0]}), dx[0, i], "tape")

    i, q = np.unravel_index(np.argmax(np.abs(dw)), dw.shape)
    print(f"   dL/dW[{i},{q}], the largest: of one image, so one product")
    print(f"   x[0,{i}] dL/dy[0,{q}] = {x[0, i]:.6f} * {dy[0, q]:.6f}")
    print_total(x[0, i] * dy[0, q], dw[i, q], "tape")
    return sorted_products(trained, x[0] * w[:, o])


def sorted_products(trained, products):
    """The image, the products that make the largest output in order of size, and all outputs."""
    figure = drawing.new_figure()
    shown, terms, outputs = figure.subplots(1, 3, width_ratios=[1, 1.4, 1])
    drawing.image(shown, trained.image, "the image")
    ordered = np.sort(products)[::-1]
    terms.bar(range(len(ordered)), ordered, width=1, color=[COLOURS[1 if v > 0 else 0] for v in ordered])
    drawing.title(terms, f"the {len(ordered):,} products x W, sorted:\nsum {ordered.sum():.2f}")
    y = trained.y[0]
    outputs.barh(range(len(y)), y, color=[COLOURS[1] if v == y.max() else drawing.RULE for v in y])
    outputs.invert_yaxis()
    drawing.title(outputs, f"y of {trained.layer.name}:\nthe largest is {y.max():.2f}")
    for axes in (terms, outputs):
        drawing.plain(axes)
    return figure
