"""The figures of the dropout walkthrough: masks and means, and a trained network's dropout."""

import numpy as np

from layers_explained.support.comparison import import_tensorflow
from layers_explained.support.figures import drawing
from layers_explained.support.figures.drawing import COLOURS, INK, heading, image
from layers_explained.support.printing import print_total


def masks(forward, draw, rate, seed):
    """Above, the masks of two steps. Below, the mean of y over the steps, with 1/(1 - r) and without."""
    x = np.arange(1.0, 17).reshape(4, 4)
    figure = drawing.new_figure()
    above, below = figure.subfigures(2, 1)
    heading(above, f"The mask is a function of (seed, step); a kept number is divided by 1 − r = {1 - rate:.3g}")
    heading(below, "Over many steps the mean is x again; without 1/(1 − r) it is (1 − r) x")
    first, *others = above.subplots(1, 4)
    drawing.grid(first, x, "x", size=18)
    for axes, step in zip(others, (1, 1, 2)):
        kept = draw(x.shape, rate, seed, step)
        tints = {i: drawing.pale(COLOURS[0]) if kept[i] else "#dddddd" for i in np.ndindex(x.shape)}
        y = np.round(forward(x, kept, rate)[0], 1)
        drawing.grid(axes, y, f"y at step {step}", size=18, tints=tints)
    axes, steps = below.subplots(), np.arange(1, 301)
    kept = np.array([draw([1], rate, seed, step)[0] for step in steps])
    for values, name, colour in (
        (kept / (1 - rate), "mean of y, divided by 1 − r", COLOURS[0]), (kept, "mean of y, not divided", COLOURS[1]),
    ):  # fmt: skip
        axes.plot(steps, np.cumsum(values) / steps, color=colour, linewidth=4, label=name)
    axes.axhline(1, color=INK, linestyle="--", linewidth=2, label="x = 1")
    axes.set_xlabel("steps")
    axes.set_ylim(0, 2)
    drawing.plain(axes)
    drawing.legend(axes, ncols=3, loc="upper right")
    return figure


def on_your_network(trained, mask_of, number):
    """Print and draw a trained network's dropout, in evaluation and at one step of the training."""
    tf = import_tensorflow()
    layer, x, dy, step = trained.layer, trained.x, trained.dy, tf.constant(number)
    same = np.array_equal(x, trained.y) and np.array_equal(trained.dx, dy)
    print(f"   In evaluation y = x and dL/dx = dL/dy, to the last bit: {same}\n")
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True, step=step)
    dx, y = tape.gradient(outputs, inputs, output_gradients=tf.constant(dy)).numpy(), outputs.numpy()
    mask = mask_of(x.shape, layer.rate, int(layer.key[0]), layer.name, step)
    again = np.array_equal(y, layer(inputs, training=True, step=step))
    print(f"   At step {number} of the training, rate {layer.rate}: {mask.sum():,} of {mask.size:,} numbers are kept, "
          f"the same ones when it is computed again: {again}\n")  # fmt: skip
    i = np.unravel_index(np.argmax(x * mask), x.shape)
    j = np.unravel_index(np.argmax(np.abs(dy) * mask), x.shape)
    kept = 1 - layer.rate
    print(f"   y{[int(a) for a in i]}, the largest that is kept: x / (1 - r) = {x[i]:.6f} / {kept:g}")
    print_total(x[i] * mask[i] / kept, y[i], "layer")
    print(f"   dL/dx{[int(a) for a in j]}: dL/dy / (1 - r) = {dy[j]:.6f} / {kept:g}")
    print_total(dy[j] * mask[j] / kept, dx[j], "tape")
    return panels(trained, mask, y, number)


def panels(trained, mask, y, step):
    """x and y in one scale of grey, so that y can be seen to be larger where it is kept, and the mask between them."""
    x = trained.x
    figure = drawing.new_figure()
    shown, *charts = np.ravel(figure.subplots(2, 2))
    image(shown, trained.image, "the image")
    scale = min(0.0, x.min(), y.min()), max(x.max(), y.max())
    columns = int(np.ceil(np.sqrt(2 * x.size)))  # the features in rows, twice as wide as high
    titles = (
        f"x: the {x.size} inputs of {trained.layer.name}",
        f"the mask of step {step}: white is kept",
        f"y, in the grey scale of x: white is {scale[1]:.2f}",
    )
    for axes, values, text, limits in zip(charts, (x, mask, y), titles, (scale, (0, 1), scale)):
        padded = np.full(-(-x.size // columns) * columns, np.nan)
        padded[: x.size] = np.ravel(values)
        image(axes, padded.reshape(-1, columns), text, scale=limits)
    return figure
