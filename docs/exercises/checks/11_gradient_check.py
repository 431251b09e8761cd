"""Exercise 11: a gradient check, tried on right and on wrong gradients."""

import numpy as np

from checker.arrays import array, call, expect_equal, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake, Wrong

X = numbers(0, 3, 2)
ALLOWED = 1e-6 * np.max(3 * X**2)  # by which an entry of the gradient of `cubes` may differ


def cubes(x):
    """L = sum of x^3; gradient 3 x^2."""
    return float(np.sum(x**3))


def small_cubes(x):
    """The same times 1e-9."""
    return 1e-9 * cubes(x)


def slope(module, loss, x, *h):
    """The learner's numerical gradient."""
    return array(call(module, "numerical_gradient", loss, x, *h), "gradient")


def passed(module, loss, x, gradient) -> bool:
    """The learner's verdict."""
    verdict = call(module, "passes", loss, x, gradient)
    if np.ndim(verdict) or type(verdict) not in (bool, np.bool_):
        raise Wrong(f"passes returns a {type(verdict).__name__}; expected True or False.")
    return bool(verdict)


def shape(module):
    """That of x, also for one number alone."""
    for x in (X, numbers(1, 4), np.array(2.0)):
        expect_shape("gradient", slope(module, cubes, x), x.shape, "a number for each entry of x")


def by_hand(module):
    """L = x0^2 + 3 x1 at (2, 1): gradient (4, 3), exactly for any h."""

    def loss(x):
        return x[0] ** 2 + 3 * x[1]

    for h in (1e-5, 0.5):
        expect_equal("gradient", slope(module, loss, np.array([2.0, 1.0]), h), [4, 3], f"For L = x0^2 + 3 x1 at x = "
                     f"(2, 1) the gradient is (4, 3), and with h = {h} central differences give exactly that.",
                     1e-8)  # fmt: skip


def second_order(module):
    """Half the h, a quarter of the error."""
    coarse, fine = (np.max(np.abs(slope(module, lambda x: float(np.sum(np.exp(x))), X, h) - np.exp(X)))
                    for h in (0.1, 0.05))  # fmt: skip
    if not 3.8 < coarse / fine < 4.2:
        raise Wrong("With half the h the error of central differences is a quarter; yours does something else.",
                    ("found", f"error {coarse:.2e} with h = 0.1, {fine:.2e} with h = 0.05"))  # fmt: skip


def verdicts(module):
    """Right and wrong gradients of several sizes."""
    right, one_entry, with_zero = 3 * X**2, np.zeros(X.shape), X.copy()
    one_entry[2, 1], with_zero[1, 0] = 1, 0
    for what, loss, gradient, expected in (
        ("a right gradient", cubes, right, True),
        ("a right gradient, of a loss a billion times smaller,", small_cubes, 1e-9 * right, True),
        ("a gradient of which one entry is 1 % too large", cubes, right * (1 + 0.01 * one_entry), False),
        ("a gradient whose last entry is wrong", cubes, right + one_entry, False),
        ("a gradient whose first entry is wrong", cubes, right + one_entry[::-1, ::-1], False),
        (
            "a gradient with one entry that differs by three times what is allowed",
            cubes,
            right + 3 * ALLOWED * one_entry,
            False,
        ),
        ("a gradient with errors of opposite sign", cubes, right + np.array([[1, -1], [1, -1], [1, -1]]), False),
        ("a gradient half as large as the right one", cubes, right / 2, False),
        ("a gradient with the sign reversed", cubes, -right, False),
        ("a wrong gradient of a loss a billion times smaller", small_cubes, 2e-9 * right, False),
        ("a gradient with nan", cubes, np.where(one_entry > 0, np.nan, right), False),
        ("a gradient of zeros for a loss that is constant", lambda x: 1.0, np.zeros(X.shape), False),
    ):
        if passed(module, loss, X, gradient) != expected:
            raise Wrong(f"{what[0].upper()}{what[1:]} {'must pass' if expected else 'must not pass'}, and in your "
                        f"check it {'does not' if expected else 'does'}.",
                        ("expected", f"passes(...) = {expected}"),
                        ("found", f"passes(...) = {not expected}"))  # fmt: skip
    if not passed(module, cubes, with_zero, 3 * with_zero**2):
        raise Wrong("A right gradient with an entry that is 0 must pass, and in your check it does not: the difference "
                    "is measured against the largest entry of all, not against each one.",
                    ("expected", "passes(...) = True"), ("found", "passes(...) = False"))  # fmt: skip


