"""The page and the figures of the backpropagation walkthrough: a computation graph, and the gradients of a network."""

import numpy as np
from matplotlib.figure import Figure

from layers_explained.support.constants import require
from layers_explained.support.figures import drawing
from layers_explained.support.figures.drawing import COLOURS, INK, heading
from layers_explained.support.printing import number, print_beside, print_terms, print_total, sum_of_products

PARAMETERS = "W1", "b1", "W2", "b2"


def every_number(point, labels, forward, backward):
    """Every number of a forward and a backward pass by name; dL/dz is called dz. Raises Problem for bad sizes."""
    x, w1, b1, w2, b2 = point
    shapes = (x.shape[1], b1.size), (1, b1.size), (b1.size, b2.size), (1, b2.size)
    for name, value, shape in zip(PARAMETERS, (w1, b1, w2, b2), shapes):
        require(value.shape == shape, f"HAND_{name.upper()} is {value.shape}, and beside the others it must be {shape}")
    require(len(labels) == len(x) and set(labels) <= set(range(b2.size)), f"HAND_LABELS = {labels}: expected a class "
            f"from 0 to {b2.size - 1} for each row of HAND_X")  # fmt: skip
    case = x, w1, b1[0], w2, b2[0], labels
    loss, p, a, h = forward(*case)
    q = np.eye(b2.size)[labels]
    dz = (p - q) / len(x)
    gradients = dict(zip(("dx", *(f"d{name}" for name in PARAMETERS)), backward(1.0, *case)))
    values = {"L": loss, "a": a, "h": h, "z": h @ w2 + b2, "p": p, "q": q, "dz": dz, "dh": dz @ w2.T}
    return {"x": x, "W1": w1, "b1": b1, "W2": w2, "b2": b2, **values, "da": values["dh"] * (a > 0), **gradients}


def print_page(v, learning_rate, forward):
    """Print every number v of a forward and a backward pass, and one step against the gradient."""
    print("   Forward, a row for each image\n")
    print_beside(("x", v["x"]), ("W1", v["W1"]), ("b1", v["b1"]), ("a = x W1 + b1", v["a"]), ("h = max(a, 0)", v["h"]))
    print_beside(("h", v["h"]), ("W2", v["W2"]), ("b2", v["b2"]), ("z = h W2 + b2", v["z"]), ("p = softmax(z)", v["p"]),
                 ("q", v["q"]))  # fmt: skip
    correct = np.sum(v["p"].argmax(axis=1) == v["q"].argmax(axis=1))
    chosen = [number(p) for p in np.sum(v["p"] * v["q"], axis=1)]
    print(f"   L = -mean of log {', log '.join(chosen)} = {number(v['L'])};  correct predictions: {correct} of "
          f"{len(v['x'])}\n")  # fmt: skip
    print(f"   Backward, from the last function to the first; dz is dL/dz, and N = {len(v['x'])}\n")
    print_beside(("dz = (p - q) / N", v["dz"]), ("dW2 = h^T dz", v["dW2"]), ("db2 = sum dz", v["db2"]),
                 ("dh = dz W2^T", v["dh"]))  # fmt: skip
    print_beside(("da = dh where a > 0", v["da"]), ("dW1 = x^T da", v["dW1"]), ("db1 = sum da", v["db1"]))
    print_beside(("dx = da W1^T", v["dx"]))
    print(f"   one of them: dW2[0,0] = {sum_of_products(v['h'][:, 0], v['dz'][:, 0])} = {number(v['dW2'][0, 0])}")
    print(f"   and further: dh[0,0] = {sum_of_products(v['dz'][0], v['W2'][0])} = {number(v['dh'][0, 0])}\n")
    slope = sum(np.sum(v[f"d{name}"] ** 2) for name in PARAMETERS)
    stepped = [v[name].reshape(v[f"d{name}"].shape) - learning_rate * v[f"d{name}"] for name in PARAMETERS]
    print(f"   A step of {learning_rate} against the gradient of the parameters: predicted change of L "
          f"{-learning_rate * slope:.4f},")  # fmt: skip
    print(f"   actual change {forward(v['x'], *stepped, v['q'].argmax(axis=1))[0] - v['L']:.4f}.")


