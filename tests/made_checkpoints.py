"""Runs with checkpoints but without a training, for tests of what reads the weights of a run."""

import dataclasses
import functools

import core.data
from core import build
from core.run import checkpoints, logs, run_folder
from core.settings.recipes import RECIPES

cached_load = functools.cache(core.data.load)  # drawing shapes10 takes a second


def write_run(runs_dir, recipe: str, steps=(10, 20), holdout=False, change=lambda step, name, tensor: tensor):
    """The folder of a run of this recipe on shapes10 with the untrained network, changed, at these steps."""
    settings = dataclasses.replace(RECIPES[recipe], data="shapes10", holdout=holdout, kernels="textbook")
    data = cached_load("shapes10", "", holdout)
    network = build.build_network(dataclasses.replace(settings, micro_batches=1), images=data.train_images[:200])
    folder = run_folder.create(runs_dir, recipe)
    config = run_folder.describe(folder, settings, data, network, {})
    run_folder.write_config(folder, config | {"steps_per_epoch": 10, "total_steps": 20})
    written = logs.Logs(folder)
    for step in range(1, max(steps, default=0) + 1):
        written.append(logs.STEPS, [step, (step - 1) // 10 + 1, 2.3, 0.1, 0.1, 1.0])
    written.close()
    for step in steps:
        tensors = {name: change(step, name, v.numpy()) for name, v in network.named_variables.items()}
        checkpoints.save(folder, step, tensors, keep=10)
    return folder
