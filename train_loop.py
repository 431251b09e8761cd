"""Train a convolutional network on CIFAR-10, with nothing hidden. Read from top to bottom.

    python train_loop.py                        train the recipe `classic`
    python train_loop.py --help                 everything that can be changed
    python train_loop.py --recipe debug --pdb   stop at the first line of train_step, with real tensors

One step of learning is `train_step`; everything around it is `train`.
"""

import bdb
import dataclasses
import functools
import pdb
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from core import recipes

if __name__ == "__main__":
    INVOCATION = recipes.parse()  # before TensorFlow: a wrong word is answered in a moment

from core.devices import import_tensorflow

tf = import_tensorflow()

from core import checkpoints, devices, exams, logs, model, optimizers, probes, runs, terminal
from core.batches import PROBE_IMAGES, Batches, in_order, standardize
from core.data import DataError, DataSet, census
from core.data import load as load_data
from core.diagnostics import NETWORK, Diagnostics, chosen_cadence
from core.interrupts import StopRequest
from core.lookahead import Lookahead
from core.losses import correct, softmax_cross_entropy
from core.schedules import warmup_then_decay
from core.tensorboard import Board
from core.weight_average import WeightAverage

FLUSH_EVERY = 50  # steps between two looks at the numbers, at most: asking for each at once would make a GPU wait


def train_step(step, batches, network, optimizer, learning_rate_at, lookahead, weight_average, layer_probe, settings):
    """One step of learning: look at a batch, be corrected, move every weight a little.

    step [] int32, 1 for the first, decides everything random. Returns the step's numbers, still
    tensors: ({"loss", "accuracy", "learning_rate", ...}, {quantity: [layers]}).
    """
    images, labels = batches.batch(step)  # uint8 [B,32,32,3], int32 [B]

    with tf.GradientTape() as tape:  # forward, remembered
        logits = network.logits(standardize(images), training=True, step=step)  # [B,10]
        losses = softmax_cross_entropy(logits, labels, settings.label_smoothing)  # [B]
        loss = tf.reduce_mean(losses)
    gradients = tape.gradient(loss, network.parameters)  # backward

    learning_rate = learning_rate_at(step)
    updates = optimizer.updates(gradients, learning_rate, step)
    layer_quantities = layer_probe.measure(step, gradients, updates)  # before the weights move
    for weight, update in zip(network.parameters, updates):
        weight.assign_add(update)
    lookahead.follow(step)
    weight_average.follow(step)

    metrics = {
        "loss": loss,
        "accuracy": tf.reduce_mean(correct(logits, labels)),
        "learning_rate": learning_rate,
        "gradient_norm": tf.linalg.global_norm(gradients),
        "predicted_change": sum(probes.dot(g, d) for g, d in zip(gradients, updates)),  # of the loss, by calculus
    }
    return metrics, layer_quantities


def evaluate_piece(images, labels, network):
    """The sums of core/exams.py over uint8 pictures [N,32,32,3], in evaluation mode."""
    return exams.piece_sums(network.logits(standardize(images), training=False), labels)


def evaluate_views_piece(images, labels, network):
    """The same, each picture seen six ways."""
    return exams.piece_sums(exams.view_logits(images, network), labels)


def evaluate(images, labels, evaluate_one_piece) -> exams.Exam:
    """The exam over all pictures, first to last."""
    return exams.of_pieces([evaluate_one_piece(*piece) for piece in in_order(images, labels)])


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


@dataclass(frozen=True)
class Training:
    """What the story is told with, all of it on the device."""

    settings: recipes.Settings
    data: DataSet
    batches: Batches
    network: model.CNN
    optimizer: optimizers.SGD | optimizers.Adam | optimizers.Muon
    layer_probe: probes.LayerProbe
    one_step: Callable  # step -> (metrics, layer quantities): train_step, compiled
    one_piece: Callable  # images, labels -> sums: evaluate_piece, compiled
    one_views_piece: Callable  # the same for evaluate_views_piece
    steps_per_epoch: int
    total_steps: int
    state: dict[str, tf.Variable]  # everything a checkpoint holds, by name
    beginning: dict  # {name: array}: the state before the first step


