"""The zoo: short recorded runs whose illness is known, to measure the diagnoses against.

    python analysis/zoo.py                       record all of them anew, a process each, into tests/zoo/
    python analysis/zoo.py no-shuffling --out .  record one; then: python analysis/diagnose.py ./no-shuffling
    python analysis/zoo.py --list                what is there, and how each illness comes about in practice
    python analysis/zoo.py --score               what analysis/diagnose.py says of the recordings, as a table

An illness is a change of a line or two to the real training, made before it starts: a function of
the project is put in the place of another by unittest.mock.patch. Nothing ever edits a number that
was measured. Analysis does not import train_loop.py, but for replay.py, step_parts.py and this script, for
the same reason: they exist to run that very loop, here once well and often wrongly.
"""

import argparse
import contextlib
import dataclasses
import pkgutil
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis import diagnose
from analysis.support import common
from analysis.support.run import Run
from core.run import logs, run_folder
from core.settings import recipes

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / "tests" / "zoo"
RECORDED = (run_folder.CONFIG, *logs.COLUMNS)  # no checkpoints, no pictures: small enough to be kept with the code

# A run takes a minute, not more: 5,000 pictures of CIFAR-10, 100 steps an epoch.
TRAIN_IMAGES, TEST_IMAGES = 5_000, 2_000
CLASSIC = "--recipe classic --precision float32 --data cifar10 --batch-size 50 --epochs 5"
MODERN = "--recipe modern --precision float32 --data cifar10 --batch-size 50 --epochs 4"


@dataclass(frozen=True)
class Specimen:
    """One run: what train_loop.py is told, what is done to it, and which findings name it rightly."""

    args: str  # the command line of train_loop.py
    change: Callable = contextlib.nullcontext  # a context in which the training is ill
    expected: tuple[str, ...] = ()  # ids of detectors, any of which is right; none for a healthy run

    @property
    def about(self) -> str:
        """What is wrong, and how it usually happens."""
        return " ".join(self.change.__doc__.split()) if self.expected else f"healthy: {self.args}"


# Five healthy runs: different recipes, seeds, data.
ZOO = {
    "healthy-classic": Specimen(f"{CLASSIC} --seed 1"),
    "healthy-modern": Specimen(f"{MODERN} --seed 2"),
    "healthy-adam": Specimen(f"{CLASSIC} --optimizer adam --learning-rate 1e-3 --weight-decay 0.01 --seed 3"),
    "healthy-shapes10": Specimen(
        "--recipe classic --precision float32 --data shapes10 --batch-size 50 --epochs 5 --seed 4"
    ),
    "healthy-debug": Specimen("--recipe debug --no-eager --learning-rate 0.05 --batch-size 50 --epochs 6 --seed 5"),
}


def illness(args: str, *expected: str):
    """Enter the function below into the zoo: it makes the context in which a training has the illness of its name."""

    def entered(change):
        ZOO[change.__name__.replace("_", "-")] = Specimen(args, change, expected)
        return change

    return entered


def instead(target: str, change: Callable):
    """A context in which a call of the function `target`, "module.name", becomes change(function, *arguments)."""
    function = pkgutil.resolve_name(target)

    def changed(*arguments, **named):
        return change(function, *arguments, **named)

    return mock.patch(target, changed)


def of_the_data(change: Callable):
    """A context in which the training gets change(data) for the data set it has loaded."""
    return instead("train_loop.load_data", lambda load, *where: change(load(*where)))


def the_recipe(name: str, **settings):
    """A context in which the recipe has these settings."""
    return mock.patch.dict(recipes.RECIPES, {name: dataclasses.replace(recipes.RECIPES[name], **settings)})


def every_kernel_with(std: float):
    """A context in which every kernel is drawn from N(0, deviation^2), whatever its size."""
    return instead(
        "core.random_streams.normal", lambda normal, key, shape, proper, dtype: normal(key, shape, std, dtype)
    )


# ---------------------------------------------------------------------------- the illnesses


@illness(CLASSIC, "rate-high")
def rate_too_high():
    """The learning rate is five times too high: taken from a recipe with batch normalization or larger batches."""
    return the_recipe("classic", learning_rate=0.2)


@illness(CLASSIC, "rate-low")
def rate_too_low():
    """The learning rate is a thousand times too low: one that suits Adam with a slip in the exponent."""
    return the_recipe("classic", learning_rate=4e-5)


@illness(CLASSIC, "zero-start")
def zero_start():
    """Every kernel starts at zero: a start written for logistic regression, or weights that were never drawn."""
    return every_kernel_with(std=0)


@illness(CLASSIC, "large-start")
def large_start():
    """Every kernel starts with deviation 0.3, whatever its size: the division by the number of inputs was forgotten."""
    return every_kernel_with(std=0.3)


