"""The probes measure their formulas and change nothing of what they measure."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from gradients import normal

from core.data.batches import Batches, standardize
from core.layers import BatchNormalization, Convolution, Dense, Dropout, Flatten, MaxPooling, ReLU
from core.losses import softmax_cross_entropy
from core.measure import probes
from core.model import CNN
from core.settings.recipes import RECIPES


def norm(x):
    return np.sqrt(np.sum(x**2))


# What each quantity is, in NumPy: w the kernel before the step, g its gradient, d the update,
# w0 the initial kernel, last the gradient of the step before.
BY_FORMULA = {
    "gradient_norm": lambda w, g, d, last, w0: norm(g),
    "gradient_rms": lambda w, g, d, last, w0: np.sqrt(np.mean(g**2)),
    "weight_norm": lambda w, g, d, last, w0: norm(w),
    "update_ratio": lambda w, g, d, last, w0: norm(d) / norm(w),
    "first_order_change": lambda w, g, d, last, w0: np.sum(g * d),
    "distance": lambda w, g, d, last, w0: norm(w - w0) / norm(w0),
    "gradient_cosine": lambda w, g, d, last, w0: np.sum(g * last) / (norm(g) * norm(last)),
}


@pytest.fixture
def network():
    """Parameters besides the kernels stand before and between them, so that a wrong index shows."""
    norm, flatten = BatchNormalization("norm", 3), Flatten("flatten")
    layers = [norm, Convolution("conv10", 3, 4), ReLU("relu"), Convolution("conv2", 4, 2), flatten, Dense("out", 32, 5)]
    return CNN("small", layers)


def tensors(network, seed, scale=1.0):
    return [tf.constant(scale * normal(*w.shape, seed=seed + k), tf.float32) for k, w in enumerate(network.parameters)]


def test_the_scalars_of_a_step_by_hand():
    """The gradient (3, 4, 12) has the norm 13; with d = -g / 10 the loss is predicted to fall by 169 / 10."""
    gradients = [tf.constant([3.0, 4.0]), tf.constant([[12.0]])]
    metrics = probes.step_metrics(
        tf.constant(2.5), tf.constant(0.25), tf.constant(0.1), gradients, [-0.1 * g for g in gradients]
    )
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(
        {"loss": 2.5, "accuracy": 0.25, "learning_rate": 0.1, "gradient_norm": 13, "predicted_change": -16.9}
    )


@pytest.mark.parametrize("every, later", [(1, range(101, 120)), (7, [105, 112, 119]), (60, []), (100, [])])
def test_norms_are_due_at_the_first_hundred_steps_and_then_at_every_so_manyth(every, later):
    assert [step for step in range(1, 120) if probes.norms_due(step, every)] == [*range(1, 101), *later]


def test_layers_with_a_kernel_in_network_order(network):
    assert [layer.name for layer in probes.kernel_layers(network)] == ["conv10", "conv2", "out"]


def test_every_quantity_is_its_formula_in_network_order(network):
    probe = probes.LayerProbe(network)
    indices = [2, 4, 6]  # of the kernels among gamma, beta, kernel, bias, kernel, bias, kernel, bias
    initial = {k: network.parameters[k].numpy() for k in indices}
    last = tensors(network, seed=20)
    first = probe.measure(tf.constant(1), last, tensors(network, seed=30))
    assert not first["gradient_cosine"].numpy().any(), "the first step has no step before it"
    for parameter, change in zip(network.parameters, tensors(network, seed=40, scale=0.1)):
        parameter.assign_add(change)
    gradients, updates = tensors(network, seed=1), tensors(network, seed=50, scale=-0.01)
    measured = probe.measure(tf.constant(2), gradients, updates)
    assert list(measured) == list(probes.LAYER_QUANTITIES) == list(BY_FORMULA)
    for name, values in measured.items():
        expected = [
            BY_FORMULA[name](*(a[k].numpy() for a in (network.parameters, gradients, updates, last)), initial[k])
            for k in indices
        ]  # fmt: skip
        assert values.dtype == tf.float32
        np.testing.assert_allclose(values, expected, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("compiled", [False, True])
def test_between_the_due_steps_nothing_is_measured_and_the_right_gradient_is_kept(network, compiled):
    probe, seen = probes.LayerProbe(network), {}
    probe.every.assign(10)
    measure = tf.function(probe.measure, autograph=False) if compiled else probe.measure
    for step in range(98, 123):
        gradients = tensors(network, seed=step)
        seen[step] = gradients[2].numpy()
        cosine = measure(tf.constant(step), gradients, gradients)["gradient_cosine"].numpy()
        assert bool(cosine.any()) == (step in (99, 100, 110, 120)), step
        if cosine.any():
            one, other = seen[step], seen[step - 1]
            np.testing.assert_allclose(cosine[0], np.sum(one * other) / (norm(one) * norm(other)), rtol=1e-4)


def test_every_step_is_measured_unless_another_interval_is_chosen(network):
    assert probes.LayerProbe(network).measure(tf.constant(151), *2 * [tensors(network, seed=1)])["gradient_norm"][0] > 0


def test_another_quantity_is_a_line(network, monkeypatch):
    monkeypatch.setitem(probes.LAYER_QUANTITIES, "largest_weight", lambda w, g, d, w0, last: tf.reduce_max(tf.abs(w)))
    nothing = [tf.zeros_like(w) for w in network.parameters]
    measured = probes.LayerProbe(network).measure(tf.constant(1), nothing, nothing)
    largest = [np.abs(layer.kernel.numpy()).max() for layer in probes.kernel_layers(network)]
    np.testing.assert_array_equal(measured["largest_weight"], largest)


def test_zeros_have_numbers_too(network):
    """An all-zero network must leave finite numbers too."""
    for parameter in network.parameters:
        parameter.assign(tf.zeros_like(parameter))
    nothing = [tf.zeros_like(w) for w in network.parameters]
    for name, values in probes.LayerProbe(network).measure(tf.constant(1), nothing, nothing).items():
        assert not values.numpy().any(), name


def test_switched_off_it_measures_nothing_and_keeps_nothing(network):
    probe = probes.LayerProbe(network, on=False)
    assert probe.measure(tf.constant(1), network.parameters, network.parameters) == {}
    assert probe.state() == {"last_gradient": []}


@pytest.fixture
def dead_channel_network():
    """One channel of the second ReLU is dead: 0 at every position of every image."""
    conv = Convolution("conv", 3, 4)
    conv.bias.assign([-100, 0, 0, 100])
    layers = [conv, ReLU("relu"), MaxPooling("pool"), BatchNormalization("norm", 4), Dropout("dropout", 0.5)]
    return CNN("dead", [*layers, Flatten("flatten"), Dense("out", 16 * 16 * 4, 10)])


def outputs_by_hand(*batches):
    """The activation quantities of one layer that has these outputs, each for one batch of images."""
    images = tf.zeros([1, 32, 32, 3], tf.uint8)
    networks = [SimpleNamespace(outputs=lambda x, training, y=y: [(None, tf.constant(y))]) for y in batches]
    found = probes.activation_quantities([probes.activation_batch(images, network) for network in networks])
    return {name: values.tolist() for name, values in found.items()}


def test_activations_by_hand():
    """Twelve numbers in two batches: 1, 1, 1, -1 and zeros. A channel is dead if all of its numbers are 0."""
    one, other = np.zeros((1, 2, 1, 3), np.float32), np.zeros((1, 2, 1, 3), np.float32)
    one[0, 1, 0, 0] = one[0, 0, 0, 1] = other[0, 1, 0, 1] = 1  # a channel of one number, one of several, a dead one
    other[0, 0, 0, 1] = -1
    expected = {"activation_mean": [2 / 12], "activation_std": [np.sqrt(4 / 12 - (2 / 12) ** 2)], "sparsity": [8 / 12]}
    found = outputs_by_hand(one, other)
    assert found.pop("dead_channels") == [pytest.approx(1 / 3)]
    assert found == {name: pytest.approx(values) for name, values in expected.items()}


@pytest.mark.parametrize("y", [0.1, -0.3, 1e-3, 0.0, np.nan])
def test_outputs_that_are_all_alike_have_no_standard_deviation_and_those_of_a_diverged_network_no_number(y):
    """Not the root of a negative rounding error."""
    batches = 3 * [np.full((2, 5), y, np.float32)]
    assert outputs_by_hand(*batches)["activation_std"] == [pytest.approx(0 * y, abs=1e-6, nan_ok=True)]


def test_activations_against_numpy(dead_channel_network, small_data):
    images = small_data.train_images[:50]
    found = probes.activation_quantities(
        [probes.activation_batch(images[at : at + 10], dead_channel_network) for at in range(0, 50, 10)]
    )
    x = standardize(images)
    for i, layer in enumerate(dead_channel_network.layers):
        x = layer(x, training=False)
        y = x.numpy().astype(np.float64)
        np.testing.assert_allclose(found["activation_mean"][i], y.mean(), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found["activation_std"][i], y.std(), rtol=1e-3)
        np.testing.assert_allclose(found["sparsity"][i], np.mean(np.abs(y) < 1e-6), atol=1e-6)
        largest = np.abs(y).max(axis=tuple(range(y.ndim - 1)))
        np.testing.assert_allclose(found["dead_channels"][i], np.mean(largest < 1e-6), err_msg=layer.name)
    assert found["dead_channels"][1] == 0.25


def test_the_images_that_activations_are_measured_on_are_whole_batches():
    assert probes.ACTIVATION_IMAGES % probes.ACTIVATION_BATCH == 0


def training_parts(small_data, *layers):
    settings = SimpleNamespace(
        **(vars(RECIPES["debug"]) | {"batch_size": 40, "label_smoothing": 0.1, "flip": "random"})
    )
    return Batches(small_data, settings), CNN("net", list(layers)), settings


def whole(dtype=tf.float32):
    """A network of every kind of layer that curvature has to pass."""
    return [
        Convolution("conv", 3, 6, dtype=dtype), BatchNormalization("norm", 6, dtype=dtype), ReLU("relu"),
        MaxPooling("pool", 4), Flatten("flatten"), Dropout("dropout", 0.3), Dense("out", 8 * 8 * 6, 10, dtype=dtype),
    ]  # fmt: skip


def test_the_batch_loss_is_that_of_the_training_step_and_changes_nothing(small_data):
    batches, network, settings = training_parts(small_data, *whole())
    before = [v.numpy() for v in network.named_variables.values()]
    measure = tf.function(lambda step: probes.batch_loss(step, batches, network, settings), autograph=False)
    loss = float(measure(tf.constant(3)))
    for variable, value in zip(network.named_variables.values(), before):
        np.testing.assert_array_equal(variable, value)
    images, labels = batches.batch(tf.constant(3))
    logits = network(standardize(images), training=True, step=tf.constant(3))
    np.testing.assert_allclose(loss, tf.reduce_mean(softmax_cross_entropy(logits, labels, 0.1)), rtol=1e-6)


def test_curvature_is_the_second_difference_along_the_gradient(small_data):
    _, network, _ = training_parts(small_data, *whole())
    images, labels = tf.constant(small_data.train_images[:40]), tf.constant(small_data.train_labels[:40])
    found = float(tf.function(lambda: probes.curvature(images, labels, network), autograph=False)())
    start = [w.numpy() for w in network.parameters]

    def gradient():
        with tf.GradientTape() as tape:
            logits = network(standardize(images), training=False)
            loss = tf.reduce_mean(softmax_cross_entropy(logits, labels))
        return [g.numpy().astype(np.float64) for g in tape.gradient(loss, network.parameters)]

    g = gradient()
    length, h = np.sqrt(sum(np.sum(a * a) for a in g)), 1e-3
    ends = []
    for side in (1, -1):
        for w, w0, direction in zip(network.parameters, start, g):
            w.assign(w0 + side * h * direction / length)
        ends.append(gradient())
    second_difference = sum(np.sum(a * (up - down)) for a, up, down in zip(g, *ends)) / (2 * h * length)
    np.testing.assert_allclose(found, second_difference, rtol=0.05)
    assert found > 0


def test_gradient_noise_of_equal_and_of_different_images(small_data):
    """One image forty times has no noise; S of a real batch is, in the mean, the variance between images."""
    batches, network, settings = training_parts(small_data, Flatten("flatten"), Dense("out", 3072, 10))
    settings.label_smoothing = 0.0
    g2s, ss = [], []
    for step in range(1, 61):
        g2, s = probes.gradient_noise(tf.constant(step), batches, network, settings)
        g2s.append(float(g2)), ss.append(float(s))
    of_images = []
    for image, label in zip(small_data.train_images, small_data.train_labels):
        for shown in (image, image[:, ::-1]):  # flipped with probability 1/2
            with tf.GradientTape() as tape:
                logits = network(standardize(tf.constant(shown)[None]), training=False)
                loss = softmax_cross_entropy(logits, tf.constant([label]))[0]
            of_images.append(np.concatenate([g.numpy().ravel() for g in tape.gradient(loss, network.parameters)]))
    of_images = np.array(of_images)
    variance, true = of_images.var(axis=0).sum(), np.sum(of_images.mean(axis=0) ** 2)
    np.testing.assert_allclose(np.mean(ss), variance, rtol=0.1)
    # Images are drawn without replacement, 40 of 200: a batch differs less from the mean of all 200 by S / 200.
    np.testing.assert_allclose(np.mean(g2s), true - variance / 200, rtol=0.1)

    same = SimpleNamespace(
        batch=lambda step: (tf.constant(small_data.train_images[:1].repeat(40, 0)), tf.zeros([40], tf.int32))
    )
    g2, s = probes.gradient_noise(tf.constant(1), same, network, settings)
    assert abs(float(s)) < 1e-3 * float(g2)


def test_gradient_noise_is_its_formula_for_a_batch_and_its_quarters(small_data):
    """In evaluation mode, with moving averages and without dropout. 42 images are 4 times 10 and a rest of 2."""
    images, labels = small_data.train_images[:42], small_data.train_labels[:42]
    _, network, settings = training_parts(small_data, *whole())

    def squared_norm_of_gradient(part):
        with tf.GradientTape() as tape:
            logits = network(standardize(images[part]), training=False)
            loss = tf.reduce_mean(softmax_cross_entropy(logits, labels[part], 0.1))
        return sum(np.sum(g.numpy().astype(np.float64) ** 2) for g in tape.gradient(loss, network.parameters))

    large = squared_norm_of_gradient(slice(0, 40))
    small = np.mean([squared_norm_of_gradient(slice(start, start + 10)) for start in (0, 10, 20, 30)])
    batches = SimpleNamespace(batch=lambda step: (tf.constant(images), tf.constant(labels)))
    g2, s = probes.gradient_noise(tf.constant(1), batches, network, settings)
    np.testing.assert_allclose(g2, (40 * large - 10 * small) / (40 - 10), rtol=1e-3)
    np.testing.assert_allclose(s, (small - large) / (1 / 10 - 1 / 40), rtol=1e-3)


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda net: net.layers[0].bias.assign(np.full(6, np.nan, np.float32)), "values of 'conv/bias'"),
        (lambda net: net.layers[0].kernel.assign(np.full((3, 3, 3, 6), 3e38, np.float32)), "that of layer 'conv'"),
        (lambda net: net.layers[1].gamma.assign([3e38] * 6), "that of layer 'norm'"),
        (lambda net: net.layers[6].bias.assign([3e38, -3e38] * 5), "the loss is not"),
        (lambda net: None, "every number of that step is finite"),
        # Only in evaluation mode, which a step is not: a moving average that gamma makes infinite.
        (lambda net: (net.layers[1].moving_mean.assign([3e38] * 6), net.layers[1].gamma.assign([100] * 6)),
         "every number of that step is finite"),
    ],
)  # fmt: skip
def test_the_first_number_that_is_not_finite_has_a_name(small_data, spoil, sentence):
    batches, network, settings = training_parts(small_data, *whole())
    spoil(network)
    before = [v.numpy() for v in network.named_variables.values()]
    assert sentence in probes.first_not_finite(tf.constant(1), batches, network, settings)
    for variable, value in zip(network.named_variables.values(), before):
        np.testing.assert_array_equal(variable, value)


def test_a_gradient_that_overflows_is_named(small_data):
    """Forward everything is finite; backward the kernel of the last layer multiplies a second time."""
    layers = [Flatten("flatten"), Dense("one", 3072, 4), Dense("two", 4, 10)]
    batches, network, settings = training_parts(small_data, *layers)
    network.layers[1].kernel.assign(np.full((3072, 4), 1e-30, np.float32))
    network.layers[2].kernel.assign(np.tile([3e38, -3e38], (4, 5)).astype(np.float32))
    assert "gradient that is not finite is that of 'one/" in probes.first_not_finite(
        tf.constant(1), batches, network, settings
    )


def test_gradients_that_are_too_large_for_their_norm_are_reported_with_the_largest(small_data):
    """Each below 3e38, the sum of their squares above. A black pixel, standardized, is about -2: the kernel's are twice
    the bias's."""
    layers = [Flatten("flatten"), Dense("one", 3072, 4), Dense("two", 4, 10)]
    _, network, settings = training_parts(small_data, *layers)
    network.layers[1].kernel.assign(np.full((3072, 4), 1e-30, np.float32))
    network.layers[2].kernel.assign(np.tile([1e25, -1e25], (4, 5)).astype(np.float32))
    batches = SimpleNamespace(batch=lambda step: (tf.zeros([8, 32, 32, 3], tf.uint8), tf.zeros([8], tf.int32)))
    assert probes.first_not_finite(tf.constant(1), batches, network, settings) == (
        "every gradient is finite, but too large for their norm, the gradient of 'one/kernel' most"
    )