def probe(module):
    """Gradients with a large and a small h, and the verdicts on wrong gradients."""
    right, one_entry, with_zero = 3 * X**2, np.zeros(X.shape), X.copy()
    one_entry[2, 1], with_zero[1, 0] = 1, 0
    cancelling = np.array([[1, -1], [1, -1], [1, -1]])
    wrong = (right * (1 + 0.01 * one_entry), right + one_entry, right + cancelling, right / 2, -right,
             right + one_entry[::-1, ::-1], right + 3 * ALLOWED * one_entry, right + np.nan * one_entry)  # fmt: skip
    found = [slope(module, cubes, X, 0.5), slope(module, cubes, X, 0.01)]
    found += [passed(module, cubes, X, gradient) for gradient in (right, *wrong)]
    found += [passed(module, small_cubes, X, scale * right) for scale in (1e-9, 2e-9)]
    found += [passed(module, cubes, with_zero, 3 * with_zero**2)]
    return [*found, passed(module, lambda x: 1.0, X, np.zeros(X.shape))]


CENTRAL = "gradient[index] = (loss(above) - loss(below)) / (2 * h)"
WORST = "np.max(np.abs(gradient - numerical)) <= TOLERANCE * largest"
EXERCISE = Exercise(
    title="a gradient check",
    hints=(
        "For L = x * x at x = 3 and h = 1, compute (L(x + h) - L(x)) / h and (L(x + h) - L(x - h)) / 2h. Which one is "
        "the slope, 6? And when would a wrong gradient get through your comparison?",
        "Change one entry of a copy of x at a time, up and down by h. For the verdict take the largest absolute "
        "difference over all entries, and measure it against the largest numerical entry, which must not be 0.",
        "above = x.copy(); above[index] += h; the same below with -=; gradient[index] = (loss(above) - loss(below)) / "
        "(2 * h). Passed: largest > 0 and np.max(np.abs(gradient - numerical)) <= TOLERANCE * largest.",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("half the h, a quarter of the error", second_order),
        Check("right and wrong gradients", verdicts),
    ),
    probe=probe,
    mistakes=(
        Mistake(
            "one-sided",
            "You take L(x + h) - L(x): one-sided differences, whose error is as large as h. Go both ways, up and down, "
            "and divide by 2h.",
            ((CENTRAL, "gradient[index] = (loss(above) - loss(x)) / h"),),
        ),
        Mistake(
            "one-sided, downwards",
            "You take L(x) - L(x - h): one-sided differences, whose error is as large as h. Go both ways and divide by "
            "2h.",
            ((CENTRAL, "gradient[index] = (loss(x) - loss(below)) / h"),),
        ),
        Mistake(
            "multiplied by h",
            "/ 2 * h divides by 2 and multiplies by h: Python goes from left to right. A bracket, / (2 * h).",
            ((CENTRAL, "gradient[index] = (loss(above) - loss(below)) / 2 * h"),),
        ),
        Mistake(
            "the same array above and below",
            "above and below are one array, so what was added is taken away again and the difference is 0. Each needs "
            "a copy of its own.",
            (("above, below = x.copy(), x.copy()", "above = below = x.copy()"),),
        ),
        Mistake(
            "divided by h",
            "The gradient is twice as large as it should be: x + h and x - h are 2h apart.",
            ((CENTRAL, "gradient[index] = (loss(above) - loss(below)) / h"),),
        ),
        Mistake(
            "all entries moved together",
            "All entries move at once, so each entry gets the sum of all slopes. Move one entry at a time.",
            (("above[index] += h", "above += h"), ("below[index] -= h", "below -= h")),
        ),
        Mistake(
            "h not divided away",
            "The difference of the losses is not divided by the distance 2h, so it shrinks with h.",
            ((CENTRAL, "gradient[index] = loss(above) - loss(below)"),),
        ),
        Mistake(
            "signed differences",
            "Differences of opposite sign cancel in your comparison: take their absolute value before the mean or "
            "maximum.",
            ((WORST, "abs(np.sum(gradient - numerical)) <= TOLERANCE * largest"),),
        ),
        Mistake(
            "signed maximum",
            "You take the maximum of the differences with their sign, so a gradient that is too small is "
            "accepted: np.abs first.",
            ((WORST, "np.max(gradient - numerical) <= TOLERANCE * largest"),),
        ),
        Mistake(
            "mean difference",
            "You compare the mean difference. One wrong entry among many right ones hides in it: take the largest.",
            ((WORST, "np.mean(np.abs(gradient - numerical)) <= TOLERANCE * largest"),),
        ),
        Mistake(
            "some entries are enough",
            "A gradient passes of which only some entries agree, with np.any or a median. All of them must: compare "
            "the largest difference.",
            ((WORST, "np.any(np.abs(gradient - numerical) <= TOLERANCE * largest)"),),
        ),
        Mistake(
            "np.allclose",
            "np.allclose has tolerances of its own: atol=1e-8 lets a gradient pass that is tiny and wrong, and two "
            "gradients of zeros agree. Measure against the largest entry, which must not be 0.",
            (("largest > 0 and " + WORST, "np.allclose(gradient, numerical)"),),
        ),
        Mistake(
            "np.allclose with rtol",
            "rtol is yours, and np.allclose adds atol=1e-8: tiny wrong gradients pass, and so do two gradients of "
            "zeros. Measure against the largest entry, which must not be 0.",
            (("largest > 0 and " + WORST, "np.allclose(gradient, numerical, rtol=TOLERANCE)"),),
        ),
        Mistake(
            "relative to each entry",
            "Each difference is measured against its own entry. Where the slope is 0 the rounding of the differences "
            "is infinitely large beside it: measure against the largest entry of all.",
            ((WORST, "np.max(np.abs(gradient - numerical) / np.abs(numerical)) <= TOLERANCE"),),
        ),
        Mistake(
            "equal to the last digit",
            "You ask for equal numbers. Central differences err by h * h and by rounding: allow for TOLERANCE.",
            ((WORST, "np.array_equal(gradient, numerical)"),),
        ),
        Mistake(
            "nan passes",
            "A gradient with nan passes: every comparison with nan is False, and `not (difference > limit)` is then "
            "True. Ask for difference <= limit.",
            ((WORST, "not np.max(np.abs(gradient - numerical)) > TOLERANCE * largest"),),
        ),
        Mistake(
            "absolute tolerance",
            "Your tolerance is an absolute number. Where gradients are tiny everything passes: measure the difference "
            "against the largest entry.",
            ((WORST, "np.max(np.abs(gradient - numerical)) <= TOLERANCE"),),
        ),
        Mistake(
            "zeros pass",
            "Two gradients of zeros pass: they agree, and nothing was checked. A layer that is cut off would look "
            "right.",
            (("largest > 0 and ", ""),),
        ),
        Mistake(
            "first entry only",
            "Only the first entry is compared; the wrong one may be any of them.",
            ((WORST, "np.abs(gradient - numerical).flat[0] <= TOLERANCE * largest"),),
        ),
        Mistake(
            "lengths compared",
            "You compare the lengths of the two gradients. One with the opposite sign has the same length: compare "
            "entry by entry.",
            ((WORST, "abs(np.linalg.norm(gradient) - np.linalg.norm(numerical)) <= TOLERANCE * largest"),),
        ),
    ),
    explanation="Central differences err by about h * h, and rounding adds about 1e-16 L / h: with h = 1e-5 both are "
    "near 1e-10 in float64. In float32 the check would have three digits, which is why every layer of this project is "
    "checked in float64 (tests/gradients.py). A check is worth what it finds: it must fail for wrong gradients.",
)  # fmt: skip
