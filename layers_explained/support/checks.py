"""The three proofs of a layer: rung equals rung, gradient equals finite differences, Taylor's slope is 2.

NumPy only. A `point` is a dict of float64 arrays by name, {"x": ..., "k": ..., "b": ...}; a `loss`
takes those names and returns one number; `gradients` is a dict with the same names and shapes.
"""

import time
from dataclasses import dataclass

import numpy as np

from layers_explained.support import walkthrough

RUNGS_AGREE = 1e-10  # between two rungs, in float64, for numbers of size 1 to 100
SMOOTH = 1e-7  # relative error of a gradient away from kinks
STEP = 1e-4  # of the central differences: they err by about STEP^2, and rounding adds about 1e-16 L / STEP


def climb(rungs, names: tuple[str, ...], bound: float = RUNGS_AGREE) -> None:
    """Run every rung on the same numbers; print what it costs and how far it is from the rung before.

    rungs yields ("loops", function), ..., the slowest first; a function takes nothing and returns
    one array for each of `names`. Raises Problem at the first rung farther than `bound` from the last.
    """
    machine = "" if walkthrough.reading_version else f"{'milliseconds':>15}{'times faster':>15}"
    print(f"   {'rung':<27}{machine}   largest difference to the rung before")
    before = slowest = None
    for number, (rung, function) in enumerate(rungs, start=1):
        results, seconds = timed(function)
        slowest = slowest or seconds
        times = slowest / seconds
        faster = f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
        machine = "" if walkthrough.reading_version else f"{1000 * seconds:15.2f}{faster:>15}"
        gaps = {} if before is None else dict(zip(names, map(largest_difference, results, before)))
        worst = max(gaps.values(), default=0.0)
        shown = walkthrough.measured(f"{worst:.1e}", promise=f"below {bound:.0e}") if gaps else ""
        print(f"   {number}  {rung:<24}{machine}   {shown}".rstrip(), flush=True)
        wrong = [name for name, gap in gaps.items() if not gap <= bound]
        if wrong:
            raise walkthrough.Problem(
                f"rung {number} ({rung}) and rung {number - 1} differ by {worst:.1e} in {', '.join(wrong)}; expected "
                f"at most {bound:.0e}: one of the two was changed and computes something else"
            )
        before = results


def timed(function, budget: float = 0.2):
    """(what the function returns, median seconds a call). The first call, which may compile, is not counted."""
    results, times = function(), []
    while not times or (sum(times) < budget and len(times) < 100):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return results, float(np.median(times))


def largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    """max |a - b|; infinite when the shapes differ or something is not a number."""
    if np.shape(a) != np.shape(b):
        return np.inf
    difference = float(np.max(np.abs(np.subtract(a, b)), initial=0.0))
    return np.inf if np.isnan(difference) else difference


def numerical_gradient(loss, point: dict, name: str, step: float = STEP) -> np.ndarray:
    """dL/da ~ (L(a + h) - L(a - h)) / 2h for every entry a of point[name]: central differences."""
    gradient = np.zeros_like(point[name])
    for index in np.ndindex(gradient.shape):
        values = []
        for move in (step, -step):
            moved = point[name].copy()
            moved[index] += move
            values.append(loss(**{**point, name: moved}))
        gradient[index] = (values[0] - values[1]) / (2 * step)
    return gradient


