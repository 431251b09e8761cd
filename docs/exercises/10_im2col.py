"""Exercise 10: im2col, which turns a convolution into one matrix product.

    row n,i,j of the matrix = the patch of x at position (i, j) of image n, written as one line, in the order u, v, c

    x [N,H,W,C]                      without padding, stride s
    matrix [N*H'*W', kh*kw*C]        rows in the order n, i, j

Then  y = im2col(x) @ k.reshape(kh*kw*C, Cout)  is the convolution of exercise 1, without a loop over positions.
"""

import numpy as np


def im2col(x, kernel_rows, kernel_columns, stride):
    """x, kh, kw, s as above  -> [N*H'*W', kh*kw*C]."""
    matrix = ...  # every patch as a row
    return matrix
