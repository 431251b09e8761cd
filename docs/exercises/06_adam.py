"""Exercise 6: Adam (Kingma & Ba 2015, algorithm 1), for one parameter.

m' = beta1 * m + (1 - beta1) * g          moving average of the gradient
v' = beta2 * v + (1 - beta2) * g * g      moving average of its square
mh = m' / (1 - beta1 to the power t)      both begin at 0, which makes them too small: corrected
vh = v' / (1 - beta2 to the power t)
w' = w - learning_rate * mh / (sqrt(vh) + epsilon)
"""

import numpy as np


def adam_step(w, g, m, v, t, learning_rate, beta1, beta2, epsilon):
    """Step t = 1, 2, ...; w, g, m, v have one shape  -> the new w, m, v."""
    w = m = v = ...  # the two moving averages, their corrected copies, the new weight
    return w, m, v
