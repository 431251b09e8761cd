"""Exercise 3: max-pooling, backward."""

import numpy as np

from checker.arrays import array, call, expect_equal, expect_gradient, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake, Wrong

X, DY = numbers(0, 2, 4, 6, 3), numbers(1, 2, 2, 3, 3)
TIED = np.array([[3, 1, 0, 0], [3, 2, 0, 0], [5, 5, 1, 4], [0, 5, 4, 4.0]])[None, :, :, None]


def backward(module, dy, x):
    """The learner's dx."""
    return array(call(module, "max_pool_backward", dy, x), "dx")


def forward(x):
    """2x2 max-pooling."""
    n, rows, columns, channels = x.shape
    return x.reshape(n, rows // 2, 2, columns // 2, 2, channels).max(axis=(2, 4))


def shape(module):
    """That of x."""
    expect_shape("dx", backward(module, DY, X), X.shape, "a gradient has the shape of what it belongs to, here x")


def by_hand(module):
    """One window in four has a maximum at each corner."""
    x = np.array([[1, 2, 9, 0], [0, 3, 4, 1], [7, 7, 1, 2], [0, 5, 8, 3.0]])
    dy = np.array([[10, 20], [30, -40.0]])
    expected = [[0, 0, 20, 0], [0, 10, 0, 0], [30, 0, 0, 0], [0, 0, -40, 0]]
    found = backward(module, dy[None, :, :, None], x[None, :, :, None])
    expect_equal("dx", found[0, :, :, 0], expected, "For x = [[1, 2, 9, 0], [0, 3, 4, 1], [7, 7, 1, 2], [0, 5, 8, 3]] "
                 "and dL/dy = [[10, 20], [30, -40]], dx is another one: the 3 won its window and gets 10.")  # fmt: skip


def zero_pattern(module):
    """One number of each window is not zero, and the sum is that of dy."""
    dx = backward(module, DY, X)
    count = (dx.reshape(2, 2, 2, 3, 2, 3) != 0).sum(axis=(2, 4))
    if not np.all(count == 1):
        raise Wrong(f"In each window of four exactly one number of dx is not zero; here some window has {count.max()}"
                    f" and some has {count.min()}.")  # fmt: skip
    expect_equal("the sum of dx", dx.sum(axis=(1, 2)), DY.sum(axis=(1, 2)),
                 "Max-pooling hands on all of dL/dy: the sums of dx and dy are equal in every channel.")  # fmt: skip


def gradient_check(module):
    """Every entry by finite differences, away from ties."""
    expect_gradient("dx", backward(module, DY, X), lambda x: np.sum(forward(x) * DY), X)


def probe(module):
    """Random numbers, and windows in which the maximum occurs twice."""
    return [backward(module, DY, X), backward(module, np.arange(1.0, 5).reshape(1, 2, 2, 1), TIED)]


FIND = "        u, v = np.unravel_index(np.argmax(window), window.shape)\n"
HAND = "        dx[n, 2 * i + u, 2 * j + v, c] = dy[n, i, j, c]\n"
INSIDE = "dx[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]"
EXERCISE = Exercise(
    title="max-pooling, backward",
    hints=(
        "Write a window of four numbers on paper and make one of the three smaller ones a little larger. What happens "
        "to the maximum, and so to the loss? What does that say about its gradient?",
        "The derivative of a maximum is 1 for the number that won and 0 for the others. So all of dy goes to one "
        "position of the window; np.argmax finds it, counting 0, 1, 2, 3 row by row.",
        "u, v = np.unravel_index(np.argmax(window), window.shape) gives the position inside the window; in dx that is "
        "row 2 * i + u, column 2 * j + v of image n and channel c.",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("zero pattern", zero_pattern),
        Check("gradient check", gradient_check),
    ),
    probe=probe,
    mistakes=(
        Mistake(
            "divided among all four",
            "You give each of the four numbers a quarter of dy. That is average-pooling; the maximum depends on the "
            "winner alone, which gets all of it.",
            ((FIND, ""), (HAND, f"        {INSIDE} = dy[n, i, j, c] / 4\n")),
        ),
        Mistake(
            "all four get it",
            "All four numbers of a window get dy. Only the winner's change reaches the output; the other three get 0.",
            ((FIND, ""), (HAND, f"        {INSIDE} = dy[n, i, j, c]\n")),
        ),
        Mistake(
            "every equal maximum gets it",
            "Where the largest number occurs twice, both get dy, so that dx hands on more than dy holds. The first one "
            "gets it alone: window == window.max() marks them all, np.argmax the first.",
            ((FIND, ""), (HAND, f"        {INSIDE} = (window == window.max()) * dy[n, i, j, c]\n")),
        ),
        Mistake(
            "the last equal maximum wins",
            "Where the largest number occurs twice, you give dy to the last one; agreed is the first, row by row.",
            ((FIND, "        u, v = np.argwhere(window == window.max())[-1]\n"),),
        ),
        Mistake(
            "rows and columns exchanged",
            "Row and column of the winner are exchanged: np.unravel_index(p, window.shape) gives the row p // 2 first, "
            "then the column p % 2.",
            ((FIND, "        v, u = np.unravel_index(np.argmax(window), window.shape)\n"),),
        ),
        Mistake(
            "the maximum instead of dL/dy",
            "The winner gets the value of the maximum. It gets dL/dy: a gradient says how the loss changes, and the "
            "forward value has done its work by choosing the winner.",
            ((HAND, "        dx[n, 2 * i + u, 2 * j + v, c] = window[u, v]\n"),),
        ),
        Mistake(
            "multiplied by the maximum",
            "You multiply dy by the maximum. The derivative of a maximum by its winner is 1, not its value.",
            ((HAND, "        dx[n, 2 * i + u, 2 * j + v, c] = dy[n, i, j, c] * window[u, v]\n"),),
        ),
        Mistake(
            "the smallest number wins",
            "dy goes to the smallest number of each window: np.argmin instead of np.argmax?",
            (("np.argmax", "np.argmin"),),
        ),
        Mistake(
            "largest magnitude wins",
            "dy goes to the number with the largest magnitude, so that -3 beats 2: max-pooling takes the largest "
            "number, with its sign.",
            (("np.argmax(window)", "np.argmax(np.abs(window))"),),
        ),
    ),
    explanation="A maximum is a switch: the forward pass sets it to one of four inputs, and the backward pass sends "
    "all of dL/dy along the same way. Three quarters of the gradient of a 2x2 max-pooling are zero. At a tie the "
    "function has no derivative; TensorFlow takes the first one, and so do we.",
)  # fmt: skip
