"""Softmax, four times: ten scores become ten probabilities, and the loss that makes its gradient p - q.

A score, or logit, can be any number. Its exponential is positive; divided by the sum of all
exponentials, it is a probability:

    p[n,k] = exp(z[n,k] - m[n]) / sum over j of exp(z[n,j] - m[n])      m[n] = max over k of z[n,k]
    dp[k]/dz[j] = p[k] (1[k = j] - p[j])                                the Jacobian, of one row

    L[n] = - sum over k of q[n,k] log p[n,k]                            cross-entropy
    dL/dz = p - q                                                       of the two together

    z [N,K]   logits: N pictures, K classes
    p [N,K]   probabilities: every row sums to 1
    q [N,K]   the truth: 1 at the right class, 0 elsewhere

Change a number below and run the file again: python layers_explained/softmax.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support import checks, figures, walkthrough
from layers_explained.support.walkthrough import beside, number

BATCH, CLASSES = 32, 10  # N, K
SEED = 0  # of the random logits, targets and labels

# The case to do by hand: one picture, three classes, logits whose exponentials are 1, 2 and 5.
HAND_Z = np.log([[1, 2, 5]])
HAND_Q = [[0, 0, 1]]  # the third class is right

FIGURE_Z = {"cat": 2.0, "dog": 1.5, "frog": 0.5, "ship": -1.0}  # logits of the slide; the first class is right
TEMPERATURES = 0.25, 1, 4  # softmax(z / T)

LAYER_CLASSES = ("Softmax",)  # of core/layers/, for --run


# ---- Rung 1: loops -------------------------------------------------------------------------------


def forward_loops(z):
    """Logits z [N,K] -> probabilities p [N,K]."""
    p = np.zeros(z.shape)
    for n in range(len(z)):
        largest = max(z[n])  # exp(0) = 1 is then the largest exponential: nothing overflows
        exponentials = [np.exp(value - largest) for value in z[n]]
        for k in range(len(z[n])):
            p[n, k] = exponentials[k] / sum(exponentials)
    return p


def backward_loops(p, dp):
    """dL/dp -> dL/dz. Every logit moves every probability of its row, so each sums over the Jacobian's column."""
    dz = np.zeros(p.shape)
    for n, j in np.ndindex(p.shape):
        for k in range(p.shape[1]):
            dz[n, j] += dp[n, k] * p[n, k] * ((k == j) - p[n, j])
    return dz


def cross_entropy_loops(z, q):
    """(L [N], dL/dz [N,K]) of softmax and cross-entropy together. Sum the Jacobian against -q/p: p - q is left."""
    p, loss, dz = forward_loops(z), np.zeros(len(z)), np.zeros(z.shape)
    for n, k in np.ndindex(z.shape):
        loss[n] -= q[n, k] * np.log(p[n, k])
        dz[n, k] = p[n, k] - q[n, k]
    return loss, dz


# ---- Rung 2: NumPy -------------------------------------------------------------------------------


def forward_numpy(z):
    """All rows at once; keepdims keeps the K axis, so that each row is divided by its own sum."""
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def backward_numpy(p, dp):
    """dz = p (dp - mean of dp weighted by p): the Jacobian is never written down, only its product with dp."""
    return p * (dp - np.sum(p * dp, axis=1, keepdims=True))


def cross_entropy_numpy(z, q):
    """The same from the logits: log p = z - m - log sum exp(z - m), so no log ever sees a p that rounded to 0."""
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -np.sum(q * log_p, axis=1), np.exp(log_p) - q


# ---- Rungs 3 and 4: TensorFlow -------------------------------------------------------------------


def tensorflow_primitives(z, t, q):
    """Subtract, exp, sum, divide, log; the tape finds both gradients, p - q without being told."""
    tf = walkthrough.import_tensorflow()
    z = tf.constant(z)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        exponentials = tf.exp(z - tf.reduce_max(z, axis=1, keepdims=True))
        p = exponentials / tf.reduce_sum(exponentials, axis=1, keepdims=True)
        squares = tf.reduce_sum((p - t) ** 2) / 2
        surprise = -tf.reduce_sum(q * tf.math.log(p), axis=1)
    return [tensor.numpy() for tensor in (p, tape.gradient(squares, z), surprise, tape.gradient(surprise, z))]


def compiled_layer(z, t, q):
    """core.layers.Softmax and core.losses, in a compiled function. Returns what runs one step of them."""
    tf = walkthrough.import_tensorflow()
    from core import losses
    from core.layers import Softmax

    layer = Softmax("softmax")

    @tf.function(autograph=False)
    def step(z, t, labels):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(z)
            p = layer(z, training=True)
            squares = tf.reduce_sum((p - t) ** 2) / 2
            surprise = losses.softmax_cross_entropy(z, labels)
        return p, tape.gradient(squares, z), surprise, tape.gradient(surprise, z)

    case = tf.constant(z), tf.constant(t), tf.constant(np.argmax(q, axis=1))
    return lambda: [tensor.numpy() for tensor in step(*case)]


# ---- The story -----------------------------------------------------------------------------------


