"""The records of one run while it trains: which step is next, what is logged, what is saved, when it stops."""

import time

from core import replicas
from core.measure.diagnostics import NETWORK
from core.run import checkpoints, logs, recovery, run_folder, terminal
from core.run.tensorboard import Board

FLUSH_EVERY = 50  # steps between two flushes, at most: reading every number at once would make a GPU wait


class Session:
    """What train() records a run with: `steps`, `record`, `save_if_due`, `record_evaluation`, `close`.

    start: the last step that was taken before, 0 for a new run. stop: a StopRequest (core/run/signals.py).
    """

    def __init__(self, training, folder, diagnostics, stop, start: int, stop_at: int = 0):
        self.training, self.folder, self.diagnostics = training, folder, diagnostics
        self.stop, self.start, self.stop_at = stop, start, stop_at
        self.identity = run_folder.identity(run_folder.read_config(folder))
        self.began, self.step, self.stopping = time.perf_counter(), start, None
        self.evaluation_times = []  # seconds
        self.board = Board(folder, training, fresh=start == 0) if training.settings.tensorboard else None
        self.log = logs.Logs(folder, mirror=self.board and self.board.row)
        self.recorder = logs.StepRecorder(self.log, training.batches.epoch, training.layer_probe.names)
        self.progress = terminal.Progress(start, training.total_steps, training.settings.batch_size)

    def steps(self):
        """The numbers of the steps to take, in order; ends after the last one, on a signal, and at --stop-at."""
        if self.start == 0:
            self.log.layers(self.diagnostics.at_start())
        self.recorder.restart_timer()
        while self.step < self.training.total_steps and not self.stopping:
            self.step += 1
            yield self.step

    def record(self, step: int, metrics: dict, layer_quantities: dict) -> None:
        """Log one step: its scalars {name: []} and, for each layer, {quantity: [layers]}. Raises RunError on NaN."""
        self.recorder.record(step, metrics, layer_quantities if self.diagnostics.norms_due(step) else {})
        if rows := self.diagnostics.after_step(step, metrics):
            self.recorder.record_measurements(rows)
        # Read once: a signal that comes after this line belongs to the next step.
        self.stopping = self.stop.asked(step) or (f"--stop-at {self.stop_at}" if step == self.stop_at else None)
        if self.flush_due(step):
            self.progress.update(step, self.recorder.flush(to_disk=self.save_due(step)))
            if self.recorder.nonfinite_step:  # before anything broken is saved
                self.log.close()
                raise run_folder.RunError(
                    recovery.why_not_finite(self.training, self.folder, self.recorder.nonfinite_step)
                )

    def flush_due(self, step: int) -> bool:
        """Whether the rows of the last steps are written now: before a checkpoint and an evaluation, and regularly."""
        # Somebody who watches is not kept waiting; what several processes do together goes by the step alone.
        overdue = self.recorder.overdue() and not replicas.connected
        return self.save_due(step) or self.training.evaluates_after(step) or step % FLUSH_EVERY == 0 or overdue

    def save_due(self, step: int) -> bool:
        """Whether a checkpoint is written after this step: at the end of an epoch, when stopping, when asked for."""
        every = self.training.settings.checkpoint_every
        return bool(self.stopping or self.training.ends_epoch(step) or (every and step % every == 0))

    def save_if_due(self, step: int) -> None:
        """Write a checkpoint, if one is due."""
        if self.save_due(step):
            tensors = {name: variable.numpy() for name, variable in self.training.state.items()}
            recovery.check_finite(self.folder, step, tensors)
            keep = self.training.settings.keep_checkpoints
            checkpoints.save(self.folder, step, tensors, keep, self.identity)
            self.restart_timers()

    def evaluation_due(self, step: int) -> bool:
        """Whether the network is evaluated after this step, unless a signal asks to stop."""
        return self.training.evaluates_after(step) and not (self.stopping and self.stop.signal)

    def evaluation_missing(self) -> bool:
        """Whether a kill came between a checkpoint and the evaluation after its step."""
        return self.training.evaluates_after(self.start) and not is_evaluated(self.folder, self.start)

    def record_evaluation(self, step: int, train, test, augmented=None) -> None:
        """Log the evaluations on training and test images; augmented: that with test-time augmentation."""
        epoch, data = self.training.batches.epoch(step), self.training.data
        self.log.layers(self.diagnostics.at_evaluation(step))
        if augmented:
            self.log.layers([(step, NETWORK, "test_accuracy_tta", augmented.accuracy)])
        self.log.evaluations(epoch, step, train, test)
        self.log.flush(to_disk=True)
        if self.board:
            self.board.after_evaluation(step)
        whole = self.training.batches.epoch(step + 1) > epoch  # --steps may end in the middle of one
        when = f"epoch {epoch:3d}" if whole else f"step {step:4,}"
        terminal.evaluation_line(when, data, train, test)
        if augmented:
            terminal.augmented_line(data, augmented)
        self.evaluation_times.append(time.perf_counter() - self.recorder.previous)
        self.restart_timers()

    def restart_timers(self) -> None:
        """Do not count the time since the last step as part of the next one."""
        self.recorder.restart_timer()
        self.progress.restart_timer()

    def close(self) -> bool:
        """Close the files and print the last lines. Returns False if a signal stopped the run before its end."""
        self.progress.close()
        self.log.close()
        if self.board:
            self.board.close()
        total_steps = self.training.total_steps
        complete = is_evaluated(self.folder, total_steps)
        if complete:
            seconds = time.perf_counter() - self.began
            terminal.finished(self.folder, self.training, self.diagnostics, self.start, seconds, self.evaluation_times)
        else:
            reason = self.stopping or "stopped"
            terminal.interrupted(self.folder, self.step, total_steps, reason, workers=bool(replicas.connected))
        return complete or self.step == self.stop_at


def is_evaluated(folder, step: int) -> bool:
    """Whether epochs.csv has the row of this step."""
    return step in logs.read(folder, logs.EPOCHS)["step"]
