"""Exercise 1: the forward pass of a convolution, in loops.

y[n,i,j,o] = b[o] + sum over u,v,c of  x[n, s*i+u, s*j+v, c] * k[u,v,c,o]

x [N,H,W,Cin]        N images of H rows, W columns, Cin channels
k [kh,kw,Cin,Cout]   the kernel; k[...,o] is filter o
b [Cout]             one bias for each filter
y [N,H',W',Cout]     without padding: H' and W' count the positions at which the whole kernel fits
"""

import numpy as np


def convolve(x, k, b, stride):
    """x, k, b as above, stride s = 1, 2, ...  -> y [N,H',W',Cout]."""
    # gap y: the positions in each direction, y full of zeros, four loops over its entries
    rows = (x.shape[1] - k.shape[0]) // stride + 1
    columns = (x.shape[2] - k.shape[1]) // stride + 1
    y = np.zeros([len(x), rows, columns, k.shape[3]])
    for n in range(len(x)):
        for i in range(rows):
            for j in range(columns):
                top, left = stride * i, stride * j
                patch = x[n, top : top + k.shape[0], left : left + k.shape[1]]  # [kh,kw,Cin]
                for o in range(k.shape[3]):
                    y[n, i, j, o] = np.sum(patch * k[..., o]) + b[o]
    # end of gap
    return y
