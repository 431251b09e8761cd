"""Every random number of a run as a pure function of (seed, stream, step).

A stream is a name: "conv1/kernel", "shuffle", "flip". Streams are independent, so adding a layer or
switching augmentation on leaves all other random numbers as they were. There is no generator
state: resuming at step 1234 needs only the number 1234.

On several devices the numbers of a batch are drawn for the whole of it, and each replica takes those of its rows.
"""

import zlib

import tensorflow as tf

from core import replicas

ALGORITHM = "philox"  # named, so that a run does not depend on what TensorFlow takes by default


def stream(seed: int, name: str) -> tf.Tensor:
    """The key [2] int32 of the stream `name` under the run's `seed` (0 to 2^31 - 1)."""
    return tf.constant([seed, zlib.crc32(name.encode()) & 0x7FFFFFFF], tf.int32)


def at_step(key: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """The key [2] of one step of a stream."""
    return tf.random.fold_in(key, step, alg=ALGORITHM)


def normal(key: tf.Tensor, shape, std: float, dtype) -> tf.Tensor:
    """Draws from N(0, std^2). float64 draws are float32's, widened: the same initial weights in both."""
    return tf.cast(std * tf.random.stateless_normal(shape, key, alg=ALGORITHM), dtype)


def uniform(key: tf.Tensor, shape) -> tf.Tensor:
    """Float32 draws from [0, 1)."""
    return replicas.my_rows(tf.random.stateless_uniform(replicas.whole(shape), key, alg=ALGORITHM))


def integers(key: tf.Tensor, shape, limit: int) -> tf.Tensor:
    """Int32 draws from 0 to limit - 1."""
    draws = tf.random.stateless_uniform(replicas.whole(shape), key, 0, limit, tf.int32, alg=ALGORITHM)
    return replicas.my_rows(draws)