def prepare(settings, data) -> Training:
    """Build it: the pictures, the network and the optimizer on the device, the step as one graph."""
    batches = Batches(data, settings)
    network = model.build(settings, images=data.train_images[: model.WHITENING_IMAGES])
    optimizer = optimizers.build(settings, network.parameters)
    layer_probe = probes.LayerProbe(network, on=settings.diagnostics != "off")
    total_steps = settings.steps or settings.epochs * batches.steps_per_epoch
    lookahead = Lookahead(network.named_variables if settings.lookahead else {}, total_steps)
    weight_average = WeightAverage(network.named_variables, settings.weight_average, total_steps)
    learning_rate_at = functools.partial(
        warmup_then_decay, total_steps=total_steps, peak=settings.learning_rate,
        warmup=settings.warmup, final=settings.final_rate,
    )  # fmt: skip
    one_step = compiled(
        train_step, [tf.TensorSpec([], tf.int32)], settings.eager, batches=batches, network=network,
        optimizer=optimizer, learning_rate_at=learning_rate_at, lookahead=lookahead, weight_average=weight_average,
        layer_probe=layer_probe, settings=settings,
    )  # fmt: skip
    pictures = [tf.TensorSpec([None, *model.IMAGE_SHAPE], tf.uint8), tf.TensorSpec([None], tf.int32)]
    one_piece = compiled(evaluate_piece, pictures, settings.eager, network=network)
    one_views_piece = compiled(evaluate_views_piece, pictures, settings.eager, network=network)
    state = state_of(network, optimizer, lookahead, weight_average, layer_probe)
    beginning = {name: variable.numpy() for name, variable in state.items()}
    return Training(
        settings, data, batches, network, optimizer, layer_probe, one_step, one_piece, one_views_piece,
        batches.steps_per_epoch, total_steps, state, beginning,
    )  # fmt: skip