@illness(CLASSIC, "no-signal", "memorising-noise")
def labels_shuffled():
    """The labels belong to other pictures: pictures were shuffled or sorted after their labels had been read."""

    def shuffled(data):
        return dataclasses.replace(data, train_labels=np.random.default_rng(0).permutation(data.train_labels))

    return of_the_data(shuffled)


@illness(CLASSIC, "repeated-order")
def no_shuffling():
    """Every epoch meets the pictures in the order of the first: shuffled once and kept, as by shuffle().cache()."""
    return instead(
        "core.batches.Batches.indices",
        lambda indices, self, step: indices(self, (step - 1) % self.steps_per_epoch + 1),
    )


@illness(CLASSIC, "dying-relu")
def dead_relus():
    """Most channels of the second ReLU are off for every picture: a bias far below zero, as one huge step leaves it."""

    def with_dead_channels(build, settings, **named):
        network = build(settings, **named)
        bias = next(layer.bias for layer in network.layers if layer.name == "conv2")
        bias.assign([-20.0] * 60 + [0.0] * 4)
        return network

    return instead("core.model.build", with_dead_channels)


@illness(CLASSIC, "double-softmax")
def softmax_twice():
    """The network ends in a softmax, and the loss applies another: the loss expects scores and gets probabilities."""
    return instead(
        "core.model.CNN.logits",
        lambda logits, self, *arguments, **named: self.softmax(logits(self, *arguments, **named), training=False),
    )


@illness(CLASSIC, "frozen-clock")
def clock_frozen():
    """The schedule's clock stands at step 1: a Python number, which became a constant when the step was compiled."""
    return instead("train_loop.warmup_then_decay", lambda schedule, step, **settings: schedule(1, **settings))


@illness(f"{CLASSIC} --optimizer adam --learning-rate 1e-3", "frozen-clock")
def adams_clock_frozen():
    """Adam's own clock stands at step 1, so it corrects for a cold start for ever: the step was no tensor."""
    return instead(
        "core.optimizers.Adam.updates", lambda updates, self, gradients, rate, step: updates(self, gradients, rate, 1)
    )


@illness(CLASSIC, "leak")
def test_leaked():
    """The test pictures are in the training set: all were put together, cleaned or augmented, and then split."""

    def leaked(data):
        return dataclasses.replace(
            data,
            train_images=np.concatenate([data.train_images, data.test_images]),
            train_labels=np.concatenate([data.train_labels, data.test_labels]),
        )

    return of_the_data(leaked)


@illness(MODERN, "evaluation-mode")
def norm_in_training_mode():
    """Batch normalization normalizes by the batch in the evaluation too: training=False was not handed on to it."""
    return instead(
        "core.layers.BatchNormalization.__call__", lambda call, self, x, training, step=None: call(self, x, True)
    )


@illness(CLASSIC, "missing-class")
def class_missing():
    """No cat is among the training pictures: a folder that was not copied, a filter, a file that ended too early."""

    def without_cats(data):
        kept = data.train_labels != 3
        return dataclasses.replace(data, train_images=data.train_images[kept], train_labels=data.train_labels[kept])

    return of_the_data(without_cats)


# ---------------------------------------------------------------------------- recording


def record(name: str, out: Path, args: list[str]) -> None:
    """Train the specimen in this process, with `words` behind its own, and leave its logs in out/name."""
    specimen = ZOO[name]
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as contexts:
        import train_loop

        contexts.enter_context(short_of_pictures())
        contexts.enter_context(written_briefly())
        contexts.enter_context(specimen.change())
        invocation = command_line.parse([*specimen.args.split(), *args, "--runs-dir", place, "--run", name])
        try:
            if not train_loop.train(invocation):
                raise KeyboardInterrupt  # a signal cut it short, and half a run is no recording
        except run_folder.RunError as error:  # numbers that are no longer finite: the logs up to there are the recording
            if not (Path(place) / name / logs.STEPS).is_file():
                raise
            print(error)
        (out / name).mkdir(parents=True, exist_ok=True)
        for file in RECORDED:
            shutil.copy(Path(place) / name / file, out / name / file)
    print(f"recorded {out / name}")


def short_of_pictures():
    """A context in which CIFAR-10 has fewer pictures, the first ones, so that a run takes a minute."""

    def fewer(data):
        if data.name != "cifar10":
            return data
        return dataclasses.replace(
            data, train_images=data.train_images[:TRAIN_IMAGES], train_labels=data.train_labels[:TRAIN_IMAGES],
            test_images=data.test_images[:TEST_IMAGES], test_labels=data.test_labels[:TEST_IMAGES],
        )  # fmt: skip

    return of_the_data(fewer)


@contextlib.contextmanager
def written_briefly():
    """A context that keeps files small: six digits, and every step's norms for the first 20 steps instead of 100."""

    def six_digits(written, value):
        return written(value) if isinstance(value, str | int) else f"{float(value):.6g}"

    with instead("core.logs.written", six_digits), mock.patch("core.probes.DENSE_START", 20):
        yield


