"""Exercise 7: batch normalization."""

import numpy as np

from checker.arrays import array, call_for_arrays, expect_equal, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake

NAMES = ("y", "moving_mean", "moving_variance")
X = 3 * numbers(0, 4, 3, 2, 2) + np.array([5.0, -1])
GAMMA, BETA, MEAN, VARIANCE = np.array([2.0, 0.5]), np.array([1.0, -3]), np.array([1.0, 2]), np.array([4.0, 9])


def normalized(module, x, gamma, beta, mean, variance, training):
    """The learner's y, moving_mean, moving_variance."""
    results = call_for_arrays(module, "batch_norm", 3, x, gamma, beta, mean, variance, training)
    return [array(a, name) for a, name in zip(results, NAMES)]


def shape(module):
    """y like x, a number for each channel."""
    for training in (True, False):
        results = normalized(module, X, GAMMA, BETA, MEAN, VARIANCE, training)
        expect_shape("y", results[0], X.shape, "y has the shape of x")
        for name, found in zip(NAMES[1:], results[1:]):
            expect_shape(name, found, (2,), "one number for each channel")


def by_hand(module):
    """One channel of four numbers: mean 3, variance 4."""
    x = np.array([1.0, 1, 5, 5]).reshape(4, 1, 1, 1)
    one, zero = np.ones(1), np.zeros(1)
    y, mean, variance = normalized(module, x, one, zero, zero, one, True)
    scale = 2 / np.sqrt(4.001)
    expect_equal("y", np.ravel(y), [-scale, -scale, scale, scale], "For x = 1, 1, 5, 5 in one channel, mean 3 and "
                 "variance 4, gamma 1 and beta 0: y = ±2 / sqrt(4 + 0.001).")  # fmt: skip
    expect_equal("moving_mean", mean, [0.3], "From 0 the moving mean goes to 0.9 * 0 + 0.1 * 3 = 0.3.")
    expect_equal("moving_variance", variance, [1.3], "From 1 the moving variance goes to 0.9 * 1 + 0.1 * 4 = 1.3.")


def mean_and_std(module):
    """In training every channel of y has mean beta and standard deviation gamma."""
    y = normalized(module, X, GAMMA, BETA, MEAN, VARIANCE, True)[0]
    expect_equal("the means of y", y.mean(axis=(0, 1, 2)), BETA, "In training every channel of y has the mean beta.")
    expect_equal("the standard deviations of y", y.std(axis=(0, 1, 2)), GAMMA, "In training every channel of y has the "
                 "standard deviation gamma, nearly.", 1e-3)  # fmt: skip


def evaluation(module):
    """In evaluation an image does not depend on the rest of its batch, and nothing is updated."""
    y, mean, variance = normalized(module, X, GAMMA, BETA, MEAN, VARIANCE, False)
    alone = normalized(module, X[:1], GAMMA, BETA, MEAN, VARIANCE, False)[0]
    expect_equal("y of the first image", alone, y[:1], "In evaluation an image must get the same y alone and with "
                 "others: m and v are the moving averages.")  # fmt: skip
    expect_equal("moving_mean", mean, MEAN, "In evaluation the moving averages stay as they are.")
    expect_equal("moving_variance", variance, VARIANCE, "In evaluation the moving averages stay as they are.")


def every_entry(module):
    """Training and evaluation."""
    mean, variance = X.mean(axis=(0, 1, 2)), X.var(axis=(0, 1, 2))
    for training, m, v, new in (
        (True, mean, variance, (0.9 * MEAN + 0.1 * mean, 0.9 * VARIANCE + 0.1 * variance)),
        (False, MEAN, VARIANCE, (MEAN, VARIANCE)),
    ):
        results = normalized(module, X, GAMMA, BETA, MEAN, VARIANCE, training)
        for name, found, expected in zip(NAMES, results, (GAMMA * (X - m) / np.sqrt(v + 1e-3) + BETA, *new)):
            expect_equal(name, found, expected, f"Two channels, training {training}: {name} is not right.")


def probe(module):
    """Training and evaluation."""
    return [a for training in (True, False) for a in normalized(module, X, GAMMA, BETA, MEAN, VARIANCE, training)]


