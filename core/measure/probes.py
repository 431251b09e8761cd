"""What is measured of a network during training. A measurement changes nothing.

To log another quantity of a layer's kernel, add one line to LAYER_QUANTITIES: its name is what
layers.csv will call it. w is the kernel before the step, g its gradient, d the update, w0
the initial kernel, last the gradient of the step before.
"""

import contextlib

import numpy as np
import tensorflow as tf

from core import replicas
from core.data.batches import standardize
from core.losses import softmax_cross_entropy

LAYER_QUANTITIES = {
    "gradient_norm": lambda w, g, d, w0, last: tf.norm(g),
    "gradient_rms": lambda w, g, d, w0, last: tf.norm(g) / tf.size(g, tf.float32) ** 0.5,
    "weight_norm": lambda w, g, d, w0, last: tf.norm(w),
    "update_ratio": lambda w, g, d, w0, last: safe_divide(tf.norm(d), tf.norm(w)),  # often near 1e-3
    "first_order_change": lambda w, g, d, w0, last: dot(g, d),  # of the loss; negative: it decreases
    "distance": lambda w, g, d, w0, last: safe_divide(tf.norm(w - w0), tf.norm(w0)),  # from the initial kernel
    "gradient_cosine": lambda w, g, d, w0, last: safe_divide(dot(g, last), tf.norm(g) * tf.norm(last)),
}  # fmt: skip

ACTIVATION_QUANTITIES = ("activation_mean", "activation_std", "sparsity", "dead_channels")
DENSE_START = 100
NEAR_ZERO = 1e-6  # a number smaller than this counts as zero
ACTIVATION_IMAGES, ACTIVATION_BATCH = 1_000, 200  # training images that activations are measured on; at a time
NOISE_PARTS = 4  # parts of a batch whose gradients are compared


def norms_due(step, every):
    """Whether the kernels are measured at this step: at all of the first DENSE_START, then at every `every`-th."""
    return (step <= DENSE_START) | (step % every == 0)