def record_each(names: list[str], out: Path, args: list[str]) -> None:
    """Record them one after the other, each in a process of its own, so that nothing of one reaches the next."""
    for name in names:
        if subprocess.run([sys.executable, __file__, name, "--out", out, "--words", *args]).returncode:
            raise run_folder.RunError(f"{name} could not be recorded; its own message is above")


# ---------------------------------------------------------------------------- the score


@dataclass(frozen=True)
class Verdict:
    """What the diagnoses say of one specimen. Notes are left out: they accuse nobody."""

    name: str
    expected: tuple[str, ...]
    findings: tuple  # of analysis.diagnose, red and amber, most important first

    @property
    def causes(self) -> list[str]:
        """The ids of the findings that no other one explains: what the run is accused of."""
        return [finding.id for finding in self.findings if not finding.explained_by]

    @property
    def named(self) -> bool:
        """Whether a right name is among the first two findings; for a healthy run, whether there is no red one."""
        if not self.expected:
            return all(finding.severity != "red" for finding in self.findings)
        return any(finding.id in self.expected for finding in self.findings[:2])


def verdicts(place: Path) -> list[Verdict]:
    """The diagnoses of all recordings in `place`. Raises RunError when one is missing."""
    found = []
    for name, specimen in ZOO.items():
        if not (place / name / run_folder.CONFIG).is_file():
            raise run_folder.RunError(
                f"{place / name}: not recorded yet; `python analysis/zoo.py {name} --out {place}` does it"
            )
        serious = tuple(finding for finding in diagnose.findings(Run(place / name)) if finding.severity != "note")
        found.append(Verdict(name, specimen.expected, serious))
    return found


def score(found: list[Verdict]) -> str:
    """The table, and under it the confusion, recall and precision over the zoo."""
    rows = [("specimen", "what it has", "first two findings", "named")]
    for verdict in found:
        says = ", ".join(f"{finding.id} ({finding.severity})" for finding in verdict.findings[:2])
        right = " or ".join(verdict.expected) or "nothing"
        rows.append((verdict.name, right, says or "nothing", "yes" if verdict.named else "NO"))
    ill, healthy = ([v for v in found if bool(v.expected) == wanted] for wanted in (True, False))
    alarms = [sum(bool(v.findings) for v in group) for group in (ill, healthy)]
    accused = [(v, id) for v in found for id in v.causes]
    right = sum(id in v.expected for v, id in accused)
    named = sum(v.named for v in ill)
    return "\n".join([
        *table(rows), "",
        f"alarms     red or amber on {alarms[0]} of {len(ill)} ill runs and {alarms[1]} of {len(healthy)} healthy ones",
        f"recall     {named} of {len(ill)} illnesses are among the first two findings: {100 * named / len(ill):.0f} %",
        f"precision  {right} of {len(accused)} causes that are named are right: {100 * right / len(accused):.0f} %",
    ])  # fmt: skip


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of words as lines of a Markdown table; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def catalogue() -> str:
    """Every specimen with what is wrong with it."""
    width = max(map(len, ZOO))
    return "\n".join(f"{name:<{width}}  {specimen.about}" for name, specimen in ZOO.items())


def main(args) -> None:
    """List, score, or record: one name in this process, several each in its own."""
    for name in args.name:
        if name not in ZOO:
            print(f"zoo.py: {name}: no such specimen; expected {SETTINGS_MODULE.one_of(name, ZOO)}", file=sys.stderr)
            sys.exit(2)
    if args.list:
        print(catalogue())
    elif args.score:
        print(score(verdicts(args.out)))
    elif len(args.name) == 1:
        record(args.name[0], args.out, args.args)
    else:
        record_each(args.name or list(ZOO), args.out, args.args)


if __name__ == "__main__":
    command_line = argparse.ArgumentParser(
        prog="analysis/zoo.py", description="Record short runs with known illnesses, or score the diagnoses on them.",
        allow_abbrev=False,
    )  # fmt: skip
    command_line.add_argument("name", metavar="NAME", nargs="*", help="which to record [all: 20 minutes or so]")
    command_line.add_argument(
        "--out", metavar="DIR", type=Path, default=HOME, help="where the recordings are [tests/zoo in the project]"
    )
    command_line.add_argument("--list", action="store_true", help="say what there is, and leave")
    command_line.add_argument("--score", action="store_true", help="say what the diagnoses find, and leave")
    command_line.add_argument(
        "--words", metavar="WORD", nargs=argparse.REMAINDER, default=[],
        help="everything behind this goes to train_loop.py and wins: --words --data shapes10 --epochs 2",
    )  # fmt: skip
    common.answer(main, command_line.parse_args())
