"""Train a convolutional network on CIFAR-10, with nothing hidden. Read from top to bottom.

    python train_loop.py                        train the recipe `classic`
    python train_loop.py --help                 everything that can be changed
    python train_loop.py --recipe debug --pdb   stop at the first line of train_step, with real tensors

One step of learning is `train_step`; everything around it is `train`.
"""

import bdb
import functools
import pdb
import sys
import time

from core import recipes

if __name__ == "__main__":
    INVOCATION = recipes.parse()  # before TensorFlow: a wrong word is answered in a moment

from core.devices import import_tensorflow

tf = import_tensorflow()

from core import checkpoints, devices, logs, model, optimizers, probes, runs, terminal
from core.batches import PROBE_IMAGES, Batches, in_order, standardize
from core.data import DataError
from core.data import load as load_data
from core.interrupts import StopRequest
from core.losses import correct, softmax_cross_entropy
from core.schedules import warmup_then_decay

FLUSH_EVERY = 50  # steps between two looks at the numbers: asking for each at once would make a GPU wait


def train_step(step, batches, network, optimizer, learning_rate_at, settings):
    """One step of learning: look at a batch, be corrected, move every weight a little.

    step [] int32, 1 for the first, decides everything random. Returns the step's numbers, still
    tensors: ({"loss", "accuracy", "learning_rate", "gradient_norm"}, {quantity: [layers]}).
    """
    images, labels = batches.batch(step)  # uint8 [B,32,32,3], int32 [B]

    with tf.GradientTape() as tape:  # forward, remembered
        logits = network.logits(standardize(images), training=True, step=step)  # [B,10]
        losses = softmax_cross_entropy(logits, labels, settings.label_smoothing)  # [B]
        loss = tf.reduce_mean(losses)
    gradients = tape.gradient(loss, network.parameters)  # backward

    learning_rate = learning_rate_at(step)
    updates = optimizer.updates(gradients, learning_rate, step)
    layer_quantities = probes.layer_quantities(network, gradients, updates)  # before the weights move
    for weight, update in zip(network.parameters, updates):
        weight.assign_add(update)

    metrics = {
        "loss": loss,
        "accuracy": tf.reduce_mean(correct(logits, labels)),
        "learning_rate": learning_rate,
        "gradient_norm": tf.linalg.global_norm(gradients),
    }
    return metrics, layer_quantities


def evaluate_piece(images, labels, network):
    """(summed loss, number correct) of uint8 pictures [N,32,32,3], in evaluation mode, without smoothing."""
    logits = network.logits(standardize(images), training=False)
    return tf.reduce_sum(softmax_cross_entropy(logits, labels)), tf.reduce_sum(correct(logits, labels))


def evaluate(images, labels, evaluate_one_piece):
    """(mean loss, accuracy) over all pictures: sums of pieces, never a mean of unequal means."""
    sums = [evaluate_one_piece(*piece) for piece in in_order(images, labels)]
    return sum(float(loss) for loss, _ in sums) / len(images), sum(float(right) for _, right in sums) / len(images)


def compiled(function, signature, eager, **given):
    """`function` with the given arguments filled in: as one graph, or line by line for --eager.

    The signature makes sure of a single trace. Without AutoGraph the lines that are traced are
    the lines written above, and a debugger finds them.
    """
    function = functools.partial(function, **given)
    return function if eager else tf.function(function, signature, autograph=False)


def under_debugger(one_step):
    """The same step, stopped by pdb at its first line each time; `quit` there ends the run."""

    def stopped(step):
        outcome = pdb.runcall(one_step.func, step, **one_step.keywords)
        if outcome is None:  # pdb swallows its own exception and returns nothing
            raise bdb.BdbQuit
        return outcome

    return stopped


def state_of(network, optimizer):
    """{name: variable} of everything a checkpoint holds: the network's variables, then the optimizer's slots."""
    names = {id(variable): name for name, variable in network.named_variables.items()}
    slots = {
        f"{slot}/{names[id(weight)]}": variable
        for slot, variables in optimizer.slots().items()
        for weight, variable in zip(optimizer.parameters, variables)
    }
    return network.named_variables | slots


