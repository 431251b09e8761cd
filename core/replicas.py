"""Data parallelism: several devices take the same step, each on its rows of the batch.

This file alone uses tf.distribute.

A replica is one device that takes the step: a GPU, or a part of the processor. All replicas hold the same weights.
Each computes the gradient of the loss of its own rows; `mean` averages the gradients of all (an all-reduce), so that
every replica makes the update that one device would make with the whole batch. The number of devices does not change
the mathematics, only the order in which numbers are added.

Without a strategy there is one replica, and every function here returns what it was given.
"""

import contextlib
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf


def placed_on(devices: int, device: str) -> contextlib.AbstractContextManager:
    """The context in which a training is built and taken: on one `device`, or on so many devices of this machine."""
    if devices == 1:
        return tf.device(device)
    return mirrored_strategy(devices, "GPU" if device.startswith("/GPU") else "CPU").scope()


@functools.cache  # two strategies of one process would take each other's messages for their own
def mirrored_strategy(devices: int, kind: str) -> tf.distribute.MirroredStrategy:
    """The strategy of so many devices of this machine."""
    # TensorFlow warns that steps are slow line by line, which is what --eager and --pdb ask for.
    tf.get_logger().addFilter(lambda record: "MirroredStrategy eagerly" not in record.getMessage())
    return tf.distribute.MirroredStrategy([f"{kind}:{i}" for i in range(devices)])


def count() -> int:
    """The number of replicas that take this step together; 1 outside of a step."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def rank() -> int:
    """The number of this replica, 0 for the first."""
    if count() == 1:
        return 0
    return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))


def whole(shape) -> tf.Tensor | list:
    """The shape of the whole batch's tensor, from that of this replica's rows."""
    return shape if count() == 1 else tf.concat([[shape[0] * count()], shape[1:]], axis=0)


def my_rows(batch: tf.Tensor) -> tf.Tensor:
    """The rows of the whole batch [B,...] that this replica works on: [B / count,...]."""
    if count() == 1:
        return batch
    size = batch.shape[0] or tf.shape(batch)[0]
    return batch[size * rank() // count() : size * (rank() + 1) // count()]


def mean(values):
    """The mean over all replicas of each tensor in `values`, a tensor or a structure of tensors (an all-reduce)."""
    return all_reduce("MEAN", values)


def total(values):
    """The sum over all replicas of each tensor in `values`."""
    return all_reduce("SUM", values)


def all_reduce(operation: str, values):
    """`values` combined over the replicas; tensors of one dtype travel together."""
    if count() == 1:
        return values
    tensors, context = tf.nest.flatten(values), tf.distribute.get_replica_context()
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):  # in one order on every replica
        where = [i for i, tensor in enumerate(tensors) if tensor.dtype == dtype]
        for i, combined in zip(where, context.all_reduce(operation, [tensors[i] for i in where])):
            tensors[i] = combined
    return tf.nest.pack_sequence_as(values, tensors)


def on_every_replica(function: Callable, *first, **given) -> Callable:
    """`function` with these arguments filled in, called by every replica; returns what the first of them returned."""
    function = functools.partial(function, *first, **given)
    return functools.partial(run, function) if tf.distribute.has_strategy() else function


def run(function: Callable, *args):
    """Call the function on every replica with the same arguments."""
    strategy = tf.distribute.get_strategy()
    return tf.nest.map_structure(
        lambda value: strategy.experimental_local_results(value)[0], strategy.run(function, args)
    )


def copies(array: np.ndarray) -> list[tf.Tensor]:
    """The array as one tensor on each device of this process."""
    if not tf.distribute.has_strategy():
        return [tf.constant(array)]
    placed = []
    for device in tf.distribute.get_strategy().extended.worker_devices:
        with tf.device(device):
            placed.append(tf.constant(array))
    return placed


def mine(on_each_device: list[tf.Tensor]) -> tf.Tensor:
    """The tensor that lies on this replica's device."""
    return on_each_device[rank() % len(on_each_device)]


def on_first(variables: list[tf.Variable]) -> list[tf.Variable]:
    """The variables of the first replica: what a gradient outside of a step is taken of."""
    return [variable.values[0] if hasattr(variable, "values") else variable for variable in variables]


def join_moving_averages(before: list[tf.Tensor], averages: list[tf.Variable], momenta: list[float]) -> None:
    """Assign batch norm's moving averages as one device would have them that took the shares of all in turn.

    before: their values before this step. momenta: k, the fraction that is left of each after this replica's share.
    The share of replica r has moved m to m_r; with n replicas  m <- k^n m + sum over r of k^(n-1-r) (m_r - k m).
    """
    later = count() - 1 - rank()
    moves = [k**later * (now - k * m) for m, now, k in zip(before, averages, momenta)]
    for m, variable, move, k in zip(before, averages, total(moves), momenta):
        variable.assign(k ** count() * m + move)
