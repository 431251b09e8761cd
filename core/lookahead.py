"""Lookahead: a slow average follows the weights, and now and then the weights go back to it."""

import tensorflow as tf

EVERY = 5  # steps between two pulls
SLOWNESS = 0.95**EVERY  # the share of the slow average that is kept at the end of training


class Lookahead(tf.Module):
    """Every EVERY steps: slow <- a slow + (1 - a) w, then w <- slow, with a = SLOWNESS (step / total)^3.

    Zhang et al. 2019, with the growing a of Jordan 2024: at first the average follows at once (a near 0,
    nothing happens), towards the end it is slow and irons out the noise of the last batches. The
    last step leaves w at the average. Batch norm's statistics are averaged too. Without variables it does nothing.
    """

    def __init__(self, variables: dict[str, tf.Variable], total_steps: int):
        super().__init__("lookahead")
        self.total_steps = total_steps
        self.fast = list(variables.values()) if total_steps >= EVERY else []  # before the first pull slow is the start
        self.slow = [tf.Variable(variable, trainable=False) for variable in self.fast]

    def follow(self, step: tf.Tensor) -> None:
        """To be called after the weights have moved at `step` (1 for the first)."""
        if self.fast:
            last = tf.equal(step, self.total_steps)
            tf.cond(tf.logical_or(last, tf.equal(step % EVERY, 0)), lambda: self.pull(step, last), lambda: False)

    def pull(self, step, last):
        """Average, and go there. Returns True, because both branches of a condition must return something."""
        a = tf.cast(SLOWNESS, tf.float32) * (tf.cast(step, tf.float32) / self.total_steps) ** 3
        a = tf.where(last, 1.0, a)
        for slow, fast in zip(self.slow, self.fast):
            slow.assign_add((1 - a) * (fast - slow))  # in this form exact for what never moves
            fast.assign(slow)
        return True

    def slots(self) -> dict[str, list[tf.Variable]]:
        """What must be saved to go on, by name, each a list in the order of the variables."""
        return {"slow": self.slow}
