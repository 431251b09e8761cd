"""The commands that a diagnosis prints: the run trained again with one setting changed, a script, a test file.

Each is a function of a run and returns one line for a shell, which works as it stands, or "" when this version
cannot train the run again (its network is gone, say). Experiments are kept in runs/experiments/, so that runs/latest
stays what it was.
"""

import dataclasses
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from analysis.support.run import Run
from core.settings.command_line import with_recipe, without_effect
from core.settings.recipes import RECIPES
from core.settings.settings import WITHOUT_BATCH_NORM, Settings, option, train_images

EXPERIMENTS = Path("runs") / "experiments"
# What changes no result; an experiment takes the recipe's.
NOT_REPEATED = ("tensorboard", "diagnostics_budget", "checkpoint_every", "keep_checkpoints")
LARGEST_CROP, LARGEST_SEED = 8, 2**31 - 1


def command(script: str, *arguments) -> str:
    """`python SCRIPT ARGUMENTS` for a shell, with the Python of this environment."""
    return shlex.join([interpreter(), script, *map(str, arguments)])


def interpreter() -> str:
    """`python`, if a shell means this Python by it; else the path of this Python, as short as it goes."""
    found, path = shutil.which("python"), Path(sys.executable)
    if found and Path(found).parent == path.parent and Path(found).samefile(path):
        return "python"
    if not path.is_relative_to(Path.cwd()):
        return str(path)
    short = path.relative_to(Path.cwd())
    return str(short) if short.parent.name else f"./{short}"


def run_argument(run: Run) -> str:
    """How to name the run on a command line: by its name in runs/, else by its folder."""
    return run.folder.name if str(run.folder.parent) == "runs" else str(run.folder)


def again(run: Run, **changes) -> str:
    """The training of this run with some settings changed: the recipe, and every setting that differs from it."""
    known = {field.name for field in dataclasses.fields(Settings)}
    wanted = {name: value for name, value in run.config["settings"].items() if name in known} | changes
    recipe = wanted.pop("recipe", "classic")
    recipe = recipe if recipe in RECIPES else "classic"
    for name in NOT_REPEATED:
        wanted.pop(name, None)
    # Without batch norm, micro-batches change the last bits only; with it, 1 is what `auto` means.
    network, usual_parts = wanted.get("network", RECIPES[recipe].network), RECIPES[recipe].micro_batches
    if network in WITHOUT_BATCH_NORM or (wanted.get("micro_batches") == 1 and not usual_parts):
        wanted.pop("micro_batches", None)
    if wanted.get("eager"):  # there `auto` means the textbook's
        wanted.pop("kernels", None)
    # One length: the one that was asked for, else the run's.
    unused = "epochs" if "steps" in changes or ("epochs" not in changes and wanted.get("steps")) else "steps"
    wanted.pop(unused, None)
    usual, _ = with_recipe({"recipe": recipe, "optimizer": wanted.get("optimizer", RECIPES[recipe].optimizer)})
    settings = dataclasses.replace(usual, **({"steps": 0} if unused == "steps" else {}), **wanted)
    if settings.problems():
        return ""
    different = {
        name: value
        for name, value in wanted.items()
        if value != getattr(usual, name) and not (name == "data" and value == "cifar10")
        if not without_effect(settings, {name: value})
    }
    if usual.steps and unused == "steps":
        different["epochs"] = wanted["epochs"] if "epochs" in wanted else usual.epochs
    if settings.optimizer != RECIPES[recipe].optimizer:
        different["optimizer"] = settings.optimizer
    arguments = ["--recipe", recipe]
    for name in (field.name for field in dataclasses.fields(Settings) if field.name in different):
        value = different[name]
        if isinstance(value, bool):
            arguments.append(option(name) if value else option(name).replace("--", "--no-", 1))
        else:
            arguments += [option(name), str(value)]
    return command("train_loop.py", *arguments, "--runs-dir", EXPERIMENTS)


def setting(run: Run, name: str):
    """A setting of the run; the default, if the run is of a version without it."""
    return run.config["settings"].get(name, getattr(Settings(), name))


def scaled_rate(factor: float) -> Callable[[Run], str]:
    """The same run with `factor` times its learning rate; with muon, that of the convolutions too."""

    def scaled(run: Run) -> str:
        names = ("learning_rate", "muon_rate") if setting(run, "optimizer") == "muon" else ("learning_rate",)
        return again(run, **{name: float(f"{factor * setting(run, name):.3g}") for name in names})

    return scaled


def changed(**changes) -> Callable[[Run], str]:
    """The same run with other settings."""
    return lambda run: again(run, **changes)


def other_seed(run: Run) -> str:
    """One step of the same run with another seed."""
    return again(run, steps=1, seed=(setting(run, "seed") + 1) % (LARGEST_SEED + 1))


def longer(run: Run) -> str:
    """The same run, twice as long."""
    if setting(run, "steps"):
        return again(run, steps=2 * setting(run, "steps"))
    return again(run, epochs=2 * setting(run, "epochs"))


def regularized(run: Run) -> str:
    """The same run with more augmentation; with label smoothing, if there is the most augmentation already."""
    most = {"flip": "alternating", "crop": min(LARGEST_CROP, setting(run, "crop") + 2)}
    if all(setting(run, name) == value for name, value in most.items()):
        smoothing = setting(run, "label_smoothing")
        most = {"label_smoothing": round(smoothing + 0.1 * (1 - smoothing), 6)}
    return again(run, **most)


def usual_momentum(run: Run) -> str:
    """The same run with momentum 0.9; "" if it has that."""
    return "" if setting(run, "momentum") == 0.9 else again(run, momentum=0.9)


def unregularized(run: Run) -> str:
    """The same run without augmentation and label smoothing; "" if it has none of them."""
    none = {"flip": "none", "crop": 0, "label_smoothing": 0.0}
    if all(setting(run, name) == value for name, value in none.items()):
        return ""
    return again(run, **none)


def without_weight_decay(run: Run) -> str:
    """The same run without weight decay, "" if it has none; adamw without it is adam."""
    if not setting(run, "weight_decay"):
        return ""
    if setting(run, "optimizer") == "adamw":
        return again(run, optimizer="adam", weight_decay=0.0)
    return again(run, weight_decay=0.0)


def on_holdout(run: Run) -> str:
    """The same run, evaluated on a tenth of the training images; "" if it is already."""
    if setting(run, "holdout"):
        return ""
    return again(run, holdout=True, batch_size=fitting_batch(run, run.config["data"].get("name", "cifar10"), True))


def on_shapes10(run: Run) -> str:
    """300 steps of the same settings on the built-in images; "" if the run was made on them."""
    if setting(run, "data") == "shapes10":
        return ""
    return again(run, data="shapes10", steps=300, batch_size=fitting_batch(run, "shapes10", setting(run, "holdout")))


def fitting_batch(run: Run, data: str, holdout: bool) -> int:
    """The run's batch size, or the whole data set if that is smaller."""
    return min(setting(run, "batch_size"), train_images(data, holdout))


def replay(run: Run, step: int = 1, *more: str) -> str:
    """That step of the run, taken again."""
    return command("analysis/replay.py", run_argument(run), "--step", step, *more)


def in_debugger(run: Run) -> str:
    """The first step of the run, line by line."""
    return replay(run, 1, "--pdb")


def script(path: str) -> Callable[[Run], str]:
    """An analysis script on this run."""
    return lambda run: command(path, run_argument(run))


def tests(*paths: str) -> Callable[[Run], str]:
    """Some files of tests."""
    return lambda run: shlex.join([interpreter(), "-m", "pytest", *paths])
