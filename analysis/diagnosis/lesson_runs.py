"""The recorded runs of the lessons, docs/recorded/: what they are, and how they are made again.

    python analysis/diagnosis/lesson_runs.py                 record all of them, a process each (ten minutes or so)
    python analysis/diagnosis/lesson_runs.py first small     some of them

Each is the real training, as in the fault collection; the runs of the clinic have the faults of collection.py. THE
ANSWERS OF THE CLINIC STAND IN THIS FILE.
"""

import argparse
import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from analysis.diagnosis import collection, recording
from analysis.diagnosis.collection import Case
from analysis.support import common
from core.settings.settings import one_of

RECORDED = recording.PROJECT / "docs" / "recorded"
PLAIN = "--precision float32 --kernels textbook --micro-batches 1"  # the textbook layers: the faults change those
SHAPES = f"--recipe classic {PLAIN} --data shapes10"
CHOICES = f"--network plain --width 16 {PLAIN} --data shapes10 --steps 200 --diagnostics off"
SMALL = f"--recipe classic {PLAIN} --data cifar10 --epochs 15"  # 5,000 images of CIFAR-10 (recording.py)

RUNS = {
    "first": Case(f"{SHAPES} --epochs 4"),
    "small": Case(SMALL),
    "small-augmented": Case(f"{SMALL} --flip random --crop 2"),
    "batch-25": Case(f"{SHAPES} --batch-size 25 --steps 200 --diagnostics full"),
    "batch-100": Case(f"{SHAPES} --batch-size 100 --steps 200 --diagnostics full"),
    "lesson-07": Case(f"{SHAPES} --train-images 200 --batch-size 20 --epochs 40 --diagnostics off"),
    "lesson-09": Case(f"--recipe debug --no-eager {PLAIN}"),
    "lesson-09-eager": Case(f"--recipe debug {PLAIN}"),
    "lesson-10": Case(CHOICES),
    "lesson-10-batch-norm": Case(f"{CHOICES} --batch-norm"),
    "lesson-10-sigmoid": Case(f"{CHOICES} --activation sigmoid"),
    "lesson-10-linear": Case(f"{CHOICES} --activation none"),
    "lesson-10-kernel-1": Case(f"{CHOICES} --kernel-size 1"),
    "clinic-a": Case(f"{SHAPES} --epochs 3 --seed 11", collection.class_missing, ("missing-class",)),
    "clinic-b": Case(f"{SHAPES} --epochs 3 --seed 12", collection.softmax_twice, ("double-softmax",)),
    "clinic-c": Case(f"{SHAPES} --epochs 3 --seed 13"),
    "clinic-d": Case(f"{SHAPES} --epochs 3 --seed 14", collection.dead_relus, ("dying-relu",)),
    "clinic-e": Case(f"{SHAPES} --epochs 3 --seed 15", collection.frozen_step_counter, ("frozen-step-counter",)),
    "clinic-f": Case(
        f"{SHAPES} --epochs 3 --seed 16", collection.labels_shuffled, ("no-signal", "memorizing-noise")
    ),
}  # fmt: skip
INTERVALS = {"norms": 10, "activations": 50, "gain_ratio": 50, "curvature": 50}  # of --diagnostics full, here
CLINIC = [name for name in RUNS if name.startswith("clinic-")]


def main(args) -> None:
    """Record: one run in this process, several each in its own."""
    for name in args.name:
        if name not in RUNS:
            print(f"lesson_runs.py: {name}: no such run; expected {one_of(name, RUNS)}", file=sys.stderr)
            sys.exit(2)
    if len(args.name) == 1:
        # Every step's norms make ten times the file; every tenth shows the same.
        with mock.patch.dict("core.measure.diagnostics.INTERVALS", full=INTERVALS):
            recording.record(args.name[0], args.out, [], RUNS)
    else:
        recording.record_each(args.name or list(RUNS), args.out, [], Path(__file__))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="analysis/diagnosis/lesson_runs.py", description="Record the runs that the lessons show.",
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", nargs="*", help="which to record [all: ten minutes or so]")
    parser.add_argument("--out", metavar="DIR", type=Path, default=RECORDED, help="where [docs/recorded]")
    common.answer(main, parser.parse_args())
