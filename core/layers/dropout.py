"""Dropout: in training, each number is set to 0 with probability rate; in evaluation nothing happens."""

import tensorflow as tf

from core import random_streams
from core.layers.layer import Layer


class Dropout(Layer):
    """In training y = x m / (1 - rate), m Bernoulli(1 - rate) for each number; else y = x.

    Any shape -> the same shape. Dividing by 1 - rate keeps the mean, so that evaluation needs no correction
    (Srivastava et al. 2014; "inverted dropout"). The mask m is a function of (seed, layer name, step): the
    same step always drops the same numbers.
    """

    def __init__(self, name: str, rate: float, seed: int = 0):
        super().__init__(name)
        if not 0 <= rate < 1:
            raise ValueError(f"layer '{name}': a dropout rate lies in [0, 1), found {rate}")
        self.rate = rate
        self.key = random_streams.stream(seed, f"{name}/mask")

    def __call__(self, x, training, step=None):  # noqa: D102
        if not training or self.rate == 0:
            return x
        if step is None:
            raise ValueError(f"layer '{self.name}': dropout in training needs the step, which decides its mask")
        key = random_streams.at_step(self.key, step)
        kept = random_streams.uniform(key, tf.shape(x)) >= self.rate
        return tf.where(kept, x / (1 - self.rate), tf.zeros_like(x))
