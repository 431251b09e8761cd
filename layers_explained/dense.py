"""Dense, four times: loops, NumPy, TensorFlow, and the layer that trains.

Every output sees every input. It multiplies each with a weight of its own, adds the products and
a bias:

    y[n,o] = b[o] + sum over i of  x[n,i] * W[i,o]        y = x W + b

    x [N,in]      N images, each a row of `in` features
    W [in,out]    column o is the template of output o: one weight for each input
    b [out]       one bias for each output
    y [N,out]

Change a number below and run the file again: python layers_explained/dense.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support import checks, figures, walkthrough
from layers_explained.support.walkthrough import beside, number, sum_of_products

BATCH, IN_FEATURES, OUT_FEATURES = 16, 64, 10  # N, in, out
SEED = 0  # of the random numbers in x, W, b and the target t

# The case to do by hand: two images of three features, two outputs.
HAND_X = [[1, 2, -1], [0, 1, 3]]
HAND_W = [[1, 0], [2, -1], [0, 2]]
HAND_B = [[1, -1]]
HAND_T = [[5, -4], [3, 1]]  # what the outputs should have been

# Pictures for the figure: # is ink (1), . is paper (-1). Each is also used as a template, a column of W.
PICTURES = {
    "plus": ["..#..", "..#..", "#####", "..#..", "..#.."],
    "cross": ["#...#", ".#.#.", "..#..", ".#.#.", "#...#"],
    "ring": [".###.", "#...#", "#...#", "#...#", ".###."],
}

LAYER_CLASSES = ("Dense",)  # of core/layers/, for --run


# ---- Rung 1: loops -------------------------------------------------------------------------------


def forward_loops(x, w, b):
    """The formula, letter for letter.  x [N,in], W [in,out], b [out] -> y [N,out]."""
    y = np.zeros((len(x), len(b)))
    for n, o in np.ndindex(y.shape):
        y[n, o] = b[o]
        for i in range(len(w)):
            y[n, o] += x[n, i] * w[i, o]
    return y


def backward_loops(x, w, dy):
    """dL/dy -> dL/dx, dL/dW, dL/db: the same loops, read from right to left.

    In y += x W the product rule says: x answers for W dy, W answers for x dy. An input was used by
    every output, a weight by every image, so each adds up what comes back; hence += and never =.
    """
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(w.shape[1])
    for n, o in np.ndindex(dy.shape):
        db[o] += dy[n, o]
        for i in range(len(w)):
            dx[n, i] += w[i, o] * dy[n, o]
            dw[i, o] += x[n, i] * dy[n, o]
    return dx, dw, db


# ---- Rung 2: NumPy -------------------------------------------------------------------------------


def forward_numpy(x, w, b):
    """The loops over n, o and i are a matrix product: [N,in] @ [in,out]. The bias is added to every row."""
    return x @ w + b


def backward_numpy(x, w, dy):
    """Two matrix products. There is only one order in which the shapes fit; the batch is summed away in both."""
    return dy @ w.T, x.T @ dy, dy.sum(axis=0)  # [N,out][out,in], [in,N][N,out], [out]


# ---- Rungs 3 and 4: TensorFlow -------------------------------------------------------------------


def tensorflow_primitives(x, w, b, t):
    """All products at once, [N,in,out], then the sum over the inputs. The tape writes the backward pass."""
    tf = walkthrough.import_tensorflow()
    x, w, b = tf.constant(x), tf.constant(w), tf.constant(b)
    with tf.GradientTape() as tape:
        tape.watch([x, w, b])
        y = tf.reduce_sum(x[:, :, None] * w[None], axis=1) + b
        loss = tf.reduce_sum((y - t) ** 2) / 2
    return [tensor.numpy() for tensor in (y, *tape.gradient(loss, [x, w, b]))]


def compiled_layer(x, w, b, t):
    """The class that trains, core.layers.Dense, in a compiled function. Returns what runs one step of it."""
    tf = walkthrough.import_tensorflow()
    from core.layers import Dense

    layer = Dense("dense", *w.shape, dtype=tf.float64)
    layer.kernel.assign(w)
    layer.bias.assign(b)

    @tf.function(autograph=False)
    def step(x, t):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum((y - t) ** 2) / 2
        return y, *tape.gradient(loss, [x, layer.kernel, layer.bias])

    x, t = tf.constant(x), tf.constant(t)
    return lambda: [tensor.numpy() for tensor in step(x, t)]


# ---- The story -----------------------------------------------------------------------------------


def numbers():
    """x, W, b and a target t of the sizes at the top, drawn from N(0, 1). Raises Problem for impossible sizes."""
    walkthrough.check_sizes(globals(), "BATCH", "IN_FEATURES", "OUT_FEATURES", "SEED")
    random = np.random.default_rng(SEED)
    shapes = [BATCH, IN_FEATURES], [IN_FEATURES, OUT_FEATURES], [OUT_FEATURES], [BATCH, OUT_FEATURES]
    return tuple(random.standard_normal(shape) for shape in shapes)


def there_and_back(forward, backward, x, w, b, t):
    """y, dL/dx, dL/dW, dL/db for the loss L = 1/2 sum (y - t)^2, whose dL/dy is y - t."""
    y = forward(x, w, b)
    return y, *backward(x, w, y - t)


def contract():
    """The contract."""
    x, w, b, t = numbers()
    print(f"   x {list(x.shape)}  @  W {list(w.shape)}  +  b {list(b.shape)}  ->  y {list(t.shape)}")
    print(f"   {w.size + b.size:,} parameters; each weight is used once for each image")
    print(f"   {t.size:,} outputs, each a sum of {IN_FEATURES} products: {t.size * IN_FEATURES:,} multiplications")


def by_hand():
    """A case small enough to do by hand."""
    x, w, b, t, y, dx, dw, db = hand_case()
    dy = y - t
    print(beside(("x", x), ("W", w), ("b", b), ("y", y)) + "\n")
    for n, o in np.ndindex(y.shape):
        print(f"   y[{n},{o}] = {sum_of_products(x[n], w[:, o])} + b[{o}] = {number(y[n, o])}")
    print("\n   Backward: say the outputs should have been t, and L = 1/2 sum (y - t)^2. Then dL/dy = y - t.\n")
    print(beside(("t", t), ("dL/dy", dy), ("dL/dx", dx), ("dL/dW", dw), ("dL/db", db)) + "\n")
    print(f"   dL/dx[0,1] = {sum_of_products(w[1], dy[0])} = {number(dx[0, 1])}   over the outputs: row 1 of W")
    print(f"   dL/dW[1,0] = {sum_of_products(x[:, 1], dy[:, 0])} = {number(dw[1, 0])}   over the images: column 1 of x")
    print(f"   dL/db[0]   = {' + '.join(map(number, dy[:, 0]))} = {number(db[0])}   over the images")


def hand_case():
    """x, W, b, t, y, dL/dx, dL/dW, dL/db by rung 1. Raises Problem when the hand case does not fit together."""
    x, w, b, t = walkthrough.matrices(globals(), "HAND_X", "HAND_W", "HAND_B", "HAND_T")
    if min(*x.shape, *w.shape) < 2 or x.shape[1] != len(w) or b.shape != (1, w.shape[1]) or t.shape != (len(x), b.size):
        raise walkthrough.Problem(
            f"HAND_X {x.shape} @ HAND_W {w.shape} + HAND_B {b.shape} = HAND_T {t.shape} does not fit: "
            "expected (N, in) @ (in, out) + (1, out) = (N, out), each 2 or above"
        )
    return x, w, b, t, *there_and_back(forward_loops, backward_loops, x, w, b[0], t)


def four_rungs():
    """The same layer four times, forward and backward."""
    case = numbers()

    def rungs():  # yields, so that TensorFlow is woken only when the third is reached
        yield "loops", lambda: there_and_back(forward_loops, backward_loops, *case)
        yield "NumPy", lambda: there_and_back(forward_numpy, backward_numpy, *case)
        yield "TensorFlow primitives", lambda: tensorflow_primitives(*case)
        yield "the layer, compiled", compiled_layer(*case)

    checks.climb(rungs(), names=("y", "dL/dx", "dL/dW", "dL/db"))


def proof_case(backward, images=1):
    """(y, loss, point, gradients), as the proofs want them. The loss is divided by `images`."""
    x, w, b, t = numbers()
    y, dx, dw, db = there_and_back(forward_numpy, backward, x, w, b, t)

    def loss(x, W, b):
        return np.sum((forward_numpy(x, W, b) - t) ** 2) / 2 / images

    return y, loss, {"x": x, "W": w, "b": b}, {"x": dx, "W": dw, "b": db}


def gradients():
    """The backward pass, checked by the forward pass."""
    _, *case = proof_case(backward_numpy)
    print("   Finite differences: one number moved a little either way, and the loss watched.\n")
    checks.prove_gradients(*case)
    print("\n   Taylor: all numbers moved together, by a smaller and smaller step in one direction.\n")
    checks.prove_taylor(*case)


def mistakes():
    """What goes wrong, and which check sees it."""
    x, w, b, _ = numbers()
    checks.print_mistakes(forward_loops(x, w, b), {
        "W reshaped, not transposed": proof_case(reshaped_backward),
        "bias not summed over the batch": proof_case(unsummed_backward),
        "mean loss, 1/B forgotten": proof_case(backward_numpy, images=BATCH),
    })  # fmt: skip
    print("\n   The first has the right shape and the wrong numbers. The second has the wrong shape: b - rate * dL/db")
    print("   spreads b out to [N,out] without a word. The third is a gradient B times too long: it hides in the")
    print("   learning rate, until somebody changes the batch size.")


def reshaped_backward(x, w, dy):
    """[in,out] made [out,in] by reshape: the shapes fit, and every weight is in a wrong place."""
    _, dw, db = backward_numpy(x, w, dy)
    return dy @ w.reshape(w.T.shape), dw, db


def unsummed_backward(x, w, dy):
    """One bias, used by every image, hears every image; here nobody added them up."""
    dx, dw, _ = backward_numpy(x, w, dy)
    return dx, dw, dy


SECTIONS = [contract, by_hand, four_rungs, gradients, mistakes]


def figure():
    """Left the hand case as a net, every output sees every input; right the columns of W as templates."""
    x, w, b, _, y, *_ = hand_case()
    slide = figures.new_slide()
    left, right = slide.subfigures(1, 2, width_ratios=[1, 1.25])
    figures.heading(left, "Every output sees every input")
    axes = left.subplots()
    axes.set(xlim=(-0.35, 1.35), ylim=(0, 1.1))
    axes.axis("off")
    heights = [1 - (np.arange(count) + 0.5) / count for count in w.shape]
    for o, height in enumerate(heights[1]):
        colour = figures.COLOURS[o % 4]
        for i, start in enumerate(heights[0]):
            axes.plot([0, 1], [start, height], color=colour, linewidth=3, zorder=0)
            at, white = 0.25, {"facecolor": "white", "edgecolor": "none", "pad": 2}
            axes.text(at, start + at * (height - start), number(w[i, o]), fontsize=18, color=colour,
                      ha="center", va="center", bbox=white)  # fmt: skip
    for side, (values, name) in enumerate(((x[0], "x"), (y[0], "y"))):
        axes.scatter([side] * len(values), heights[side], s=3600, color="white", edgecolors=figures.INK, zorder=1)
        for height, value in zip(heights[side], values):
            axes.text(side, height, number(value), fontsize=22, ha="center", va="center", color=figures.INK)
        axes.text(side, 1.05, name, fontsize=22, ha="center", color=figures.INK)
    for o, height in enumerate(heights[1]):
        axes.text(1.12, height, f"b = {number(b[0, o])}", fontsize=16, va="center", color=figures.COLOURS[o % 4])

    figures.heading(right, "x · w is large where x looks like w")
    drawn = {name: np.array([[1 if dot == "#" else -1 for dot in line] for line in lines])
             for name, lines in PICTURES.items()}  # fmt: skip
    cells = right.subplots(len(drawn) + 1, len(drawn) + 1)
    cells[0, 0].axis("off")
    cells[0, 0].text(0.5, 0.5, "pictures ↓\n\ntemplates →", fontsize=16, ha="center", va="center", color=figures.INK)
    for row, (name, picture) in enumerate(drawn.items(), start=1):
        figures.image(cells[row, 0], -picture, name)
        figures.image(cells[0, row], -picture, name)
        for column, template in enumerate(drawn.values(), start=1):
            score = np.sum(picture * template)
            tints = figures.by_sign(np.array([[score]]), picture.size)
            figures.grid(cells[row, column], [[score]], size=26, tints=tints)
    return slide


def on_your_network(trained):
    """One output number and two gradients of your network, term by term."""
    layer, x, y, dy, dx, (dw, *_) = trained.layer, trained.x, trained.y, trained.dy, trained.dx, trained.gradients
    w, b = layer.kernel.numpy(), np.zeros(y.shape[1]) if layer.bias is None else layer.bias.numpy()

    o = int(np.argmax(y))
    print(f"   y[0,{o}], the largest output: the inputs times column {o} of W\n")
    own = term_by_term("input", x[0], "x", w[:, o], "W", bias=b[o])
    print(f"   all together {own:.6f};  the layer says {y[0, o]:.6f}\n")

    i = int(np.argmax(np.abs(dx)))
    print(f"   dL/dx[0,{i}], the largest: row {i} of W times what came back from every output\n")
    own = term_by_term("output", w[i], "W", dy[0], "dL/dy")
    print(f"   all together {own:.6f};  the tape says {dx[0, i]:.6f}\n")

    i, o = np.unravel_index(np.argmax(np.abs(dw)), dw.shape)
    print(f"   dL/dW[{i},{o}], the largest: one image, so one product, what it met times what came back")
    print(f"   x[0,{i}] dL/dy[0,{o}] = {x[0, i]:.6f} * {dy[0, o]:.6f}")
    print(f"   all together {x[0, i] * dy[0, o]:.6f};  the tape says {dw[i, o]:.6f}")
    return two_sums(trained, x[0] * w[:, np.argmax(y)])


def term_by_term(what, a, a_name, b, b_name, bias=None, shown=5):
    """Print the largest products a * b, then the others as one sum, then the bias; return the sum of all."""
    products = a * b
    largest = np.argsort(-np.abs(products), kind="stable")[:shown]
    print(f"   {what:>6} {a_name:>11} {b_name:>11} {'product':>11}")
    for k in largest:
        print(f"   {k:6} {a[k]:11.6f} {b[k]:11.6f} {products[k]:11.6f}")
    print(f"   the {len(a) - len(largest):,} others {products.sum() - products[largest].sum():.6f}")
    if bias is not None:
        print(f"   bias {bias:.6f}")
    return products.sum() + (bias or 0)


def two_sums(trained, products):
    """The picture, the products that make the largest output in order of size, and all outputs."""
    slide = figures.new_slide()
    picture, terms, outputs = slide.subplots(1, 3, width_ratios=[1, 1.6, 1])
    figures.image(picture, trained.picture, "the picture")
    ordered = np.sort(products)[::-1]
    terms.bar(range(len(ordered)), ordered, width=1, color=[figures.COLOURS[1 if v > 0 else 0] for v in ordered])
    terms.set_title(f"its {len(ordered):,} products x W, sorted: sum {ordered.sum():.2f}", fontsize=16)
    y = trained.y[0]
    outputs.barh(range(len(y)), y, color=[figures.COLOURS[1] if v == y.max() else figures.RULE for v in y])
    outputs.invert_yaxis()
    outputs.set_title(f"{trained.layer.name}: y, the largest is {y.max():.2f}", fontsize=16)
    for axes in (terms, outputs):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=14)
    return slide


if __name__ == "__main__":
    sys.exit(walkthrough.tell(globals(), figure, on_your_network))
