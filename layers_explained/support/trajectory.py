"""An optimizer in four implementations: the weights it visits on a quadratic loss, L(w) = 1/2 sum of c[i] w[i]^2."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from layers_explained.support import checks, printing
from layers_explained.support.comparison import import_tensorflow
from layers_explained.support.constants import Problem

DIVERGED = 1000  # times the first loss: more than an optimizer that overshoots once


def quadratic(w, curvature):
    """L(w) = 1/2 sum of c[i] w[i]^2; its gradient is c w, its minimum 0 at w = 0.  w [...,2] -> [...]."""
    return np.sum(curvature * np.square(w), axis=-1) / 2


@dataclass(frozen=True)
class Trajectory:
    """One optimizer, implemented four times: (start [2], curvature [2], rates [T]) -> the weights visited [T+1,2]."""

    title: str
    case: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]  # -> start, curvature, rates
    loops: Callable
    numpy: Callable
    tensorflow: Callable
    schedule: Callable[[], tuple]  # -> peak, steps, warmup, final of core.schedules
    optimizer: Callable  # (core.optimizers, w) -> the optimizer of core/ for the variable w
    mistakes: dict[str, Callable] = field(default_factory=dict)
    agreement: float = 1e-5  # core/schedules.py computes the learning rate in float32
    closed_form: Callable | None = None  # (start, curvature, rates) -> the weights visited, without a loop

    def shapes(self) -> str:
        """`Adam: w [2] visits [61, 2]`."""
        start, _, rates = self.case()
        return f"{self.title}: w {list(start.shape)}, {len(rates)} steps"

    def divergence(self) -> str:
        """Where the loss rises to more than DIVERGED times the first one, that sentence. Raises Problem at infinity."""
        start, curvature, rates = self.case()
        with np.errstate(all="ignore"):
            losses = quadratic(self.numpy(start, curvature, rates), curvature)
        diverges = f"it diverges at this rate, {max(rates):g} at its peak: the loss rises from {losses[0]:.3g} to "
        if not np.all(np.isfinite(losses)):
            raise Problem(f"{self.title}: {diverges}infinity; make RATES[{self.title!r}] smaller")
        return f"{diverges}{max(losses):.1e}" if max(losses) > DIVERGED * losses[0] else ""

    def implementations(self):
        """(name, function that returns the weights visited), one after the other."""
        case = self.case()
        yield "loops", lambda: [self.loops(*case)]
        yield "NumPy", lambda: [self.numpy(*case)]
        yield "TensorFlow primitives", lambda: [self.tensorflow(*case)]
        yield "the optimizer, compiled", compiled(self.optimizer, self.schedule(), *case[:2])

    def result_names(self) -> tuple[str, ...]:
        """The name of what an implementation returns."""
        return ("w",)

    def gradient_check(self) -> None:
        """The gradient of the loss against finite differences; the weights visited against the closed form."""
        start, curvature, _ = self.case()
        checks.gradient_check(lambda w: quadratic(w, curvature), {"w": start}, {"w": curvature * start})
        if self.closed_form:
            gap = checks.largest_difference(self.closed_form(*self.case()), self.numpy(*self.case()))
            shown = printing.measured(f"{gap:.1e}", promise="below 1e-12") if gap < 1e-12 else f"{gap:.1e}"
            print(f"\n   {inspect.getdoc(self.closed_form)}\n   largest difference from implementation 2: {shown}")

    def print_mistakes(self) -> None:
        """Print where each mistake ends, beside the right optimizer."""
        start, curvature, rates = self.case()
        right = self.numpy(start, curvature, rates)
        width = max(map(len, [*self.mistakes, "none"]))
        print(f"   {'mistake':{width}}   largest difference in w   last loss   beside the right one")
        last = quadratic(right[-1], curvature)
        print(f"   {'none':{width}}   {'':23}   {last:9.2e}")
        for name, mistaken in self.mistakes.items():
            visited = mistaken(start, curvature, rates)
            gap, loss = checks.largest_difference(visited, right), quadratic(visited[-1], curvature)
            verdict = "larger" if loss > last * 1.01 else "smaller" if loss < last * 0.99 else "the same"
            print(f"   {name:{width}}   {gap:23.2e}   {loss:9.2e}   {verdict}")


def walk_with_tape(start, curvature, rates, update) -> np.ndarray:
    """The weights visited; gradients by the tape, update(core.optimizers, w, g, t, rate, *states) -> d, *states."""
    tf = import_tensorflow()
    from core import optimizers

    w, states, visited = tf.constant(start), [tf.zeros(2, tf.float64)] * 2, [start]
    for t, rate in enumerate(rates, start=1):
        with tf.GradientTape() as tape:
            tape.watch(w)
            loss = tf.reduce_sum(curvature * w**2) / 2
        d, *states = update(optimizers, w, tape.gradient(loss, w), t, rate, *states)
        w += d
        visited.append(w.numpy())
    return np.array(visited)


def compiled(optimizer: Callable, schedule: tuple, start, curvature) -> Callable:
    """What runs an optimizer and the schedule of core/, one step compiled; -> the weights visited."""
    tf = import_tensorflow()
    from core import optimizers, schedules

    w = tf.Variable(start)
    rule = optimizer(optimizers, w)
    peak, steps, warmup, final = schedule

    @tf.function(autograph=False)
    def step(t):
        rate = tf.cast(schedules.warmup_then_decay(t, steps, peak, warmup, final), tf.float64)
        w.assign_add(rule.updates([curvature * w], rate, t)[0])
        return tf.identity(w)

    def run():
        w.assign(start)
        for variable in (variable for variables in rule.state().values() for variable in variables):
            variable.assign(tf.zeros_like(variable))
        return [np.array([start, *(step(tf.constant(t)).numpy() for t in range(1, steps + 1))])]

    return run
