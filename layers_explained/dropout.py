"""Dropout: in training, each number is set to 0 with probability r, the others are divided by 1 - r.

    y = x m / (1 - r)        m is 1 with probability 1 - r, else 0; for each number by itself
    dL/dx = dy m / (1 - r)   the same mask: a dropped number gets no gradient

    x, y [any shape]   input and output; in evaluation y = x
    m    [that shape]  the mask
    r                  the rate: the fraction that is dropped

Dividing by 1 - r in training ("inverted dropout") keeps the mean, E[y] = x, so that evaluation needs no correction.
Why it matters in training: no feature can rely on a particular other one, which reduces overfitting (Srivastava et al.
2014). The mask is a pure function of (seed, layer name, step): the same step always drops the same numbers.

Change a constant below and run the file again: python layers_explained/dropout.py
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support.comparison import Comparison, Mistake, Numbers, forward_and_backward, import_tensorflow
from layers_explained.support.constants import check_numbers, check_sizes, matrices, require
from layers_explained.support.figures import dropout as figures
from layers_explained.support.printing import print_beside
from layers_explained.support.walkthrough import Walkthrough

BATCH, FEATURES = 16, 32  # N, and numbers an image
RATE = 0.3  # r
SEED, NAME, STEP = 0, "dropout", 1  # what the mask is a function of; SEED also draws x and the target t

# By hand: one image, three features.
HAND_X = [[3, 1, 4]]
HAND_MASK = [[1, 0, 1]]
HAND_RATE = 0.5
HAND_T = [[5, 2, 6]]  # the target


def forward_loops(x, mask, rate):
    """Implementation 1, the formula letter for letter; then the output in evaluation, which is x."""
    y = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        if mask[i]:
            y[i] = x[i] / (1 - rate)
    return y, x


def backward_loops(dy, x, mask, rate):
    """dL/dy -> dL/dx: the same loop. A dropped number had no influence on y."""
    dx = np.zeros(dy.shape)
    for i in np.ndindex(dy.shape):
        if mask[i]:
            dx[i] = dy[i] / (1 - rate)
    return dx


def forward_numpy(x, mask, rate):
    """Implementation 2: one product with the scaled mask, which is a constant within a step."""
    return x * (mask / (1 - rate)), x


def backward_numpy(dy, x, mask, rate):
    """The vector-Jacobian product of a product with a constant is the product with the same constant."""
    return dy * (mask / (1 - rate))


def draw(shape, rate, seed, step):
    """A mask by NumPy alone, also a function of (seed, step): no generator state is left behind."""
    return np.random.default_rng([seed, step]).random(shape) >= rate


def tensorflow_mask(shape, rate, seed, name, step):
    """The mask of core.layers.Dropout, computed again from (seed, name, step) without the layer."""
    import_tensorflow()
    from core import random_streams

    key = random_streams.at_step(random_streams.stream(seed, f"{name}/mask"), step)
    return random_streams.uniform(key, shape).numpy() >= rate


def forward_tensorflow(x, mask, rate):
    """Implementation 3: choose between x / (1 - r) and 0; the gradient follows the branch that was chosen."""
    tf = import_tensorflow()
    return tf.where(mask, x / (1 - rate), tf.zeros_like(x)), x


def layer(x, mask, rate):
    """Implementation 4: core.layers.Dropout. It is not given the mask: it draws its own, which must be the same."""
    tf = import_tensorflow()
    from core.layers import Dropout

    layer, step = Dropout(NAME, rate, SEED), tf.constant(STEP)
    return lambda x: (layer(x, training=True, step=step), layer(x, training=False)), []


def numbers(mask=draw):
    """x and a target t [N, features], and a mask. Raises Problem for impossible sizes or rates."""
    check_sizes(globals(), "BATCH", "FEATURES", "SEED", "STEP")
    check_numbers(globals(), RATE=(0, 1), HAND_RATE=(0, 1))
    x, t = 1 + np.random.default_rng(SEED).standard_normal([2, BATCH, FEATURES])
    return Numbers({"x": x}, t, {"mask": mask(x.shape, RATE, SEED, STEP), "rate": RATE})


def definition():
    """Print how many numbers are kept, and the mean over many steps."""
    x, mask = numbers().point["x"], numbers().options["mask"]
    print(f"   rate {RATE}: {mask.mean():.1%} of the {mask.size:,} numbers are kept at step {STEP}, "
          f"each times 1/(1 - r) = {1 / (1 - RATE):.3f}\n")  # fmt: skip
    y = np.mean([forward_numpy(x, draw(x.shape, RATE, SEED, step), RATE)[0] for step in range(1, 1001)], axis=0)
    print(f"   mean of x {x.mean():.3f}; mean of y over 1,000 steps {y.mean():.3f}")
    print(f"   one number over those steps: x[0,0] = {x[0, 0]:.3f}, mean of y[0,0] = {y[0, 0]:.3f}")


def hand_case():
    """x, mask, t, y, dL/dx of the hand case by implementation 1. Raises Problem when they do not fit together."""
    x, mask, t = matrices(globals(), "HAND_X", "HAND_MASK", "HAND_T")
    require(x.shape == mask.shape == t.shape and len(x) == 1 and x.size <= 4,
            "HAND_X, HAND_MASK and HAND_T: make each one row of the same length, at most 4 numbers")  # fmt: skip
    case = Numbers({"x": x}, t, {"mask": mask, "rate": HAND_RATE})
    y, _, dx = forward_and_backward(forward_loops, backward_loops, case)
    return x, mask, t, y, dx


def by_hand():
    """Print the hand case, forward and backward, and the mean over all masks."""
    x, mask, t, y, dx = hand_case()
    print_beside(("x", x), ("mask", mask), ("rate", HAND_RATE), ("y = x mask / (1 - rate)", y))
    print("   Backward, with a target t and L = 1/2 sum (y - t)^2, so that dL/dy = y - t:\n")
    print_beside(("t", t), ("dL/dy", y - t), ("dL/dx = dL/dy mask / (1 - rate)", dx))
    print("   Every possible mask, its probability, and the y it gives:\n")
    masks = np.array(list(itertools.product([1, 0], repeat=x.size)), float)
    chances = np.prod(np.where(masks, 1 - HAND_RATE, HAND_RATE), axis=1)[:, None]
    outputs, _ = forward_loops(np.repeat(x, len(masks), axis=0), masks, HAND_RATE)
    print_beside(("mask", masks), ("probability", chances), ("y", outputs))
    print_beside(("E[y], the sum of probability times y", (chances * outputs).sum(axis=0)), ("x", x))


def unscaled_forward(x, mask, rate):
    """1/(1 - r) forgotten: the mean of y is 1 - r times that of x in training, and that of x in evaluation."""
    return x * mask, x


def unscaled_backward(dy, x, mask, rate):
    """The backward pass that belongs to unscaled_forward."""
    return dy * mask


def fresh_backward(dy, x, mask, rate):
    """A generator asked a second time: the mask of another step."""
    return backward_numpy(dy, x, draw(mask.shape, rate, SEED, STEP + 1), rate)


def dropped_in_evaluation(x, mask, rate):
    """The training pass used for evaluation: a prediction depends on chance."""
    return forward_numpy(x, mask, rate)[0], forward_numpy(x, draw(x.shape, rate, SEED, STEP + 1), rate)[0]


COMPARISON = Comparison(numbers, (forward_loops, backward_loops), (forward_numpy, backward_numpy), forward_tensorflow,
    layer, (Mistake("1/(1 - r) forgotten", unscaled_forward, unscaled_backward),
            Mistake("another mask in the backward pass", backward=fresh_backward),
            Mistake("dropout left on in evaluation", dropped_in_evaluation)),
    layer_numbers=lambda: numbers(lambda *case: tensorflow_mask(*case[:3], NAME, STEP)),
    outputs=("y", "y in evaluation"),
)  # fmt: skip
WALKTHROUGH = Walkthrough(
    globals(), definition, by_hand, (COMPARISON,), lambda: figures.masks(forward_numpy, draw, RATE, SEED),
    lambda trained: figures.on_your_network(trained, tensorflow_mask, STEP), layer_classes=("Dropout",),
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(WALKTHROUGH.main())
