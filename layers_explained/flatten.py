"""Flatten: the feature maps of an image become one vector; no number changes, only its index.

    y[n, (i*W + j)*C + c] = x[n,i,j,c]

    x [N,H,W,C]      N images of H rows, W columns, C channels
    y [N,H*W*C]      row by row, pixel by pixel, the channels of a pixel next to each other

Why it matters in training: a weight of the dense layer behind it belongs to one index, so the order must be the same
in every step, and in whatever loads the weights later.

Change a constant below and run the file again: python layers_explained/flatten.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support.comparison import Comparison, Mistake, Numbers, import_tensorflow
from layers_explained.support.constants import check_sizes, matrices, require
from layers_explained.support.figures import flatten as figures
from layers_explained.support.printing import number, print_beside
from layers_explained.support.walkthrough import Walkthrough

BATCH, ROWS, COLUMNS, CHANNELS = 4, 6, 5, 3  # N, H, W, C
SEED = 0  # of the random numbers in x and the target t

# By hand: one image of 2 x 2 pixels in three channels.
HAND_RED, HAND_GREEN, HAND_BLUE = [[1, 2], [3, 4]], [[10, 20], [30, 40]], [[100, 200], [300, 400]]


def forward_loops(x):
    """Implementation 1, the formula letter for letter.  x [N,H,W,C] -> y [N,H*W*C]."""
    _, height, width, channels = x.shape
    y = np.zeros((len(x), height * width * channels))
    for n, i, j, c in np.ndindex(x.shape):
        y[n, (i * width + j) * channels + c] = x[n, i, j, c]
    return y


def backward_loops(dy, x):
    """dL/dy -> dL/dx: each number has one index in y, so its gradient is read there, and = is enough."""
    _, _, width, channels = x.shape
    dx = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(x.shape):
        dx[n, i, j, c] = dy[n, (i * width + j) * channels + c]
    return dx


def forward_numpy(x):
    """Implementation 2: the numbers are in memory in this order already, so only the shape changes."""
    return x.reshape(len(x), -1)


def backward_numpy(dy, x):
    """The vector-Jacobian product of a reshape is the reshape back: its Jacobian is the identity."""
    return dy.reshape(x.shape)


def forward_tensorflow(x):
    """Implementation 3: pixel after pixel, [N,C] each, concatenated: so the channel is fastest."""
    tf = import_tensorflow()
    return tf.concat([x[:, i, j] for i, j in np.ndindex(*x.shape[1:3])], axis=1)


def layer(x):
    """Implementation 4: core.layers.Flatten; it has no parameters."""
    from core.layers import Flatten

    layer = Flatten("flatten")
    return lambda x: layer(x, training=True), []


def numbers():
    """x and a target t of the sizes at the top, drawn from N(0, 1). Raises Problem for impossible sizes."""
    check_sizes(globals(), "BATCH", "ROWS", "COLUMNS", "CHANNELS", "SEED")
    draw = np.random.default_rng(SEED).standard_normal
    return Numbers({"x": draw([BATCH, ROWS, COLUMNS, CHANNELS])}, draw([BATCH, ROWS * COLUMNS * CHANNELS]))


def definition():
    """Print the strides of the index."""
    print("   nothing is computed: 0 multiplications")
    print(f"   in y, the next channel is 1 index away, the next column {CHANNELS}, the next row {COLUMNS * CHANNELS}")


def hand_case():
    """x [1,H,W,3] and y by implementation 1. Raises Problem when the three channels are not equally large."""
    channels = matrices(globals(), "HAND_RED", "HAND_GREEN", "HAND_BLUE")
    shapes = [channel.shape for channel in channels]
    require(len(set(shapes)) == 1 and min(shapes[0]) >= 2, "HAND_RED, HAND_GREEN, HAND_BLUE are "
            f"{', '.join(map(str, shapes))}: expected equal shapes, 2 x 2 or larger")  # fmt: skip
    x = np.stack(channels, axis=-1)[None]
    return x, forward_loops(x)


def by_hand():
    """Print the hand case, forward and backward."""
    x, y = hand_case()
    print_beside(*((f"x, channel {c}", x[0, :, :, c]) for c in range(3)), ("y", y))
    for i, j, c in ((0, 0, 2), (0, 1, 0), (1, 0, 1)):
        index = (i * x.shape[2] + j) * 3 + c
        print(f"   x[0,{i},{j},{c}] = {number(x[0, i, j, c])} has index ({i}*{x.shape[2]} + {j})*3 + {c} = {index}")
    print("\n   Backward: dL/dy has a number for each index, and returns by the same map. With dL/dy = 0, 1, 2, ...:\n")
    dx = backward_loops(np.arange(float(y.size))[None], x)
    print_beside(*((f"dL/dx, channel {c}", dx[0, :, :, c]) for c in range(3)))


def further():
    """Print what the wrong orders do to a dense layer."""
    x = numbers().point["x"]
    right = forward_loops(x)
    template = right[0] / np.linalg.norm(right[0])  # learned on channel-last vectors: the weights that fit image 0
    foreign = np.count_nonzero(~np.isin(batch_too(x)[0], x[0]))
    print("   Behind a wrong order a dense layer has the right shapes. With weights that fit image 0, channel last:")
    print(f"   the score of image 0 is {right[0] @ template:.2f}; with its channels first, "
          f"{channel_first(x)[0] @ template:.2f}.")  # fmt: skip
    print(f"   With the batch flattened too, {foreign} of the {right[0].size} numbers of the first vector are of other "
          "images.")  # fmt: skip


def channel_first(x):
    """All of the first channel, then all of the second: the order of [N,C,H,W]."""
    return x.transpose(0, 3, 1, 2).reshape(len(x), -1)


def channel_first_backward(dy, x):
    """The backward pass that belongs to channel_first."""
    n, height, width, channels = x.shape
    return dy.reshape(n, channels, height, width).transpose(0, 2, 3, 1)


def batch_too(x):
    """Everything in one vector, then cut and transposed until the shape fits: the images are mixed."""
    return x.reshape(-1, len(x)).T


def batch_too_backward(dy, x):
    """The backward pass that belongs to batch_too."""
    return dy.T.reshape(x.shape)


COMPARISON = Comparison(numbers, (forward_loops, backward_loops), (forward_numpy, backward_numpy), forward_tensorflow,
    layer, (Mistake("channel first", channel_first, channel_first_backward),
            Mistake("batch flattened too", batch_too, batch_too_backward),
            Mistake("gradient reshaped channel first", backward=channel_first_backward)),
)  # fmt: skip
WALKTHROUGH = Walkthrough(
    globals(), definition, by_hand, (COMPARISON,), lambda: figures.hand_case(*hand_case(), backward_loops),
    figures.on_your_network, ("Flatten",), further,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(WALKTHROUGH.main())
