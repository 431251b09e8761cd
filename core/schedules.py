"""The learning rate as a pure function of the step."""

import tensorflow as tf


def warmup_then_decay(step, total_steps: int, peak: float, warmup: float, final: float) -> tf.Tensor:
    """Straight up from peak/w to peak over the first w = warmup * total steps, then straight down.

    step [] int32, 1 for the first; warmup is a share of total_steps in [0, 1). The decay aims at
    final * peak and would be there one step after the last, so that with final = 0 the last step
    still moves. -> [] float32.

    Why up: the first gradients of a random network are long and point nowhere in particular.
    Why down: noise of the batches keeps the weights jittering at a distance proportional to the rate.
    """
    t = tf.cast(step, tf.float32)
    w = max(round(warmup * total_steps), 1)
    decay_steps = max(total_steps - w + 1, 1)
    rising = t / w
    remaining = (total_steps + 1 - t) / decay_steps  # 1 at step w, 1/decay_steps at the last step
    falling = final + (1 - final) * remaining
    return peak * tf.minimum(tf.minimum(rising, falling), 1.0)
