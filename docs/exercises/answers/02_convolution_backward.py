"""Exercise 2: the backward pass of a convolution, stride 1, no padding.

    y[n,i,j,o] = b[o] + sum over u,v,c of  x[n, i+u, j+v, c] * k[u,v,c,o]

    x [N,H,W,Cin], k [kh,kw,Cin,Cout], b [Cout], y [N,H',W',Cout], as in exercise 1
    dy [N,H',W',Cout]   dL/dy: how the loss L changes with each output

Wanted: dL/dx, dL/dk, dL/db, each with the shape of what it belongs to. A number that was used in many outputs gets the
sum of what they hand back.
"""

import numpy as np


def convolve_backward(dy, x, k, b):
    """dy, x, k, b as above  -> dx [N,H,W,Cin], dk [kh,kw,Cin,Cout], db [Cout]."""
    kernel_rows, kernel_columns = k.shape[:2]
    dx, dk, db = np.zeros(x.shape), np.zeros(k.shape), np.zeros(b.shape)
    for n, i, j, o in np.ndindex(dy.shape):
        window = n, slice(i, i + kernel_rows), slice(j, j + kernel_columns)  # x[window] is the patch [kh,kw,Cin]
        # gap: three lines: what this output hands back to dx[window], to dk[..., o] and to db[o]
        dx[window] += k[..., o] * dy[n, i, j, o]
        dk[..., o] += x[window] * dy[n, i, j, o]
        db[o] += dy[n, i, j, o]
        # end of gap
    return dx, dk, db
