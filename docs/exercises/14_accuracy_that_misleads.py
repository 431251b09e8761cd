"""Exercise 14: find the bug. This evaluation reports another accuracy for each batch size, with the same predictions.

The images are evaluated batch by batch, because all of them at once do not fit into memory: at most batch_size images
go into `predict` at a time. The last batch may be short. Repair `evaluate`, so that it returns the fraction of correct
predictions over all images, whatever the batch size.

    predict     a function x [B,D] -> classes [B]
    x [M,D], labels [M]
"""

import numpy as np


def evaluate(predict, x, labels, batch_size):
    """The accuracy over all images: a number from 0 to 1."""
    accuracies = []
    for start in range(0, len(x), batch_size):
        batch = slice(start, start + batch_size)
        accuracies.append(np.mean(predict(x[batch]) == labels[batch]))
    return np.mean(accuracies)
