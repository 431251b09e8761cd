"""Exercise 13: find the bug. With batches of 2 this loop learns; with 60 and the same learning rate the loss explodes.

A linear classifier again, as in exercise 12. One line is wrong. Repair it so that a step is about as long with 2 images
as with 60: twice the same images must give the same step.

    x [M,D], labels [M], w [D,K], b [K]
"""

import numpy as np


def loss_and_gradient(x, labels, w, b):
    """Mean cross-entropy of a batch  -> loss, dw [D,K], db [K]."""
    z = x @ w + b  # [B,K]
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(x)), labels]).mean()
    dz = (p - np.eye(len(b))[labels]) / len(x)
    dw = x.T @ dz
    db = dz.sum(axis=0)
    return loss, dw, db


def train(x, labels, classes, epochs, batch_size, learning_rate, seed):
    """Train from zero weights  -> w [D,K], b [K] and the loss of every step."""
    rng = np.random.default_rng(seed)
    w, b, losses = np.zeros((x.shape[1], classes)), np.zeros(classes), []
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            batch = order[start : start + batch_size]
            loss, dw, db = loss_and_gradient(x[batch], labels[batch], w, b)
            w = w - learning_rate * dw
            b = b - learning_rate * db
            losses.append(loss)
    return w, b, losses
