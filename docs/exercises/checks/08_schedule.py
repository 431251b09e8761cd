"""Exercise 8: a schedule."""

import numpy as np

from checker.arrays import array, call, expect_equal, expect_shape
from checker.exercise import Check, Exercise, Mistake, Wrong


def rates(module, total, warmup, peak=1.0):
    """The learning rates of all steps."""
    found = [array(call(module, "learning_rate", step, total, warmup, peak), "rate") for step in range(1, total + 1)]
    for rate in found:
        expect_shape("rate", rate, (), "one number")
    return np.array(found)


def shape(module):
    """One number for each step."""
    rates(module, 5, 2)


def by_hand(module):
    """Seven steps, four of them warm-up."""
    expected = [0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25]
    expect_equal("the rates", rates(module, 7, 4), expected, "For T = 7 steps, W = 4 of them warm-up, and peak 1, the "
                 "rates are 1/4, 2/4, 3/4, 1, 3/4, 2/4, 1/4.")  # fmt: skip


def up_and_down(module):
    """It rises, then falls; no step has the rate 0, none exceeds the peak."""
    for total, warmup in ((100, 20), (50, 1), (10, 10)):
        found, where = rates(module, total, warmup, 0.4), f"With T = {total} and W = {warmup}"
        if np.argmax(found) + 1 != warmup or abs(found.max() - 0.4) > 1e-12:
            raise Wrong(f"{where} the largest rate must be the peak, 0.4, at step {warmup}.",
                        ("found", f"{found.max():.4g} at step {np.argmax(found) + 1}"))  # fmt: skip
        if found.min() <= 0:
            raise Wrong(f"{where} a step has the rate {found.min():.4g}: such a step changes no weight.",
                        ("found", f"{found.min():.4g} at step {np.argmin(found) + 1}"))  # fmt: skip
        corners = np.abs(np.diff(found, 2)) > 1e-9
        if corners.sum() > 1:
            raise Wrong(f"{where} the rates must lie on two straight lines that meet at step {warmup}.",
                        ("found", f"{corners.sum()} corners"))  # fmt: skip


def every_step(module):
    """Other numbers."""
    for total, warmup, peak in ((30, 7, 0.05), (12, 12, 2.0), (9, 1, 1.0)):
        steps = np.arange(1, total + 1)
        lines = np.minimum(steps / warmup, (total + 1 - steps) / (total + 1 - warmup))
        expect_equal("the rates", rates(module, total, warmup, peak), peak * lines, f"For T = {total}, W = {warmup} "
                     f"and peak {peak} not every rate is right.")  # fmt: skip


def probe(module):
    """Two schedules."""
    return [rates(module, 7, 4), rates(module, 30, 7, 0.05)]


RISING, FALLING = "rate = peak * step / warmup_steps", "(total_steps + 1 - step) / (total_steps + 1 - warmup_steps)"
EXERCISE = Exercise(
    title="a schedule",
    hints=(
        "Draw the curve for T = 7, W = 4 and peak 1: seven points. Which values has it at steps 1, 4 and 7, and at "
        "step 8, which does not happen any more?",
        "Rising: a fraction step / W of the peak. Falling: the fraction that is 1 at step W and 0 at step T + 1, a "
        "straight line between. Before W the first one counts, after W the second.",
        "if step <= warmup_steps: rate = peak * step / warmup_steps. Else: the number of steps left, "
        "total_steps + 1 - step, over the same number at step W, times peak.",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("up and down", up_and_down),
        Check("every step", every_step),
    ),
    probe=probe,
    mistakes=(
        Mistake(
            "steps counted from 0",
            "Your warm-up begins at 0, so the first step changes nothing: steps are counted from 1 here, and step 1 "
            "already has peak / W.",
            ((RISING, "rate = peak * (step - 1) / warmup_steps"),),
        ),
        Mistake(
            "0 at the last step",
            "The rate is 0 at the last step, which then changes no weight. It reaches 0 one step later, at T + 1.",
            ((FALLING, "(total_steps - step) / (total_steps - warmup_steps)"),),
        ),
        Mistake(
            "decay measured from step 0",
            "The decay is measured over all T steps and not over those after the warm-up, so the rate jumps at step W: "
            "divide by T + 1 - W.",
            ((FALLING, "(total_steps + 1 - step) / (total_steps + 1)"),),
        ),
        Mistake(
            "no decay",
            "After the warm-up the rate stays at the peak; it must fall, so that the weights settle down.",
            (("rate = peak * " + FALLING, "rate = peak"),),
        ),
        Mistake(
            "no warm-up",
            "There is no warm-up: steps 1 to W have the peak already. The first gradients of an untrained network are "
            "large and turn quickly.",
            ((RISING, "rate = peak"),),
        ),
        Mistake(
            "rising line during the decay",
            "After the warm-up your rate goes on to rise. Of the two lines the smaller one counts.",
            (("rate = peak * " + FALLING, "rate = peak * step / warmup_steps"),),
        ),
        Mistake(
            "peak twice",
            "The peak occurs twice, at step W and at W + 1: the denominator is one too small. The line falls from W to "
            "T + 1, which is T + 1 - W steps.",
            ((FALLING, "(total_steps + 1 - step) / (total_steps - warmup_steps)"),),
        ),
        Mistake(
            "falls from step 0 to 0 at the end",
            "Your decay is 1 - step / T: it begins at step 0, so the rate jumps behind step W, and the last step has "
            "the rate 0. The line goes from 1 at step W to 0 at T + 1.",
            ((FALLING, "(1 - step / total_steps)"),),
        ),
        Mistake(
            "product of the lines",
            "You multiply the two lines, so that the peak is never reached. One of them counts at a time, the smaller.",
            (("    if step <= warmup_steps:\n        " + RISING + "\n    else:\n        rate = peak * " + FALLING,
              "    rate = peak * min(step / warmup_steps, 1) * (total_steps + 1 - step) / total_steps"),),
        ),
        Mistake(
            "whole numbers",
            "step // warmup_steps is a whole number, 0 in the whole warm-up: divide with a single /.",
            ((RISING, "rate = peak * (step // warmup_steps)"),),
        ),
        Mistake(
            "peak forgotten",
            "The shape is right, and its height is always 1: multiply by peak.",
            ((RISING, "rate = step / warmup_steps"), ("rate = peak * " + FALLING, "rate = " + FALLING)),
        ),
        Mistake(
            "one step ahead",
            "Your warm-up is one step ahead: step 1 has 2 / W, and step W more than the peak. Step 1 is the first.",
            ((RISING, "rate = peak * (step + 1) / warmup_steps"),),
        ),
        Mistake(
            "cosine",
            "Your decay is half a cosine. Many recipes use one; asked for is a straight line.",
            (("rate = peak * " + FALLING,
              "import math\n\n        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / "
              "(total_steps + 1 - warmup_steps))) / 2"),),
        ),
        Mistake(
            "warm-up counted twice",
            "The decay subtracts the warm-up from the steps that are left, so the rate falls too early and ends below "
            "0: the steps left are T + 1 - step.",
            ((FALLING, "(total_steps + 1 - warmup_steps - step) / (total_steps + 1 - warmup_steps)"),),
        ),
    ),
    explanation="A pure function of the step: resuming at step 1234 needs no state. Warm-up, because the first "
    "gradients of an untrained network are large and turn quickly; decay, because the noise of the batches makes the "
    "weights fluctuate in proportion to the rate. The two counting mistakes, 0 at the first step and 0 at the last, "
    "waste a step each. core/schedules.py is the same curve.",
)  # fmt: skip
