"""Activation, four times: loops, NumPy, TensorFlow, and the layer that trains. ReLU and GELU.

The bend between two linear layers, without which they would collapse into one. Each number is
looked at by itself:

    ReLU    y = max(x, 0)          dy/dx = 1 where x > 0, else 0
    GELU    y = x F(x)             dy/dx = F(x) + x f(x)

    x, y    any shape, the same
    F(x)    = P(Z <= x) = (1 + erf(x / sqrt 2)) / 2, Z drawn from N(0, 1): Hendrycks & Gimpel 2016
    f(x)    = exp(-x^2 / 2) / sqrt(2 pi), the bell curve, whose area up to x is F(x)

Change a number below and run the file again: python layers_explained/activation.py
"""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support import checks, figures, walkthrough
from layers_explained.support.walkthrough import number

BATCH, FEATURES = 16, 32  # x is [N, features]
BIAS = -10  # added to every x by the last of the mistakes
SEED = 0  # of the random numbers in x and the target t

# The case to do by hand.
HAND_X = [[-2, -0.5, 0, 0.5, 2]]
HAND_DY = [[1, -4, 2, -4, 1]]  # say that this is dL/dy

KINDS = ("ReLU", "GELU")
LAYER_CLASSES = ("ReLU", "GELU")  # of core/layers/, for --run


# ---- Rung 1: loops -------------------------------------------------------------------------------


def forward_loops(x, kind):
    """The formula, letter for letter.  Any shape -> the same shape."""
    y = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        a = x[index]
        y[index] = max(a, 0) if kind == "ReLU" else a * (1 + math.erf(a / math.sqrt(2))) / 2
    return y


def backward_loops(x, kind, dy):
    """dL/dy -> dL/dx: each number's own slope times what came back to it. No sums: nobody shares anything."""
    dx = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        a = x[index]
        if kind == "ReLU":
            slope = 1 if a > 0 else 0  # at the kink, a = 0, anything from 0 to 1 would do; 0 is the custom
        else:
            bell = math.exp(-(a**2) / 2) / math.sqrt(2 * math.pi)
            slope = (1 + math.erf(a / math.sqrt(2))) / 2 + a * bell
        dx[index] = slope * dy[index]
    return dx


# ---- Rung 2: NumPy -------------------------------------------------------------------------------


def forward_numpy(x, kind):
    """The same for all numbers at once."""
    return np.maximum(x, 0) if kind == "ReLU" else x * area(x)


def backward_numpy(x, kind, dy):
    """dL/dx = dy/dx * dL/dy, number by number."""
    return derivative(x, kind) * dy


