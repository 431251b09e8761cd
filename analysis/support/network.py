"""The network of a run, with the weights of one of its checkpoints, for scripts that ask what it learned."""

import dataclasses
from pathlib import Path

import tensorflow as tf

from core.build import build_network
from core.model import CNN
from core.run import checkpoints, run_folder
from core.run.checkpoints import Checkpoint, CheckpointError
from core.run.errors import RunError
from core.settings.settings import Settings


def settings_of(config: dict) -> Settings:
    """The settings in a run's config.json; a setting that its version did not have yet has its default."""
    known = {field.name for field in dataclasses.fields(Settings)}
    return Settings(**{name: value for name, value in config["settings"].items() if name in known})


def checkpoint_at(folder: Path, step: int | None = None) -> Checkpoint:
    """The newest undamaged checkpoint of a run, of a step <= `step` if one is given. Raises CheckpointError."""
    steps = [checkpoints.step_of(path) for path in reversed(checkpoints.newest_first(folder))]
    if step is not None and steps and step < steps[0]:
        raise CheckpointError(
            f"--step {step}: {folder} has checkpoints from step {steps[0]:,} to step {steps[-1]:,}; choose one of them"
        )
    return checkpoints.newest(folder, step)


def restored_network(folder: Path, checkpoint: Checkpoint | None = None, dtype=tf.float32) -> CNN:
    """The network of the run in `folder` after the steps of `checkpoint`, of the newest one for None.

    Every recipe gives the textbook's layers computing in `dtype`: the function that the run trained, up to the
    rounding of its kernels and its precision. A weight average is in the last checkpoint of its run. Raises RunError
    or CheckpointError.
    """
    folder = Path(folder)
    checkpoint = checkpoint or checkpoints.newest(folder)
    checkpoints.check_same_run(folder, checkpoint)
    network = untrained_network(folder, dtype=dtype)
    for name, variable in network.named_variables.items():
        found, expected = checkpoint.tensors.get(name), tuple(variable.shape)
        if found is None or found.shape != expected:
            what = "no tensor" if found is None else f"{list(found.shape)} for"
            raise CheckpointError(
                f"{checkpoint.path}: {what} '{name}', {list(expected)} in the network of {run_folder.CONFIG}: another "
                "architecture"
            )
        variable.assign(found.astype(variable.dtype.as_numpy_dtype))
    return network


def class_names_of(config: dict, network: CNN) -> tuple[str, ...]:
    """The names of the network's classes, from config.json; `class k` where an old version did not write them."""
    *_, (layer, shape) = network.shapes()
    names = config["data"].get("class_names", [])
    return tuple(names[k] if k < len(names) else f"class {k}" for k in range(layer.output_shape(shape)[0]))


def untrained_network(folder: Path, seed: int | None = None, dtype=tf.float32) -> CNN:
    """The same network before its first step, drawn from the run's seed or from another one. Raises RunError.

    The filters of a whitening layer are computed from images, not drawn: here they are random.
    """
    folder = Path(folder)
    config = run_folder.read_config(folder)
    try:
        settings = settings_of(config)
        settings = dataclasses.replace(settings, kernels="textbook", micro_batches=1, precision="float32")
        if seed is not None:
            settings = dataclasses.replace(settings, seed=seed)
        if problems := settings.problems():
            raise ValueError(problems[0])
        return build_network(settings, dtype, stored=config)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder / run_folder.CONFIG}: its network cannot be built ({error}); was it edited?") from None
