"""Exercise 5: gradient descent with momentum, for a list of parameters.

    v' = momentum * v + g            the velocity: gradients added up, the older ones fading
    w' = w - learning_rate * v'

weights, gradients and velocities are lists of arrays, one entry for each parameter, all in the same order.
"""


def momentum_step(weights, gradients, velocities, learning_rate, momentum):
    """One step  -> the new weights and the new velocities, as two new lists."""
    new_weights, new_velocities = [], []
    for w, g, v in zip(weights, gradients, velocities):
        ...  # the new velocity and the new weight of this parameter, appended to the two lists
    return new_weights, new_velocities