def derivative(x, kind):
    """dy/dx, of the shape of x: 0 or 1 for ReLU; for GELU, F + x f by the product rule."""
    if kind == "ReLU":
        return (x > 0).astype(float)
    return area(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def area(x):
    """F(x) = P(Z <= x). NumPy has no erf, so Python's is called for one number after the other."""
    return (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) / 2


# ---- Rungs 3 and 4: TensorFlow -------------------------------------------------------------------


def tensorflow_primitives(x, kind, t):
    """ReLU chooses between x and 0; GELU from the complement erfc, F(x) = erfc(-x / sqrt 2) / 2. The tape goes back."""
    tf = walkthrough.import_tensorflow()
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.where(x > 0, x, 0) if kind == "ReLU" else x * tf.math.erfc(-x / math.sqrt(2)) / 2
        loss = tf.reduce_sum((y - t) ** 2) / 2
    return [y.numpy(), tape.gradient(loss, x).numpy()]


def compiled_layer(x, kind, t):
    """The class that trains, of core/layers/activation.py, in a compiled function. Returns what runs one step of it."""
    tf = walkthrough.import_tensorflow()
    from core.layers import GELU, ReLU

    layer = ReLU("relu") if kind == "ReLU" else GELU("gelu")

    @tf.function(autograph=False)
    def step(x, t):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum((y - t) ** 2) / 2
        return y, tape.gradient(loss, x)

    x, t = tf.constant(x), tf.constant(t)
    return lambda: [tensor.numpy() for tensor in step(x, t)]


# ---- The story -----------------------------------------------------------------------------------


def numbers():
    """x and a target t, drawn from N(0, 1), every x moved 0.02 away from the kink. Raises Problem for bad sizes."""
    walkthrough.check_sizes(globals(), "BATCH", "FEATURES", "SEED")
    if not isinstance(BIAS, int | float):
        raise walkthrough.Problem(f"BIAS = {BIAS!r}: expected a number")
    random = np.random.default_rng(SEED)
    x, t = random.standard_normal([2, BATCH, FEATURES])
    return x + 0.02 * np.sign(x), t  # at x = 0 ReLU has no derivative to check


def there_and_back(forward, backward, x, kind, t):
    """y and dL/dx for the loss L = 1/2 sum (y - t)^2, whose dL/dy is y - t."""
    y = forward(x, kind)
    return y, backward(x, kind, y - t)


def contract():
    """The contract."""
    x, _ = numbers()
    print(f"   x {list(x.shape)}  ->  y {list(x.shape)}, no parameters")
    print(f"   {np.mean(x < 0):.0%} of x is negative: ReLU makes them 0, GELU keeps them above "
          f"{forward_numpy(np.linspace(-2, 0, 2001), 'GELU').min():.3f}")  # fmt: skip


def by_hand():
    """A case small enough to do by hand."""
    x, dy = walkthrough.matrices(globals(), "HAND_X", "HAND_DY")
    if x.shape != dy.shape:
        raise walkthrough.Problem(f"HAND_X {x.shape} and HAND_DY {dy.shape}: expected a dL/dy for each x")
    for kind in KINDS:
        y, slope, dx = forward_loops(x, kind), backward_loops(x, kind, np.ones_like(x)), backward_loops(x, kind, dy)
        rows = zip(("x", kind, "dy/dx", "dL/dy", "dL/dx"), (x, y, slope, dy, dx))
        print("\n".join(f"   {name:7}" + "".join(f"{number(v):>10}" for v in values.flat) for name, values in rows))
        print()
    last = x.flat[-1]
    print(f"   GELU of {number(last)} is {number(last)} times {number(area(last))}, the part of a bell curve "
          f"left of {number(last)}.")  # fmt: skip
    print("   ReLU asks: is x positive? GELU asks: how likely is x to be larger than a random number?")


def four_rungs():
    """The same layer four times, forward and backward."""
    x, t = numbers()

    def rungs(*case):  # yields, so that TensorFlow is woken only when the third is reached
        yield "loops", lambda: there_and_back(forward_loops, backward_loops, *case)
        yield "NumPy", lambda: there_and_back(forward_numpy, backward_numpy, *case)
        yield "TensorFlow primitives", lambda: tensorflow_primitives(*case)
        yield "the layer, compiled", compiled_layer(*case)

    for kind in KINDS:
        print(f"   {kind}:\n")
        checks.climb(rungs(x, kind, t), names=("y", "dL/dx"))
        print()


def proof_case(kind, forward=forward_numpy, backward=backward_numpy):
    """(y, loss, point, gradients) of a forward and a backward pass, as the proofs want them."""
    x, t = numbers()
    y, dx = there_and_back(forward, backward, x, kind, t)
    return y, lambda x: np.sum((forward(x, kind) - t) ** 2) / 2, {"x": x}, {"x": dx}


def gradients():
    """The backward pass, checked by the forward pass."""
    for kind in KINDS:
        _, *case = proof_case(kind)
        print(f"   {kind}: finite differences, then Taylor.\n")
        checks.prove_gradients(*case, bound=1e-6 if kind == "ReLU" else 1e-7)
        print()
        checks.prove_taylor(*case)
        print()


def mistakes():
    """What goes wrong, and which check sees it."""
    for kind, mistake, case in (
        ("ReLU", "the sign of dL/dy asked, not of x", proof_case("ReLU", backward=wrong_sign_backward)),
        ("GELU", "tanh forward, exact backward", proof_case("GELU", forward=tanh_forward)),
    ):
        gap = checks.largest_difference(case[0], proof_case(kind)[0])
        (check,) = checks.check_gradients(*case[1:])
        output = f"off by {gap:.1e}" if gap else "equal"
        print(f"   {kind}, {mistake}: output {output}, dL/dx off by {check.error:.0%}: "
              f"the check {'passes' if check.holds else 'fails'}")  # fmt: skip
    print()
    print("   The tanh curve is an approximation from the same paper, a network trains as well with it; but it is")
    print("   another function, and weights that were trained with one are not tested with the other.")
    x, _ = numbers()
    print(f"\n   A bias of {BIAS} before it, and the unit is dead: no output, no gradient, no way back.\n")
    print("   activation   largest |y|   largest |dy/dx|")
    for kind in KINDS:
        y, slope = forward_numpy(x + BIAS, kind), derivative(x + BIAS, kind)
        print(f"   {kind:10} {np.abs(y).max():13.1e} {np.abs(slope).max():17.1e}")
    print("\n   A gradient check of it compares 0 with 0: it must not pass.")


def wrong_sign_backward(x, kind, dy):
    """Lets through what comes back positive, instead of what went in positive."""
    return np.maximum(dy, 0)


def tanh_forward(x, kind):
    """GELU's approximation: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).  Hendrycks & Gimpel 2016, section 2."""
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


SECTIONS = [contract, by_hand, four_rungs, gradients, mistakes]


def figure():
    """Both curves, their derivatives, how a unit dies; and what they make of a bell curve of numbers."""
    slide = figures.new_slide()
    curves, histograms = slide.subplots(2, 3)
    x, bell = np.linspace(-4, 4, 401), np.random.default_rng(SEED).standard_normal(20_000)
    biases = np.linspace(-6, 2, 41)
    for kind, colour in zip(KINDS, figures.COLOURS):
        alive = [np.mean(np.abs(derivative(bell[:2000] + bias, kind))) for bias in biases]
        lines = (x, forward_numpy(x, kind)), (x, derivative(x, kind)), (biases, alive)
        for axes, line in zip(curves, lines):
            axes.plot(*line, color=colour, linewidth=4, label=kind)
    curves[0].legend(fontsize=16, frameon=False)
    for axes, title in zip(curves, ("y", "dy/dx", "mean |dy/dx| for x from N(bias, 1):\na large negative bias kills")):
        axes.set_title(title, fontsize=18, color=figures.INK)
        axes.axhline(0, color=figures.RULE, zorder=0)
    curves[2].set_xlabel("bias", fontsize=16)
    results = ("x from N(0, 1)", bell), *((f"{kind} of it", forward_numpy(bell, kind)) for kind in KINDS)
    for axes, (title, values), colour in zip(histograms, results, ("#888888", *figures.COLOURS)):
        axes.hist(values, np.linspace(-4, 4, 81), color=colour)
        axes.set_title(f"{title}: mean {values.mean():.2f}, {np.mean(values == 0):.0%} zeros", fontsize=18)
        axes.set(yticks=[], ylim=(0, 0.075 * bell.size))  # one scale: the zeros run out of the picture
    for axes in (*curves, *histograms):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=14)
    return slide


