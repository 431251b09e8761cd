"""Optimization: from a gradient to an update. Gradient descent, momentum and Adam on a bowl and in a ravine.

    L(w) = 1/2 (c[0] w[0]^2 + c[1] w[1]^2)      g = c w      c [2] the curvatures: equal in a bowl, unequal in a ravine

    gradient descent    w <- w - rate g
    momentum            v <- mu v + g,  w <- w - rate (g + mu v)                 Nesterov's, in PyTorch's form
    Adam                m <- b1 m + (1 - b1) g,  s <- b2 s + (1 - b2) g^2,
                        w <- w - rate m^ / (sqrt(s^) + eps),  m^ = m / (1 - b1^t),  s^ = s / (1 - b2^t)
    schedule            rate(t): rises linearly to its peak, then falls linearly

With a constant rate, gradient descent multiplies w[i] by 1 - rate c[i] at each step: it converges if rate < 2 / max c,
and needs a multiple of max c / min c steps (the condition number). Why it matters in training: a network's loss has
ravines, and the rate and its schedule decide more than most other settings.

Change a constant below and run the file again: python layers_explained/optimization.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support.constants import check_numbers, check_sizes
from layers_explained.support.figures import optimization as figures
from layers_explained.support.printing import number
from layers_explained.support.trajectory import Trajectory, walk_with_tape
from layers_explained.support.walkthrough import Walkthrough

BOWL, RAVINE = (1.0, 1.0), (1.0, 25.0)  # curvatures c
START = (-4.0, 1.5)
STEPS, WARMUP, FINAL = 60, 0.1, 0.0  # the schedule: fraction of the steps that rise, end as a fraction of the peak
RATES = {"gradient descent": 0.06, "momentum": 0.03, "Adam": 0.4}  # peaks
MOMENTUM, BETA1, BETA2, EPSILON = 0.9, 0.9, 0.999, 1e-7  # mu, b1, b2, eps

# By hand: one weight, L = 1/2 c w^2.
HAND_CURVATURE, HAND_START, HAND_RATE, HAND_MOMENTUM = 2, 4, 0.25, 0.5


def schedule(peak):
    """The learning rate of every step t = 1 ... T: [T]."""
    t, rising = np.arange(1, STEPS + 1), max(round(WARMUP * STEPS), 1)
    falling = FINAL + (1 - FINAL) * (STEPS + 1 - t) / (STEPS - rising + 1)
    return peak * np.minimum(np.minimum(t / rising, falling), 1)


def sgd_loops(start, curvature, rates, momentum):
    """Implementation 1: one weight after the other. momentum 0 is plain gradient descent."""
    w, v, visited = list(start), [0.0, 0.0], [list(start)]
    for rate in rates:
        for i in range(2):
            g = curvature[i] * w[i]
            v[i] = momentum * v[i] + g
            w[i] -= rate * (g + momentum * v[i])
        visited.append(list(w))
    return np.array(visited)


def adam_loops(start, curvature, rates):
    """Implementation 1 of Adam."""
    w, m, s, visited = list(start), [0.0, 0.0], [0.0, 0.0], [list(start)]
    for t, rate in enumerate(rates, start=1):
        for i in range(2):
            g = curvature[i] * w[i]
            m[i] = BETA1 * m[i] + (1 - BETA1) * g
            s[i] = BETA2 * s[i] + (1 - BETA2) * g**2
            w[i] -= rate * m[i] / (1 - BETA1**t) / ((s[i] / (1 - BETA2**t)) ** 0.5 + EPSILON)
        visited.append(list(w))
    return np.array(visited)


def sgd_numpy(start, curvature, rates, momentum, nesterov=True):
    """Implementation 2: both weights at once."""
    visited, v = [np.array(start)], np.zeros(2)
    for rate in rates:
        g = curvature * visited[-1]
        v = momentum * v + g
        visited.append(visited[-1] - rate * (g + momentum * v if nesterov else v))
    return np.array(visited)


def adam_numpy(start, curvature, rates, corrected=True, time=lambda t: t):
    """Implementation 2 of Adam. corrected, time: for the mistakes."""
    visited, m, s = [np.array(start)], np.zeros(2), np.zeros(2)
    for t, rate in enumerate(rates, start=1):
        g = curvature * visited[-1]
        m, s = BETA1 * m + (1 - BETA1) * g, BETA2 * s + (1 - BETA2) * g**2
        one, two = (1 - BETA1 ** time(t), 1 - BETA2 ** time(t)) if corrected else (1, 1)
        visited.append(visited[-1] - rate * (m / one) / (np.sqrt(s / two) + EPSILON))
    return np.array(visited)


def sgd_tensorflow(start, curvature, rates, momentum):
    """Implementation 3: gradients by the tape, updates by core.optimizers.sgd_update."""
    return walk_with_tape(start, curvature, rates, lambda core, w, g, t, rate, v, _: (
        *core.sgd_update(w, g, v, rate, momentum, 0.0), v))  # fmt: skip


def adam_tensorflow(start, curvature, rates):
    """Implementation 3: gradients by the tape, updates by core.optimizers.adam_update."""
    return walk_with_tape(start, curvature, rates, lambda core, w, g, t, rate, m, s: core.adam_update(
        w, g, m, s, t, rate, BETA1, BETA2, EPSILON, 0.0))  # fmt: skip


def case(title):
    """The start, the curvatures of the ravine, and the rates. Raises Problem for impossible constants."""
    check_sizes(globals(), "STEPS")
    check_numbers(globals(), WARMUP=(0, 1), FINAL=(0, 1.0001), MOMENTUM=(0, 1), BETA1=(0, 1), BETA2=(0, 1))
    return np.array(START), np.array(RAVINE), schedule(RATES[title])


def powers(start, curvature, rates):
    """Gradient descent in closed form: w[t] = w[0] times the product of (1 - rate c)."""
    return start * np.vstack([np.ones(2), np.cumprod(1 - np.outer(rates, curvature), axis=0)])


def definition():
    """Print the condition numbers, and the largest rates."""
    for name, curvature in (("bowl", BOWL), ("ravine", RAVINE)):
        print(f"   {name}: c = {curvature}, condition number {number(max(curvature) / min(curvature))}; gradient "
              f"descent converges for a constant rate below 2 / max c = {number(2 / max(curvature))}")  # fmt: skip
    print(f"   schedule: {max(round(WARMUP * STEPS), 1)} of {STEPS} steps rise to the peak")


def by_hand():
    """Print three steps of each rule on one weight."""
    print(f"   L = 1/2 c w^2, c = {HAND_CURVATURE}, w = {HAND_START}, rate {HAND_RATE}\n")
    w, v, u, m, s, a = HAND_START, 0.0, HAND_START, 0.0, 0.0, HAND_START
    print("   step   gradient descent: g, w     momentum: g, v, w              Adam: g, update, w")
    for t in range(1, 4):
        g, gu, ga = HAND_CURVATURE * w, HAND_CURVATURE * u, HAND_CURVATURE * a
        w -= HAND_RATE * g
        v = HAND_MOMENTUM * v + gu
        u -= HAND_RATE * (gu + HAND_MOMENTUM * v)
        m, s = BETA1 * m + (1 - BETA1) * ga, BETA2 * s + (1 - BETA2) * ga**2
        d = -HAND_RATE * m / (1 - BETA1**t) / ((s / (1 - BETA2**t)) ** 0.5 + EPSILON)
        a += d
        cells = [number(x) for x in (g, w, gu, v, u, ga, d, a)]
        print(f"   {t:4}   " + "{:>10}{:>10}       {:>8}{:>10}{:>10}     {:>8}{:>10}{:>10}".format(*cells))
    print(f"\n   Gradient descent multiplies w by 1 - rate c = {number(1 - HAND_RATE * HAND_CURVATURE)} at every step.")
    print("   Adam's first update is the rate, whatever the size of the gradient: only its sign counts.")


WALKS = {"gradient descent": lambda *c: sgd_numpy(*c, 0.0), "momentum": lambda *c: sgd_numpy(*c, MOMENTUM),
         "Adam": adam_numpy}  # fmt: skip
COMPARISONS = tuple(
    Trajectory(title, lambda title=title: case(title), loops, WALKS[title], tensorflow,
               lambda title=title: (RATES[title], STEPS, WARMUP, FINAL), core, mistakes, closed_form=closed_form)
    for title, loops, tensorflow, core, mistakes, closed_form in (
        ("gradient descent", lambda *c: sgd_loops(*c, 0.0), lambda *c: sgd_tensorflow(*c, 0.0),
         lambda core, w: core.SGD([w], 0.0),
         {"sign wrong, w + rate g": lambda start, c, rates: sgd_numpy(start, c, -rates, 0.0)}, powers),
        ("momentum", lambda *c: sgd_loops(*c, MOMENTUM), lambda *c: sgd_tensorflow(*c, MOMENTUM),
         lambda core, w: core.SGD([w], MOMENTUM),
         {"heavy ball instead of Nesterov": lambda *c: sgd_numpy(*c, MOMENTUM, nesterov=False),
          "rate four times as large": lambda start, c, rates: sgd_numpy(start, c, 4 * rates, MOMENTUM)}, None),
        ("Adam", adam_loops, adam_tensorflow, lambda core, w: core.Adam([w], BETA1, BETA2, EPSILON),
         {"no bias correction": lambda *c: adam_numpy(*c, corrected=False),
          "t frozen at 1": lambda *c: adam_numpy(*c, time=lambda t: 1)}, None),
    )
)  # fmt: skip
WALKTHROUGH = Walkthrough(
    globals(), definition, by_hand, COMPARISONS,
    lambda: figures.bowl_and_ravine(WALKS, schedule, np.array(START), np.array(BOWL), np.array(RAVINE), RATES),
    figures.on_your_network, layer_classes=("Dense",),
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(WALKTHROUGH.main())
