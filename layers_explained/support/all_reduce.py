"""An all-reduce in four implementations: n replicas give P numbers each in float32, and every one gets all the sums."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from layers_explained.support import checks, printing
from layers_explained.support.comparison import DEVICES, import_tensorflow
from layers_explained.support.constants import require


@dataclass(frozen=True)
class AllReduce:
    """One all-reduce, implemented four times: gradients [n,P] float32 -> what each replica holds afterwards [n,P]."""

    title: str
    case: Callable[[], np.ndarray]
    loops: Callable
    numpy: Callable
    tensorflow: Callable
    mistakes: dict[str, Callable] = field(default_factory=dict)
    agreement: float = 0.0  # between two implementations: the same bits

    def shapes(self) -> str:
        """`ring all-reduce: 3 replicas, 1,000 numbers each`."""
        replicas, count = self.case().shape
        return f"{self.title}: {replicas} replicas, {count:,} numbers each"

    def implementations(self):
        """(name, function that returns what every replica holds), one after the other."""
        gradients = self.case()
        yield "loops", lambda: [self.loops(gradients)]
        yield "NumPy, by messages", lambda: [self.numpy(gradients)]
        yield "TensorFlow primitives", lambda: [self.tensorflow(gradients)]
        yield "TensorFlow's all-reduce", lambda: [on_devices(gradients)]

    def result_names(self) -> tuple[str, ...]:
        """The name of what an implementation returns."""
        return ("the sums",)

    def gradient_check(self) -> None:
        """What the order of adding changes: implementation 2 beside other orders and beside float64."""
        gradients = self.case()
        found, exact = self.numpy(gradients), gradients.sum(axis=0, dtype=np.float64)
        same = bool(np.all(found == found[0]))
        print(f"   all {len(found)} replicas hold the same bits: {same}")
        others = {"replica 0 first everywhere": range(len(found)), "the last one first": range(len(found))[::-1]}
        for order, replicas in others.items():
            sums = functools.reduce(np.add, [gradients[r] for r in replicas])
            print(f"   {order}: {np.sum(sums != found[0]):,} of {sums.size:,} sums have other last bits")
        error = np.max(np.abs(found[0] - exact)) / np.max(np.abs(exact))
        print(f"   farthest from the sum in float64: {error:.1e} of the largest sum; one rounding is up to 6.0e-08")

    def print_mistakes(self) -> None:
        """Print how far each mistake is from the right sums, and whether the replicas still agree."""
        gradients = self.case()
        right = self.numpy(gradients)
        width = max(map(len, self.mistakes))
        print(f"   {'mistake':{width}}   largest difference from the sums   between two replicas")
        for name, mistaken in self.mistakes.items():
            found = mistaken(gradients)
            apart = checks.largest_difference(found.max(axis=0), found.min(axis=0))
            gap = printing.number(checks.largest_difference(found, right))
            verdict = printing.number(apart) if apart else "none: no replica can tell"
            print(f"   {name:{width}}   {gap:>32}   {verdict}")


def on_devices(gradients: np.ndarray) -> np.ndarray:
    """[n,P] -> [n,P]: n parts of the processor give a row each to the operation that core/replicas.py ends in."""
    tf = import_tensorflow()
    there = len(tf.config.list_logical_devices("CPU"))
    require(len(gradients) <= there, f"REPLICAS = {len(gradients)}: TensorFlow has {there} devices here; the processor "
            f"is divided into {DEVICES} before its first operation, so make REPLICAS smaller")  # fmt: skip
    given = tf.constant(gradients)
    return np.array([held.numpy() for held in compiled(len(gradients))(given, tf.constant(next(CALLS)))])


CALLS = itertools.count(1)  # messages of one call are told from those of another by its number


@functools.cache
def compiled(replicas: int) -> Callable:
    """The all-reduce of so many devices as one graph: (gradients [n,P], number of the call) -> n tensors [P]."""
    tf = import_tensorflow()
    devices, orders = [f"/CPU:{r}" for r in range(replicas)], []
    for device in devices:
        with tf.device(device):
            orders.append(tf.Variable(0.0))  # without it, TensorFlow would run one device after the other, and wait

    @tf.function(autograph=False)
    def all_reduce(gradients, call):
        held = []
        for r, device in enumerate(devices):
            with tf.device(device):
                held.append(tf.raw_ops.CollectiveReduceV2(
                    input=gradients[r], group_size=replicas, group_key=1000 + replicas, instance_key=call,
                    ordering_token=[orders[r].handle], merge_op="Add", final_op="Id", communication_hint="ring",
                    timeout_seconds=60.0,
                ))  # fmt: skip
        return held

    return all_reduce