def on_your_network(trained):
    """One output number and one gradient of your network."""
    kind, x, y, dy, dx = type(trained.layer).__name__, trained.x, trained.y, trained.dy, trained.dx
    place = tuple(int(k) for k in np.unravel_index(np.argmax(np.abs(dx)), dx.shape))
    at, slope = list(place), derivative(x[place], kind)
    print(f"   y{at}, whose input the loss hangs on most: {kind} of {x[place]:.6f}")
    print(f"   all together {forward_numpy(x[place], kind):.6f};  the layer says {y[place]:.6f}\n")
    print(f"   dL/dx{at}: dy/dx = {number(slope)} there, times dL/dy = {dy[place]:.6f}")
    print(f"   all together {slope * dy[place]:.6f};  the tape says {dx[place]:.6f}\n")
    silent = np.all(x <= 0, axis=tuple(range(x.ndim - 1)))
    print(f"   {np.mean(x <= 0):.0%} of the inputs are not positive; {silent.sum()} of {silent.size} channels have "
          "no positive one in this picture")  # fmt: skip

    slide = figures.new_slide()
    figures.heading(slide, f"{trained.layer.name}: where x is negative, {kind} closes the way, there and back")
    (picture, before, after), (histogram, received, sent) = slide.subplots(2, 3)
    figures.image(picture, trained.picture, "the picture")
    c = place[-1]
    for axes, values, name in ((before, x, "x"), (after, y, "y"), (received, dx, "∂L/∂x"), (sent, dy, "∂L/∂y")):
        title = f"{name}, channel {c}" if x.ndim == 4 else f"{name}, all features"
        figures.image(axes, values[0, :, :, c] if x.ndim == 4 else values[0].reshape(8, -1), title)
    histogram.hist([x.ravel(), y.ravel()], 40, log=True, color=["#888888", figures.COLOURS[0]], label=["x", "y"])
    histogram.legend(fontsize=16, frameon=False)
    histogram.spines[["top", "right"]].set_visible(False)
    histogram.tick_params(labelsize=14)
    histogram.set_title("how often, in all channels (logarithmic)", fontsize=16)
    return slide


if __name__ == "__main__":
    sys.exit(walkthrough.tell(globals(), figure, on_your_network))
