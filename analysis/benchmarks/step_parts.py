"""Where does the time of one step go? The loop's own `train_step`, cut short after each of its parts and timed.

Six functions, each compiled by itself, do ever more of the step:

    input         the batch: gather, flip, crop
    forward       + standardized, through the network to the logits
    backward      + the loss and its gradient for every weight
    update        + optimizer and new weights, nothing handed out (so nothing that is only shown is computed)
    metrics       + loss, accuracy, learning rate and norm handed out
    diagnostics   + what is measured of every layer: the whole `train_step`

They take turns, a few steps each, many times over; what a part costs is the difference between the
median time of its function and that of the one before.

What this cannot see: a function that ends early is optimized for ending there. A forward pass that
nobody differentiates may fuse layers that training keeps apart, so `forward` is rather too small and
`backward` too large. A difference below the scatter of the medians is noise, and can be negative. Writing
the logs happens outside the step: it is in the rate of train_loop.py and not in these parts.
"""

import copy
import dataclasses
import functools
import time

from core.devices import import_tensorflow

tf = import_tensorflow()

import train_loop
from core.measure import probes

PARTS = ("input", "forward", "backward", "update", "metrics", "diagnostics")
TURNS = 25  # how often the six take turns


class Reached(Exception):
    """The end of a step that is cut short; carries the tensors it got to."""

    def __init__(self, tensors):
        self.tensors = tensors


def ending(thing, method: str, outcome):
    """A copy of `thing` whose `method` ends the step there, with what `outcome` makes of its arguments."""

    def reach(*arguments, **named):
        raise Reached(outcome(*arguments, **named))

    thing = copy.copy(thing)
    setattr(thing, method, reach)
    return thing


def step_through(part: str, step, batches, network, optimizer, layer_probe, **given):
    """`train_step` up to and including `part`; returns what the compiled function must not leave out."""
    if part == "input":
        batches = ending(batches, "batch", batches.batch)
    if part == "forward":
        network = ending(network, "logits", network.logits)
    if part == "backward":
        optimizer = ending(optimizer, "updates", lambda gradients, *rest: gradients)
    if part != "diagnostics":
        layer_probe = probes.LayerProbe(network, on=False)
    try:
        metrics, layer_quantities = train_loop.train_step(
            step, batches=batches, network=network, optimizer=optimizer, layer_probe=layer_probe, **given
        )
    except Reached as end:
        return end.tensors
    return {"update": (), "metrics": metrics, "diagnostics": (metrics, layer_quantities)}[part]


def compiled_parts(settings, data) -> dict:
    """{part: compiled function of the step number}, all over one network, built as train_loop.py builds it."""
    given = train_loop.prepare(dataclasses.replace(settings, eager=True), data).one_step.keywords
    signature = [tf.TensorSpec([], tf.int32)]
    return {
        part: train_loop.compiled(functools.partial(step_through, part), signature, False, **given) for part in PARTS
    }


def milliseconds_through(settings, data, steps: int) -> dict[str, list[float]]:
    """{part: [milliseconds of a step through that part, in each turn]}; `steps` steps of each part in all."""
    functions = compiled_parts(settings, data)
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
