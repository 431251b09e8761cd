"""Logs of a million steps are read and drawn in under 20 s and 1 GB.

Two shorter runs are measured, and what the second takes more is drawn out to a million. Processor
time counts: the time on the wall also depends on what else the machine does.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from runner import command

from analysis.support import series
from core.run import logs, run_folder

pytest.importorskip("resource")  # no such module on Windows

SHORT, LONG, MILLION = 40_000, 120_000, 1_000_000  # steps; both are long enough for envelopes and bands
SECONDS, BYTES = 20, 1e9
PER_EPOCH = 500
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "dense1", "dense2")
QUANTITIES = (
    "gradient_norm", "gradient_rms", "weight_norm", "update_ratio", "first_order_change", "distance", "gradient_cosine",
)  # fmt: skip

# Run a script and print what it took. In between stands a small Python: on Linux the memory of a
# child begins with that of its parent, and here that would be pytest with TensorFlow in it.
MEASURE = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)]))
"""


def write_run(runs_dir, steps: int):
    """A folder as a run of so many steps leaves it, with --diagnostics light: norms at every tenth step."""
    folder = run_folder.create(runs_dir, f"of-{steps}")
    run_folder.write_config(folder, {
        "run": folder.name, "settings": {"holdout": False, "batch_size": 100}, "steps_per_epoch": PER_EPOCH,
        "total_steps": steps, "data": {"title": "made of formulas", "test_images": 10_000},
    })  # fmt: skip
    draw = np.random.default_rng(0)
    numbers = map(repr, np.float32(draw.lognormal(sigma=0.1, size=10 * steps)).tolist())  # with all digits, as a run's
    fractions = map(repr, np.float32(draw.random(steps)).tolist())
    measurements = [step for step in range(1, steps + 1) if step <= 100 or step % 10 == 0]
    epochs = range(1, steps // PER_EPOCH + 1)
    rows = {
        logs.STEPS: (
            f"{s},{(s - 1) // PER_EPOCH + 1},{next(numbers)},{next(fractions)},{next(numbers)},{next(numbers)}"
            for s in range(1, steps + 1)
        ),
        logs.EPOCHS: (f"{e},{e * PER_EPOCH},{1 / e},0.9,{1.1 / e},0.8,0.01,0.02" for e in epochs),
        logs.LAYERS: (
            f"{s},{layer},{name},{next(numbers)}" for s in measurements for layer in LAYERS for name in QUANTITIES
        ),
    }
    for name, lines in rows.items():
        (folder / name).write_text("\n".join([",".join(logs.COLUMNS[name]), *lines, ""]))
    return folder


def measured(script: str, folder) -> np.ndarray:
    """[processor seconds, bytes of memory] that a script takes to draw a run."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *command(script, folder)], capture_output=True, text=True, check=True
    )
    return np.array(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs, the second three times as long."""
    runs_dir = tmp_path_factory.mktemp("runs")
    return write_run(runs_dir, SHORT), write_run(runs_dir, LONG)


@pytest.mark.parametrize(
    "script",
    [
        "analysis/curves.py",
        "analysis/gradients.py",
    ],
)
def test_a_million_steps_are_drawn_in_time_and_in_memory(folders, script):
    short, long = (measured(script, folder) for folder in folders)
    seconds, memory = long + (long - short) * (MILLION - LONG) / (LONG - SHORT)
    assert seconds < SECONDS and memory < BYTES


def test_every_series_comes_back_whole(folders):
    found = series.layer_series(folders[0])
    assert list(found) == list(QUANTITIES) and all(list(of) == list(LAYERS) for of in found.values())
    table = logs.read(folders[0], logs.LAYERS)
    here = (table["layer"] == b"conv3") & (table["quantity"] == b"first_order_change")
    steps, values = found["first_order_change"]["conv3"]
    np.testing.assert_array_equal(steps, table["step"][here])
    np.testing.assert_array_equal(values, table["value"][here])


def one_after_the_other(values, fraction: float) -> np.ndarray:
    """The debiased average as its formula says, a value at a time."""
    decay = 1 - 1 / max(fraction * len(values), 1)
    average, weight, line = 0.0, 0.0, np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if np.isfinite(value):
            average, weight = decay * average + (1 - decay) * value, decay * weight + (1 - decay)
        line[i] = average / weight if weight else np.nan
    return line


@pytest.mark.parametrize("n", [0, 1, 2, 255, 256, 257, 20_000])
@pytest.mark.parametrize("fraction", [0.02, 0.5, 1e-9])
def test_smoothing_in_blocks_is_smoothing_one_after_the_other(n, fraction):
    draw = np.random.default_rng(n)
    values = draw.lognormal(size=n)
    values[draw.random(n) < 0.1] = np.nan
    values[: n // 20] = np.inf
    np.testing.assert_allclose(series.smoothed(values, fraction), one_after_the_other(values, fraction), rtol=1e-9)


def test_an_envelope_keeps_every_peak_and_a_short_line():
    x = np.arange(1.0, 50_001)
    y = np.sin(x)
    y[[777, 33_333]] = 9, -7
    y[[778, 40_123]] = np.nan, np.inf
    short_x, short_y = series.envelope(x, y, columns=100)
    assert len(short_x) == 400 and (np.diff(short_x) >= 0).all()
    assert np.nanmax(short_y) == 9 and np.nanmin(short_y) == -7 and np.isfinite(short_y).all()
    assert short_y[0] == y[0] and short_y[-1] == y[-1]
    same_x, same_y = series.envelope(x[:300], y[:300], columns=100)
    assert np.array_equal(same_x, x[:300]) and np.array_equal(same_y, y[:300])
