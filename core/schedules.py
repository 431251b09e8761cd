"""The learning rate as a pure function of the step."""

import functools
from collections.abc import Callable

import tensorflow as tf


def from_settings(settings, total_steps: int) -> Callable:
    """The schedule that the settings name: step -> learning rate."""
    return functools.partial(
        warmup_then_decay, total_steps=total_steps, peak=settings.learning_rate,
        warmup=settings.warmup, final=settings.final_rate,
    )  # fmt: skip


def warmup_then_decay(step, total_steps: int, peak: float, warmup: float, final: float) -> tf.Tensor:
    """Linear warm-up from peak/w to peak over the first w = warmup * total_steps steps, then linear decay.

    step [] int32, 1 for the first; warmup is a fraction of total_steps in [0, 1). The decay reaches
    final * peak one step after the last, so that with final = 0 the last step still changes the weights.
    -> [] float32.

    Why warm-up: the first gradients of an untrained network are large and change direction quickly.
    Why decay: the noise of the batches makes SGD fluctuate around a minimum, in proportion to the rate.
    """
    t = tf.cast(step, tf.float32)
    w = max(round(warmup * total_steps), 1)
    decay_steps = total_steps - w + 1
    rising = t / w
    remaining = (total_steps + 1 - t) / decay_steps  # 1 at step w, 1/decay_steps at the last step
    falling = final + (1 - final) * remaining
    return peak * tf.minimum(rising, falling)
