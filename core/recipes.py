"""The settings of a run: one frozen dataclass, the named recipes, the command line.

Nothing here imports TensorFlow, so a wrong word on the command line is answered in a moment
and not after four seconds of start-up.
"""

import argparse
import dataclasses
import difflib
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path

SPEED = ("speed64", "speed128", "speed192", "speed256", "airbench94")  # one builder in several widths
NETWORKS = ("classic", "modern", *SPEED, "debug")  # the builders of core/model.py
BY_PICTURE = ("classic",)  # those without batch norm: every picture is treated as if it were alone
OPTIMIZERS = ("sgd", "adam", "muon")
ACTIVATIONS = ("relu", "gelu")
DATA_SETS = ("auto", "cifar10", "shapes10")
DIAGNOSTICS = ("off", "light", "full")  # core/diagnostics.py
PRECISIONS = ("auto", "float32", "bfloat16")
TRAIN_IMAGES = {"cifar10": 50_000, "shapes10": 10_000}
HOLDOUT_IMAGES = {"cifar10": 5_000, "shapes10": 1_000}


def setting(default, text: str, choices: tuple | None = None):
    """One field of Settings: its default, the sentence `--help` prints, and the words it accepts."""
    return dataclasses.field(default=default, metadata={"text": text, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run computes, and the few words that decide where it goes."""

    recipe: str = setting("classic", "a named set of the settings below: classic, modern, minute, five, fast or debug")
    network: str = setting("classic", "which network of core/model.py", NETWORKS)
    activation: str = setting("relu", "the bend of the speed networks", ACTIVATIONS)
    whitening_init: bool = setting(True, "speed networks: the first layer whitens the pictures instead of learning")
    identity_init: bool = setting(True, "speed networks: convolutions start by passing their input on")
    overlapping_pools: bool = setting(False, "speed networks: poolings over 3x3 instead of 2x2, still 2 apart")

    data: str = setting("auto", "cifar10, shapes10, or auto: cifar10 if it can be had, else shapes10", DATA_SETS)
    data_dir: str = setting("", "where cifar-10-batches-bin/ is; else $CIFAR10_DIR, else data/ in the project")
    holdout: bool = setting(
        False, "train on 9/10 of the training images and call the other tenth the test set: for tuning"
    )

    epochs: int = setting(7, "passes over the training images")
    steps: int = setting(0, "stop the schedule after this many steps instead of after whole epochs; 0: use epochs")
    batch_size: int = setting(100, "images a step; one that divides the training set leaves no image out of an epoch")
    seed: int = setting(0, "every random choice is a function of this number and the step; 0 to 2147483647")

    optimizer: str = setting("sgd", "sgd (momentum, Nesterov), adam or muon; core/optimizers.py", OPTIMIZERS)
    learning_rate: float = setting(0.04, "the peak of the schedule, per unit of the mean gradient of a batch")
    momentum: float = setting(0.9, "share of the last direction that is kept, in [0, 1); sgd and muon")
    weight_decay: float = setting(
        1e-3, "pull of every kernel towards zero, in units of the gradient (sgd; muon: dense layers only) or of "
        "the rate (adam)",
    )  # fmt: skip
    shift_rate: float = setting(1.0, "the rate of biases and of batch norm, as a multiple of the rate; sgd and muon")
    muon_rate: float = setting(0.24, "muon only: the peak rate of the convolutions; learning_rate is that of the rest")
    lookahead: bool = setting(False, "every fifth step, pull the weights back towards their slow average")
    weight_average: float = setting(
        0.0, "end at the mean of the weights over this share of all steps, the last ones, in [0, 1]; 0: at the last"
    )
    warmup: float = setting(0.1, "share of all steps during which the rate climbs from 0 to its peak, in [0, 1)")
    final_rate: float = setting(
        0.0, "the rate of the last step as a share of the peak; 1 keeps the rate constant after warm-up"
    )
    label_smoothing: float = setting(0.0, "probability taken from the true class and spread over all ten, in [0, 1)")
    flip: bool = setting(False, "mirror each training image left to right with probability 1/2")
    alternating_flip: bool = setting(
        False, "instead: mirror a random half in the first epoch, the other half in the second, and so on"
    )
    crop: int = setting(0, "shift each training image by up to this many pixels (0 to 8), reflecting at the edge")

    test_views: bool = setting(False, "at the end also examine with test-time augmentation: the mean over six views")

    device: str = setting("auto", "auto, cpu, gpu or gpu:K")
    precision: str = setting(
        "auto",
        "what the layers compute in; weights and loss stay float32. auto: whichever is faster here",
        PRECISIONS,
    )
    threads: int = setting(0, "processor threads for TensorFlow; 0: all. Another number gives other last bits")
    pieces: int = setting(
        0, "in how many pieces, side by side, the convolutions take a batch. Batch norm measures each piece by itself; "
        "without it only the last bits differ, and 0 is what pays here. 0 with batch norm: 1",
    )  # fmt: skip
    eager: bool = setting(False, "run the same step uncompiled, line by line: what a debugger wants")

    diagnostics: str = setting("light", "what is measured of the network: off, light or full", DIAGNOSTICS)
    diagnostics_budget: float = setting(
        0.0, "percent of the step time the diagnostics may take (5 or 5%): their cost is measured at the start and the "
        "cadence chosen from it; 0: the fixed cadence",
    )  # fmt: skip
    tensorboard: bool = setting(False, "also write event files that TensorBoard shows, to runs/NAME/tensorboard/")

    checkpoint_every: int = setting(0, "also save every this many steps, besides the end of each epoch; 0: only there")
    keep_checkpoints: int = setting(10, "how many of the newest checkpoints stay on disk, at least 2")

    def problems(self) -> list[str]:
        """Everything that is wrong with these settings, one sentence each; empty when they can be run."""
        found = []

        def expect(holds: bool, name: str, wanted: str) -> None:
            if not holds:
                found.append(f"--{name.replace('_', '-')} {getattr(self, name)}: expected {wanted}")

        for field in dataclasses.fields(self):
            choices = field.metadata["choices"]
            if choices and getattr(self, field.name) not in choices:
                expect(False, field.name, one_of(getattr(self, field.name), choices))
        expect(self.epochs >= 1, "epochs", "at least 1")
        expect(self.steps >= 0, "steps", "at least 1, or 0 to count in epochs")
        expect(self.batch_size >= 1, "batch_size", "at least 1")
        expect(0 <= self.seed < 2**31, "seed", "a number from 0 to 2147483647")
        expect(0 < self.learning_rate < math.inf, "learning_rate", "a finite number above 0")
        expect(0 <= self.momentum < 1, "momentum", "a number in [0, 1)")
        expect(0 <= self.weight_decay < math.inf, "weight_decay", "a finite number, 0 or above")
        if self.flip and self.alternating_flip:
            found.append("--flip and --alternating-flip: two ways to mirror; give one, and --no-... the other")
        expect(0 < self.shift_rate < math.inf, "shift_rate", "a finite number above 0")
        expect(0 < self.muon_rate < math.inf, "muon_rate", "a finite number above 0")
        expect(0 <= self.warmup < 1, "warmup", "a share in [0, 1)")
        expect(0 <= self.final_rate <= 1, "final_rate", "a share in [0, 1]")
        expect(0 <= self.weight_average <= 1, "weight_average", "a share of the steps in [0, 1]")
        expect(0 <= self.label_smoothing < 1, "label_smoothing", "a probability in [0, 1)")
        expect(0 <= self.crop <= 8, "crop", "0 to 8 pixels")
        expect(re.fullmatch(r"auto|cpu|gpu(:\d{1,3})?", self.device) is not None, "device", "auto, cpu, gpu or gpu:K")
        expect(self.threads >= 0, "threads", "at least 1, or 0 for all")
        expect(0 <= self.pieces <= self.batch_size, "pieces", "1 to the number of images a step, or 0 for what pays")
        expect(0 <= self.diagnostics_budget <= 100, "diagnostics_budget", "a percentage, 0 to 100")
        if self.diagnostics == "off" and self.diagnostics_budget:
            found.append(
                f"--diagnostics off and --diagnostics-budget {self.diagnostics_budget:g}: give only one of them"
            )
        expect(self.checkpoint_every >= 0, "checkpoint_every", "at least 1, or 0 for epoch ends only")
        expect(self.keep_checkpoints >= 2, "keep_checkpoints", "at least 2, so that one bad file loses little")
        # `auto` may still turn out to be shapes10; then the data set itself checks again.
        available = train_images("cifar10" if self.data == "auto" else self.data, self.holdout)
        if available is not None and self.batch_size > available:
            found.append(f"--batch-size {self.batch_size}: larger than the {available} training images there are")
        return found


def train_images(data: str, holdout: bool) -> int | None:
    """How many training images a data set offers, or None for an unknown name."""
    if data not in TRAIN_IMAGES:
        return None
    return TRAIN_IMAGES[data] - (HOLDOUT_IMAGES[data] if holdout else 0)


# What the recipes for one, five and more minutes share: the parts of the speed records (Jordan 2024; docs/speed.md).
RECORDS = {
    "activation": "gelu", "optimizer": "muon", "learning_rate": 2.0, "muon_rate": 0.14, "momentum": 0.65,
    "weight_decay": 1e-3, "shift_rate": 64.0, "warmup": 0.0, "label_smoothing": 0.2, "alternating_flip": True,
    "crop": 2, "test_views": True,
}  # fmt: skip

# The recipes. What a line here does not say is the default above.
RECIPES = {
    # The textbook: convolution, ReLU, max-pooling, three times; then two dense layers. No
    # normalisation, no augmentation. The numbers were chosen on the hold-out (docs/results.md).
    "classic": Settings(),
    # What ten years added: batch normalisation, augmentation, weight decay, warm-up and decay.
    "modern": Settings(
        recipe="modern", network="modern", epochs=12, batch_size=125, learning_rate=0.1,
        weight_decay=1e-3, warmup=0.2, label_smoothing=0.1, alternating_flip=True, crop=2,
    ),
    # The speed records' network in three sizes, for about one, five and more minutes on two cores. The
    # pieces are written down, because batch norm makes them part of the mathematics.
    "minute": Settings(
        recipe="minute", network="speed64", epochs=3, batch_size=500, pieces=4, final_rate=0.07, lookahead=True,
        **RECORDS,
    ),
    "five": Settings(recipe="five", network="speed192", epochs=6, batch_size=1000, pieces=8, **RECORDS),
    "fast": Settings(
        recipe="fast", network="airbench94", epochs=8, batch_size=1000, pieces=8, weight_average=0.2, **RECORDS
    ),
    # Small enough to step through: a few thousand weights, eight drawn pictures at a time.
    "debug": Settings(
        recipe="debug", network="debug", data="shapes10", epochs=1, steps=20, batch_size=8,
        learning_rate=0.01, weight_decay=0.0, precision="float32", eager=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Invocation:
    """What the command line asked for: the settings, and what belongs to this process, not to the run."""

    settings: Settings
    run: str  # name of the run, or "" for <recipe>-<date>-<time>
    runs_dir: Path
    resume: bool
    stop_at: int  # leave after this step as Ctrl-C would; 0: at the end
    pdb: bool  # open the debugger at the first line of every step
    given: tuple[str, ...]  # the settings named on the command line


def one_of(word: str, words) -> str:
    """`one of a, b, c`, and the nearest of them when `word` looks like a slip of the finger."""
    near = difflib.get_close_matches(str(word), [str(w) for w in words], n=1)
    return f"one of {', '.join(words)}" + (f" (did you mean {near[0]}?)" if near else "")


def build_parser() -> argparse.ArgumentParser:
    """The command line of train_loop.py. Values stay text here, so that all mistakes are told together."""
    parser = argparse.ArgumentParser(
        prog="train_loop.py",
        description="Train a convolutional network on CIFAR-10 with a hand-written loop.",
        epilog="A run leaves runs/NAME/: config.json, steps.csv, epochs.csv, layers.csv, predictions.csv, "
        "timing.csv and checkpoints/. Defaults below are those of the recipe 'classic'; a word on the "
        "command line wins.",
        allow_abbrev=False,
    )
    for field in dataclasses.fields(Settings):
        name, text, choices = field.name.replace("_", "-"), field.metadata["text"], field.metadata["choices"]
        if field.type is bool:
            parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=text)
        else:
            shown = f" [{field.default}]" if field.default not in ("", 0) else ""
            word = {int: "N", float: "X", str: "|".join(choices) if choices else name.split("-")[-1].upper()}[
                field.type
            ]
            parser.add_argument(f"--{name}", metavar=word, help=(text + shown).replace("%", "%%"))
    parser.add_argument("--run", metavar="NAME", default="", help="name of the run [<recipe>-<date>-<time>]")
    parser.add_argument("--runs-dir", metavar="DIR", default="runs", help="where runs are kept [runs]")
    parser.add_argument("--resume", action="store_true", help="go on with --run NAME, or with the latest run")
    parser.add_argument(
        "--stop-at", metavar="STEP", default="0", help="save and leave after this step; --resume goes on"
    )
    parser.add_argument(
        "--pdb", action="store_true", help="open the debugger at the first line of train_step, every step"
    )
    return parser


def converted(kind: type, word: str):
    """`word` as an int, float or str; raises ValueError with what was expected."""
    try:
        return kind(word)
    except ValueError:
        raise ValueError({int: "a whole number", float: "a number"}[kind]) from None


def parse(arguments: list[str] | None = None) -> Invocation:
    """Read the command line; print every problem, a line each, and exit with status 2 if there is one."""
    parser = build_parser()
    words, unknown = parser.parse_known_args(arguments)
    problems, given = [], {}

    options = [option for action in parser._actions for option in action.option_strings]
    for before, word in zip([None, *unknown], unknown):
        if before and before.startswith("--") and not word.startswith("-"):
            continue  # the value of an option that is already reported
        if word.startswith("-"):
            near = difflib.get_close_matches(word.split("=")[0], options, n=1)
            problems.append(f"{word}: no such option" + (f" (did you mean {near[0]}?)" if near else "; see --help"))
        else:
            problems.append(f"{word}: not expected here; every setting is written --name value")

    for field in dataclasses.fields(Settings):
        word = getattr(words, field.name)
        if word is None:
            continue
        try:
            bare = word.removesuffix("%") if field.name == "diagnostics_budget" else word
            given[field.name] = word if field.type is bool else converted(field.type, bare)
        except ValueError as wanted:
            problems.append(f"--{field.name.replace('_', '-')} {word}: expected {wanted}")
    try:
        stop_at = converted(int, words.stop_at)
        if stop_at < 0:
            raise ValueError("a step, 1 or above")
    except ValueError as wanted:
        stop_at = 0
        problems.append(f"--stop-at {words.stop_at}: expected {wanted}")

    recipe = given.get("recipe", "classic")
    if recipe not in RECIPES:
        problems.append(f"--recipe {recipe}: expected {one_of(recipe, RECIPES)}")
        given["recipe"] = recipe = "classic"
    # An explicit --epochs replaces a recipe's --steps; both together contradict each other.
    if "epochs" in given and given.get("steps"):
        problems.append(f"--epochs {given['epochs']} and --steps {given['steps']}: one length, please; give only one")
    base = RECIPES[recipe]
    if "epochs" in given and "steps" not in given:
        base = dataclasses.replace(base, steps=0)
    if given.get("steps") == 0:
        problems.append("--steps 0: expected at least 1")
    settings = dataclasses.replace(base, **given)
    problems += without_effect(settings, given)
    if words.pdb:
        if given.get("eager") is False:
            problems.append("--pdb and --no-eager: the debugger needs the step uncompiled; drop one of them")
        settings = dataclasses.replace(settings, eager=True)
    problems += settings.problems()

    if words.run and not words.resume and (problem := run_name_problem(words.run)):
        problems.append(problem)
    if problems:
        print("\n".join(f"train_loop.py: {p}" for p in dict.fromkeys(problems)), file=sys.stderr)
        raise SystemExit(2)
    return Invocation(settings, words.run, Path(words.runs_dir), words.resume, stop_at, words.pdb, tuple(given))


def without_effect(settings: Settings, given: dict) -> list[str]:
    """A sentence for each setting on the command line that would change nothing: such an experiment misleads."""
    speed = settings.network in SPEED
    no_use = {
        **dict.fromkeys(
            ("activation", "whitening_init", "identity_init", "overlapping_pools"),
            None if speed else "the speed networks have",
        ),
        "muon_rate": None if settings.optimizer == "muon" else "--optimizer muon has",
        "shift_rate": "sgd and muon have" if settings.optimizer == "adam" else None,
        "momentum": "sgd and muon have" if settings.optimizer == "adam" else None,
    }
    return [
        f"--{name.replace('_', '-')}: only {who} it, so here it would change nothing"
        for name, who in no_use.items()
        if who and name in given
    ]


def run_name_problem(name: str) -> str | None:
    """Why `name` cannot name a run, or None: 1 to 64 of A-Z a-z 0-9 . _ -, so that no path can escape."""
    if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name) and not name.startswith(".") and name != "latest":
        return None
    return f"--run {name}: expected 1 to 64 letters, digits, '.', '_' or '-', not starting with '.', not 'latest'"
