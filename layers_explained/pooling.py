"""Pooling, four times: loops, NumPy, TensorFlow, and the layer that trains.

A window is laid on the image, in every channel by itself, and of the numbers under it one is made:
the largest (max-pooling) or the mean (average pooling). Nothing is learned.

    max        y[n,i,j,c] = max over u,v of   x[n, s*i+u-p, s*j+v-p, c]
    average    y[n,i,j,c] = mean over u,v of  x[n, s*i+u-p, s*j+v-p, c]

    x [N,H,W,C]      N images of H rows, W columns, C channels
    y [N,H',W',C]    s is the stride; with padding SAME a window may reach p rows and columns over
                     the edge, where there is nothing: it neither wins nor counts in the mean

Change a number below and run the file again: python layers_explained/pooling.py
"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support import checks, figures, walkthrough
from layers_explained.support.walkthrough import beside, number

BATCH, ROWS, COLUMNS, CHANNELS = 2, 12, 12, 3  # N, H, W, C
KERNEL_SIZE, STRIDE, PADDING = 3, 2, "SAME"  # rows and columns of the window, s, SAME or VALID
SEED = 0  # of the order of the numbers in x, and of the target t

# The case to do by hand: one image, one channel, windows of 2 x 2 side by side.
HAND_X = [[1, 3, 2, 2], [0, 2, 2, 1], [5, 1, 0, -1], [2, 4, -2, -3]]
HAND_DY = [[4, -8], [12, -4]]  # say that this is dL/dy

KINDS = ("max", "average")
LAYER_CLASSES = ("MaxPooling", "AveragePooling")  # of core/layers/, for --run


# ---- Rung 1: loops -------------------------------------------------------------------------------


def forward_loops(x, kind, *sizes):
    """The formula, letter for letter.  x [N,H,W,C] -> y [N,H',W',C]."""
    rows, columns, inside = windows(x, *sizes)
    y = np.zeros((len(x), *inside.shape[:2], x.shape[3]))
    for n, i, j, c in np.ndindex(y.shape):
        under = [(r, q) for r, q, there in zip(rows[i, j], columns[i, j], inside[i, j]) if there]
        values = [x[n, r, q, c] for r, q in under]
        y[n, i, j, c] = max(values) if kind == "max" else sum(values) / len(values)
    return y


def backward_loops(x, kind, dy, *sizes):
    """dL/dy -> dL/dx. Max: all of it to the winner. Average: an equal part to everybody.

    Windows may overlap, so a number adds up what comes back from all of them; hence += and never =.
    """
    rows, columns, inside = windows(x, *sizes)
    dx = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(dy.shape):
        under = [(r, q) for r, q, there in zip(rows[i, j], columns[i, j], inside[i, j]) if there]
        if kind == "max":
            values = [x[n, r, q, c] for r, q in under]
            r, q = under[values.index(max(values))]  # of several equals, the first
            dx[n, r, q, c] += dy[n, i, j, c]
        else:
            for r, q in under:
                dx[n, r, q, c] += dy[n, i, j, c] / len(under)
    return dx


def windows(x, size, stride, padding):
    """Where every window looks: rows and columns [H',W',size^2], and which of them are inside the image."""
    lines = []
    for length in x.shape[1:3]:
        positions, over = (length - size) // stride + 1, 0
        if padding == "SAME":
            positions = -(-length // stride)  # ceil(length / stride)
            over = max((positions - 1) * stride + size - length, 0)  # an odd one goes below and to the right
        lines.append(stride * np.arange(positions)[:, None] + np.arange(size) - over // 2)  # [positions,size]
    grids = np.broadcast_arrays(lines[0][:, None, :, None], lines[1][:, None])  # [H',W',size,size] each
    rows, columns = (side.reshape(*side.shape[:2], size * size) for side in grids)
    inside = (0 <= rows) & (rows < x.shape[1]) & (0 <= columns) & (columns < x.shape[2])
    return np.where(inside, rows, 0), np.where(inside, columns, 0), inside


# ---- Rung 2: NumPy -------------------------------------------------------------------------------


def forward_numpy(x, kind, *sizes):
    """Both kinds are a weighted sum of the window: weight 1 for the winner, or 1/count for everybody."""
    rows, columns, _ = windows(x, *sizes)
    return (x[:, rows, columns] * shares(x, kind, *sizes)).sum(axis=3)  # [N,H',W',size^2,C] -> [N,H',W',C]


def backward_numpy(x, kind, dy, *sizes):
    """The same shares, of dL/dy, go back to where the numbers came from."""
    return send_back(shares(x, kind, *sizes) * dy[:, :, :, None], x, *sizes)


def shares(x, kind, *sizes):
    """How much of each number in a window reaches the output: [N,H',W',size^2,C], over a window they sum to 1."""
    rows, columns, inside = windows(x, *sizes)
    inside = np.broadcast_to(inside[..., None], (len(x), *inside.shape, x.shape[3]))
    if kind == "average":
        return inside / inside.sum(axis=3, keepdims=True)
    values = np.where(inside, x[:, rows, columns], -np.inf)  # beyond the edge nothing wins
    winner = values.argmax(axis=3)[:, :, :, None]  # of several equals, the first
    return (np.arange(inside.shape[3])[:, None] == winner).astype(float)


def send_back(parts, x, *sizes):
    """parts [N,H',W',size^2,C] of windows, each added to its number in x.  -> [N,H,W,C]."""
    rows, columns, _ = windows(x, *sizes)
    dx = np.zeros(x.shape)
    np.add.at(dx, (slice(None), rows, columns), parts)  # dx[:, rows, columns] += parts would count a place once
    return dx


# ---- Rungs 3 and 4: TensorFlow -------------------------------------------------------------------


def tensorflow_primitives(x, kind, t, *sizes):
    """Gather what is under every window; then a running maximum, or sum over count. The tape goes back.

    tf.maximum sends its gradient to the first of two equals, and so does the layer; tf.reduce_max
    would share it out between them.
    """
    tf = walkthrough.import_tensorflow()
    rows, columns, inside = windows(x, *sizes)
    n, height, width, channels = x.shape
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        p = tf.gather(tf.reshape(x, [n, height * width, channels]), rows * width + columns, axis=1)
        p = tf.where(inside[..., None], p, -np.inf if kind == "max" else 0)  # [N,H',W',size^2,C]
        if kind == "max":
            y = functools.reduce(tf.maximum, tf.unstack(p, axis=3))
        else:
            y = tf.reduce_sum(p, axis=3) / inside.sum(axis=2)[..., None]
        loss = tf.reduce_sum((y - t) ** 2) / 2
    return [y.numpy(), tape.gradient(loss, x).numpy()]


def compiled_layer(x, kind, t, *sizes):
    """The class that trains, of core/layers/pooling.py, in a compiled function. Returns what runs one step of it."""
    tf = walkthrough.import_tensorflow()
    from core.layers import AveragePooling, MaxPooling

    layer = (MaxPooling if kind == "max" else AveragePooling)("pool", *sizes)

    @tf.function(autograph=False)
    def step(x, t):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum((y - t) ** 2) / 2
        return y, tape.gradient(loss, x)

    x, t = tf.constant(x), tf.constant(t)
    return lambda: [tensor.numpy() for tensor in step(x, t)]


# ---- The story -----------------------------------------------------------------------------------


def numbers():
    """x, a target t, and the sizes of the window. Raises Problem for impossible numbers at the top.

    x is a shuffled ladder, its rungs 0.02 apart: no two numbers are equal, and no small step changes
    who wins. Where the winner changes, the maximum has a kink, and no gradient to check.
    """
    walkthrough.check_sizes(globals(), "BATCH", "ROWS", "COLUMNS", "CHANNELS", "KERNEL_SIZE", "STRIDE", "SEED")
    walkthrough.check_window(KERNEL_SIZE, PADDING, ROWS, COLUMNS)
    random, sizes = np.random.default_rng(SEED), (KERNEL_SIZE, STRIDE, PADDING)
    ladder = random.permutation(BATCH * ROWS * COLUMNS * CHANNELS).reshape(BATCH, ROWS, COLUMNS, CHANNELS)
    x = 0.02 * (ladder - ladder.size / 2)
    positions = windows(x, *sizes)[0].shape[:2]
    return x, random.standard_normal([BATCH, *positions, CHANNELS]), sizes


def there_and_back(forward, backward, x, kind, t, *sizes):
    """y and dL/dx for the loss L = 1/2 sum (y - t)^2, whose dL/dy is y - t."""
    y = forward(x, kind, *sizes)
    return y, backward(x, kind, y - t, *sizes)


def contract():
    """The contract."""
    x, t, _ = numbers()
    print(f"   x {list(x.shape)}  ->  y {list(t.shape)}, no parameters")
    print(f"   window {KERNEL_SIZE} x {KERNEL_SIZE}, stride {STRIDE}, padding {PADDING}")
    print(f"   {x.size:,} numbers become {t.size:,}: one of {x.size / t.size:.1f} is left")


def by_hand():
    """A case small enough to do by hand."""
    x, dy, y, dx = hand_case()
    print(beside(("x", x), ("largest", y["max"]), ("mean", y["average"])) + "\n")
    for i, j in np.ndindex(dy.shape):
        seen = ", ".join(number(value) for value in x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flat)
        print(f"   y[{i},{j}] sees {seen}:  largest {number(y['max'][i, j])}, mean {number(y['average'][i, j])}")
    print("\n   Backward: the winner gets all of dL/dy, or each of the four a quarter of it.\n")
    print(beside(("dL/dy", dy), ("dL/dx, largest", dx["max"]), ("dL/dx, mean", dx["average"])))
    print("\n   Either way the four add up to the dL/dy of their window: nothing is lost, it is only shared out.")


def hand_case():
    """x, dL/dy, and y and dL/dx by kind, of the hand case by rung 1. Raises Problem when they do not fit together."""
    x, dy = walkthrough.matrices(globals(), "HAND_X", "HAND_DY")
    if x.shape != (2 * dy.shape[0], 2 * dy.shape[1]):
        raise walkthrough.Problem(
            f"HAND_X {x.shape} is cut into 2 x 2 windows, and HAND_DY {dy.shape} has a number for each; "
            "give HAND_X twice as many rows and columns as HAND_DY"
        )
    y, dx = {}, {}
    for kind in KINDS:
        case = x[None, :, :, None], kind  # N = C = 1
        y[kind] = forward_loops(*case, 2, 2, "VALID")[0, :, :, 0]
        dx[kind] = backward_loops(*case, dy[None, :, :, None], 2, 2, "VALID")[0, :, :, 0]
    return x, dy, y, dx


def four_rungs():
    """The same layer four times, forward and backward."""
    x, t, sizes = numbers()

    def rungs(*case):  # yields, so that TensorFlow is woken only when the third is reached
        yield "loops", lambda: there_and_back(forward_loops, backward_loops, *case)
        yield "NumPy", lambda: there_and_back(forward_numpy, backward_numpy, *case)
        yield "TensorFlow primitives", lambda: tensorflow_primitives(*case)
        yield "the layer, compiled", compiled_layer(*case)

    for kind in KINDS:
        print(f"   {kind.capitalize()}:\n")
        checks.climb(rungs(x, kind, t, *sizes), names=("y", "dL/dx"))
        print()


def proof_case(kind, backward=backward_numpy):
    """(y, loss, point, gradients) of the forward pass and of a backward pass, as the proofs want them."""
    x, t, sizes = numbers()
    y, dx = there_and_back(forward_numpy, backward, x, kind, t, *sizes)

    def loss(x):
        return np.sum((forward_numpy(x, kind, *sizes) - t) ** 2) / 2

    return y, loss, {"x": x}, {"x": dx}


def gradients():
    """The backward pass, checked by the forward pass."""
    for kind in KINDS:
        print(f"   {kind.capitalize()}: finite differences, then Taylor.\n")
        _, *case = proof_case(kind)
        checks.prove_gradients(*case, bound=1e-6)
        print()
        checks.prove_taylor(*case)
        print()


def mistakes():
    """What goes wrong, and which check sees it."""
    for kind, mistake in (("max", "the whole window gets dL/dy"), ("average", "dL/dy is never divided")):
        print(f"   {kind.capitalize()}:\n")
        checks.print_mistakes(proof_case(kind)[0], {mistake: proof_case(kind, whole_backward)})
        print()
    x, t, sizes = numbers()
    case = np.maximum(x - np.quantile(x, 0.9), 0), "max", np.ones_like(t), *sizes
    print("   Ties: after a ReLU many windows hold nothing but zeros. There the maximum has a kink, and finite")
    print("   differences say nothing. But raise all of x by e, and every output rises by e: so dL/dx must add")
    print(f"   up to what dL/dy adds up to, here {t.size}.\n")
    print(f"   sum of dL/dx, all to the first of the equals  {backward_numpy(*case).sum():6.0f}")
    print(f"   sum of dL/dx, all to each of the equals       {ties_backward(*case).sum():6.0f}")


def whole_backward(x, kind, dy, *sizes):
    """Everybody in the window gets the whole gradient: wrong for the maximum, and for the mean."""
    return send_back(windows(x, *sizes)[2][..., None] * dy[:, :, :, None], x, *sizes)


def ties_backward(x, kind, dy, *sizes):
    """Everybody who equals the maximum gets the whole gradient."""
    rows, columns, inside = windows(x, *sizes)
    equal = x[:, rows, columns] == forward_numpy(x, "max", *sizes)[:, :, :, None]
    return send_back(equal * inside[..., None] * dy[:, :, :, None], x, *sizes)


SECTIONS = [contract, by_hand, four_rungs, gradients, mistakes]


def figure():
    """The hand case as a slide: what each kind keeps, and where its gradient goes."""
    x, dy, y, dx = hand_case()
    colours = dict(zip(np.ndindex(dy.shape), figures.COLOURS * dy.size))
    tints = {place: figures.pale(colour) for place, colour in colours.items()}
    slide = figures.new_slide()
    for half, kind, story in zip(slide.subfigures(2, 1), KINDS, (
        "max: the largest is kept, and the gradient goes back to where it came from",
        "average: the mean is kept, and the gradient is shared out equally",
    )):  # fmt: skip
        figures.heading(half, story)
        back = {(r, q): tints[r // 2, q // 2] for r, q in zip(*np.nonzero(dx[kind]))}
        panels = ("x", x, back), (kind, y[kind], tints), ("∂L/∂y", dy, tints), ("∂L/∂x", dx[kind], back)
        for axes, (title, values, tint) in zip(half.subplots(1, 4), panels):
            figures.grid(axes, values, title, tints=tint, side=x.shape[1])
            for (i, j), colour in colours.items() if values.shape == x.shape else ():
                figures.frame(axes, 2 * i + 0.05, 2 * j + 0.05, 1.9, 1.9, colour)
    return slide


def on_your_network(trained):
    """One output number and one gradient of your network, term by term."""
    layer, x, y, dy, dx = trained.layer, trained.x, trained.y, trained.dy, trained.dx
    kind = "max" if type(layer).__name__ == "MaxPooling" else "average"
    sizes = layer.kernel_size, layer.stride, layer.padding
    (rows, columns, inside), share = windows(x, *sizes), shares(x, kind, *sizes)[0]  # share [H',W',size^2,C]

    _, i, j, c = np.unravel_index(np.argmax(np.abs(dy)), dy.shape)
    seen, weights = x[0, rows[i, j], columns[i, j], c], share[i, j, :, c]
    under, weighed = (np.where(inside[i, j], v, np.nan).reshape(sizes[0], sizes[0]) for v in (seen, weights))
    print(f"   y[0,{i},{j},{c}], which the loss hangs on most: row {i}, column {j}, channel {c}\n")
    print(beside(("x under the window", under), ("share", weighed)) + "\n")
    print(f"   x times share, all together {seen @ weights:.6f};  the layer says {y[0, i, j, c]:.6f}\n")

    r, q = rows[i, j, np.argmax(weights)], columns[i, j, np.argmax(weights)]
    print(f"   dL/dx[0,{r},{q},{c}], of the largest share: from every window that saw it, share times dL/dy\n")
    total = 0.0
    for a, b, k in np.argwhere(inside & (rows == r) & (columns == q)):
        total += share[a, b, k, c] * dy[0, a, b, c]
        print(f"   window {a},{b}: {number(share[a, b, k, c])} times {dy[0, a, b, c]:.6f}")
    print(f"   all together {total:.6f};  the tape says {dx[0, r, q, c]:.6f}")

    slide = figures.new_slide()
    figures.heading(slide, f"{layer.name}: {kind} of each window, and where the gradient goes")
    (picture, before, after), (cells, received, sent) = slide.subplots(2, 3)
    figures.image(picture, trained.picture, "the picture")
    reach = dict.fromkeys(zip(*np.nonzero(weighed > 0)), figures.pale(figures.COLOURS[1], 0.4))
    figures.grid(cells, np.round(under, 2), "x under the window", size=min(18, 64 / sizes[0]), tints=reach)
    for axes, values, name in ((before, x, "x"), (received, dx, "∂L/∂x")):
        figures.image(axes, values[0, :, :, c], f"{name}, channel {c}")
        r, q = rows[i, j][inside[i, j]], columns[i, j][inside[i, j]]
        figures.frame(axes, r[0] - 0.5, q[0] - 0.5, np.ptp(r) + 1, np.ptp(q) + 1, figures.COLOURS[1])
    for axes, values, name in ((after, y, "y"), (sent, dy, "∂L/∂y")):
        figures.image(axes, values[0, :, :, c], f"{name}, channel {c}")
        figures.frame(axes, i - 0.5, j - 0.5, 1, 1, figures.COLOURS[1])
    return slide


if __name__ == "__main__":
    sys.exit(walkthrough.tell(globals(), figure, on_your_network))