def relative_error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b| / max(|a|, |b|, m/100) for every entry, m the largest |entry| of both; 0 where all is 0.

    Why m/100: near an entry that is zero, rounding alone would count as an error of 100 %.
    """
    size = np.maximum(np.abs(a), np.abs(b))
    return np.abs(a - b) / np.maximum(np.maximum(size, np.max(size, initial=0.0) / 100), np.finfo(float).tiny)


@dataclass(frozen=True)
class GradientCheck:
    """One gradient against its finite differences."""

    name: str
    entries: int
    largest: float  # |entry|: a gradient of nothing but zeros proves nothing
    error: float  # the worst relative error
    where: tuple[int, ...]  # the entry it was found at
    bound: float

    @property
    def holds(self) -> bool:
        """Is every entry right, and is there anything to be right about?"""
        return self.largest > 0 and self.error <= self.bound


def check_gradients(loss, point: dict, gradients: dict, bound: float = SMOOTH) -> list[GradientCheck]:
    """Compare every entry of every gradient with central differences of the loss."""
    checks = []
    for name, gradient in gradients.items():
        errors = relative_error(np.asarray(gradient), numerical_gradient(loss, point, name))
        where = tuple(int(i) for i in np.unravel_index(np.argmax(errors), errors.shape))
        largest, error = float(np.max(np.abs(gradient))), float(np.max(errors))
        checks.append(GradientCheck(name, errors.size, largest, np.inf if np.isnan(error) else error, where, bound))
    return checks


def prove_gradients(loss, point: dict, gradients: dict, bound: float = SMOOTH) -> None:
    """check_gradients as a printed table. Raises Problem when one does not hold."""
    checks = check_gradients(loss, point, gradients, bound)
    print("   gradient   entries   largest entry   worst relative error")
    for check in checks:
        error = walkthrough.measured(f"{check.error:.1e}", promise=f"below {bound:.0e}")
        print(f"   dL/d{check.name:<5}{check.entries:9,}{check.largest:16.3f}   {error}", flush=True)
    for check in checks:
        if check.largest == 0:
            raise walkthrough.Problem(f"dL/d{check.name} is zero everywhere: nothing is proved; choose other numbers")
        if not check.holds:
            raise walkthrough.Problem(
                f"dL/d{check.name}{list(check.where)} is off by {check.error:.1e} of its size, expected at most "
                f"{bound:.0e}: the backward pass does not belong to this forward pass"
            )


def taylor(loss, point: dict, gradients: dict, seed: int = 0) -> tuple[np.ndarray, np.ndarray, float]:
    """(steps e, errors |L(p + e d) - L(p) - e g.d|, slope of log error over log e), d a random unit direction.

    What the linear prediction leaves over is of second order, so with the right g the slope is 2;
    with a wrong one the error shrinks no faster than the step: slope 1.
    """
    random = np.random.default_rng(seed)
    direction = {name: random.standard_normal(value.shape) for name, value in point.items()}
    length = np.sqrt(sum(np.sum(d**2) for d in direction.values()))
    predicted = sum(np.sum(gradients[name] * direction[name]) for name in point) / length
    steps, here = 0.01 / 2.0 ** np.arange(5), loss(**point)
    errors = np.array([
        abs(loss(**{name: point[name] + e * direction[name] / length for name in point}) - here - e * predicted)
        for e in steps
    ])  # fmt: skip
    slope = np.polyfit(np.log(steps), np.log(np.maximum(errors, np.finfo(float).tiny)), 1)[0]
    return steps, errors, float(slope)


def prove_taylor(loss, point: dict, gradients: dict, tolerance: float = 0.05) -> None:
    """taylor() as a printed table. Raises Problem unless the slope is 2."""
    steps, errors, slope = taylor(loss, point, gradients)
    print("   step        error of the linear prediction")
    for step, error in zip(steps, errors):
        print(f"   {step:.6f}    {error:.3e}")
    print(f"   slope {slope:.2f}: half the step, a quarter of the error")
    if not abs(slope - 2) <= tolerance:
        raise walkthrough.Problem(f"the Taylor slope is {slope:.2f}, expected 2.00: the gradient is not that of this loss")


def print_mistakes(right: np.ndarray, mistakes: dict) -> None:
    """A table of wrong layers: how far their output is from the right one, and what a gradient check says.

    mistakes: {"padding off by one": (y, loss, point, gradients), ...}.
    """
    width = max(map(len, mistakes))
    print(f"   {'mistake':{width}}   output against rung 1   gradient check")
    for name, (y, *case) in mistakes.items():
        gap = largest_difference(y, right)
        output = f"off by {gap:.2f}" if gap > RUNGS_AGREE else "equal"
        wrong = [
            f"dL/d{check.name} " + (f"off by {check.error:.0%}" if check.largest else "zero")
            for check in check_gradients(*case)
            if not check.holds
        ]
        if len(wrong) > 3:  # a line is read at a glance, or not at all
            wrong[2:] = [f"and {len(wrong) - 2} more"]
        print(f"   {name:{width}}   {output:21}   {', '.join(wrong) or 'passes'}", flush=True)
