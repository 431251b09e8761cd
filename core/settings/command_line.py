"""The command line of train_loop.py: every setting is an option; all mistakes are reported together, a line each."""

import argparse
import dataclasses
import difflib
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from core.settings.recipes import OPTIMIZER_DEFAULTS, RECIPES
from core.settings.settings import (
    GROUPS,
    PLAIN_SETTINGS,
    SPEED_NETWORKS,
    Settings,
    in_words,
    inside,
    one_of,
    option,
    shown,
)  # fmt: skip

# What people write elsewhere, and what it is called here.
SYNONYMS = {
    "--lr": "--learning-rate", "--rate": "--learning-rate", "--bs": "--batch-size", "--batch": "--batch-size",
    "--gpu": "--device gpu", "--cpu": "--device cpu", "--wd": "--weight-decay", "--decay": "--weight-decay",
    "--name": "--run", "--model": "--network", "--arch": "--network", "--opt": "--optimizer", "--epoch": "--epochs",
    "--augment": "--flip random --crop 2", "--output": "--runs-dir", "--debug": "--recipe debug --pdb",
}  # fmt: skip


@dataclass(frozen=True)
class Invocation:
    """What the command line asked for: the settings, and what belongs to this process, not to the run."""

    settings: Settings
    run: str  # name of the run, or "" for <recipe>-<date>-<time>
    runs_dir: Path
    resume: bool
    stop_at: int  # stop after this step as Ctrl-C would; 0: at the end
    pdb: bool  # open the debugger at the first line of every step
    given: tuple[str, ...]  # the settings named on the command line
    command: tuple[str, ...] = ()  # the arguments as they were typed
    began: float = dataclasses.field(default_factory=time.perf_counter)