def state_of(network, optimizer, lookahead, weight_average, layer_probe):
    """{name: variable} of everything a checkpoint holds: the network's variables, then the slots that go with them."""
    names = {id(variable): name for name, variable in network.named_variables.items()}
    keepers = (
        (optimizer, optimizer.parameters), (lookahead, lookahead.fast), (weight_average, weight_average.moving),
        (layer_probe, layer_probe.kernels),
    )  # fmt: skip
    slots = {
        f"{slot}/{names[id(weight)]}": variable
        for keeper, weights in keepers
        for slot, variables in keeper.slots().items()
        for weight, variable in zip(weights, variables)
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
    if invocation.pdb:
        settings = dataclasses.replace(settings, eager=True)
    pieces = devices.choose_pieces(settings)
    devices.configure(settings.threads, pieces)
    device, device_name = devices.choose(settings.device)
    precision, reason = devices.choose_precision(settings.precision, device)
    settings = dataclasses.replace(settings, precision=precision, pieces=pieces)
    data = load_data(settings.data, settings.data_dir, settings.holdout)
    if not invocation.resume:
        folder = runs.create(invocation.runs_dir, runs.name_for(invocation.run, settings.recipe, data))

    with runs.held(folder), tf.device(device), StopRequest() as stop:
        training = prepare(settings, data)
        steps_per_epoch, total_steps = training.steps_per_epoch, training.total_steps
        one_step = under_debugger(training.one_step) if invocation.pdb else training.one_step
        diagnostics = Diagnostics(training, compiled)

        # Begin, or go on after the last step that was saved.
        start = 0
        if invocation.resume:
            check_same_pictures(folder, data)
            start = restore_newest(training, folder)
            diagnostics.follow(runs.read_config(folder)["diagnostics"]["cadence"])
            examined = start in logs.read(folder, logs.EPOCHS)["step"]
            # A run that starts over describes its untouched network again, an exam that was cut short is sat again.
            logs.cut_back(folder, start or -1, () if examined else diagnostics.exam_quantities(start))
        else:
            write_config(folder, training, diagnostics, device_name, reason)
        board = Board(folder, training) if settings.tensorboard else None
        log = logs.Logs(folder, mirror=board and board.row)
        recorder = logs.StepRecorder(log, steps_per_epoch, training.layer_probe.names)
        terminal.opening(folder, settings, data, device_name, training.network, start, total_steps)
        progress = terminal.Progress(start, total_steps, settings.batch_size)

        def finish_epoch(step):
            """Both exams on the same weights: pictures it learns from, pictures it has never seen."""
            seen = evaluate(data.train_images[:PROBE_IMAGES], data.train_labels[:PROBE_IMAGES], training.one_piece)
            unseen = evaluate(data.test_images, data.test_labels, training.one_piece)
            log.exams(-(-step // steps_per_epoch), step, seen, unseen)
            log.layers(diagnostics.at_exam(step, training.one_piece, traces(training)))
            if settings.test_views and step == total_steps:
                views = evaluate(data.test_images, data.test_labels, training.one_views_piece)
                log.layers([(step, NETWORK, "test_accuracy_of_six_views", views.accuracy)])
            log.flush()
            if board:
                board.exam(step)
            terminal.epoch_line(-(-step // steps_per_epoch), data, seen, unseen)
            if settings.test_views and step == total_steps:
                terminal.views_line(data, views)

        def epoch_ends(step):
            return step > 0 and (step % steps_per_epoch == 0 or step == total_steps)

        if start == 0:
            log.layers(diagnostics.at_start())
        # A kill between saving and evaluating leaves an epoch without its exam: sit it now.
        elif epoch_ends(start) and start not in logs.read(folder, logs.EPOCHS)["step"]:
            finish_epoch(start)
        recorder.restart_clock()

        step = start
        for step in range(start + 1, total_steps + 1):
            metrics, layer_quantities = one_step(tf.constant(step))
            recorder.record(step, metrics, layer_quantities if diagnostics.norms_due(step) else {})
            if looks := diagnostics.after_step(step, metrics):
                recorder.record_looks(looks)

            signalled = stop.signal  # read once: a signal that comes later in this turn belongs to the next one
            stopping = signalled or step == invocation.stop_at
            every = settings.checkpoint_every
            save_due = stopping or epoch_ends(step) or (every and step % every == 0)
            if save_due or step % FLUSH_EVERY == 0 or recorder.overdue():
                progress.update(step, recorder.flush(to_disk=save_due))
                if recorder.lost_step:  # before anything broken is saved
                    log.close()
                    raise runs.RunError(why_lost(training, folder, recorder.lost_step))
            if save_due:  # before the evaluation: that is time in which the machine may die
                tensors = {name: variable.numpy() for name, variable in training.state.items()}
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
        if board:
            board.close()
        complete = total_steps in logs.read(folder, logs.EPOCHS)["step"]
        if complete:
            terminal.finished(folder, data, settings, diagnostics, start, time.perf_counter() - began)
        else:
            terminal.interrupted(folder, step, total_steps, stop.signal or f"--stop-at {invocation.stop_at}")
        return complete or step == invocation.stop_at


def write_config(folder, training, diagnostics, device_name, precision_reason):
    """Everything that decides the bits of this run, and what the diagnoses need to know of it."""
    settings, data, batches = training.settings, training.data, training.batches
    costs = None
    if settings.diagnostics_budget:
        costs, step_seconds = diagnostics.measured_costs(compiled)
        diagnostics.follow(chosen_cadence(costs, step_seconds, settings.diagnostics_budget))
    pictures = (batches.images.numpy(), batches.labels.numpy(), data.test_images, data.test_labels)
    facts = {
        "device": device_name,
        "precision_reason": precision_reason,
        "steps_per_epoch": training.steps_per_epoch,
        "total_steps": training.total_steps,
        "diagnostics": {"cadence": diagnostics.cadence, "cost_seconds": costs},
    }
    described = runs.describe(folder, settings, data, training.network, census(*pictures, len(data.class_names)))
    runs.write_config(folder, described | facts | devices.environment(settings.threads))


def check_same_pictures(folder, data):
    """Raise RunError if the run was trained on other bytes."""
    if runs.read_config(folder)["data"]["fingerprint"] != data.fingerprint:
        raise runs.RunError(f"{folder}: it was trained on other bytes than {data.name} has here; check --data-dir")


def restore_newest(training, folder, not_after=None):
    """Put the newest whole checkpoint (of a step <= not_after) into the variables, or the beginning if there is none.

    Returns its step, 0 for the beginning.
    """
    saved = [path for path in checkpoints.newest_first(folder) if not_after is None or int(path.name[5:]) <= not_after]
    if not saved:
        if not_after is None:
            terminal.say(f"{folder} has no checkpoint yet: its first steps are taken again")
        for name, variable in training.state.items():
            variable.assign(training.beginning[name])
        return 0
    checkpoint = checkpoints.newest(folder, not_after)
    for sentence in checkpoint.damaged:
        terminal.say(f"passed over: {sentence}")
    checkpoints.restore(checkpoint, training.state)
    return checkpoint.step


def rewind(training, folder, step):
    """Put the state after exactly `step` steps into the variables: a checkpoint, then the steps themselves again."""
    for again in range(restore_newest(training, folder, not_after=step) + 1, step + 1):
        training.one_step(tf.constant(again))


def why_lost(training, folder, step):
    """One line about a loss or gradient that is not finite: the step is taken again, line by line, to see where.

    Then once more as it was taken: if its numbers are finite this time, they were not lost by the training.
    """
    rewind(training, folder, step - 1)
    where = probes.first_not_finite(tf.constant(step), training.batches, training.network, training.settings)
    again, _ = training.one_step(tf.constant(step))
    by_chance = all(probes.all_finite(again[number]) for number in ("loss", "gradient_norm"))
    rate = logs.read(folder, logs.STEPS)["learning_rate"][-1]
    saved = [path.name for path in checkpoints.newest_first(folder)]
    begin = f"the numbers stop being finite at step {step:,} (learning rate {rate:.3g})"
    kept = f"the last good checkpoint is {saved[0]}" if saved else "no checkpoint was written yet"
    if by_chance:
        return (
            f"{begin}: taken again, the same step is finite, so the machine lost them (memory, processor, library); "
            f"{kept}; --resume goes on from there"
        )
    return (
        f"{begin}: {where}; {kept}; try a third of the --learning-rate or a longer --warmup; see it with "
        f"`python analysis/replay.py {folder} --step {step}`"
    )


def traces(training):
    """How often each function was traced; nothing for --eager."""
    functions = (training.one_step, training.one_piece)
    return [f.experimental_get_tracing_count() for f in functions if hasattr(f, "experimental_get_tracing_count")]


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
