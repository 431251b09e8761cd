"""Activation: a nonlinearity (the bend between two linear layers), applied to each number by itself. ReLU and GELU.

    ReLU    y = max(x, 0)          dy/dx = 1 where x > 0, else 0
    GELU    y = x F(x)             dy/dx = F(x) + x f(x)

    x, y    any shape, the same
    F(x)    = P(Z <= x) = (1 + erf(x / sqrt 2)) / 2, Z drawn from N(0, 1): Hendrycks & Gimpel 2016
    f(x)    = exp(-x^2 / 2) / sqrt(2 pi), the density of N(0, 1), whose area up to x is F(x)

Two linear layers without a nonlinearity between them are one linear layer. In training dy/dx multiplies every gradient
that passes: where it is 0, the layers before learn nothing.

Change a constant below and run the file again: python layers_explained/activation.py
"""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support.comparison import Comparison, Mistake, Numbers, import_tensorflow
from layers_explained.support.constants import check_numbers, check_sizes, matrices, require
from layers_explained.support.figures import activation as figures
from layers_explained.support.printing import number
from layers_explained.support.walkthrough import Walkthrough

BATCH, FEATURES = 16, 32  # x is [N, features]
BIAS = -10  # added to every x to see whether the units die
SEED = 0  # of the random numbers in x and the target t

# By hand.
HAND_X = [[-2, -0.5, 0, 0.5, 2]]
HAND_DY = [[1, -4, 2, -4, 1]]  # dL/dy

KINDS = ("ReLU", "GELU")


def forward_loops(x, kind):
    """Implementation 1, the formula letter for letter."""
    y = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        a = x[index]
        y[index] = max(a, 0) if kind == "ReLU" else a * (1 + math.erf(a / math.sqrt(2))) / 2
    return y


def backward_loops(dy, x, kind):
    """dL/dy -> dL/dx: each number's own slope times its dL/dy; there is nothing to add up."""
    dx = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        a = x[index]
        if kind == "ReLU":
            slope = 1 if a > 0 else 0  # at the kink, a = 0, any slope from 0 to 1 is a subgradient; 0 is the custom
        else:
            density = math.exp(-(a**2) / 2) / math.sqrt(2 * math.pi)
            slope = (1 + math.erf(a / math.sqrt(2))) / 2 + a * density
        dx[index] = slope * dy[index]
    return dx


def forward_numpy(x, kind):
    """Implementation 2: the same for all numbers at once."""
    return np.maximum(x, 0) if kind == "ReLU" else x * area(x)


def backward_numpy(dy, x, kind):
    """The Jacobian is diagonal, so the vector-Jacobian product is a product number by number."""
    return derivative(x, kind) * dy


