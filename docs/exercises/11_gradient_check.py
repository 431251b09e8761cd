"""Exercise 11: a gradient check.

    dL/dx at one entry is nearly  (L(x + h) - L(x - h)) / 2h,  h added to that entry alone      (central differences)

A gradient passes when every entry agrees: the largest |gradient - numerical| is at most TOLERANCE times the largest
|numerical|. Two gradients that are 0 everywhere agree and check nothing: that does not pass.
"""

import numpy as np

TOLERANCE = 1e-6


def numerical_gradient(loss, x, h=1e-5):
    """loss(x) returns one number; x is an array of floats  -> an array of the shape of x."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        ...  # the entry gradient[index], by the formula above; x itself must not change
    return gradient


def passes(loss, x, gradient):
    """Whether `gradient` is that of the loss at x: True or False."""
    passed = ...  # compare the gradient with numerical_gradient(loss, x)
    return passed
