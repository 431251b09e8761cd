"""When the probes look, and what looking costs. The cadence is in config.json, so that files repeat to the byte.

Four classes, by what they cost:

    norms         inside the step, from tensors it has anyway; densely at first
    activations   one forward pass of 1,000 pictures: at the start and at every exam
    quality       one forward pass of the batch, after its step
    curvature     a Hessian-vector product and the gradient in pieces: some four steps' work
"""

import time

import numpy as np
import tensorflow as tf

from core import probes
from core.batches import PROBE_IMAGES

NETWORK = "network"  # the name in layers.csv of what belongs to no single layer
MARKS = (1, 2, 5, 10, 20, 50, 100)  # the rarer looks come denser there too

# Every how many steps a class looks. 0: only at the start and at exams (activations), or never.
CADENCES = {
    "off": {},
    "light": {"norms": 10, "activations": 0, "quality": 200, "curvature": 0},
    "full": {"norms": 1, "activations": 50, "quality": 50, "curvature": 200},
}


def due(cadence: dict[str, int], kind: str, step: int) -> bool:
    """Whether the class `kind` looks at this step (1 for the first)."""
    every = cadence.get(kind, 0)
    if not every:
        return False
    return probes.norms_due(step, every) if kind == "norms" else step % every == 0 or step in MARKS


def chosen_cadence(costs: dict[str, float], step_seconds: float, budget: float) -> dict[str, int]:
    """The densest cadence that keeps the looks within `budget` percent of the step time.

    costs {class: seconds of one look}, all above 0. The classes share the budget equally. Cadences are
    rounded up to 1, 2 or 5 times a power of ten. The dense start and the exams come on top.
    """
    allowed = budget / 100 * step_seconds / len(costs)
    return {kind: rounded_up(seconds / allowed) for kind, seconds in costs.items()}


