"""Exercise 4: softmax cross-entropy and its gradient.

p[n,k] = exp(z[n,k]) / sum over j of exp(z[n,j])       the probabilities
L      = mean over n of  -log p[n, label of n]         the loss, in nats

z [N,K]        logits of N images and K classes; they may be as large as 1000
labels [N]     the true classes, 0 to K-1
dz [N,K]       dL/dz
"""

import numpy as np


def softmax_cross_entropy(z, labels):
    """z, labels as above  -> L, one number, and dz [N,K]."""
    loss = dz = ...  # log p, the mean of -log p of the true class; then the gradient
    return loss, dz
