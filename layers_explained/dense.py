"""Dense: every output is a weighted sum of every input, plus a bias.

    y[n,o] = b[o] + sum over i of  x[n,i] * W[i,o]        y = x W + b

    x [N,in]      N images, each a row of `in` features
    W [in,out]    column o is the template of output o: one weight for each input
    b [out]       one bias for each output
    y [N,out]

Also called fully connected, or linear; with TensorFlow and Keras, Dense. Why it matters in training: it holds most
of the parameters of a classic network, and turns features into one score a class.

Change a constant below and run the file again: python layers_explained/dense.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support.comparison import Comparison, Mistake, Numbers, forward_and_backward, import_tensorflow
from layers_explained.support.constants import check_sizes, matrices, require
from layers_explained.support.figures import dense as figures
from layers_explained.support.printing import number, print_beside, sum_of_products
from layers_explained.support.walkthrough import Walkthrough

BATCH, IN_FEATURES, OUT_FEATURES = 16, 64, 10  # N, in, out
SEED = 0  # of the random numbers in x, W, b and the target t

# By hand: two images of three features, two outputs.
HAND_X = [[1, 2, -1], [0, 1, 3]]
HAND_W = [[1, 0], [2, -1], [0, 2]]
HAND_B = [[1, -1]]
HAND_T = [[5, -4], [3, 1]]  # the target

# Images for the figure: # is ink (1), . is paper (-1). Each is also used as a template, a column of W.
IMAGES = {
    "plus": ["..#..", "..#..", "#####", "..#..", "..#.."],
    "cross": ["#...#", ".#.#.", "..#..", ".#.#.", "#...#"],
    "ring": [".###.", "#...#", "#...#", "#...#", ".###."],
}


def forward_loops(x, w, b):
    """Implementation 1, the formula letter for letter.  x [N,in], W [in,out], b [out] -> y [N,out]."""
    y = np.zeros((len(x), len(b)))
    for n, o in np.ndindex(y.shape):
        y[n, o] = b[o]
        for i in range(len(w)):
            y[n, o] += x[n, i] * w[i, o]
    return y


def backward_loops(dy, x, w, b):
    """dL/dy -> dL/dx, dL/dW, dL/db. In y += x W each factor gets the other, times dy.

    An input is used by every output, a weight by every image, so each adds up its gradients: += and not =.
    """
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(b.shape)
    for n, o in np.ndindex(dy.shape):
        db[o] += dy[n, o]
        for i in range(len(w)):
            dx[n, i] += w[i, o] * dy[n, o]
            dw[i, o] += x[n, i] * dy[n, o]
    return dx, dw, db


def forward_numpy(x, w, b):
    """Implementation 2: the loops over n, o and i are a matrix product, [N,in] @ [in,out]; b is added to every row."""
    return x @ w + b


def backward_numpy(dy, x, w, b):
    """Two matrix products. There is one order in which the shapes fit; dW and db are sums over the batch."""
    return dy @ w.T, x.T @ dy, dy.sum(axis=0)  # [N,out][out,in], [in,N][N,out], [out]


def forward_tensorflow(x, w, b):
    """Implementation 3: all products at once, [N,in,out], then the sum over the inputs."""
    tf = import_tensorflow()
    return tf.reduce_sum(x[:, :, None] * w[None], axis=1) + b


def layer(x, w, b):
    """Implementation 4: core.layers.Dense with these weights, and its parameters."""
    from core.layers import Dense

    layer = Dense("dense", *w.shape, dtype="float64")
    layer.kernel.assign(w)
    layer.bias.assign(b)
    return lambda x: layer(x, training=True), layer.parameters


def numbers():
    """x, W, b and a target t of the sizes at the top, drawn from N(0, 1). Raises Problem for impossible sizes."""
    check_sizes(globals(), "BATCH", "IN_FEATURES", "OUT_FEATURES", "SEED")
    draw = np.random.default_rng(SEED).standard_normal
    x, w, b = draw([BATCH, IN_FEATURES]), draw([IN_FEATURES, OUT_FEATURES]), draw([OUT_FEATURES])
    return Numbers({"x": x, "W": w, "b": b}, draw([BATCH, OUT_FEATURES]))


def definition():
    """Print what the layer costs."""
    outputs = BATCH * OUT_FEATURES
    print(f"   {outputs:,} outputs, each a sum of {IN_FEATURES} products: {outputs * IN_FEATURES:,} multiplications;")
    print("   each weight is used once for each image")


def hand_case():
    """x, W, b, t, y, dL/dx, dL/dW, dL/db by implementation 1. Raises Problem when they do not fit together."""
    x, w, b, t = matrices(globals(), "HAND_X", "HAND_W", "HAND_B", "HAND_T")
    fits = x.shape[1] == len(w) and b.shape == (1, w.shape[1]) and t.shape == (len(x), b.size)
    require(fits and min(*x.shape, *w.shape) >= 2, f"HAND_X {x.shape} @ HAND_W {w.shape} + HAND_B {b.shape} = HAND_T "
            f"{t.shape} does not fit: expected (N, in) @ (in, out) + (1, out) = (N, out), each 2 or above")  # fmt: skip
    case = Numbers({"x": x, "W": w, "b": b[0]}, t)
    return x, w, b, t, *forward_and_backward(forward_loops, backward_loops, case)


def by_hand():
    """Print the hand case, forward and backward."""
    x, w, b, t, y, dx, dw, db = hand_case()
    dy = y - t
    print_beside(("x", x), ("W", w), ("b", b), ("y", y))
    for n, o in np.ndindex(y.shape):
        print(f"   y[{n},{o}] = {sum_of_products(x[n], w[:, o])} + b[{o}] = {number(y[n, o])}")
    print("\n   Backward, with a target t and L = 1/2 sum (y - t)^2, so that dL/dy = y - t:\n")
    print_beside(("t", t), ("dL/dy", dy), ("dL/dx", dx), ("dL/dW", dw), ("dL/db", db))
    print(f"   dL/dx[0,1] = {sum_of_products(w[1], dy[0])} = {number(dx[0, 1])}   over the outputs: row 1 of W")
    print(f"   dL/dW[1,0] = {sum_of_products(x[:, 1], dy[:, 0])} = {number(dw[1, 0])}   over the images: column 1 of x")
    print(f"   dL/db[0]   = {' + '.join(map(number, dy[:, 0]))} = {number(db[0])}   over the images")


def reshaped_backward(dy, x, w, b):
    """[in,out] made [out,in] by a reshape instead of a transpose: the shapes fit, the weights are permuted."""
    _, dw, db = backward_numpy(dy, x, w, b)
    return dy @ w.reshape(w.T.shape), dw, db


def unsummed_backward(dy, x, w, b):
    """One bias is used by every image; here its gradients are not added up: b - rate * dL/db would become [N,out]."""
    dx, dw, _ = backward_numpy(dy, x, w, b)
    return dx, dw, dy


def summed_backward(dy, x, w, b):
    """The loss is a mean over the N images, and 1/N was left out of the backward pass: N times too long."""
    return backward_numpy(len(x) * dy, x, w, b)


COMPARISON = Comparison(numbers, (forward_loops, backward_loops), (forward_numpy, backward_numpy), forward_tensorflow,
    layer, (Mistake("W reshaped, not transposed", backward=reshaped_backward),
            Mistake("bias gradient not summed over the batch", backward=unsummed_backward),
            Mistake("1/N of a mean loss forgotten", backward=summed_backward)),
)  # fmt: skip
WALKTHROUGH = Walkthrough(
    globals(), definition, by_hand, (COMPARISON,), lambda: figures.hand_case(*hand_case()[:3], hand_case()[4], IMAGES),
    figures.on_your_network, layer_classes=("Dense",),
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(WALKTHROUGH.main())
