"""Flatten, four times: loops, NumPy, TensorFlow, and the layer that trains.

The end of the picture: its numbers are laid out in one row, and nothing is computed. What matters
is the order: row by row, pixel by pixel, and the channels of a pixel next to each other.

    y[n, (i*W + j)*C + c] = x[n,i,j,c]

    x [N,H,W,C]      N images of H rows, W columns, C channels
    y [N,H*W*C]      of two neighbours in y, the channel differs first, then the column, then the row

Change a number below and run the file again: python layers_explained/flatten.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support import checks, figures, walkthrough
from layers_explained.support.walkthrough import beside, number

BATCH, ROWS, COLUMNS, CHANNELS = 4, 6, 5, 3  # N, H, W, C
SEED = 0  # of the random numbers in x and the target t

# The case to do by hand: one image of 2 x 2 pixels in three channels.
HAND_RED, HAND_GREEN, HAND_BLUE = [[1, 2], [3, 4]], [[10, 20], [30, 40]], [[100, 200], [300, 400]]

LAYER_CLASSES = ("Flatten",)  # of core/layers/, for --run


# ---- Rung 1: loops -------------------------------------------------------------------------------


def forward_loops(x):
    """The formula, letter for letter.  x [N,H,W,C] -> y [N,H*W*C]."""
    _, height, width, channels = x.shape
    y = np.zeros((len(x), height * width * channels))
    for n, i, j, c in np.ndindex(x.shape):
        y[n, (i * width + j) * channels + c] = x[n, i, j, c]
    return y


def backward_loops(x, dy):
    """dL/dy -> dL/dx: each number went to one place, so its gradient is fetched from there, and = is enough."""
    _, _, width, channels = x.shape
    dx = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(x.shape):
        dx[n, i, j, c] = dy[n, (i * width + j) * channels + c]
    return dx


# ---- Rung 2: NumPy -------------------------------------------------------------------------------


def forward_numpy(x):
    """The numbers lie in memory in this order already: only the shape is changed, nothing moves."""
    return x.reshape(len(x), -1)


def backward_numpy(x, dy):
    """And the gradient is the reshape back."""
    return dy.reshape(x.shape)


# ---- Rungs 3 and 4: TensorFlow -------------------------------------------------------------------


def tensorflow_primitives(x, t):
    """Pixel after pixel, [N,C] each, joined to a row: so the channel is fastest. The tape cuts it up again."""
    tf = walkthrough.import_tensorflow()
    places = np.ndindex(x.shape[1:3])
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.concat([x[:, i, j] for i, j in places], axis=1)
        loss = tf.reduce_sum((y - t) ** 2) / 2
    return [y.numpy(), tape.gradient(loss, x).numpy()]


def compiled_layer(x, t):
    """The class that trains, core.layers.Flatten, in a compiled function. Returns what runs one step of it."""
    tf = walkthrough.import_tensorflow()
    from core.layers import Flatten

    layer = Flatten("flatten")

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
    """x and a target t of the sizes at the top, drawn from N(0, 1). Raises Problem for impossible sizes."""
    walkthrough.check_sizes(globals(), "BATCH", "ROWS", "COLUMNS", "CHANNELS", "SEED")
    random = np.random.default_rng(SEED)
    x = random.standard_normal([BATCH, ROWS, COLUMNS, CHANNELS])
    return x, random.standard_normal([BATCH, ROWS * COLUMNS * CHANNELS])


def there_and_back(forward, backward, x, t):
    """y and dL/dx for the loss L = 1/2 sum (y - t)^2, whose dL/dy is y - t."""
    y = forward(x)
    return y, backward(x, y - t)


def contract():
    """The contract."""
    x, t = numbers()
    print(f"   x {list(x.shape)}  ->  y {list(t.shape)}, no parameters, no arithmetic")
    print(f"   to the next channel 1 place, to the next column {CHANNELS}, to the next row {COLUMNS * CHANNELS}")


def by_hand():
    """A case small enough to do by hand."""
    x, y = hand_case()
    print(beside(*((f"x, channel {c}", x[0, :, :, c]) for c in range(3)), ("y", y)) + "\n")
    for i, j, c in ((0, 0, 2), (0, 1, 0), (1, 0, 1)):
        place = (i * x.shape[2] + j) * 3 + c
        print(f"   x[0,{i},{j},{c}] = {number(x[0, i, j, c])} goes to place ({i}*{x.shape[2]} + {j})*3 + {c} = {place}")
    print(
        "\n   Backward: dL/dy has a number for each place, and goes back by the same map. With dL/dy = 0, 1, 2, ...\n"
    )
    dx = backward_loops(x, np.arange(float(y.size))[None])
    print(beside(*((f"dL/dx, channel {c}", dx[0, :, :, c]) for c in range(3))))


def hand_case():
    """x [1,H,W,3] and y by rung 1. Raises Problem when the three channels are not equally large."""
    channels = walkthrough.matrices(globals(), "HAND_RED", "HAND_GREEN", "HAND_BLUE")
    if len({channel.shape for channel in channels}) > 1 or min(channels[0].shape) < 2:
        shapes = ", ".join(str(channel.shape) for channel in channels)
        raise walkthrough.Problem(f"HAND_RED, HAND_GREEN, HAND_BLUE are {shapes}: expected equal shapes, 2 x 2 or larger")
    x = np.stack(channels, axis=-1)[None]
    return x, forward_loops(x)


def four_rungs():
    """The same layer four times, forward and backward."""
    case = numbers()

    def rungs():  # yields, so that TensorFlow is woken only when the third is reached
        yield "loops", lambda: there_and_back(forward_loops, backward_loops, *case)
        yield "NumPy", lambda: there_and_back(forward_numpy, backward_numpy, *case)
        yield "TensorFlow primitives", lambda: tensorflow_primitives(*case)
        yield "the layer, compiled", compiled_layer(*case)

    checks.climb(rungs(), names=("y", "dL/dx"))


def proof_case(forward, backward):
    """(y, loss, point, gradients) of a forward and a backward pass, as the proofs want them."""
    x, t = numbers()
    y, dx = there_and_back(forward, backward, x, t)
    return y, lambda x: np.sum((forward(x) - t) ** 2) / 2, {"x": x}, {"x": dx}


def gradients():
    """The backward pass, checked by the forward pass."""
    _, *case = proof_case(forward_numpy, backward_numpy)
    checks.prove_gradients(*case)
    print()
    checks.prove_taylor(*case)


def mistakes():
    """What goes wrong, and which check sees it."""
    x, _ = numbers()
    right = forward_loops(x)
    checks.print_mistakes(right, {
        "channel first": proof_case(channel_first, channel_first_backward),
        "the batch flattened too": proof_case(batch_too, batch_too_backward),
        "gradient laid out channel first": proof_case(forward_numpy, channel_first_backward),
    })  # fmt: skip
    w = right[0] / np.linalg.norm(right[0])  # learned on channel-last rows: the template of image 0
    strangers = np.count_nonzero(~np.isin(batch_too(x)[0], x[0]))
    print(
        "\n   The first two are consistent mistakes: only another rung sees them, or whoever comes next. A dense layer"
    )
    print(f"   that learned image 0 as its template, channel last, gives it {right[0] @ w:.2f}; laid out channel first")
    print(f"   the same image gets {channel_first(x)[0] @ w:.2f}. With the batch flattened too, {strangers} of the "
          f"{right[0].size} numbers in row 0 of y\n   belong to other images.")  # fmt: skip


def channel_first(x):
    """All of the first channel, then all of the second: the order of [N,C,H,W]."""
    return x.transpose(0, 3, 1, 2).reshape(len(x), -1)


def channel_first_backward(x, dy):
    """What belongs to channel_first."""
    n, height, width, channels = x.shape
    return dy.reshape(n, channels, height, width).transpose(0, 2, 3, 1)


def batch_too(x):
    """One long row of everything, then cut so that the shape fits: with a transpose, and the images are mixed."""
    return x.reshape(-1, len(x)).T


def batch_too_backward(x, dy):
    """What belongs to batch_too."""
    return dy.T.reshape(x.shape)


SECTIONS = [contract, by_hand, four_rungs, gradients, mistakes]


def figure():
    """The hand case as a slide: three channels, one row, and the same way back."""
    x, y = hand_case()
    dy = np.arange(float(y.size))[None]
    dx, colours = backward_loops(x, dy), [figures.COLOURS[k] for k in (1, 2, 0)]  # nearly red, green, blue
    slide = figures.new_slide()
    forward, backward = slide.subfigures(2, 1)
    for half, story, image, row, names in (
        (forward, "Forward: pixel by pixel, the channel fastest", x, y, ("x", "y")),
        (backward, "Backward: the reshape back, nothing is added", dx, dy, ("∂L/∂x", "∂L/∂y")),
    ):
        figures.heading(half, story)
        above, below = half.subfigures(2, 1, height_ratios=[1.5, 1])
        for c, (axes, name) in enumerate(zip(above.subplots(1, 3), ("red", "green", "blue"))):
            tints = dict.fromkeys(np.ndindex(image.shape[1:3]), figures.pale(colours[c], 0.35))
            figures.grid(axes, image[0, :, :, c], f"{names[0]}, {name}", tints=tints)
        axes = below.subplots()
        tints = {(0, k): figures.pale(colours[k % 3], 0.35) for k in range(row.size)}
        figures.grid(axes, row, names[1], tints=tints)
        for k in range(0, row.size, 3):
            figures.frame(axes, 0.04, k + 0.04, 0.92, 2.92, figures.INK)
    return slide


def on_your_network(trained):
    """One number on its way through your network, and its gradient on the way back."""
    layer, x, y, dy, dx = trained.layer, trained.x, trained.y, trained.dy, trained.dx
    _, _, width, channels = x.shape
    place = int(np.argmax(np.abs(dy[0])))
    pixel, c = divmod(place, channels)
    i, j = divmod(pixel, width)
    print(f"   y[0,{place}], which the loss hangs on most: where in the picture does it come from?\n")
    print(f"   {place} = {pixel}*{channels} + {c}: pixel {pixel}, channel {c}")
    print(f"   {pixel} = {i}*{width} + {j}: row {i}, column {j}\n")
    print(f"   x[0,{i},{j},{c}], all together {x[0, i, j, c]:.6f};  the layer says {y[0, place]:.6f}\n")
    print(f"   dL/dx[0,{i},{j},{c}] is dL/dy[0,{place}], fetched back")
    print(f"   all together {dy[0, place]:.6f};  the tape says {dx[0, i, j, c]:.6f}")

    slide = figures.new_slide()
    figures.heading(slide, f"{layer.name}: {list(x.shape[1:])} becomes a row of {y.size:,}")
    above, below = slide.subfigures(2, 1)
    panels = (trained.picture, "the picture"), (x[0, :, :, c], f"x, channel {c}"), (dx[0, :, :, c], "∂L/∂x there")
    for axes, (values, title) in zip(above.subplots(1, 3), panels):
        figures.image(axes, values, title)
        if values is not trained.picture:
            figures.frame(axes, i - 0.5, j - 0.5, 1, 1, figures.COLOURS[1])
    for axes, values, title in zip(below.subplots(2, 1), (y[0], dy[0]), ("y", "∂L/∂y")):
        axes.bar(range(values.size), values, width=1, color=figures.COLOURS[0])
        axes.bar([place], values[[place]], width=max(1, values.size / 200), color=figures.COLOURS[1])
        axes.set_title(title, fontsize=16, color=figures.INK)
        axes.margins(x=0.01)
        axes.tick_params(labelsize=14)
        axes.spines[["top", "right"]].set_visible(False)
    return slide


if __name__ == "__main__":
    sys.exit(walkthrough.tell(globals(), figure, on_your_network))
