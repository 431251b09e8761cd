"""What the terminal shows: the opening lines, the progress bar, the closing lines."""

import math
import os
import shlex
import sys
import time

from tqdm import tqdm

from core.data.data_set import DataError
from core.devices import DeviceError
from core.run import logs
from core.run.checkpoints import CheckpointError
from core.run.errors import OutputError, RunError, WorkerError

EXPECTED_ERRORS = (OutputError, DataError, RunError, CheckpointError, logs.LogError, DeviceError, WorkerError)
silent = False  # in a worker that leaves the terminal to worker 0


def say(*lines: str) -> None:
    """Print lines at once, above a progress bar if there is one. Raises OutputError where they cannot be written."""
    if silent or sys.stdout is None:  # None: it was closed before Python started
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        for line in lines:  # a terminal that knows no ± gets its escape
            tqdm.write(line.encode(encoding, "backslashreplace").decode(encoding), file=sys.stdout)
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(
            f"standard output: {error.strerror}; what was saved before is undamaged, see --resume"
        ) from None


def banner(text: str) -> None:
    """A sentence between two rules."""
    rule = "=" * 88
    say(rule, text, rule)


def accuracy_with_error(accuracy: float, count: int) -> str:
    """`76.1 % ± 0.4`: a fraction of `count` images with its standard error sqrt(p (1-p) / n), in points."""
    return f"{100 * accuracy:.1f} % ± {100 * math.sqrt(accuracy * (1 - accuracy) / count):.1f}"


class Progress:
    """A tqdm bar over all steps of the run, with loss, accuracy and images a second."""

    def __init__(self, start: int, total: int, batch_size: int):
        # Standard error, as usual for a bar; no bar where nobody is looking.
        self.bar = tqdm(
            total=total, initial=start, unit="step", dynamic_ncols=True, disable=silent or None, smoothing=0.1,
            bar_format="{n_fmt}/{total_fmt} steps |{bar}| {elapsed} < {remaining}{postfix}",
        )  # fmt: skip
        self.step, self.batch_size, self.seconds = start, batch_size, time.perf_counter()

    def update(self, step: int, numbers: dict[str, float]) -> None:
        """Move to `step`, whose numbers these are."""
        now = time.perf_counter()
        rate = (step - self.step) * self.batch_size / max(now - self.seconds, 1e-9)
        self.bar.set_postfix_str(
            f"loss {numbers['loss']:.3f}, accuracy {100 * numbers['accuracy']:.0f} %, {rate:,.0f} images/s",
            refresh=False,
        )
        self.bar.update(step - self.step)
        self.step, self.seconds = step, now

    def restart_timer(self) -> None:
        """Do not count what happened since the last update in the rate."""
        self.seconds = time.perf_counter()

    def close(self) -> None:
        """Leave the bar as it is and give the line back."""
        self.bar.close()


def opening(folder, training, device_name: str, start: int) -> None:
    """What is about to be trained, on what, and with which data."""
    settings, data, network = training.settings, training.data, training.network
    if data.notice:
        banner(f"NOT CIFAR-10: training on shapes10, ten classes of drawn shapes.\n{data.notice}")
    on = f"{settings.precision}, {'textbook' if settings.kernels == 'textbook' else 'fast'} kernels"
    on += f", {settings.micro_batches} micro-batches" if settings.micro_batches > 1 else ""
    on += ", eager" if settings.eager else ""
    resumed = f" (resumed after step {start:,})" if start else ""
    steps = f"{start + 1:,} to {training.total_steps:,}" if start < training.total_steps else "none left"
    say(
        network.summary(),
        "",
        f"data     {data.title}: {len(data.train_images):,} training and {len(data.test_images):,} "
        f"{test_name(data)} images",
        f"device   {device_name}, {on}",
        f"run      {folder}/",
        f"steps    {steps}, {settings.batch_size} images each{resumed}",
        "",
    )


def test_name(data) -> str:
    """What the images are called that the network does not train on."""
    return "hold-out" if data.holdout else "test"


def evaluation_line(when: str, data, train, test) -> None:
    """The two evaluations (core/measure/evaluation.py) after an epoch or a step."""
    name = test_name(data)
    say(
        f"{when}   loss: train {train.loss:.3f}, {name} {test.loss:.3f}   "
        f"accuracy: train {100 * train.accuracy:5.1f} %, {name} {100 * test.accuracy:5.1f} %"
    )


