"""CSV files of made-up runs for the tests of the logs."""

from types import SimpleNamespace

import numpy as np

from core.run import logs

HEADER = ",".join(logs.COLUMNS[logs.STEPS]) + "\n"


def steps_file(folder, *rows, header=HEADER):
    """A steps.csv with these rows, each a line of text."""
    (folder / logs.STEPS).write_text(header + "".join(rows))
    return folder


def row(step, loss="2.3"):
    return f"{step},1,{loss},0.1,0.05,1.0\n"


def write_an_epoch(log: logs.Logs) -> None:
    """Two steps and the evaluation after them, not yet flushed."""
    for step in (1, 2):
        log.append(logs.STEPS, [step, 1, 2.0, 0.5, 0.1, 3.0])
        log.append(logs.TIMING, [step, 0.1, 0.1, 0.0])
        log.append(logs.LAYERS, [step, "conv1", "weight_norm", 1.0])
    evaluation = SimpleNamespace(loss=2.0, accuracy=0.5, calibration_error=0.1, confusion=np.full((10, 10), 5))
    log.evaluations(1, 2, evaluation, evaluation)
