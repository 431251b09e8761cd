"""The figures of the flatten walkthrough: three channels become one row, and a trained network's vector."""

import numpy as np

from layers_explained.support.figures import drawing
from layers_explained.support.figures.drawing import COLOURS, INK, grid, heading, image
from layers_explained.support.printing import print_total


def hand_case(x, y, backward):
    """Three channels, one row, and the backward pass."""
    dy = np.arange(float(y.size))[None]
    dx, colours = backward(dy, x), [COLOURS[k] for k in (1, 2, 0)]  # nearly red, green, blue
    figure = drawing.new_figure()
    for half, text, maps, row, names in zip(
        figure.subfigures(2, 1),
        ("Forward: pixel by pixel, the channel fastest", "Backward: the reshape back, no sums"),
        (x, dx), (y, dy), (("x", "y"), ("∂L/∂x", "∂L/∂y")),
    ):  # fmt: skip
        heading(half, text)
        above, below = half.subfigures(2, 1, height_ratios=[1.5, 1])
        for c, (axes, name) in enumerate(zip(above.subplots(1, 3), ("red", "green", "blue"))):
            tints = dict.fromkeys(np.ndindex(maps.shape[1:3]), drawing.pale(colours[c], 0.35))
            grid(axes, maps[0, :, :, c], f"{names[0]}, {name}", tints=tints)
        axes = below.subplots()
        tints = {(0, k): drawing.pale(colours[k % 3], 0.35) for k in range(row.size)}
        grid(axes, row, names[1], tints=tints)
        for k in range(0, row.size, 3):
            drawing.frame(axes, 0.04, k + 0.04, 0.92, 2.92, INK)
    return figure


def on_your_network(trained):
    """Print and draw where one number of the vector comes from, and where its gradient goes."""
    layer, x, y, dy, dx = trained.layer, trained.x, trained.y, trained.dy, trained.dx
    _, _, width, channels = x.shape
    index = int(np.argmax(np.abs(y[0] * dy[0])))
    pixel, c = divmod(index, channels)
    i, j = divmod(pixel, width)
    print(f"   y[0,{index}], where |y dL/dy| is largest: which pixel and channel is it?\n")
    print(f"   {index} = {pixel}*{channels} + {c}: pixel {pixel}, channel {c}")
    print(f"   {pixel} = {i}*{width} + {j}: row {i}, column {j}\n")
    print(f"   x[0,{i},{j},{c}]:")
    print_total(x[0, i, j, c], y[0, index], "layer")
    print(f"   dL/dx[0,{i},{j},{c}] is dL/dy[0,{index}]:")
    print_total(dy[0, index], dx[0, i, j, c], "tape")

    figure = drawing.new_figure()
    heading(figure, f"{layer.name}: {list(x.shape[1:])} becomes a vector of {y.size:,}")
    above, below = figure.subfigures(2, 1)
    panels = (trained.image, "the image"), (x[0, :, :, c], f"x, channel {c}"), (dx[0, :, :, c], f"∂L/∂x, channel {c}")
    for axes, (values, text) in zip(above.subplots(1, 3), panels):
        image(axes, values, text)
        if values is not trained.image:
            drawing.frame(axes, i - 0.5, j - 0.5, 1, 1, COLOURS[1])
    for axes, values, text in zip(below.subplots(2, 1, sharex=True), (y[0], dy[0]), ("y", "∂L/∂y")):
        axes.bar(range(values.size), values, width=1, color=COLOURS[0])
        axes.bar([index], values[[index]], width=max(1, values.size / 200), color=COLOURS[1])
        drawing.title(axes, text)
        axes.margins(x=0.01)
        drawing.plain(axes)
    return figure
