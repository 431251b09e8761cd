"""The checkpoints of a run in time, for scripts that follow the weights through a training."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from analysis.support import common
from core.run import checkpoints
from core.run.checkpoints import Checkpoint, CheckpointError
from core.run.errors import RunError

HOW = "train with more: `python train_loop.py --checkpoint-every 100 --keep-checkpoints 100`"


def saved_paths(folder: Path, most: int) -> list[Path]:
    """The folders of at most `most` checkpoints, evenly spread, the first and the last among them; oldest first."""
    paths = checkpoints.newest_first(folder)[::-1]
    chosen = np.linspace(0, len(paths) - 1, min(len(paths), most)).round().astype(int)
    return [paths[i] for i in chosen]


def spread(available: int, count: int) -> np.ndarray:
    """Indices of `count` of so many images, evenly spread; all of them if there are no more."""
    count = min(count, available)
    return np.arange(count) * available // count


def undamaged(paths: list[Path]) -> Iterator[Checkpoint]:
    """Each checkpoint, read when it is asked for; a damaged one is named and passed over."""
    for path in paths:
        try:
            yield checkpoints.read(path)
        except CheckpointError as error:
            common.say(f"passed over: {error}")


def need(found: int, least: int, folder: Path, what: str, how: str = HOW) -> None:
    """Raise RunError, with what to do, when a question that takes `least` checkpoints finds fewer usable ones."""
    if found < least:
        raise RunError(f"{folder}: {what} takes {least} usable checkpoints, the run has {found}; {how}")


def progress(total: int, unit: str, what: str) -> tqdm:
    """A progress bar on the terminal; nothing where the output is not one."""
    return tqdm(total=total, unit=f" {unit}", desc=what, leave=False, disable=None, dynamic_ncols=True)