BATCH = "mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))"
EXERCISE = Exercise(
    title="batch normalization",
    hints=(
        "How many means does a batch [N,H,W,C] have, and over how many numbers does each run? Which m and v could an "
        "image use that is evaluated all alone?",
        "In training: mean and variance over axes 0, 1, 2, one number for each channel; the moving averages take a "
        "tenth of them. In evaluation: the moving averages themselves, unchanged. The line for y is the same in both.",
        "if training: mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2)), then both moving averages, each "
        "momentum * old + (1 - momentum) * new; else mean, variance = moving_mean, moving_variance. Behind the if: y.",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("mean and standard deviation", mean_and_std),
        Check("evaluation", evaluation),
        Check("every entry", every_entry),
    ),
    probe=probe,
    mistakes=(
        Mistake(
            "statistics of the batch in evaluation",
            "In evaluation you still use mean and variance of the batch, so that an image's result depends on the "
            "images beside it. There the moving averages take over.",
            (("mean, variance = moving_mean, moving_variance", BATCH),),
        ),
        Mistake(
            "moving averages in training",
            "In training you normalize with the moving averages. They are for evaluation; in training it is the mean "
            "and variance of this very batch.",
            (("    y = gamma * (x - mean)",
              "    mean, variance = moving_mean, moving_variance\n    y = gamma * (x - mean)"),),
        ),
        Mistake(
            "one mean for all channels",
            "One mean and variance for all channels together: each channel has its own, over axes 0, 1, 2.",
            ((BATCH, "mean, variance = x.mean() * np.ones(x.shape[3]), x.var() * np.ones(x.shape[3])"),),
        ),
        Mistake(
            "momentum exchanged",
            "The factors of the moving averages are exchanged: momentum, 0.9, belongs to the old value, which changes "
            "slowly.",
            (("momentum * moving_mean + (1 - momentum) * mean", "(1 - momentum) * moving_mean + momentum * mean"),
             ("momentum * moving_variance + (1 - momentum) * variance",
              "(1 - momentum) * moving_variance + momentum * variance")),
        ),
        Mistake(
            "moving averages not updated",
            "The moving averages do not move: evaluation would use their initial values for ever.",
            (("        moving_mean = momentum * moving_mean + (1 - momentum) * mean\n", ""),
             ("        moving_variance = momentum * moving_variance + (1 - momentum) * variance\n", "")),
        ),
        Mistake(
            "divided by the variance",
            "You divide by the variance; it is its square root, the standard deviation, that has the unit of x.",
            (("np.sqrt(variance + epsilon)", "(variance + epsilon)"),),
        ),
        Mistake(
            "epsilon outside the root",
            "Epsilon is added to the standard deviation; in the formula it stands inside the root, with the variance.",
            (("np.sqrt(variance + epsilon)", "(np.sqrt(variance) + epsilon)"),),
        ),
        Mistake(
            "epsilon forgotten",
            "Epsilon is missing: a channel with the same number everywhere has variance 0 and would be divided by 0.",
            (("np.sqrt(variance + epsilon)", "np.sqrt(variance)"),),
        ),
        Mistake(
            "gamma and beta forgotten",
            "y is normalized, and gamma and beta are missing: they let the layer learn another size and mean.",
            (("y = gamma * (x - mean) / np.sqrt(variance + epsilon) + beta",
              "y = (x - mean) / np.sqrt(variance + epsilon)"),),
        ),
        Mistake(
            "unbiased variance",
            "The variance is divided by n - 1, ddof=1. In the formula it is the mean of the squared differences, "
            "divided by n, as x.var computes it.",
            ((BATCH, BATCH.replace("x.var(axis=(0, 1, 2))", "x.var(axis=(0, 1, 2), ddof=1)")),),
        ),
        Mistake(
            "unbiased moving variance",
            "y is right, and the moving variance gets v * n / (n - 1). The project's own layer does that too "
            "(core/layers/normalization.py); asked for is the variance of the batch as it is.",
            (("(1 - momentum) * variance",
              "(1 - momentum) * variance * x[..., 0].size / (x[..., 0].size - 1)"),),
        ),
        Mistake(
            "gamma and beta exchanged",
            "gamma and beta are exchanged: gamma multiplies, beta is added.",
            (("y = gamma * (x - mean) / np.sqrt(variance + epsilon) + beta",
              "y = beta * (x - mean) / np.sqrt(variance + epsilon) + gamma"),),
        ),
        Mistake(
            "gamma times beta",
            "gamma multiplies beta as well: a bracket too many. gamma scales the normalized x, then beta is added.",
            (("y = gamma * (x - mean) / np.sqrt(variance + epsilon) + beta",
              "y = gamma * ((x - mean) / np.sqrt(variance + epsilon) + beta)"),),
        ),
        Mistake(
            "moving averages updated in evaluation",
            "The moving averages move in evaluation too, so that the result depends on what was evaluated before. Only "
            "training updates them.",
            (("        mean, variance = moving_mean, moving_variance\n",
              "        mean, variance = moving_mean, moving_variance\n"
              "        moving_mean = momentum * moving_mean + (1 - momentum) * x.mean(axis=(0, 1, 2))\n"
              "        moving_variance = momentum * moving_variance + (1 - momentum) * x.var(axis=(0, 1, 2))\n"),),
        ),
        Mistake(
            "standard deviation averaged",
            "The moving variance follows the standard deviation: x.std instead of x.var.",
            (("(1 - momentum) * variance", "(1 - momentum) * np.sqrt(variance)"),),
        ),
    ),
    explanation="In training the batch normalizes itself, so every image depends a little on the others; in evaluation "
    "the moving averages stand in, and an image gets the same result alone. Using the wrong one of the two is a "
    "classic: the fault batch-norm-in-training-mode. core/layers/normalization.py feeds the moving variance with the "
    "unbiased v * n / (n - 1), a small difference.",
)  # fmt: skip
