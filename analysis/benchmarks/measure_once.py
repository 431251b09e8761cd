"""One measurement of throughput.py, in a process of its own; the result is the last line, as JSON.

    python analysis/benchmarks/measure_once.py keras 50 --recipe classic --precision float32

WHAT, the number of timed steps, then options of train_loop.py. WHAT is a baseline (keras, keras-graph, torch,
torch-compile), peak (the matrix product), parts (the parts of our own step) or precision (what auto comes to here).
"""

import dataclasses
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from analysis.support import common
from core import devices
from core.data import load
from core.settings import command_line

WARM_UP = 10  # steps that are not timed


def measure(what: str, steps: int, settings) -> dict:
    """The measurement `what`: {quantity: value}, for parts {part: [milliseconds]}."""
    if what == "parts":
        return measure_parts(settings, steps)
    devices.import_tensorflow().config.threading.set_intra_op_parallelism_threads(settings.threads)
    if what == "precision":
        device, _ = devices.choose(settings.device)
        return {"precision": devices.choose_precision(settings.precision, device)[0]}
    from analysis.benchmarks.baselines import keras_fit

    if what == "peak":
        return {"gflops": keras_fit.matrix_product_gflops(settings.precision)}
    data = load(settings.data, settings.data_dir)
    if what.startswith("torch"):
        from analysis.benchmarks.baselines import torch_loop

        speed = torch_loop.torch_images_per_second(settings, data, steps, WARM_UP, what == "torch-compile")
    else:
        jit_compile = "auto" if what == "keras" else False
        speed = keras_fit.keras_images_per_second(settings, data, steps, WARM_UP, jit_compile)
    return rates(speed, keras_fit.textbook_network(settings).flops())


def measure_parts(settings, steps: int) -> dict[str, list[float]]:
    """Our own step in parts, its kernels, micro-batches and threads chosen as for a run."""
    settings = dataclasses.replace(settings, eager=False)
    settings = dataclasses.replace(
        settings, kernels=devices.choose_kernels(settings), micro_batches=devices.choose_micro_batches(settings)
    )
    devices.configure(settings.threads, settings.micro_batches)
    from analysis.benchmarks import step_parts

    return step_parts.milliseconds_through(settings, load(settings.data, settings.data_dir), steps)


def rates(images_per_second: float, forward_flops: int) -> dict[str, float]:
    """A speed in images/s and in GFLOP/s; forward and backward pass take three times the forward FLOPs."""
    return {"images_per_second": float(images_per_second), "gflops": float(3 * forward_flops * images_per_second / 1e9)}


def main(what: str, steps: str, *options: str) -> None:
    """Measure once and print the result."""
    print(json.dumps(measure(what, int(steps), command_line.parse(list(options)).settings)))


if __name__ == "__main__":
    common.answer(main, *sys.argv[1:])
