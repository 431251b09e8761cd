"""The updates against Keras over 100 steps, in float64, and against their formulas.

The numbers below (rate, momentum, betas) are sums of few powers of two: Keras keeps its rate in
float32, and only such numbers are the same in both precisions.
"""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal

from core import optimizers
from core.optimizers import Adam, SGD, adam_update, sgd_update
from core.settings.settings import Settings

RATE, MOMENTUM, BETA1, BETA2, DECAY = 2.0**-6, 0.875, 0.875, 1 - 2.0**-10, 2.0**-5
EPSILON = 1e-12  # Keras adds it before the correction of the bias, the paper and we after: too small to matter
SHAPES = [[3, 4], [4], [2, 2, 1, 3]]  # a dense kernel, a bias, a convolution kernel
STEPS = 100


def weights() -> list[tf.Variable]:
    return [tf.Variable(normal(*shape, seed=k)) for k, shape in enumerate(SHAPES)]


def gradients(variables, step: int) -> list[tf.Tensor]:
    """A gradient that depends on the weights, so that the slightest difference grows, and on the step."""
    return [tf.sin(3 * w) + 0.5 * normal(*w.shape, seed=1000 * k + step) for k, w in enumerate(variables)]


def run(optimizer) -> list[np.ndarray]:
    """The weights after 100 steps of ours."""
    for step in range(1, STEPS + 1):
        updates = optimizer.updates(gradients(optimizer.parameters, step), RATE, tf.constant(step))
        for w, d in zip(optimizer.parameters, updates):
            w.assign_add(d)
    return [w.numpy() for w in optimizer.parameters]


def run_keras(optimizer, pull: float = 0.0) -> list[np.ndarray]:
    """The weights after 100 steps of Keras; `pull` adds pull * w to the gradient of every kernel."""
    variables = weights()
    optimizer.exclude_from_weight_decay(var_list=[w for w in variables if w.shape.rank < 2])
    optimizer.build(variables)
    for step in range(1, STEPS + 1):
        pulls = [pull if w.shape.rank >= 2 else 0.0 for w in variables]
        pulled = [g + p * w for g, p, w in zip(gradients(variables, step), pulls, variables)]
        optimizer.apply_gradients(zip(pulled, variables))
    return [w.numpy() for w in variables]


def assert_same(ours, theirs):
    for a, b, start in zip(ours, theirs, weights()):
        assert np.max(np.abs(a - start.numpy())) > 0.05, "the weights hardly moved: this would prove nothing"
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("momentum", [MOMENTUM, 0.0])
def test_100_steps_of_sgd_equal_keras(momentum, decay):
    # Keras multiplies its own weight_decay by the rate alone; ours enters the gradient, and so the momentum.
    keras = tf.keras.optimizers.SGD(RATE, momentum, nesterov=momentum > 0)
    assert_same(run(SGD(weights(), momentum, decay)), run_keras(keras, pull=decay))


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_100_steps_of_adam_equal_keras(decay):
    keras = tf.keras.optimizers.AdamW(RATE, decay, BETA1, BETA2, EPSILON)
    assert_same(run(Adam(weights(), BETA1, BETA2, EPSILON, decay)), run_keras(keras))


def test_two_steps_of_sgd_by_hand():
    # momentum 1/2, rate 1/10, gradient 4 each time: v = 4, then 6; d = -(4 + 2)/10, then -(4 + 3)/10
    d, velocity = sgd_update(1.0, 4.0, 0.0, learning_rate=0.1, momentum=0.5, weight_decay=0.0)
    assert (d, velocity) == pytest.approx((-0.6, 4.0))
    d, velocity = sgd_update(0.4, 4.0, velocity, learning_rate=0.1, momentum=0.5, weight_decay=0.0)
    assert (d, velocity) == pytest.approx((-0.7, 6.0))


def test_decay_of_sgd_by_hand():
    # g = 4 + 0.5 * 2 = 5; v = 5; d = -(5 + 2.5)/10
    assert sgd_update(2.0, 4.0, 0.0, 0.1, 0.5, 0.5) == pytest.approx((-0.75, 5.0))
    assert sgd_update(2.0, 4.0, 0.0, 0.1, 0.0, 0.0) == pytest.approx((-0.4, 4.0))  # plain gradient descent


