"""Optimizers: first the update as a formula, then the class that keeps its books.

A formula takes tensors and returns tensors; it can be called by hand with two numbers. A class
keeps one slot a weight (in the order of `parameters`, which is network order) and answers
`updates(gradients, learning_rate, step)`: the list d of steps to add, w <- w + d. Handing d out
instead of applying it lets the loop, and so the reader, see the very number that moves a weight.
"""

import tensorflow as tf


def sgd_update(weight, gradient, velocity, learning_rate, momentum, weight_decay):
    """(d, v'):  g <- g + wd w;  v' = mu v + g;  d = -lr (g + mu v').

    Nesterov's momentum in the form of Sutskever et al. 2013 with the look-ahead folded in, as
    every framework computes it. momentum 0 is plain gradient descent: d = -lr g.
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
    """Stochastic gradient descent with Nesterov momentum. Slots: one velocity a weight.

    Weight decay pulls on kernels (rank 2 and more) only: decaying a bias or a batch-norm scale
    limits what the layer can express and regularises nothing.
    """

    def __init__(self, parameters: list[tf.Variable], momentum: float = 0.9, weight_decay: float = 0.0):
        super().__init__("sgd")
        self.parameters, self.momentum, self.weight_decay = parameters, momentum, weight_decay
        self.velocities = [tf.Variable(tf.zeros_like(w), trainable=False) for w in parameters]

    def updates(self, gradients, learning_rate, step) -> list[tf.Tensor]:
        """The step d for each weight; the velocities move on. Step is not used: momentum has no clock."""
        steps = []
        for w, g, v in zip(self.parameters, gradients, self.velocities):
            decay = self.weight_decay if w.shape.rank >= 2 else 0.0
            d, velocity = sgd_update(w, g, v, learning_rate, self.momentum, decay)
            v.assign(velocity)
            steps.append(d)
        return steps

    def slots(self) -> dict[str, list[tf.Variable]]:
        """What must be saved to go on, by name, each a list in the order of the weights."""
        return {"velocity": self.velocities}


class Adam(tf.Module):
    """Adam with decoupled weight decay. Slots: first and second moment a weight; the clock is the step."""

    def __init__(self, parameters: list[tf.Variable], beta1=0.9, beta2=0.999, epsilon=1e-7, weight_decay=0.0):
        super().__init__("adam")
        self.parameters, self.beta1, self.beta2 = parameters, beta1, beta2
        self.epsilon, self.weight_decay = epsilon, weight_decay
        self.firsts = [tf.Variable(tf.zeros_like(w), trainable=False) for w in parameters]
        self.seconds = [tf.Variable(tf.zeros_like(w), trainable=False) for w in parameters]

    def updates(self, gradients, learning_rate, step) -> list[tf.Tensor]:
        """The step d for each weight at step t >= 1; both moments move on."""
        steps = []
        for w, g, m, v in zip(self.parameters, gradients, self.firsts, self.seconds):
            decay = self.weight_decay if w.shape.rank >= 2 else 0.0
            d, first, second = adam_update(w, g, m, v, step, learning_rate, self.beta1, self.beta2, self.epsilon, decay)
            m.assign(first)
            v.assign(second)
            steps.append(d)
        return steps

    def slots(self) -> dict[str, list[tf.Variable]]:
        """What must be saved to go on, by name, each a list in the order of the weights."""
        return {"first_moment": self.firsts, "second_moment": self.seconds}


def build(settings, parameters: list[tf.Variable]) -> SGD | Adam:
    """The optimizer that the settings name."""
    if settings.optimizer == "adam":
        return Adam(parameters, weight_decay=settings.weight_decay)
    return SGD(parameters, settings.momentum, settings.weight_decay)
