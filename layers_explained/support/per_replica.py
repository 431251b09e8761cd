"""What the walkthrough of data parallelism prints: the hand case, the scaling law, what goes wrong on each replica."""

import itertools

import numpy as np

from layers_explained.support import scaling_law
from layers_explained.support.printing import number, print_beside, several

ROWS, CHANNELS = 96, 16  # of the batch that batch norm and dropout are computed on
RATE, STEPS = 0.5, 2000  # of the dropout; steps that its noise is measured over


def print_halves(x, t, w, rate) -> None:
    """Print each half's gradient of L = 1/2 mean of (w x - t)^2, their mean, and that of the whole batch."""
    error, half = w * x[0] - t[0], x.size // 2
    halves = slice(0, half), slice(half, x.size)
    print(f"   y = w x, w = {number(w)}, L = 1/2 mean of (y - t)^2, so dL/dw = mean of (y - t) x\n")
    for r, own in enumerate(halves):
        print_beside((f"replica {r}: x", x[:, own]), ("t", t[:, own]), ("y - t", error[None, own]),
                     ("(y - t) x", (error * x[0])[None, own]), ("its mean", np.mean((error * x[0])[own])))  # fmt: skip
    own = [np.mean((error * x[0])[rows]) for rows in halves]
    averaged, whole = np.mean(own), np.mean(error * x[0])
    print(f"   mean of the two: ({' + '.join(map(number, own))}) / 2 = {number(averaged)};  "
          f"of the whole batch: {number(whole)};  equal: {bool(averaged == whole)}")  # fmt: skip
    alone = [w - rate * gradient for gradient in own]
    print(f"   rate {number(rate)}: both go on with w = {number(w - rate * averaged)}; without the all-reduce with "
          f"{' and '.join(map(number, alone))}, {number(abs(alone[0] - alone[1]))} apart\n")  # fmt: skip


def print_ring(gradients, ring) -> None:
    """Print what every replica of a ring holds after each round, and how much it has sent."""
    n, count = gradients.shape
    print(f"   A ring of {n} replicas: a row for each replica, a column for each chunk (here of one number)\n")
    rounds = [("gradients", gradients)]
    rounds += [(f"added, round {t}", ring(gradients, adding=t, spreading=0)) for t in range(1, n)]
    rounds += [(f"spread, round {t}", ring(gradients, spreading=t)) for t in range(1, n)]
    for i in range(0, len(rounds), 3):
        print_beside(*rounds[i : i + 3])
    right = bool(np.all(rounds[-1][1] == gradients.sum(axis=0)))
    print(f"   every row is the sum of all rows: {right}\n"
          f"   each replica has sent {several(2 * (n - 1), 'message')}: 2 (n-1)/n P = "
          f"{number(2 * (n - 1) / n * count)} numbers, and received as many\n"
          f"   with replica 0 as a centre, that one would receive and send (n-1) P = {number((n - 1) * count)} "
          "numbers")  # fmt: skip


def print_law(worker: float) -> None:
    """Print the scaling law of every recipe on workers of so many operations a second."""
    name, network = "10 Gb/s", scaling_law.NETWORKS["10 Gb/s"]
    print(f"\n   Workers of {worker / 1e9:,.0f} GFLOP/s, {name}, latency {network.latency * 1e6:.0f} microseconds;\n"
          "   a worker of 8 sends 2 (n-1)/n 4P bytes a step:\n")  # fmt: skip
    print(f"   {'recipe':8}{'images':>8}{'parameters':>12}{'MB sent':>9}{'C, ms':>9}{'S, ms':>7}{'A(8), ms':>10}"
          f"{'FLOP a byte':>13}{'E(8)':>7}   workers with E of 50 % or more")  # fmt: skip
    found, ratio = {}, {}
    for recipe, needs in scaling_law.RECIPES.items():
        cost = needs.on(worker)
        found[recipe] = float(scaling_law.efficiency(8, cost, network))
        ratio[recipe] = needs.flops_per_byte
        sent = 2 * 7 / 8 * scaling_law.BYTES * needs.parameters / 1e6
        all_reduce = scaling_law.all_reduce_seconds(8, needs.parameters, network)
        print(f"   {recipe:8}{needs.batch_size:8,}{needs.parameters:12,}{sent:9.1f}{1000 * cost.divided:9.1f}"
              f"{1000 * cost.in_full:7.1f}{1000 * all_reduce:10.2f}{ratio[recipe]:13,.0f}{100 * found[recipe]:5.0f} %"
              f"   {scaling_law.most_workers(cost, network):,}")  # fmt: skip
    best, worst = max(found, key=found.get), min(found, key=found.get)
    print(f"\n   {best} scales best, {worst} worst: for each byte that is all-reduced {best} computes "
          f"{ratio[best] / ratio[worst]:.1f} times as much.")  # fmt: skip


