"""Exercise 9: the train step itself, on a network of this project: convolution, batch norm, dense layer."""

import sys
from pathlib import Path

import numpy as np

from checker.arrays import array, call, expect_equal, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake, Wrong

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent.parent))

RATE = 0.1
IMAGES = numbers(0, 6, 4, 4, 2).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.int32)


class NoGradient(Wrong):
    """The learner's step met a gradient that is None."""


def made_network():
    """A small network with parameters and moving averages; the same one each time."""
    from core.layers import BatchNormalization, Convolution, Dense, Flatten
    from core.model import CNN

    layers = [Convolution("conv", 2, 2, use_bias=False), BatchNormalization("norm", 2), Flatten("flatten"),
              Dense("dense", 32, 3)]  # fmt: skip
    return CNN("exercise", layers)


def constant_network():
    """A network whose two logits are its two weights, both 0."""
    import tensorflow as tf

    class Constant:
        def __init__(self):
            self.weights = tf.Variable([0.0, 0.0])
            self.parameters = [self.weights]
            self.variables = [self.weights]

        def __call__(self, images, training, step=None):
            return tf.tile(self.weights[None], [len(images), 1])

    return Constant()


def stepped(module, network, images=IMAGES, labels=LABELS, rate=RATE):
    """The learner's loss. Raises Wrong when there is no gradient."""
    import tensorflow as tf

    try:
        loss = call(module, "train_step", network, tf.constant(images), tf.constant(labels), rate)
    except (TypeError, ValueError, AttributeError) as error:
        if "has no attribute 'assign" in str(error):
            raise Wrong("assign_sub is called on a tensor. Only a variable has it, the parameter: is the order in zip "
                        "that of the names in the loop?", ("Python", str(error)[:150])) from None  # fmt: skip
        if "None" in str(error):
            raise NoGradient("A gradient is None: the tape did not record how the loss depends on that variable. The "
                        "forward pass and the loss belong inside the with block, and the gradient is that of "
                        "network.parameters.", ("Python", " ".join(str(error).split())[:150])) from None  # fmt: skip
        raise
    return array(getattr(loss, "numpy", lambda: loss)(), "loss")


def values(network):
    """{name: array} of parameters and moving averages."""
    return {name: variable.numpy().astype(float) for name, variable in network.named_variables.items()}


def right_step(network, images=IMAGES, labels=LABELS):
    """(loss, {name: array}) after one right step; the gradients are TensorFlow's."""
    import tensorflow as tf

    from core.losses import softmax_cross_entropy

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(softmax_cross_entropy(network(images, training=True), labels))
    gradients = tape.gradient(loss, network.parameters)
    changes = {parameter.ref(): RATE * gradient for parameter, gradient in zip(network.parameters, gradients)}
    found = {n: v.numpy() - changes[v.ref()].numpy() if v.ref() in changes else v.numpy()
             for n, v in network.named_variables.items()}  # fmt: skip
    return float(loss), found


def shape(module):
    """The loss is one number."""
    expect_shape("loss", stepped(module, made_network()), (), "one number, the mean over the images of the batch")


def by_hand(module):
    """A network that returns its two parameters as logits: loss log 2, gradient [-1/2, 1/2]."""
    network = constant_network()
    loss = stepped(module, network, IMAGES[:2], np.array([0, 0], np.int32), 1.0)
    expect_equal("loss", loss, np.log(2), "A network whose two logits are its two weights, both 0: the loss of two "
                 "images of class 0 is log 2.", 1e-5)  # fmt: skip
    expect_equal("the weights", network.weights.numpy(), [0.5, -0.5], "A network whose two logits are its two weights, "
                 "both 0, with two images of class 0 and learning rate 1: the gradient is [-1/2, 1/2] and the new "
                 "weights are [1/2, -1/2].", 1e-5)  # fmt: skip


def loss_falls(module):
    """Twenty steps on one batch make its loss smaller; the moving averages follow."""
    network = made_network()
    before = values(network)
    losses = [stepped(module, network) for _ in range(20)]
    if not losses[-1] < 0.8 * losses[0]:
        raise Wrong("Twenty steps on the same batch must make its loss smaller.",
                    ("found", f"loss {losses[0]:.3f} at step 1, {losses[-1]:.3f} at step 20"))  # fmt: skip
    if np.array_equal(values(network)["norm/moving_mean"], before["norm/moving_mean"]):
        raise Wrong("The moving averages of the batch norm did not move: call the network with training=True.")


def every_parameter(module):
    """Loss and all variables after one step."""
    expected_loss, expected = right_step(made_network())
    network = made_network()
    before = values(network)
    loss = stepped(module, network)
    expect_equal("loss", loss, expected_loss, "The loss of the batch is not right: the mean cross-entropy before the "
                 "update, with training=True.", 1e-5)  # fmt: skip
    for name, found in values(network).items():
        if np.array_equal(found, before[name]):
            sentence = f"{name} has not changed: every parameter gets its update. Does the loop end too early?"
        elif "moving" in name:
            sentence = f"After one step {name} is not right: the network is called once, with training=True."
        else:
            sentence = f"After one step {name} is not right."
        expect_equal(name, found, expected[name], sentence, 1e-5)


