"""Exercise 15: the learner's tests, scored by the planted bugs that they catch. Most are the mistakes of 1 and 4."""

import functools

import numpy as np

from checker import catalogue
from checker.exercise import Check, Exercise, Mistake, Wrong, changed

TESTS = {"test_convolve": ("1", "convolve"), "test_loss": ("4", "softmax_cross_entropy")}
MORE_BUGS = {
    "test_convolve": (
        Mistake("kernel transposed", "", (("patch * k[..., o]", "patch * k[..., o].transpose(1, 0, 2)"),)),
        Mistake("stride in rows only", "", (("top, left = stride * i, stride * j", "top, left = stride * i, j"),)),
    ),
    "test_loss": (),
}
# The twenty bugs, and what a test needs that accepts one.
NEEDS = {
    "kernel flipped": "a kernel that is another one when it is turned around",
    "bias forgotten": "a bias that is not 0",
    "bias in every product": "a bias that is not 0",
    "first channel only": "at least two channels, both with numbers in them",
    "window not moved by the stride": "a stride of 2, and values checked there",
    "one position too few": "the shape of y, or its last entry",
    "mean instead of sum": "a kernel with several weights, and values checked",
    "kernel transposed": "a kernel whose rows are not its columns",
    "stride in rows only": "a stride of 2 with several columns, and values checked there",
    "gradient not divided by N": "at least two images, and dz checked",
    "sum instead of mean": "at least two images",
    "largest logit not subtracted": "a logit of 1000",
    "softmax over the images": "two images with different logits",
    "onehot forgotten": "dz checked at the true class",
    "sign of the gradient": "dz checked, with its sign",
    "derivative of the log alone": "dz checked at a class that is not the true one",
    "divided by N K": "dz checked, with its size",
    "minus forgotten": "the loss checked, with its sign",
    "probability instead of its log": "the loss checked against a number you know",
    "logarithm to base 2": "the loss checked against a number in nats",
}


@functools.cache
def implementations(test: str) -> dict:
    """{name of the bug: the function with it}; "" names the right one."""
    number, function = TESTS[test]
    entry = catalogue.find(number)
    found = {"": entry.solution}
    for bug in (*entry.exercise.mistakes, *MORE_BUGS[test]):
        if bug.name in NEEDS:
            found[bug.name] = changed(entry.solution, bug.changes)
    return {name: getattr(catalogue.module(text, entry.answer), function) for name, text in found.items()}


def run(module, test: str, function) -> BaseException | None:
    """What the learner's test raises for this implementation; None when it accepts it."""
    own = getattr(module, test, None)
    if not callable(own):
        raise Wrong(f"The file has no function {test}; the checker calls it by this name.")
    try:
        with np.errstate(all="ignore"):
            own(function)
    except Exception as error:
        return error
    return None


def caught(module, test: str) -> dict[str, bool]:
    """{bug: is it caught}."""
    return {name: run(module, test, function) is not None for name, function in implementations(test).items() if name}


def right_ones(module):
    """Both tests accept the right implementations."""
    for test in TESTS:
        error = run(module, test, implementations(test)[""])
        if isinstance(error, AssertionError):
            line = error.__traceback__.tb_next.tb_lineno
            raise Wrong(f"{test} rejects the right implementation, at line {line}: what is asserted there is not so. "
                        "Compute the number again, and compare floats with np.isclose or np.allclose.",
                        ("found", f"the assert in line {line} fails"))  # fmt: skip
        if error is not None:
            raise error


def something(module):
    """Each test catches at least one bug."""
    for test in TESTS:
        if not any(caught(module, test).values()):
            raise Wrong(f"{test} accepts every one of {len(caught(module, test))} wrong implementations: it needs an "
                        "assert about what it computed.", ("score", "0 bugs caught"))  # fmt: skip


def every_bug(test: str, module):
    """All bugs of one function are caught; else what the test needs for the first one that it accepts."""
    found = caught(module, test)
    missed = [bug for bug, is_caught in found.items() if not is_caught]
    if missed:
        raise Wrong(f"{test} catches {len(found) - len(missed)} of {len(found)} bugs. For one that it accepts it needs "
                    f"{NEEDS[missed[0]]}.", ("score", score(module)))  # fmt: skip


def score(module) -> str:
    """How many bugs the two tests catch."""
    counts = [list(caught(module, test).values()) for test in TESTS]
    return f"{sum(map(sum, counts))} of {sum(map(len, counts))} bugs caught"


def probe(module):
    """Which implementations each test rejects, the right one first."""
    return [np.array([run(module, test, f) is not None for f in implementations(test).values()]) for test in TESTS]


