"""The scaling law of data parallelism: how long a step takes on n workers, and what that is worth.

    A(n) = 2 (n-1)/n 4P/b + 2 (n-1) l              seconds of a ring all-reduce of P numbers in float32
    T(n) = C/n + S + A(n)                          seconds of a step; T(1) = C + S
    E(n) = T(1) / (n T(n)) = (C + S) / (C + n (S + A(n)))      efficiency: 1 where n workers are n times as fast

    P   parameters: as many numbers are all-reduced        b   bytes a second that a worker sends
    C   seconds of the whole batch on one worker           l   seconds until a message has arrived, the latency
    S   seconds of what every worker does in full

The whole batch has B images on any number of workers, so that training is the same. Forward and backward pass take
three times the F operations of a forward pass: C = 3 F B / R on a worker of R operations a second, and S = U / R with
U the operations of Muon, which orthogonalizes the averaged gradient on every worker.
"""

from dataclasses import dataclass

import numpy as np

BYTES = 4  # of a number in float32
WORKER = 300e9  # R: two cores in bfloat16, as docs/results.md measures them (69 % of 426 GFLOP/s)


@dataclass(frozen=True)
class Recipe:
    """What the step of a recipe takes; tests/layers_explained/support/test_scaling_law.py counts it."""

    batch_size: int  # B
    parameters: int  # P
    forward_flops: int  # F, of one image
    muon_flops: int = 0  # U, of one step

    def on(self, worker: float = WORKER) -> "Cost":
        """The recipe on workers of so many operations a second."""
        return Cost(self.parameters, 3 * self.forward_flops * self.batch_size / worker, self.muon_flops / worker)

    @property
    def flops_per_byte(self) -> float:
        """Operations for each byte that is all-reduced: 3 F B / 4P, the number that decides how it scales."""
        return 3 * self.forward_flops * self.batch_size / (BYTES * self.parameters)


@dataclass(frozen=True)
class Cost:
    """The seconds of a step on one worker: C, which is divided among the workers, and S, which is not."""

    parameters: int  # P
    divided: float  # C
    in_full: float = 0.0  # S


@dataclass(frozen=True)
class Network:
    """What connects the workers."""

    bytes_per_second: float  # b
    latency: float  # l, in seconds


RECIPES = {
    "classic": Recipe(100, 356_810, 21_342_986),
    "modern": Recipe(125, 1_129_514, 68_019_210),
    "minute": Recipe(500, 146_112, 34_459_434, 111_968_256),
    "five": Recipe(1000, 1_069_504, 114_296_746, 2_597_093_376),
    "fast": Recipe(1000, 1_971_328, 236_915_754, 6_333_530_112),
}
# Bandwidths by name; latencies assumed: a message of TensorFlow's gRPC over TCP, and one of NCCL over InfiniBand.
NETWORKS = {
    "1 Gb/s": Network(0.125e9, 150e-6),
    "10 Gb/s": Network(1.25e9, 150e-6),
    "100 Gb/s": Network(12.5e9, 10e-6),
}


def muon_flops(kernels: list[tuple[int, ...]], iterations: int = 3) -> int:
    """U: three matrix products in each of Muon's iterations, for every kernel [kh,kw,Cin,Cout] of a convolution."""
    total = 0
    for *window, filters in kernels:
        short, long = sorted((int(np.prod(window)), filters))
        total += iterations * 2 * (2 * short * short * long + short**3)
    return total


def all_reduce_seconds(workers, count: int, network: Network):
    """A(n) of `count` numbers in float32. workers: n, or an array of them."""
    n = np.asarray(workers, float)
    return 2 * (n - 1) / n * BYTES * count / network.bytes_per_second + 2 * (n - 1) * network.latency


def network_of(workers, counts, seconds) -> Network:
    """The bandwidth and the latency whose A(n) is nearest to measured seconds, in relative squares.

    workers, counts, seconds: n, the numbers all-reduced and the time of each measurement, arrays of one length.
    Raises ValueError where more numbers do not take longer.
    """
    n, counts, seconds = (np.asarray(values, float) for values in (workers, counts, seconds))
    columns = np.stack([2 * (n - 1) / n * BYTES * counts, 2 * (n - 1)], axis=1)
    (per_byte, latency), *_ = np.linalg.lstsq(columns / seconds[:, None], np.ones(len(seconds)), rcond=None)
    if per_byte <= 0:
        raise ValueError("more numbers did not take longer")
    return Network(1 / per_byte, max(float(latency), 0.0))


def cost_of(parameters: int, whole: float, part: float, parts: int) -> Cost:
    """C and S from one worker's seconds of a step with the whole batch, and with one of `parts` equal parts of it."""
    divided = min((whole - part) * parts / (parts - 1), whole)
    return Cost(parameters, divided, whole - divided)


def step_seconds(workers, cost: Cost, network: Network):
    """T(n)."""
    return cost.divided / np.asarray(workers) + cost.in_full + all_reduce_seconds(workers, cost.parameters, network)


def efficiency(workers, cost: Cost, network: Network):
    """E(n): 1 where n workers are n times as fast as one, 1/n where they are as fast as one."""
    return (cost.divided + cost.in_full) / (np.asarray(workers) * step_seconds(workers, cost, network))


def most_workers(cost: Cost, network: Network, wanted: float = 0.5, most: int = 1024) -> int:
    """The largest n, up to `most`, whose efficiency is at least `wanted`. E falls with every worker."""
    n = np.arange(1, most + 1)
    return int(n[efficiency(n, cost, network) >= wanted].max())
