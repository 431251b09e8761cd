"""Exercise 12: find the bug. The loss of this loop stays at chance level, log 3 = 1.0986, with any learning rate.

A linear classifier of K classes, z = x w + b, is trained by gradient descent on batches. One line is wrong; the
gradient is right. Repair it so that the loss falls; the images are still to be shuffled in each epoch, because they are
sorted by class.

    x [M,D]         M images as vectors of D numbers, sorted by class
    labels [M]      0 to K-1
"""

import numpy as np


def loss_and_gradient(x, labels, w, b):
    """Mean cross-entropy of a batch  -> loss, dw [D,K], db [K]."""
    z = x @ w + b  # [B,K]
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(len(x)), labels]).mean()
    dz = (p - np.eye(len(b))[labels]) / len(x)
    return loss, x.T @ dz, dz.sum(axis=0)


def train(x, labels, classes, epochs, batch_size, learning_rate, seed):
    """Train from zero weights  -> w [D,K], b [K] and the loss of every step."""
    rng = np.random.default_rng(seed)
    w, b, losses = np.zeros((x.shape[1], classes)), np.zeros(classes), []
    for _ in range(epochs):
        order = rng.permutation(len(x))
        x, labels = x[order], labels[order]
        for start in range(0, len(x), batch_size):
            batch = slice(start, start + batch_size)
            loss, dw, db = loss_and_gradient(x[batch], labels[batch], w, b)
            w = w - learning_rate * dw
            b = b - learning_rate * db
            losses.append(loss)
    return w, b, losses
