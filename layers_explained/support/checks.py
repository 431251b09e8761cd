"""The checks of a layer: implementations agree, gradients equal finite differences, Taylor's slope is 2.

NumPy only. A `point` is a dict of float64 arrays by name, {"x": ..., "k": ..., "b": ...}; a `loss`
takes those names and returns one number; `gradients` is a dict with the same names and shapes.
"""

import time
from dataclasses import dataclass

import numpy as np

from layers_explained.support import printing
from layers_explained.support.constants import Problem

AGREEMENT = 1e-10  # between two implementations, in float64, for numbers of size 1 to 100
SMOOTH = 1e-7  # relative error of a gradient away from kinks
STEP = 1e-4  # of the central differences: they err by about STEP^2, and rounding adds about 1e-16 L / STEP


def compare_implementations(implementations, names: tuple[str, ...], bound: float = AGREEMENT, cause: str = "") -> None:
    """Run every implementation on the same numbers; print its time and its distance from the one before.

    implementations yields ("loops", function), ..., the slowest first; a function takes nothing and returns
    one array for each of `names`. Raises Problem at the first one farther than `bound` from the last, where numbers
    are larger than 1 farther than that part of the largest; the message ends with the `cause`, if one is known.
    """
    machine = "" if printing.reading_version else f"{'milliseconds':>15}{'times faster':>15}"
    print(f"   {'implementation':<27}{machine}   largest difference from the one before")
    before = slowest = None
    for count, (title, function) in enumerate(implementations, start=1):
        results, seconds = timed(function)
        slowest = slowest or seconds
        times = slowest / seconds
        faster = f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
        machine = "" if printing.reading_version else f"{1000 * seconds:15.2f}{faster:>15}"
        gaps = {} if before is None else dict(zip(names, map(largest_difference, results, before)))
        worst = max(gaps.values(), default=0.0)
        promise = f"below {bound:.0e}" if bound else "0: the same bits"
        shown = printing.measured(f"{worst:.1e}", promise) if gaps else ""
        print(f"   {count}  {title:<24}{machine}   {shown}".rstrip(), flush=True)
        sizes = {name: np.max(np.abs(result), initial=1) for name, result in zip(names, results)}
        wrong = [name for name, gap in gaps.items() if not gap / sizes[name] <= bound]
        if wrong:
            raise Problem(
                f"implementation {count} ({title}) and implementation {count - 1} differ by {worst:.1e} in "
                f"{', '.join(wrong)}; expected at most {bound:.0e} of the largest number: "
                f"{cause or 'one of the two was changed'}"
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
    largest: float  # |entry|: a comparison of zeros with zeros checks nothing
    error: float  # the worst relative error; infinite when the shape is wrong
    where: tuple[int, ...]  # the entry it was found at
    bound: float
    shape: tuple[int, ...] = ()  # of the gradient, where it is not that of what it belongs to

    @property
    def passes(self) -> bool:
        """Is every entry right, and is at least one of them not zero?"""
        return self.largest > 0 and self.error <= self.bound

    @property
    def finding(self) -> str:
        """What is wrong, in a few words; "" if nothing is."""
        if self.passes:
            return ""
        if self.shape:
            return f"dL/d{self.name} has shape {list(self.shape)}"
        if not np.isfinite(self.error):
            return f"dL/d{self.name} not a number"
        return f"dL/d{self.name} " + (f"off by {self.error:.0%}" if self.largest else "zero")


def check_gradients(loss, point: dict, gradients: dict, bound: float = SMOOTH) -> list[GradientCheck]:
    """Compare every entry of every gradient with central differences of the loss."""
    found = []
    for name, gradient in gradients.items():
        gradient = np.asarray(gradient, float)
        largest = float(np.max(np.abs(gradient)))
        if gradient.shape != point[name].shape:
            found.append(GradientCheck(name, gradient.size, largest, np.inf, (), bound, gradient.shape))
            continue
        errors = relative_error(gradient, numerical_gradient(loss, point, name))
        where = tuple(int(i) for i in np.unravel_index(np.argmax(errors), errors.shape))
        error = float(np.max(errors))
        found.append(GradientCheck(name, errors.size, largest, np.inf if np.isnan(error) else error, where, bound))
    return found


def gradient_check(loss, point: dict, gradients: dict, bound: float = SMOOTH) -> None:
    """check_gradients as a printed table. Raises Problem when one does not pass."""
    found = check_gradients(loss, point, gradients, bound)
    print("   gradient   entries   largest entry   worst relative error")
    for check in found:
        error = printing.measured(f"{check.error:.1e}", promise=f"below {bound:.0e}")
        print(f"   dL/d{check.name:<5}{check.entries:9,}{check.largest:16.3f}   {error}", flush=True)
    for check in found:
        if check.largest == 0:
            raise Problem(f"dL/d{check.name} is zero everywhere: nothing is checked; choose other numbers")
        if not check.passes:
            raise Problem(
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


def taylor_check(loss, point: dict, gradients: dict, tolerance: float = 0.05) -> None:
    """taylor() as a printed table. Raises Problem unless the slope is 2."""
    steps, errors, slope = taylor(loss, point, gradients)
    print("   step        error of the linear prediction")
    for step, error in zip(steps, errors):
        print(f"   {step:.6f}    {error:.3e}")
    print(f"   slope {slope:.2f}; of a right gradient 2: half the step, a quarter of the error")
    if not abs(slope - 2) <= tolerance:
        raise Problem(f"the Taylor slope is {slope:.2f}, expected 2.00: the gradient is not that of this loss")