def derivative(x, kind):
    """dy/dx, of the shape of x: 0 or 1 for ReLU; for GELU, F + x f by the product rule."""
    if kind == "ReLU":
        return (x > 0).astype(float)
    return area(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def area(x):
    """F(x) = P(Z <= x). NumPy has no erf, so Python's is called for one number after the other."""
    return (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) / 2


def forward_tensorflow(x, kind):
    """Implementation 3: ReLU chooses between x and 0; GELU from the complement, F(x) = erfc(-x / sqrt 2) / 2."""
    tf = import_tensorflow()
    return tf.where(x > 0, x, 0) if kind == "ReLU" else x * tf.math.erfc(-x / math.sqrt(2)) / 2


def layer(x, kind):
    """Implementation 4: core.layers.ReLU or GELU; neither has parameters."""
    from core.layers import GELU, ReLU

    layer = ReLU("relu") if kind == "ReLU" else GELU("gelu")
    return lambda x: layer(x, training=True), []


def numbers(kind):
    """x and a target t, drawn from N(0, 1), every x moved 0.02 away from the kink. Raises Problem for bad sizes."""
    check_sizes(globals(), "BATCH", "FEATURES", "SEED")
    check_numbers(globals(), BIAS=(-np.inf, np.inf))
    x, t = np.random.default_rng(SEED).standard_normal([2, BATCH, FEATURES])
    return Numbers({"x": x + 0.02 * np.sign(x)}, t, {"kind": kind})  # at x = 0 ReLU has no derivative to check


def definition():
    """Print what each activation makes of the negative numbers."""
    x, least = numbers("ReLU").point["x"], forward_numpy(np.linspace(-2, 0, 2001), "GELU").min()
    print(f"   {np.mean(x < 0):.0%} of x is negative: ReLU makes these 0, GELU keeps them between {least:.3f} and 0")


def by_hand():
    """Print the hand case, forward and backward."""
    x, dy = matrices(globals(), "HAND_X", "HAND_DY")
    require(x.shape == dy.shape, f"HAND_X {x.shape} and HAND_DY {dy.shape}: expected a dL/dy for each x")
    for kind in KINDS:
        y, slope, dx = forward_loops(x, kind), backward_loops(np.ones_like(x), x, kind), backward_loops(dy, x, kind)
        rows = zip(("x", kind, "dy/dx", "dL/dy", "dL/dx"), (x, y, slope, dy, dx))
        print("\n".join(f"   {name:7}" + "".join(f"{number(v):>10}" for v in values.flat) for name, values in rows))
        print()
    last = x.flat[-1]
    print(f"   GELU of {number(last)} is {number(last)} times {number(area(last))}, the probability that a number "
          f"from N(0, 1) is below {number(last)}.")  # fmt: skip
    print("   ReLU multiplies x by 0 or 1, GELU by a probability: a smooth version of the same choice.")


def further():
    """Print whether units survive the bias BIAS."""
    x = numbers("ReLU").point["x"] + BIAS
    print(f"   With {BIAS} added to every x, as a bias can after one step too large; a unit is one of the {FEATURES} "
          "columns:\n")  # fmt: skip
    print("   activation   largest |y|   largest |dy/dx|   units without any gradient")
    for kind in KINDS:
        y, slope = forward_numpy(x, kind), np.abs(derivative(x, kind))
        dead = int(np.sum(slope.max(axis=0) == 0))
        print(f"   {kind:10} {np.abs(y).max():13.1e} {slope.max():17.1e} {dead:14} of {FEATURES}")
    dead = int(np.sum((x <= 0).all(axis=0)))
    follows = "no output, no gradient, so no update changes them" if dead else "each has a gradient from some image"
    print(f"\n   Dead ReLU units on this batch: {dead} of {FEATURES}; {follows}.")


def wrong_sign_backward(dy, x, kind):
    """Passes what is positive in dL/dy, instead of what was positive in x."""
    return np.maximum(dy, 0)


def tanh_forward(x, kind):
    """GELU's approximation: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).  Hendrycks & Gimpel 2016, section 2."""
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


MISTAKES = {"ReLU": Mistake("sign of dL/dy tested, not of x", backward=wrong_sign_backward),
            "GELU": Mistake("tanh forward, exact backward", forward=tanh_forward)}  # fmt: skip
COMPARISONS = tuple(
    Comparison(lambda kind=kind: numbers(kind), (forward_loops, backward_loops), (forward_numpy, backward_numpy),
               forward_tensorflow, layer, (MISTAKES[kind],), title=kind, gradient_bound=1e-6,
               agreement=1e-10 if kind == "ReLU" else 1e-7)  # tf.nn.gelu rounds sqrt 2 to float32, also for float64
    for kind in KINDS
)  # fmt: skip
WALKTHROUGH = Walkthrough(
    globals(), definition, by_hand, COMPARISONS, lambda: figures.curves(forward_numpy, derivative, KINDS, SEED),
    lambda trained: figures.on_your_network(trained, forward_numpy, derivative), KINDS, further,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(WALKTHROUGH.main())
