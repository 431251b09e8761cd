import numpy as np
import tensorflow as tf
from gradients import normal

from core.speed.scale import Scale


def test_formula_and_gradient():
    x = tf.Variable(normal(3, 5))
    with tf.GradientTape() as tape:
        y = Scale("scale", 1 / 9)(x, training=True)
    np.testing.assert_allclose(y, x.numpy() / 9, rtol=1e-15)
    np.testing.assert_allclose(tape.gradient(y, x), np.full((3, 5), 1 / 9), rtol=1e-15)


def test_work_and_shape():
    layer = Scale("scale", 2.0)
    assert layer.output_shape((10,)) == (10,) and layer.flops((10,)) == 10 and layer.parameters == []
    assert (layer.name, layer.factor) == ("scale", 2.0)