def numbers():
    """Logits z, a target t and one-hot labels q, all [N,K]. Raises Problem for impossible sizes."""
    walkthrough.check_sizes(globals(), "BATCH", "CLASSES", "SEED")
    if CLASSES < 2:
        raise walkthrough.Problem("CLASSES = 1: with one class its probability is always 1; make CLASSES 2 or above")
    random = np.random.default_rng(SEED)
    z, t = 2 * random.standard_normal([BATCH, CLASSES]), random.random([BATCH, CLASSES])
    return z, t, np.eye(CLASSES)[random.integers(CLASSES, size=BATCH)]


def there_and_back(forward, backward, cross_entropy, z, t, q):
    """p, its dL/dz for L = 1/2 sum (p - t)^2, then the cross-entropy of each picture and its dL/dz."""
    p = forward(z)
    return p, backward(p, p - t), *cross_entropy(z, q)


def contract():
    """The contract."""
    z, _, q = numbers()
    p, (loss, _) = forward_numpy(z), cross_entropy_numpy(z, q)
    print(f"   z {list(z.shape)}  ->  p {list(p.shape)}, no parameters")
    print(f"   every row of p sums to 1; the smallest of all is {p.min():.1e}, the largest {p.max():.3f}")
    print(
        f"   cross-entropy: {loss.mean():.3f} on these random logits; ln {CLASSES} = {np.log(CLASSES):.3f} for guessing"
    )


def by_hand():
    """A case small enough to do by hand."""
    z, p, q, jacobian, squares, surprise = hand_case()
    print(beside(("z", z), ("exp(z)", np.exp(z)), ("p", p), ("q, the truth", q)) + "\n")
    print("   Each p is its exp(z), divided by the sum of them all. Subtracting the largest z first divides")
    print("   all of them by the same number, and changes nothing.\n")
    print("   Backward: the Jacobian of p, dp[k]/dz[j] = p[k] (1[k = j] - p[j]), in row k and column j:\n")
    print(beside(("dp/dz", jacobian), ("its columns add up to", jacobian.sum(axis=0))) + "\n")
    print("   More for one is less for the others: p always sums to 1. Now two losses, both wanting p = q:\n")
    print(beside(("1/2 sum (p - q)^2: dL/dp", p - q), ("times dp/dz: dL/dz", squares)))
    print(beside(("cross-entropy:     dL/dp", -q / p), ("times dp/dz: dL/dz", surprise)) + "\n")
    print("   With cross-entropy the Jacobian is eaten up: dL/dz = p - q. With squares it stays, and where p is")
    print("   nearly 0 or 1 it is nearly 0: a network that is surely wrong would hardly learn.")


def hand_case():
    """z, p, q, the Jacobian [K,K], and dL/dz of squares and of cross-entropy. Raises Problem when sizes differ."""
    z, q = walkthrough.matrices(globals(), "HAND_Z", "HAND_Q")
    if z.shape != q.shape or len(z) != 1:
        raise walkthrough.Problem(
            f"HAND_Z is {z.shape} and HAND_Q {q.shape}: make both one row, with a number for each class"
        )
    p = forward_loops(z)
    jacobian = np.diag(p[0]) - np.outer(p[0], p[0])
    return z, p, q, jacobian, backward_loops(p, p - q), cross_entropy_loops(z, q)[1]


def four_rungs():
    """The same layer four times, forward and backward."""
    case = numbers()

    def rungs():  # yields, so that TensorFlow is woken only when the third is reached
        yield "loops", lambda: there_and_back(forward_loops, backward_loops, cross_entropy_loops, *case)
        yield "NumPy", lambda: there_and_back(forward_numpy, backward_numpy, cross_entropy_numpy, *case)
        yield "TensorFlow primitives", lambda: tensorflow_primitives(*case)
        yield "the layer, compiled", compiled_layer(*case)

    checks.climb(rungs(), names=("p", "dL/dz", "cross-entropy", "p - q"))


def squares_case(forward, backward):
    """(p, loss, point, gradients) of L = 1/2 sum (p - t)^2, as the proofs want them."""
    z, t, _ = numbers()
    p = forward(z)
    return p, lambda z: np.sum((forward(z) - t) ** 2) / 2, {"z": z}, {"z": backward(p, p - t)}


def cross_entropy_case():
    """(loss, point, gradients) of softmax and cross-entropy together."""
    z, _, q = numbers()
    return lambda z: cross_entropy_numpy(z, q)[0].sum(), {"z": z}, {"z": cross_entropy_numpy(z, q)[1]}


def gradients():
    """The backward pass, checked by the forward pass."""
    print("   Finite differences: one logit moved a little either way, and the loss watched.\n")
    print("   through the Jacobian, L = 1/2 sum (p - t)^2")
    checks.prove_gradients(*squares_case(forward_numpy, backward_numpy)[1:])
    print("\n   softmax and cross-entropy together, dL/dz = p - q")
    checks.prove_gradients(*cross_entropy_case())
    print("\n   Taylor: all logits moved together, by a smaller and smaller step in one direction.\n")
    checks.prove_taylor(*cross_entropy_case())


