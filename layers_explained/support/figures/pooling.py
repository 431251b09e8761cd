"""The figures of the pooling walkthrough: the hand case, and one window of a trained network."""

import numpy as np

from layers_explained.support.figures import drawing
from layers_explained.support.figures.drawing import COLOURS, frame, grid, image, pale
from layers_explained.support.printing import number, print_beside, print_total
from layers_explained.support.sliding import windows

TEXTS = {
    "max": "max: the largest of each window; all of its gradient goes back to it",
    "average": "average: the mean of each window; its gradient is divided equally",
}


def hand_case(x, dy, y, dx, kinds):
    """What each kind keeps, and where its gradient goes."""
    colours = dict(zip(np.ndindex(dy.shape), COLOURS * dy.size))
    tints = {index: pale(colour) for index, colour in colours.items()}
    figure = drawing.new_figure()
    for half, kind in zip(figure.subfigures(2, 1), kinds):
        drawing.heading(half, TEXTS[kind])
        reached = {(r, q): tints[r // 2, q // 2] for r, q in zip(*np.nonzero(dx[kind]))}
        panels = ("x", x, reached), (f"y, {kind}", y[kind], tints), ("∂L/∂y", dy, tints), ("∂L/∂x", dx[kind], reached)
        for axes, (text, values, tint) in zip(half.subplots(1, 4), panels):
            grid(axes, values, text, tints=tint, side=x.shape[1], size=18)
            for (i, j), colour in colours.items() if values.shape == x.shape else ():
                frame(axes, 2 * i + 0.05, 2 * j + 0.05, 1.9, 1.9, colour)
    return figure


def on_your_network(trained, fractions):
    """Print and draw one output number and one gradient of a trained network's pooling, term by term."""
    layer, x, y, dy, dx = trained.layer, trained.x, trained.y, trained.dy, trained.dx
    kind = "max" if type(layer).__name__ == "MaxPooling" else "average"
    sizes = {"size": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}
    (rows, columns, inside), weights = windows(x, **sizes), fractions(x, kind, **sizes)[0]  # [H',W',size^2,C]

    _, i, j, c = np.unravel_index(np.argmax(np.abs(y * dy)), dy.shape)
    under, own = x[0, rows[i, j], columns[i, j], c], weights[i, j, :, c]
    side = (layer.kernel_size, layer.kernel_size)
    shown, shown_weights = (np.where(inside[i, j], values, np.nan).reshape(side) for values in (under, own))
    print(f"   y[0,{i},{j},{c}], where |y dL/dy| is largest: row {i}, column {j}, channel {c}\n")
    print_beside(("x under the window", shown), ("weight", shown_weights))
    print("   x times weight, summed:")
    print_total(under @ own, y[0, i, j, c], "layer")

    r, q = rows[i, j, np.argmax(own)], columns[i, j, np.argmax(own)]
    print(f"   dL/dx[0,{r},{q},{c}], of the largest weight: from every window that covers it, weight times dL/dy\n")
    total = 0.0
    for a, b, k in np.argwhere(inside & (rows == r) & (columns == q)):
        total += weights[a, b, k, c] * dy[0, a, b, c]
        print(f"   window {a},{b}: {number(weights[a, b, k, c])} times {dy[0, a, b, c]:.6f}")
    print_total(total, dx[0, r, q, c], "tape")
    return one_window(trained, kind, (i, j, c), shown, shown_weights, (rows, columns, inside))


def one_window(trained, kind, position, under, weights, covered):
    """One window in x and y, its numbers, and the gradients."""
    (i, j, c), (rows, columns, inside) = position, covered
    figure = drawing.new_figure()
    drawing.heading(figure, f"{trained.layer.name}: {TEXTS[kind].partition(': ')[2]}")
    (shown, before, after), (cells, received, sent) = figure.subplots(2, 3)
    image(shown, trained.image, "the image")
    reached = dict.fromkeys(zip(*np.nonzero(weights > 0)), pale(COLOURS[1], 0.4))
    grid(cells, np.round(under, 2), "x under the window", size=18 if len(under) < 6 else 17, tints=reached)
    for axes, values, name in ((before, trained.x, "x"), (received, trained.dx, "∂L/∂x")):
        image(axes, values[0, :, :, c], f"{name}, channel {c}")
        r, q = rows[i, j][inside[i, j]], columns[i, j][inside[i, j]]
        frame(axes, r[0] - 0.5, q[0] - 0.5, np.ptp(r) + 1, np.ptp(q) + 1, COLOURS[1])
    for axes, values, name in ((after, trained.y, "y"), (sent, trained.dy, "∂L/∂y")):
        image(axes, values[0, :, :, c], f"{name}, channel {c}")
        frame(axes, i - 0.5, j - 0.5, 1, 1, COLOURS[1])
    return figure
