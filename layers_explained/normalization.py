"""Batch normalization: each channel gets mean 0 and standard deviation 1 over the batch, then a learned gamma and beta.

    m[c] = mean of x[:,:,:,c]       v[c] = mean of (x[:,:,:,c] - m[c])^2       over n = N H W numbers
    x^   = (x - m) / sqrt(v + epsilon)
    y    = gamma x^ + beta

    dL/dx = gamma / sqrt(v + epsilon) * (dy - mean(dy) - x^ mean(dy x^))       by channel

    x [N,H,W,C]       N images of H rows, W columns, C channels
    gamma, beta [C]   a learned factor and a learned offset: whatever mean and std the next layer needs

In evaluation mode m and v are moving averages: moving <- momentum moving + (1 - momentum) batch, of the unbiased
variance. Why it matters in training: it allows larger learning rates; the scale of the weights before it cancels.

Change a constant below and run the file again: python layers_explained/normalization.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support.comparison import Comparison, Mistake, Numbers, import_tensorflow
from layers_explained.support.constants import check_sizes, matrices, require
from layers_explained.support.figures import normalization as figures
from layers_explained.support.printing import number, print_beside
from layers_explained.support.walkthrough import Walkthrough

BATCH, ROWS, COLUMNS, CHANNELS = 4, 3, 3, 5  # N, H, W, C
EPSILON, MOMENTUM, SEED = 1e-3, 0.9, 0  # SEED: of x, gamma, beta, the moving averages and the target t

# By hand: four images of one pixel and one channel.
HAND_X = [[1, 3, 5, 7]]
HAND_GAMMA, HAND_BETA, HAND_EPSILON = 6, 10, 4
HAND_T = [[1, 8, 12, 16]]  # the target


def normalize(x, m, v, gamma, beta, epsilon=EPSILON):
    """gamma (x - m) / sqrt(v + epsilon) + beta, by channel: arrays or tensors [C] broadcast along every pixel."""
    return gamma * (x - m) / (v + epsilon) ** 0.5 + beta


def moved(moving, m, v, n):
    """The moving (mean, variance) after a batch of n numbers a channel; v n/(n-1) = v / (1 - 1/n) is unbiased."""
    return tuple(MOMENTUM * old + (1 - MOMENTUM) * new for old, new in zip(moving, (m, v / (1 - 1 / max(n, 2)))))


def forward_loops(x, gamma, beta, moving, epsilon=EPSILON):
    """Implementation 1 -> y in training, the new moving mean and variance, y in evaluation with them."""
    y, evaluated, mean, variance = np.zeros(x.shape), np.zeros(x.shape), *np.array(moving)
    for c in range(x.shape[3]):
        values, n = list(x[..., c].flat), x[..., c].size
        m = sum(values) / n
        v = sum((value - m) ** 2 for value in values) / n
        mean[c], variance[c] = moved((mean[c], variance[c]), m, v, n)
        for i in np.ndindex(x.shape[:3]):
            y[*i, c] = gamma[c] * (x[*i, c] - m) / np.sqrt(v + epsilon) + beta[c]
            evaluated[*i, c] = gamma[c] * (x[*i, c] - mean[c]) / np.sqrt(variance[c] + epsilon) + beta[c]
    return y, mean, variance, evaluated


def backward_loops(dy, x, gamma, beta, moving, epsilon=EPSILON):
    """dL/dy -> dL/dx, dL/dgamma, dL/dbeta in training: x acts on y directly, through v and through m; all are added."""
    dx, dgamma, dbeta = np.zeros(x.shape), np.zeros(len(gamma)), np.zeros(len(gamma))
    for c in range(x.shape[3]):
        indices, n = list(np.ndindex(x.shape[:3])), x[..., c].size
        m = sum(x[*i, c] for i in indices) / n
        s = np.sqrt(sum((x[*i, c] - m) ** 2 for i in indices) / n + epsilon)
        dv = dm = 0.0
        for i in indices:
            dgamma[c] += dy[*i, c] * (x[*i, c] - m) / s
            dbeta[c] += dy[*i, c]
            dv += gamma[c] * dy[*i, c] * (x[*i, c] - m) * -0.5 / s**3  # d(1/sqrt(v + epsilon))/dv = -1/2 s^-3
            dm += gamma[c] * dy[*i, c] * -1 / s  # (through v nothing: the sum of x - m is 0)
        for i in indices:
            dx[*i, c] = gamma[c] * dy[*i, c] / s + dv * 2 * (x[*i, c] - m) / n + dm / n
    return dx, dgamma, dbeta


def forward_numpy(x, gamma, beta, moving, epsilon=EPSILON):
    """Implementation 2: the same for all channels at once; they are the last axis."""
    m, v = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    mean, variance = moved(moving, m, v, x[..., 0].size)
    return normalize(x, m, v, gamma, beta, epsilon), mean, variance, normalize(x, mean, variance, gamma, beta, epsilon)


def backward_numpy(dy, x, gamma, beta, moving, epsilon=EPSILON):
    """The three ways in one formula: dy without its mean and without its component along x^."""
    s = np.sqrt(x.var(axis=(0, 1, 2)) + epsilon)
    x_hat = (x - x.mean(axis=(0, 1, 2))) / s
    means = dy.mean(axis=(0, 1, 2)) + x_hat * (dy * x_hat).mean(axis=(0, 1, 2))
    return gamma / s * (dy - means), (dy * x_hat).sum(axis=(0, 1, 2)), dy.sum(axis=(0, 1, 2))


def forward_tensorflow(x, gamma, beta, moving):
    """Implementation 3: means, differences, a square root."""
    tf = import_tensorflow()
    m = tf.reduce_mean(x, axis=[0, 1, 2])
    v = tf.reduce_mean((x - m) ** 2, axis=[0, 1, 2])
    mean, variance = moved(moving, m, v, x.shape[0] * x.shape[1] * x.shape[2])
    return normalize(x, m, v, gamma, beta), mean, variance, normalize(x, mean, variance, gamma, beta)


def layer(x, gamma, beta, moving):
    """Implementation 4: core.layers.BatchNormalization with this gamma and beta, and its parameters."""
    tf = import_tensorflow()
    from core.layers import BatchNormalization

    layer = BatchNormalization("norm", len(gamma), MOMENTUM, EPSILON, dtype="float64")

    def forward(x):
        for variable, value in zip(layer.statistics, moving):
            variable.assign(value)
        y = layer(x, training=True)  # updates the moving averages too
        return y, *map(tf.identity, layer.statistics), layer(x, training=False)

    for variable, value in zip(layer.parameters, (gamma, beta)):
        variable.assign(value)
    return forward, layer.parameters


def numbers():
    """x, gamma, beta, moving averages and a target t. Raises Problem for impossible sizes."""
    check_sizes(globals(), "BATCH", "ROWS", "COLUMNS", "CHANNELS", "SEED")
    require(BATCH * ROWS * COLUMNS > 2, "BATCH, ROWS, COLUMNS: x^ of 1 or 2 numbers is constant; make one larger")
    random = np.random.default_rng(SEED)
    x = 3 + 2 * random.standard_normal([BATCH, ROWS, COLUMNS, CHANNELS])
    gamma, beta, mean, t = *random.standard_normal([3, CHANNELS]), random.standard_normal(x.shape)
    return Numbers({"x": x, "gamma": gamma, "beta": beta}, t, {"moving": (mean, random.uniform(0.5, 2, CHANNELS))})


def definition():
    """Print n, and the statistics before and after."""
    x = numbers().point["x"]
    x_hat = normalize(x, x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2)), 1, 0)[..., 0]
    print(f"   {2 * CHANNELS} non-trainable statistics; each mean is over n = N H W = {x[..., 0].size} numbers")
    print(f"   channel 0 of x: mean {x[..., 0].mean():.3f}, std {x[..., 0].std():.3f}; of x^: mean "
          f"{x_hat.mean() + 0.0:.3f}, std {x_hat.std():.3f}")  # fmt: skip


def by_hand():
    """Print the hand case by implementation 1, forward and backward. Raises Problem when sizes differ."""
    x, t = matrices(globals(), "HAND_X", "HAND_T")
    require(x.shape == t.shape and len(x) == 1, f"HAND_X {x.shape}, HAND_T {t.shape}: make both one row, equally long")
    case = x.reshape(-1, 1, 1, 1), np.array([HAND_GAMMA]), np.array([HAND_BETA]), np.ones([2, 1]), HAND_EPSILON
    y = forward_loops(*case)[0].reshape(x.shape)
    dx, dgamma, dbeta = backward_loops((y - t).reshape(case[0].shape), *case)
    dx, dy, m, v = dx.reshape(x.shape), y - t, x.mean(), x.var()
    s = np.sqrt(v + HAND_EPSILON)
    print_beside(("x: 1 pixel an image", x), ("gamma", HAND_GAMMA), ("beta", HAND_BETA), ("epsilon", HAND_EPSILON))
    print(f"   m = {number(m)};  v = mean of (x - m)^2 = {number(v)};  sqrt(v + epsilon) = {number(s)}\n")
    print_beside(("x^", (x - m) / s), ("y = gamma x^ + beta", y))
    print("   Backward, with a target t and L = 1/2 sum (y - t)^2, so that dL/dy = y - t:\n")
    print_beside(("t", t), ("dL/dy", dy), ("dL/dgamma", dgamma), ("dL/dbeta", dbeta))
    through_m, through_v = np.full_like(dy, dy.mean()), (x - m) / s * (dy * (x - m) / s).mean()
    print_beside(("direct", HAND_GAMMA / s * dy), ("through the mean", -HAND_GAMMA / s * through_m),
                 ("through the variance", -HAND_GAMMA / s * through_v), ("sum: dL/dx", dx))  # fmt: skip
    wrong, reached = (int(np.sum(np.abs(values) > 1e-12)) for values in (dy, dx))
    print(f"   Outputs that differ from t: {wrong} of {y.size}. Inputs with a gradient: {reached}; all share m and v.")
    print(f"   dL/dx adds up to {number(dx.sum())}: adding a constant to every x changes nothing.")


def constant_backward(dy, x, gamma, beta, moving):
    """Mean and variance taken for constants: one way of three. (In evaluation they are constants, and it is right.)"""
    return gamma / np.sqrt(x.var(axis=(0, 1, 2)) + EPSILON) * dy, *backward_numpy(dy, x, gamma, beta, moving)[1:]


def biased_forward(x, gamma, beta, moving):
    """Without n/(n-1): v is too small on average, because m was fitted to the same numbers."""
    y, mean, *_ = forward_numpy(x, gamma, beta, moving)
    variance = moved(moving, mean, x.var(axis=(0, 1, 2)), np.inf)[1]
    return y, mean, variance, normalize(x, mean, variance, gamma, beta)


COMPARISON = Comparison(numbers, (forward_loops, backward_loops), (forward_numpy, backward_numpy), forward_tensorflow,
    layer, (Mistake("statistics taken for constants", backward=constant_backward),
            Mistake("biased variance in the moving average", biased_forward),
            Mistake("training mode left on in evaluation", lambda *case, **options: (
                *forward_numpy(*case, **options)[:3], forward_numpy(*case, **options)[0]))),
    outputs=("y", "moving mean", "moving variance", "y in evaluation"),
)  # fmt: skip
WALKTHROUGH = Walkthrough(
    globals(), definition, by_hand, (COMPARISON,), lambda: figures.both_modes(forward_numpy, normalize, SEED),
    figures.on_your_network, layer_classes=("BatchNormalization",),
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(WALKTHROUGH.main())