def mistakes():
    """What goes wrong, and which check sees it."""
    right = squares_case(forward_numpy, backward_numpy)[0]
    with np.errstate(over="ignore", invalid="ignore"):
        checks.print_mistakes(right, {
            "no maximum subtracted, z + 1000": squares_case(overflowing_forward, backward_numpy),
            "softmax over the wrong axis": squares_case(wrong_axis_forward, wrong_axis_backward),
            "softmax applied twice": twice_case(),
            "Jacobian's diagonal only": squares_case(forward_numpy, diagonal_backward),
        })  # fmt: skip
    best = np.log(1 + (CLASSES - 1) / np.e)
    print(
        "\n   z + 1000 has the same softmax as z; but exp(1000) is infinite, and infinite / infinite is not a number."
    )
    print("   Softmax before a loss that takes logits is softmax twice. The network still learns, but its scores are")
    print(f"   squeezed into [0, 1]: with {CLASSES} classes the loss stays above ln(1 + {CLASSES - 1}/e) = {best:.3f}.")


def overflowing_forward(z):
    """The textbook's formula without the subtraction, on logits that are all larger by 1000."""
    exponentials = np.exp(z + 1000)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def wrong_axis_forward(z):
    """Over the pictures of the batch instead of the classes: the columns sum to 1, not the rows."""
    return forward_numpy(z.T).T


def wrong_axis_backward(p, dp):
    """What belongs to wrong_axis_forward."""
    return backward_numpy(p.T, dp.T).T


def twice_case():
    """A model that ends in softmax, and a loss that applies it again; forward and backward fit together."""
    z, _, q = numbers()
    p = forward_numpy(z)
    dz = backward_numpy(p, cross_entropy_numpy(p, q)[1])
    return forward_numpy(p), lambda z: cross_entropy_numpy(forward_numpy(z), q)[0].sum(), {"z": z}, {"z": dz}


def diagonal_backward(p, dp):
    """dp p (1 - p), as for a sigmoid: forgets that a logit also moves the other probabilities."""
    return dp * p * (1 - p)


SECTIONS = [contract, by_hand, four_rungs, gradients, mistakes]


def figure():
    """Logits, exponentials, probabilities and p - q as bars; below, the same logits at several temperatures."""
    names, z = list(FIGURE_Z), np.array([list(FIGURE_Z.values())])
    p, q = forward_numpy(z), np.eye(len(names))[:1]
    slide = figures.new_slide()
    above, below = slide.subfigures(2, 1)
    figures.heading(above, f"Softmax: scores become probabilities, and the gradient is p − q (“{names[0]}” is right)")
    figures.heading(below, "Temperature: softmax(z / T) is sharp when cold, flat when hot; the order never changes")
    stages = ("z, the logits", z), ("exp(z)", np.exp(z)), ("p = exp(z) / sum", p), ("∂L/∂z = p − q", p - q)
    for axes, (title, values) in zip(above.subplots(1, 4), stages):
        figures.bars(axes, names, values[0], title)
    for axes, t in zip(below.subplots(1, len(TEMPERATURES), sharey=True), TEMPERATURES):
        figures.bars(axes, names, forward_numpy(z / t)[0], f"T = {number(t)}")
    return slide


def on_your_network(trained):
    """The probability of the right class, and the gradient of its logit, of your network."""
    z, p, dz, label = trained.x[0], trained.y[0], trained.dx[0], trained.label
    exponentials, q = np.exp(z - z.max()), np.eye(len(z))[label]
    print("   class                   z   exp(z - m)           p   q       p - q    the tape")
    for k, name in enumerate(trained.class_names):
        print(f"   {name:16}{z[k]:9.4f}{exponentials[k]:13.6f}{p[k]:12.6f}{q[k]:4.0f}{p[k] - q[k]:12.6f}{dz[k]:12.6f}")
    own, total = exponentials[label], exponentials.sum()
    print(f"\n   p[{label}] = exp(z[{label}] - m) / (the sum of all exp(z - m)) = {own:.6f} / {total:.6f}")
    print(f"   all together {own / total:.6f};  the layer says {p[label]:.6f}\n")
    print(f"   dL/dz[{label}]: L = -log p[{label}], so dL/dp[{label}] = -1/p, and every other dL/dp is 0")
    print(f"   -1/p times the Jacobian's p (1 - p) = {-1 / p[label]:.6f} * {p[label] * (1 - p[label]):.6f}")
    print(f"   all together {p[label] - 1:.6f};  the tape says {dz[label]:.6f}")
    slide = figures.new_slide()
    seen, *charts = slide.subplots(1, 4)
    figures.image(seen, trained.picture, f"{trained.class_names[label]}")
    for axes, values, title in zip(charts, (z, p, p - q), ("z, the logits", "p", "∂L/∂z = p − q")):
        figures.bars(axes, trained.class_names, values, title, lying=True)
    return slide


if __name__ == "__main__":
    sys.exit(walkthrough.tell(globals(), figure, on_your_network))
