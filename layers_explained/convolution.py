"""Convolution, four times: loops, NumPy, TensorFlow, and the layer that trains.

A small kernel is laid on every position of the image. Where it lies, numbers that meet are
multiplied, the products are added, and the sum is one number of the output:

    y[n,i,j,o] = b[o] + sum over u,v,c of  x[n, s*i+u-p, s*j+v-p, c] * k[u,v,c,o]

    x [N,H,W,Cin]        N images of H rows, W columns, Cin channels
    k [kh,kw,Cin,Cout]   Cout kernels; each sees kh x kw positions and all Cin channels
    b [Cout]             one bias for each kernel
    y [N,H',W',Cout]     s is the stride; p zeros stand around the image (SAME), or none (VALID)

Change a number below and run the file again: python layers_explained/convolution.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support import checks, figures, walkthrough
from layers_explained.support.walkthrough import beside, sum_of_products

BATCH, ROWS, COLUMNS, IN_CHANNELS, OUT_CHANNELS = 2, 12, 12, 3, 8  # N, H, W, Cin, Cout
KERNEL_SIZE, STRIDE, PADDING = 3, 1, "SAME"  # kh = kw, s, SAME or VALID
SEED = 0  # of the random numbers in x, k, b and the target t

# The case to do by hand: one image, one channel, one kernel, stride 1, no padding.
HAND_X = [[1, 2, 0], [0, 1, 3], [2, 0, 1]]
HAND_K = [[1, 0], [-1, 2]]
HAND_B = 1
HAND_T = [[3, 9], [-1, 2]]  # what the outputs should have been

LAYER_CLASSES = ("Convolution",)  # of core/layers/, for --run


# ---- Rung 1: loops -------------------------------------------------------------------------------


def forward_loops(x, k, b, stride, padding):
    """The formula, letter for letter.  x [N,H,W,Cin], k [kh,kw,Cin,Cout], b [Cout] -> y [N,H',W',Cout]."""
    (top, _), (left, _), shape = window(x, k, stride, padding)
    y = np.zeros(shape)
    for n, i, j, o in np.ndindex(y.shape):
        y[n, i, j, o] = b[o]
        for u, v, c in np.ndindex(k.shape[:3]):
            row, column = stride * i + u - top, stride * j + v - left
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:  # around the image there are zeros
                y[n, i, j, o] += x[n, row, column, c] * k[u, v, c, o]
    return y


def backward_loops(x, k, dy, stride, padding):
    """dL/dy -> dL/dx, dL/dk, dL/db: the same loops, read from right to left.

    In y += x k the product rule says: x answers for k dy, k answers for x dy. A number that was
    used in many places adds up what comes back from all of them; hence += and never =.
    """
    (top, _), (left, _), _ = window(x, k, stride, padding)
    dx, dk, db = np.zeros(x.shape), np.zeros(k.shape), np.zeros(k.shape[3])
    for n, i, j, o in np.ndindex(dy.shape):
        db[o] += dy[n, i, j, o]
        for u, v, c in np.ndindex(k.shape[:3]):
            row, column = stride * i + u - top, stride * j + v - left
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                dx[n, row, column, c] += k[u, v, c, o] * dy[n, i, j, o]
                dk[u, v, c, o] += x[n, row, column, c] * dy[n, i, j, o]
    return dx, dk, db


def window(x, k, stride, padding):
    """((top, bottom), (left, right)) zeros around the image, and the shape [N,H',W',Cout] of the output."""
    margins, sizes = [], []
    for size, kernel in zip(x.shape[1:3], k.shape[:2]):
        positions = -(-size // stride)  # SAME: ceil(size / stride), so that stride 1 keeps the size
        zeros = max((positions - 1) * stride + kernel - size, 0) if padding == "SAME" else 0
        margins.append((zeros // 2, zeros - zeros // 2))  # an odd one goes below and to the right
        sizes.append((size + zeros - kernel) // stride + 1)
    return *margins, (len(x), *sizes, k.shape[3])


# ---- Rung 2: NumPy -------------------------------------------------------------------------------


def patches(x, k, stride, padding):
    """im2col: the patch of x under the kernel, for every position.  -> [N,H',W',kh,kw,Cin]."""
    rows, columns, _ = window(x, k, stride, padding)
    x = np.pad(x, [(0, 0), rows, columns, (0, 0)])
    views = np.lib.stride_tricks.sliding_window_view(x, k.shape[:2], axis=(1, 2))  # [N,.,.,Cin,kh,kw]
    return views[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def forward_numpy(x, k, b, stride, padding):
    """One matrix product. Every output is (a patch) . (a kernel): patches as rows times kernels as columns."""
    rows = patches(x, k, stride, padding)
    y = rows.reshape(-1, k[..., 0].size) @ k.reshape(-1, k.shape[3]) + b  # [N H' W', kh kw Cin] @ [., Cout]
    return y.reshape(*rows.shape[:3], k.shape[3])


def backward_numpy(x, k, dy, stride, padding):
    """Y = P K + b gives  dK = P^T dY,  dP = dY K^T,  db = the rows of dY added; then col2im: P back into x."""
    top_bottom, left_right, (_, rows, columns, _) = window(x, k, stride, padding)
    p, dy_rows = patches(x, k, stride, padding), dy.reshape(-1, k.shape[3])
    dk = (p.reshape(len(dy_rows), -1).T @ dy_rows).reshape(k.shape)
    dp = (dy_rows @ k.reshape(-1, k.shape[3]).T).reshape(p.shape)  # [N,H',W',kh,kw,Cin]
    dx = np.zeros_like(np.pad(x, [(0, 0), top_bottom, left_right, (0, 0)]))
    for u, v in np.ndindex(k.shape[:2]):  # patches overlap, so what they send back is added
        dx[:, u : u + stride * rows : stride, v : v + stride * columns : stride] += dp[:, :, :, u, v]
    (top, _), (left, _) = top_bottom, left_right
    return dx[:, top : top + x.shape[1], left : left + x.shape[2]], dk, dy_rows.sum(axis=0)


# ---- Rungs 3 and 4: TensorFlow -------------------------------------------------------------------


def tensorflow_primitives(x, k, b, t, stride, padding):
    """Pad, slice, multiply, add: kh kw shifted images, each times its k[u,v]. The tape writes the backward pass."""
    tf = walkthrough.import_tensorflow()
    top_bottom, left_right, (_, rows, columns, _) = window(x, k, stride, padding)
    x, k, b = tf.constant(x), tf.constant(k), tf.constant(b)
    with tf.GradientTape() as tape:
        tape.watch([x, k, b])
        padded, y = tf.pad(x, [(0, 0), top_bottom, left_right, (0, 0)]), b
        for u, v in np.ndindex(*k.shape[:2]):
            shifted = padded[:, u : u + stride * rows : stride, v : v + stride * columns : stride]
            y += tf.tensordot(shifted, k[u, v], 1)  # [N,H',W',Cin] . [Cin,Cout]
        loss = tf.reduce_sum((y - t) ** 2) / 2
    return [tensor.numpy() for tensor in (y, *tape.gradient(loss, [x, k, b]))]


def compiled_layer(x, k, b, t, stride, padding):
    """The class that trains, core.layers.Convolution, in a compiled function. Returns what runs one step of it."""
    tf = walkthrough.import_tensorflow()
    from core.layers import Convolution

    layer = Convolution("conv", k.shape[2], k.shape[3], k.shape[0], stride, padding, dtype=tf.float64)
    layer.kernel.assign(k)
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
    """x, k, b and a target t of the sizes at the top, drawn from N(0, 1). Raises Problem for impossible sizes."""
    walkthrough.check_sizes(globals(), "BATCH", "ROWS", "COLUMNS", "IN_CHANNELS", "OUT_CHANNELS",
                      "KERNEL_SIZE", "STRIDE", "SEED")  # fmt: skip
    walkthrough.check_window(KERNEL_SIZE, PADDING, ROWS, COLUMNS)
    random = np.random.default_rng(SEED)
    x = random.standard_normal([BATCH, ROWS, COLUMNS, IN_CHANNELS])
    k = random.standard_normal([KERNEL_SIZE, KERNEL_SIZE, IN_CHANNELS, OUT_CHANNELS])
    b = random.standard_normal([OUT_CHANNELS])
    return x, k, b, random.standard_normal(window(x, k, STRIDE, PADDING)[2])


def there_and_back(forward, backward, x, k, b, t, stride, padding):
    """y, dL/dx, dL/dk, dL/db for the loss L = 1/2 sum (y - t)^2, whose dL/dy is y - t."""
    y = forward(x, k, b, stride, padding)
    return y, *backward(x, k, y - t, stride, padding)


def contract():
    """The contract."""
    x, k, b, t = numbers()
    print(f"   x {list(x.shape)}  *  k {list(k.shape)}  +  b {list(b.shape)}  ->  y {list(t.shape)}")
    print(f"   stride {STRIDE}, padding {PADDING}, {k.size + b.size:,} parameters")
    each = k[..., 0].size
    print(f"   {t.size:,} outputs, each a sum of {each} products: {t.size * each:,} multiplications")


def by_hand():
    """A case small enough to do by hand."""
    x, k, t, y, dx, dk, db = hand_case()
    dy = y - t
    print(beside(("x", x), ("k", k), ("b", HAND_B), ("y", y)) + "\n")
    for i, j in np.ndindex(y.shape):
        patch = x[i : i + len(k), j : j + len(k[0])]
        print(f"   y[{i},{j}] = {sum_of_products(patch, k)} + b = {y[i, j]:g}")
    print("\n   Backward: say the outputs should have been t, and L = 1/2 sum (y - t)^2. Then dL/dy = y - t.\n")
    print(beside(("t", t), ("dL/dy", dy), ("dL/dk", dk), ("dL/db", db), ("dL/dx", dx)) + "\n")
    for u, v in np.ndindex(k.shape):
        met = x[u : u + len(y), v : v + len(y[0])]  # what k[u,v] was multiplied with
        print(f"   dL/dk[{u},{v}] = {sum_of_products(met, dy)} = {dk[u, v]:g}")
    print("   dL/db is the sum of dL/dy; dL/dx is a sum of kernels, each times its dL/dy, laid where it had looked.")


def hand_case():
    """x, k, t, y, dL/dx, dL/dk, dL/db of the hand case by rung 1. Raises Problem when they do not fit together."""
    x, k, t = walkthrough.matrices(globals(), "HAND_X", "HAND_K", "HAND_T")
    positions = tuple(np.subtract(x.shape, k.shape) + 1)
    if min(positions) < 1 or t.shape != positions:
        raise walkthrough.Problem(
            f"HAND_K {k.shape} slides over HAND_X {x.shape} with {positions} positions, and HAND_T has {t.shape}; "
            "make HAND_K smaller than HAND_X, and HAND_T a number for each position"
        )
    case = x[None, :, :, None], k[:, :, None, None], [HAND_B], t[None, :, :, None]  # N = Cin = Cout = 1
    y, dx, dk, db = there_and_back(forward_loops, backward_loops, *case, 1, "VALID")
    return x, k, t, y[0, :, :, 0], dx[0, :, :, 0], dk[:, :, 0, 0], db[0]


def four_rungs():
    """The same layer four times, forward and backward."""
    case = *numbers(), STRIDE, PADDING

    def rungs():  # yields, so that TensorFlow is woken only when the third is reached
        yield "loops", lambda: there_and_back(forward_loops, backward_loops, *case)
        yield "NumPy", lambda: there_and_back(forward_numpy, backward_numpy, *case)
        yield "TensorFlow primitives", lambda: tensorflow_primitives(*case)
        yield "the layer, compiled", compiled_layer(*case)

    checks.climb(rungs(), names=("y", "dL/dx", "dL/dk", "dL/db"))


def proof_case(forward, backward):
    """(y, loss, point, gradients) of a forward and a backward pass, as the proofs want them."""
    x, k, b, t = numbers()
    y, dx, dk, db = there_and_back(forward, backward, x, k, b, t, STRIDE, PADDING)

    def loss(x, k, b):
        return np.sum((forward(x, k, b, STRIDE, PADDING) - t) ** 2) / 2

    return y, loss, {"x": x, "k": k, "b": b}, {"x": dx, "k": dk, "b": db}


def gradients():
    """The backward pass, checked by the forward pass."""
    _, *case = proof_case(forward_numpy, backward_numpy)
    print("   Finite differences: one number moved a little either way, and the loss watched.\n")
    checks.prove_gradients(*case)
    print("\n   Taylor: all numbers moved together, by a smaller and smaller step in one direction.\n")
    checks.prove_taylor(*case)


def mistakes():
    """What goes wrong, and which check sees it."""
    right = proof_case(forward_numpy, backward_numpy)[0]
    checks.print_mistakes(right, {
        "kernel turned round": proof_case(turned_forward, turned_backward),
        "padding off by one": proof_case(shifted_forward, shifted_backward),
        "bias hears one image only": proof_case(forward_numpy, forgetful_backward),
    })  # fmt: skip
    print("\n   A gradient check proves that backward belongs to forward, not that forward is right: the first two")
    print("   are consistent mistakes, and only another rung sees them. The third hides when BATCH = 1.")


def turned_forward(x, k, b, stride, padding):
    """Mathematics' convolution turns the kernel round first; this layer does not."""
    return forward_numpy(x, k[::-1, ::-1], b, stride, padding)


