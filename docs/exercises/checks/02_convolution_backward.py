"""Exercise 2: convolution, backward."""

import numpy as np

from checker.arrays import call_for_arrays, expect_equal, expect_gradient, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake

NAMES = ("dx", "dk", "db")
X, K, B, DY = numbers(0, 2, 5, 4, 3), numbers(1, 3, 2, 3, 2), numbers(2, 2), numbers(3, 2, 3, 3, 2)


def backward(module, dy, x, k, b):
    """The learner's dx, dk, db."""
    return call_for_arrays(module, "convolve_backward", 3, dy, x, k, b)


def forward(x, k, b):
    """The convolution that belongs to it."""
    windows = np.lib.stride_tricks.sliding_window_view(x, k.shape[:2], (1, 2))
    return np.einsum("nijcuv,uvco->nijo", windows, k) + b


def shape(module):
    """Each gradient has the shape of what it belongs to."""
    for name, gradient, of in zip(NAMES, backward(module, DY, X, K, B), (X, K, B)):
        expect_shape(name, gradient, of.shape, f"a gradient has the shape of what it belongs to, here {name[1]}")


def by_hand(module):
    """One image of 3x3, one kernel of 2x2, dL/dy = 1 at two overlapping positions."""
    x, k = np.array([[1, 2, 0], [0, 1, 3], [2, 0, 1.0]]), np.array([[1, 0], [-1, 2.0]])
    dy = np.array([[1, 1], [0, 0.0]])
    gradients = backward(module, dy[None, :, :, None], x[None, :, :, None], k[:, :, None, None], np.array([1.0]))
    hand = ([[1, 1, 0], [-1, 1, 2], [0, 0, 0]], [[3, 2], [1, 4]], 2)
    for name, gradient, expected in zip(NAMES, gradients, hand):
        expect_equal(name, np.squeeze(gradient), expected, f"The hand case of exercise 1 with dL/dy = 1 at (0,0) and "
                     f"(0,1), else 0: {name} is another one. Where the two windows overlap, both count.")  # fmt: skip


def linear(module):
    """The backward pass is linear in dy, and db is the sum of dy."""
    for name, one, two in zip(NAMES, backward(module, DY, X, K, B), backward(module, 2 * DY, X, K, B)):
        expect_equal(name, two, 2 * np.asarray(one), f"Twice the dL/dy must give twice the {name}.")
    expect_equal("db", backward(module, DY, X, K, B)[2], DY.sum(axis=(0, 1, 2)),
                 "db is the sum of dL/dy over images, rows and columns.")  # fmt: skip


def gradient_check(module):
    """Every entry by finite differences of L = sum of y times DY."""
    dx, dk, db = backward(module, DY, X, K, B)
    expect_gradient("dx", dx, lambda x: np.sum(forward(x, K, B) * DY), X)
    expect_gradient("dk", dk, lambda k: np.sum(forward(X, k, B) * DY), K)
    expect_gradient("db", db, lambda b: np.sum(forward(X, K, b) * DY), B)


def probe(module):
    """All three gradients."""
    return backward(module, DY, X, K, B)


DX, DK, DB = "dx[window] += k[..., o]", "dk[..., o] += x[window] * dy[n, i, j, o]", "db[o] += dy[n, i, j, o]"
EXERCISE = Exercise(
    title="convolution, backward",
    hints=(
        "Take one output, y[n,i,j,o]. Which numbers of x, k and b does its formula contain? Only they get something "
        "from this output. How often is one weight used altogether, and what follows for its gradient?",
        "Product rule: in x * k, the gradient of x is k times dy, and the gradient of k is x times dy. The derivative "
        "of y by b is 1. A number used in many outputs adds up all contributions: += and not =.",
        "With g = dy[n, i, j, o]: dx[window] += k[..., o] * g; in the same way dk[..., o] gets x[window] * g added, "
        "and db[o] gets g added.",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("linear in dL/dy", linear),
        Check("gradient check", gradient_check),
    ),
    probe=probe,
    mistakes=(
        Mistake(
            "assigned instead of added",
            "Each output overwrites what the ones before handed back, so that only the last one counts: a number used "
            "in many outputs adds up their gradients, += and not =.",
            ((DX, "dx[window] = k[..., o]"), ("dk[..., o] +=", "dk[..., o] ="), ("db[o] +=", "db[o] =")),
        ),
        Mistake(
            "dx assigned",
            "Neighbouring windows overlap in x, and the later one overwrites the earlier one's share of dx: write += "
            "there too.",
            ((DX, "dx[window] = k[..., o]"),),
        ),
        Mistake(
            "factors exchanged",
            "In dx and dk the factors are exchanged: in a product each factor's gradient is the other factor, times "
            "dL/dy. dx is made of k, and dk of x.",
            ((DX, "dx[window] += x[window]"), (DK, "dk[..., o] += k[..., o] * dy[n, i, j, o]")),
        ),
        Mistake(
            "dL/dy forgotten in dk",
            "dk is the sum of the patches, without dL/dy: each patch counts as much as the loss changes with its "
            "output, so multiply by dy[n, i, j, o].",
            ((DK, "dk[..., o] += x[window]"),),
        ),
        Mistake(
            "dL/dy forgotten in dx",
            "dx is a sum of kernels without dL/dy: the chain rule multiplies each by the dy of its output.",
            ((DX + " * dy[n, i, j, o]", DX),),
        ),
        Mistake(
            "kernel flipped",
            "You flip the kernel in dx. The whole of dx is a convolution with the flipped kernel; seen from one "
            "output, as here, the kernel goes back as it is.",
            ((DX, "dx[window] += k[::-1, ::-1, :, o]"),),
        ),
        Mistake(
            "bias gradient times the bias",
            "The derivative of y by b is 1, so db adds up dL/dy alone; the value of b does not occur in it.",
            ((DB, "db[o] += b[o] * dy[n, i, j, o]"),),
        ),
        Mistake(
            "positions counted",
            "db counts the positions. It adds up dL/dy: each output changes the loss by its own dy.",
            ((DB, "db[o] += 1"),),
        ),
    ),
    explanation="The forward pass multiplies and adds; so the backward pass does, with the product rule: each factor "
    "gets the other one, times dL/dy. Because one weight is used at every position of every image, its gradient is the "
    "sum over all of them; that is also why a batch twice as large gives a gradient twice as large unless the loss is "
    "a mean. TensorFlow does this in tape.gradient, train_loop.py.",
)  # fmt: skip