def train(invocation):
    """The story: build, step, log, save, evaluate. Returns False if a signal cut it short."""
    began = time.perf_counter()
    # What to run, on what, with which pictures.
    settings = invocation.settings
    if invocation.resume:
        folder = runs.find(invocation.run or None, invocation.runs_dir)
        settings = runs.resumed_settings(folder, invocation)
    else:
        runs.check_free(invocation.runs_dir, invocation.run)
    devices.configure(settings.threads)
    device, device_name = devices.choose(settings.device)
    data = load_data(settings.data, settings.data_dir, settings.holdout)
    if not invocation.resume:
        folder = runs.create(invocation.runs_dir, runs.name_for(invocation.run, settings.recipe, data))

    with runs.held(folder), tf.device(device), StopRequest() as stop:
        # Build: the pictures, the network and the optimizer, all on the device.
        batches = Batches(data, settings)
        network = model.build(settings)
        optimizer = optimizers.build(settings, network.parameters)
        state = state_of(network, optimizer)
        steps_per_epoch = batches.steps_per_epoch
        total_steps = settings.steps or settings.epochs * steps_per_epoch
        learning_rate_at = functools.partial(
            warmup_then_decay, total_steps=total_steps, peak=settings.learning_rate,
            warmup=settings.warmup, final=settings.final_rate,
        )  # fmt: skip
        one_step = compiled(
            train_step, [tf.TensorSpec([], tf.int32)], settings.eager or invocation.pdb,
            batches=batches, network=network, optimizer=optimizer, learning_rate_at=learning_rate_at, settings=settings,
        )  # fmt: skip
        one_piece = compiled(
            evaluate_piece, [tf.TensorSpec([None, *model.IMAGE_SHAPE], tf.uint8), tf.TensorSpec([None], tf.int32)],
            settings.eager, network=network,
        )  # fmt: skip
        if invocation.pdb:
            one_step = under_debugger(one_step)

        # Begin, or go on after the last step that was saved.
        start = 0
        if invocation.resume:
            start = restore_newest(folder, data, state)
            logs.cut_back(folder, start)
        else:
            facts = {"device": device_name, "steps_per_epoch": steps_per_epoch, "total_steps": total_steps}
            runs.write_config(
                folder, runs.describe(folder, settings, data, network) | facts | devices.environment(settings.threads)
            )
        log = logs.Logs(folder)
        recorder = logs.StepRecorder(log, steps_per_epoch, [layer.name for layer in probes.kernel_layers(network)])
        terminal.opening(folder, settings, data, device_name, network, start, total_steps)
        progress = terminal.Progress(start, total_steps, settings.batch_size)

        def finish_epoch(step):
            """Both exams on the same weights: pictures it learns from, pictures it has never seen."""
            exams = (
                evaluate(data.train_images[:PROBE_IMAGES], data.train_labels[:PROBE_IMAGES], one_piece),
                evaluate(data.test_images, data.test_labels, one_piece),
            )
            epoch = -(-step // steps_per_epoch)
            log.append(logs.EPOCHS, [epoch, step, *exams[0], *exams[1]])
            log.flush()
            terminal.epoch_line(epoch, data, *exams)

        def epoch_ends(step):
            return step > 0 and (step % steps_per_epoch == 0 or step == total_steps)

        # A kill between saving and evaluating leaves an epoch without its exam: sit it now.
        if epoch_ends(start) and start not in logs.read(folder, logs.EPOCHS)["step"]:
            finish_epoch(start)
        recorder.restart_clock()

        step = start
        for step in range(start + 1, total_steps + 1):
            metrics, layer_quantities = one_step(tf.constant(step))
            recorder.record(step, metrics, layer_quantities if probes.due(step) else {})

            signalled = stop.signal  # read once: a signal that comes later in this turn belongs to the next one
            stopping = signalled or step == invocation.stop_at
            every = settings.checkpoint_every
            save_due = stopping or epoch_ends(step) or (every and step % every == 0)
            if save_due or step % FLUSH_EVERY == 0:
                progress.update(step, recorder.flush(to_disk=save_due))
            if save_due:  # before the evaluation: that is time in which the machine may die
                tensors = {name: variable.numpy() for name, variable in state.items()}
                checkpoints.save(folder, step, tensors, settings.keep_checkpoints)
            if epoch_ends(step) and not signalled:
                finish_epoch(step)
            if save_due:
                recorder.restart_clock()
                progress.restart_clock()
            if stopping:
                break

        progress.close()
        log.close()
        exams = logs.read(folder, logs.EPOCHS)
        complete = total_steps in exams["step"]
        if complete:
            terminal.finished(folder, data, exams, time.perf_counter() - began)
        else:
            terminal.interrupted(folder, step, total_steps, stop.signal or f"--stop-at {invocation.stop_at}")
        return complete or step == invocation.stop_at


def restore_newest(folder, data, state):
    """Put the newest whole checkpoint into the variables; returns its step, or 0 for a run that never saved one."""
    if runs.read_config(folder)["data"]["fingerprint"] != data.fingerprint:
        raise runs.RunError(f"{folder}: it was trained on other bytes than {data.name} has here; check --data-dir")
    if not checkpoints.newest_first(folder):
        terminal.say(f"{folder} has no checkpoint yet: its first steps are taken again")
        return 0
    checkpoint = checkpoints.newest(folder)
    for sentence in checkpoint.damaged:
        terminal.say(f"passed over: {sentence}")
    checkpoints.restore(checkpoint, state)
    return checkpoint.step


def main(invocation):
    """Run the story; answer what can go wrong in one line. Returns the exit status."""
    try:
        return 0 if train(invocation) else 1
    except (DataError, runs.RunError, checkpoints.CheckpointError, logs.LogError, devices.DeviceError) as error:
        message = str(error)
    except bdb.BdbQuit:
        message = "left the debugger; nothing after the last checkpoint was saved"
    except tf.errors.ResourceExhaustedError:
        message = f"out of memory with --batch-size {invocation.settings.batch_size}: try half of it"
    except OSError as error:
        message = (
            f"{error.filename or invocation.runs_dir}: {error.strerror}; what was saved before is whole, see --resume"
        )
    print(f"train_loop.py: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(INVOCATION))
