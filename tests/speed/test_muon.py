"""Muon: the orthogonalization against NumPy's singular value decomposition, the update against its formula."""

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal

from core.optimizers import SGD
from core.speed.muon import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_orthogonalized_is_near_the_polar_factor(shape):
    """The directions are those of U V', and every singular value that is not small is near 1."""
    g = normal(*shape)
    found = orthogonalized(tf.constant(g)).numpy()
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    made = u.T @ found @ vt.T
    np.testing.assert_allclose(made, np.diag(np.diag(made)), atol=1e-12)
    strong = np.diag(made)[s > np.linalg.norm(s) / 50]
    assert len(strong) >= 8 and 0.68 < strong.min() and strong.max() < 1.21


def test_orthogonalized_keeps_weak_directions_weak():
    """Each singular value afterwards: near 1 from a fiftieth of |X| on, small below."""
    fractions = np.array([0.9, 0.3, 0.1, 0.05, 0.02, 0.002, 0.0001])  # of |X|, nearly
    u, _ = np.linalg.qr(normal(7, 7))
    v, _ = np.linalg.qr(normal(20, 7, seed=1))
    matrix = u * (fractions / np.linalg.norm(fractions)) @ v.T
    made = np.diag(u.T @ orthogonalized(tf.constant(5.0 * matrix)).numpy() @ v)
    assert np.all((0.68 < made[:5]) & (made[:5] < 1.21))
    assert made[5] < 0.1 and made[6] < 0.01


def test_the_defaults():
    muon = Muon([tf.Variable(normal(3, 3, 4, 6))])
    assert (muon.momentum, muon.weight_decay, muon.rate_ratio) == (0.6, 0.0, 1.0)


def test_a_gradient_of_zero_has_no_direction():
    """Of a layer behind which every unit is dead: its filters are scaled, and nothing becomes NaN."""
    muon = Muon([tf.Variable(2 * tf.ones([1, 1, 1, 4]))])
    [d] = muon.updates([tf.zeros([1, 1, 1, 4])], 0.5, tf.constant(1))
    np.testing.assert_allclose(d, -tf.ones([1, 1, 1, 4]), rtol=1e-6)  # |w| from 4 to sqrt(4)


def test_muon_by_its_formula():
    """Convolutions, without decay: norm sqrt(Cout), then an orthogonalized direction. Everything else: SGD."""
    parameters = [tf.Variable(normal(3, 3, 4, 6)), tf.Variable(normal(5, 2)), tf.Variable(normal(6))]
    muon = Muon(parameters, momentum=0.6, weight_decay=0.1, rate_ratio=0.4)
    sgd = SGD([tf.Variable(w) for w in parameters[1:]], 0.6, 0.1)
    velocity = np.zeros((3, 3, 4, 6))
    for step in range(1, 4):
        g = [tf.constant(normal(*w.shape, seed=10 * step + k)) for k, w in enumerate(parameters)]
        d, expected = muon.updates(g, 0.5, tf.constant(step)), sgd.updates(g[1:], 0.5, tf.constant(step))
        for one, other in zip(d[1:], expected):
            np.testing.assert_array_equal(one, other)
        w = parameters[0].numpy()
        velocity = 0.6 * velocity + g[0].numpy()  # no weight decay here: orthogonalized it would dominate the gradient
        direction = (g[0].numpy() + 0.6 * velocity).reshape(36, 6).T
        rows = orthogonalized(tf.constant(direction)).numpy()
        new = w * np.sqrt(6) / np.linalg.norm(w) - 0.4 * 0.5 * rows.T.reshape(3, 3, 4, 6)
        np.testing.assert_allclose(w + d[0].numpy(), new, rtol=1e-9, atol=1e-12)
        for weight, update in zip(parameters, d):
            weight.assign_add(update)
        for weight, update in zip(sgd.parameters, expected):
            weight.assign_add(update)
