"""Weight averaging: training ends at the mean of its last weights instead of at the last of them."""

import tensorflow as tf


class WeightAverage(tf.Module):
    """At the last step w <- the mean of w over the last `fraction` of the steps, fraction in [0, 1].

    Polyak & Juditsky 1992; for networks Izmailov et al. 2018, "stochastic weight averaging". SGD iterates fluctuate
    around a minimum; averaging them reduces the variance. Until the last step training is unchanged. Batch norm's
    moving averages are averaged too. With a fraction that rounds to no step it does nothing.
    """

    def __init__(self, variables: dict[str, tf.Variable], fraction: float, total_steps: int):
        super().__init__("weight_average")
        self.total_steps, self.count = total_steps, round(fraction * total_steps)
        self.averaged = list(variables.values()) if self.count else []
        self.means = [tf.Variable(variable, trainable=False) for variable in self.averaged]

    def update(self, step: tf.Tensor) -> None:
        """To be called after the weights have changed at `step` (1 for the first)."""
        if self.averaged:
            counted = step - (self.total_steps - self.count)  # 1 at the first step that counts
            tf.cond(counted >= 1, lambda: self.include(counted), lambda: False)

    def include(self, counted):
        """mean <- mean + (w - mean) / k at the k-th step that counts; at the last of them w <- mean.

        Returns True, because both branches of a tf.cond must return something.
        """
        for mean, variable in zip(self.means, self.averaged):
            mean.assign_add((variable - mean) / tf.cast(counted, mean.dtype))
            variable.assign(tf.where(tf.equal(counted, self.count), mean, variable))
        return True

    def state(self) -> dict[str, list[tf.Variable]]:
        """The variables that a checkpoint holds, by name, each list in the order of `averaged`."""
        return {"mean": self.means}
