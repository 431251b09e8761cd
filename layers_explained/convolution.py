"""Convolution: a small kernel slides over the image; at every position, patch times kernel, summed, is one output.

    y[n,i,j,o] = b[o] + sum over u,v,c of  x[n, s*i+u-p, s*j+v-p, c] * k[u,v,c,o]

    x [N,H,W,Cin]        N images of H rows, W columns, Cin channels
    k [kh,kw,Cin,Cout]   the kernel: k[...,o] is a filter, kh x kw positions of all Cin channels
    b [Cout]             one bias for each filter
    y [N,H',W',Cout]     y[...,o] is the feature map of filter o; its receptive field in x is kh x kw
    s, p                 the stride; p zeros around the image (padding SAME), or none (VALID)

Mathematics calls this a cross-correlation. In training each weight gets the sum of the gradients of all positions.

Change a constant below and run the file again: python layers_explained/convolution.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support.comparison import Comparison, Mistake, Numbers, forward_and_backward, import_tensorflow
from layers_explained.support.constants import check_sizes, check_window, matrices, require
from layers_explained.support.figures import convolution as figures
from layers_explained.support.printing import number, print_beside, sum_of_products
from layers_explained.support.sliding import patches, window
from layers_explained.support.walkthrough import Walkthrough

BATCH, ROWS, COLUMNS, IN_CHANNELS, OUT_CHANNELS = 2, 12, 12, 3, 8  # N, H, W, Cin, Cout
KERNEL_SIZE, STRIDE, PADDING = 3, 1, "SAME"  # kh = kw, s, SAME or VALID
SEED = 0  # of the random numbers in x, k, b and the target t

# By hand: one image, one channel, one filter, stride 1, no padding.
HAND_X = [[1, 2, 0], [0, 1, 3], [2, 0, 1]]
HAND_K = [[1, 0], [-1, 2]]
HAND_B = 1
HAND_T = [[3, 9], [-1, 2]]  # the target


def forward_loops(x, k, b, stride, padding):
    """Implementation 1, the formula letter for letter.  -> y [N,H',W',Cout]."""
    (top, _), (left, _), shape = window(x, k, stride, padding)
    y = np.zeros(shape)
    for n, i, j, o in np.ndindex(y.shape):
        y[n, i, j, o] = b[o]
        for u, v, c in np.ndindex(k.shape[:3]):
            row, column = stride * i + u - top, stride * j + v - left
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:  # around the image there are zeros
                y[n, i, j, o] += x[n, row, column, c] * k[u, v, c, o]
    return y


def backward_loops(dy, x, k, b, stride, padding):
    """dL/dy -> dL/dx, dL/dk, dL/db. A number that was used in many places adds up their gradients: += and not =."""
    (top, _), (left, _), _ = window(x, k, stride, padding)
    dx, dk, db = np.zeros(x.shape), np.zeros(k.shape), np.zeros(b.shape)
    for n, i, j, o in np.ndindex(dy.shape):
        db[o] += dy[n, i, j, o]
        for u, v, c in np.ndindex(k.shape[:3]):
            row, column = stride * i + u - top, stride * j + v - left
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:  # product rule: each factor gets the other, times dy
                dx[n, row, column, c] += k[u, v, c, o] * dy[n, i, j, o]
                dk[u, v, c, o] += x[n, row, column, c] * dy[n, i, j, o]
    return dx, dk, db


def forward_numpy(x, k, b, stride, padding):
    """Implementation 2, one matrix product: patches as rows times filters as columns."""
    rows = patches(x, k, stride, padding)
    y = rows.reshape(-1, k[..., 0].size) @ k.reshape(-1, k.shape[3]) + b  # [N H' W', kh kw Cin] @ [., Cout]
    return y.reshape(*rows.shape[:3], k.shape[3])


def backward_numpy(dy, x, k, b, stride, padding):
    """Y = P K + b gives  dK = P' dY,  dP = dY K',  db = the sum of dY's rows; then col2im adds dP back into x."""
    top_bottom, left_right, (_, rows, columns, _) = window(x, k, stride, padding)
    p, dy_rows = patches(x, k, stride, padding), dy.reshape(-1, k.shape[3])
    dk = (p.reshape(len(dy_rows), -1).T @ dy_rows).reshape(k.shape)
    dp = (dy_rows @ k.reshape(-1, k.shape[3]).T).reshape(p.shape)  # [N,H',W',kh,kw,Cin]
    dx = np.zeros_like(np.pad(x, [(0, 0), top_bottom, left_right, (0, 0)]))
    for u, v in np.ndindex(k.shape[:2]):  # patches overlap, so their gradients are added
        dx[:, u : u + stride * rows : stride, v : v + stride * columns : stride] += dp[:, :, :, u, v]
    (top, _), (left, _) = top_bottom, left_right
    return dx[:, top : top + x.shape[1], left : left + x.shape[2]], dk, dy_rows.sum(axis=0)


def forward_tensorflow(x, k, b, stride, padding):
    """Implementation 3: kh kw shifted images, each times its k[u,v], added."""
    tf = import_tensorflow()
    top_bottom, left_right, (_, rows, columns, _) = window(x, k, stride, padding)
    padded, y = tf.pad(x, [(0, 0), top_bottom, left_right, (0, 0)]), b
    for u, v in np.ndindex(*k.shape[:2]):
        shifted = padded[:, u : u + stride * rows : stride, v : v + stride * columns : stride]
        y += tf.tensordot(shifted, k[u, v], 1)  # [N,H',W',Cin] . [Cin,Cout]
    return y


