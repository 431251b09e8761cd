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
    y = ...  # the positions in each direction, y full of zeros, four loops over its entries
    return y