def probe(module):
    """The losses of two batches, and all variables after them."""
    network, found = made_network(), []
    for number, tried in enumerate((constant_network(), network)):
        try:
            found.append(stepped(module, tried, IMAGES[:2], LABELS[:2]))
        except NoGradient:  # in a network without moving averages, or only in the one with them
            return [np.array(-1.0 - number)]
    found.append(stepped(module, network))
    return found + list(values(network).values())


TAPE = "    with tf.GradientTape() as tape:\n        logits = network(images, training=True)  # [B,K]\n"
EXERCISE = Exercise(
    title="the train step, in TensorFlow",
    hints=(
        "Say the four parts of a step aloud: forward pass, loss, backward pass, update. Which of them must the tape "
        "see? What should the batch norm of the network know while it learns?",
        "Inside `with tf.GradientTape() as tape:` stand the call of the network, with training=True, and the mean of "
        "tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits). Behind the block: tape.gradient, then an "
        "assign_sub for each parameter.",
        "gradients = tape.gradient(loss, network.parameters); then, for parameter and gradient of "
        "zip(network.parameters, gradients): parameter.assign_sub(learning_rate * gradient).",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("the loss falls", loss_falls),
        Check("every parameter", every_parameter),
    ),
    probe=probe,
    mistakes=(
        Mistake(
            "evaluation mode",
            "The network is called with training=False: batch norm uses its moving averages, which then never move. "
            "While it learns, training=True.",
            (("network(images, training=True)  # [B,K]", "network(images, training=False)  # [B,K]"),),
        ),
        Mistake(
            "forward pass outside of the tape",
            "The gradients are None: the tape has not recorded how the loss comes about. The call of the network and "
            "the loss both belong inside the with block.",
            ((TAPE, "    logits = network(images, training=True)\n    with tf.GradientTape() as tape:\n"),),
        ),
        Mistake(
            "uphill",
            "The parameters go uphill: the gradient points to where the loss grows, so it is subtracted, assign_sub.",
            (("assign_sub", "assign_add"),),
        ),
        Mistake(
            "sum instead of mean",
            "The loss is the sum over the batch; take the mean, or a batch twice as large takes steps twice as long.",
            (("tf.reduce_mean(losses)", "tf.reduce_sum(losses)"),),
        ),
        Mistake(
            "learning rate forgotten",
            "The whole gradient is subtracted: the learning rate does not occur in your update.",
            (("assign_sub(learning_rate * gradient)", "assign_sub(gradient)"),),
        ),
        Mistake(
            "update lost",
            "The parameters have not changed. parameter - learning_rate * gradient makes a new tensor; the variable "
            "itself changes by parameter.assign_sub(...).",
            (("parameter.assign_sub(learning_rate * gradient)", "parameter = parameter - learning_rate * gradient"),),
        ),
        Mistake(
            "assigned instead of subtracted",
            "Each parameter is replaced by its update: assign forgets what was learned, assign_sub changes it.",
            (("parameter.assign_sub(learning_rate * gradient)", "parameter.assign(-learning_rate * gradient)"),),
        ),
        Mistake(
            "softmax twice",
            "The network's output goes through softmax before the loss, which applies it again. Logits go into the "
            "loss as they are; softmax twice learns slowly and never gets sure.",
            (("training=True)  # [B,K]", "training=True)  # [B,K]\n        logits = tf.nn.softmax(logits)"),),
        ),
        Mistake(
            "gradient of the losses",
            "The gradient is taken of the losses of all images, which adds them up, and the mean is only returned. "
            "Take that of the mean: tape.gradient(loss, ...), with the mean inside the with block.",
            (("tape.gradient(loss,", "tape.gradient(losses,"),),
        ),
        Mistake(
            "divided by the batch once more",
            "The gradient is divided by the number of images once more: the loss is a mean already, and so is its "
            "gradient.",
            (("learning_rate * gradient)", "learning_rate * gradient / len(images))"),),
        ),
        Mistake(
            "probabilities expected",
            "This loss takes its input for probabilities, as Keras' losses do without from_logits=True. The network "
            "returns logits.",
            (("tf.nn.sparse_softmax_cross_entropy_with_logits(", "tf.keras.losses.sparse_categorical_crossentropy("),),
        ),
        Mistake(
            "gradient for the moving averages too",
            "The gradient is asked for all variables. The moving averages of the batch norm get None: they are not "
            "learned. Take network.parameters.",
            (("tape.gradient(loss, network.parameters)", "tape.gradient(loss, network.variables)"),
             ("zip(network.parameters", "zip(network.variables")),
        ),
    ),
    explanation="This is the whole of deep learning's loop: forward pass, loss, backward pass, update. train_step in "
    "train_loop.py is the same with a batch of its own, a schedule, an optimizer and the measurements between backward "
    "pass and update. The tape records what happens inside its block; the parameters are those that are learned, and "
    "the moving averages follow by themselves.",
    tensorflow=True,
    tolerance=1e-4,
)  # fmt: skip
