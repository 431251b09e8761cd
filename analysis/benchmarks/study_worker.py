"""Trains one run of the study after another in one process: a line of JSON in on standard input, one out.

analysis/study.py starts it; by hand it serves to see what it does:

    echo '{"arguments": ["--network", "plain", "--steps", "20"], "folder": "runs/study/try"}' \
        | python analysis/benchmarks/study_worker.py

Each run is train_loop.py's own `main` with the arguments of its command line, so that the command gives the same
numbers. One process for many runs saves the seconds in which TensorFlow starts. Its first line has the data set and
the versions. It ends when standard input does.
"""

import contextlib
import gc
import json
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import train_loop
from analysis.support.run import NotMeasured, Run
from core import devices
from core.data import load
from core.data.data_set import DataError
from core.run import logs
from core.settings import command_line

EARLY = 100  # steps over which the gradients are compared


def train(arguments: list[str], folder: Path) -> dict:
    """Train one run in `folder`, anew; what the table needs of it. {"stopped": True} if a signal came."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    invocation = command_line.parse([*arguments, "--runs-dir", str(folder.parent), "--run", folder.name])
    printed, began = folder.parent / f"{folder.name}.txt", time.process_time()
    with open(printed, "w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        status = train_loop.main(invocation)
    seconds = time.process_time() - began
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    gc.collect()
    run = Run(folder)
    diverged = not all(np.isfinite(run.steps[name]).all() for name in ("loss", "gradient_norm"))
    if not (run.complete or diverged):
        lines = printed.read_text().strip().splitlines()
        return {"stopped": True} if status == 1 and "--resume" in lines[-1] else {"failed": (lines or ["nothing"])[-1]}
    return measured(run, diverged, seconds)


def measured(run: Run, diverged: bool, cpu_seconds: float) -> dict:
    """{column: value} of a finished run, its epochs, and what its data and settings were."""
    last = {name: float(values[-1]) for name, values in run.epochs.items()} if len(run.epochs["step"]) else {}
    if diverged:  # its loss is no number; it predicts no better than chance
        accuracies = dict.fromkeys(("train_accuracy", "test_accuracy"), run.chance_level)
        last = accuracies | dict.fromkeys(("train_loss", "test_loss"), float("nan"))
    steps = run.timing["step_seconds"]
    return {
        "row": {name: last[name] for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy")}
        | {
            "steps": run.total_steps,
            "cpu_seconds": cpu_seconds,
            "seconds": float(steps.sum()),
            "step_ms": 1000 * float(np.median(steps)),
            "parameters": run.config["parameter_count"],
            "flops": run.config["forward_flops_per_image"],
            "diverged": int(diverged),
        }
        | mechanism(run),
        "epochs": [
            {name: float(run.epochs[name][i]) for name in logs.COLUMNS[logs.EPOCHS][:6]}
            for i in range(len(run.epochs["step"]))
        ],
        "data": run.config["data"]["title"],
        "data_fingerprint": run.config["data"]["fingerprint"],
    }


def mechanism(run: Run) -> dict:
    """The diagnostics that the report explains a factor with; empty columns where nothing was measured.

    gradient_ratio: gradient_rms of the first kernel over that of the last one, median of the first steps.
    signal_ratio: activation_std of the last layer but one over that of the first, in the untrained network.
    sparsity, dead_channels: mean over the activations, at the end.
    """
    found = dict.fromkeys(("gradient_ratio", "signal_ratio", "sparsity", "dead_channels"), "")
    with contextlib.suppress(NotMeasured):
        gradients = run.table("gradient_rms")
        early = gradients.values[gradients.steps <= EARLY]
        found["gradient_ratio"] = float(np.median(early[:, 0] / np.maximum(early[:, -1], 1e-30)))
    with contextlib.suppress(NotMeasured):
        spread = run.table("activation_std").values
        found["signal_ratio"] = float(spread[0, -2] / max(spread[0, 0], 1e-30))
    with contextlib.suppress(NotMeasured):
        dead, zeros = run.table("dead_channels"), run.table("sparsity")
        found["dead_channels"] = float(dead.values[-1].mean())
        found["sparsity"] = float(np.mean([zeros.values[-1, zeros.layers.index(name)] for name in dead.layers]))
    return found


def main() -> None:
    """Say who is there, then train what is asked for until standard input ends."""
    requests = iter(sys.stdin.readline, "")
    first = json.loads(next(requests, "{}") or "{}")
    settings = command_line.parse(first["arguments"]).settings
    try:
        with contextlib.redirect_stdout(sys.stderr):  # "fetching ..." is for people, and no answer
            data = load(settings.data, settings.data_dir)
    except DataError as error:
        print(json.dumps({"failed": str(error)}), flush=True)
        return
    hello = {"data": data.title, "data_fingerprint": data.fingerprint, **devices.environment(settings.threads)}
    print(json.dumps(hello), flush=True)
    which = ["--data", data.name]  # what "auto" came to: else a run on the drawn images has another name
    del data
    for line in requests:
        request = json.loads(line)
        try:
            result = train([*request["arguments"], *which], Path(request["folder"]))
        except Exception as error:  # one line for the one who asked, who knows which run it was
            result = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        main()
