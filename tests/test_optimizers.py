"""The updates against Keras and PyTorch over 100 steps, in float64, and against their formulas.

The numbers below (rate, momentum, betas) are sums of few powers of two: Keras keeps its rate in
float32, and only such numbers are the same in both precisions.
"""

import inspect

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal

from core.optimizers import SGD, Adam, adam_update, sgd_update
from core.settings.command_line import parse

RATE, MOMENTUM, BETA1, BETA2, DECAY = 2.0**-6, 0.875, 0.875, 1 - 2.0**-10, 2.0**-5
EPSILON = 1e-12  # Keras adds it before the correction of the bias, the paper and we after: too small to matter
SHAPES = [[3, 4], [4], [2, 2, 1, 3]]  # a dense kernel, a bias, a convolution kernel
STEPS = 100

# The learning rate by step: constant; and rising over 16 steps, then falling to 7/32 of the peak.
RATES = {
    "constant": lambda step: RATE,
    "changing": lambda step: RATE * (step / 16 if step <= 16 else (128 - step) / 128),
}
every_rate = pytest.mark.parametrize("rate", RATES)


def weights() -> list[tf.Variable]:
    return [tf.Variable(normal(*shape, seed=k)) for k, shape in enumerate(SHAPES)]


def gradients(weights, step: int) -> list[np.ndarray]:
    """A gradient that depends on the weights, so that the slightest difference grows, and on the step."""
    values = [np.asarray(w) for w in weights]
    return [np.sin(3 * w) + 0.5 * normal(*w.shape, seed=1000 * k + step) for k, w in enumerate(values)]


def run(optimizer, rate="constant") -> list[np.ndarray]:
    """The weights after 100 steps of ours."""
    for step in range(1, STEPS + 1):
        g = [tf.constant(of_one) for of_one in gradients(optimizer.parameters, step)]
        for w, d in zip(optimizer.parameters, optimizer.updates(g, RATES[rate](step), tf.constant(step))):
            w.assign_add(d)
    return [w.numpy() for w in optimizer.parameters]


def run_keras(optimizer, rate="constant", l2: float = 0.0) -> list[np.ndarray]:
    """The weights after 100 steps of Keras; l2: L2 * w is added to the gradient of every kernel."""
    variables = weights()
    optimizer.exclude_from_weight_decay(var_list=[w for w in variables if w.shape.rank < 2])
    optimizer.build(variables)
    for step in range(1, STEPS + 1):
        optimizer.learning_rate = RATES[rate](step)
        decays = [l2 if w.shape.rank >= 2 else 0.0 for w in variables]
        g = [tf.constant(g + decay * w.numpy()) for g, decay, w in zip(gradients(variables, step), decays, variables)]
        optimizer.apply_gradients(zip(g, variables))
    return [w.numpy() for w in variables]


