"""Optimizers: first the update rule as a formula, then the class that keeps its state.

A formula takes tensors and returns tensors; it can be called by hand with two numbers. A class keeps the optimizer
state, one variable or two for each parameter (in network order), and returns from `updates(gradients, learning_rate,
step)` the list of updates d: w <- w + d. The loop adds them, so that a reader sees the number that changes a weight.
"""

import tensorflow as tf


def sgd_update(weight, gradient, velocity, learning_rate, momentum, weight_decay):
    """(d, v'):  g <- g + wd w;  v' = mu v + g;  d = -lr (g + mu v').

    Nesterov momentum in PyTorch's form: the learning rate multiplies the whole update. Keras keeps the rate inside
    the velocity, v' = mu v - lr g, which is the same only while the rate is constant. Sutskever et al. 2013.
    momentum 0 is plain gradient descent: d = -lr g.
    """
    gradient = gradient + weight_decay * weight
    velocity = momentum * velocity + gradient
    return -learning_rate * (gradient + momentum * velocity), velocity


def adam_update(weight, gradient, first, second, step, learning_rate, beta1, beta2, epsilon, weight_decay):
    """(d, m', v') at step t = 1, 2, ...  Kingma & Ba 2015, algorithm 1, with the decay of Loshchilov & Hutter 2019.

    m' = b1 m + (1-b1) g;  v' = b2 v + (1-b2) g^2;  mh = m'/(1-b1^t);  vh = v'/(1-b2^t);
    d = -lr (mh / (sqrt(vh) + eps) + wd w).
    """
    t = tf.cast(step, gradient.dtype)
    first = beta1 * first + (1 - beta1) * gradient
    second = beta2 * second + (1 - beta2) * tf.square(gradient)
    unbiased_first = first / (1 - tf.pow(tf.constant(beta1, gradient.dtype), t))
    unbiased_second = second / (1 - tf.pow(tf.constant(beta2, gradient.dtype), t))
    direction = unbiased_first / (tf.sqrt(unbiased_second) + epsilon) + weight_decay * weight
    return -learning_rate * direction, first, second


class SGD(tf.Module):
    """Stochastic gradient descent with Nesterov momentum. State: one velocity for each parameter.

    Weight decay acts on kernels (rank 2 and more) only: on a bias or a batch-norm gamma it would limit what the layer
    can express and regularize nothing.
    """

    def __init__(self, parameters: list[tf.Variable], momentum=0.9, weight_decay=0.0):
        super().__init__("sgd")
        self.parameters, self.momentum, self.weight_decay = parameters, momentum, weight_decay
        self.velocities = [tf.Variable(tf.zeros_like(w), trainable=False) for w in parameters]

    def updates(self, gradients, learning_rate, step) -> list[tf.Tensor]:
        """The update d for each parameter; the velocities change. The step is not used."""
        updates = []
        for w, g, v in zip(self.parameters, gradients, self.velocities):
            d, velocity = sgd_update(w, g, v, learning_rate, self.momentum, self.decay_of(w))
            v.assign(velocity)
            updates.append(d)
        return updates

    def decay_of(self, weight: tf.Variable) -> float:
        """The weight decay of this weight."""
        return self.weight_decay if weight.shape.rank >= 2 else 0.0

    def state(self) -> dict[str, list[tf.Variable]]:
        """The variables that a checkpoint holds, by name, each list in the order of the parameters."""
        return {"velocity": self.velocities}


class Adam(tf.Module):
    """Adam; with weight_decay above 0 it is AdamW. State: first and second moment for each parameter.

    The time t of the bias correction is the step, which is also the only counter of the loop.
    """

    def __init__(self, parameters: list[tf.Variable], beta1=0.9, beta2=0.999, epsilon=1e-7, weight_decay=0.0):
        super().__init__("adam")
        self.parameters, self.beta1, self.beta2 = parameters, beta1, beta2
        self.epsilon, self.weight_decay = epsilon, weight_decay
        self.firsts = [tf.Variable(tf.zeros_like(w), trainable=False) for w in parameters]
        self.seconds = [tf.Variable(tf.zeros_like(w), trainable=False) for w in parameters]

    def updates(self, gradients, learning_rate, step) -> list[tf.Tensor]:
        """The update d for each parameter at step t >= 1; both moments change."""
        updates = []
        for w, g, m, v in zip(self.parameters, gradients, self.firsts, self.seconds):
            decay = self.weight_decay if w.shape.rank >= 2 else 0.0
            d, first, second = adam_update(w, g, m, v, step, learning_rate, self.beta1, self.beta2, self.epsilon, decay)
            m.assign(first)
            v.assign(second)
            updates.append(d)
        return updates

    def state(self) -> dict[str, list[tf.Variable]]:
        """The variables that a checkpoint holds, by name, each list in the order of the parameters."""
        return {"first_moment": self.firsts, "second_moment": self.seconds}
