"""Backpropagation: the chain rule applied from the loss backward, on a two-layer network with every number shown.

    a = x W1 + b1     h = max(a, 0)     z = h W2 + b2     p = softmax(z)     L = -mean over n of log p[n, label n]

Backward, each function turns the gradient of its output into that of its input, the vector-Jacobian product:

    dz = (p - q) / N     dW2 = h^T dz     db2 = sum over n of dz     dh = dz W2^T
    da = dh 1[a > 0]     dW1 = x^T da     db1 = sum over n of da     dx = da W1^T      (dz is dL/dz)

    x [N,D]   N images of D pixels            W1 [D,M], b1 [M]   the first layer, M hidden units
    a, h [N,M]   before and after the ReLU    W2 [M,K], b2 [K]   the second, K classes
    z, p [N,K]   logits and probabilities     q [N,K]            1 at the label, else 0

Why it matters in training: all gradients together cost about twice a forward pass, however many parameters there are.

Change a constant below and run the file again: python layers_explained/backpropagation.py
"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support.comparison import Comparison, Mistake, Numbers, import_tensorflow
from layers_explained.support.constants import check_sizes, matrices
from layers_explained.support.figures import backpropagation as figures
from layers_explained.support.walkthrough import Walkthrough

# By hand: images of 2 x 2 pixels, in reading order: a bar above, below, on the left, on the right.
HAND_X = [[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
HAND_LABELS = [0, 0, 1, 1]  # 0: the bar lies, 1: it stands. No single layer can tell: their sums are the same.
HAND_W1 = [[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1]]  # units that detect the bar above, on the left, below
HAND_B1 = [[-0.5, -0.5, -0.5]]
HAND_W2 = np.log(3) * np.array([[1, 0], [0, 1], [1, 0]])  # ln 3, so that some probabilities are quarters
HAND_B2 = [[0, 0]]
LEARNING_RATE = 0.1  # of the one step taken at the end
BATCH, PIXELS, HIDDEN, CLASSES, SEED = 4, 12, 6, 5, 0  # N, D, M, K and the seed of the random network


def forward_loops(x, w1, b1, w2, b2, labels):
    """Implementation 1, everything written out -> L, p [N,K], and what the backward pass needs: a, h."""
    a, h = np.zeros([len(x), len(b1)]), np.zeros([len(x), len(b1)])
    p, loss = np.zeros([len(x), len(b2)]), 0.0
    for n in range(len(x)):
        for j in range(len(b1)):
            a[n, j] = b1[j] + sum(x[n, i] * w1[i, j] for i in range(len(w1)))
            h[n, j] = max(a[n, j], 0)
        z = [b2[k] + sum(h[n, j] * w2[j, k] for j in range(len(b1))) for k in range(len(b2))]
        for k in range(len(b2)):
            p[n, k] = np.exp(z[k] - max(z)) / sum(np.exp(value - max(z)) for value in z)
        loss -= np.log(p[n, labels[n]]) / len(x)
    return loss, p, a, h


def backward_loops(dloss, x, w1, b1, w2, b2, labels):
    """-> dL/dx, dW1, db1, dW2, db2: the same loops from the last line to the first, every = turned into a +=."""
    _, p, a, h = forward_loops(x, w1, b1, w2, b2, labels)
    dx, dw1, db1, dw2, db2 = (np.zeros(value.shape) for value in (x, w1, b1, w2, b2))
    for n in range(len(x)):
        dh = np.zeros(len(b1))
        for k in range(len(b2)):
            dz = dloss * (p[n, k] - (k == labels[n])) / len(x)
            db2[k] += dz
            for j in range(len(b1)):
                dw2[j, k] += h[n, j] * dz
                dh[j] += w2[j, k] * dz  # h[j] is used by every class: its gradients are added
        for j in range(len(b1)):
            da = dh[j] * (a[n, j] > 0)
            db1[j] += da
            for i in range(len(w1)):
                dw1[i, j] += x[n, i] * da
                dx[n, i] += w1[i, j] * da
    return dx, dw1, db1, dw2, db2


def dense(x, w, b):
    """Implementation 2: every function returns its output and its vector-Jacobian product, dy -> dx, dw, db."""
    return x @ w + b, lambda dy: (dy @ w.T, x.T @ dy, dy.sum(axis=0))


def relu(x):
    """max(x, 0);  dy -> dy where x was above 0."""
    return np.maximum(x, 0), lambda dy: (dy * (x > 0),)


def cross_entropy(z, labels):
    """-mean over n of log p[n, label];  dL -> dL (p - q) / N."""
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    q = np.eye(z.shape[1])[labels]
    return -np.sum(q * log_p) / len(z), lambda dloss: (dloss * (np.exp(log_p) - q) / len(z),)


def forward_pass(x, w1, b1, w2, b2, labels, dense=dense, cross_entropy=cross_entropy):
    """-> L, and the vector-Jacobian products in the order of the functions."""
    a, vjp_a = dense(x, w1, b1)
    h, vjp_h = relu(a)
    z, vjp_z = dense(h, w2, b2)
    loss, vjp_loss = cross_entropy(z, labels)
    return loss, [vjp_a, vjp_h, vjp_z, vjp_loss]


def backward_pass(dloss, vjps):
    """The chain rule: every function's vector-Jacobian product, the last one first."""
    gradient, found = dloss, []
    for vjp in reversed(vjps):
        gradient, *parameters = vjp(gradient)
        found = [*parameters, *found]
    return gradient, *found  # dL/dx, dW1, db1, dW2, db2


