"""Dropout, four times: in training, each number is silenced with probability r; at test nothing happens.

    y = x m / (1 - r)        m is 1 with probability 1 - r, else 0; for each number by itself
    dL/dx = dy m / (1 - r)   the same m: who was not heard is not told

    x, y [any shape]   input and output
    m    [that shape]  the mask
    r                  the rate: which share is silenced

Dividing by 1 - r keeps the mean: E[y] = x. So the test pass needs no correction (Srivastava et al.
2014, "inverted"). The mask here is an argument: a pure function of (seed, layer name, step) draws
it, so the same step always silences the same numbers.

Change a number below and run the file again: python layers_explained/dropout.py
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from layers_explained.support import checks, figures, walkthrough
from layers_explained.support.walkthrough import beside

BATCH, FEATURES = 16, 32  # N, and numbers a picture
RATE = 0.3  # r
SEED, NAME, STEP = 0, "dropout", 1  # what the mask is a function of; SEED also draws x and the target t

# The case to do by hand: one picture, three features, half of them silenced.
HAND_X = [[3, 1, 4]]
HAND_MASK = [[1, 0, 1]]
HAND_RATE = 0.5
HAND_T = [[5, 2, 6]]  # what the outputs should have been

LAYER_CLASSES = ("Dropout",)  # of core/layers/, for --run


# ---- Rung 1: loops -------------------------------------------------------------------------------


def forward_loops(x, mask, rate):
    """A silenced number is 0, the others speak louder.  x, mask [any shape] -> y [that shape]."""
    y = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        if mask[i]:
            y[i] = x[i] / (1 - rate)
    return y


def backward_loops(mask, dy, rate):
    """dL/dy -> dL/dx: the same loop. A silenced number had no say in y, so y has nothing to tell it."""
    dx = np.zeros(dy.shape)
    for i in np.ndindex(dy.shape):
        if mask[i]:
            dx[i] = dy[i] / (1 - rate)
    return dx


# ---- Rung 2: NumPy -------------------------------------------------------------------------------


def forward_numpy(x, mask, rate):
    """One product: the mask, made of 0 and 1/(1 - r), is a weight that nobody learns."""
    return x * (mask / (1 - rate))


def backward_numpy(mask, dy, rate):
    """A product by a constant goes back as a product by the same constant."""
    return dy * (mask / (1 - rate))


def draw(shape, rate, seed, step):
    """A mask that is a function of (seed, step), by NumPy alone: no generator is left behind anywhere."""
    return np.random.default_rng([seed, step]).random(shape) >= rate


# ---- Rungs 3 and 4: TensorFlow -------------------------------------------------------------------


def tensorflow_mask(shape, rate, seed, name, step):
    """The mask of core.layers.Dropout, found again from (seed, name, step) without asking the layer."""
    walkthrough.import_tensorflow()
    from core import random_streams

    key = random_streams.at_step(random_streams.stream(seed, f"{name}/mask"), step)
    return random_streams.uniform(key, shape).numpy() >= rate


def tensorflow_primitives(x, mask, t, rate):
    """Choose between x / (1 - r) and 0; the tape knows that a choice sends back along the branch it took."""
    tf = walkthrough.import_tensorflow()
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.where(mask, x / (1 - rate), tf.zeros_like(x))
        loss = tf.reduce_sum((y - t) ** 2) / 2
    return [tensor.numpy() for tensor in (y, tape.gradient(loss, x), x)]  # at test y is x


def compiled_layer(x, t, rate, seed, name, step_number):
    """The class that trains, core.layers.Dropout, with its own mask, in a compiled function. Returns what runs it."""
    tf = walkthrough.import_tensorflow()
    from core.layers import Dropout

    layer = Dropout(name, rate, seed)

    @tf.function(autograph=False)
    def step(x, t, number):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True, step=number)
            loss = tf.reduce_sum((y - t) ** 2) / 2
        return y, tape.gradient(loss, x), layer(x, training=False)

    case = tf.constant(x), tf.constant(t), tf.constant(step_number)
    return lambda: [tensor.numpy() for tensor in step(*case)]


# ---- The story -----------------------------------------------------------------------------------


def numbers():
    """x, a mask by NumPy, and a target t, all [N, features]. Raises Problem for impossible sizes or rates."""
    walkthrough.check_sizes(globals(), "BATCH", "FEATURES", "SEED", "STEP")
    for name in ("RATE", "HAND_RATE"):
        if not 0 <= globals()[name] < 1:
            raise walkthrough.Problem(f"{name} = {globals()[name]}: expected a share from 0 up to, but not, 1")
    random = np.random.default_rng(SEED)
    x, t = 1 + random.standard_normal([2, BATCH, FEATURES])
    return x, draw(x.shape, RATE, SEED, STEP), t


def there_and_back(forward, backward, x, mask, t, rate):
    """y, its dL/dx for L = 1/2 sum (y - t)^2, and y at test, which is x."""
    y = forward(x, mask, rate)
    return y, backward(mask, y - t, rate), x


def contract():
    """The contract."""
    x, mask, _ = numbers()
    print(f"   x {list(x.shape)}, mask {list(mask.shape)}  ->  y {list(x.shape)}, no parameters")
    print(f"   rate {RATE}: {mask.mean():.1%} of the {mask.size:,} numbers are heard at step {STEP}, "
          f"each times 1/(1 - r) = {1 / (1 - RATE):.3f}\n")  # fmt: skip
    y = np.mean([forward_numpy(x, draw(x.shape, RATE, SEED, step), RATE) for step in range(1, 1001)], axis=0)
    print(f"   mean of x {x.mean():.3f}; mean of y over 1,000 steps {y.mean():.3f}")
    print("   one number by itself over those steps: "
          f"x[0,0] = {x[0, 0]:.3f}, mean of y[0,0] = {y[0, 0]:.3f}")  # fmt: skip


def by_hand():
    """A case small enough to do by hand."""
    x, mask, t, y, dx = hand_case()
    print(beside(("x", x), ("mask", mask), ("rate", HAND_RATE), ("y = x mask / (1 - rate)", y)) + "\n")
    print("   Backward: say the outputs should have been t, and L = 1/2 sum (y - t)^2. Then dL/dy = y - t.\n")
    print(beside(("t", t), ("dL/dy", y - t), ("dL/dx = dL/dy mask / (1 - rate)", dx)) + "\n")
    print("   All the masks there are, how probable each is, and the y it gives:\n")
    masks = np.array(list(itertools.product([1, 0], repeat=x.size)), float)
    chances = np.prod(np.where(masks, 1 - HAND_RATE, HAND_RATE), axis=1)[:, None]
    outputs = forward_loops(np.repeat(x, len(masks), axis=0), masks, HAND_RATE)
    print(beside(("mask", masks), ("probability", chances), ("y", outputs)) + "\n")
    print(beside(("the sum of probability times y", (chances * outputs).sum(axis=0)), ("x", x)))


def hand_case():
    """x, mask, t, y, dL/dx of the hand case by rung 1. Raises Problem when they do not fit together."""
    x, mask, t = walkthrough.matrices(globals(), "HAND_X", "HAND_MASK", "HAND_T")
    if not x.shape == mask.shape == t.shape or len(x) != 1 or x.size > 4:
        raise walkthrough.Problem("HAND_X, HAND_MASK and HAND_T: make each one row of the same length, at most 4 numbers")
    y, dx, _ = there_and_back(forward_loops, backward_loops, x, mask, t, HAND_RATE)
    return x, mask, t, y, dx


def four_rungs():
    """The same layer four times, forward and backward, with the mask of the layer that trains."""
    x, _, t = numbers()
    mask = tensorflow_mask(x.shape, RATE, SEED, NAME, STEP)  # rung 4 draws its own, and must draw this one
    print(f"   the mask of (seed {SEED}, '{NAME}/mask', step {STEP}): {mask.mean():.1%} heard\n", flush=True)

    def rungs():
        yield "loops", lambda: there_and_back(forward_loops, backward_loops, x, mask, t, RATE)
        yield "NumPy", lambda: there_and_back(forward_numpy, backward_numpy, x, mask, t, RATE)
        yield "TensorFlow primitives", lambda: tensorflow_primitives(x, mask, t, RATE)
        yield "the layer, compiled", compiled_layer(x, t, RATE, SEED, NAME, STEP)

    checks.climb(rungs(), names=("y", "dL/dx", "y at test"))


def proof_case(forward, backward, at_test=lambda x: x):
    """(y, loss, point, gradients) as the proofs want them; y in training, then y at test."""
    x, mask, t = numbers()
    y = forward(x, mask, RATE)
    dx = backward(mask, y - t, RATE)
    return np.stack([y, at_test(x)]), lambda x: np.sum((forward(x, mask, RATE) - t) ** 2) / 2, {"x": x}, {"x": dx}


def gradients():
    """The backward pass, checked by the forward pass."""
    _, *case = proof_case(forward_numpy, backward_numpy)
    print("   Finite differences, the mask held still: one number moved a little either way, and the loss watched.\n")
    checks.prove_gradients(*case)
    print("\n   Taylor: all numbers moved together, by a smaller and smaller step in one direction.\n")
    checks.prove_taylor(*case)


def mistakes():
    """What goes wrong, and which check sees it."""
    checks.print_mistakes(proof_case(forward_numpy, backward_numpy)[0], {
        "1/(1 - r) forgotten": proof_case(quiet_forward, quiet_backward),
        "a fresh mask on the way back": proof_case(forward_numpy, fresh_backward),
        "left on at test": proof_case(forward_numpy, backward_numpy, dropped_at_test),
    })  # fmt: skip
    x, mask, _ = numbers()
    print(f"\n   Forgotten 1/(1 - r): the mean of y is {quiet_forward(x, mask, RATE).mean():.2f} in training and "
          f"{x.mean():.2f} at test; the next layer has learned the first.")  # fmt: skip
    print("   A fresh mask tells those who were silent, and not those who spoke. Left on at test, a picture's answer")
    print("   depends on chance: ask twice, get two answers.")


def quiet_forward(x, mask, rate):
    """The others do not speak louder: on average a share r of the sound is missing."""
    return x * mask


def quiet_backward(mask, dy, rate):
    """What belongs to quiet_forward."""
    return dy * mask


def fresh_backward(mask, dy, rate):
    """A generator asked again: the mask of another step."""
    return backward_numpy(draw(mask.shape, rate, SEED, STEP + 1), dy, rate)


def dropped_at_test(x):
    """The training pass used for the test."""
    return forward_numpy(x, draw(x.shape, RATE, SEED, STEP + 1), RATE)


SECTIONS = [contract, by_hand, four_rungs, gradients, mistakes]


def figure():
    """Above, the masks of two steps. Below, the mean of y over the steps, with 1/(1 - r) and without."""
    numbers()  # checks the rate
    x = np.arange(1.0, 17).reshape(4, 4)
    slide = figures.new_slide()
    above, below = slide.subfigures(2, 1)
    figures.heading(
        above, f"The mask is a function of (seed, step); who is heard is divided by 1 − r = {1 - RATE:.3g}"
    )
    figures.heading(below, "The mean over many steps is x again; without 1/(1 − r) it would not be")
    first, *others = above.subplots(1, 4)
    figures.grid(first, x, "x")
    for axes, step in zip(others, (1, 1, 2)):
        heard = draw(x.shape, RATE, SEED, step)
        tints = {i: figures.pale(figures.COLOURS[0]) if heard[i] else "#dddddd" for i in np.ndindex(x.shape)}
        figures.grid(axes, np.round(forward_numpy(x, heard, RATE), 1), f"y at step {step}", size=16, tints=tints)
    axes, steps = below.subplots(), np.arange(1, 301)
    heard = np.array([draw([1], RATE, SEED, step)[0] for step in steps])
    for values, name, colour in (
        (heard / (1 - RATE), "mean of y, divided by 1 − r", figures.COLOURS[0]),
        (heard, "mean of y, not divided", figures.COLOURS[1]),
    ):
        axes.plot(steps, np.cumsum(values) / steps, color=colour, linewidth=4, label=name)
    axes.axhline(1, color=figures.INK, linestyle="--", linewidth=2, label="x = 1")
    axes.set_xlabel("steps", fontsize=16)
    axes.tick_params(labelsize=16)
    axes.legend(fontsize=16, frameon=False, ncols=3, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    return slide


def on_your_network(trained):
    """One output number and one gradient of your network's dropout, at test and in training."""
    tf = walkthrough.import_tensorflow()
    layer, x, dy, step = trained.layer, trained.x, trained.dy, tf.constant(STEP)
    print(f"   At test it is as if it were not there: y = x and dL/dx = dL/dy, to the last bit: "
          f"{np.array_equal(x, trained.y) and np.array_equal(trained.dx, dy)}\n")  # fmt: skip
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True, step=step)
    dx, y = tape.gradient(outputs, inputs, output_gradients=tf.constant(dy)).numpy(), outputs.numpy()
    mask = tensorflow_mask(x.shape, layer.rate, int(layer.key[0]), layer.name, step)
    again = np.array_equal(y, layer(inputs, training=True, step=step))
    print(f"   At step {STEP} of the training, rate {layer.rate}: {mask.sum():,} of {mask.size:,} numbers are heard, "
          f"the same ones when asked again: {again}\n")  # fmt: skip
    i = np.unravel_index(np.argmax(x * mask), x.shape)
    j = np.unravel_index(np.argmax(np.abs(dy) * mask), x.shape)
    print(
        f"   y{[int(a) for a in i]}, the largest that is heard: x mask / (1 - r) = {x[i]:.6f} * 1 / {1 - layer.rate:g}"
    )
    print(f"   all together {forward_numpy(x, mask, layer.rate)[i]:.6f};  the layer says {y[i]:.6f}\n")
    print(f"   dL/dx{[int(a) for a in j]}: dL/dy mask / (1 - r) = {dy[j]:.6f} * 1 / {1 - layer.rate:g}")
    print(f"   all together {backward_numpy(mask, dy, layer.rate)[j]:.6f};  the tape says {dx[j]:.6f}")
    slide = figures.new_slide()
    columns = int(np.ceil(np.sqrt(2 * x.size)))  # the features in rows, twice as wide as high
    seen, *charts = np.ravel(slide.subplots(2, 2))
    figures.image(seen, trained.picture, "the picture")
    titles = f"x: the {x.size} numbers that enter {layer.name}", f"the mask of step {STEP}", "y: silenced, or louder"
    for axes, values, title in zip(charts, (x, mask, y), titles):
        padded = np.full(-(-x.size // columns) * columns, np.nan)
        padded[: x.size] = np.ravel(values)
        figures.image(axes, padded.reshape(-1, columns), title)
    return slide


if __name__ == "__main__":
    sys.exit(walkthrough.tell(globals(), figure, on_your_network))
