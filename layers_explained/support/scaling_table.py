"""The table that analysis/benchmarks/scaling.py writes, runs/scaling.csv, and what the scaling law takes from it."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layers_explained.support.constants import Problem
from layers_explained.support.scaling_law import Cost, Network

PATH = Path(__file__).resolve().parents[2] / "runs" / "scaling.csv"
COLUMNS = ("recipe", "workers", "round", "quantity", "value")
SPEED = "images_per_second"
# What was measured for the law, once for all rounds: round 0 of the largest number of workers.
CONSTANTS = ("parameters", "divided_seconds", "in_full_seconds", "bytes_per_second", "latency_seconds")


@dataclass(frozen=True)
class Measured:
    """Speeds of a recipe on several numbers of workers, and the constants of the law, measured beside them."""

    recipe: str
    speeds: dict[int, np.ndarray]  # {workers: images/s of each round}
    cost: Cost
    network: Network

    def efficiencies(self) -> dict[int, np.ndarray]:
        """{workers n: speed / (n times the speed of one worker), a value for each round}."""
        return {n: speeds / (n * self.speeds[1]) for n, speeds in self.speeds.items()}


def write(measured: Measured, path: Path) -> None:
    """Write the table."""
    values = (measured.cost.parameters, measured.cost.divided, measured.cost.in_full)
    values += (measured.network.bytes_per_second, measured.network.latency)
    rows = [(measured.recipe, max(measured.speeds), 0, *pair) for pair in zip(CONSTANTS, values)]
    for n, speeds in measured.speeds.items():
        rows += [(measured.recipe, n, turn, SPEED, speed) for turn, speed in enumerate(speeds, start=1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def read(path: Path = PATH) -> Measured | None:
    """The table, or None where scaling.py was not run. Raises Problem for a file that is another one."""
    if not path.is_file():
        return None
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        constants = {row["quantity"]: float(row["value"]) for row in rows if row["quantity"] in CONSTANTS}
        parameters, divided, in_full, bytes_per_second, latency = (constants[name] for name in CONSTANTS)
        speeds = {}
        for row in (row for row in rows if row["quantity"] == SPEED):
            speeds.setdefault(int(row["workers"]), []).append(float(row["value"]))
        if 1 not in speeds or len(set(map(len, speeds.values()))) != 1:
            raise ValueError("as many rounds of 1 worker as of every other number")
        recipe = rows[0]["recipe"]
    except (KeyError, ValueError, TypeError) as error:
        raise Problem(
            f"{path}: expected the table of analysis/benchmarks/scaling.py, found none ({error}); measure again, or "
            "delete it"
        ) from None
    cost, network = Cost(int(parameters), divided, in_full), Network(bytes_per_second, latency)
    return Measured(recipe, {n: np.array(values) for n, values in sorted(speeds.items())}, cost, network)
