"""Exercise 1: convolution, forward."""

import numpy as np

from checker.arrays import call, expect_equal, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake

HAND_X, HAND_K = np.array([[1, 2, 0], [0, 1, 3], [2, 0, 1.0]]), np.array([[1, 0], [-1, 2.0]])
HAND_Y = [[4, 8], [-1, 4]]  # 1*1 + 2*0 + 0*-1 + 1*2 + 1 = 4, ...


def convolved(module, x, k, b, stride=1):
    """The learner's y."""
    return call(module, "convolve", x, k, b, stride)


def shape(module):
    """Two sizes, strides 1 and 2, rows and columns different."""
    for stride, rows, columns in ((1, 4, 6), (2, 2, 3)):
        y = convolved(module, numbers(0, 2, 6, 7, 3), numbers(1, 3, 2, 3, 4), numbers(2, 4), stride)
        rule = f"images 6x7, kernel 3x2, stride {stride}: (6 - 3) // {stride} + 1 rows, (7 - 2) // {stride} + 1 columns"
        expect_shape("y", y, (2, rows, columns, 4), rule)


def by_hand(module):
    """One image, one channel, one filter."""
    y = convolved(module, HAND_X[None, :, :, None], HAND_K[:, :, None, None], np.array([1.0]))
    expect_equal("y", np.squeeze(y), HAND_Y, "For x = [[1, 2, 0], [0, 1, 3], [2, 0, 1]], k = [[1, 0], [-1, 2]] and "
                 "b = 1, y is another one: y[0,0] = 1*1 + 2*0 + 0*(-1) + 1*2 + 1 = 4.")  # fmt: skip


def translation(module):
    """Equivariance: an image that is moved by the stride has the same feature map, moved by one."""
    x, k, b = numbers(3, 1, 9, 9, 2), numbers(4, 3, 3, 2, 2), numbers(5, 2)
    for stride in (1, 2):
        y, moved = (convolved(module, image, k, b, stride) for image in (x, x[:, stride:]))
        expect_equal("y of the moved image", moved, y[:, 1:], f"With stride {stride}, an image moved up by {stride} "
                     "rows must give the same feature map, moved up by one row.")  # fmt: skip


def every_entry(module):
    """Two images, three channels, stride 1 and 2, against one matrix product."""
    x, k, b = numbers(6, 2, 6, 7, 3), numbers(7, 3, 2, 3, 4), numbers(8, 4)
    for stride in (1, 2):
        windows = np.lib.stride_tricks.sliding_window_view(x, k.shape[:2], (1, 2))[:, ::stride, ::stride]
        y = convolved(module, x, k, b, stride)
        expect_equal("y", y, np.einsum("nijcuv,uvco->nijo", windows, k) + b,
                     f"Two images with three channels, stride {stride}: not every entry of y is right.")  # fmt: skip


def probe(module):
    """The hand case with two channels, and a larger one."""
    x, k, b = numbers(6, 2, 6, 7, 3), numbers(7, 3, 2, 3, 4), numbers(8, 4)
    return [convolved(module, x, k, b, 1), convolved(module, x, k, b, 2)]


SUM = "np.sum(patch * k[..., o]) + b[o]"
EXERCISE = Exercise(
    title="convolution, forward",
    hints=(
        "Draw the image on paper and lay the kernel on it. At how many positions does it fit in a row? Which numbers "
        "of x lie under it at position (i, j)? How many numbers of y does one position give?",
        "One output is the sum over u, v and c of patch times filter, plus the bias of that filter. The patch of "
        "position (i, j) begins at row stride * i and column stride * j. A row of H numbers has (H - kh) // stride + 1 "
        "positions.",
        "Inside four loops over n, i, j, o: patch = x[n, stride*i : stride*i + kh, stride*j : stride*j + kw], of shape "
        "[kh,kw,Cin]; then y[n, i, j, o] = np.sum(patch * k[..., o]) + b[o].",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("translation", translation),
        Check("every entry", every_entry),
    ),
    probe=probe,
    mistakes=(
        Mistake(
            "kernel flipped",
            "You turn the kernel around before multiplying. Mathematics calls that a convolution; the layer computes "
            "the cross-correlation, with the kernel as it is.",
            (("patch * k[..., o]", "patch * k[::-1, ::-1, :, o]"),),
        ),
        Mistake(
            "bias forgotten",
            "The sum is right, and the bias is missing: each output of filter o gets b[o] added once.",
            ((SUM, "np.sum(patch * k[..., o])"),),
        ),
        Mistake(
            "bias in every product",
            "The bias stands inside the sum, so it is added once for each product; it belongs behind the sum, once.",
            ((SUM, "np.sum(patch * k[..., o] + b[o])"),),
        ),
        Mistake(
            "first channel only",
            "Only the first channel of x is used. A filter has weights for every input channel, and the sum runs over "
            "all of them.",
            (("patch * k[..., o]", "patch[..., 0] * k[..., 0, o]"),),
        ),
        Mistake(
            "window not moved by the stride",
            "With stride 2 the number of positions is right, but the window still moves by 1: position i begins at row "
            "stride * i.",
            (("top, left = stride * i, stride * j", "top, left = i, j"),),
        ),
        Mistake(
            "one position too few",
            "The last position is missing in each direction. A kernel of 3 fits into a row of 6 at 6 - 3 + 1 "
            "positions: count them with a finger.",
            (("rows = (x.shape[1] - k.shape[0]) // stride + 1", "rows = (x.shape[1] - k.shape[0]) // stride"),
             ("columns = (x.shape[2] - k.shape[1]) // stride + 1", "columns = (x.shape[2] - k.shape[1]) // stride")),
        ),
        Mistake(
            "mean instead of sum",
            "You take the mean of the products; a convolution adds them up. (A kernel of 1/9 everywhere makes a mean "
            "out of the sum.)",
            ((SUM, "np.mean(patch * k[..., o]) + b[o]"),),
        ),
    ),
    explanation="Each output is one patch of the image, times one filter, summed. All positions share the filter: "
    "that is why the layer has so few parameters, why an image that moves gives a feature map that moves, and why "
    "the size of the image stands nowhere in the kernel. core/layers/convolution.py computes the same sum in one call, "
    "tf.nn.conv2d.",
)  # fmt: skip
