"""Exercise 10: im2col, which turns a convolution into one matrix product.

    row n,i,j of the matrix = the patch of x at position (i, j) of image n, written as one line, in the order u, v, c

    x [N,H,W,C]                      without padding, stride s
    matrix [N*H'*W', kh*kw*C]        rows in the order n, i, j

Then  y = im2col(x) @ k.reshape(kh*kw*C, Cout)  is the convolution of exercise 1, without a loop over positions.
"""

import numpy as np


def im2col(x, kernel_rows, kernel_columns, stride):
    """x, kh, kw, s as above  -> [N*H'*W', kh*kw*C]."""
    # gap matrix: every patch as a row
    rows = (x.shape[1] - kernel_rows) // stride + 1
    columns = (x.shape[2] - kernel_columns) // stride + 1
    patches = np.zeros([len(x), rows, columns, kernel_rows, kernel_columns, x.shape[3]])
    for u in range(kernel_rows):
        for v in range(kernel_columns):
            patches[:, :, :, u, v] = x[:, u : u + stride * rows : stride, v : v + stride * columns : stride]
    matrix = patches.reshape(len(x) * rows * columns, -1)
    # end of gap
    return matrix
