"""The figures of the essays: numbers in cells, large enough for a slide."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from layers_explained.support.walkthrough import number, sum_of_products

SLIDE = (16, 9)  # inches; at 120 dots an inch this is a full-HD screen
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe & Ito 2008: told apart by every eye
INK, RULE = "#222222", "#bbbbbb"


def new_slide() -> Figure:
    """An empty slide that finds room for what is put on it."""
    slide = Figure(figsize=SLIDE, layout="constrained")
    slide.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    return slide


def grid(axes, values, title: str = "", size: float = 20, tints=None, notes=None, side: int = 0) -> None:
    """Draw a matrix as cells with numbers in them; NaN leaves a cell empty.

    tints and notes: by (row, column), the colour behind a number and the small text under it.
    side: draw as small as if there were this many columns, so that grids in a row have equal cells.
    """
    values = np.atleast_2d(values)
    rows, columns = values.shape
    margin = max(0, side - columns) / 2 + 0.05
    axes.set(xlim=(-margin, columns + margin), ylim=(rows + margin, -margin), aspect="equal")
    axes.axis("off")
    axes.set_title(title, fontsize=16, color=INK, pad=8)
    for i, j in np.ndindex(rows, columns):
        tint, note = (tints or {}).get((i, j), "white"), (notes or {}).get((i, j), "")
        axes.add_patch(Rectangle((j, i), 1, 1, facecolor=tint, edgecolor=RULE))
        if np.isfinite(values[i, j]):
            height = i + (0.4 if note else 0.52)
            axes.text(j + 0.5, height, number(values[i, j]), ha="center", va="center", fontsize=size, color=INK)
        axes.text(j + 0.5, i + 0.78, note, ha="center", va="center", fontsize=0.65 * size, color=INK)


def pale(colour, strength: float = 0.25):
    """The colour, mixed with white so that a number on it stays readable."""
    return tuple(1 - strength * (1 - channel) for channel in to_rgb(colour))


def by_sign(values, most: float) -> dict:
    """Tints for a matrix: orange above zero, blue below, stronger for larger |value|; `most` is the strongest."""
    return {
        index: pale(COLOURS[1] if value > 0 else COLOURS[0], 0.6 * min(1, abs(value) / most))
        for index, value in np.ndenumerate(values)
    }


def image(axes, pixels, title: str) -> None:
    """Show a picture [H,W,3], or one channel [H,W] in grey, black its smallest number and white its largest."""
    axes.imshow(pixels, cmap="gray", interpolation="nearest")
    axes.set_title(title, fontsize=16, color=INK, pad=8)
    axes.set(xticks=[], yticks=[])


def frame(axes, row, column, rows, columns, colour) -> None:
    """A thick border around some cells, or pixels, of axes."""
    axes.add_patch(Rectangle((column, row), columns, rows, fill=False, edgecolor=colour, linewidth=4, clip_on=False))


def sliding_window(x, k, b, y, dy, dx) -> Figure:
    """A kernel sliding over a small image (stride 1, no padding), and its gradient coming back; 2-D arrays.

    Above, at each of up to four positions: the patch, the kernel over it, and the sum they give.
    Below: what each output sends back to the image, and what that adds up to.
    """
    positions = list(np.ndindex(y.shape))[: len(COLOURS)]
    slide = new_slide()
    forward, backward = slide.subfigures(2, 1)
    heading(forward, "Forward: the kernel slides over x")
    heading(backward, "Backward: each output lays the kernel, times its ∂L/∂y, back where it had looked")
    above, below = (half.subplots(1, len(positions) + 1) for half in (forward, backward))
    for column, ((i, j), colour) in enumerate(zip(positions, COLOURS)):
        cells = {(i + u, j + v): (u, v) for u, v in np.ndindex(k.shape)}
        notes = {cell: f"× {number(k[uv])}" for cell, uv in cells.items()}
        grid(above[column], x, tints=dict.fromkeys(cells, pale(colour)), notes=notes)
        frame(above[column], i, j, *k.shape, colour)
        products = sum_of_products(x[i : i + len(k), j : j + len(k[0])], k).replace("*", "·")
        caption(above[column], f"{products}\n+ {number(b)}  =  {number(y[i, j])}")

        sent = np.full(x.shape, np.nan)  # an empty cell where the kernel does not reach
        sent[i : i + len(k), j : j + len(k[0])] = dy[i, j] * k
        grid(below[column], sent, tints=dict.fromkeys(cells, pale(colour)))
        frame(below[column], i, j, *k.shape, colour)
        caption(below[column], f"∂L/∂y[{i},{j}] = {number(dy[i, j])}\ntimes the kernel")
    grid(above[-1], y, tints=dict(zip(positions, map(pale, COLOURS))), side=len(x))
    caption(above[-1], "y, the output")
    grid(below[-1], dx)
    caption(below[-1], "∂L/∂x, the sum\nof them all")
    return slide


def one_output(trained, patch, kernel, bias, place, corner, channels) -> Figure:
    """How one output number of a trained convolution comes about, for the few input channels given.

    patch and kernel [kh,kw,Cin]; place (row, column, channel) of the output number in y; corner
    (row, column) of the patch in x, negative where padding begins.
    """
    row, column, o = place
    terms = patch * kernel
    slide = new_slide()
    left, right = slide.subfigures(1, 2, width_ratios=[4, 1.25])
    heading(left, f"{trained.layer.name}: the patch under the kernel, times the kernel, summed")
    size = min(18, 42 / max(kernel.shape[:2]))
    for c, (seen, *cells) in zip(channels, left.subplots(len(channels), 4, squeeze=False)):
        image(seen, trained.x[0, :, :, c], f"x, channel {c}")
        frame(seen, corner[0] - 0.5, corner[1] - 0.5, *kernel.shape[:2], COLOURS[1])
        for axes, values, title in zip(
            cells,
            (patch[..., c], kernel[..., c], terms[..., c]),
            ("patch", "times kernel", f"products: sum {terms[..., c].sum():.2f}"),
        ):
            most = np.max(np.abs(values)) or 1.0
            grid(axes, np.round(values, 2), title, size=size, tints=by_sign(values, most))
    picture, output = right.subplots(2, 1)
    image(picture, trained.picture, "the picture")
    image(output, trained.y[0, :, :, o], f"y, channel {o}")
    frame(output, row - 0.5, column - 0.5, 1, 1, COLOURS[1])
    others = terms.sum() - terms[..., channels].sum()
    rest = f"\n{others:+.2f} from other channels" if terms.shape[2] > len(channels) else ""
    shown = " ".join(f"{terms[..., c].sum():+.2f}" for c in channels)
    output.set_xlabel(f"{shown}{rest}\nbias {bias:+.2f}\ny[{row},{column},{o}] = {terms.sum() + bias:.2f}", fontsize=16)
    return slide


def heading(figure, text: str) -> None:
    """A line above a figure or a part of one, from its left edge."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=22, color=INK)


