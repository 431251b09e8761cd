"""A step that was taken again against the row that was logged: the same bits, or the same up to rounding."""

import numpy as np

from core.run import logs

COMPARED = logs.COLUMNS[logs.STEPS][2:]  # loss, accuracy, learning_rate, gradient_norm
ROUNDING = {"float32": 1e-4, "bfloat16": 0.05}  # relative; how far the uncompiled step may be off


def comparison(replayed: dict[str, float], logged: dict[str, float]) -> str:
    """The numbers of the step, here and in steps.csv, with all their digits."""
    lines = [f"{'':13}  {'replayed':>22}  {'logged':>22}"]
    for name in COMPARED:
        here, there = logs.written(replayed[name]), logs.written(logged[name])
        same = here == there
        difference = "the same bits" if same else f"{relative_difference(replayed[name], logged[name]):.1e} apart"
        lines.append(f"{name.replace('_', ' '):13}  {here:>22}  {there:>22}  {difference}")
    return "\n".join(lines)


def relative_difference(one: float, other: float) -> float:
    """|one - other| as a fraction of the larger; 0 for two that are not finite in the same way."""
    if one == other or (np.isnan(one) and np.isnan(other)):
        return 0.0
    distance = abs(one - other) / max(abs(one), abs(other))
    return distance if np.isfinite(distance) else np.inf


def agrees(replayed: dict, logged: dict, exact: bool, settings) -> bool:
    """Whether it is the logged step: the same bits, or if not `exact` the same up to rounding.

    Rounding may also change the prediction of one image.
    """
    if exact:
        return all(logs.written(replayed[name]) == logs.written(logged[name]) for name in COMPARED)
    changed = abs(replayed["accuracy"] - logged["accuracy"]) * settings.batch_size
    others = [relative_difference(replayed[name], logged[name]) for name in COMPARED if name != "accuracy"]
    return changed < 1.5 and max(others) <= ROUNDING[settings.precision]


def reasons(config: dict, here: dict) -> str:
    """What decides the bits and is another here than in config.json, in words."""
    different = [
        f"{name.replace('_', ' ')} ({config.get(name)} then, {value} now)"
        for name, value in here.items()
        if config.get(name) != value
    ]
    if different:
        return "what differs from config.json: " + ", ".join(different) + "; or was steps.csv edited?"
    edited = str(here["git_commit"]).endswith("+")
    return (
        "versions, threads, processor and commit are those of config.json; "
        + ("but files here differ from that commit: " if edited else "")
        + "was the code, config.json, steps.csv or a checkpoint edited?"
    )
