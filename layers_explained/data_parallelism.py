"""Data parallelism: n replicas take one step together, each on its rows of the batch, and average their gradients.

    L = 1/B sum over i of L[i] = 1/n sum over r of L_r      L_r   mean loss of the B/n rows of replica r
    dL/dw                      = 1/n sum over r of dL_r/dw  the all-reduce: every replica gets this mean
    w <- w - rate dL/dw                                     the same on every replica: they keep the same weights

    ring all-reduce   P numbers are cut into n chunks. In n-1 rounds each replica passes a chunk to its neighbour,
                      which adds its own; in n-1 more rounds the sums go round. Each sends 2 (n-1)/n P numbers.
    efficiency        E(n) = (C + S) / (C + n (S + A(n)))   A(n) = 2 (n-1)/n 4P/b + 2 (n-1) l seconds of the all-reduce

C: seconds of the batch on one worker; S: of what every worker does in full; b bytes a second, l the latency.
Why it matters in training: the number of devices changes the time of a step, and leaves what is computed as it was.

Change a constant below and run the file again: python layers_explained/data_parallelism.py
"""

import itertools
import sys
from functools import partial, reduce
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support import per_replica, scaling_law
from layers_explained.support.all_reduce import AllReduce
from layers_explained.support.comparison import DEVICES, Comparison, Mistake, Numbers, import_tensorflow
from layers_explained.support.constants import check_numbers, check_sizes, matrices, require
from layers_explained.support.figures import data_parallelism as figures
from layers_explained.support.walkthrough import Walkthrough

REPLICAS, COUNT = 3, 1000  # n; P of the ring
BATCH, FEATURES, CLASSES, SEED = 12, 4, 3, 0  # B, D, K; SEED: of x, W, b, the labels and the gradients of the ring
WORKER = scaling_law.WORKER  # operations a second of one worker; a GPU has about 1e14
ALIGNED = 16  # a chunk of TensorFlow's ring has a multiple of so many numbers: 64 bytes

# By hand: y = w x, L = 1/2 mean of (y - t)^2, two replicas of two images each; then a ring of three replicas.
HAND_X, HAND_T, HAND_W, HAND_RATE = [[1, 2, 3, 4]], [[2, 2, 3, 10]], 2, 0.5
HAND_GRADIENTS = [[1, 2, 3], [10, 20, 30], [100, 200, 300]]  # a row for each replica, a column for each chunk