def computation_graph(v) -> Figure:
    """A two-layer network as a graph: above the forward pass, in the middle the weights, below the backward pass."""
    figure = Figure(figsize=drawing.SIZE)
    heading(figure, "Blue: forward pass. Orange: backward pass. A row of numbers for each image")
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, 16), ylim=(0, 9))
    page.axis("off")
    cell = min(0.62, 2.2 / len(v["x"]))  # inches a row; up to four images find room at full size
    blocks = {  # title: (numbers, left edge, upper edge)
        "x": (v["x"], 0.4, 7.75), "a = x W1 + b1": (v["a"], 4.1, 7.75), "h = max(a, 0)": (v["h"], 7.4, 7.75),
        "z = h W2 + b2": (v["z"], 11.1, 7.75), "p": (v["p"], 14.3, 7.75),
        "W1": (v["W1"], 1.0, 4.85), "dW1 = xᵀ da": (v["dW1"], 4.1, 4.85),
        "W2": (v["W2"], 8.4, 4.85), "dW2 = hᵀ dz": (v["dW2"], 11.1, 4.85),
        "dx = da W1ᵀ": (v["dx"], 0.4, 2.2), "da = dh 1[a>0]": (v["da"], 4.1, 2.2),
        "dh = dz W2ᵀ": (v["dh"], 7.4, 2.2), "dz = (p−q)/N": (v["dz"], 11.1, 2.2), "q": (v["q"], 14.3, 2.2),
    }  # fmt: skip
    for text, (values, left, upper) in blocks.items():
        values, tint = np.round(values, 2), drawing.pale(COLOURS[1] if text[0] == "d" else COLOURS[0])
        width, height = 0.7 * values.shape[1], cell * 0.85 * values.shape[0]
        axes = page.inset_axes([left, upper - height, width, height], transform=page.transData)
        cells(axes, values, text, {i: tint for i in np.ndindex(values.shape) if values[i] != 0})
    page.text(14.95, 3.9, f"L = {v['L']:.3f}", ha="center", va="center", fontsize=20, color=INK)
    arrows = [((a, 6.7), (b, 6.7), COLOURS[0]) for a, b in ((3.3, 4.0), (6.3, 7.3), (9.6, 11.0), (12.6, 14.2))]
    arrows += [((b, 1.15), (a, 1.15), COLOURS[1]) for a, b in ((3.3, 4.0), (6.3, 7.3), (9.6, 11.0))]
    arrows += [((14.95, 5.5), (14.95, 4.3), COLOURS[0]), ((14.2, 3.5), (12.7, 2.0), COLOURS[1])]
    for start, end, colour in arrows:
        style = {"arrowstyle": "-|>", "color": colour, "linewidth": 4, "mutation_scale": 26}
        page.annotate("", end, start, arrowprops=style)
    return figure


def cells(axes, values, text, tints):
    """A grid whose cells are wider than high, so that two decimals fit at a readable size."""
    drawing.grid(axes, values, text, size=drawing.SMALL, tints=tints)
    axes.set(aspect="auto", xlim=(0, values.shape[1]), ylim=(values.shape[0], 0))


def rms(values) -> float:
    """The root mean square: the typical size of a number."""
    return float(np.sqrt(np.mean(np.square(values))))


def on_your_network(trained):
    """Print and draw the size of every layer's output and gradients, then one dense layer forward and backward."""
    print("   From the last layer to the first: root mean square of the output and of the gradients\n")
    print("   layer          shape of y           y       dL/dy   dL/d(parameters)")
    rows = [(layer.name, y.shape[1:], rms(y), rms(dy), [rms(g) for g in own]) for layer, y, dy, own in trained.flow]
    rows = rows[:-1]  # the loss is computed from the logits, so the softmax has no gradient
    for name, shape, y, dy, own in reversed(rows):
        sizes = "  ".join(f"{size:.2e}" for size in own)
        print(f"   {name:14}{'x'.join(map(str, shape)):>10}{y:14.4f}{dy:12.2e}   {sizes}".rstrip())
    layer, x, dy = trained.layer, trained.x[0], trained.dy[0]
    w, o = layer.kernel.numpy(), int(np.argmax(trained.y[0]))
    print(f"\n   Forward through {layer.name}: y[{o}], the largest, x times W[:,{o}]\n")
    bias = None if layer.bias is None else layer.bias.numpy()[o]
    print_total(print_terms({"x": x, "W": w[:, o]}, bias), trained.y[0, o], "layer")
    i = int(np.argmax(np.abs(trained.dx[0])))
    print(f"   Backward through {layer.name}: dL/dx[{i}], the largest, dL/dy times W[{i},:]\n")
    print_total(print_terms({"dL/dy": dy, "W": w[i]}), trained.dx[0, i], "tape")
    return sizes_by_layer(trained, rows)


def sizes_by_layer(trained, rows):
    """The sizes of outputs and of gradients, layer by layer; rows of (name, shape, rms of y, rms of dL/dy, ...)."""
    figure = drawing.new_figure()
    shown, forward, backward = figure.subplots(1, 3, width_ratios=[1, 1.3, 1.3])
    drawing.image(shown, trained.image, trained.class_names[trained.label])
    names = [row[0] for row in rows]
    for axes, column, text, colour in (
        (forward, 2, "y: root mean square", COLOURS[0]), (backward, 3, "∂L/∂y: root mean square", COLOURS[1]),
    ):  # fmt: skip
        axes.plot([row[column] for row in rows], names, "o-", color=colour, linewidth=3, markersize=12)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")  # powers would be written with small exponents
        axes.xaxis.set_minor_formatter("")
        axes.grid(axis="x", which="both", color=drawing.RULE, linewidth=0.5)
        drawing.title(axes, text)
        drawing.plain(axes)
        axes.invert_yaxis()
    return figure
