"""Exercise 3: the backward pass of 2x2 max-pooling, stride 2.

    y[n,i,j,c] = the largest of x[n, 2i:2i+2, 2j:2j+2, c]

    x [N,H,W,C]          H and W are even
    y, dy [N,H/2,W/2,C]  the outputs, and dL/dy

The loss changes with the number that won; a small change of the other three changes nothing. Of several equal ones, the
first wins, row by row.
"""

import numpy as np


def max_pool_backward(dy, x):
    """dy, x as above  -> dx [N,H,W,C]."""
    dx = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(dy.shape):
        window = x[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]  # [2,2]
        ...  # find row u and column v of the largest number in the window, and hand dy to that position of dx
    return dx
