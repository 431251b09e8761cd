"""The settings of a run that is resumed: those that it was begun with, and what the command line may change of them."""

import dataclasses
import shlex
from pathlib import Path

from core.run.errors import RunError
from core.run.run_folder import CONFIG, MAY_CHANGE, epochs_may_follow, read_config
from core.settings.settings import WITHOUT_BATCH_NORM, Settings, shown


def resumed_settings(folder: Path, invocation) -> Settings:
    """The settings that a run was started with. Raises RunError when the command line contradicts them."""
    stored = read_config(folder)["settings"]
    fields = {field.name for field in dataclasses.fields(Settings)}
    if set(stored) != fields:
        odd = sorted(set(stored) ^ fields)[0]
        raise RunError(
            f"{folder / CONFIG}: its settings are of another version of this project (see '{shown(odd)}'); train again"
        )
    settings = Settings(**stored)
    if problems := settings.problems():
        raise RunError(f"{folder / CONFIG}: {problems[0]}; was it edited?")
    if invocation.pdb and not settings.eager:
        raise RunError(
            f"--pdb: {folder} takes its steps as a graph, and taken line by line they have other last bits; stop in "
            f"one of them with `python analysis/replay.py {shlex.quote(str(folder))} --step N --pdb`"
        )
    changed = {name: getattr(invocation.settings, name) for name in invocation.given}
    for name, value in changed.items():
        if value in ("auto", 0) and name in ("data", "precision", "micro_batches", "kernels"):
            continue  # the run continues with what was chosen when it began
        if name == "epochs" and value != settings.epochs:
            check_may_continue(folder, settings, value)
        elif name not in MAY_CHANGE and value != getattr(settings, name):
            raise RunError(
                f"--{name.replace('_', '-')} {value}: {folder} was started with {getattr(settings, name)}, and a run "
                "keeps its settings; resume without this option, or start another --run"
            )
    settings = dataclasses.replace(settings, **{name: value for name, value in changed.items() if name in MAY_CHANGE})
    if settings.network in WITHOUT_BATCH_NORM and settings.micro_batches % settings.devices:
        settings = dataclasses.replace(settings, micro_batches=settings.devices)  # another order of additions
    if problems := settings.problems():
        raise RunError(f"{folder} cannot be resumed so: {problems[0]}")
    return settings


def check_may_continue(folder: Path, settings: Settings, epochs: int) -> None:
    """Raise RunError unless the run can be continued to this many epochs with the same bits up to where it is."""
    if settings.steps:
        raise RunError(f"--epochs {epochs}: {folder} was started with --steps {settings.steps} and ends there")
    if epochs < settings.epochs:
        raise RunError(
            f"--epochs {epochs}: {folder} has {settings.epochs}; to end earlier, leave it out and "
            "stop with Ctrl-C or --stop-at"
        )
    if not epochs_may_follow(dataclasses.asdict(settings)):
        raise RunError(
            f"--epochs {epochs}: {folder} has {settings.epochs}, and its learning rates end there; only a "
            "run of whole epochs with --warmup 0 --final-rate 1 --weight-average 0 can be continued to more of them; "
            "start another --run"
        )
