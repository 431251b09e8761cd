"""Exercise 10: im2col."""

import numpy as np

from checker.arrays import array, call, expect_equal, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake, Wrong

X = numbers(0, 2, 6, 7, 3)


def matrix_of(module, x, kernel_rows, kernel_columns, stride=1):
    """The learner's matrix."""
    return array(call(module, "im2col", x, kernel_rows, kernel_columns, stride), "matrix")


def patches(x, kernel_rows, kernel_columns, stride):
    """The same by NumPy's own windows."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel_rows, kernel_columns), (1, 2))
    windows = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)  # [N,H',W',kh,kw,C]
    return windows.reshape(-1, kernel_rows * kernel_columns * x.shape[3])


def shape(module):
    """A row for each position, a column for each weight of a filter."""
    for stride, rows, columns in ((1, 4, 6), (2, 2, 3)):
        expect_shape("matrix", matrix_of(module, X, 3, 2, stride), (2 * rows * columns, 3 * 2 * 3),
                     f"2 images with {rows}x{columns} positions each; a patch has 3*2*3 numbers")  # fmt: skip


def by_hand(module):
    """One image of 3x3, patches of 2x2."""
    x = np.arange(1.0, 10).reshape(1, 3, 3, 1)
    expected = [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]
    expect_equal("matrix", matrix_of(module, x, 2, 2), expected, "For x = [[1, 2, 3], [4, 5, 6], [7, 8, 9]] and patches"
                 " of 2x2, the first row of the matrix is 1 2 4 5, the second 2 3 5 6.")  # fmt: skip


def nothing_new(module):
    """Every number of the matrix is one of x; a 1x1 patch only writes x differently."""
    found = matrix_of(module, X, 1, 1)
    expect_equal("matrix", found, X.reshape(-1, 3), "With a 1x1 kernel the matrix is x itself, a row for each pixel.")
    if not np.all(np.isin(matrix_of(module, X, 3, 2, 2), X)):
        raise Wrong("The matrix holds numbers that are not in x: without padding each entry is a pixel.")


def as_convolution(module):
    """The matrix product is the convolution."""
    for stride in (1, 2):
        k = numbers(1, 3, 2, 3, 4)
        y = matrix_of(module, X, 3, 2, stride) @ k.reshape(-1, 4)
        rule = "the order inside a row must be u, v, c" if stride == 1 else "patch (i, j) begins at row 2i, column 2j"
        expect_equal("y", y, patches(X, 3, 2, stride) @ k.reshape(-1, 4), f"With stride {stride}, matrix @ kernel is "
                     f"not the convolution of exercise 1: {rule}.")  # fmt: skip


def probe(module):
    """Two strides, several channels; rows and columns differ."""
    return [matrix_of(module, X, 3, 2, stride) for stride in (1, 2)]


INTO = "patches = np.zeros([len(x), rows, columns, kernel_rows, kernel_columns, x.shape[3]])"
EXERCISE = Exercise(
    title="im2col",
    hints=(
        "Write the numbers 1 to 9 as a 3x3 image on paper. Which four numbers are the patch at (0, 0), and which the "
        "one at (0, 1)? Write them as the first two rows of a matrix.",
        "Fill an array [N,H',W',kh,kw,C] first, one patch at each position, and reshape it at the end to two "
        "dimensions: reshape keeps the order, so the axes must already stand in the order n, i, j, u, v, c.",
        "Loop over u and v only: patches[:, :, :, u, v] = x[:, u : u + stride * rows : stride, v : v + stride * "
        "columns : stride]. Then patches.reshape(N * rows * columns, -1).",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("numbers of x only", nothing_new),
        Check("as a convolution", as_convolution),
    ),
    probe=probe,
    mistakes=(
        Mistake(
            "channels before positions in the kernel",
            "Inside a row the channels come first, order c, u, v. The kernel [kh,kw,C,Cout] is read in the order u, v, "
            "c, and the rows must be too.",
            (("matrix = patches", "matrix = patches.transpose(0, 1, 2, 5, 3, 4)"),),
        ),
        Mistake(
            "transposed",
            "The matrix is transposed: a row is a patch, a column one weight of the kernel.",
            (("* columns, -1)", "* columns, -1).T"),),
        ),
        Mistake(
            "columns before rows",
            "The positions are in the order n, j, i: the rows of the matrix go down the image first. The order is "
            "n, i, j.",
            (("matrix = patches", "matrix = patches.transpose(0, 2, 1, 3, 4, 5)"),),
        ),
        Mistake(
            "kernel rows and columns exchanged",
            "Each patch is written column by column. Inside a row the order is u, v, c: first along a row "
            "of the patch.",
            (("matrix = patches", "matrix = patches.transpose(0, 1, 2, 4, 3, 5)"),),
        ),
        Mistake(
            "window not moved by the stride",
            "With stride 2 the patches still move by 1: position i begins at row stride * i.",
            (("x[:, u : u + stride * rows : stride, v : v + stride * columns : stride]",
              "x[:, u : u + rows, v : v + columns]"),),
        ),
        Mistake(
            "stride in rows only",
            "Down the image the patches move by the stride, and along a row by 1: column stride * j.",
            (("v : v + stride * columns : stride]", "v : v + columns]"),),
        ),
        Mistake(
            "stride inside the patch",
            "The stride is inside the patches, every second pixel, and the patches move by 1. It is the other way "
            "round: a patch is dense and begins at row stride * i.",
            (("x[:, u : u + stride * rows : stride, v : v + stride * columns : stride]",
              "x[:, u * stride : u * stride + rows, v * stride : v * stride + columns]"),),
        ),
        Mistake(
            "patches turned around",
            "Each patch is turned around, its last pixel first. A row begins with the patch's pixel at the top left, "
            "as the kernel does.",
            (("matrix = patches", "matrix = patches[:, :, :, ::-1, ::-1]"),),
        ),
        Mistake(
            "first image only",
            "All rows are those of the first image: the loop over the images does not use its number.",
            (("= x[:, u :", "= x[:1, u :"),),
        ),
        Mistake(
            "images last",
            "The rows are in the order i, j, n. All positions of the first image come first: n, i, j.",
            (("matrix = patches", "matrix = patches.transpose(1, 2, 0, 3, 4, 5)"),),
        ),
        Mistake(
            "reshaped without moving anything",
            "reshape alone cannot make patches: it keeps the numbers in their order, and patches overlap, so that a "
            "pixel occurs in several rows.",
            ((INTO, INTO + "\n    return np.resize(x, (len(x) * rows * columns, kernel_rows * kernel_columns * "
              "x.shape[3]))"),),
        ),
    ),
    explanation="Each pixel is copied into every patch it belongs to, up to kh * kw times; that memory buys one large "
    "matrix product, which processors do best. The backward pass adds the patches back, col2im: see backward_numpy in "
    "layers_explained/convolution.py.",
)  # fmt: skip
