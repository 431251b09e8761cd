"""Checkpoints: everything needed to continue bit for bit, written so that a kill at any moment costs only time.

    checkpoints/step-00000400/tensors.npz     every variable, by name
                              manifest.json   the step, size and SHA-256 of tensors.npz, and the run it belongs to

It holds weights, batch-norm statistics and optimizer state after a step; everything else is a
function of (seed, step). Plain .npz: NumPy alone opens it, and nothing in it can run.

A checkpoint is written under another name, flushed to the disk and then renamed: it is there completely
or not at all. The newest one that is undamaged is taken.
"""

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from core.run import run_folder
from core.settings.settings import shown

FOLDER, TENSORS, MANIFEST = "checkpoints", "tensors.npz", "manifest.json"


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message says which, why and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """The state after `step` steps."""

    step: int
    tensors: dict[str, np.ndarray]  # {"conv1/kernel": ..., "velocity/conv1/kernel": ...}, in network order
    path: Path
    damaged: tuple[str, ...] = ()  # a sentence about each newer one that had to be passed over
    run: dict[str, object] = field(default_factory=dict)  # run_folder.identity() when it was written; empty: unknown


def save(run: Path, step: int, tensors: dict[str, np.ndarray], keep: int, identity: dict | None = None) -> Path:
    """Write the checkpoint of `step`, then delete all but the `keep` newest. On OSError the old ones stay.

    identity: what makes the run this one and no other (run_folder.identity).
    """
    parent = run / FOLDER
    parent.mkdir(exist_ok=True)  # not the run's folder: somebody has removed or renamed it
    for leftover in parent.glob("partial-*"):  # of a process that was killed while saving
        shutil.rmtree(leftover)
    partial, final = parent / f"partial-{step:08d}", parent / f"step-{step:08d}"
    partial.mkdir()
    with open(partial / TENSORS, "wb") as file:
        np.savez(file, **tensors)
        flush_to_disk(file)
    manifest = {"step": step, "bytes": (partial / TENSORS).stat().st_size, "sha256": sha256(partial / TENSORS)}
    manifest["run"] = identity or {}
    with open(partial / MANIFEST, "w") as file:
        json.dump(manifest, file, indent=2)
        flush_to_disk(file)
    flush_folder(partial)
    if final.exists():  # a damaged one of the same step, passed over by the resume that led here
        shutil.rmtree(final)
    os.replace(partial, final)
    flush_folder(parent)
    for old in newest_first(run)[keep:]:
        shutil.rmtree(old)
    return final


def newest_first(run: Path, not_after: int | None = None) -> list[Path]:
    """The checkpoint folders of a run (of a step <= not_after), by their step."""
    parent = Path(run) / FOLDER
    names = os.listdir(parent) if parent.exists() else []  # a folder that may not be read is no empty one
    named = [parent / name for name in names if re.fullmatch(r"step-\d{8,}", name)]
    wanted = [path for path in named if not_after is None or step_of(path) <= not_after]
    return sorted(wanted, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """The step that a checkpoint folder is named after: 400 for step-00000400."""
    return int(path.name.removeprefix("step-"))


def newest(run: Path, not_after: int | None = None) -> Checkpoint:
    """The newest undamaged checkpoint (of a step <= not_after). Raises CheckpointError when there is none.

    Every byte is checked against the manifest. Damaged ones are passed over and reported in
    `damaged`; if all are, that is an error: training does not start again from step 1.
    """
    damaged = []
    for path in newest_first(run, not_after):
        try:
            found = read(path)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        return replace(found, damaged=tuple(damaged))
    if damaged:
        raise CheckpointError(
            f"{run}: all {len(damaged)} checkpoints are damaged (first: {damaged[0]}); restore one from a copy, or "
            "train again under another --run"
        )
    raise CheckpointError(f"{run}: no checkpoint in it yet; one is written at the end of each epoch")


def read(path: Path) -> Checkpoint:
    """One checkpoint, verified. Raises CheckpointError naming what does not fit."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        step, size, digest = int(manifest["step"]), int(manifest["bytes"]), manifest["sha256"]
        identity = dict(manifest.get("run", {}))  # none in that of an older version
    except Exception as error:
        raise CheckpointError(unreadable(path / MANIFEST, error)) from None
    if step != step_of(path):
        raise CheckpointError(f"{path / MANIFEST}: it is of step {step}, its folder says otherwise")
    try:
        if (path / TENSORS).stat().st_size != size or sha256(path / TENSORS) != digest:
            raise CheckpointError(f"{path / TENSORS}: its bytes are not the ones that were saved")
        with np.load(path / TENSORS, allow_pickle=False) as archive:
            return Checkpoint(step, {name: archive[name] for name in archive.files}, path, run=identity)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile, zlib, lzma and NumPy's parser of headers fail in a dozen ways
        raise CheckpointError(unreadable(path / TENSORS, error)) from None


def unreadable(path: Path, error: Exception) -> str:
    """One line about a file that cannot be read."""
    reason = shown(str(error).partition("\n")[0]) or type(error).__name__
    return f"{path}: unreadable ({reason})"


def check_same_run(folder: Path, checkpoint: Checkpoint) -> None:
    """Raise CheckpointError if config.json was changed since the checkpoint was written, or if it is another run's."""
    for name, now in run_folder.identity(run_folder.read_config(folder)).items():
        then = checkpoint.run.get(name, now)  # an older version did not write it
        if then != now:
            values = "" if name in run_folder.DIGESTS else f" (then {shown(then)}, now {shown(now)})"
            raise CheckpointError(
                f"{checkpoint.path}: not written with this {run_folder.CONFIG}, whose {name} is another{values}; put "
                "back the file that was changed"
            )


def restore(checkpoint: Checkpoint, variables: dict) -> None:
    """Assign every tensor to the variable of its name. Raises CheckpointError unless the two sets agree exactly."""
    for name, variable in variables.items():
        if name not in checkpoint.tensors:
            raise CheckpointError(
                f"{checkpoint.path}: no tensor '{name}', which this network has: another architecture"
            )
        found, expected = checkpoint.tensors[name], tuple(variable.shape)
        if found.shape != expected or found.dtype != variable.dtype.as_numpy_dtype:
            raise CheckpointError(
                f"{checkpoint.path}: '{name}' is {found.dtype} {list(found.shape)} there and "
                f"{variable.dtype.name} {list(expected)} in this network: another architecture"
            )
    for name in checkpoint.tensors:
        if name not in variables:
            raise CheckpointError(
                f"{checkpoint.path}: tensor '{name}' is not part of this network: another architecture"
            )
    for name, variable in variables.items():
        variable.assign(checkpoint.tensors[name])


def flush_to_disk(file) -> None:
    """Wait until the file's bytes are on the disk."""
    file.flush()
    os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Wait until the folder's entries are on the disk, on systems where a folder can be opened."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_DIRECTORY)
        os.fsync(handle)
        os.close(handle)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
