"""The figures of the convolution walkthrough: a kernel sliding by hand, and one output of a trained layer."""

import numpy as np

from layers_explained.support.figures import drawing
from layers_explained.support.figures.drawing import COLOURS, SMALL, caption, frame, grid, heading, image, pale
from layers_explained.support.printing import number, print_beside, print_terms, print_total, several
from layers_explained.support.sliding import patches, window


def hand_case(x, k, b, t, y, dx, *_):
    """A kernel sliding over a small image (stride 1, no padding), and its backward pass; 2-D arrays.

    Above, at each of up to four positions: the patch, and the output it gives. Below: what each output adds to
    dL/dx, and the sum.
    """
    dy, positions = y - t, list(np.ndindex(y.shape))[: len(COLOURS)]
    figure = drawing.new_figure()
    forward, backward = figure.subfigures(2, 1)
    heading(forward, "Forward: y = sum of (patch × kernel) + b, at every position of x")
    heading(backward, "Backward: each output adds ∂L/∂y × kernel to the patch it was computed from")
    widths = [0.7] + [1] * (len(positions) + 1)
    above, below = (half.subplots(1, len(positions) + 2, width_ratios=widths) for half in (forward, backward))
    grid(above[0], k, side=len(x))
    caption(above[0], f"k, the kernel\nb = {number(b)}")
    grid(below[0], dy, side=len(x), tints=dict(zip(positions, map(pale, COLOURS))))
    caption(below[0], "∂L/∂y")
    for column, ((i, j), colour) in enumerate(zip(positions, COLOURS), start=1):
        cells = [(i + u, j + v) for u, v in np.ndindex(k.shape)]
        grid(above[column], x, tints=dict.fromkeys(cells, pale(colour)))
        frame(above[column], i, j, *k.shape, colour)
        caption(above[column], f"patch of y[{i},{j}]\n{number(y[i, j] - b)} + {number(b)} = {number(y[i, j])}")

        added = np.full(x.shape, np.nan)  # an empty cell outside the patch
        added[i : i + len(k), j : j + len(k[0])] = dy[i, j] * k
        grid(below[column], added, tints=dict.fromkeys(cells, pale(colour)))
        frame(below[column], i, j, *k.shape, colour)
        caption(below[column], f"{number(dy[i, j])} × kernel")
    grid(above[-1], y, tints=dict(zip(positions, map(pale, COLOURS))), side=len(x))
    caption(above[-1], "y, the\nfeature map")
    grid(below[-1], dx)
    caption(below[-1], "∂L/∂x, the sum")
    return figure


def on_your_network(trained):
    """Print and draw one output number and one kernel gradient of a trained convolution, term by term."""
    layer, y, dy, dk = trained.layer, trained.y, trained.dy, trained.gradients[0]
    k, bias = layer.kernel.numpy(), np.zeros(y.shape[3]) if layer.bias is None else layer.bias.numpy()
    case = trained.x, k, layer.stride, layer.padding
    under, (top, _), (left, _) = patches(*case)[0], *window(*case)[:2]  # [H',W',kh,kw,Cin], and the zeros around
    _, i, j, o = np.unravel_index(np.argmax(y), y.shape)
    terms = under[i, j] * k[..., o]  # [kh,kw,Cin]
    channels = sorted(np.argsort(-np.abs(terms.sum(axis=(0, 1))))[:3].tolist())
    print(f"   y[0,{i},{j},{o}], the largest output: row {i}, column {j} of feature map {o}\n")
    for c in channels:
        products = ("x k", terms[..., c]), ("sum", terms[..., c].sum())
        print(f"   channel {c}")
        print_beside(("x, the patch", under[i, j, :, :, c]), ("k", k[:, :, c, o]), *products)
    others = terms.shape[2] - len(channels)
    if others:
        print(f"   {several(others, 'other channel')} {terms.sum() - terms[..., channels].sum():.6f}")
    print(f"   bias {bias[o]:.6f}")
    print_total(terms.sum() + bias[o], y[0, i, j, o], "layer")

    u, v, c, q = np.unravel_index(np.argmax(np.abs(dk)), dk.shape)
    print(f"   dL/dk[{u},{v},{c},{q}], the largest: the input under this weight times dL/dy, over all positions\n")
    total = print_terms({"x": under[:, :, u, v, c], "dL/dy": dy[0, :, :, q]})
    print_total(total, dk[u, v, c, q], "tape")
    corner = layer.stride * i - top, layer.stride * j - left
    return one_output(trained, under[i, j], k[..., o], bias[o], (i, j, o), corner, channels)


def one_output(trained, patch, kernel, bias, position, corner, channels):
    """How one output number comes about, for the few input channels given.

    patch and kernel [kh,kw,Cin]; position (row, column, channel) of the number in y; corner (row, column) of the patch
    in x, negative where padding begins.
    """
    row, column, o = position
    terms = patch * kernel
    figure = drawing.new_figure()
    left, right = figure.subfigures(1, 2, width_ratios=[4, 1.25])
    heading(left, f"{trained.layer.name}: patch × kernel, summed over the channels")
    size = min(18, 51 / max(kernel.shape[:2]))
    for c, (shown, *cells) in zip(channels, left.subplots(len(channels), 4, squeeze=False)):
        image(shown, trained.x[0, :, :, c], f"x, channel {c}")
        frame(shown, corner[0] - 0.5, corner[1] - 0.5, *kernel.shape[:2], COLOURS[1])
        blocks = (
            (patch[..., c], "patch"),
            (kernel[..., c], "× kernel"),
            (terms[..., c], f"sum {terms[..., c].sum():.2f}"),
        )
        for axes, (values, text) in zip(cells, blocks):
            shown_values = np.round(values, 2) if size >= SMALL else np.full(values.shape, np.nan)
            grid(axes, shown_values, text, size=size, tints=drawing.by_sign(values, np.max(np.abs(values)) or 1.0))
    above, below = right.subplots(2, 1)
    image(above, trained.image, "the image")
    image(below, trained.y[0, :, :, o], f"y, feature map {o}")
    frame(below, row - 0.5, column - 0.5, 1, 1, COLOURS[1])
    others = terms.sum() - terms[..., channels].sum()
    rest = f"\n{others:+.2f} other channels" if terms.shape[2] > len(channels) else ""
    sums = " ".join(f"{terms[..., c].sum():+.2f}" for c in channels)
    below.set_xlabel(f"{sums}{rest}\nbias {round(bias, 2) + 0.0:+.2f}\ny = {terms.sum() + bias:.2f}", fontsize=SMALL)
    return figure