def caption(axes, text: str) -> None:
    """A text under a grid."""
    axes.text(0.5, -0.04, text, transform=axes.transAxes, ha="center", va="top", fontsize=16, color=INK)


def bars(axes, names, values, title: str, lying: bool = False) -> None:
    """One bar for each name, with its number at the end; orange above zero, blue below. lying: bars to the right."""
    colours = [pale(COLOURS[1] if value > 0 else COLOURS[0], 0.6) for value in values]
    drawn = (axes.barh if lying else axes.bar)(list(names), values, color=colours)
    axes.bar_label(drawn, [f"{value:.2f}" for value in values], padding=4, fontsize=16, color=INK)
    axes.margins(**({"x": 0.5} if lying else {"y": 0.28}))
    axes.set_title(title, fontsize=18, color=INK, pad=8)
    axes.tick_params(labelsize=16, length=0)
    (axes.axvline if lying else axes.axhline)(0, color=INK, linewidth=1)
    axes.spines[:].set_visible(False)
    if lying:
        axes.invert_yaxis()
        axes.set_xticks([])
    else:
        axes.set_yticks([])


def histogram(axes, values, edges, title: str) -> None:
    """How often the values fall between the edges; a line marks their mean."""
    axes.hist(np.ravel(values), edges, color=pale(COLOURS[0], 0.6))
    axes.axvline(np.mean(values), color=COLOURS[1], linewidth=3)
    axes.set_title(title, fontsize=18, color=INK, pad=8)
    axes.tick_params(labelsize=16)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)


