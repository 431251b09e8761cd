"""The gradient check: every entry of a gradient against central differences, in float64.

A loss here is a function of nothing, returning one number, that reads the tf.Variables under
test: parameters, and the input, which is wrapped in a variable of its own.
"""

import numpy as np
import tensorflow as tf

# h of the central differences. They err by about h^2 (the curve between the two points) and by
# about 1e-16 / h (the digits that are lost in their difference): 1e-10 and 1e-11 here.
STEP = 1e-5

SMOOTH = 1e-7  # relative error allowed where the function is smooth
KINKED = 1e-6  # and where it has kinks, from which the test's inputs keep away


def central_differences(loss, variable: tf.Variable) -> np.ndarray:
    """dL/da = (L(a + h) - L(a - h)) / 2h for every entry a of the variable, which is left as it was."""
    start = variable.numpy()
    slopes = np.empty_like(start)
    for index in np.ndindex(start.shape):
        sides = []
        for move in (STEP, -STEP):
            moved = start.copy()
            moved[index] += move
            variable.assign(moved)
            sides.append(float(loss()))
        slopes[index] = (sides[0] - sides[1]) / (2 * STEP)
    variable.assign(start)
    return slopes


def relative_errors(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b| / max(|a|, |b|, m/100) for every entry, m the largest |entry| of both arrays.

    Why m/100: beside an entry that is zero, the last bit of a rounding error would count as 100 %.
    """
    size = np.maximum(np.abs(a), np.abs(b))
    return np.abs(a - b) / np.maximum(size, np.max(size) / 100)


def assert_gradients(loss, variables: dict[str, tf.Variable], bound: float = SMOOTH) -> None:
    """AssertionError unless every entry of every gradient of the loss equals its central difference."""
    assert all(variable.dtype == tf.float64 for variable in variables.values()), "float32 has too few digits for this"
    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, variables)
    for name, variable in variables.items():
        assert gradients[name] is not None, f"gradient d/d{name}: the loss does not depend on it"
        found, expected = gradients[name].numpy(), central_differences(loss, variable)
        assert np.any(expected), f"gradient d/d{name}: zero everywhere, which checks nothing"
        errors = relative_errors(found, expected)
        worst = np.unravel_index(np.argmax(errors), errors.shape)
        assert errors[worst] <= bound, (
            f"gradient d/d{name}{list(map(int, worst))}: found {found[worst]}, central differences give "
            f"{expected[worst]}: relative error {errors[worst]:.1e}, at most {bound:.0e} allowed"
        )


def assert_layer_gradients(layer, x: np.ndarray, training=True, step=None, bound: float = SMOOTH) -> None:
    """The check of a layer: gradients with respect to its input x and to each of its parameters.

    The loss is the layer's outputs, each times a fixed random number. Their plain sum would not
    do: of a softmax or a batch norm it is a constant.
    """
    x = tf.Variable(x, dtype=tf.float64)
    outputs = layer(tf.convert_to_tensor(x), training, step)
    weights = normal(*outputs.shape, seed=99)  # another seed than any x: <x, norm(x)> is almost constant

    def loss():
        return tf.reduce_sum(weights * layer(tf.convert_to_tensor(x), training, step))

    assert_gradients(loss, {"x": x} | {v.name.partition(":")[0]: v for v in layer.parameters}, bound)


def with_gradient_of(other: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """`value` in the forward pass, the gradient of `other` in the backward pass: how the tests break a layer."""
    return other + tf.stop_gradient(value - other)


def apart(shape, gap: float = 0.1, seed: int = 0) -> np.ndarray:
    """Random numbers at least `gap` from each other and gap/2 from zero: no ties, no kink within reach of h."""
    count = int(np.prod(shape))
    ladder = gap * (np.arange(count) - count // 2 + 0.5)
    return np.random.default_rng(seed).permutation(ladder).reshape(shape)


def normal(*shape, seed: int = 0) -> np.ndarray:
    """Draws from N(0, 1), float64, the same ones every time."""
    return np.random.default_rng(seed).normal(size=shape)
