"""Before the first step: the settings, the device, the data, the network and the folder of a run, new or resumed."""

import contextlib
import dataclasses
import os
import time
from pathlib import Path

from core import devices, replicas
from core.data.data_set import statistics_of
from core.data.loading import load
from core.measure.diagnostics import Diagnostics, chosen_intervals, due
from core.run import logs, recovery, resumed_logs, run_folder, terminal, workers
from core.run.errors import RunError
from core.run.resumed_settings import resumed_settings
from core.run.session import Session, is_evaluated
from core.run.signals import StopRequest
from core.settings.settings import shown


@contextlib.contextmanager
def start_session(invocation, prepare, compiled):
    """(training, session) of the run that the command line asks for, on its device, its folder locked.

    prepare(settings, data, stored) builds the training, compiled(function, signature, eager, **given) compiles a
    probe: the two functions of train_loop.py. Raises RunError, DataError, CheckpointError, LogError or DeviceError.
    """
    with contextlib.ExitStack() as contexts:
        invocation = contexts.enter_context(workers.joined(invocation))
        settings, folder = invocation.settings, None
        if invocation.resume:
            folder = run_folder.find(invocation.run or None, invocation.runs_dir)
            settings = resumed_settings(folder, invocation)
        else:
            run_folder.check_free(invocation.runs_dir, invocation.run)
        settings, device, device_name, reason = resolved(settings, invocation.pdb)
        data = load(settings.data, settings.data_dir, settings.holdout, settings.train_images)
        workers.check_same({"data": f"{data.name} {data.fingerprint}"})
        contexts.enter_context(replicas.placed_on(settings.devices, device))
        if invocation.resume:
            contexts.enter_context(run_folder.held(folder))
        stored = run_folder.read_config(folder) if invocation.resume else None
        training = prepare(settings, data, stored)  # a mistake in the network is reported before a folder is made
        diagnostics = Diagnostics(training, compiled)
        if invocation.resume:
            start = resume(training, diagnostics, folder, device_name, invocation.stop_at)
            workers.check_same({"step of the checkpoint": str(start)})
        else:
            check_stop_at(invocation.stop_at, 0, training.total_steps)
            start, name = 0, run_folder.name_for(invocation.run, settings.recipe, data)
            folder = run_folder.create(invocation.runs_dir, name, given=bool(invocation.run))
            contexts.enter_context(run_folder.held(folder))
            write_config(folder, training, diagnostics, compiled, device_name, reason, invocation)
            run_folder.point_latest(invocation.runs_dir, folder.name)
        stop = contexts.enter_context(workers.SharedStop() if replicas.connected else StopRequest())
        terminal.opening(folder, training, device_name, start)
        if note := os.environ.get("GLASSBOX_RUN_FILE"):  # the Makefile asks which run this is, to draw it afterwards
            Path(note).write_bytes(os.fsencode(folder))
        yield training, Session(training, folder, diagnostics, stop, start, invocation.stop_at)


def resolved(settings, pdb: bool):
    """(the settings with `auto` replaced, the device for tf.device, its name, the reason for the precision)."""
    settings = dataclasses.replace(settings, eager=settings.eager or pdb)
    settings = dataclasses.replace(
        settings, kernels=devices.choose_kernels(settings), micro_batches=devices.choose_micro_batches(settings)
    )
    if replicas.connected:  # the devices are those of all workers
        device, name = devices.choose(settings.device)
        name = f"{settings.devices} replicas on several workers, the first on {name}"
    else:
        devices.configure(settings.threads, settings.micro_batches, settings.devices)
        device, name = devices.choose(settings.device, settings.devices)
    precision, reason = devices.choose_precision(settings.precision, device)
    return dataclasses.replace(settings, precision=precision), device, name, reason


