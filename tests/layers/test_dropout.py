import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_layer_gradients, normal, with_gradient_of
from hypothesis import given
from hypothesis import strategies as st

from core.layers import Dropout

ONES = tf.ones([200, 50])  # 10,000 numbers


def mask(layer: Dropout, step: int) -> np.ndarray:
    """Which of ONES this step keeps."""
    return layer(ONES, training=True, step=tf.constant(step)).numpy() > 0


def test_every_entry_of_the_gradient():
    assert_layer_gradients(Dropout("dropout", 0.4), normal(3, 6), step=tf.constant(7))


@pytest.mark.parametrize("mistake", ["another mask in the backward pass", "not divided by 1 - rate"])
def test_a_wrong_gradient_is_found(mistake):
    class Wrong(Dropout):
        def __call__(self, x, training, step=None):
            y = super().__call__(x, training, step)
            wrong = (1 - self.rate) * y if "divided" in mistake else super().__call__(x, training, step + 1)
            return with_gradient_of(wrong, y)

    with pytest.raises(AssertionError, match="gradient d/dx"):
        assert_layer_gradients(Wrong("dropout", 0.4), normal(3, 6), step=tf.constant(7))


@given(st.floats(0, 0.95), st.integers(1, 10_000))
def test_what_is_kept_is_divided_by_its_probability(rate, step):
    """The formula of the docstring: every output is 0 or x / (1 - rate), the number kept as chance would have it."""
    x = 2 + normal(200, 50)
    y = Dropout("dropout", rate)(tf.constant(x), training=True, step=tf.constant(step)).numpy()
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / (1 - rate), rtol=1e-12)
    std = np.sqrt(rate * (1 - rate) / y.size)
    assert abs(kept.mean() - (1 - rate)) <= 5 * std


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_mean_is_preserved(rate):
    layer = Dropout("dropout", rate)
    means = [float(tf.reduce_mean(layer(ONES, training=True, step=tf.constant(step)))) for step in range(1, 51)]
    std = np.sqrt(rate / (1 - rate) / (50 * 10_000))
    assert np.mean(means) == pytest.approx(1, abs=5 * std)


def test_by_hand():
    layer = Dropout("dropout", 0.75)
    x = tf.constant([[3.0, -2.0, 8.0, 1.0, 5.0, 4.0, 7.0, 6.0]])
    kept = layer(tf.ones_like(x), training=True, step=tf.constant(1)).numpy() > 0
    assert kept.any() and not kept.all()
    # a quarter stays, four times as large
    np.testing.assert_array_equal(layer(x, True, tf.constant(1)), np.where(kept, [[12, -8, 32, 4, 20, 16, 28, 24]], 0))


def test_in_evaluation_nothing_happens():
    x = tf.constant(normal(3, 4))
    assert Dropout("dropout", 0.5)(x, training=False) is x
    assert Dropout("dropout", 0.0)(x, training=True) is x


def test_the_mask_is_a_function_of_seed_name_and_step():
    reference = mask(Dropout("dropout", 0.5, seed=1), step=3)
    np.testing.assert_array_equal(reference, mask(Dropout("dropout", 0.5, seed=1), step=3))
    others = {
        "step": mask(Dropout("dropout", 0.5, seed=1), step=4),
        "seed": mask(Dropout("dropout", 0.5, seed=2), step=3),
        "name": mask(Dropout("dropout2", 0.5, seed=1), step=3),
    }
    for what, other in others.items():
        assert abs((reference == other).mean() - 0.5) < 0.03, f"another {what} must draw an unrelated mask"


def test_without_a_seed_the_masks_are_those_of_seed_0():
    np.testing.assert_array_equal(mask(Dropout("dropout", 0.5), step=3), mask(Dropout("dropout", 0.5, seed=0), step=3))


def test_the_mask_of_one_layer_is_new_at_every_step_inside_one_graph():
    layer = Dropout("dropout", 0.5)
    traced = tf.function(lambda step: layer(ONES, training=True, step=step), [tf.TensorSpec([], tf.int32)])
    for step in (1, 2):
        np.testing.assert_array_equal(traced(tf.constant(step)) > 0, mask(layer, step))


def test_a_missing_step_is_named():
    with pytest.raises(ValueError, match=r"layer 'drop3': .*needs the step"):
        Dropout("drop3", 0.5)(ONES, training=True)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match=r"layer 'drop3': .*\[0, 1\), found"):
        Dropout("drop3", rate)


def test_it_costs_nothing_in_evaluation():
    assert Dropout("dropout", 0.5).flops((128,)) == 0