def forward_tensorflow(x, w1, b1, w2, b2, labels):
    """Implementation 3: the same forward pass; the tape keeps a vector-Jacobian product for every operation."""
    tf = import_tensorflow()
    z = tf.maximum(x @ w1 + b1, 0) @ w2 + b2
    log_p = z - tf.reduce_logsumexp(z, axis=1, keepdims=True)
    return -tf.reduce_mean(tf.gather(log_p, labels, batch_dims=1))


def layers(x, w1, b1, w2, b2, labels):
    """Implementation 4: Dense, ReLU, Dense and the loss of core/, and their parameters."""
    tf = import_tensorflow()
    from core import losses
    from core.layers import Dense, ReLU

    one, two = Dense("dense1", *w1.shape, dtype="float64"), Dense("dense2", *w2.shape, dtype="float64")
    for variable, value in zip(one.parameters + two.parameters, (w1, b1, w2, b2)):
        variable.assign(value)
    logits = lambda x: two(ReLU("relu")(one(x, training=True), training=True), training=True)  # noqa: E731
    return lambda x: tf.reduce_mean(losses.softmax_cross_entropy(logits(x), labels)), one.parameters + two.parameters


def numbers():
    """x, W1, b1, W2, b2 from N(0, 1), W divided by the root of its rows; labels. Raises Problem for wrong sizes."""
    check_sizes(globals(), "BATCH", "PIXELS", "HIDDEN", "CLASSES", "SEED")
    random = np.random.default_rng(SEED)
    shapes = [BATCH, PIXELS], [PIXELS, HIDDEN], [HIDDEN], [HIDDEN, CLASSES], [CLASSES]
    x, w1, b1, w2, b2 = (random.standard_normal(shape) for shape in shapes)
    point = {"x": x, "W1": w1 / np.sqrt(PIXELS), "b1": b1, "W2": w2 / np.sqrt(HIDDEN), "b2": b2}
    return Numbers(point, None, {"labels": random.integers(CLASSES, size=BATCH)})


def definition():
    """Print what one backward pass replaces."""
    count = sum(value.size for value in numbers().point.values())
    print(f"   one backward pass gives dL/d(each of {count} parameters and pixels); finite differences need "
          f"{2 * count} forward passes")  # fmt: skip


def hand_case():
    """Every number of the hand case by name; dL/dz is called dz. Raises Problem when the sizes do not fit."""
    point = matrices(globals(), "HAND_X", "HAND_W1", "HAND_B1", "HAND_W2", "HAND_B2")
    return figures.every_number(point, HAND_LABELS, forward_loops, backward_loops)


def reshaped_dense(x, w, b):
    """Reshape where the transpose was meant: the shape fits, the numbers are permuted."""
    return x @ w + b, lambda dy: (dy @ w.reshape(w.T.shape), x.T @ dy, dy.sum(axis=0))


def summed_cross_entropy(z, labels):
    """The loss is a mean over the batch, its gradient that of the sum: N times too long, in the right direction."""
    loss, vjp = cross_entropy(z, labels)
    return loss, lambda dloss: (vjp(dloss)[0] * len(z),)


def passes(**changed):
    """(forward, backward) of implementation 2, with functions replaced."""
    forward = functools.partial(forward_pass, **changed)
    return (lambda *case, **options: forward(*case, **options)[0],
            lambda dloss, *case, **options: backward_pass(dloss, forward(*case, **options)[1]))  # fmt: skip


COMPARISON = Comparison(
    numbers, (lambda *case, **options: forward_loops(*case, **options)[0], backward_loops), passes(),
    forward_tensorflow, layers, (
        Mistake("W reshaped, not transposed", *passes(dense=reshaped_dense)),
        Mistake("1/N forgotten in the backward pass", *passes(cross_entropy=summed_cross_entropy)),
    ), outputs=("L",), names=("loops", "NumPy, the chain rule", "TensorFlow primitives", "the layers, compiled"),
)  # fmt: skip
WALKTHROUGH = Walkthrough(
    globals(), definition, lambda: figures.print_page(hand_case(), LEARNING_RATE, forward_loops), (COMPARISON,),
    lambda: figures.computation_graph(hand_case()), figures.on_your_network, layer_classes=("Dense",),
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(WALKTHROUGH.main())