def check_stop_at(stop_at: int, start: int, total_steps: int) -> None:
    """Raise RunError unless --stop-at, if it is given, names a step that will be taken."""
    if stop_at and not start < stop_at <= total_steps:
        left = f"expected {start + 1} to {total_steps}" if start < total_steps else "the run is complete"
        raise RunError(f"--stop-at {stop_at}: {left}, at step {start} of {total_steps}")


def resume(training, diagnostics, folder, device_name: str, stop_at: int = 0) -> int:
    """Restore the newest checkpoint and cut the logs back to it; returns its step."""
    config = run_folder.read_config(folder)
    recovery.check_same_data(folder, training.data)
    start = recovery.restore_newest(training, folder)
    check_stop_at(stop_at, start, training.total_steps)
    here = devices.environment(training.settings.threads) | {"devices": training.settings.devices}
    then = config | {"devices": config["settings"]["devices"]}
    here["device"], then["device"] = kind_of(device_name), kind_of(config.get("device", device_name))
    if different := recovery.different_environment(then, here):
        terminal.say(f"other last bits from here on: the run was begun with {different}")
    diagnostics.set_intervals(config["diagnostics"]["intervals"])
    check_rows(training, folder, start, config["diagnostics"]["intervals"])
    if config.get("total_steps") != training.total_steps:  # more epochs: from now on they are the run's
        settings = config["settings"] | {"epochs": training.settings.epochs}
        run_folder.write_config(folder, config | {"settings": settings, "total_steps": training.total_steps})
    # A run that starts again has no row yet; an evaluation that was cut short is repeated.
    complete = start == 0 or is_evaluated(folder, start)
    repeated = () if complete else diagnostics.evaluation_quantities(start)
    resumed_logs.cut_back(folder, start or -1, repeated)
    return start


def kind_of(device_name: str) -> str:
    """The name of a GPU, or "CPU" for any processor: which one it is, and its parts, are compared by themselves."""
    first = device_name.rpartition("the first on ")[2]
    return "CPU" if "the CPU" in first else first


def check_rows(training, folder, step: int, intervals: dict[str, int]) -> None:
    """Raise LogError unless the CSV files hold what this run writes up to the step; intervals: of the diagnostics."""
    resumed_logs.check_rows(folder, step)
    if not step:
        return
    evaluated = logs.read(folder, logs.EPOCHS)["step"]
    resumed_logs.check_each(folder, logs.PREDICTIONS, evaluated[evaluated <= step], len(training.data.class_names) ** 2)
    measured = [s for s in range(1, step + 1) if due(intervals, "norms", s)]
    resumed_logs.check_each(folder, logs.LAYERS, measured, len(training.layer_probe.names), b"gradient_norm")


def write_config(folder, training, diagnostics, compiled, device_name: str, precision_reason: str, invocation) -> None:
    """Everything that decides the bits of this run, and what a diagnosis needs to know about it."""
    settings, data, batches = training.settings, training.data, training.batches
    costs = None
    if settings.diagnostics_budget:
        costs, step_seconds = diagnostics.measured_costs(compiled)
        diagnostics.set_intervals(chosen_intervals(costs, step_seconds, settings.diagnostics_budget))
    used = (batches.images[0].numpy(), batches.labels.numpy(), data.test_images, data.test_labels)
    statistics = statistics_of(*used, len(data.class_names))
    facts = {
        "command": [text if text.isprintable() else shown(text) for text in invocation.command],
        "setup_seconds": time.perf_counter() - invocation.began,  # TensorFlow's start, data, network, kernels
        "device": device_name,
        "precision_reason": precision_reason,
        "augmentation": batches.augmentation.__name__,
        "steps_per_epoch": batches.steps_per_epoch,
        "total_steps": training.total_steps,
        "diagnostics": {"intervals": diagnostics.intervals, "cost_seconds": costs},
    }
    described = run_folder.describe(folder, settings, data, training.network, statistics)
    run_folder.write_config(folder, described | facts | devices.environment(settings.threads))