@pytest.mark.parametrize("gradient", [1e-3, 1.0, -50.0])
def test_the_first_step_of_adam_by_hand(gradient):
    """Whatever the gradient's size: both averages are corrected to g and g^2, so d = -rate * sign(g)."""
    g = tf.constant(gradient, tf.float64)
    d, first, second = adam_update(2.0, g, 0.0, 0.0, tf.constant(1), 0.1, 0.9, 0.999, 1e-12, weight_decay=0.0)
    assert (float(d), float(first), float(second)) == pytest.approx(
        (-0.1 * np.sign(gradient), 0.1 * gradient, 0.001 * gradient**2), rel=1e-9
    )
    decayed, *_ = adam_update(2.0, g, 0.0, 0.0, tf.constant(1), 0.1, 0.9, 0.999, 1e-12, weight_decay=0.5)
    assert float(decayed - d) == pytest.approx(-0.1 * 0.5 * 2.0)  # decoupled: the averages never see it


def test_adam_is_the_formula_of_its_docstring():
    w, m, v = 1.0, 0.0, 0.0
    lr, b1, b2, eps, wd = 0.01, 0.9, 0.999, 1e-7, 0.1
    first = second = tf.constant(0.0, tf.float64)
    for t in range(1, 20):
        g = np.cos(t) + w
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        mh, vh = m / (1 - b1**t), v / (1 - b2**t)
        expected = -lr * (mh / (np.sqrt(vh) + eps) + wd * w)
        d, first, second = adam_update(
            w, tf.constant(g, tf.float64), first, second, tf.constant(t), lr, b1, b2, eps, wd
        )
        assert float(d) == pytest.approx(expected, rel=1e-10)
        w += expected


@pytest.mark.parametrize("make", [SGD, Adam])
def test_every_weight_has_slots_of_its_own(make):
    optimizer = make(weights())
    for slot, variables in optimizer.state().items():
        assert [v.shape for v in variables] == [w.shape for w in optimizer.parameters], slot
    everything = [v for variables in optimizer.state().values() for v in variables]
    assert len({id(v) for v in everything}) == len(everything)

    zeros = [tf.zeros_like(w) for w in optimizer.parameters]
    optimizer.updates([zeros[0], tf.ones_like(zeros[1]), zeros[2]], RATE, tf.constant(1))
    for variables in optimizer.state().values():
        assert [bool(np.any(v.numpy())) for v in variables] == [False, True, False]


@pytest.mark.parametrize("make", [SGD, Adam])
def test_handing_out_the_steps_moves_no_weight(make):
    optimizer = make(weights())
    before = [w.numpy() for w in optimizer.parameters]
    optimizer.updates(gradients(optimizer.parameters, 1), RATE, tf.constant(1))
    for w, was in zip(optimizer.parameters, before):
        np.testing.assert_array_equal(w, was)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_decay_pulls_on_kernels_and_leaves_biases_alone(make):
    optimizer = make(weights(), weight_decay=0.1)
    steps = optimizer.updates([tf.zeros_like(w) for w in optimizer.parameters], 0.5, tf.constant(1))
    for w, d in zip(optimizer.parameters, steps):
        if w.shape.rank >= 2:
            assert np.all(np.sign(d) == -np.sign(w)), "decay points to zero"
        else:
            np.testing.assert_array_equal(d, np.zeros(w.shape))


@pytest.mark.parametrize("make", [SGD, Adam])
def test_line_by_line_equals_traced(make):
    traced_optimizer, optimizer = make(weights()), make(weights())
    traced = tf.function(traced_optimizer.updates, autograph=False)
    for step in (1, 2, 3):
        g = gradients(optimizer.parameters, step)
        rate, t = tf.constant(0.1, tf.float64), tf.constant(step)
        for a, b in zip(traced(g, rate, t), optimizer.updates(g, rate, t)):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    assert traced.experimental_get_tracing_count() == 1, "the step must not be frozen into the graph"


