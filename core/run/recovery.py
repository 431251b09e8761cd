"""Back to an earlier state of a run: restore a checkpoint, repeat the steps after it, find a number that was lost."""

import shlex

import numpy as np
import tensorflow as tf

from core.measure import probes
from core.run import checkpoints, logs, run_folder, terminal


def restore_newest(training, folder, not_after: int | None = None) -> int:
    """Assign the newest undamaged checkpoint (of a step <= not_after), or the initial state if there is none.

    Returns its step, 0 for the initial state. Raises CheckpointError for one of another run.
    """
    if not checkpoints.newest_first(folder, not_after):
        if not_after is None:
            check_none_was_written(training, folder)
            terminal.say(f"{folder} has no checkpoint yet: it starts again from step 1")
        for name, variable in training.state.items():
            variable.assign(training.initial_state[name])
        return 0
    checkpoint = checkpoints.newest(folder, not_after)
    for sentence in checkpoint.damaged:
        terminal.say(f"passed over: {sentence}")
    checkpoints.check_same_run(folder, checkpoint)
    checkpoints.restore(checkpoint, training.state)
    return checkpoint.step


def check_none_was_written(training, folder) -> None:
    """Raise CheckpointError if the rows tell of a checkpoint that is gone: starting again would overwrite them."""
    first = min(training.settings.checkpoint_every or training.total_steps, training.batches.steps_per_epoch)
    taken, evaluated = (
        logs.read(folder, name)["step"].max(initial=0) if (folder / name).exists() else 0
        for name in (logs.STEPS, logs.EPOCHS)
    )
    if taken > first or evaluated >= min(first, training.total_steps):
        raise checkpoints.CheckpointError(
            f"{folder}: it is at step {taken:,} and its checkpoints are gone; put {checkpoints.FOLDER}/ back, or train "
            "again under another --run"
        )


def check_finite(folder, step: int, tensors: dict) -> None:
    """Raise RunError if a number of the state after this step is not finite: loss and gradient were those before it."""
    for name, tensor in tensors.items():
        if np.issubdtype(tensor.dtype, np.floating) and not np.isfinite(tensor).all():
            raise run_folder.RunError(
                f"the update of step {step:,} left '{name}' not finite; {last_good(folder)}; try a third of the "
                "--learning-rate or a longer --warmup"
            )


def last_good(folder) -> str:
    """Which checkpoint was saved last, in words."""
    saved = [path.name for path in checkpoints.newest_first(folder)]
    return f"the last good checkpoint is {saved[0]}" if saved else "no checkpoint was written yet"


def rewind(training, folder, step: int) -> None:
    """Assign the state after exactly `step` steps: a checkpoint, then the steps after it once more."""
    for repeated in range(restore_newest(training, folder, not_after=step) + 1, step + 1):
        training.step(tf.constant(repeated))


def check_same_data(folder, data) -> None:
    """Raise RunError if the run was trained on other bytes."""
    if run_folder.read_config(folder)["data"]["fingerprint"] != data.fingerprint:
        raise run_folder.RunError(f"{folder}: it was trained on other bytes than {data.name} has here; see --data-dir")


def different_environment(config: dict, here: dict) -> str:
    """What decides the last bits and is another here than when the run began, in words; empty if nothing is."""
    decisive = ("tensorflow", "numpy", "processor", "device", "threads", "devices")
    return ", ".join(
        f"{name} {config[name]} (now {here[name]})"
        for name in decisive
        if name in config and config[name] != here[name]
    )


def why_not_finite(training, folder, step: int) -> str:
    """One line about a loss or gradient that is not finite: the step is repeated line by line, to find where.

    Then once more as it was taken: if its numbers are finite this time, the machine lost them, not the training.
    """
    rewind(training, folder, step - 1)
    where = probes.first_not_finite(tf.constant(step), training.batches, training.network, training.settings)
    repeated, _ = training.step(tf.constant(step))
    lost_by_machine = all(probes.all_finite(repeated[number]) for number in ("loss", "gradient_norm"))
    rate = logs.read(folder, logs.STEPS)["learning_rate"][-1]
    begin = f"the numbers stop being finite at step {step:,} (learning rate {rate:.3g})"
    kept = last_good(folder)
    if lost_by_machine:
        return (
            f"{begin}: repeated, the same step is finite, so the machine lost them (memory, processor, library); "
            f"{kept}; --resume continues from there"
        )
    return (
        f"{begin}: {where}; {kept}; try a third of the --learning-rate or a longer --warmup; see it with "
        f"`python analysis/replay.py {shlex.quote(str(folder))} --step {step}`"
    )
