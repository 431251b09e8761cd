"""When the probes measure, and what that costs. The intervals are in config.json, so that files repeat to the byte.

Four kinds of measurement, by cost:

    norms         inside the step, from tensors it has anyway; densely at first
    activations   one forward pass of 1,000 images: before the first step and at every evaluation
    gain_ratio    one forward pass of the batch, after its step
    curvature     a Hessian-vector product and the gradients of parts of the batch: the work of some four steps
"""

import time

import numpy as np
import tensorflow as tf

from core import replicas
from core.data.batches import TRAIN_SUBSET
from core.measure import probes

NETWORK = "network"  # the name in layers.csv of what belongs to no single layer
EARLY_STEPS = (1, 2, 5, 10, 20, 50, 100)  # the rarer measurements are made there too

# Every how many steps a kind is measured. 0: never, or for activations only at the start and at evaluations.
INTERVALS = {
    "off": {},
    "light": {"norms": 10, "activations": 0, "gain_ratio": 200, "curvature": 0},
    "full": {"norms": 1, "activations": 50, "gain_ratio": 50, "curvature": 200},
}


def due(intervals: dict[str, int], kind: str, step: int) -> bool:
    """Whether `kind` is measured at this step (1 for the first)."""
    every = intervals.get(kind, 0)
    if not every:
        return False
    return probes.norms_due(step, every) if kind == "norms" else step % every == 0 or step in EARLY_STEPS


def chosen_intervals(costs: dict[str, float], step_seconds: float, budget: float) -> dict[str, int]:
    """The shortest intervals that keep the measurements within `budget` percent of the step time.

    costs {kind: seconds of one measurement}, all above 0. Every kind gets the same part of the budget. Intervals are
    rounded up to 1, 2 or 5 times a power of ten. The dense start and the evaluations come on top.
    """
    allowed = budget / 100 * step_seconds / len(costs)
    return {kind: rounded_up(seconds / allowed) for kind, seconds in costs.items()}