def run_torch(name: str, decay: float, rate="constant", **options) -> list[np.ndarray]:
    """The weights after 100 steps of torch.optim's optimizer of this name; decay: of kernels only, as ours."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    parameters = [torch.nn.Parameter(torch.from_numpy(w.numpy())) for w in weights()]
    groups = [{"params": [w], "weight_decay": decay if w.dim() >= 2 else 0.0} for w in parameters]
    optimizer = getattr(torch.optim, name)(groups, lr=RATE, **options)
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = RATES[rate](step)
        for w, g in zip(parameters, gradients([w.detach().numpy() for w in parameters], step)):
            w.grad = torch.from_numpy(g)
        optimizer.step()
    return [w.detach().numpy() for w in parameters]


def assert_same(ours, theirs):
    for a, b, start in zip(ours, theirs, weights()):
        assert np.max(np.abs(a - start.numpy())) > 0.05, "the weights hardly changed: this would check nothing"
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@every_rate
@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("momentum", [MOMENTUM, 0.0])
def test_100_steps_of_sgd_equal_pytorch(momentum, decay, rate):
    theirs = run_torch("SGD", decay, rate, momentum=momentum, nesterov=momentum > 0)
    assert_same(run(SGD(weights(), momentum, decay), rate), theirs)


@every_rate
@pytest.mark.parametrize(("name", "decay"), [("Adam", 0.0), ("AdamW", DECAY)])
def test_100_steps_of_adam_equal_pytorch(name, decay, rate):
    theirs = run_torch(name, decay, rate, betas=(BETA1, BETA2), eps=EPSILON)
    assert_same(run(Adam(weights(), BETA1, BETA2, EPSILON, decay), rate), theirs)


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("momentum", [MOMENTUM, 0.0])
def test_100_steps_of_sgd_at_a_constant_rate_equal_keras(momentum, decay):
    # Keras multiplies its own weight_decay by the rate alone; ours enters the gradient, and so the momentum.
    keras = tf.keras.optimizers.SGD(RATE, momentum, nesterov=momentum > 0)
    assert_same(run(SGD(weights(), momentum, decay)), run_keras(keras, l2=decay))


def test_at_a_changing_rate_sgd_is_pytorchs_form_and_not_that_of_keras():
    """Keras keeps the rate in the velocity, v' = mu v - lr g and d = mu v' - lr g: another function."""
    ours = run(SGD(weights(), MOMENTUM), "changing")
    keras = run_keras(tf.keras.optimizers.SGD(RATE, MOMENTUM, nesterov=True), "changing")
    assert max(np.abs(a - b).max() for a, b in zip(ours, keras)) > 0.01
    by_formula = [w.numpy() for w in weights()]
    velocities = [np.zeros_like(w) for w in by_formula]
    for step in range(1, STEPS + 1):
        lr = RATES["changing"](step)
        for w, v, g in zip(by_formula, velocities, gradients(by_formula, step)):
            v[:] = MOMENTUM * v - lr * g
            w += MOMENTUM * v - lr * g
    assert_same(by_formula, keras)


def test_without_momentum_keras_agrees_at_a_changing_rate_too():
    assert_same(run(SGD(weights(), 0.0), "changing"), run_keras(tf.keras.optimizers.SGD(RATE), "changing"))


@every_rate
@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_100_steps_of_adam_equal_keras(decay, rate):
    keras = tf.keras.optimizers.AdamW(RATE, decay, BETA1, BETA2, EPSILON)
    assert_same(run(Adam(weights(), BETA1, BETA2, EPSILON, decay), rate), run_keras(keras, rate))


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
    assert float(decayed - d) == pytest.approx(-0.1 * 0.5 * 2.0)  # decoupled: not part of the averages


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
def test_every_weight_has_state_of_its_own(make):
    optimizer = make(weights())
    for kind, variables in optimizer.state().items():
        assert [v.shape for v in variables] == [w.shape for w in optimizer.parameters], kind
    everything = [v for variables in optimizer.state().values() for v in variables]
    assert len({id(v) for v in everything}) == len(everything)
    assert {id(v) for v in optimizer.trainable_variables} == {id(w) for w in optimizer.parameters}
    assert optimizer.name == make.__name__.lower()

    zeros = [tf.zeros_like(w) for w in optimizer.parameters]
    optimizer.updates([zeros[0], tf.ones_like(zeros[1]), zeros[2]], RATE, tf.constant(1))
    for variables in optimizer.state().values():
        assert [bool(np.any(v.numpy())) for v in variables] == [False, True, False]


@pytest.mark.parametrize("make", [SGD, Adam])
def test_computing_the_updates_changes_no_weight(make):
    optimizer = make(weights())
    before = [w.numpy() for w in optimizer.parameters]
    optimizer.updates(list(map(tf.constant, gradients(optimizer.parameters, 1))), RATE, tf.constant(1))
    for w, was in zip(optimizer.parameters, before):
        np.testing.assert_array_equal(w, was)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_decay_shrinks_kernels_and_leaves_biases_alone(make):
    optimizer = make(weights(), weight_decay=0.1)
    updates = optimizer.updates([tf.zeros_like(w) for w in optimizer.parameters], 0.5, tf.constant(1))
    for w, d in zip(optimizer.parameters, updates):
        if w.shape.rank >= 2:
            assert np.all(np.sign(d) == -np.sign(w)), "decay points to zero"
        else:
            np.testing.assert_array_equal(d, np.zeros(w.shape))


@pytest.mark.parametrize("make", [SGD, Adam])
def test_line_by_line_equals_compiled(make):
    traced_optimizer, optimizer = make(weights()), make(weights())
    traced = tf.function(traced_optimizer.updates, autograph=False)
    for step in (1, 2, 3):
        g = [tf.constant(of_one) for of_one in gradients(optimizer.parameters, step)]
        rate, t = tf.constant(0.1, tf.float64), tf.constant(step)
        for a, b in zip(traced(g, rate, t), optimizer.updates(g, rate, t)):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    assert traced.experimental_get_tracing_count() == 1, "the step must not be frozen into the graph"


# What an optimizer is built with where its call does not say.
DEFAULTS = {
    SGD: {"momentum": 0.9, "weight_decay": 0.0},
    Adam: {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7, "weight_decay": 0.0},
    sgd_update: {},
    adam_update: {},
}


@pytest.mark.parametrize("call", DEFAULTS)
def test_the_defaults_of_an_optimizer_and_of_its_formula(call):
    parameters = inspect.signature(call).parameters.values()
    assert {p.name: p.default for p in parameters if p.default is not p.empty} == DEFAULTS[call]


@pytest.mark.parametrize(
    ("name", "rate", "decay"), [("sgd", 0.04, 1e-3), ("adam", 1e-3, 0.0), ("adamw", 1e-3, 0.01), ("muon", 2.0, 1e-3)]
)
def test_an_optimizer_that_is_named_brings_its_own_rate_and_decay(name, rate, decay):
    settings = parse(["--optimizer", name]).settings
    assert (settings.learning_rate, settings.weight_decay) == (rate, decay)
    settings = parse(["--optimizer", name, "--learning-rate", "0.5"]).settings
    assert (settings.learning_rate, settings.weight_decay) == (0.5, decay), "what is given is taken"
