"""Pooling: a window slides over every channel; of the numbers under it one is made, the largest or the mean.

    max        y[n,i,j,c] = max over u,v of   x[n, s*i+u-p, s*j+v-p, c]
    average    y[n,i,j,c] = mean over u,v of  x[n, s*i+u-p, s*j+v-p, c]

    x [N,H,W,C]      N images of H rows, W columns, C channels
    y [N,H',W',C]    s is the stride; with padding SAME a window may reach p rows and columns over
                     the edge; nothing outside is a maximum or counts in a mean

Why it matters in training: feature maps shrink, so the next layer costs less and its receptive field is larger.

Change a constant below and run the file again: python layers_explained/pooling.py
"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support.comparison import Comparison, Mistake, Numbers, import_tensorflow
from layers_explained.support.constants import check_sizes, check_window, matrices, require
from layers_explained.support.figures import pooling as figures
from layers_explained.support.printing import number, print_beside
from layers_explained.support.sliding import scatter, windows
from layers_explained.support.walkthrough import Walkthrough

BATCH, ROWS, COLUMNS, CHANNELS = 2, 12, 12, 3  # N, H, W, C
KERNEL_SIZE, STRIDE, PADDING = 3, 2, "SAME"  # rows and columns of the window, s, SAME or VALID
SEED = 0  # of the order of the numbers in x, and of the target t

# By hand: one image, one channel, windows of 2 x 2 side by side.
HAND_X = [[1, 3, 2, 2], [0, 2, 2, 1], [5, 1, 0, -1], [2, 4, -2, -3]]
HAND_DY = [[4, -8], [12, -4]]  # dL/dy

KINDS = ("max", "average")


def forward_loops(x, kind, **sizes):
    """Implementation 1, the formula letter for letter.  x [N,H,W,C] -> y [N,H',W',C]."""
    rows, columns, inside = windows(x, **sizes)
    y = np.zeros((len(x), *inside.shape[:2], x.shape[3]))
    for n, i, j, c in np.ndindex(y.shape):
        under = [(r, q) for r, q, there in zip(rows[i, j], columns[i, j], inside[i, j]) if there]
        values = [x[n, r, q, c] for r, q in under]
        y[n, i, j, c] = max(values) if kind == "max" else sum(values) / len(values)
    return y


def backward_loops(dy, x, kind, **sizes):
    """dL/dy -> dL/dx. Max: all of it to the maximum. Average: an equal part to each. Windows may overlap, hence +=."""
    rows, columns, inside = windows(x, **sizes)
    dx = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(dy.shape):
        under = [(r, q) for r, q, there in zip(rows[i, j], columns[i, j], inside[i, j]) if there]
        if kind == "max":
            values = [x[n, r, q, c] for r, q in under]
            r, q = under[values.index(max(values))]  # of several equal ones, the first
            dx[n, r, q, c] += dy[n, i, j, c]
        else:
            for r, q in under:
                dx[n, r, q, c] += dy[n, i, j, c] / len(under)
    return dx


def forward_numpy(x, kind, **sizes):
    """Implementation 2: both kinds are a weighted sum over the window, weight 1 for the maximum, or 1/count for all."""
    rows, columns, _ = windows(x, **sizes)
    return (x[:, rows, columns] * fractions(x, kind, **sizes)).sum(axis=3)  # [N,H',W',size^2,C] -> [N,H',W',C]


def backward_numpy(dy, x, kind, **sizes):
    """The same fractions, of dL/dy, are added to where the numbers came from."""
    return scatter(fractions(x, kind, **sizes) * dy[:, :, :, None], x, **sizes)


def fractions(x, kind, **sizes):
    """The weight of each number of a window in its output: [N,H',W',size^2,C]; over a window they sum to 1."""
    rows, columns, inside = windows(x, **sizes)
    inside = np.broadcast_to(inside[..., None], (len(x), *inside.shape, x.shape[3]))
    if kind == "average":
        return inside / inside.sum(axis=3, keepdims=True)
    values = np.where(inside, x[:, rows, columns], -np.inf)  # outside the image nothing is a maximum
    largest = values.argmax(axis=3)[:, :, :, None]  # of several equal ones, the first
    return (np.arange(inside.shape[3])[:, None] == largest).astype(float)


def forward_tensorflow(x, kind, **sizes):
    """Implementation 3: gather what is under every window; then a running maximum, or sum over count."""
    tf = import_tensorflow()
    rows, columns, inside = windows(x, **sizes)
    n, height, width, channels = x.shape
    p = tf.gather(tf.reshape(x, [n, height * width, channels]), rows * width + columns, axis=1)
    p = tf.where(inside[..., None], p, -np.inf if kind == "max" else 0)  # [N,H',W',size^2,C]
    if kind == "max":  # tf.maximum gives its gradient to the first of two equals; tf.reduce_max would divide it
        return functools.reduce(tf.maximum, tf.unstack(p, axis=3))
    return tf.reduce_sum(p, axis=3) / inside.sum(axis=2)[..., None]


def layer(x, kind, size, stride, padding):
    """Implementation 4: core.layers.MaxPooling or AveragePooling; neither has parameters."""
    from core.layers import AveragePooling, MaxPooling

    layer = (MaxPooling if kind == "max" else AveragePooling)("pool", size, stride, padding)
    return lambda x: layer(x, training=True), []


def numbers(kind):
    """x and a target t; the numbers of x are 0.02 apart, so that no check comes near a kink, where two are equal."""
    check_sizes(globals(), "BATCH", "ROWS", "COLUMNS", "CHANNELS", "KERNEL_SIZE", "STRIDE", "SEED")
    check_window(KERNEL_SIZE, PADDING, ROWS, COLUMNS)
    random, sizes = np.random.default_rng(SEED), {"size": KERNEL_SIZE, "stride": STRIDE, "padding": PADDING}
    order = random.permutation(BATCH * ROWS * COLUMNS * CHANNELS).reshape(BATCH, ROWS, COLUMNS, CHANNELS)
    x = 0.02 * (order - order.size / 2)
    t = random.standard_normal([BATCH, *windows(x, **sizes)[0].shape[:2], CHANNELS])
    return Numbers({"x": x}, t, {"kind": kind, **sizes})


def definition():
    """Print how much is left."""
    before, after = BATCH * ROWS * COLUMNS * CHANNELS, numbers("max").target.size
    print(f"   window {KERNEL_SIZE} x {KERNEL_SIZE}, stride {STRIDE}, padding {PADDING}: "
          f"{before:,} numbers become {after:,} ({after / before:.0%})")  # fmt: skip


def hand_case():
    """x, dL/dy, and y and dL/dx by kind, by implementation 1. Raises Problem when they do not fit together."""
    x, dy = matrices(globals(), "HAND_X", "HAND_DY")
    require(x.shape == (2 * dy.shape[0], 2 * dy.shape[1]), f"HAND_X {x.shape} is cut into 2 x 2 windows, HAND_DY "
            f"{dy.shape} has a number for each; give HAND_X twice as many rows and columns as HAND_DY")  # fmt: skip
    y, dx, sizes = {}, {}, {"size": 2, "stride": 2, "padding": "VALID"}
    for kind in KINDS:
        y[kind] = forward_loops(x[None, :, :, None], kind, **sizes)[0, :, :, 0]  # N = C = 1
        dx[kind] = backward_loops(dy[None, :, :, None], x[None, :, :, None], kind, **sizes)[0, :, :, 0]
    return x, dy, y, dx


def by_hand():
    """Print the hand case, forward and backward."""
    x, dy, y, dx = hand_case()
    print_beside(("x", x), ("max", y["max"]), ("average", y["average"]))
    for i, j in np.ndindex(dy.shape):
        under = ", ".join(number(value) for value in x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flat)
        print(f"   y[{i},{j}] of {under}:  max {number(y['max'][i, j])}, mean {number(y['average'][i, j])}")
    print("\n   Backward: the maximum gets all of dL/dy, or each of the four a quarter of it.\n")
    print_beside(("dL/dy", dy), ("dL/dx, max", dx["max"]), ("dL/dx, average", dx["average"]))
    print(f"   dL/dy adds up to {number(dy.sum())}, dL/dx to {number(dx['max'].sum())} (max) and "
          f"{number(dx['average'].sum())} (average): it is only distributed.")  # fmt: skip


def further():
    """Print what ties do to the gradient of a maximum."""
    (x,), t, options = numbers("max").point.values(), numbers("max").target, numbers("max").options
    case = np.ones_like(t), np.maximum(x - np.quantile(x, 0.9), 0)
    print("   Ties: after a ReLU many windows hold only zeros: a kink, where finite differences do not apply. But with")
    print("   e added to every x, every output rises by e: so dL/dx must have the sum of dL/dy, "
          f"{t.size}.\n")  # fmt: skip
    for which, backward in (("the first", backward_numpy), ("each", ties_backward)):
        total = backward(*case, **options).sum()
        verdict = "right" if total == t.size else "wrong"
        print(f"   {f'sum of dL/dx, to {which} of the equals':42}{total:8.0f}   {verdict}")


def whole_backward(dy, x, kind, **sizes):
    """Every number in the window gets the whole gradient: wrong for the maximum, and for the mean."""
    return scatter(windows(x, **sizes)[2][..., None] * dy[:, :, :, None], x, **sizes)


def ties_backward(dy, x, kind, **sizes):
    """Every number that equals the maximum gets the whole gradient."""
    rows, columns, inside = windows(x, **sizes)
    equal = x[:, rows, columns] == forward_numpy(x, "max", **sizes)[:, :, :, None]
    return scatter(equal * inside[..., None] * dy[:, :, :, None], x, **sizes)


NAMES = {"max": "whole window gets dL/dy", "average": "dL/dy not divided"}
COMPARISONS = tuple(
    Comparison(lambda kind=kind: numbers(kind), (forward_loops, backward_loops), (forward_numpy, backward_numpy),
               forward_tensorflow, layer, (Mistake(NAMES[kind], backward=whole_backward),), kind, gradient_bound=1e-6)
    for kind in KINDS
)  # fmt: skip
WALKTHROUGH = Walkthrough(
    globals(), definition, by_hand, COMPARISONS, lambda: figures.hand_case(*hand_case(), KINDS),
    lambda trained: figures.on_your_network(trained, fractions), ("MaxPooling", "AveragePooling"), further,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(WALKTHROUGH.main())
