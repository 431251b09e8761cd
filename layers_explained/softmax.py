"""Softmax: scores become probabilities; with the cross-entropy loss, the gradient of the scores is p - q.

    p[n,k] = exp(z[n,k] - m[n]) / sum over j of exp(z[n,j] - m[n])      m[n] = max over k of z[n,k]
    dp[k]/dz[j] = p[k] (1[k = j] - p[j])                                the Jacobian, of one row

    L[n] = - sum over k of q[n,k] log p[n,k]                            cross-entropy, in nats
    dL/dz = p - q                                                       of the two together

    z [N,K]   logits, the scores: N images, K classes
    p [N,K]   probabilities: every row is positive and sums to 1
    q [N,K]   the true distribution: 1 at the label, 0 elsewhere

Why it matters in training: p - q lies between -1 and 1, and it is largest where the network is wrong and sure of it.

Change a constant below and run the file again: python layers_explained/softmax.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support.comparison import Comparison, Mistake, Numbers, import_tensorflow
from layers_explained.support.constants import check_sizes, matrices, require
from layers_explained.support.figures import softmax as figures
from layers_explained.support.printing import print_beside
from layers_explained.support.walkthrough import Walkthrough

BATCH, CLASSES = 32, 10  # N, K
SEED = 0  # of the random logits, targets and labels

# By hand: one image, three classes, logits whose exponentials are 1, 2 and 5.
HAND_Z = np.log([[1, 2, 5]])
HAND_Q = [[0, 0, 1]]  # the third class is right

FIGURE_Z = {"cat": 2.0, "dog": 1.5, "frog": 0.5, "ship": -1.0}  # logits of the figure; the first class is right
TEMPERATURES = 0.25, 1, 4  # softmax(z / T)


def forward_loops(z):
    """Implementation 1: logits z [N,K] -> probabilities p [N,K]."""
    p = np.zeros(z.shape)
    for n in range(len(z)):
        exponentials = [np.exp(value - max(z[n])) for value in z[n]]  # the largest is exp(0) = 1: nothing overflows
        for k in range(len(z[n])):
            p[n, k] = exponentials[k] / sum(exponentials)
    return p


def backward_loops(dp, z):
    """dL/dp -> dL/dz. Every logit changes every probability of its row: a sum over the Jacobian's column."""
    p, dz = forward_loops(z), np.zeros(z.shape)
    for n, j in np.ndindex(p.shape):
        for k in range(p.shape[1]):
            dz[n, j] += dp[n, k] * p[n, k] * ((k == j) - p[n, j])
    return dz


def cross_entropy_loops(z, q):
    """Implementation 1 of softmax and cross-entropy together: z [N,K] -> L [N]."""
    p, loss = forward_loops(z), np.zeros(len(z))
    for n, k in np.ndindex(z.shape):
        loss[n] -= q[n, k] * np.log(p[n, k])
    return loss


def cross_entropy_backward_loops(dloss, z, q):
    """dL[n] -> dL/dz. The Jacobian times -q/p, summed: p - q is left."""
    p, dz = forward_loops(z), np.zeros(z.shape)
    for n, k in np.ndindex(z.shape):
        dz[n, k] = dloss[n] * (p[n, k] - q[n, k])
    return dz


def forward_numpy(z):
    """Implementation 2: all rows at once; keepdims keeps the K axis, so that each row is divided by its own sum."""
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def backward_numpy(dp, z):
    """dz = p (dp - sum of p dp): the vector-Jacobian product, computed without the Jacobian."""
    p = forward_numpy(z)
    return p * (dp - np.sum(p * dp, axis=1, keepdims=True))


def cross_entropy_numpy(z, q):
    """From the logits, log p = z - m - log sum exp(z - m): no logarithm of a p that has rounded to 0."""
    z = z - z.max(axis=1, keepdims=True)
    return -np.sum(q * (z - np.log(np.exp(z).sum(axis=1, keepdims=True))), axis=1)


def cross_entropy_backward_numpy(dloss, z, q):
    """p - q, times dL[n] of each row."""
    return dloss[:, None] * (forward_numpy(z) - q)


def forward_tensorflow(z):
    """Implementation 3: subtract, exp, sum, divide."""
    tf = import_tensorflow()
    exponentials = tf.exp(z - tf.reduce_max(z, axis=1, keepdims=True))
    return exponentials / tf.reduce_sum(exponentials, axis=1, keepdims=True)


def cross_entropy_tensorflow(z, q):
    """Implementation 3 of the loss; the tape finds p - q by itself."""
    tf = import_tensorflow()
    return -tf.reduce_sum(q * tf.math.log(forward_tensorflow(z)), axis=1)


def layer(z):
    """Implementation 4: core.layers.Softmax; it has no parameters."""
    from core.layers import Softmax

    layer = Softmax("softmax")
    return lambda z: layer(z, training=True), []