def computation_graph(values: dict, x, w1, w2) -> Figure:
    """A two-layer network as a graph: above what flows forward, in the middle the weights, below what flows back."""
    slide = Figure(figsize=SLIDE)
    heading(slide, "Blue flows forward, orange back; each row of numbers is one picture")
    page = slide.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, 16), ylim=(0, 9))
    page.axis("off")
    cell = min(0.56, 2.24 / len(x))  # inches; up to four pictures find room at full size
    blocks = {  # title: (numbers, left edge, upper edge)
        "x": (x, 0.5, 7.8), "a = x W1 + b1": (values["a"], 4.2, 7.8), "h = max(a, 0)": (values["h"], 7.6, 7.8),
        "z = h W2 + b2": (values["z"], 11.2, 7.8), "p = softmax(z)": (values["p"], 14.2, 7.8),
        "W1": (w1, 1.4, 5.05), "dW1 = xᵀ da": (values["dW1"], 4.2, 5.05),
        "W2": (w2, 9.0, 5.05), "dW2 = hᵀ dz": (values["dW2"], 11.2, 5.05),
        "dx = da W1ᵀ": (values["dx"], 0.5, 2.35), "da = dh where a > 0": (values["da"], 4.2, 2.35),
        "dh = dz W2ᵀ": (values["dh"], 7.6, 2.35), "dz = (p − q) / N": (values["dz"], 11.2, 2.35),
        "q, the truth": (values["q"], 14.2, 2.35),
    }  # fmt: skip
    for title, (numbers, left, upper) in blocks.items():
        numbers, tint = np.round(numbers, 2), pale(COLOURS[1] if title[0] == "d" else COLOURS[0])
        width, height = cell * numbers.shape[1], cell * numbers.shape[0]
        axes = page.inset_axes([left, upper - height, width, height], transform=page.transData)
        grid(axes, numbers, title, size=13, tints={i: tint for i in np.ndindex(numbers.shape) if numbers[i] != 0})
    text = f"L = {values['L']:.3f}\nmean of −log p\nat the truth"
    page.text(14.76, 3.95, text, ha="center", va="center", fontsize=18, color=INK)
    arrows = [((a, 6.7), (b, 6.7), COLOURS[0]) for a, b in ((3.0, 4.0), (6.55, 7.45), (9.95, 11.05), (12.5, 14.0))]
    arrows += [((b, 1.25), (a, 1.25), COLOURS[1]) for a, b in ((3.0, 4.0), (6.55, 7.45), (9.95, 11.05))]
    arrows += [((14.76, 5.4), (14.76, 4.6), COLOURS[0]), ((13.9, 3.2), (12.5, 1.7), COLOURS[1])]
    for start, end, colour in arrows:
        style = {"arrowstyle": "-|>", "color": colour, "linewidth": 4, "mutation_scale": 26}
        page.annotate("", end, start, arrowprops=style)
    return slide


def flow_back(trained, rows) -> Figure:
    """The sizes of outputs and of gradients, layer by layer; rows of (name, shape, size of y, size of dL/dy, ...)."""
    slide = new_slide()
    seen, forward, backward = slide.subplots(1, 3, width_ratios=[1, 1.3, 1.3])
    image(seen, trained.picture, trained.class_names[trained.label])
    names = [row[0] for row in rows]
    for axes, column, title, colour in (
        (forward, 2, "y: typical size", COLOURS[0]),
        (backward, 3, "∂L/∂y: typical size", COLOURS[1]),
    ):
        sizes = [row[column] for row in rows]
        axes.plot(sizes, names, "o-", color=colour, linewidth=3, markersize=14)
        axes.set_xscale("log")
        axes.grid(axis="x", which="both", color=RULE, linewidth=0.5)
        axes.set_title(title, fontsize=18, color=INK, pad=8)
        axes.tick_params(labelsize=16)
        axes.spines[["top", "right"]].set_visible(False)
        axes.invert_yaxis()
    return slide