VALUES, SHAPE = "    assert np.allclose(y[0, :, :, 0], [[54, 8], [-1, 4]])\n", "    assert y.shape == (1, 2, 2, 1)\n"
STRIDED = "    assert np.allclose(convolve(x, np.ones((1, 1, 1, 1)), np.zeros(1), 2), x[:, ::2, ::2])\n"
LOSS = "    assert np.isclose(loss, (np.log(4 / 3) + np.log(2)) / 2)\n"
GRADIENT = "    assert np.allclose(dz, [[-1 / 8, 1 / 8], [1 / 4, -1 / 4]])\n"
LARGE = "    assert np.isclose(loss, 1000)\n"
SECOND_CHANNEL = "    x[0, 0, 0, 1], k[0, 0, 1, 0] = 5, 10\n"
EXERCISE = Exercise(
    title="write tests that catch bugs",
    hints=(
        "Which mistakes did you make in exercises 1 and 4, or nearly? Think of one, and of an input for which the "
        "right and the wrong function give different results. What do zeros, ones and symmetric kernels hide?",
        "One small case by hand is worth much: a kernel of four different weights, a bias, two channels, stride 2; "
        "two images with different logits, a gradient with its sign and size, a logit of 1000. Assert values, not "
        "shapes alone.",
        "y of the case in exercise 1 is [[4, 8], [-1, 4]]: assert np.allclose(y[0, :, :, 0], ...). A 1x1 kernel of 1 "
        "with stride 2 gives x[:, ::2, ::2]. For z = [[log 3, 0], [0, 0]], labels [0, 1]: dz = [[-1/8, 1/8], [1/4, "
        "-1/4]].",
    ),
    checks=(
        Check("the right ones are accepted", right_ones),
        Check("each test rejects something", something),
        Check("bugs in convolve", functools.partial(every_bug, "test_convolve")),
        Check("bugs in the loss", functools.partial(every_bug, "test_loss")),
    ),
    probe=probe,
    passed=lambda module: f"all of its checks pass, {score(module)}",
    mistakes=(
        Mistake(
            "no assert",
            "Your tests accept every wrong implementation: they compare nothing, or something that holds for any "
            "result. A test rejects by assert, with a value that you know.",
            ((SHAPE, ""), (VALUES, ""), (STRIDED, ""), (LOSS, ""), (GRADIENT, ""), (LARGE, "")),
        ),
        Mistake(
            "shapes only",
            "Your tests compare shapes. Nearly every bug gives a result of the right shape: compare values that you "
            "know.",
            ((VALUES, ""), (STRIDED, ""), (LOSS, "    assert np.shape(loss) == ()\n"),
             (GRADIENT, "    assert dz.shape == z.shape\n"), (LARGE, "")),
        ),
        Mistake(
            "ones everywhere",
            "All your kernels are symmetric or all ones: turned around and transposed they are the same. Choose "
            "weights that are all different.",
            (("[[1, 0], [-1, 2]]", "[[1, 1], [1, 1]]"), ("[[54, 8], [-1, 4]]", "[[55, 7], [4, 6]]")),
        ),
        Mistake(
            "stride 1 only",
            "Your convolutions all have stride 1, or their values with stride 2 are not compared: bugs of the stride "
            "stay hidden.",
            ((STRIDED, ""),),
        ),
        Mistake(
            "bias 0",
            "The bias is 0 in your test of convolve, so it does not matter whether it is added, and how often.",
            (("np.array([1.0]), 1)", "np.array([0.0]), 1)"), ("[[54, 8], [-1, 4]]", "[[53, 7], [-2, 3]]")),
        ),
        Mistake(
            "one channel",
            "Your images have one channel, or one with numbers in it. A bug that drops the other channels stays "
            "hidden.",
            ((SECOND_CHANNEL, ""), ("[[54, 8], [-1, 4]]", "[[4, 8], [-1, 4]]")),
        ),
        Mistake(
            "one image in the loss",
            "Your test of the loss has one image. Mean and sum, 1/N or not, are the same for it: take two.",
            (("np.array([[np.log(3), 0], [0, 0]]), np.array([0, 1])", "np.array([[np.log(3), 0]]), np.array([0])"),
             (LOSS, "    assert np.isclose(loss, np.log(4 / 3))\n"),
             (GRADIENT, "    assert np.allclose(dz, [[-1 / 4, 1 / 4]])\n")),
        ),
        Mistake(
            "small logits only",
            "Your logits are all small, so that exp never overflows. Try one of 1000: the loss is a number you know.",
            ((LARGE, ""),),
        ),
        Mistake(
            "gradient not compared",
            "Your test of the loss does not compare dz, and half of the bugs are in it.",
            ((GRADIENT, ""),),
        ),
        Mistake(
            "exact comparison of floats",
            "A test of yours rejects the right implementation, because it compares floats exactly or with too few "
            "digits: np.isclose and np.allclose allow for rounding.",
            ((LOSS, "    assert loss == 0.4904\n"),),
        ),
    ),
    explanation="A test is worth what it rejects. One small case with numbers that are all different catches most "
    "bugs; the rest needs the cases that people forget: a stride of 2, two images, a logit of 1000. This project "
    "plants bugs in its own checks in the same way: the section on typical mistakes of every walkthrough in "
    "layers_explained.",
)  # fmt: skip
