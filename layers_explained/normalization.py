"""Batch normalization, four times: every channel gets mean 0 and deviation 1 over the batch.

    m[c] = mean of x[:,:,:,c]       v[c] = mean of (x[:,:,:,c] - m[c])^2       over n = N H W numbers
    x^   = (x - m) / sqrt(v + epsilon)
    y    = gamma x^ + beta

    dL/dx = gamma / sqrt(v + epsilon) * (dy - mean(dy) - x^ mean(dy x^))       by channel

    x [N,H,W,C]       N images of H rows, W columns, C channels
    gamma, beta [C]   a learned scale and shift: what was taken away can be given back

At test a picture must not depend on its neighbours in the batch. Then m and v are moving averages
of what was met in training: moving <- momentum moving + (1 - momentum) batch, with the variance
v n/(n-1), which is right on average.

Change a number below and run the file again: python layers_explained/normalization.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support import checks, figures, walkthrough
from layers_explained.support.walkthrough import beside

BATCH, ROWS, COLUMNS, CHANNELS = 4, 3, 3, 5  # N, H, W, C
EPSILON, MOMENTUM = 1e-3, 0.9
SEED = 0  # of the random numbers in x, gamma, beta, the moving averages and the target t

# The case to do by hand: four pictures of one pixel and one channel.
HAND_X = [[1, 3, 5, 7]]
HAND_GAMMA, HAND_BETA, HAND_EPSILON = 6, 10, 4
HAND_T = [[1, 8, 12, 16]]  # what the outputs should have been

LAYER_CLASSES = ("BatchNormalization",)  # of core/layers/, for --run


# ---- Rung 1: loops -------------------------------------------------------------------------------


def forward_loops(x, gamma, beta, moving, training, epsilon=EPSILON):
    """x [N,H,W,C], gamma, beta [C], moving (mean [C], variance [C]) -> y [N,H,W,C], and the new moving averages."""
    y, (mean, variance) = np.zeros(x.shape), np.array(moving)
    for c in range(x.shape[3]):
        m, v = mean[c], variance[c]
        if training:
            values = list(x[..., c].flat)
            n = len(values)
            m = sum(values) / n
            v = sum((value - m) ** 2 for value in values) / n
            mean[c] = MOMENTUM * mean[c] + (1 - MOMENTUM) * m
            variance[c] = MOMENTUM * variance[c] + (1 - MOMENTUM) * v * n / max(n - 1, 1)
        for i in np.ndindex(x.shape[:3]):
            y[*i, c] = gamma[c] * (x[*i, c] - m) / np.sqrt(v + epsilon) + beta[c]
    return y, mean, variance


def backward_loops(x, gamma, dy, epsilon=EPSILON):
    """dL/dy -> dL/dx, dL/dgamma, dL/dbeta in training: link by link. Each x works on y in three ways:

    itself, through the variance, and through the mean. What comes back along the three is added.
    """
    dx, dgamma, dbeta = np.zeros(x.shape), np.zeros(len(gamma)), np.zeros(len(gamma))
    for c in range(x.shape[3]):
        places, n = list(np.ndindex(x.shape[:3])), x[..., c].size
        m = sum(x[*i, c] for i in places) / n
        s = np.sqrt(sum((x[*i, c] - m) ** 2 for i in places) / n + epsilon)
        dv = dm = 0.0
        for i in places:
            dgamma[c] += dy[*i, c] * (x[*i, c] - m) / s
            dbeta[c] += dy[*i, c]
            dv += gamma[c] * dy[*i, c] * (x[*i, c] - m) * -0.5 / s**3  # d(1/sqrt(v + epsilon))/dv = -1/2 s^-3
            dm += gamma[c] * dy[*i, c] * -1 / s  # (through v nothing: the sum of x - m is 0)
        for i in places:
            dx[*i, c] = gamma[c] * dy[*i, c] / s + dv * 2 * (x[*i, c] - m) / n + dm / n
    return dx, dgamma, dbeta


# ---- Rung 2: NumPy -------------------------------------------------------------------------------


def forward_numpy(x, gamma, beta, moving, training, epsilon=EPSILON):
    """The same by channels, which stand last: a [C] array lays itself along every pixel."""
    m, v = mean, variance = moving
    if training:
        m, v, n = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2)), x[..., 0].size
        mean = MOMENTUM * mean + (1 - MOMENTUM) * m
        variance = MOMENTUM * variance + (1 - MOMENTUM) * v * n / max(n - 1, 1)
    return gamma * (x - m) / np.sqrt(v + epsilon) + beta, mean, variance


def backward_numpy(x, gamma, dy, epsilon=EPSILON):
    """The three ways put together: what is left of dy when its mean and its share of x^ are taken out."""
    s = np.sqrt(x.var(axis=(0, 1, 2)) + epsilon)
    x_hat = (x - x.mean(axis=(0, 1, 2))) / s
    means = dy.mean(axis=(0, 1, 2)) + x_hat * (dy * x_hat).mean(axis=(0, 1, 2))
    return gamma / s * (dy - means), (dy * x_hat).sum(axis=(0, 1, 2)), dy.sum(axis=(0, 1, 2))


# ---- Rungs 3 and 4: TensorFlow -------------------------------------------------------------------


def tensorflow_primitives(x, gamma, beta, moving, t):
    """Means, differences, a square root; the tape finds the three ways by itself."""
    tf = walkthrough.import_tensorflow()
    x, gamma, beta = tf.constant(x), tf.constant(gamma), tf.constant(beta)
    with tf.GradientTape() as tape:
        tape.watch([x, gamma, beta])
        m = tf.reduce_mean(x, axis=[0, 1, 2])
        v = tf.reduce_mean((x - m) ** 2, axis=[0, 1, 2])
        y = gamma * (x - m) / tf.sqrt(v + EPSILON) + beta
        loss = tf.reduce_sum((y - t) ** 2) / 2
    n = tf.size(x[..., 0]).numpy()
    mean = MOMENTUM * moving[0] + (1 - MOMENTUM) * m
    variance = MOMENTUM * moving[1] + (1 - MOMENTUM) * v * (n / max(n - 1, 1))
    at_test = gamma * (x - mean) / tf.sqrt(variance + EPSILON) + beta
    tensors = y, *tape.gradient(loss, [x, gamma, beta]), mean, variance, at_test
    return [tensor.numpy() for tensor in tensors]


def compiled_layer(x, gamma, beta, moving, t):
    """The class that trains, core.layers.BatchNormalization, in a compiled function. Returns what runs one step."""
    tf = walkthrough.import_tensorflow()
    from core.layers import BatchNormalization

    layer = BatchNormalization("norm", len(gamma), MOMENTUM, EPSILON, dtype=tf.float64)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)

    @tf.function(autograph=False)
    def step(x, t):
        layer.moving_mean.assign(moving[0])
        layer.moving_variance.assign(moving[1])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)  # moves the averages too
            loss = tf.reduce_sum((y - t) ** 2) / 2
        moved = tf.identity(layer.moving_mean), tf.identity(layer.moving_variance)
        return y, *tape.gradient(loss, [x, layer.gamma, layer.beta]), *moved, layer(x, training=False)

    x, t = tf.constant(x), tf.constant(t)
    return lambda: [tensor.numpy() for tensor in step(x, t)]


# ---- The story -----------------------------------------------------------------------------------


def numbers():
    """x, gamma, beta, moving and a target t. Raises Problem for impossible sizes."""
    walkthrough.check_sizes(globals(), "BATCH", "ROWS", "COLUMNS", "CHANNELS", "SEED")
    if BATCH * ROWS * COLUMNS < 3:
        raise walkthrough.Problem("BATCH, ROWS, COLUMNS: of fewer than 3 numbers nothing is left after x^; make one larger")
    random = np.random.default_rng(SEED)
    x = 3 + 2 * random.standard_normal([BATCH, ROWS, COLUMNS, CHANNELS])
    gamma, beta, mean = random.standard_normal([3, CHANNELS])
    return x, gamma, beta, (mean, random.uniform(0.5, 2, CHANNELS)), random.standard_normal(x.shape)


def there_and_back(forward, backward, x, gamma, beta, moving, t):
    """y, dL/dx, dL/dgamma, dL/dbeta for L = 1/2 sum (y - t)^2, the moved averages, and y at test with them."""
    y, *moved = forward(x, gamma, beta, moving, True)
    return y, *backward(x, gamma, y - t), *moved, forward(x, gamma, beta, moved, False)[0]


def contract():
    """The contract."""
    x, gamma, beta, moving, _ = numbers()
    y, *_ = forward_numpy(x, np.ones(CHANNELS), np.zeros(CHANNELS), moving, True)
    print(f"   x {list(x.shape)},  gamma {list(gamma.shape)},  beta {list(beta.shape)}  ->  y {list(y.shape)}")
    print(f"   {2 * CHANNELS} parameters, and {2 * CHANNELS} moving averages, measured instead of learned")
    print(f"   each mean is over n = N H W = {x[..., 0].size} numbers\n")
    print("   channel 0     mean   deviation")
    for name, values in (("x", x), ("x^", y)):
        print(f"   {name:10}{values[..., 0].mean() + 0.0:8.3f}{values[..., 0].std():12.3f}")
    print("   (epsilon, there against a division by 0, takes a little off the deviation)")


def by_hand():
    """A case small enough to do by hand."""
    x, t, y, dx, dgamma, dbeta = hand_case()
    m, v = x.mean(), x.var()
    s, dy = np.sqrt(v + HAND_EPSILON), y - t
    show = walkthrough.number
    print(beside(("x: four pictures of one pixel", x), ("gamma", HAND_GAMMA), ("beta", HAND_BETA),
                 ("epsilon", HAND_EPSILON)) + "\n")  # fmt: skip
    print(f"   m = {show(m)};  v = mean of {[float(show(d)) for d in (x[0] - m) ** 2]} = {show(v)};  "
          f"sqrt(v + epsilon) = {show(s)}\n")  # fmt: skip
    print(beside(("x^", (x - m) / s), ("y = gamma x^ + beta", y)) + "\n")
    print("   Backward: say the outputs should have been t, and L = 1/2 sum (y - t)^2. Then dL/dy = y - t.\n")
    print(beside(("t", t), ("dL/dy", dy), ("dL/dgamma", dgamma), ("dL/dbeta", dbeta)) + "\n")
    factor, straight = HAND_GAMMA / s, np.full_like(dy, dy.mean())
    through_v = (x - m) / s * (dy * (x - m) / s).mean()
    print(beside(("itself", factor * dy), ("by the mean", -factor * straight), ("by the variance", -factor * through_v),
                 ("together: dL/dx", dx)) + "\n")  # fmt: skip
    print("   Only the first output was wrong, and yet other inputs hear of it: they share its mean and variance.")
    print("   dL/dx adds up to 0, for shifting all x by the same number changes nothing.")


def hand_case():
    """x, t, y [1,n], dL/dx, dL/dgamma, dL/dbeta of the hand case by rung 1. Raises Problem when sizes differ."""
    x, t = walkthrough.matrices(globals(), "HAND_X", "HAND_T")
    if x.shape != t.shape or len(x) != 1:
        raise walkthrough.Problem(f"HAND_X is {x.shape} and HAND_T {t.shape}: make both one row, equally long")
    batch, parameters = x.reshape(-1, 1, 1, 1), (np.array([HAND_GAMMA]), np.array([HAND_BETA]))
    y, *_ = forward_loops(batch, *parameters, np.ones([2, 1]), True, HAND_EPSILON)
    dx, dgamma, dbeta = backward_loops(batch, parameters[0], y - t.reshape(y.shape), HAND_EPSILON)
    return x, t, y.reshape(x.shape), dx.reshape(x.shape), dgamma, dbeta


def four_rungs():
    """The same layer four times, forward and backward."""
    case = numbers()

    def rungs():  # yields, so that TensorFlow is woken only when the third is reached
        yield "loops", lambda: there_and_back(forward_loops, backward_loops, *case)
        yield "NumPy", lambda: there_and_back(forward_numpy, backward_numpy, *case)
        yield "TensorFlow primitives", lambda: tensorflow_primitives(*case)
        yield "the layer, compiled", compiled_layer(*case)

    names = "y", "dL/dx", "dL/dgamma", "dL/dbeta", "moving mean", "moving variance", "y at test"
    checks.climb(rungs(), names)


def proof_case(backward, at_test=None):
    """(y, loss, point, gradients) as the proofs want them; y of the batch in training, then of one picture at test."""
    x, gamma, beta, moving, t = numbers()
    y = forward_numpy(x, gamma, beta, moving, True)[0]
    dx, dgamma, dbeta = backward(x, gamma, y - t)

    def loss(x, gamma, beta):
        return np.sum((forward_numpy(x, gamma, beta, moving, True)[0] - t) ** 2) / 2

    tested = (at_test or evaluated)(x, gamma, beta)
    return np.concatenate([y, tested]), loss, {"x": x, "gamma": gamma, "beta": beta}, {
        "x": dx, "gamma": dgamma, "beta": dbeta}  # fmt: skip


def evaluated(x, gamma, beta, degrees=1):
    """One picture at test, after so many such batches that the moving averages have arrived."""
    n = x[..., 0].size
    settled = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2)) * n / (n - degrees)
    return forward_numpy(x[:1], gamma, beta, settled, False)[0]


def gradients():
    """The backward pass, checked by the forward pass."""
    _, *case = proof_case(backward_numpy)
    print("   Finite differences: one number moved a little either way, and the loss watched.\n")
    checks.prove_gradients(*case)
    print("\n   Taylor: all numbers moved together, by a smaller and smaller step in one direction.\n")
    checks.prove_taylor(*case)


def mistakes():
    """What goes wrong, and which check sees it."""
    checks.print_mistakes(proof_case(backward_numpy)[0], {
        "statistics taken for constants": proof_case(constant_backward),
        "biased variance kept for test": proof_case(backward_numpy, biased_at_test),
        "training mode left on at test": proof_case(backward_numpy, training_at_test),
    })  # fmt: skip
    print(
        "\n   The first is the only one that a gradient check can see; the others are found at test, by another rung."
    )
    print("   A loss that is fine in training and bad at test, for the same pictures, is the sign of the third.")


def constant_backward(x, gamma, dy):
    """Mean and variance as if they were given: one way of three. (At test, when they are given, it is right.)"""
    _, dgamma, dbeta = backward_numpy(x, gamma, dy)
    return gamma / np.sqrt(x.var(axis=(0, 1, 2)) + EPSILON) * dy, dgamma, dbeta


def biased_at_test(x, gamma, beta):
    """Without n/(n-1): v is too small on average, since m was fitted to the same numbers."""
    return evaluated(x, gamma, beta, degrees=0)


def training_at_test(x, gamma, beta):
    """The picture normalized by itself instead of by what was met in training."""
    return forward_numpy(x[:1], gamma, beta, np.zeros([2, CHANNELS]), True)[0]


SECTIONS = [contract, by_hand, four_rungs, gradients, mistakes]


def figure():
    """Histograms of one channel: in training x, x^ and y; at test, as the moving averages arrive."""
    random = np.random.default_rng(SEED)
    gamma, beta, moving, history = np.array([0.5]), np.array([1.0]), np.array([[0.0], [1.0]]), []
    for _ in range(40):
        x = 6 + 2 * random.standard_normal([16, 8, 8, 1])
        y, *moving = forward_numpy(x, gamma, beta, moving, True)
        history.append(np.ravel(moving))
    slide = figures.new_slide()
    above, below = slide.subfigures(2, 1)
    figures.heading(above, "In training: mean and deviation of the batch are taken out, γ and β are put in")
    figures.heading(below, "At test: y with the moving averages, which take some steps to arrive")
    x_hat, edges = (y - beta) / gamma, np.linspace(-4, 14, 73)
    for axes, (values, title) in zip(above.subplots(1, 3, sharex=True), ((x, "x"), (x_hat, "x̂"), (y, "y = γ x̂ + β"))):
        figures.histogram(
            axes, values, edges, f"{title}:  mean {values.mean() + 0.0:.1f}, deviation {values.std():.1f}"
        )
    lines, *charts = below.subplots(1, 3)
    for values, name, colour in zip(np.transpose(history), ("moving mean", "moving variance"), figures.COLOURS):
        lines.plot(range(1, 41), values, color=colour, linewidth=4, label=name)
    lines.set_xlabel("step", fontsize=16)
    lines.legend(fontsize=16, frameon=False)
    lines.tick_params(labelsize=14)
    lines.spines[["top", "right"]].set_visible(False)
    for axes, step in zip(charts, (5, 40)):
        tested = forward_numpy(x, gamma, beta, history[step - 1].reshape(2, 1), False)[0]
        title = f"step {step}:  mean {tested.mean():.1f}, deviation {tested.std():.1f}"
        figures.histogram(axes, tested, edges, title)
    return slide


def on_your_network(trained):
    """One output number and one gradient of your network's batch normalization, in evaluation mode."""
    layer, x, y, dy = trained.layer, trained.x, trained.y, trained.dy
    _, i, j, c = np.unravel_index(np.argmax(y), y.shape)
    names = "gamma", "beta", "moving_mean", "moving_variance"
    gamma, beta, mean, variance = (getattr(layer, name).numpy()[c] for name in names)
    s = np.sqrt(variance + layer.epsilon)
    print(f"   y[0,{i},{j},{c}], the largest: row {i}, column {j}, channel {c}\n")
    print(f"   x {x[0, i, j, c]:.6f}   moving mean {mean:.6f}   moving variance {variance:.6f}   "
          f"gamma {gamma:.6f}   beta {beta:.6f}")  # fmt: skip
    print(f"   gamma (x - mean) / sqrt(variance + {layer.epsilon:g}) + beta = "
          f"{gamma:.6f} * {x[0, i, j, c] - mean:.6f} / {s:.6f} + {beta:.6f}")  # fmt: skip
    print(f"   all together {gamma * (x[0, i, j, c] - mean) / s + beta:.6f};  the layer says {y[0, i, j, c]:.6f}\n")

    dgamma = trained.gradients[0]
    q = np.argmax(np.abs(dgamma))
    x_hat = (x[0, :, :, q] - layer.moving_mean.numpy()[q]) / np.sqrt(layer.moving_variance.numpy()[q] + layer.epsilon)
    back = x_hat * dy[0, :, :, q]  # [H,W]
    print(f"   dL/dgamma[{q}], the largest: x^ times dL/dy, over all {back.size:,} positions of channel {q}\n")
    print("   row  column         x^       dL/dy      product")
    largest = np.argsort(-np.abs(back), axis=None, kind="stable")[:5]
    for row, column in zip(*np.unravel_index(largest, back.shape)):
        terms = x_hat[row, column], dy[0, row, column, q], back[row, column]
        print("   {:3}  {:6} {:10.4f}  {:10.6f}  {:11.6f}".format(row, column, *terms))
    print(f"   the {back.size - len(largest):,} others {back.sum() - back.flat[largest].sum():28.6f}")
    print(f"   all together {back.sum():.6f};  the tape says {dgamma[q]:.6f}")

    slide = figures.new_slide()
    (seen, *maps), (nothing, *charts) = slide.subplots(2, 3)
    figures.image(seen, trained.picture, "the picture")
    nothing.axis("off")
    edges = np.linspace(*np.quantile([x[..., c], y[..., c]], [0.0, 1.0]), 61)
    for values, title, shown, chart in zip((x[0, ..., c], y[0, ..., c]), ("before", "after"), maps, charts):
        figures.image(shown, values, f"{title} {layer.name}, channel {c}")
        figures.histogram(chart, values, edges, f"{title}:  mean {values.mean():.2f}, deviation {values.std():.2f}")
    return slide


if __name__ == "__main__":
    sys.exit(walkthrough.tell(globals(), figure, on_your_network))