def loss_of_core(z, q):
    """Implementation 4 of the loss: core.losses, which takes the labels."""
    from core import losses

    return lambda z: losses.softmax_cross_entropy(z, np.argmax(q, axis=1)), []


def numbers():
    """Logits z and a target t for p, both [N,K]. Raises Problem for impossible sizes."""
    check_sizes(globals(), "BATCH", "CLASSES", "SEED")
    require(CLASSES >= 2, "CLASSES = 1: with one class its probability is always 1; make CLASSES 2 or above")
    random = np.random.default_rng(SEED)
    return Numbers({"z": 2 * random.standard_normal([BATCH, CLASSES])}, random.random([BATCH, CLASSES]))


def loss_numbers():
    """The same logits, and one-hot labels q [N,K]; the loss is the sum of the cross-entropies."""
    labels = np.random.default_rng(SEED + 1).integers(CLASSES, size=BATCH)
    return Numbers(numbers().point, None, {"q": np.eye(CLASSES)[labels]})


def definition():
    """Print the range of p, and the loss at chance level."""
    (z,), q = loss_numbers().point.values(), loss_numbers().options["q"]
    p = forward_numpy(z)
    print(f"   every row of p sums to 1; the smallest p is {p.min():.1e}, the largest {p.max():.3f}")
    print(f"   mean cross-entropy {cross_entropy_numpy(z, q).mean():.3f} on these random logits; at chance level, "
          f"p = 1/{CLASSES}, it is ln {CLASSES} = {np.log(CLASSES):.3f}")  # fmt: skip


def by_hand():
    """Print the hand case, forward and backward."""
    z, q = matrices(globals(), "HAND_Z", "HAND_Q")
    require(z.shape == q.shape and len(z) == 1, f"HAND_Z {z.shape}, HAND_Q {q.shape}: make both one row, equally long")
    require(np.isclose(q.sum(), 1), f"HAND_Q sums to {q.sum():g}: dL/dz = p - q needs probabilities; make the sum 1")
    p = forward_loops(z)
    jacobian = np.diag(p[0]) - np.outer(p[0], p[0])
    squares, cross = backward_loops(p - q, z), cross_entropy_backward_loops(np.ones(1), z, q)
    print_beside(("z", z), ("exp(z)", np.exp(z)), ("p", p), ("q, the truth", q))
    print("   Backward: the Jacobian of p, dp[k]/dz[j] = p[k] (1[k = j] - p[j]), in row k and column j:\n")
    print_beside(("dp/dz", jacobian), ("sum of each column", jacobian.sum(axis=0)))
    print("   p always sums to 1, so what one class gains the others lose. Two losses, both smallest at p = q:\n")
    print_beside(("1/2 sum (p - q)^2: dL/dp", p - q), ("times dp/dz: dL/dz", squares))
    print_beside(("cross-entropy:     dL/dp", -q / p), ("times dp/dz: dL/dz", cross))
    print("   With cross-entropy the Jacobian cancels: dL/dz = p - q. With squares it stays; the largest gradient is "
          f"{np.abs(squares).max() / np.abs(cross).max():.2g} of it.")  # fmt: skip


COMPARISONS = (
    Comparison(numbers, (forward_loops, backward_loops), (forward_numpy, backward_numpy), forward_tensorflow, layer, (
        Mistake("no maximum subtracted, z + 1000",
                lambda z: np.exp(z + 1000) / np.exp(z + 1000).sum(axis=1, keepdims=True)),
        Mistake("softmax over the batch, not the classes", lambda z: forward_numpy(z.T).T,
                lambda dp, z: backward_numpy(dp.T, z.T).T),
        Mistake("only the Jacobian's diagonal, p (1 - p)",
                backward=lambda dp, z: dp * forward_numpy(z) * (1 - forward_numpy(z))),
    ), title="softmax", outputs=("p",)),
    Comparison(loss_numbers, (cross_entropy_loops, cross_entropy_backward_loops),
               (cross_entropy_numpy, cross_entropy_backward_numpy), cross_entropy_tensorflow, loss_of_core, (
        Mistake("softmax applied twice", lambda z, q: cross_entropy_numpy(forward_numpy(z), q),
                lambda dl, z, q: backward_numpy(cross_entropy_backward_numpy(dl, forward_numpy(z), q), z)),
    ), title="softmax and cross-entropy", outputs=("cross-entropy",)),
)  # fmt: skip
WALKTHROUGH = Walkthrough(
    globals(), definition, by_hand, COMPARISONS, lambda: figures.stages(FIGURE_Z, TEMPERATURES, forward_numpy),
    figures.on_your_network, layer_classes=("Softmax",),
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(WALKTHROUGH.main())