def print_what_goes_wrong(replicas: int, seed: int) -> None:
    """Print, computed: batch norm over each replica's rows, one dropout mask for all, a rate n times as large."""
    random = np.random.default_rng(seed)
    rows = ROWS - ROWS % replicas
    x, dy = random.standard_normal([2, rows, CHANNELS])
    print(f"   Batch norm over the rows of each replica, {rows} rows in all: difference from one device, "
          "root mean square\n")  # fmt: skip
    print("   replicas   rows of each       y   dL/dx   one device, as many micro-batches")
    gaps, same = [], True
    for n in sorted({2, replicas, *(d for d in (8, 24) if rows % d == 0)}):
        if rows % n == 0:
            gaps.append(difference_of_batch_norm(x, dy, n))
            each = np.reshape(x, [n, rows // n, CHANNELS])  # one device normalizes every micro-batch by itself
            y = (each - each.mean(axis=1, keepdims=True)) / each.std(axis=1, keepdims=True)
            gap = np.max(np.abs(np.concatenate(y) - normalized_per_replica(x, dy, n)[0]))
            print(f"   {n:8}   {rows // n:12}   {gaps[-1][0]:5.3f}   {gaps[-1][1]:5.3f}   {number(gap)}")
            same = same and gap < 1e-12
    grows = all(a < b for a, b in itertools.pairwise(gaps))
    print(f"   Fewer rows, larger difference: {grows}. Mean and variance are those of the rows they are taken over:"
          f"\n   other mathematics, unless one device has the same micro-batches. Then to rounding the same: {same}.\n"
          )  # fmt: skip
    (mean, own), (same_mean, same) = (gradient_noise(random, rows, replicas, one) for one in (False, True))
    print(f"   Dropout, rate {RATE:g}, over {STEPS:,} steps: the averaged gradient of {rows} images whose gradient "
          f"without dropout is 1\n   a mask for each image           mean {mean:.2f}, standard deviation {own:.3f}\n"
          f"   the same masks on all replicas  mean {same_mean:.2f}, standard deviation {same:.3f}, "
          f"{same / own:.2f} times,\n   the noise of {rows * (own / same) ** 2:.0f} images instead of {rows}\n"
          )  # fmt: skip
    losses = random.standard_normal([replicas, rows // replicas])
    added, averaged = sum(np.mean(own) for own in losses), np.mean(losses)
    print(f"   Each loss divided by its local batch, then added: {added / averaged:.2f} times the mean, and so is every"
          f"\n   gradient: the learning rate is {added / averaged:.2f} times the one that was chosen.")  # fmt: skip


def normalized(x, dy):
    """(y, dL/dx) of batch normalization over the rows of x [N,C], gamma 1 and beta 0."""
    s = x.std(axis=0)
    y = (x - x.mean(axis=0)) / s
    return y, (dy - dy.mean(axis=0) - y * (dy * y).mean(axis=0)) / s


def normalized_per_replica(x, dy, replicas):
    """The same, by so many replicas, each over its own rows."""
    found = [normalized(*own) for own in zip(np.split(x, replicas), np.split(dy, replicas))]
    return tuple(np.concatenate(parts) for parts in zip(*found))


def difference_of_batch_norm(x, dy, replicas) -> tuple[float, float]:
    """Root mean square of the difference that makes, in y and in dL/dx."""
    pairs = zip(normalized(x, dy), normalized_per_replica(x, dy, replicas))
    return tuple(float(np.sqrt(np.mean((one - other) ** 2))) for one, other in pairs)


def gradient_noise(random, rows: int, replicas: int, one_mask: bool) -> tuple[float, float]:
    """(mean, standard deviation) over steps of the mean over rows of m / (1 - r), m a mask for each row.

    one_mask: the masks of the first replica's rows are used again by every other replica.
    """
    drawn = random.random([STEPS, rows // replicas if one_mask else rows]) >= RATE
    masks = np.tile(drawn, (1, replicas)) if one_mask else drawn
    averaged = masks.mean(axis=1) / (1 - RATE)
    return float(np.mean(averaged)), float(np.std(averaged))
