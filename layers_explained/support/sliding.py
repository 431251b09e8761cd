"""Where a window lies as it slides over an image: shared by the convolution and the pooling walkthrough."""

import numpy as np


def window(x, k, stride, padding):
    """((top, bottom), (left, right)) zeros around the image, and the shape [N,H',W',Cout] of the output.

    x [N,H,W,Cin], k [kh,kw,Cin,Cout]: arrays or tensors, only their shapes are used.
    """
    margins, sizes = [], []
    for size, kernel in zip(x.shape[1:3], k.shape[:2]):
        positions = -(-size // stride)  # SAME: ceil(size / stride), so that stride 1 keeps the size
        zeros = max((positions - 1) * stride + kernel - size, 0) if padding == "SAME" else 0
        margins.append((zeros // 2, zeros - zeros // 2))  # an odd one goes below and to the right
        sizes.append((size + zeros - kernel) // stride + 1)
    return *margins, (x.shape[0], *sizes, k.shape[3])


def patches(x, k, stride, padding):
    """im2col: the patch of x under the kernel, for every position.  -> [N,H',W',kh,kw,Cin]."""
    rows, columns, _ = window(x, k, stride, padding)
    x = np.pad(x, [(0, 0), rows, columns, (0, 0)])
    views = np.lib.stride_tricks.sliding_window_view(x, k.shape[:2], axis=(1, 2))  # [N,.,.,Cin,kh,kw]
    return views[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def windows(x, size, stride, padding):
    """What every window covers: rows and columns [H',W',size^2], and which of them are inside the image.

    x [N,H,W,C]; only its shape is used. Outside the image rows and columns are 0.
    """
    lines = []
    for length in x.shape[1:3]:
        positions, over = (length - size) // stride + 1, 0
        if padding == "SAME":
            positions = -(-length // stride)  # ceil(length / stride)
            over = max((positions - 1) * stride + size - length, 0)  # an odd one goes below and to the right
        lines.append(stride * np.arange(positions)[:, None] + np.arange(size) - over // 2)  # [positions,size]
    grids = np.broadcast_arrays(lines[0][:, None, :, None], lines[1][:, None])  # [H',W',size,size] each
    rows, columns = (side.reshape(*side.shape[:2], size * size) for side in grids)
    inside = (0 <= rows) & (rows < x.shape[1]) & (0 <= columns) & (columns < x.shape[2])
    return np.where(inside, rows, 0), np.where(inside, columns, 0), inside


def scatter(parts, x, **sizes):
    """parts [N,H',W',size^2,C] of windows, each added to its number in x.  -> [N,H,W,C]."""
    rows, columns, _ = windows(x, **sizes)
    dx = np.zeros(x.shape)
    np.add.at(dx, (slice(None), rows, columns), parts)  # dx[:, rows, columns] += parts would count an index once
    return dx
