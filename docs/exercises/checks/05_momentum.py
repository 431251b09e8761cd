"""Exercise 5: momentum."""

import numpy as np

from checker.arrays import array, call_for_arrays, expect_equal, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake, Wrong

SHAPES = ((3, 2), (2,), (3, 2))


def step(module, weights, gradients, velocities, learning_rate, momentum):
    """The learner's new weights and velocities, as lists of arrays. Raises Wrong when they are no lists of arrays."""
    kept = [np.copy(a) for a in (*weights, *gradients, *velocities)]
    results = call_for_arrays(module, "momentum_step", 2, weights, gradients, velocities, learning_rate, momentum)
    for name, result in zip(("new_weights", "new_velocities"), results):
        if not isinstance(result, list | tuple) or len(result) != len(weights):
            found = f"{len(result)} entries" if isinstance(result, list | tuple) else f"a {type(result).__name__}"
            raise Wrong(f"{name} has {found}; expected a list of {len(weights)} arrays, one for each parameter.")
    if not all(map(np.array_equal, kept, (*weights, *gradients, *velocities))):
        raise Wrong("The arrays that were handed in have changed: v *= ... and v += ... write into the caller's array; "
                    "write v = momentum * v + g.")  # fmt: skip
    return [[array(a, name) for a in result] for name, result in zip(("new_weights", "new_velocities"), results)]


def steps(module, count, learning_rate=0.3, momentum=0.9):
    """The velocities and weights after some steps with random gradients."""
    weights = [numbers(i, *shape) for i, shape in enumerate(SHAPES)]
    velocities = [np.zeros(shape) for shape in SHAPES]
    for t in range(count):
        gradients = [numbers(10 * t + i + 5, *shape) for i, shape in enumerate(SHAPES)]
        weights, velocities = step(module, weights, gradients, velocities, learning_rate, momentum)
    return weights, velocities


def shape(module):
    """Each new array has the shape of its parameter."""
    for name, arrays in zip(("new_weights", "new_velocities"), steps(module, 1)):
        for i, (found, expected) in enumerate(zip(arrays, SHAPES)):
            expect_shape(f"{name}[{i}]", found, expected, "each parameter keeps its shape")


def by_hand(module):
    """A constant gradient of 1, momentum 1/2, learning rate 0.1."""
    w, v = [np.array([0.0])], [np.array([0.0])]
    for t, (weight, velocity) in enumerate(((-0.1, 1), (-0.25, 1.5), (-0.425, 1.75)), start=1):
        w, v = step(module, w, [np.array([1.0])], v, 0.1, 0.5)
        what = f"From w = 0 and v = 0 with g = 1, momentum 0.5 and learning rate 0.1, step {t} leads to"
        expect_equal("v", v[0], [velocity], f"{what} v = {velocity}.")
        expect_equal("w", w[0], [weight], f"{what} w = {weight}.")


def without_momentum(module):
    """With momentum 0 it is plain gradient descent; with a constant gradient v tends to g / (1 - momentum)."""
    w, v = step(module, [np.array([2.0])], [np.array([3.0])], [np.array([7.0])], 0.1, 0.0)
    expect_equal("w", w[0], [1.7], "With momentum 0 a step is plain gradient descent: w - learning_rate * g.")
    v = [np.array([0.0])]
    for _ in range(200):
        _, v = step(module, [np.array([0.0])], [np.array([1.0])], v, 0.1, 0.9)
    expect_equal("v", v[0], [10], "With a constant gradient the velocity tends to g / (1 - momentum), here 10.", 1e-6)


def every_entry(module):
    """Three parameters, three steps."""
    weights, velocities = [numbers(i, *shape) for i, shape in enumerate(SHAPES)], [np.zeros(s) for s in SHAPES]
    for t in range(3):
        velocities = [0.9 * v + numbers(10 * t + i + 5, *v.shape) for i, v in enumerate(velocities)]
        weights = [w - 0.3 * v for w, v in zip(weights, velocities)]
    for name, found, expected in zip("wv", steps(module, 3), (weights, velocities)):
        for i in range(len(SHAPES)):
            expect_equal(f"{name}[{i}]", found[i], expected[i], f"Three parameters, three steps: {name} of parameter "
                         f"{i} is not right.")  # fmt: skip


def probe(module):
    """Weights and velocities after three steps."""
    weights, velocities = steps(module, 3)
    return [*weights, *velocities]