def divided(batch, longer=0):
    """The rows of each replica, as slices. longer: so many rows more for the first, which the last lacks."""
    inner = [batch * r // REPLICAS + longer for r in range(1, REPLICAS)]
    return [slice(*pair) for pair in itertools.pairwise([0, *inner, batch])]


def forward_loops(x, w, b, labels):
    """Implementation 1, one device: image by image -> L, the mean over the whole batch."""
    loss = 0.0
    for n in range(len(x)):
        z = [b[k] + sum(x[n, i] * w[i, k] for i in range(len(w))) for k in range(len(b))]
        loss += (np.log(sum(np.exp(value) for value in z)) - z[labels[n]]) / len(x)
    return loss


def backward_loops(dloss, x, w, b, labels):
    """-> dL/dx, dW, db: every image adds its part, divided by the size of the whole batch."""
    dx, dw, db = map(np.zeros, (x.shape, w.shape, b.shape))
    for n in range(len(x)):
        z = [b[k] + sum(x[n, i] * w[i, k] for i in range(len(w))) for k in range(len(b))]
        for k in range(len(b)):
            dz = dloss * (np.exp(z[k]) / sum(np.exp(value) for value in z) - (k == labels[n])) / len(x)
            db[k] += dz
            for i in range(len(w)):
                dw[i, k] += x[n, i] * dz
                dx[n, i] += w[i, k] * dz
    return dx, dw, db


def one_replica(x, w, b, labels):
    """What a replica computes of its own rows: their mean loss L_r, and dL_r/dx, dW, db."""
    z = x @ w + b
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    q = np.eye(len(b))[labels]
    dz = (np.exp(log_p) - q) / len(x)
    return -np.sum(q * log_p) / len(x), (dz @ w.T, x.T @ dz, dz.sum(axis=0))


def forward_numpy(x, w, b, labels, longer=0):
    """Implementation 2, n replicas: the mean of their losses."""
    return np.mean([one_replica(x[rows], w, b, labels[rows])[0] for rows in divided(len(x), longer)])


def backward_numpy(dloss, x, w, b, labels, longer=0, combine=np.mean):
    """The mean of their gradients; those of its own images stay with each replica. longer, combine: for mistakes."""
    dx, dw, db = zip(*(one_replica(x[rows], w, b, labels[rows])[1] for rows in divided(len(x), longer)))
    return dloss * np.concatenate(dx) / REPLICAS, dloss * combine(dw, axis=0), dloss * combine(db, axis=0)


def forward_tensorflow(x, w, b, labels):
    """Implementation 3: the mean of the replicas' mean losses; the tape follows all of them."""
    tf = import_tensorflow()
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits
    return tf.reduce_mean([tf.reduce_mean(loss(labels[rows], x[rows] @ w + b)) for rows in divided(len(x))])


def layer(x, w, b, labels):
    """Implementation 4, one device: Dense and the loss of core/ on the whole batch, and their parameters."""
    tf = import_tensorflow()
    from core import layers, losses

    dense = layers.Dense("dense", *w.shape, dtype="float64")
    for variable, value in zip(dense.parameters, (w, b)):
        variable.assign(value)
    return (lambda x: tf.reduce_mean(losses.softmax_cross_entropy(dense(x, training=True), labels))), dense.parameters


def numbers():
    """x, W, b and labels of one batch. Raises Problem for sizes that do not fit."""
    check_sizes(globals(), "REPLICAS", "BATCH", "FEATURES", "CLASSES", "SEED", "COUNT")
    check_numbers(globals(), WORKER=(1, np.inf))
    fits = 1 < REPLICAS <= DEVICES and BATCH % REPLICAS == 0 and BATCH > REPLICAS
    require(fits, f"REPLICAS = {REPLICAS}, BATCH = {BATCH}: expected 2 to {DEVICES} replicas and a multiple of them")
    random = np.random.default_rng(SEED)
    x, w, b = (random.standard_normal(shape) for shape in ([BATCH, FEATURES], [FEATURES, CLASSES], [CLASSES]))
    return Numbers({"x": x, "W": w, "b": b}, None, {"labels": random.integers(CLASSES, size=BATCH)})


def chunks(count, replicas, aligned=ALIGNED):
    """The chunks of P numbers, as slices: P/n rounded up to a multiple of `aligned`, and the last what is left."""
    length = -(-count // (replicas * aligned)) * aligned
    return [slice(k * length, (k + 1) * length) for k in range(replicas)]


def ring_loops(gradients):
    """Implementation 1, what comes out: chunk k is added up from replica k on, around the ring.  [n,P] -> [n,P]"""
    (n, count), sums = gradients.shape, np.zeros_like(gradients)
    for k, chunk in enumerate(chunks(count, n)):
        for i in range(count)[chunk]:
            sums[:, i] = reduce(np.add, [gradients[(k + j) % n, i] for j in range(n)])
    return sums


def ring_numpy(gradients, aligned=ALIGNED, adding=None, spreading=None):
    """Implementation 2, what travels. adding, spreading: how many rounds of each, n-1 if not given."""
    held, n, parts = gradients.copy(), len(gradients), chunks(gradients.shape[1], len(gradients), aligned)
    for t in range(n - 1 if adding is None else adding):  # replica r passes on chunk r - t
        for r, message in enumerate([held[r, parts[(r - t) % n]].copy() for r in range(n)]):
            held[(r + 1) % n, parts[(r - t) % n]] += message
    for t in range(n - 1 if spreading is None else spreading):  # it has the whole sum of chunk r + 1
        for r, message in enumerate([held[r, parts[(r + 1 - t) % n]].copy() for r in range(n)]):
            held[(r + 1) % n, parts[(r + 1 - t) % n]] = message
    return held


def ring_tensorflow(gradients):
    """Implementation 3: the sums of implementation 1, a chunk at a time."""
    tf = import_tensorflow()
    n, count = gradients.shape
    order = [tf.concat([gradients[(k + j) % n, c] for k, c in enumerate(chunks(count, n))], 0) for j in range(n)]
    return np.tile(reduce(tf.add, order).numpy(), (n, 1))


def gradients():
    """What each replica of the ring gives: [n,P] float32. Raises Problem as `numbers` does."""
    numbers()
    return np.random.default_rng(SEED).standard_normal([REPLICAS, COUNT]).astype(np.float32)


def by_hand():
    """Print the two halves of a batch, then the ring round by round. Raises Problem when sizes do not fit."""
    x, t, held = matrices(globals(), "HAND_X", "HAND_T", "HAND_GRADIENTS")
    fits = x.shape == t.shape and len(x) == 1 and x.size % 2 == 0
    require(fits, f"HAND_X {x.shape}, HAND_T {t.shape}: make both one row, equally long, of an even length")
    require(held.shape[0] == held.shape[1] > 1, f"HAND_GRADIENTS {held.shape}: make it n replicas times n chunks")
    per_replica.print_halves(x, t, HAND_W, HAND_RATE)
    per_replica.print_ring(held, partial(ring_numpy, aligned=1))


AVERAGED = Comparison(
    numbers, (forward_loops, backward_loops), (forward_numpy, backward_numpy), forward_tensorflow, layer,
    (Mistake("divided by the local batch, then added", backward=partial(backward_numpy, combine=np.sum)),
     Mistake("all-reduce forgotten", backward=partial(backward_numpy, combine=lambda own, axis: own[0])),
     Mistake("mean over unequal parts", partial(forward_numpy, longer=1), partial(backward_numpy, longer=1))),
    "gradients averaged", ("L",), names=("one device", "replicas", "replicas, TensorFlow", "one device, compiled"),
)  # fmt: skip
RING = AllReduce("ring all-reduce", gradients, ring_loops, ring_numpy, ring_tensorflow, {
    "one round of adding too few": lambda g: ring_numpy(g, adding=len(g) - 2),
    "one round of spreading too few": lambda g: ring_numpy(g, spreading=len(g) - 2),
})  # fmt: skip
WALKTHROUGH = Walkthrough(
    globals(), lambda: per_replica.print_law(WORKER), by_hand, (AVERAGED, RING), lambda: figures.efficiency(WORKER),
    lambda trained: figures.on_your_network(trained, REPLICAS, WORKER), layer_classes=("Dense",),
    further=lambda: per_replica.print_what_goes_wrong(REPLICAS, SEED),
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(WALKTHROUGH.main())
