"""What a person at the terminal reads: the opening lines, the progress bar, the closing words."""

import math
import sys
import time

from tqdm import tqdm

from core import logs


def say(*lines: str) -> None:
    """Print lines at once, above a progress bar if there is one."""
    for line in lines:
        tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def banner(text: str) -> None:
    """A sentence nobody can miss."""
    rule = "=" * 88
    say(rule, text, rule)


def accuracy_with_error(accuracy: float, count: int) -> str:
    """`76.1 % ± 0.4`: a share of `count` pictures with its standard error sqrt(p (1-p) / n), in points."""
    return f"{100 * accuracy:.1f} % ± {100 * math.sqrt(accuracy * (1 - accuracy) / count):.1f}"


class Progress:
    """A tqdm bar over all steps of the run, with loss, accuracy and images a second."""

    def __init__(self, start: int, total: int, batch_size: int):
        # Standard error, as usual for a bar; no bar where nobody is looking.
        self.bar = tqdm(
            total=total, initial=start, unit="step", dynamic_ncols=True, disable=None, smoothing=0.1,
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

    def restart_clock(self) -> None:
        """Do not count what happened since the last update in the rate."""
        self.seconds = time.perf_counter()

    def close(self) -> None:
        """Leave the bar as it is and give the line back."""
        self.bar.close()


def opening(folder, settings, data, device_name: str, network, start: int, total_steps: int) -> None:
    """What is about to be trained, on what, and with which pictures."""
    if data.notice:
        banner(f"NOT CIFAR-10: training on shapes10, ten classes of drawn shapes.\n{data.notice}")
    say(
        network.summary(),
        "",
        f"data     {data.title}: {len(data.train_images):,} training images, {len(data.test_images):,} to be tested on",
        f"device   {device_name}, {settings.precision}"
        + (f", convolutions in {network.pieces} pieces side by side" if network.pieces > 1 else "")
        + (", eager" if settings.eager else ""),
        f"run      {folder}/",
        f"steps    {start + 1 if start else 1} to {total_steps:,}, {settings.batch_size} images each"
        + (f" (resumed after step {start:,})" if start else ""),
        "",
    )


def epoch_line(epoch: int, data, train, test) -> None:
    """The two exams (core/exams.py) after an epoch."""
    name = "hold-out" if data.holdout else "test"
    say(
        f"epoch {epoch:3d}   loss: train {train.loss:.3f}, {name} {test.loss:.3f}   "
        f"accuracy: train {100 * train.accuracy:5.1f} %, {name} {100 * test.accuracy:5.1f} %"
    )


def views_line(data, exam) -> None:
    """The exam with test-time augmentation."""
    accuracy = accuracy_with_error(exam.accuracy, len(data.test_images))
    say(f"with test-time augmentation, the mean over six views of each picture: accuracy {accuracy}")


def interrupted(folder, step: int, total_steps: int, reason: str) -> None:
    """The run was left before its end: where it stands, and the command that goes on."""
    where = f" --runs-dir {folder.parent}" if str(folder.parent) != "runs" else ""
    say(
        f"\n{reason}: stopped after step {step:,} of {total_steps:,}, everything saved. To go on:",
        f"    python train_loop.py --run {folder.name} --resume{where}",
    )


def finished(folder, data, settings, diagnostics, start: int, seconds: float) -> None:
    """The last lines of a complete run: what came out, where things are, what looking cost, what to try next."""
    exams, timing = logs.read(folder, logs.EPOCHS), logs.read(folder, logs.TIMING)
    train, test = exams["train_accuracy"][-1], exams["test_accuracy"][-1]
    gap = 100 * (train - test)
    if gap > 10:
        remedy = "--crop 4, or more --weight-decay" if settings.alternating_flip else "--alternating-flip --crop 2"
        advice = f"it knows its training images {gap:.0f} points better than new ones: try {remedy}"
    elif gap < 3:
        advice = (
            "it does about as well on new images as on its own: try more --epochs, or a larger network in core/model.py"
        )
    else:
        advice = "change one thing (--learning-rate, --batch-size, a layer in core/model.py) and overlay the two curves"
    say(
        f"\n{'hold-out' if data.holdout else 'test'} accuracy {accuracy_with_error(test, len(data.test_images))} "
        f"({data.title}, {len(data.test_images):,} images), train {100 * train:.1f} %, {seconds:.0f} s in all",
        f"written  {folder}/: config.json, steps.csv, epochs.csv, layers.csv, predictions.csv, timing.csv, "
        "checkpoints/",
        f"looked   {diagnostics.report(float(timing['step_seconds'][timing['step'] > start].sum()))}",
        f"curves   python analysis/curves.py {folder}",
        f"next     {advice}",
    )
