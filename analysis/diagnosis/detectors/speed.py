"""Faults that cost time only."""

import numpy as np

from analysis.diagnosis.detectors.finding import AMBER, NOTE, Finding
from analysis.support.run import NotMeasured, Run


def pipeline(run: Run) -> Finding | None:
    """The machine waits for something else than the arithmetic of the step.

    Rule: a compiled function was traced more than once (--eager compiles none): amber. Or p95 / p50 of the seconds a
    step took, without the probes, > 3 over at least 100 steps: a note, for a shared machine does that by itself.
    """
    tail, least, missing = 3, 100, None
    try:
        steps, traces = run.of_network("traces")
    except NotMeasured as reason:
        if not run.config["settings"].get("eager"):
            missing = reason
        traces = np.empty(0)
    if len(traces) and traces[-1] > 1:
        return Finding(
            "pipeline", "The step is compiled more than once", AMBER, int(steps[traces > 1][0]),
            (f"{traces[-1]:.0f} traces of one function by step {steps[-1]:,}; one is right: each costs seconds",),
        )  # fmt: skip
    run.need_steps(least)
    timing = run.timing
    seconds = timing["step_seconds"][1:]  # the first one compiles
    if len(seconds) < least - 1:
        raise NotMeasured("timing.csv is short")
    middle, late = np.percentile(seconds, [50, 95])
    if not late > tail * middle:
        if missing:
            raise missing
        return None
    return Finding(
        "pipeline", "Some steps take much longer than others", NOTE,
        int(timing["step"][1:][np.argmax(seconds > tail * middle)]),
        (f"half of the steps take at most {1000 * middle:.1f} ms, one in twenty more than {1000 * late:.1f} ms",),
    )  # fmt: skip
