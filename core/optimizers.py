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


def orthogonalized(matrix: tf.Tensor, iterations: int = 3) -> tf.Tensor:
    """Nearly U V' of the matrix U S V' [m,n]: the same directions, all about equally long.

    Newton-Schulz: X <- a X + (b A + c A^2) X with A = X X', begun at X / |X|. The coefficients (Jordan
    2024) bring every singular value from 1/50 |X| on between 0.68 and 1.21 in three rounds, which is near
    enough; weaker directions stay shorter.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else tf.transpose(matrix)
    x = tf.math.divide_no_nan(x, tf.norm(x))
    for _ in range(iterations):
        product = tf.matmul(x, x, transpose_b=True)
        x = a * x + tf.matmul(b * product + c * tf.matmul(product, product), x)
    return x if wide else tf.transpose(x)


def muon_update(weight, direction, learning_rate):
    """D for a convolution kernel [kh,kw,Cin,Cout]: its filters back to mean length 1, less lr times orthogonal steps.

    w <- w sqrt(Cout) / |w| - lr O, O the orthogonalised direction with one row a filter: no filter's
    step is drowned by that of a louder one.
    """
    filters = weight.shape[-1]
    rows = tf.transpose(tf.reshape(direction, [-1, filters]))  # [Cout, kh kw Cin]
    step = tf.reshape(tf.transpose(orthogonalized(rows)), weight.shape)
    return (tf.math.divide_no_nan(filters**0.5, tf.norm(weight)) - 1) * weight - learning_rate * step


class SGD(tf.Module):
    """Stochastic gradient descent with Nesterov momentum. Slots: one velocity a weight.

    Weight decay pulls on kernels (rank 2 and more) only: decaying a bias or a batch-norm scale
    limits what the layer can express and regularises nothing. Biases and shifts take steps
    shift_rate times as long: they are few, and a shift that lags holds its whole channel back.
    """

    def __init__(self, parameters: list[tf.Variable], momentum=0.9, weight_decay=0.0, shift_rate=1.0):
        super().__init__("sgd")
        self.parameters, self.momentum = parameters, momentum
        self.weight_decay, self.shift_rate = weight_decay, shift_rate
        self.velocities = [tf.Variable(tf.zeros_like(w), trainable=False) for w in parameters]

    def updates(self, gradients, learning_rate, step) -> list[tf.Tensor]:
        """The step d for each weight; the velocities move on. Step is not used: momentum has no clock."""
        steps = []
        for w, g, v in zip(self.parameters, gradients, self.velocities):
            rate = learning_rate if w.shape.rank >= 2 else self.shift_rate * learning_rate
            d, velocity = sgd_update(w, g, v, rate, self.momentum, self.decay_of(w))
            v.assign(velocity)
            steps.append(d)
        return steps

    def decay_of(self, weight: tf.Variable) -> float:
        """The weight decay of this weight."""
        return self.weight_decay if weight.shape.rank >= 2 else 0.0

    def slots(self) -> dict[str, list[tf.Variable]]:
        """What must be saved to go on, by name, each a list in the order of the weights."""
        return {"velocity": self.velocities}


class Muon(SGD):
    """Muon for convolutions, SGD for everything else. Slots: one velocity a weight.

    Jordan et al. 2024. The rate of the convolutions is muon_rate where that of the others is
    learning_rate; both follow one schedule.

    Convolutions have no weight decay: their length is fixed anyway, and where the gradient is short a pull to
    zero, orthogonalised with it, would take over much of the step (docs/speed.md).
    """

    def __init__(self, parameters, momentum=0.6, weight_decay=0.0, shift_rate=1.0, rate_ratio=1.0):
        super().__init__(parameters, momentum, weight_decay, shift_rate)
        self.rate_ratio = rate_ratio  # muon_rate / learning_rate

    def updates(self, gradients, learning_rate, step) -> list[tf.Tensor]:
        """The step d for each weight; the velocities move on."""
        steps = super().updates(gradients, learning_rate, step)
        for i, (w, v) in enumerate(zip(self.parameters, self.velocities)):
            if w.shape.rank == 4:  # v has moved on already: this is what SGD would step along
                direction = gradients[i] + self.momentum * v
                steps[i] = muon_update(w, direction, self.rate_ratio * learning_rate)
        return steps

    def decay_of(self, weight):
        """None for a convolution."""
        return 0.0 if weight.shape.rank == 4 else super().decay_of(weight)


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


def build(settings, parameters: list[tf.Variable]) -> SGD | Adam | Muon:
    """The optimizer that the settings name."""
    if settings.optimizer == "adam":
        return Adam(parameters, weight_decay=settings.weight_decay)
    rest = (settings.momentum, settings.weight_decay, settings.shift_rate)
    if settings.optimizer == "muon":
        return Muon(parameters, *rest, rate_ratio=settings.muon_rate / settings.learning_rate)
    return SGD(parameters, *rest)
