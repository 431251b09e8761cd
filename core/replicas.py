"""Data parallelism: several devices take the same step, each on its rows of the batch.

This file alone uses tf.distribute.

A replica is one device that takes the step: a GPU, or a part of the processor, of this process or of another one
(core/run/workers.py) that may run on another machine. All replicas hold the same weights.
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

connected: tf.distribute.Strategy | None = None  # the strategy of several processes, once they are connected


def without_eager_warning() -> None:
    """TensorFlow warns that steps are slow line by line, which is what --eager and --pdb ask for."""
    tf.get_logger().addFilter(lambda record: "Strategy eagerly has significant overhead" not in record.getMessage())


def connect() -> None:
    """Connect with the processes that $TF_CONFIG names, before TensorFlow's first operation; waits for all of them."""
    global connected
    without_eager_warning()
    kinds = tf.distribute.experimental.CommunicationImplementation
    kind = kinds.NCCL if tf.config.list_physical_devices("GPU") else kinds.RING  # what AUTO takes is RING for both
    options = tf.distribute.experimental.CommunicationOptions(implementation=kind)
    connected = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def placed_on(devices: int, device: str) -> contextlib.AbstractContextManager:
    """The context in which a training is built and taken: on one `device`, on so many devices of this machine, or,
    once processes are connected, on the devices of all of them."""
    if connected:
        return connected.scope()
    if devices == 1:
        return tf.device(device)
    return mirrored_strategy(devices, "GPU" if device.startswith("/GPU") else "CPU").scope()


@functools.cache  # two strategies of one process would take each other's messages for their own
def mirrored_strategy(devices: int, kind: str) -> tf.distribute.MirroredStrategy:
    """The strategy of so many devices of this machine."""
    without_eager_warning()
    return tf.distribute.MirroredStrategy([f"{kind}:{i}" for i in range(devices)])


def in_all() -> int:
    """The number of replicas of this training, seen from outside of a step."""
    return tf.distribute.get_strategy().num_replicas_in_sync


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
    return shape if count() == 1 else tf.concat([[shape[0] * count()], tf.cast(shape[1:], tf.int32)], axis=0)


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


def exchanged(message: bytes) -> list[bytes]:
    """The message of every replica, in the order of their ranks. All processes call this, each with its own."""
    lengths = run(rows_of_all, tf.constant([len(message)])).numpy()[:, 0]
    rows = run(rows_of_all, as_words(message, max(lengths))).numpy()
    return [row.tobytes()[:length] for row, length in zip(rows, lengths)]


def from_first(message: bytes) -> bytes:
    """The message of the process with replica 0; those of the others are ignored. All processes call this."""
    length = run(keep_first, tf.constant([len(message)])).numpy()[0]
    return run(keep_first, as_words(message, length)).numpy().tobytes()[:length]


def as_words(message: bytes, length: int) -> tf.Tensor:
    """The first `length` bytes, filled up with zeros, as int32: what an all-reduce can carry."""
    padded = -(-length // 4) * 4
    return tf.constant(np.frombuffer(message[:length].ljust(padded, b"\0"), np.int32))


def keep_first(values: tf.Tensor) -> tf.Tensor:
    """The values of replica 0 on every replica (a broadcast)."""
    return total(tf.identity(values) if rank() == 0 else tf.zeros_like(values))


def rows_of_all(row: tf.Tensor) -> tf.Tensor:
    """The row [K] that each replica gives, one below the other: [replicas, K] (an all-gather)."""
    mine_alone = tf.one_hot(rank(), count(), dtype=row.dtype)  # [replicas]
    return total(mine_alone[:, tf.newaxis] * row)


def disagreement(variables: list[tf.Variable]) -> tf.Tensor:
    """max |w - w of replica 0| over all replicas, variables and elements: 0 as long as all make the same updates."""
    first = [keep_first(tf.convert_to_tensor(w)) for w in variables]
    furthest = tf.stack([tf.reduce_max(tf.abs(tf.cast(w - w0, tf.float32))) for w, w0 in zip(variables, first)])
    return tf.reduce_max(rows_of_all(tf.reduce_max(furthest)[tf.newaxis]))


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
    """Assign batch norm's moving averages as one device would have them that took the rows of all in turn.

    before: their values before this step. momenta: k, the fraction that is left of each after this replica's rows.
    The rows of replica r have moved m to m_r; with n replicas  m <- k^n m + sum over r of k^(n-1-r) (m_r - k m).
    """
    later = count() - 1 - rank()
    moves = [k**later * (now - k * m) for m, now, k in zip(before, averages, momenta)]
    for m, variable, move, k in zip(before, averages, total(moves), momenta):
        variable.assign(k ** count() * m + move)
