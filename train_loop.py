"""Train a convolutional network on CIFAR-10, with nothing hidden. Read from top to bottom.

python train_loop.py                        train the recipe `classic`
python train_loop.py --help                 everything that can be changed
python train_loop.py --recipe debug --pdb   stop at the first line of train_step, with real tensors
"""

import bdb
import functools
import pdb
import sys

from core.run import signals
from core.settings import command_line

if __name__ == "__main__":
    INVOCATION = command_line.parse()  # before TensorFlow, which takes seconds to start
    signals.exit_quietly_on_interrupt("train_loop.py")

from core.devices import import_tensorflow

tf = import_tensorflow()

from core import build, replicas, schedules
from core.data.batches import TRAIN_SUBSET, in_order, standardize
from core.losses import correct, softmax_cross_entropy
from core.measure import evaluation
from core.measure.probes import LayerProbe, step_metrics
from core.model import IMAGE_SHAPE
from core.replicas import on_every_replica
from core.run import start, terminal
from core.speed.weight_average import WeightAverage
from core.training import Training


def train_step(training, step):
    """One training step: forward pass, loss, backward pass, parameter update.

    step: [] int32, 1 for the first. Returns scalars {name: []} and {quantity: [layers]}, still tensors.
    """
    network = training.network
    images, labels = training.batches.batch(step)  # uint8 [B,32,32,3], int32 [B]

    with tf.GradientTape() as tape:  # forward pass, recorded
        logits = network(standardize(images), training=True, step=step)  # [B,10]
        loss = tf.reduce_mean(softmax_cross_entropy(logits, labels, training.settings.label_smoothing))  # []
    gradients = tape.gradient(loss, network.parameters)  # backward pass: one for each parameter
    accuracy = tf.reduce_mean(correct(logits, labels))  # []

    loss, accuracy, gradients = replicas.mean((loss, accuracy, gradients))  # over all devices

    learning_rate = training.learning_rate(step)
    updates = training.optimizer.updates(gradients, learning_rate, step)  # one for each parameter
    layer_quantities = training.layer_probe.measure(step, gradients, updates)  # before the parameters change
    for parameter, update in zip(network.parameters, updates):
        parameter.assign_add(update)
    training.weight_average.update(step)

    return step_metrics(loss, accuracy, learning_rate, gradients, updates), layer_quantities


def evaluate(images, labels, evaluate_batch):
    """Loss, accuracy, calibration and confusion matrix over all images, first to last."""
    return evaluation.from_sums([evaluate_batch(*batch) for batch in in_order(images, labels)])


def evaluate_epoch(training, session, step):
    """Evaluate the same weights twice: on images that they were trained on, and on test images."""
    data = training.data
    seen = data.train_images[:TRAIN_SUBSET], data.train_labels[:TRAIN_SUBSET]
    unseen = data.test_images, data.test_labels
    last = step == training.total_steps
    augmented = last and training.settings.test_time_augmentation
    session.record_evaluation(
        step,
        train=evaluate(*seen, training.evaluate_batch),
        test=evaluate(*unseen, training.evaluate_batch),
        augmented=evaluate(*unseen, training.evaluate_augmented_batch) if augmented else None,
    )


def train(training, session):
    """The training loop. Returns False if a signal stopped it before its end."""
    if session.evaluation_missing():  # a kill came between a checkpoint and its evaluation
        evaluate_epoch(training, session, session.start)

    for step in session.steps():
        metrics, layer_quantities = training.step(tf.constant(step))
        session.record(step, metrics, layer_quantities)
        session.save_if_due(step)  # before the evaluation, during which the machine may die
        if session.evaluation_due(step):
            evaluate_epoch(training, session, step)
    return session.close()


def prepare(settings, data, stored=None):
    """Build the network, the optimizer and the batches on the device, and compile the step.

    stored: config.json of a run that is resumed or replayed; its architecture and kernels are taken.
    """
    batches = build.build_batches(data, settings)
    images = data.train_images[: build.WHITENING_IMAGES]
    network = build.build_network(settings, images=images, stored=stored)
    total_steps = settings.steps or settings.epochs * batches.steps_per_epoch
    training = Training(
        settings=settings,
        data=data,
        batches=batches,
        network=network,
        optimizer=build.build_optimizer(settings, network.parameters),
        learning_rate=schedules.from_settings(settings, total_steps),
        layer_probe=LayerProbe(network, on=settings.diagnostics != "off"),
        weight_average=WeightAverage(network.named_variables, settings.weight_average, total_steps),
        total_steps=total_steps,
    )
    scalar = tf.TensorSpec([], tf.int32)
    # The number of images is left open: the last evaluation batch may be short.
    some_images, some_labels = tf.TensorSpec([None, *IMAGE_SHAPE], tf.uint8), tf.TensorSpec([None], tf.int32)
    evaluate_signature, eager = [some_images, some_labels], settings.eager
    training.step = compiled(on_every_replica(train_step, training), [scalar], eager)
    training.evaluate_batch = compiled(
        on_every_replica(evaluation.evaluate_batch, network=network), evaluate_signature, eager
    )
    training.evaluate_augmented_batch = compiled(
        on_every_replica(evaluation.evaluate_batch, network=network, augmented=True), evaluate_signature, eager
    )
    return training


def compiled(function, signature, eager, **given):
    """`function` with the given arguments filled in: as one graph, or line by line with --eager.

    The signature makes sure of a single trace. Without AutoGraph the lines that are traced are the lines that
    are written, and a debugger finds them.
    """
    function = functools.partial(function, **given)
    return function if eager else tf.function(function, signature, autograph=False)


def under_debugger(step_function):
    """The same step, stopped by pdb at its first line each time; `quit` there ends the run."""

    def stopped(step):
        outcome = pdb.runcall(step_function.func, *step_function.args, step)
        if outcome is None:  # pdb swallows its own exception and returns nothing
            raise bdb.BdbQuit
        return outcome

    return stopped


def main(invocation):
    """Run what the command line asks for. Returns the exit status; every expected error is one line."""
    try:
        with start.start_session(invocation, prepare, compiled) as (training, session):
            if invocation.pdb:
                training.step = on_every_replica(under_debugger(functools.partial(train_step, training)))
            return 0 if train(training, session) else 1
    except (bdb.BdbQuit, pdb.Restart):
        terminal.say("\nleft the debugger; nothing after the last checkpoint was saved")
        return 0
    except (Exception, KeyboardInterrupt) as error:
        message = terminal.one_line(error, invocation)
        if message is None:  # a mistake of this project: show it whole
            raise
    print(f"train_loop.py: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(INVOCATION))