def turned_backward(x, k, dy, stride, padding):
    """What belongs to turned_forward."""
    dx, dk, db = backward_numpy(x, k[::-1, ::-1], dy, stride, padding)
    return dx, dk[::-1, ::-1], db


def shifted_forward(x, k, b, stride, padding):
    """One zero too many above and on the left: the last row and column fall out."""
    return forward_numpy(np.pad(x, [(0, 0), (1, 0), (1, 0), (0, 0)])[:, :-1, :-1], k, b, stride, padding)


def shifted_backward(x, k, dy, stride, padding):
    """What belongs to shifted_forward."""
    x = np.pad(x, [(0, 0), (1, 0), (1, 0), (0, 0)])[:, :-1, :-1]
    dx, dk, db = backward_numpy(x, k, dy, stride, padding)
    return np.pad(dx[:, 1:, 1:], [(0, 0), (0, 1), (0, 1), (0, 0)]), dk, db


def forgetful_backward(x, k, dy, stride, padding):
    """The sum over the batch forgotten: db from the first image alone."""
    dx, dk, _ = backward_numpy(x, k, dy, stride, padding)
    return dx, dk, dy[0].sum(axis=(0, 1))


SECTIONS = [contract, by_hand, four_rungs, gradients, mistakes]


def figure():
    """The hand case as a slide: the kernel sliding forward, and its stamps coming back."""
    x, k, t, y, dx, _, _ = hand_case()
    return figures.sliding_window(x, k, HAND_B, y, y - t, dx)