def augmented_line(data, evaluation) -> None:
    """The evaluation with test-time augmentation."""
    accuracy = accuracy_with_error(evaluation.accuracy, len(data.test_images))
    say(f"with test-time augmentation, the mean over six views of each image: accuracy {accuracy}")


def interrupted(folder, step: int, total_steps: int, reason: str, workers: bool = False) -> None:
    """The run was stopped before its end: where it stands, and the command that continues."""
    launcher = os.environ.get("GLASSBOX_LAUNCHER", "")  # what started all workers (core/run/launch.py)
    where = f" --runs-dir {shlex.quote(str(folder.parent))}" if str(folder.parent) != "runs" else ""
    say(
        f"\n{reason}: stopped after step {step:,} of {total_steps:,}, everything saved. To continue"
        f"{', start every worker with' if workers and not launcher else ''}:",
        f"    python {launcher or 'train_loop.py'} --run {shlex.quote(folder.name)} --resume{where}",
    )


def finished(folder, training, diagnostics, start: int, seconds: float, evaluation_times: list[float]) -> None:
    """The last lines of a complete run: the result, where things are, what the diagnostics cost, what to do next."""
    data, longer = training.data, "--steps" if training.settings.steps else "--epochs"
    evaluations, timing = logs.read(folder, logs.EPOCHS), logs.read(folder, logs.TIMING)
    train, test = evaluations["train_accuracy"][-1], evaluations["test_accuracy"][-1]
    path = shlex.quote(str(folder))
    say(
        f"\n{test_name(data)} accuracy {accuracy_with_error(test, len(data.test_images))} "
        f"({data.title}, {len(data.test_images):,} images), train {100 * train:.1f} %, "
        f"{seconds:.0f} s {'since it was resumed' if start else 'in all'}",
        f"written      {folder}/: config.json, steps.csv, epochs.csv, layers.csv, predictions.csv, timing.csv, "
        "checkpoints/",
        f"evaluation   {sum(evaluation_times):.1f} s for {len(evaluation_times)} on {len(data.test_images):,} "
        f"{test_name(data)} images and training images",
        f"diagnostics  {diagnostics.report(float(timing['step_seconds'][timing['step'] > start].sum()))}",
        f"next         {advice(train, test, len(data.test_images), len(data.class_names), longer)}",
        f"             python analysis/curves.py {path}; python analysis/diagnose.py {path}",
    )


def advice(train: float, test: float, test_images: int, classes: int, longer: str = "--epochs") -> str:
    """What the two accuracies mean and what to try; the diagnosis says more. longer: the option that trains longer.

    Chance level is 1/classes; within three standard errors of it nothing was learned.
    """
    chance = 1 / classes
    if test < chance + 3 * math.sqrt(chance * (1 - chance) / test_images):
        return "the accuracy is that of chance: nothing was learned; the diagnosis names the likely cause"
    gap = 100 * (train - test)
    if gap > 10:
        return f"train accuracy is {gap:.0f} points above test: overfitting; try --flip random --crop 2 or more data"
    if gap < 3 and train < 0.95:
        return f"train and test accuracy are close: try more {longer}, or a larger network in core/model.py"
    return "change one thing (--learning-rate, --batch-size, a layer in core/model.py) and overlay the two curves"


def one_line(error: BaseException, invocation) -> str | None:
    """What to tell a user about an error of a run; None for one that is a mistake of this project."""
    if isinstance(error, EXPECTED_ERRORS):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "stopped at once by a second Ctrl-C; what was saved before is undamaged, see --resume"
    if type(error).__name__ == "ResourceExhaustedError" or isinstance(error, MemoryError):
        if invocation.resume:
            return "out of memory: close other programs, or train again with a smaller --batch-size"
        return f"out of memory with --batch-size {invocation.settings.batch_size}: try half of it"
    if isinstance(error, OSError):
        where = error.filename or invocation.runs_dir
        return f"{where}: {error.strerror or error}; what was saved before is undamaged, see --resume"
    if isinstance(error, ValueError) and str(error).startswith(("layer '", "network '")):
        return f"the network cannot be built: {error}"
    return None