VELOCITY, UPDATE = "velocity = momentum * v + g", "w - learning_rate * velocity"
EXERCISE = Exercise(
    title="momentum",
    hints=(
        "Compute three steps on paper: g = 1 each time, momentum 0.5, learning rate 0.1, from v = 0 and w = 0. Which "
        "velocity belongs in the update of the weight, that before or that after the gradient was added?",
        "First v' = momentum * v + g, then w' = w - learning_rate * v'. Each parameter has its own velocity, and the "
        "next step needs it: both lists are returned.",
        "velocity = momentum * v + g, a new array; then new_velocities.append(velocity), and "
        "new_weights.append(w - learning_rate * velocity).",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("momentum 0, and 200 steps", without_momentum),
        Check("every entry", every_entry),
    ),
    probe=probe,
    mistakes=(
        Mistake(
            "old velocity in the update",
            "The weight moves by the velocity from before this step, so today's gradient acts one step late. Use the "
            "new velocity.",
            ((UPDATE, "w - learning_rate * v"),),
        ),
        Mistake(
            "gradient weighted with 1 - momentum",
            "You take (1 - momentum) * g: that is a moving average, as Adam uses it. Here the gradient enters whole, "
            "so that the velocity grows up to g / (1 - momentum).",
            ((VELOCITY, "velocity = momentum * v + (1 - momentum) * g"),),
        ),
        Mistake(
            "uphill",
            "The step goes uphill: the gradient points to where the loss grows, so the update is subtracted.",
            ((UPDATE, "w + learning_rate * velocity"),),
        ),
        Mistake(
            "velocity forgotten",
            "The old velocity does not count: this is plain gradient descent. Keep momentum * v.",
            ((VELOCITY, "velocity = g"),),
        ),
        Mistake(
            "momentum times everything",
            "Momentum multiplies the new gradient too. It makes the old velocity fade; g enters with weight 1.",
            ((VELOCITY, "velocity = momentum * (v + g)"),),
        ),
        Mistake(
            "momentum on the gradient",
            "The factors are exchanged: momentum belongs to the old velocity, which fades, and the new gradient enters "
            "whole.",
            ((VELOCITY, "velocity = v + momentum * g"),),
        ),
        Mistake(
            "learning rate inside the velocity",
            "The weights are right; the velocity holds the learning rate. Keras does it so. Here the rate multiplies "
            "the whole update, so that a schedule acts at once on all of it.",
            ((VELOCITY, "velocity = momentum * v + learning_rate * g"), (UPDATE, "w - velocity")),
        ),
        Mistake(
            "velocity with the sign and the rate of the step",
            "The weights are right, and the velocity is the step itself, with its sign and the learning rate. Here it "
            "adds up gradients; w - learning_rate * v' turns it into a step.",
            ((VELOCITY, "velocity = momentum * v - learning_rate * g"), (UPDATE, "w + velocity")),
        ),
        Mistake(
            "velocity with the sign of the step",
            "The weights are right, and the velocity has the wrong sign: it adds up gradients, v' = momentum * v + g, "
            "and the update subtracts it.",
            ((VELOCITY, "velocity = momentum * v - g"), (UPDATE, "w + learning_rate * velocity")),
        ),
        Mistake(
            "learning rate twice",
            "The learning rate is in the velocity and in the update, so it counts twice. It belongs in the update "
            "alone.",
            ((VELOCITY, "velocity = momentum * v + learning_rate * g"),),
        ),
        Mistake(
            "old velocity returned",
            "You return the velocity from before this step, so it stays 0 for ever: append the new one.",
            (("new_velocities.append(velocity)", "new_velocities.append(v)"),),
        ),
        Mistake(
            "velocity not used",
            "The velocity is right, and the weight moves by g alone: that is plain gradient descent. The update is "
            "learning_rate * v'.",
            ((UPDATE, "w - learning_rate * g"),),
        ),
        Mistake(
            "Nesterov",
            "This is Nesterov's momentum, g + momentum * v', which core/optimizers.py uses. Asked for is the plain "
            "one: the weight moves by v'.",
            ((UPDATE, "w - learning_rate * (g + momentum * velocity)"),),
        ),
        Mistake(
            "one velocity for all parameters",
            "Parameters share a velocity: each one needs the one at its own index in the list, or they push each other "
            "around.",
            ((VELOCITY, "velocity = momentum * (v if v.shape != velocities[-1].shape else velocities[-1]) + g"),),
        ),
    ),
    explanation="A velocity adds up gradients, the older ones fading. Where they agree step after step, v grows to "
    "g / (1 - momentum), ten times the gradient for 0.9; where they change sign, they cancel. So a momentum of 0.9 "
    "also means a learning rate ten times larger in the long run. core/optimizers.py adds Nesterov's correction, "
    "-learning_rate * (g + momentum * v').",
)  # fmt: skip
