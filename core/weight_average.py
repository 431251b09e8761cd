"""Weight averaging: the run ends at the mean of its last weights instead of at the last of them."""

import tensorflow as tf


class WeightAverage(tf.Module):
    """w <- the mean of w over the last `share` of the steps, in [0, 1], at the very last of them.

    Polyak & Juditsky 1992; for networks Izmailov et al. 2018, "stochastic weight averaging". Every batch pushes the
    weights a little to another side of where they would settle; in the mean of many steps these pushes cancel. Until
    the last step the training does not notice. Batch norm's statistics are averaged too. With a share that rounds
    to no step it does nothing.
    """

    def __init__(self, variables: dict[str, tf.Variable], share: float, total_steps: int):
        super().__init__("weight_average")
        self.total_steps, self.count = total_steps, round(share * total_steps)
        self.moving = list(variables.values()) if self.count else []
        self.mean = [tf.Variable(variable, trainable=False) for variable in self.moving]

    def follow(self, step: tf.Tensor) -> None:
        """To be called after the weights have moved at `step` (1 for the first)."""
        if self.moving:
            counted = step - (self.total_steps - self.count)  # 1 at the first step that counts
            tf.cond(counted >= 1, lambda: self.take_in(counted), lambda: False)

    def take_in(self, counted):
        """mean <- mean + (w - mean) / k at the k-th step that counts; at the last of them w <- mean.

        Returns True, because both branches of a condition must return something.
        """
        for mean, moving in zip(self.mean, self.moving):
            mean.assign_add((moving - mean) / tf.cast(counted, mean.dtype))
            moving.assign(tf.where(tf.equal(counted, self.count), mean, moving))
        return True

    def slots(self) -> dict[str, list[tf.Variable]]:
        """What must be saved to go on, by name, each a list in the order of the variables."""
        return {"mean": self.mean}
