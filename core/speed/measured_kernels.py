"""Which implementation of a convolution is the fastest on this machine: measured once, then remembered.

What pays on one processor can halve the speed of the next one. The times are kept in the user's cache by processor,
TensorFlow version, threads and sizes, so that a second run with the same seed chooses the same and writes the same
bytes. The choice and the times go into config.json; resume and replay follow them.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from core import devices, replicas
from core.layers import Layer
from core.speed.kernels import TEXTBOOK

REPEATS = 3
HOPELESS = 1.5  # a candidate that takes this many times as long as the best is not measured again,
HOPELESS_AT_FIRST = 3  # and this many times in the first call, which prepares what later calls find prepared
WORTH = 0.95  # another implementation replaces the textbook's if it takes at most this fraction of its time


class MeasuredChoice:
    """choose(candidates, input_shape, dtype) for kernels.replace_layers; keeps {layer: {candidate: milliseconds}}."""

    def __init__(self, images: int, threads: int, cache: Path | None = None):
        """images: how many pass a layer at a time, a batch or a micro-batch."""
        self.images, self.threads = images, threads
        self.cache = cache or cache_file()
        self.milliseconds = {}

    def __call__(self, candidates: dict[str, Layer], input_shape: tuple, dtype: tf.DType) -> str:
        """The fastest candidate, the textbook's unless another one is clearly faster."""
        layer = candidates[TEXTBOOK]
        key = "; ".join(map(str, (
            devices.processor_name(), tf.__version__, self.threads, self.images, input_shape, layer.kernel.shape,
            layer.padding, dtype.name, sorted(candidates),
        )))  # fmt: skip
        with locked(self.cache) as remembered:
            if remembered.get(key, {}).keys() != candidates.keys():
                remembered[key] = milliseconds(candidates, [self.images, *input_shape], dtype)
            times = remembered[key]
        self.milliseconds[layer.name] = {name or "textbook": times[name] for name in candidates}
        best = min(candidates, key=lambda name: times[name])
        return best if times[best] <= WORTH * times[TEXTBOOK] else TEXTBOOK


def milliseconds(candidates: dict[str, Layer], shape: list[int], dtype: tf.DType) -> dict[str, float]:
    """{candidate: milliseconds of its forward and backward pass}: the median of several, taken in turn."""
    x = tf.cast(tf.random.stateless_normal(shape, [1, 2]), dtype)

    def forward_and_backward(layer):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return [tf.reduce_max(g) for g in tape.gradient(y, [x, *replicas.on_first([layer.kernel])])]

    compiled = {  # concrete functions: TensorFlow warns of a function that it traces often
        name: tf.function(lambda layer=layer: forward_and_backward(layer), autograph=False).get_concrete_function()
        for name, layer in candidates.items()
    }
    return median_times({name: lambda f=function: [g.numpy() for g in f()] for name, function in compiled.items()})


def median_times(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """{name: milliseconds of a call}, the median of REPEATS calls taken in turn after one that is not counted.

    A function that is hopeless is not called again: its time is the one it had, so that choosing costs little.
    """
    times = {name: [] for name in functions}
    for turn in range(REPEATS + 1):
        best = min(min(of_function) for of_function in times.values()) if turn else 0
        limit = best * (HOPELESS if turn > 1 else HOPELESS_AT_FIRST)
        for name, function in functions.items():
            if turn and times[name][0] > limit:
                continue
            began = time.perf_counter()
            function()
            milliseconds = 1000 * (time.perf_counter() - began)
            times[name] = [*times[name], milliseconds] if turn > 1 else [milliseconds]  # the first call is slower
    return {name: round(float(np.median(of_function)), 3) for name, of_function in times.items()}


def cache_file() -> Path:
    """Where the times are remembered: $XDG_CACHE_HOME/glassbox/kernels.json."""
    try:
        home = Path.home()
    except RuntimeError:  # a user without one, as in some containers: below a file nothing can be written
        home = Path(os.devnull)
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "glassbox" / "kernels.json"


@contextlib.contextmanager
def locked(path: Path):
    """The remembered times {key: {candidate: milliseconds}}; what the body adds is written back.

    Only one process measures at a time. A cache that cannot be written or read is an empty one.
    """
    with contextlib.ExitStack() as contexts:
        remembered = {}
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = contexts.enter_context(open(path.with_suffix(".lock"), "a"))
            with contextlib.suppress(ImportError):  # Windows has no fcntl
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
            remembered = read_times(path)
        before = dict(remembered)
        yield remembered
        if remembered != before:
            with contextlib.suppress(OSError):
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps(remembered, indent=1))
                os.replace(partial, path)


def read_times(path: Path) -> dict[str, dict[str, float]]:
    """What the cache holds; empty if it is missing or was damaged."""
    try:
        remembered = json.loads(path.read_text())
        good = all(isinstance(t, float) for times in remembered.values() for t in times.values())
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
    return remembered if good else {}
