"""Where does the time of one step go? The loop's own `train_step`, cut short after each of its parts and timed.

Six functions, each compiled by itself, do ever more of the step:

    input         the batch: gather, flip, crop
    forward       + standardized, through the network to the logits
    backward      + the loss and its gradient for every parameter
    update        + optimizer and new parameters, no output (so that nothing is computed only to be logged)
    metrics       + loss, accuracy, learning rate and norm as outputs
    diagnostics   + what is measured of every layer: the whole `train_step`

They take turns, a few steps each, many times over; the cost of a part is the difference between the
median time of its function and that of the one before.

The limit of this method: a function that ends early is optimized for ending there. A forward pass without a
gradient may fuse layers that training keeps apart, so `forward` is rather too small and `backward` too
large. A difference below the scatter of the medians is noise, and can be negative. Writing the logs happens
outside the step: it is in the rate of train_loop.py and not in these parts.
"""

import copy
import functools
import time
from types import SimpleNamespace

from core.devices import import_tensorflow

tf = import_tensorflow()

import train_loop
from core.measure import probes

PARTS = ("input", "forward", "backward", "update", "metrics", "diagnostics")
TURNS = 25  # how often the six take turns


class Reached(Exception):
    """The end of a step that is cut short; carries its tensors."""

    def __init__(self, tensors):
        self.tensors = tensors


def ending(function):
    """`function`, but the step ends with what it returns."""

    def end(*args, **named):
        raise Reached(function(*args, **named))

    return end


def cut_short(training, part: str):
    """A copy of the training whose `train_step` ends with `part`; it shares every variable with the original."""
    shorter = copy.copy(training)
    if part == "input":
        shorter.batches = SimpleNamespace(batch=ending(training.batches.batch))
    elif part == "forward":
        shorter.network = ending(training.network)
    elif part == "backward":
        shorter.optimizer = SimpleNamespace(updates=ending(lambda gradients, *rest: gradients))
    if part != "diagnostics":
        shorter.layer_probe = probes.LayerProbe(training.network, on=False)
    return shorter


def step_through(part: str, training, step):
    """`train_step` up to and including `part`; returns what the compiled function must not leave out.

    training: from `cut_short`.
    """
    try:
        metrics, layer_quantities = train_loop.train_step(training, step)
    except Reached as end:
        return end.tensors
    return {"update": (), "metrics": metrics, "diagnostics": (metrics, layer_quantities)}[part]


def compiled_parts(training) -> dict:
    """{part: compiled function of the step number}, all over one training."""
    signature = [tf.TensorSpec([], tf.int32)]
    return {
        part: train_loop.compiled(functools.partial(step_through, part, cut_short(training, part)), signature, False)
        for part in PARTS
    }


def milliseconds_through(settings, data, steps: int) -> dict[str, list[float]]:
    """{part: [milliseconds of a step through that part, in each turn]}; `steps` steps of each part in all."""
    functions = compiled_parts(train_loop.prepare(settings, data))
    for function in functions.values():
        function(tf.constant(1))  # traces, compiles
    each = max(steps // TURNS, 1)
    times = {part: [] for part in PARTS}
    for turn in range(TURNS):
        for part, function in functions.items():
            began = time.perf_counter()
            for step in range(1 + turn * each, 1 + (turn + 1) * each):
                function(tf.constant(step))
            tf.test.experimental.sync_devices()
            times[part].append(1000 * (time.perf_counter() - began) / each)
    return times