def layer(x, k, b, stride, padding):
    """Implementation 4: core.layers.Convolution with these weights, and its parameters."""
    from core.layers import Convolution

    layer = Convolution("conv", *k.shape[2:], k.shape[0], stride, padding, dtype="float64")
    layer.kernel.assign(k)
    layer.bias.assign(b)
    return lambda x: layer(x, training=True), layer.parameters


def numbers():
    """x, k, b and a target t of the sizes at the top, drawn from N(0, 1). Raises Problem for impossible sizes."""
    check_sizes(globals(), *"BATCH ROWS COLUMNS IN_CHANNELS OUT_CHANNELS KERNEL_SIZE STRIDE SEED".split())
    check_window(KERNEL_SIZE, PADDING, ROWS, COLUMNS)
    draw = np.random.default_rng(SEED).standard_normal
    x, k = draw([BATCH, ROWS, COLUMNS, IN_CHANNELS]), draw([KERNEL_SIZE, KERNEL_SIZE, IN_CHANNELS, OUT_CHANNELS])
    b, t = draw([OUT_CHANNELS]), draw(window(x, k, STRIDE, PADDING)[2])
    return Numbers({"x": x, "k": k, "b": b}, t, {"stride": STRIDE, "padding": PADDING})


def definition():
    """Print what the layer costs."""
    k, t = numbers().point["k"], numbers().target
    print(f"   stride {STRIDE}, padding {PADDING}: {t.size:,} outputs, each a sum of {k[..., 0].size} products; "
          f"{t.size * k[..., 0].size:,} multiplications")  # fmt: skip


def hand_case():
    """x, k, b, t, y, dL/dx, dL/dk, dL/db by implementation 1. Raises Problem when they do not fit together."""
    x, k, t = matrices(globals(), "HAND_X", "HAND_K", "HAND_T")
    size = tuple(int(n) for n in np.subtract(x.shape, k.shape) + 1)
    require(min(size) >= 1 and t.shape == size, f"HAND_K {k.shape} has {size} positions on HAND_X {x.shape}, HAND_T is "
            f"{t.shape}; make HAND_K smaller than HAND_X, and HAND_T a number for each position")  # fmt: skip
    point = {"x": x[None, :, :, None], "k": k[:, :, None, None], "b": np.array([HAND_B], float)}  # N = Cin = Cout = 1
    case = Numbers(point, t[None, :, :, None], {"stride": 1, "padding": "VALID"})
    y, dx, dk, db = forward_and_backward(forward_loops, backward_loops, case)
    return x, k, HAND_B, t, y[0, :, :, 0], dx[0, :, :, 0], dk[:, :, 0, 0], db[0]


def by_hand():
    """Print the hand case, forward and backward."""
    x, k, b, t, y, dx, dk, db = hand_case()
    print_beside(("x", x), ("k", k), ("b", b), ("y", y))
    for i, j in np.ndindex(y.shape):
        print(f"   y[{i},{j}] = {sum_of_products(x[i : i + len(k), j : j + len(k[0])], k)} + b = {number(y[i, j])}")
    print("\n   Backward, with a target t and L = 1/2 sum (y - t)^2, so that dL/dy = y - t:\n")
    print_beside(("t", t), ("dL/dy", y - t), ("dL/dk", dk), ("dL/db", db), ("dL/dx", dx))
    for u, v in np.ndindex(k.shape):
        under = x[u : u + len(y), v : v + len(y[0])]  # the inputs that k[u,v] is multiplied with
        print(f"   dL/dk[{u},{v}] = {sum_of_products(under, y - t)} = {number(dk[u, v])}")
    print("   dL/db is the sum of dL/dy; each output adds (its dL/dy x the kernel) to the patch it was computed from.")


def flipped_forward(x, k, b, **options):
    """A convolution as mathematics defines it flips the kernel; the layer computes the cross-correlation."""
    return forward_numpy(x, k[::-1, ::-1], b, **options)


def flipped_backward(dy, x, k, b, **options):
    """The backward pass that belongs to flipped_forward."""
    dx, dk, db = backward_numpy(dy, x, k[::-1, ::-1], b, **options)
    return dx, dk[::-1, ::-1], db


def shifted_forward(x, k, b, **options):
    """One zero too many above and on the left: the last row and column are lost."""
    return forward_numpy(np.pad(x, [(0, 0), (1, 0), (1, 0), (0, 0)])[:, :-1, :-1], k, b, **options)


def shifted_backward(dy, x, k, b, **options):
    """The backward pass that belongs to shifted_forward."""
    dx, dk, db = backward_numpy(dy, np.pad(x, [(0, 0), (1, 0), (1, 0), (0, 0)])[:, :-1, :-1], k, b, **options)
    return np.pad(dx[:, 1:, 1:], [(0, 0), (0, 1), (0, 1), (0, 0)]), dk, db


def first_image_backward(dy, x, k, b, **options):
    """The sum over the batch forgotten: db of the first image alone."""
    return *backward_numpy(dy, x, k, b, **options)[:2], dy[0].sum(axis=(0, 1))


COMPARISON = Comparison(numbers, (forward_loops, backward_loops), (forward_numpy, backward_numpy), forward_tensorflow,
    layer, (Mistake("kernel flipped", flipped_forward, flipped_backward),
            Mistake("padding off by one", shifted_forward, shifted_backward),
            Mistake("bias gradient of one image only", backward=first_image_backward)),
)  # fmt: skip
WALKTHROUGH = Walkthrough(
    globals(), definition, by_hand, (COMPARISON,), lambda: figures.hand_case(*hand_case()), figures.on_your_network,
    layer_classes=("Convolution",),
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(WALKTHROUGH.main())