class Parser(argparse.ArgumentParser):
    """argparse, with one line for a mistake instead of the usage."""

    def error(self, message: str):
        """Print the mistake in one line and exit with status 2."""
        message = re.sub(r"^argument (--[\w-]+)[^:]*: expected one argument", r"\1: it needs a value", message)
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The options in groups. Values stay text here, so that all mistakes can be reported together."""
    parser = Parser(
        prog="train_loop.py",
        usage="train_loop.py [--run NAME] [--recipe RECIPE] [any setting below, as --name value]",
        description="Train a convolutional network on CIFAR-10 with a hand-written loop.",
        epilog="A run leaves runs/NAME/: config.json, steps.csv, epochs.csv, layers.csv, predictions.csv, timing.csv "
        "and checkpoints/. The defaults in brackets are those of the recipe 'classic'; what is given on the command "
        "line replaces the recipe's value.",
        allow_abbrev=False,
    )
    # argparse takes -1e-9 and -inf for options; they are values, and the answer to them is the range of the setting.
    parser._negative_number_matcher = re.compile(
        r"^-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$|^-inf(inity)?$|^-nan$", re.IGNORECASE
    )
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for field in dataclasses.fields(Settings):
        text = f"{field.metadata['text']} [{shown_default(field)}]".replace("%", "%%")
        add = groups[field.metadata["group"]].add_argument
        if field.type is bool:
            add(option(field.name), action=argparse.BooleanOptionalAction, help=text)
        else:
            metavar = {int: "N", float: "X", str: "|".join(field.metadata["choices"]) or field.name.upper()}
            add(option(field.name), metavar=metavar[field.type], help=text)
    add = groups["bookkeeping"].add_argument
    add("--run", metavar="NAME", default="", help="name of the run [<recipe>-<date>-<time>]")
    add("--runs-dir", metavar="DIR", default="runs", help="where runs are kept [runs]")
    add("--resume", action="store_true", help="continue --run NAME, or the latest run [no]")
    add("--stop-at", metavar="STEP", default="0", help="save and stop after this step; --resume continues [no]")
    add = groups["diagnostics"].add_argument
    add("--pdb", action="store_true", help="open the debugger at the first line of train_step, every step [no]")
    return parser


def shown_default(field: dataclasses.Field) -> str:
    """A default as `--help` shows it."""
    if field.type is bool:
        return "yes" if field.default else "no"
    return f"{field.default:g}" if field.type is float else str(field.default) or "none"


def parse(arguments: list[str] | None = None) -> Invocation:
    """Read the command line; print every mistake, a line each, and exit with status 2 if there is one."""
    parser = build_parser()
    args, unknown = parser.parse_known_args(arguments)
    problems, given = unknown_options(parser, unknown), {}

    for field in dataclasses.fields(Settings):
        text = getattr(args, field.name)
        if text is None:
            continue
        try:
            bare = text.removesuffix("%") if field.name == "diagnostics_budget" else text
            given[field.name] = text if field.type is bool else converted(field.type, bare, field.metadata["interval"])
        except ValueError as wanted:
            problems.append(f"{option(field.name)} {shown(text)}: expected {wanted}")
    stop_at = 0
    try:
        stop_at = converted(int, args.stop_at, "[0, 10000000]")
    except ValueError as wanted:
        problems.append(f"--stop-at {shown(args.stop_at)}: expected {wanted}")

    settings, more = with_recipe(given)
    problems += more
    if args.pdb:
        if given.get("eager") is False:
            problems.append("--pdb and --no-eager: the debugger needs the step uncompiled; drop one of them")
        settings = dataclasses.replace(settings, eager=True)
    # What a run that is resumed does with an option, its own settings decide (core/run/resumed_settings.py).
    problems += settings.outside() if args.resume else without_effect(settings, given) + settings.problems()

    if args.run and not args.resume and (problem := run_name_problem(args.run)):
        problems.append(problem)
    if args.runs_dir.startswith("-"):
        problems.append(f"--runs-dir {shown(args.runs_dir)}: expected a path that does not start with '-'")
    if problems:
        print("\n".join(f"train_loop.py: {p}" for p in dict.fromkeys(problems)), file=sys.stderr)
        raise SystemExit(2)
    typed = tuple(sys.argv[1:] if arguments is None else map(str, arguments))
    return Invocation(settings, args.run, Path(args.runs_dir), args.resume, stop_at, args.pdb, tuple(given), typed)


def unknown_options(parser: argparse.ArgumentParser, unknown: list[str]) -> list[str]:
    """A sentence for each argument that is no option of ours, with the option that was probably meant."""
    options = [name for action in parser._actions for name in action.option_strings]
    problems = []
    for before, argument in zip([None, *unknown], unknown):
        if before and before.startswith("--") and not argument.startswith("-"):
            continue  # the value of an option that is already reported
        name = argument.split("=")[0]
        if not argument.startswith("-"):
            problems.append(f"{shown(argument)}: not expected here; every setting is written --name value")
        elif name in SYNONYMS:
            problems.append(f"{shown(name)}: no such option (did you mean {SYNONYMS[name]}?)")
        else:
            begin = [each for each in options if len(name) > 2 and each.startswith(name)]
            near = begin or difflib.get_close_matches(name, options, n=1)
            hint = f" (did you mean {near[0]}?)" if near else "; see --help"
            problems.append(f"{shown(argument)}: no such option{hint}")
    return problems


def converted(kind: type, text: str, interval: str = ""):
    """`text` as an int, float or str inside `interval`; raises ValueError with what was expected."""
    if kind is str:
        return text
    wanted = in_words(interval, "a whole number" if kind is int else "a number")
    if kind is float and re.fullmatch(r"-?\d+,\d+", text):
        raise ValueError(f"{wanted}; write {text.replace(',', '.')}")
    try:
        value = kind(text) if len(text) <= 40 else None
    except ValueError:
        value = None
    if value is None or not inside(value, interval):
        raise ValueError(wanted)
    return value


def with_recipe(given: dict) -> tuple[Settings, list[str]]:
    """The settings of the recipe with the given ones in place, and what is wrong with the combination."""
    problems, given = [], dict(given)
    recipe = given.get("recipe", "classic")
    if recipe not in RECIPES:
        problems.append(f"--recipe {shown(recipe)}: expected {one_of(recipe, RECIPES)}")
        given["recipe"] = recipe = "classic"
    base = RECIPES[recipe]
    # An explicit --epochs replaces a recipe's --steps; both together contradict each other.
    if "epochs" in given and given.get("steps"):
        problems.append(f"--epochs {given['epochs']} and --steps {given['steps']}: two lengths; give only one")
    if given.get("steps") == 0:
        problems.append("--steps 0: expected at least 1")
    if "epochs" in given and "steps" not in given:
        base = dataclasses.replace(base, steps=0)
    # Another optimizer than the recipe's brings its own learning rate and weight decay.
    optimizer = given.get("optimizer", base.optimizer)
    if optimizer != base.optimizer and optimizer in OPTIMIZER_DEFAULTS:
        base = dataclasses.replace(base, **OPTIMIZER_DEFAULTS[optimizer])
    return dataclasses.replace(base, **given), problems


def without_effect(settings: Settings, given: dict) -> list[str]:
    """A sentence for each setting on the command line that would change nothing: such an experiment misleads."""
    momentum_user = None if settings.optimizer in ("sgd", "muon") else "sgd and muon have"
    speed_network = None if settings.network in SPEED_NETWORKS else "the speed networks have"
    plain = None if settings.network == "plain" else "--network plain has"
    unused = {
        "whitening_init": speed_network,
        "activation": speed_network and plain and "--network plain and the speed networks have",
        **dict.fromkeys(PLAIN_SETTINGS, plain),
        "dense_units": plain or (None if settings.head == "dense" else "--head dense has"),
        "momentum": momentum_user,
        "muon_rate": None if settings.optimizer == "muon" else "--optimizer muon has",
    }
    return [
        f"{option(name)}: only {user} it, so here it would change nothing"
        for name, user in unused.items()
        if user and name in given
    ]


def run_name_problem(name: str) -> str | None:
    """Why `name` cannot name a run, or None: 1 to 64 of A-Z a-z 0-9 . _ -, so that no path can escape."""
    reserved = name.startswith((".", "-")) or name in ("latest", "tensorboard")
    if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name) and not reserved:
        return None
    return (
        f"--run {shown(name)}: expected 1 to 64 letters, digits, '.', '_' or '-', not starting with '.' or '-', "
        "not 'latest' or 'tensorboard'"
    )