def rounded_up(number: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, ..."""
    power = 10 ** max(int(np.floor(np.log10(max(number, 1)))), 0)
    return next(int(m * power) for m in (1, 2, 5, 10) if m * power >= number - 1e-9)


class Diagnostics:
    """The probes of one run, compiled, with their cadence; hands rows (step, layer, quantity, value) to the log."""

    def __init__(self, training, compiled):
        settings, data, network = training.settings, training.data, training.network
        scalar = [tf.TensorSpec([], tf.int32)]
        given = {"batches": training.batches, "network": network, "settings": settings}
        self.training, self.layer_probe = training, training.layer_probe
        self.follow(CADENCES[settings.diagnostics])
        self.layer_names = [layer.name for layer in network.layers]
        pictures = data.train_images[: probes.ACTIVATION_IMAGES]
        piece = min(probes.ACTIVATION_PIECE, len(pictures))  # in pieces: all at once would be most of the memory
        self.pieces = [tf.constant(pictures[at : at + piece]) for at in range(0, len(pictures) // piece * piece, piece)]
        fixed = slice(0, min(settings.batch_size, PROBE_IMAGES))
        self.fixed = tf.constant(data.train_images[fixed]), tf.constant(data.train_labels[fixed])
        # Each is traced when it is first asked: a run that never asks does not wait for it.
        self.activations = compiled(probes.activation_piece, [spec(self.pieces[0])], settings.eager, network=network)
        self.batch_loss = compiled(probes.batch_loss, scalar, settings.eager, **given)
        self.curvature = compiled(probes.curvature, [spec(x) for x in self.fixed], settings.eager, network=network)
        self.noise = compiled(probes.gradient_noise, scalar, settings.eager, **given)
        self.seconds = dict.fromkeys(("activations", "quality", "curvature"), 0.0)
        self.looks = dict.fromkeys(self.seconds, 0)
        self.tracing_seconds = 0.0

    def follow(self, cadence: dict[str, int]) -> None:
        """Look at this cadence from now on."""
        self.cadence = cadence
        if cadence:
            self.layer_probe.every.assign(cadence["norms"])

    def norms_due(self, step: int) -> bool:
        """Whether what the step measured of its kernels is written."""
        return due(self.cadence, "norms", step)

    def after_step(self, step: int, metrics: dict) -> list[tuple]:
        """The rows of every other class that is due after this step; usually none, and then nothing is done."""
        rows = []
        for kind in self.seconds:
            # A lookahead pulls the weights somewhere else at every fifth step, a weight average at the last: the step
            # before it is looked at instead.
            averaged = self.training.settings.lookahead or self.training.settings.weight_average
            shifted = 1 if kind == "quality" and averaged else 0
            if due(self.cadence, kind, step + shifted):
                float(metrics["loss"])  # a GPU may still be busy with the step: that wait is not the probe's
                rows += self.timed(kind, step, metrics)
        return rows

    def at_start(self) -> list[tuple]:
        """The activations of the untouched network, as step 0."""
        return self.timed("activations", 0) if self.cadence else []

    def at_exam(self, step: int, one_piece, trace_counts: list[int]) -> list[tuple]:
        """Activations, unless just looked at; whether the exam is honest; the most traces of any function."""
        if not self.cadence:
            return []
        rows = [] if due(self.cadence, "activations", step) else self.timed("activations", step)
        if trace_counts:
            rows.append((step, NETWORK, "traces", max(trace_counts)))
        return [*rows, (step, NETWORK, "exam_disagreement", self.exam_disagreement(one_piece))]

    def exam_quantities(self, step: int) -> tuple[str, ...]:
        """What an exam at this step writes to layers.csv; activations only if no look at that step did already."""
        own = () if due(self.cadence, "activations", step) else probes.ACTIVATION_QUANTITIES
        return ("traces", "exam_disagreement", "test_accuracy_of_six_views", *own)

    def exam_disagreement(self, one_piece) -> float:
        """|loss of 500 pictures examined together - the same class by class| / loss.

        An exam must not depend on the company a picture is examined in: 0 but for rounding. Batch
        norm left in training mode sees other statistics among pictures of one class.
        """
        images, labels = self.training.data.test_images[:500], self.training.data.test_labels[:500]
        groups = [labels == label for label in np.unique(labels)]
        together = float(one_piece(tf.constant(images), tf.constant(labels))["loss"])
        apart = sum(float(one_piece(tf.constant(images[g]), tf.constant(labels[g]))["loss"]) for g in groups)
        return abs(together - apart) / max(abs(together), 1e-30)

    def timed(self, kind: str, step: int, metrics: dict | None = None) -> list[tuple]:
        """One look, on the clock."""
        began = time.perf_counter()
        rows = getattr(self, f"look_at_{kind}")(step, metrics)
        if self.looks[kind]:
            self.seconds[kind] += time.perf_counter() - began
        else:  # the first look also traces its functions
            self.tracing_seconds += time.perf_counter() - began
        self.looks[kind] += 1
        return rows

    def look_at_activations(self, step, metrics=None) -> list[tuple]:
        """What every layer puts out."""
        found = probes.activation_quantities([self.activations(piece) for piece in self.pieces])
        bends = {layer.name for layer in self.training.network.layers if layer.is_activation}
        return [
            (step, layer, name, values[i])
            for i, layer in enumerate(self.layer_names)
            for name, values in found.items()
            if name != "dead_channels" or layer in bends  # a channel before the bend may well be zero
        ]

    def look_at_quality(self, step, metrics) -> list[tuple]:
        """Did the step do what calculus promised? quality = [L_B(w+d) - L_B(w)] / (g.d); 1 for a tiny step."""
        promised = float(metrics["predicted_change"])
        kept = float(self.batch_loss(tf.constant(step))) - float(metrics["loss"])
        quality = kept / promised if promised else 0.0
        values = {"predicted_change": promised, "actual_change": kept, "step_quality": quality}
        return [(step, NETWORK, name, value) for name, value in values.items()]

    def look_at_curvature(self, step, metrics=None) -> list[tuple]:
        """Curvature along the gradient, the halves of the noise scale, with the weights after the step."""
        rows = [(step, NETWORK, "curvature", float(self.curvature(*self.fixed)))]
        if self.training.settings.batch_size >= probes.MICRO_BATCHES:
            g2, s = self.noise(tf.constant(step))
            rows += [(step, NETWORK, "noise_g2", float(g2)), (step, NETWORK, "noise_s", float(s))]
        return rows

    def measured_costs(self, compiled, repeats: int = 5) -> tuple[dict[str, float], float]:
        """({class: seconds of one look}, seconds of a step): medians; the training is put back as it was."""
        training = self.training
        norms = compiled(
            lambda probe, tensors: probe.measure(tf.constant(1), tensors, tensors), [], training.settings.eager,
            probe=self.layer_probe, tensors=[tf.identity(w) for w in training.network.parameters],
        )  # fmt: skip
        before = {name: variable.numpy() for name, variable in training.state.items()}
        metrics, _ = training.one_step(tf.constant(1))
        calls = {
            "step": lambda: float(training.one_step(tf.constant(1))[0]["loss"]),
            "norms": lambda: {name: values.numpy() for name, values in norms().items()},
            "activations": lambda: self.look_at_activations(1),
            "quality": lambda: self.look_at_quality(1, metrics),
            "curvature": lambda: self.look_at_curvature(1),
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
        """What each class cost in this process beside the `seconds` that its steps took, in words."""
        if not self.cadence:
            return "at nothing but the loss: --diagnostics off"
        parts = [
            f"{kind} {100 * spent / seconds:.1f} % ({self.looks[kind]} looks)"
            for kind, spent in self.seconds.items()
            if self.looks[kind]
        ]
        if not parts:
            return "at nothing: no step was taken"
        return f"{', '.join(parts)} of the step time, {self.tracing_seconds:.1f} s once; the norms are part of the step"


def spec(tensor) -> tf.TensorSpec:
    """The signature of a tensor."""
    return tf.TensorSpec(tensor.shape, tensor.dtype)