def test_build_makes_what_the_settings_name():
    sgd = optimizers.build(replace(Settings(), momentum=0.7, weight_decay=0.2), weights())
    assert isinstance(sgd, SGD) and (sgd.momentum, sgd.weight_decay) == (0.7, 0.2)
    adam = optimizers.build(replace(Settings(), optimizer="adam", weight_decay=0.3), weights())
    assert isinstance(adam, Adam) and adam.weight_decay == 0.3


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_orthogonalized_is_near_the_polar_factor(shape):
    """The directions are those of U V', and every singular value that is not small is near 1."""
    g = normal(*shape)
    found = optimizers.orthogonalized(tf.constant(g)).numpy()
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    made = u.T @ found @ vt.T
    np.testing.assert_allclose(made, np.diag(np.diag(made)), atol=1e-12)
    strong = np.diag(made)[s > np.linalg.norm(s) / 50]
    assert len(strong) >= 8 and 0.68 < strong.min() and strong.max() < 1.21


def test_orthogonalized_keeps_weak_directions_short():
    """What it makes of each singular value, from a fiftieth of the whole on and below."""
    shares = np.array([0.9, 0.3, 0.1, 0.05, 0.02, 0.002, 0.0001])  # of |X|, nearly
    u, _ = np.linalg.qr(normal(7, 7))
    v, _ = np.linalg.qr(normal(20, 7, seed=1))
    matrix = u * (shares / np.linalg.norm(shares)) @ v.T
    made = np.diag(u.T @ optimizers.orthogonalized(tf.constant(5.0 * matrix)).numpy() @ v)
    assert np.all((0.68 < made[:5]) & (made[:5] < 1.21))
    assert made[5] < 0.1 and made[6] < 0.01


def test_muon_by_its_formula():
    """Convolutions, without decay, are brought to length sqrt(Cout) and step orthogonally; the rest is SGD."""
    parameters = [tf.Variable(normal(3, 3, 4, 6)), tf.Variable(normal(5, 2)), tf.Variable(normal(6))]
    muon = optimizers.Muon(parameters, momentum=0.6, weight_decay=0.1, bias_lr_scale=4.0, rate_ratio=0.4)
    sgd = SGD([tf.Variable(w) for w in parameters[1:]], 0.6, 0.1, bias_lr_scale=4.0)
    velocity = np.zeros((3, 3, 4, 6))
    for step in range(1, 4):
        g = [tf.constant(normal(*w.shape, seed=10 * step + k)) for k, w in enumerate(parameters)]
        d, expected = muon.updates(g, 0.5, tf.constant(step)), sgd.updates(g[1:], 0.5, tf.constant(step))
        for one, other in zip(d[1:], expected):
            np.testing.assert_array_equal(one, other)
        w = parameters[0].numpy()
        velocity = 0.6 * velocity + g[0].numpy()  # no weight decay here: orthogonalised it would drown the gradient
        direction = (g[0].numpy() + 0.6 * velocity).reshape(36, 6).T
        step_rows = optimizers.orthogonalized(tf.constant(direction)).numpy()
        new = w * np.sqrt(6) / np.linalg.norm(w) - 0.4 * 0.5 * step_rows.T.reshape(3, 3, 4, 6)
        np.testing.assert_allclose(w + d[0].numpy(), new, rtol=1e-9, atol=1e-12)
        for weight, update in zip(parameters, d):
            weight.assign_add(update)
        for weight, update in zip(sgd.parameters, expected):
            weight.assign_add(update)


def test_shifts_take_longer_steps():
    """The same gradient: a vector moves bias_lr_scale times as far as it does at 1, a kernel as far."""
    steps = {}
    for rate in (1.0, 64.0):
        optimizer = SGD(weights(), MOMENTUM, 0.0, bias_lr_scale=rate)
        steps[rate] = optimizer.updates(gradients(optimizer.parameters, 1), RATE, tf.constant(1))
    for slow, long in zip(steps[1.0], steps[64.0]):
        np.testing.assert_allclose(long, slow * (64 if slow.shape.rank < 2 else 1), rtol=1e-12)
