"""Exercise 7: batch normalization, forward.

    y = gamma * (x - m) / sqrt(v + epsilon) + beta        for each channel by itself

    x [N,H,W,C]; gamma, beta, moving_mean, moving_variance [C]

In training, m and v are the mean and the variance of the channel over the batch: over images, rows and columns. Then
the moving averages follow:  moving <- momentum * moving + (1 - momentum) * that of the batch.
In evaluation, m and v are the moving averages, which stay as they are.
"""

import numpy as np


def batch_norm(x, gamma, beta, moving_mean, moving_variance, training, momentum=0.9, epsilon=1e-3):
    """training: True or False  -> y [N,H,W,C] and the new moving_mean and moving_variance, [C] each."""
    y = ...  # mean and variance, in training those of the batch; the moving averages; y
    return y, moving_mean, moving_variance