def safe_divide(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """a / b, and 0 where b is 0: an all-zero kernel has no ratio, but its row needs a number."""
    return tf.math.divide_no_nan(a, b)


def dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The inner product of two tensors of one shape."""
    return tf.reduce_sum(a * b)


def step_metrics(loss, accuracy, learning_rate, gradients, updates) -> dict[str, tf.Tensor]:
    """The scalars {name: []} of one step. predicted_change: that of the loss to first order, g . dw."""
    return {
        "loss": loss,
        "accuracy": accuracy,
        "learning_rate": learning_rate,
        "gradient_norm": tf.linalg.global_norm(gradients),
        "predicted_change": sum(dot(g, d) for g, d in zip(gradients, updates)),
    }


def kernel_layers(network) -> list:
    """The layers that have a kernel which is learned, in network order."""
    return [layer for layer in network.layers if any(v is getattr(layer, "kernel", None) for v in layer.parameters)]


class LayerProbe(tf.Module):
    """Measures LAYER_QUANTITIES inside the step, from tensors the step has anyway.

    Its state, one gradient a kernel, is the gradient of the step before a measured one. It belongs into a checkpoint:
    without it a resumed run would log another cosine. Switched off it measures nothing and has no state.
    """

    def __init__(self, network, on: bool = True):
        super().__init__("probe")
        layers = kernel_layers(network) if on else []
        indices = {id(variable): i for i, variable in enumerate(network.parameters)}
        self.names = [layer.name for layer in layers]
        self.kernels = [layer.kernel for layer in layers]
        self.indices = [indices[id(kernel)] for kernel in self.kernels]
        self.initial_kernels = [tf.constant(kernel.numpy()) for kernel in self.kernels]
        self.every = tf.Variable(1, trainable=False) if on else None  # the interval can be chosen after the trace
        self.last_gradients = [tf.Variable(tf.zeros_like(kernel), trainable=False) for kernel in self.kernels]

    def measure(self, step, gradients: list, updates: list) -> dict[str, tf.Tensor]:
        """Every quantity of every kernel: {name: [layers] float32}, in network order; zeros when not due.

        To be called before w changes. Reading every weight takes time: at the steps in between the graph skips it, and
        keeps a gradient only when the next step needs it.
        """
        if not self.kernels:
            return {}
        of_kernels = [gradients[i] for i in self.indices]

        def quantities():
            updates_of_kernels = [updates[i] for i in self.indices]
            rows = zip(self.kernels, of_kernels, updates_of_kernels, self.initial_kernels, self.last_gradients)
            rows = list(rows)
            return {name: tf.stack([f(*row) for row in rows]) for name, f in LAYER_QUANTITIES.items()}

        def keep():
            for last, gradient in zip(self.last_gradients, of_kernels):
                last.assign(gradient)
            return True

        def nothing():
            return {name: tf.zeros(len(self.kernels), of_kernels[0].dtype) for name in LAYER_QUANTITIES}

        now, next_time = norms_due(step, self.every), norms_due(step + 1, self.every)

        def measured_or_kept():
            measured = tf.cond(now, quantities, nothing)
            tf.cond(next_time, keep, lambda: False)
            return measured

        return tf.cond(now | next_time, measured_or_kept, nothing)  # on most steps one tf.cond skips both branches

    def state(self) -> dict[str, list[tf.Variable]]:
        """The variables that a checkpoint holds, by name, each list in the order of `kernels`."""
        return {"last_gradient": self.last_gradients}


def activation_batch(images, network) -> list[tuple[tf.Tensor, ...]]:
    """Of each layer's output, in forward order: mean [], variance [], sparsity [], largest [C].

    uint8 [N,32,32,3] ->. In evaluation mode. sparsity: the fraction of zeros. largest: the largest |y| of each channel
    over all images and positions.
    """
    rows = []
    for _, y in network.outputs(standardize(images), training=False):
        y = tf.cast(y, tf.float32)
        size = tf.abs(y)
        sparsity = tf.reduce_mean(tf.cast(size < NEAR_ZERO, tf.float32))
        largest = tf.reduce_max(size, list(range(y.shape.rank - 1)))
        rows.append((*tf.nn.moments(y, list(range(y.shape.rank))), sparsity, largest))
    return rows


def activation_quantities(batches: list) -> dict[str, np.ndarray]:
    """{name: [layers]} over batches of equal size: mean, standard deviation, sparsity, fraction of dead channels.

    A channel is dead when |y| < NEAR_ZERO at every position of every image. A sparsity near one half is normal.
    """
    rows = []
    for of_layer in zip(*batches):  # one layer, in every batch
        means, variances, sparsity = (np.array([float(batch[i]) for batch in of_layer]) for i in range(3))
        with np.errstate(all="ignore"):  # a diverged network has no variance
            variance = np.mean(variances + means**2) - np.mean(means) ** 2
        dead = np.max([batch[3].numpy() for batch in of_layer], axis=0) < NEAR_ZERO
        rows.append((means.mean(), max(variance, 0) ** 0.5, sparsity.mean(), dead.mean()))
    return dict(zip(ACTIVATION_QUANTITIES, np.array(rows).T))


def batch_loss(step, batches, network, settings) -> tf.Tensor:
    """The loss that train_step would compute on step's batch with the current weights: same images, same dropout mask.

    Batch norm normalizes by the batch, as in training; its moving averages are restored.
    """
    images, labels = batches.batch(step)
    with unchanged_statistics(network):
        logits = network(standardize(images), training=True, step=step)
        return tf.reduce_mean(softmax_cross_entropy(logits, labels, settings.label_smoothing))


def curvature(images, labels, network, smoothing: float = 0.0) -> tf.Tensor:
    """k = g'Hg / g'g: the curvature of the loss in the direction of its gradient g.  uint8 [N,32,32,3], [N] -> [].

    H g is one Hessian-vector product, forward over reverse (Pearlmutter 1994): the derivative of
    the gradient when the weights change along g. Dropout and batch norm are frozen, so that the loss is a
    function of the weights alone. Plain gradient descent is stable while k < 2 / learning rate.
    """
    images, parameters = standardize(images), replicas.on_first(network.parameters)

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(softmax_cross_entropy(network(images, training=False), labels, smoothing))
        return tape.gradient(loss, parameters)

    g = gradients()
    with tf.autodiff.ForwardAccumulator(parameters, g) as along_g:
        moved = gradients()
    hessian_g = [along_g.jvp(tensor) for tensor in moved]
    return safe_divide(sum(dot(a, b) for a, b in zip(g, hessian_g)), sum(dot(a, a) for a in g))


def gradient_noise(step, batches, network, settings) -> tuple[tf.Tensor, tf.Tensor]:
    """(G2, S): unbiased estimates of |true gradient|^2 and of the variance of one image's gradient.

    McCandlish et al. 2018, appendix A.1.
    From the batch of B images and its parts of b images: G2 = (B |g_B|^2 - b |g_b|^2) / (B - b),
    S = (|g_b|^2 - |g_B|^2) / (1/b - 1/B). One estimate is very noisy, and G2 may come out negative:
    average many of both, then divide. B_simple = mean(S) / mean(G2) is the batch size above which
    more images a step help little.
    """
    images, labels = batches.batch(step)
    b = images.shape[0] // NOISE_PARTS
    total = b * NOISE_PARTS
    parts = []
    for i in range(NOISE_PARTS):
        part = slice(i * b, (i + 1) * b)
        with tf.GradientTape() as tape:
            logits = network(standardize(images[part]), training=False)
            loss = tf.reduce_mean(softmax_cross_entropy(logits, labels[part], settings.label_smoothing))
        parts.append(tape.gradient(loss, replicas.on_first(network.parameters)))
    small = sum(dot(g, g) for gradients in parts for g in gradients) / NOISE_PARTS
    means = [sum(of_variable) / NOISE_PARTS for of_variable in zip(*parts)]
    large = sum(dot(g, g) for g in means)
    return (total * large - b * small) / (total - b), (small - large) / (1 / b - 1 / total)


@contextlib.contextmanager
def unchanged_statistics(network):
    """Restore batch norm's moving averages after the body, which runs the network in training mode."""
    kept = [tf.identity(statistic) for statistic in network.statistics]
    try:
        yield
    finally:
        for statistic, value in zip(network.statistics, kept):
            statistic.assign(value)


def first_not_finite(step, batches, network, settings) -> str:
    """Where step's numbers stop being finite, in words: the first such kernel, output, loss or gradient.

    To be called with the weights before that step. Takes the step line by line; changes nothing.
    """
    for name, variable in network.named_variables.items():
        if not all_finite(variable):
            return f"the values of '{name}' were no longer finite before that step"
    images, labels = batches.batch(step)
    with unchanged_statistics(network), tf.GradientTape() as tape:
        for layer, y in network.outputs(standardize(images), training=True, step=step):
            if not all_finite(y):
                return f"the first output that is not finite is that of layer '{layer.name}'"
        loss = tf.reduce_mean(softmax_cross_entropy(tf.cast(y, tf.float32), labels, settings.label_smoothing))
    if not all_finite(loss):
        return "every layer's output is finite, the loss is not"
    gradients = tape.gradient(loss, replicas.on_first(network.parameters))
    names = {id(variable): name for name, variable in network.named_variables.items()}
    for parameter, gradient in reversed(list(zip(network.parameters, gradients))):  # the order of the backward pass
        if not all_finite(gradient):
            return f"the first gradient that is not finite is that of '{names[id(parameter)]}'"
    if not all_finite(tf.linalg.global_norm(gradients)):
        largest = max(zip(gradients, network.parameters), key=lambda pair: float(tf.reduce_max(tf.abs(pair[0]))))[1]
        return f"every gradient is finite, but too large for their norm, the gradient of '{names[id(largest)]}' most"
    return "taken line by line, every number of that step is finite"


def all_finite(x) -> bool:
    """Whether a tensor holds no NaN and no infinity."""
    return bool(tf.reduce_all(tf.math.is_finite(x)))
