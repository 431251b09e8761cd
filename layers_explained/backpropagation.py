"""Backpropagation: a two-layer network on four pictures, every number forward and back; then the chain rule as code.

    a = x W1 + b1     h = max(a, 0)     z = h W2 + b2     p = softmax(z)     L = -mean over n of log p[n, label n]

Forward, each link needs only what the link before it gave. Backward, each link needs only dL/d(its
output), and what it kept from its own forward pass; it gives dL/d(its input) to the link before:

    dz = (p - q) / N     dW2 = h^T dz     db2 = sum over n of dz     dh = dz W2^T
    da = dh 1[a > 0]     dW1 = x^T da     db1 = sum over n of da     dx = da W1^T       (dz is short for dL/dz)

    x [N,D]   N pictures of D pixels          W1 [D,M], b1 [M]   the first layer, M hidden units
    a, h [N,M]   before and after the ReLU    W2 [M,K], b2 [K]   the second, K classes
    z, p [N,K]   logits and probabilities     q [N,K]            1 at the label, else 0

Change a number below and run the file again: python layers_explained/backpropagation.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support import checks, figures, walkthrough
from layers_explained.support.walkthrough import beside, number, sum_of_products

# The page of numbers. Pictures of 2 x 2 pixels, in reading order: a bar above, below, on the left, on the right.
HAND_X = [[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
HAND_LABELS = [0, 0, 1, 1]  # 0: the bar lies, 1: it stands. No single layer can tell: their sums are the same.
HAND_W1 = [[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1]]  # units that see the bar above, on the left, below
HAND_B1 = [[-0.5, -0.5, -0.5]]
LN3 = np.log(3)  # so that the probabilities are quarters
HAND_W2 = [[LN3, 0], [0, LN3], [LN3, 0]]
HAND_B2 = [[0, 0]]
LEARNING_RATE = 0.1  # of the one step taken at the end of the page

BATCH, PIXELS, HIDDEN, CLASSES = 4, 12, 6, 5  # N, D, M, K of the random network that is checked
SEED = 0

PARAMETERS = "x", "W1", "b1", "W2", "b2"
LAYER_CLASSES = ("Dense",)  # of core/layers/, for --run


# ---- Rung 1: loops, everything written out -------------------------------------------------------


def forward_loops(x, w1, b1, w2, b2, labels):
    """-> L, p [N,K], and what the way back needs: a, h."""
    a, h = np.zeros([len(x), len(b1)]), np.zeros([len(x), len(b1)])
    p, loss = np.zeros([len(x), len(b2)]), 0.0
    for n in range(len(x)):
        for j in range(len(b1)):
            a[n, j] = b1[j] + sum(x[n, i] * w1[i, j] for i in range(len(w1)))
            h[n, j] = max(a[n, j], 0)
        z = [b2[k] + sum(h[n, j] * w2[j, k] for j in range(len(b1))) for k in range(len(b2))]
        exponentials = [np.exp(value - max(z)) for value in z]
        for k in range(len(b2)):
            p[n, k] = exponentials[k] / sum(exponentials)
        loss -= np.log(p[n, labels[n]]) / len(x)
    return loss, p, a, h


def backward_loops(x, w1, w2, labels, p, a, h):
    """-> dL/dx, dW1, db1, dW2, db2: the same loops from the last line to the first, every = turned into a +=."""
    dx, dw1, db1 = np.zeros(x.shape), np.zeros(w1.shape), np.zeros(w1.shape[1])
    dw2, db2 = np.zeros(w2.shape), np.zeros(w2.shape[1])
    for n in range(len(x)):
        dh = np.zeros(w1.shape[1])
        for k in range(len(db2)):
            dz = (p[n, k] - (k == labels[n])) / len(x)
            db2[k] += dz
            for j in range(len(dh)):
                dw2[j, k] += h[n, j] * dz
                dh[j] += w2[j, k] * dz  # h[j] is used by every class: what comes back is added
        for j in range(len(dh)):
            da = dh[j] * (a[n, j] > 0)
            db1[j] += da
            for i in range(len(w1)):
                dw1[i, j] += x[n, i] * da
                dx[n, i] += w1[i, j] * da
    return dx, dw1, db1, dw2, db2


# ---- Rung 2: NumPy, the chain rule as code -------------------------------------------------------
# A link computes its output, and returns with it the way back: a function from dL/d(output) to
# dL/d(input) and dL/d(parameters). What it needs for that, it remembers.


def dense(x, w, b):
    """x W + b.  Back: dy -> dy W^T, x^T dy, sum over n of dy."""
    return x @ w + b, lambda dy: (dy @ w.T, x.T @ dy, dy.sum(axis=0))


def relu(x):
    """max(x, 0).  Back: dy -> dy where x was above 0."""
    return np.maximum(x, 0), lambda dy: (dy * (x > 0),)


def cross_entropy(z, labels):
    """-mean over n of log p[n, label].  Back: 1 -> (p - q) / N."""
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    q = np.eye(z.shape[1])[labels]
    return -np.sum(q * log_p) / len(z), lambda one: (one * (np.exp(log_p) - q) / len(z),)


def forward_numpy(x, w1, b1, w2, b2, labels, dense=dense, cross_entropy=cross_entropy):
    """-> L, and the ways back in the order in which they were found."""
    a, back_a = dense(x, w1, b1)
    h, back_h = relu(a)
    z, back_z = dense(h, w2, b2)
    loss, back_loss = cross_entropy(z, labels)
    return loss, [back_a, back_h, back_z, back_loss]


def backward_numpy(ways_back):
    """The chain rule: start with dL/dL = 1, and let every link answer, the last one first."""
    gradient, found = 1.0, []
    for way_back in reversed(ways_back):
        gradient, *parameters = way_back(gradient)
        found = [*parameters, *found]
    return gradient, *found  # dL/dx, dW1, db1, dW2, db2


# ---- Rungs 3 and 4: TensorFlow -------------------------------------------------------------------


def tensorflow_primitives(x, w1, b1, w2, b2, labels):
    """The same forward pass; the tape keeps the ways back, as rung 2 does, for every operation there is."""
    tf = walkthrough.import_tensorflow()
    point = [tf.constant(value) for value in (x, w1, b1, w2, b2)]
    with tf.GradientTape() as tape:
        tape.watch(point)
        x, w1, b1, w2, b2 = point
        z = tf.maximum(x @ w1 + b1, 0) @ w2 + b2
        log_p = z - tf.reduce_logsumexp(z, axis=1, keepdims=True)
        loss = -tf.reduce_mean(tf.gather(log_p, labels, batch_dims=1))
    return [tensor.numpy() for tensor in (loss, *tape.gradient(loss, point))]


def compiled_layers(x, w1, b1, w2, b2, labels):
    """Dense, ReLU, Dense and the loss of core/, in a compiled function. Returns what runs one step of them."""
    tf = walkthrough.import_tensorflow()
    from core import losses
    from core.layers import Dense, ReLU

    first, second = Dense("dense1", *w1.shape, dtype=tf.float64), Dense("dense2", *w2.shape, dtype=tf.float64)
    layers = [first, ReLU("relu"), second]
    for variable, value in zip(first.parameters + second.parameters, (w1, b1, w2, b2)):
        variable.assign(value)

    @tf.function(autograph=False)
    def step(x, labels):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for layer in layers:
                y = layer(y, training=True)
            loss = tf.reduce_mean(losses.softmax_cross_entropy(y, labels))
        return loss, *tape.gradient(loss, [x, *first.parameters, *second.parameters])

    x, labels = tf.constant(x), tf.constant(labels)
    return lambda: [tensor.numpy() for tensor in step(x, labels)]


# ---- The story -----------------------------------------------------------------------------------


def numbers():
    """x, W1, b1, W2, b2 from N(0, 1), W divided by the root of its rows; labels. Raises Problem for wrong sizes."""
    walkthrough.check_sizes(globals(), "BATCH", "PIXELS", "HIDDEN", "CLASSES", "SEED")
    random = np.random.default_rng(SEED)
    shapes = [BATCH, PIXELS], [PIXELS, HIDDEN], [HIDDEN], [HIDDEN, CLASSES], [CLASSES]
    x, w1, b1, w2, b2 = (random.standard_normal(shape) for shape in shapes)
    return x, w1 / np.sqrt(PIXELS), b1, w2 / np.sqrt(HIDDEN), b2, random.integers(CLASSES, size=BATCH)


def loops(x, w1, b1, w2, b2, labels):
    """Rung 1 there and back: L, dL/dx, dW1, db1, dW2, db2."""
    loss, *kept = forward_loops(x, w1, b1, w2, b2, labels)
    return loss, *backward_loops(x, w1, w2, labels, *kept)


def chain(*case, **links):
    """Rung 2 there and back: L, dL/dx, dW1, db1, dW2, db2."""
    loss, ways_back = forward_numpy(*case, **links)
    return loss, *backward_numpy(ways_back)


def contract():
    """The contract."""
    x, w1, b1, w2, b2, _ = numbers()
    count = w1.size + b1.size + w2.size + b2.size
    print(f"   x {list(x.shape)} -> a, h {[BATCH, HIDDEN]} -> z, p {[BATCH, CLASSES]} -> L, one number")
    print(f"   {count} parameters; one pass back finds how L depends on each of them, and on each of {x.size} pixels")
    print(f"   to ask each of them by itself, moving it a little, would take {count + x.size} passes forward")


def by_hand():
    """A page with every number of a forward and a backward pass."""
    x, w1, b1, w2, b2, labels = case = hand_numbers()
    values = hand_case()
    loss, a, h, z, p, q, dz, dh, da = (values[name] for name in ("L", "a", "h", "z", "p", "q", "dz", "dh", "da"))
    dx, dw1, db1, dw2, db2 = (values["d" + name] for name in PARAMETERS)
    print("   Forward, a row for each picture: a bar above, below, on the left, on the right\n")
    print(beside(("x", x), ("W1", w1), ("b1", b1), ("a = x W1 + b1", a), ("h = max(a, 0)", h)) + "\n")
    print(beside(("h", h), ("W2", w2), ("b2", b2), ("z = h W2 + b2", z), ("p = softmax(z)", p), ("q", q)) + "\n")
    chosen = [number(p[n, label]) for n, label in enumerate(labels)]
    print(f"   L = -mean of log {', log '.join(chosen)} = {number(loss)};  "
          f"{np.sum(p.argmax(axis=1) == labels)} of {len(x)} pictures are read rightly\n")  # fmt: skip
    print(f"   Backward, from the last number to the first. dz is dL/dz, and N = {len(x)}\n")
    print(beside(("dz = (p - q) / N", dz), ("dW2 = h^T dz", dw2), ("db2 = sum dz", db2), ("dh = dz W2^T", dh)) + "\n")
    print(beside(("da = dh where a > 0", da), ("dW1 = x^T da", dw1), ("db1 = sum da", db1)) + "\n")
    print(beside(("dx = da W1^T", dx)) + "\n")
    print(f"   one of them: dW2[0,0] = {sum_of_products(h[:, 0], dz[:, 0])} = {number(dw2[0, 0])}")
    print(f"   and further: dh[0,0] = {sum_of_products(dz[0], w2[0])} = {number(dh[0, 0])}\n")
    slope = sum(np.sum(values["d" + name] ** 2) for name in PARAMETERS[1:])
    stepped = [value - LEARNING_RATE * values["d" + name] for name, value in zip(PARAMETERS[1:], case[1:5])]
    print(f"   A step of {LEARNING_RATE} against the gradient of the parameters: L should fall by "
          f"{LEARNING_RATE} |gradient|^2 = {LEARNING_RATE * slope:.4f};")  # fmt: skip
    print(f"   it falls by {loss - chain(x, *stepped, labels)[0]:.4f}.")


def hand_numbers():
    """x, W1, b1, W2, b2, labels of the page. Raises Problem when they do not fit together."""
    x, w1, b1, w2, b2 = walkthrough.matrices(globals(), "HAND_X", "HAND_W1", "HAND_B1", "HAND_W2", "HAND_B2")
    sizes = (len(x), x.shape[1]), (x.shape[1], b1.size), (1, b1.size), (b1.size, b2.size), (1, b2.size)
    for name, value, size in zip(PARAMETERS, (x, w1, b1, w2, b2), sizes):
        if value.shape != size:
            raise walkthrough.Problem(f"HAND_{name.upper()} is {value.shape}, and beside the others it has to be {size}")
    labels = np.array(HAND_LABELS)
    if labels.shape != (len(x),) or not set(HAND_LABELS) <= set(range(b2.size)):
        raise walkthrough.Problem(
            f"HAND_LABELS = {HAND_LABELS}: expected a class from 0 to {b2.size - 1} for each row of HAND_X"
        )
    return x, w1, b1[0], w2, b2[0], labels


def hand_case():
    """Every number of the page, by name; dL/dz is called dz."""
    x, w1, b1, w2, b2, labels = hand_numbers()
    loss, p, a, h = forward_loops(x, w1, b1, w2, b2, labels)
    values = dict(zip(("d" + name for name in PARAMETERS), backward_loops(x, w1, w2, labels, p, a, h)))
    q = np.eye(len(b2))[labels]
    dz = (p - q) / len(x)
    return {**values, "L": loss, "a": a, "h": h, "z": h @ w2 + b2, "p": p, "q": q, "dz": dz,
            "dh": dz @ w2.T, "da": (dz @ w2.T) * (a > 0)}  # fmt: skip


def four_rungs():
    """The same network four times, forward and backward."""
    case = numbers()

    def rungs():  # yields, so that TensorFlow is woken only when the third is reached
        yield "loops", lambda: loops(*case)
        yield "NumPy, the chain rule", lambda: chain(*case)
        yield "TensorFlow primitives", lambda: tensorflow_primitives(*case)
        yield "the layers, compiled", compiled_layers(*case)

    checks.climb(rungs(), names=("L", *("dL/d" + name for name in PARAMETERS)))


def proof_case(**links):
    """(L, loss, point, gradients) of the random network, as the proofs want them; links: what to put in rung 2."""
    *values, labels = numbers()
    loss, *found = chain(*values, labels, **links)
    return loss, lambda **at: forward_numpy(*at.values(), labels)[0], dict(zip(PARAMETERS, values)), dict(
        zip(PARAMETERS, found))  # fmt: skip


def gradients():
    """The backward pass, checked by the forward pass."""
    _, *case = proof_case()
    print("   Finite differences: every parameter and every pixel moved a little either way, and the loss watched.\n")
    checks.prove_gradients(*case)
    print("\n   Taylor: all numbers moved together, by a smaller and smaller step in one direction.\n")
    checks.prove_taylor(*case)


def mistakes():
    """What goes wrong, and which check sees it."""
    checks.print_mistakes(proof_case()[0], {
        "transpose forgotten": proof_case(dense=untransposed_dense),
        "bias not summed over the batch": proof_case(dense=forgetful_dense),
        "1/N forgotten on the way back": proof_case(cross_entropy=summed_cross_entropy),
        "= for +=, weights used twice": twice_case(),
    })  # fmt: skip
    print("\n   The loss is right every time, and would even fall: that it falls proves nothing. A forgotten 1/N")
    print("   points the right way and is N times too long; the learning rate hides it until the batch changes.")


def untransposed_dense(x, w, b):
    """Reshape where the transpose was meant: the shape fits, the numbers are at the wrong places."""
    return x @ w + b, lambda dy: (dy @ w.reshape(w.T.shape), x.T @ dy, dy.sum(axis=0))


def forgetful_dense(x, w, b):
    """One bias serves all pictures, and hears the first one only."""
    return x @ w + b, lambda dy: (dy @ w.T, x.T @ dy, dy[0])


def summed_cross_entropy(z, labels):
    """The loss is a mean over the batch, its gradient that of the sum."""
    loss, back = cross_entropy(z, labels)
    return loss, lambda one: (back(one)[0] * len(z),)


def twice_case():
    """The same weights read the pictures and their mirror images: the gradient of the sum of the two losses."""
    x, *weights, labels = numbers()
    _, *gradients = chain(x, *weights, labels)
    _, dx, *gradients = chain(x[:, ::-1], *weights, labels)  # should be added to those before, and replaces them
    right = chain(x, *weights, labels)

    def loss(**at):
        x, *weights = at.values()
        return forward_numpy(x, *weights, labels)[0] + forward_numpy(x[:, ::-1], *weights, labels)[0]

    point = dict(zip(PARAMETERS, (x, *weights)))
    return right[0], loss, point, dict(zip(PARAMETERS, (right[1] + dx[:, ::-1], *gradients)))


SECTIONS = [contract, by_hand, four_rungs, gradients, mistakes]


def figure():
    """The computation graph of the page: numbers flow forward above, gradients flow back below."""
    x, w1, _, w2, _, _ = hand_numbers()
    return figures.computation_graph(hand_case(), x, w1, w2)


def on_your_network(trained):
    """What flows back through every layer of your network, and one link of the chain by hand."""
    print("   from the last layer to the first: typical sizes (root mean square) of one picture's numbers\n")
    print("   layer            output             y       dL/dy   dL/d(parameters)")
    rows = [(layer.name, y.shape[1:], *map(rms, (y, dy)), [rms(g) for g in own]) for layer, y, dy, own in trained.flow]
    rows = rows[:-1]  # the softmax is beside the way: the loss is computed from the logits
    for name, shape, y, dy, own in reversed(rows):
        sizes = "  ".join(f"{size:.2e}" for size in own)
        print(f"   {name:14}{'x'.join(map(str, shape)):>10}{y:14.4f}{dy:12.2e}   {sizes}".rstrip())
    layer, x, dy = trained.layer, trained.x[0], trained.dy[0]
    w = layer.kernel.numpy()
    o = np.argmax(trained.y[0])
    show_sum(f"\n   Forward through {layer.name}: y[{o}], the largest, x times W[:,{o}]", "input", x, w[:, o],
             layer.bias.numpy()[o] if layer.bias is not None else 0.0, trained.y[0, o], "layer")  # fmt: skip
    i = np.argmax(np.abs(trained.dx[0]))
    show_sum(f"\n   Backward through {layer.name}: dL/dx[{i}], the largest, dL/dy times W[{i},:]", "output", dy, w[i],
             None, trained.dx[0, i], "tape")  # fmt: skip
    return figures.flow_back(trained, rows)


def show_sum(title, place, left, right, bias, says, who):
    """Print a sum of products, its five largest terms first, and what the layer or the tape says."""
    products = left * right
    largest = np.argsort(-np.abs(products), kind="stable")[:5]
    print(f"{title}\n\n   {place:>6}      value      weight       product")
    for k in largest:
        print(f"   {k:6} {left[k]:10.6f}  {right[k]:10.6f}  {products[k]:12.8f}")
    if len(products) > len(largest):
        print(f"   the {len(products) - len(largest):,} others {products.sum() - products[largest].sum():24.8f}")
    if bias is not None:
        print(f"   bias {bias:.8f}")
    print(f"   all together {products.sum() + (bias or 0.0):.6f};  the {who} says {says:.6f}")


def rms(values):
    """The root of the mean of the squares: the typical size of a number."""
    return float(np.sqrt(np.mean(np.square(values))))


if __name__ == "__main__":
    sys.exit(walkthrough.tell(globals(), figure, on_your_network))