def on_your_network(trained):
    """One output number and one kernel gradient of your network, term by term."""
    layer, x, y, dy, dk = trained.layer, trained.x, trained.y, trained.dy, trained.gradients[0]
    k, b = layer.kernel.numpy(), np.zeros(y.shape[3]) if layer.bias is None else layer.bias.numpy()
    under = patches(x, k, layer.stride, layer.padding)[0]  # [H',W',kh,kw,Cin]

    _, i, j, o = np.unravel_index(np.argmax(y), y.shape)
    terms = under[i, j] * k[..., o]  # [kh,kw,Cin]
    channels = sorted(np.argsort(-np.abs(terms.sum(axis=(0, 1))))[:3].tolist())
    print(f"   y[0,{i},{j},{o}], the strongest response: row {i}, column {j}, kernel {o}\n")
    for c in channels:
        blocks = ("x", under[i, j, :, :, c]), ("k", k[:, :, c, o]), ("x k", terms[..., c]), ("sum", terms[..., c].sum())
        print(f"   channel {c}\n{beside(*blocks)}\n")
    if terms.shape[2] > len(channels):
        others = terms.sum() - terms[..., channels].sum()
        print(f"   the {terms.shape[2] - len(channels)} other channels {others:.6f}")
    print(f"   bias {b[o]:.6f}")
    print(f"   all together {terms.sum() + b[o]:.6f};  the layer says {y[0, i, j, o]:.6f}\n")

    u, v, c, q = np.unravel_index(np.argmax(np.abs(dk)), dk.shape)
    back = under[:, :, u, v, c] * dy[0, :, :, q]  # [H',W']
    print(f"   dL/dk[{u},{v},{c},{q}], the largest: what it met times dL/dy, over all {back.size:,} positions\n")
    print("   row  column          x       dL/dy      product")
    largest = np.argsort(-np.abs(back), axis=None, kind="stable")[:5]
    for row, column in zip(*np.unravel_index(largest, back.shape)):
        met, sent, product = under[row, column, u, v, c], dy[0, row, column, q], back[row, column]
        print(f"   {row:3}  {column:6} {met:10.4f}  {sent:10.6f}  {product:11.6f}")
    print(f"   the {back.size - len(largest):,} others {back.sum() - back.flat[largest].sum():28.6f}")
    print(f"   all together {back.sum():.6f};  the tape says {dk[u, v, c, q]:.6f}")
    (top, _), (left, _), _ = window(x, k, layer.stride, layer.padding)
    corner = layer.stride * i - top, layer.stride * j - left
    return figures.one_output(trained, under[i, j], k[..., o], b[o], (i, j, o), corner, channels)


if __name__ == "__main__":
    sys.exit(walkthrough.tell(globals(), figure, on_your_network))