def rounded_up(number: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, ..."""
    power = 10 ** max(int(np.floor(np.log10(max(number, 1)))), 0)
    return next(int(m * power) for m in (1, 2, 5, 10) if m * power >= number - 1e-9)


class Diagnostics:
    """The probes of one run, compiled, and their intervals; returns rows (step, layer, quantity, value) for the log."""

    def __init__(self, training, compiled):
        settings, data, network = training.settings, training.data, training.network
        scalar = [tf.TensorSpec([], tf.int32)]
        given = {"batches": training.batches, "network": network, "settings": settings}
        self.training, self.layer_probe = training, training.layer_probe
        self.set_intervals(INTERVALS[settings.diagnostics])
        self.layer_names = [layer.name for layer in network.layers]
        images = data.train_images[: probes.ACTIVATION_IMAGES]
        size = min(probes.ACTIVATION_BATCH, len(images))  # all at once would take most of the memory
        self.image_batches = [tf.constant(images[i : i + size]) for i in range(0, len(images) // size * size, size)]
        fixed = slice(0, min(settings.batch_size, TRAIN_SUBSET))
        self.fixed = tf.constant(data.train_images[fixed]), tf.constant(data.train_labels[fixed])
        # Each is traced at its first call: a run that never makes one does not wait for it.
        self.activations = compiled(
            probes.activation_batch, [spec(self.image_batches[0])], settings.eager, network=network
        )
        self.batch_loss = compiled(probes.batch_loss, scalar, settings.eager, **given)
        self.curvature = compiled(
            probes.curvature, [spec(x) for x in self.fixed], settings.eager, network=network,
            smoothing=settings.label_smoothing,
        )  # fmt: skip
        self.noise = compiled(probes.gradient_noise, scalar, settings.eager, **given)
        self.replica_disagreement = compiled(
            replicas.on_every_replica(replicas.disagreement, list(training.state.values())), [], settings.eager
        )
        self.seconds = dict.fromkeys(("activations", "gain_ratio", "curvature"), 0.0)
        self.measurements = dict.fromkeys(self.seconds, 0)
        self.tracing_seconds = 0.0

    def set_intervals(self, intervals: dict[str, int]) -> None:
        """Measure at these intervals from now on."""
        self.intervals = intervals
        if intervals:
            self.layer_probe.every.assign(intervals["norms"])

    def norms_due(self, step: int) -> bool:
        """Whether the norms of this step are measured."""
        return due(self.intervals, "norms", step)

    def after_step(self, step: int, metrics: dict) -> list[tuple]:
        """The rows of every other kind that is due after this step; usually none, and then nothing is done."""
        rows = []
        for kind in self.seconds:
            # A weight average replaces the weights at the last step: no step led there.
            replaced = self.training.weight_average.averaged and step == self.training.total_steps
            if due(self.intervals, kind, step) and not (kind == "gain_ratio" and replaced):
                float(metrics["loss"])  # a GPU may still be busy with the step: that wait is not the probe's
                rows += self.timed(kind, step, metrics)
        return rows

    def at_start(self) -> list[tuple]:
        """The activations of the untrained network, as step 0."""
        return self.timed("activations", 0) if self.intervals else []

    def at_evaluation(self, step: int) -> list[tuple]:
        """Activations, unless just measured; the checks of evaluation and replicas; the most traces of any function."""
        if not self.intervals:
            return []
        rows = [] if due(self.intervals, "activations", step) else self.timed("activations", step)
        if counts := self.training.trace_counts():
            rows.append((step, NETWORK, "traces", max(counts)))
        if self.training.settings.devices > 1:
            rows.append((step, NETWORK, "replica_disagreement", float(self.replica_disagreement())))
        return [*rows, (step, NETWORK, "evaluation_disagreement", self.evaluation_disagreement())]

    def evaluation_quantities(self, step: int) -> tuple[str, ...]:
        """What an evaluation at this step writes to layers.csv; activations unless they were just measured."""
        own = () if due(self.intervals, "activations", step) else probes.ACTIVATION_QUANTITIES
        return ("traces", "replica_disagreement", "evaluation_disagreement", "test_accuracy_tta", *own)

    def evaluation_disagreement(self) -> float:
        """|loss of 500 images evaluated together - the same class by class| / loss.

        In evaluation mode an image's loss must not depend on the rest of its batch: 0 but for rounding. Batch
        norm left in training mode has other statistics among images of one class.
        """
        images, labels = self.training.data.test_images[:500], self.training.data.test_labels[:500]
        groups = [labels == label for label in np.unique(labels)]
        evaluate = self.training.evaluate_batch
        together = float(evaluate(tf.constant(images), tf.constant(labels))["loss"])
        apart = sum(float(evaluate(tf.constant(images[g]), tf.constant(labels[g]))["loss"]) for g in groups)
        return abs(together - apart) / max(abs(together), 1e-30)

    def timed(self, kind: str, step: int, metrics: dict | None = None) -> list[tuple]:
        """One measurement, timed."""
        began = time.perf_counter()
        rows = getattr(self, f"measure_{kind}")(step, metrics)
        if self.measurements[kind]:
            self.seconds[kind] += time.perf_counter() - began
        else:  # the first one also traces its functions
            self.tracing_seconds += time.perf_counter() - began
        self.measurements[kind] += 1
        return rows

    def measure_activations(self, step, metrics=None) -> list[tuple]:
        """Mean, standard deviation, sparsity and dead channels of every layer's output."""
        found = probes.activation_quantities([self.activations(batch) for batch in self.image_batches])
        for name in ("sparsity", "dead_channels"):  # outputs that are no numbers are not counted as other than zero
            found[name] = np.where(np.isfinite(found["activation_mean"]), found[name], np.nan)
        nonlinear = {layer.name for layer in self.training.network.layers if layer.is_activation}
        return [
            (step, layer, name, values[i])
            for i, layer in enumerate(self.layer_names)
            for name, values in found.items()
            if name != "dead_channels" or layer in nonlinear  # only a unit behind a nonlinearity can die
        ]

    def measure_gain_ratio(self, step, metrics) -> list[tuple]:
        """Gain ratio = actual / predicted change = [L_B(w+d) - L_B(w)] / (g.d) on the batch; 1 for a tiny step."""
        predicted = float(metrics["predicted_change"])
        actual = float(self.batch_loss(tf.constant(step))) - float(metrics["loss"])
        ratio = actual / predicted if predicted else 0.0
        values = {"predicted_change": predicted, "actual_change": actual, "gain_ratio": ratio}
        return [(step, NETWORK, name, value) for name, value in values.items()]

    def measure_curvature(self, step, metrics=None) -> list[tuple]:
        """Curvature along the gradient, and the two estimates of the noise scale, with the weights after the step."""
        rows = [(step, NETWORK, "curvature", float(self.curvature(*self.fixed)))]
        if self.training.settings.batch_size >= probes.NOISE_PARTS:
            g2, s = self.noise(tf.constant(step))
            rows += [(step, NETWORK, "noise_g2", float(g2)), (step, NETWORK, "noise_s", float(s))]
        return rows

    def measured_costs(self, compiled, repeats: int = 5) -> tuple[dict[str, float], float]:
        """({kind: seconds of one measurement}, seconds of a step): medians; the training is restored."""
        training = self.training
        norms = compiled(
            lambda probe, tensors: probe.measure(tf.constant(1), tensors, tensors), [], training.settings.eager,
            probe=self.layer_probe, tensors=[tf.identity(w) for w in training.network.parameters],
        )  # fmt: skip
        before = {name: variable.numpy() for name, variable in training.state.items()}
        metrics, _ = training.step(tf.constant(1))
        calls = {
            "step": lambda: float(training.step(tf.constant(1))[0]["loss"]),
            "norms": lambda: {name: values.numpy() for name, values in norms().items()},
            "activations": lambda: self.measure_activations(1),
            "gain_ratio": lambda: self.measure_gain_ratio(1, metrics),
            "curvature": lambda: self.measure_curvature(1),
        }
        seconds = {}
        for kind, call in calls.items():
            call()  # traces and warms up
            times = []
            for _ in range(repeats):
                began = time.perf_counter()
                call()
                times.append(time.perf_counter() - began)
            seconds[kind] = float(np.median(times))
        for name, value in before.items():
            training.state[name].assign(value)
        return seconds, seconds.pop("step")

    def report(self, seconds: float) -> str:
        """What each kind cost in this process, relative to the `seconds` that its steps took, in words."""
        if not self.intervals:
            return "off"
        if not seconds:
            return "nothing to compare with: no step was taken"
        parts = [
            f"{kind.replace('_', ' ')} {100 * spent / seconds:.1f} %"
            for kind, spent in self.seconds.items()
            if self.measurements[kind] > 1
        ]
        later = f"{', '.join(parts)} of the step time; " if parts else ""
        return f"{later}the first of each kind {self.tracing_seconds:.1f} s; norms are part of the step"


def spec(tensor) -> tf.TensorSpec:
    """The signature of a tensor."""
    return tf.TensorSpec(tensor.shape, tensor.dtype)
