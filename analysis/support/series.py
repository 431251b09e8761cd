"""Series of numbers over the steps of a run: taken out of layers.csv, smoothed, thinned out for drawing."""

import itertools
from pathlib import Path

import numpy as np

from core.run import logs
from core.run.errors import LogError

MOST_NAMES = 1_000  # layers, or quantities, of one file


def smoothed(values: np.ndarray, fraction: float = 0.02) -> np.ndarray:
    """Exponential moving average over about fraction * n points, debiased: s_t = (a s_{t-1} + (1-a) x_t) / (1 - a^t).

    Debiased (as Adam's moments are), the line starts at the data and not at zero. A value that
    is not finite is left out of the average. values [n] -> [n] float64.
    """
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    seen = np.cumsum(finite)  # [n] finite values up to and with each position: t above
    average = moving_average(values[finite], 1 - 1 / max(fraction * len(values), 1))
    return np.concatenate([[np.nan], average])[seen]


def moving_average(x: np.ndarray, decay: float, block: int = 256) -> np.ndarray:
    """The debiased average of finite x [n], computed a block of positions at a time, as one after the other would be.

    Inside a block y_i = (1-a) sum_{j<=i} a^{i-j} x_j is one product with a triangular matrix; what
    came before the block enters as a^{i+1} times its last y.
    """
    n = len(x)
    x = np.concatenate([x, np.zeros(-n % block)]).reshape(-1, block)  # [blocks,block]
    age = np.arange(block)[:, None] - np.arange(block)  # [i,j] -> i - j
    y = x @ np.where(age >= 0, (1 - decay) * decay ** np.maximum(age, 0), 0.0).T
    fading = decay ** np.arange(1, block + 1)
    for before, here in itertools.pairwise(y):
        here += fading * before[-1]
    return y.ravel()[:n] / (1 - decay ** np.arange(1, n + 1))


def envelope(x: np.ndarray, y: np.ndarray, columns: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """The same line in few points: first, lowest, highest and last value of each of `columns` equal stretches of x.

    On a screen of that many pixels it is the whole line, peaks included. x [n] rises; a short line comes back
    unchanged. A value that is not finite hides no peak.
    """
    if len(x) <= 4 * columns:
        return x, y
    stretch = np.minimum((x - x[0]) * (columns / (x[-1] - x[0])), columns - 1).astype(np.int64)
    begins = np.flatnonzero(np.diff(stretch, prepend=-1))
    ends = np.append(begins[1:], len(x)) - 1
    y = np.where(np.isfinite(y), y, np.nan)
    lowest, highest = np.fmin.reduceat(y, begins), np.fmax.reduceat(y, begins)
    middle = (x[begins] + x[ends]) / 2
    return (
        np.stack([x[begins], middle, middle, x[ends]], axis=1).ravel(),
        np.stack([y[begins], lowest, highest, y[ends]], axis=1).ravel(),
    )


def layer_series(folder: Path) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """layers.csv taken apart: {quantity: {layer: (steps [n] int64, values [n] float64)}}, layers in network order.

    What is measured of the network as a whole stands under the layer "network". Raises LogError.
    """
    table = logs.read(folder, logs.LAYERS)
    numbering = [numbered(table[column]) for column in ("layer", "quantity")]
    if None in numbering:
        raise LogError(f"{folder / logs.LAYERS}: more than {MOST_NAMES:,} layers or quantities; was it edited?")
    (layers, layer), (quantities, quantity) = numbering
    series = layer.astype(np.int32) * len(quantities) + quantity  # one number a series
    order = np.argsort(series, kind="stable")  # stable: the steps of a series go on rising
    begins = np.flatnonzero(np.diff(series[order], prepend=-1))
    found = {name: {} for name in quantities}
    for begin, end in zip(begins, np.append(begins[1:], len(order))):
        rows = order[begin:end]
        i, j = divmod(int(series[rows[0]]), len(quantities))
        found[quantities[j]][layers[i]] = table["step"][rows], table["value"][rows]
    return found


def numbered(names: np.ndarray) -> tuple[list[str], np.ndarray] | None:
    """The different names of a text column in the order in which they first appear, and the number of each row's.

    None if there are more than MOST_NAMES.
    """
    number, different = np.full(len(names), -1, np.int16), []
    while len(names) and number[first := int(number.argmin())] < 0:
        if len(different) == MOST_NAMES:
            return None
        number[names == names[first]] = len(different)
        different.append(names[first].decode())
    return different, number
