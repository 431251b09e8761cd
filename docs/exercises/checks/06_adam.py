"""Exercise 6: Adam."""

import numpy as np

from checker.arrays import array, call_for_arrays, expect_equal, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake

NAMES = ("w", "m", "v")


def step(module, *args):
    """The learner's w, m, v."""
    return [array(a, name) for a, name in zip(call_for_arrays(module, "adam_step", 3, *args), NAMES)]


def steps(module, count, beta1=0.8, beta2=0.95, epsilon=0.1):
    """(w, m, v) after each of some steps."""
    state, found = [numbers(0, 3, 2), np.zeros((3, 2)), np.zeros((3, 2))], []
    for t in range(1, count + 1):
        w, m, v = state
        state = step(module, w, numbers(t, 3, 2), m, v, t, 0.1, beta1, beta2, epsilon)
        found.append(state)
    return found


def shape(module):
    """All three have the shape of w."""
    for name, found in zip(NAMES, steps(module, 1)[0]):
        expect_shape(name, found, (3, 2), "w, m and v keep the shape of the parameter")


def by_hand(module):
    """g = 2, beta1 = 0.9, beta2 = 0.75, epsilon = 0: the first step is the learning rate."""
    w, m, v = step(module, np.array([1.0]), np.array([2.0]), np.zeros(1), np.zeros(1), 1, 0.1, 0.9, 0.75, 0.0)
    what = "From w = 1, m = v = 0 with g = 2, beta1 = 0.9, beta2 = 0.75 and learning rate 0.1, step 1 leads to"
    expect_equal("m", m, [0.2], f"{what} m = 0.9 * 0 + 0.1 * 2 = 0.2.")
    expect_equal("v", v, [1.0], f"{what} v = 0.75 * 0 + 0.25 * 2 * 2 = 1.")
    expect_equal("w", w, [0.9], f"{what} w = 1 - 0.1 * (0.2/0.1) / sqrt(1/0.25) = 0.9.")


def size_of_the_gradient(module):
    """A gradient 1000 times as large gives the same step."""
    one, thousand = (
        step(module, np.zeros(3), scale * np.array([0.5, -2, 3]), np.zeros(3), np.zeros(3), 1, 0.01, 0.9, 0.999, 0.0)[0]
        for scale in (1, 1000)
    )
    expect_equal("w", thousand, one, "A gradient a thousand times as large must give the same step: Adam divides it by "
                 "its own size.")  # fmt: skip
    expect_equal("w", one, [-0.01, 0.01, -0.01], "The first step of every weight is the learning rate long, against "
                 "the sign of its gradient.")  # fmt: skip


def every_entry(module):
    """Four steps with random gradients."""
    w, m, v = numbers(0, 3, 2), np.zeros((3, 2)), np.zeros((3, 2))
    for t, found in enumerate(steps(module, 4), start=1):
        g = numbers(t, 3, 2)
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        w = w - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 0.1)
        for name, value, expected in zip(NAMES, found, (w, m, v)):
            expect_equal(name, value, expected, f"Step {t} of four with random gradients: {name} is not right.")


def probe(module):
    """Three steps."""
    return [a for state in steps(module, 3) for a in state]


