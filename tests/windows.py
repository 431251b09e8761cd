"""Sliding windows for the tests of convolution and pooling: sizes to try, and padding by its definition."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def window_cases(draw):
    """(shape of the input [N,H,W,C], kernel size, stride, padding), with a window that fits."""
    batch, channels = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    largest = min(rows, columns) if padding == "VALID" else 5
    size, stride = draw(st.integers(1, largest)), draw(st.integers(1, 3))
    return (batch, rows, columns, channels), size, stride, padding


def padded(x: np.ndarray, size: int, stride: int, padding: str, fill: float) -> np.ndarray:
    """[N,H,W,C] with a border of `fill`: none for VALID; for SAME so that ceil(H/s) windows fit, the odd row below."""
    if padding == "VALID":
        return x
    borders = [(0, 0)]
    for side in x.shape[1:3]:
        total = max((-(-side // stride) - 1) * stride + size - side, 0)
        borders.append((total // 2, total - total // 2))
    return np.pad(x, [*borders, (0, 0)], constant_values=fill)


def each_window(x: np.ndarray, size: int, stride: int, padding: str, fill: float = 0.0):
    """(i, j, window [N,size,size,C]) for every output position, by the loops of the definition."""
    x = padded(x, size, stride, padding, fill)
    for i, top in enumerate(range(0, x.shape[1] - size + 1, stride)):
        for j, left in enumerate(range(0, x.shape[2] - size + 1, stride)):
            yield i, j, x[:, top : top + size, left : left + size]


def by_windows(function, x: np.ndarray, size: int, stride: int, padding: str, fill: float = 0.0) -> np.ndarray:
    """`function` of every window ([N,size,size,C] -> [N,C']) as [N,H',W',C']."""
    outputs = {(i, j): function(window) for i, j, window in each_window(x, size, stride, padding, fill)}
    rows, columns = (1 + max(indices) for indices in zip(*outputs))
    return np.stack([np.stack([outputs[i, j] for j in range(columns)], axis=1) for i in range(rows)], axis=1)
