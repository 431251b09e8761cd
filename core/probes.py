"""What is measured of a network while it learns. Nothing here changes what it measures.

To log another quantity of a layer's kernel, add one line to LAYER_QUANTITIES: its name is what
layers.csv will call it. w is the kernel before the step, g its gradient, d the step taken, w0
the kernel before the first step, last the gradient of the step before.
"""

import numpy as np
import tensorflow as tf

from core.batches import standardize
from core.losses import softmax_cross_entropy

LAYER_QUANTITIES = {
    "gradient_norm": lambda w, g, d, w0, last: tf.norm(g),  # how hard the data pushes
    "gradient_rms": lambda w, g, d, w0, last: tf.norm(g) / tf.size(g, tf.float32) ** 0.5,  # the same, a weight
    "weight_norm": lambda w, g, d, w0, last: tf.norm(w),
    "update_ratio": lambda w, g, d, w0, last: share(tf.norm(d), tf.norm(w)),  # about 1e-3 in a healthy run
    "credit": lambda w, g, d, w0, last: dot(g, d),  # what the step promises to take off the loss: negative is good
    "distance": lambda w, g, d, w0, last: share(tf.norm(w - w0), tf.norm(w0)),  # how far have we walked?
    "gradient_cosine": lambda w, g, d, w0, last: share(dot(g, last), tf.norm(g) * tf.norm(last)),  # zig-zag?
}  # fmt: skip

ACTIVATION_QUANTITIES = ("activation_mean", "activation_deviation", "zero_share", "dead_channels")
DENSE_START = 100
NEAR_ZERO = 1e-6  # a number smaller than this counts as silent
ACTIVATION_IMAGES, ACTIVATION_PIECE = 1_000, 200  # training pictures that activations are measured on; at a time
MICRO_BATCHES = 4  # pieces a batch is cut into to see how much its pictures agree


def norms_due(step, every):
    """Whether the kernels of this step are measured: all of the first DENSE_START, where trouble shows, then some."""
    return (step <= DENSE_START) | (step % every == 0)


def share(part: tf.Tensor, whole: tf.Tensor) -> tf.Tensor:
    """part / whole, and 0 where whole is 0: an all-zero kernel has no ratio, but its log must have a number."""
    return tf.math.divide_no_nan(part, whole)


def dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The inner product of two tensors of one shape."""
    return tf.reduce_sum(a * b)


def kernel_layers(network) -> list:
    """The layers that have a kernel which is learned, in network order."""
    return [layer for layer in network.layers if any(v is getattr(layer, "kernel", None) for v in layer.parameters)]


class LayerProbe(tf.Module):
    """Measures LAYER_QUANTITIES inside the step, from tensors the step has anyway.

    Its slots are the gradients of the step before a due one, one a kernel: they belong into a
    checkpoint, or a resumed run would log another cosine. Switched off it measures nothing and has none.
    """

    def __init__(self, network, on: bool = True):
        super().__init__("probe")
        layers = kernel_layers(network) if on else []
        places = {id(variable): i for i, variable in enumerate(network.parameters)}
        self.names = [layer.name for layer in layers]
        self.kernels = [layer.kernel for layer in layers]
        self.places = [places[id(kernel)] for kernel in self.kernels]
        self.starts = [tf.constant(kernel.numpy()) for kernel in self.kernels]
        self.every = tf.Variable(1, trainable=False) if on else None  # a cadence can still be chosen after the trace
        self.last_gradients = [tf.Variable(tf.zeros_like(kernel), trainable=False) for kernel in self.kernels]

    def measure(self, step, gradients: list, updates: list) -> dict[str, tf.Tensor]:
        """Every quantity of every kernel: {name: [layers] float32}, in network order; zeros when not due.

        To be called before w moves. Looking at every weight takes time, so at the steps in between the
        graph skips it, and keeps a gradient only when the next step will ask for it.
        """
        if not self.kernels:
            return {}
        of_kernels = [gradients[i] for i in self.places]

        def quantities():
            rows = zip(self.kernels, of_kernels, [updates[i] for i in self.places], self.starts, self.last_gradients)
            rows = list(rows)
            return {name: tf.stack([f(*row) for row in rows]) for name, f in LAYER_QUANTITIES.items()}

        def keep():
            for last, gradient in zip(self.last_gradients, of_kernels):
                last.assign(gradient)
            return True

        def nothing():
            return {name: tf.zeros(len(self.kernels), of_kernels[0].dtype) for name in LAYER_QUANTITIES}

        now, next_time = norms_due(step, self.every), norms_due(step + 1, self.every)

        def look():
            measured = tf.cond(now, quantities, nothing)
            tf.cond(next_time, keep, lambda: False)
            return measured

        return tf.cond(now | next_time, look, nothing)  # eight steps of ten pass this one door and no other

    def slots(self) -> dict[str, list[tf.Variable]]:
        """What must be saved to go on, by name, each a list in the order of `kernels`."""
        return {"last_gradient": self.last_gradients}


def activation_piece(images, network) -> list[tuple[tf.Tensor, ...]]:
    """Of each layer's output, in forward order: mean [], variance [], share of zeros [], loudest [C].

    uint8 [N,32,32,3] ->. In evaluation mode. loudest: the largest |y| of each channel over all pictures and places.
    """
    rows = []
    for _, y in network.outputs(standardize(images), training=False):
        y = tf.cast(y, tf.float32)
        size = tf.abs(y)
        silent = tf.reduce_mean(tf.cast(size < NEAR_ZERO, tf.float32))
        loudest = tf.reduce_max(size, list(range(y.shape.rank - 1)))
        rows.append((*tf.nn.moments(y, list(range(y.shape.rank))), silent, loudest))
    return rows


def activation_quantities(pieces: list) -> dict[str, np.ndarray]:
    """{name: [layers]} over all pieces of equal size: mean, deviation, share of zeros, share of dead channels.

    A channel is dead when it is silent everywhere on every picture: |y| < NEAR_ZERO. Zeros in half the
    places are normal.
    """
    rows = []
    for several in zip(*pieces):  # one layer, in every piece
        means, variances, silent = (np.array([float(piece[i]) for piece in several]) for i in range(3))
        variance = np.mean(variances + means**2) - np.mean(means) ** 2
        dead = np.max([piece[3].numpy() for piece in several], axis=0) < NEAR_ZERO
        rows.append((means.mean(), max(variance, 0) ** 0.5, silent.mean(), dead.mean()))
    return dict(zip(ACTIVATION_QUANTITIES, np.array(rows).T))


def batch_loss(step, batches, network, settings) -> tf.Tensor:
    """The loss train_step would find on step's batch with the weights of now: same pictures, same dropout mask.

    Batch norm normalises by the batch, as in training; its moving averages are put back.
    """
    kept = [tf.identity(statistic) for statistic in network.statistics]
    images, labels = batches.batch(step)
    logits = network.logits(standardize(images), training=True, step=step)
    loss = tf.reduce_mean(softmax_cross_entropy(logits, labels, settings.label_smoothing))
    for statistic, value in zip(network.statistics, kept):
        statistic.assign(value)
    return loss


def curvature(images, labels, network) -> tf.Tensor:
    """k = g'Hg / g'g: how tightly the loss bends in the direction of its gradient g.  uint8 [N,32,32,3], [N] -> [].

    H g is one Hessian-vector product, forward over reverse (Pearlmutter 1994): the derivative of
    the gradient when the weights move along g. Dropout and batch norm are frozen, so that the loss is a
    function of the weights alone. Plain gradient descent is stable while k < 2 / learning rate.
    """
    images = standardize(images)

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(softmax_cross_entropy(network.logits(images, training=False), labels))
        return tape.gradient(loss, network.parameters)

    g = gradients()
    with tf.autodiff.ForwardAccumulator(network.parameters, g) as along_g:
        bent = gradients()
    hessian_g = [along_g.jvp(tensor) for tensor in bent]
    return share(sum(dot(a, b) for a, b in zip(g, hessian_g)), sum(dot(a, a) for a in g))


def gradient_noise(step, batches, network, settings) -> tuple[tf.Tensor, tf.Tensor]:
    """(G2, S): unbiased estimates of |true gradient|^2 and of the variance one picture adds.

    McCandlish et al. 2018, appendix A.1.
    From the batch of B pictures cut into micro-batches of b: G2 = (B |g_B|^2 - b |g_b|^2) / (B - b),
    S = (|g_b|^2 - |g_B|^2) / (1/b - 1/B). One estimate is very noisy, and G2 may come out negative:
    average many of both, then divide. B_simple = mean(S) / mean(G2) is the batch size at which more
    pictures a step stop paying.
    """
    images, labels = batches.batch(step)
    b = images.shape[0] // MICRO_BATCHES
    total = b * MICRO_BATCHES
    pieces = []
    for i in range(MICRO_BATCHES):
        mine = slice(i * b, (i + 1) * b)
        with tf.GradientTape() as tape:
            logits = network.logits(standardize(images[mine]), training=False)
            loss = tf.reduce_mean(softmax_cross_entropy(logits, labels[mine], settings.label_smoothing))
        pieces.append(tape.gradient(loss, network.parameters))
    small = sum(dot(g, g) for piece in pieces for g in piece) / MICRO_BATCHES
    means = [sum(several) / MICRO_BATCHES for several in zip(*pieces)]
    large = sum(dot(g, g) for g in means)
    return (total * large - b * small) / (total - b), (small - large) / (1 / b - 1 / total)


def first_not_finite(step, batches, network, settings) -> str:
    """Where step's numbers stop being finite, in words: the first such kernel, output, loss or gradient.

    To be called with the weights before that step. Takes the step line by line, changes nothing.
    """
    for name, variable in network.named_variables.items():
        if not all_finite(variable):
            return f"the weights of '{name}' were no longer finite before that step"
    kept = [tf.identity(statistic) for statistic in network.statistics]
    images, labels = batches.batch(step)
    try:
        with tf.GradientTape() as tape:
            for layer, y in network.outputs(standardize(images), training=True, step=step):
                if not all_finite(y):
                    return f"the first output that is not finite is that of layer '{layer.name}'"
            loss = tf.reduce_mean(softmax_cross_entropy(tf.cast(y, tf.float32), labels, settings.label_smoothing))
        if not all_finite(loss):
            return "every layer's output is finite, the loss is not"
        gradients = tape.gradient(loss, network.parameters)
    finally:
        for statistic, value in zip(network.statistics, kept):
            statistic.assign(value)
    names = {id(variable): name for name, variable in network.named_variables.items()}
    for parameter, gradient in reversed(list(zip(network.parameters, gradients))):  # the way the gradient travels
        if not all_finite(gradient):
            return f"the first gradient that is not finite is that of '{names[id(parameter)]}'"
    if not all_finite(tf.linalg.global_norm(gradients)):
        largest = max(zip(gradients, network.parameters), key=lambda pair: float(tf.reduce_max(tf.abs(pair[0]))))[1]
        return (
            f"every gradient is finite, but so long that their norm is not, the gradient of '{names[id(largest)]}' most"
        )
    return "taken line by line, every number of that step is finite"


def all_finite(x) -> bool:
    """Whether a tensor holds no NaN and no infinity."""
    return bool(tf.reduce_all(tf.math.is_finite(x)))