SECOND = "v = beta2 * v + (1 - beta2) * g * g"
UPDATE = "corrected_m / (np.sqrt(corrected_v) + epsilon)"
EXERCISE = Exercise(
    title="Adam",
    hints=(
        "Compute the first step on paper for g = 2, from m = v = 0. How large are m and v then, compared with g and "
        "g * g, and what do the two corrections make of them?",
        "Five lines, one for each line of the docstring. m' and v' are returned as they are, uncorrected; the "
        "corrected ones serve this step only. t counts from 1, and the correction fades as beta1**t tends to 0.",
        "m = beta1 * m + (1 - beta1) * g, in the same way v with g * g; then w = w - learning_rate * "
        "(m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon).",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("size of the gradient", size_of_the_gradient),
        Check("every entry", every_entry),
    ),
    probe=probe,
    mistakes=(
        Mistake(
            "no correction",
            "The corrections are missing: m and v begin at 0 and are too small for many steps. Divide them by "
            "1 - beta1**t and 1 - beta2**t.",
            ((UPDATE, "m / (np.sqrt(v) + epsilon)"),),
        ),
        Mistake(
            "only m corrected",
            "m is corrected and v is not, so the first steps are much too long: v is too small as well, and more so.",
            ((UPDATE, "corrected_m / (np.sqrt(v) + epsilon)"),),
        ),
        Mistake(
            "correction kept in the state",
            "The corrected moments are returned and corrected again in the next step. Keep m and v as they are; the "
            "corrected ones are for this step only.",
            (("return w, m, v", "return w, corrected_m, corrected_v"),),
        ),
        Mistake(
            "beta times t",
            "The correction uses beta * t; it is beta to the power t, beta**t: each step multiplies by beta once more.",
            (("beta1**t", "beta1 * t"), ("beta2**t", "beta2 * t")),
        ),
        Mistake(
            "frozen step counter",
            "The correction is that of step 1 in every step: t does not occur in it. With it frozen, Adam never gets "
            "out of its first step.",
            (("beta1**t", "beta1"), ("beta2**t", "beta2")),
        ),
        Mistake(
            "t counted from 0",
            "The correction is that of the next step, beta**(t + 1): t counts from 1 here, and is 1 in the first step.",
            (("beta1**t", "beta1 ** (t + 1)"), ("beta2**t", "beta2 ** (t + 1)")),
        ),
        Mistake(
            "correction of the step before",
            "The correction is that of the step before, beta**(t - 1): in the first step it divides by 1 - 1 = 0. "
            "t counts from 1 here.",
            (("beta1**t", "beta1 ** (t - 1)"), ("beta2**t", "beta2 ** (t - 1)")),
        ),
        Mistake(
            "multiplied by the correction",
            "You multiply by 1 - beta**t. m and v are too small in the first steps; dividing makes them larger.",
            (("m / (1 - beta1**t)", "m * (1 - beta1**t)"), ("v / (1 - beta2**t)", "v * (1 - beta2**t)")),
        ),
        Mistake(
            "only v corrected",
            "v is corrected and m is not, so the first steps are too short: m begins at 0 as well.",
            (("learning_rate * corrected_m", "learning_rate * m"),),
        ),
        Mistake(
            "gradient enters whole",
            "m and v add up whole gradients, as momentum does. A moving average weights the new one with 1 - beta, so "
            "that it keeps the size of one gradient.",
            (("    m = beta1 * m + (1 - beta1) * g\n", "    m = beta1 * m + g\n"),
             ("    " + SECOND, "    v = beta2 * v + g * g")),
        ),
        Mistake(
            "factors exchanged",
            "The factors are exchanged: beta belongs to the old average, which changes slowly, and 1 - beta to the new "
            "gradient.",
            (("    m = beta1 * m + (1 - beta1) * g\n", "    m = (1 - beta1) * m + beta1 * g\n"),
             ("    " + SECOND, "    v = (1 - beta2) * v + beta2 * g * g")),
        ),
        Mistake(
            "epsilon before the correction",
            "Epsilon is added to the root of the uncorrected v, the shorter form that some libraries compute. Asked "
            "for is that of the docstring: correct v first, then add epsilon to its root.",
            (("corrected_m / (np.sqrt(corrected_v) + epsilon)",
              "np.sqrt(1 - beta2**t) * corrected_m / (np.sqrt(v) + epsilon)"),),
        ),
        Mistake(
            "epsilon forgotten",
            "Epsilon is missing: a weight whose gradient was 0 so far has v = 0, and 0 / 0 is not a number.",
            (("(np.sqrt(corrected_v) + epsilon)", "np.sqrt(corrected_v)"),),
        ),
        Mistake(
            "epsilon inside the root",
            "Epsilon stands inside the square root. Adam adds it outside, sqrt(vh) + epsilon; inside, it is a much "
            "larger number: sqrt(1e-8) is 1e-4.",
            (("(np.sqrt(corrected_v) + epsilon)", "np.sqrt(corrected_v + epsilon)"),),
        ),
        Mistake(
            "square root forgotten",
            "The square root is missing: the step is divided by the gradient's square, so large gradients give small "
            "steps.",
            (("np.sqrt(corrected_v)", "corrected_v"),),
        ),
        Mistake(
            "gradient not squared",
            "v averages the gradient and not its square; then it can be negative, and its root is not a number.",
            ((SECOND, "v = beta2 * v + (1 - beta2) * g"),),
        ),
        Mistake(
            "square of the average",
            "v uses m * m, the square of the average. It averages the square: gradients that change sign cancel in m, "
            "and v must still count them.",
            ((SECOND, "v = beta2 * v + (1 - beta2) * m * m"),),
        ),
        Mistake(
            "beta1 and beta2 exchanged",
            "beta1 and beta2 are exchanged: beta1 belongs to m, beta2 to v.",
            (("m = beta1 * m + (1 - beta1) * g", "m = beta2 * m + (1 - beta2) * g"),
             (SECOND, "v = beta1 * v + (1 - beta1) * g * g"),
             ("beta1**t", "beta2 ** t"), ("beta2**t", "beta1 ** t")),
        ),
        Mistake(
            "gradient instead of m",
            "The step uses the gradient of this batch alone; its moving average m is computed and not used.",
            ((UPDATE, "g / (np.sqrt(corrected_v) + epsilon)"),),
        ),
        Mistake(
            "uphill",
            "The step goes uphill: the update is subtracted.",
            (("w = w - learning_rate", "w = w + learning_rate"),),
        ),
    ),
    explanation="Each weight moves by about the learning rate, whatever the size of its gradient; the moving averages "
    "decide the sign and damp what changes sign. The corrections make the first average equal to the first gradient. "
    "Forgetting to raise t is a bug of real programs (the fault frozen-adam-step-counter): core/optimizers.py takes "
    "the loop's own step.",
)  # fmt: skip
