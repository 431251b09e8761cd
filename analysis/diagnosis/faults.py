"""The fault collection: list it, record it, score the diagnoses on it.

    python analysis/diagnosis/faults.py --list                what is there, and how each fault comes about in practice
    python analysis/diagnosis/faults.py --score               what analysis/diagnose.py finds in tests/faults/, a table
    python analysis/diagnosis/faults.py --out runs/faults     record all of it, a process each (20 minutes or so)
    python analysis/diagnosis/faults.py no-shuffling --out runs/faults    one of them

Analysis does not import train_loop.py, but for replay.py, the benchmarks and this script, for the same reason: they
exist to run that very loop.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from analysis.diagnosis.collection import COLLECTION
from analysis.diagnosis.recording import RECORDINGS, record, record_each
from analysis.diagnosis.scoring import score, verdicts
from analysis.support import common
from core.settings.settings import one_of


def catalogue() -> str:
    """Every run of the collection with its fault."""
    width = max(map(len, COLLECTION))
    return "\n".join(f"{name:<{width}}  {case.about}" for name, case in COLLECTION.items())


def main(args) -> None:
    """List, score, or record: one run in this process, several each in its own."""
    for name in args.name:
        if name not in COLLECTION:
            print(f"faults.py: {name}: no such run; expected {one_of(name, COLLECTION)}", file=sys.stderr)
            sys.exit(2)
    if args.list:
        print(catalogue())
    elif args.score:
        print(score(verdicts(args.out)))
    elif len(args.name) == 1:
        record(args.name[0], args.out, args.args, COLLECTION, short=True)
    else:
        record_each(args.name or list(COLLECTION), args.out, args.args)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="analysis/diagnosis/faults.py", description="Record the fault collection, or score the diagnoses on it.",
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", nargs="*", help="which to record [all: 20 minutes or so]")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=RECORDINGS, help="the recordings [tests/faults in the project]"
    )
    parser.add_argument("--list", action="store_true", help="list the collection")
    parser.add_argument("--score", action="store_true", help="diagnose the recordings and print the score")
    parser.add_argument(
        "--args", metavar="ARG", nargs=argparse.REMAINDER, default=[],
        help="everything after this goes to train_loop.py and wins: --args --data shapes10 --epochs 2",
    )  # fmt: skip
    common.answer(main, parser.parse_args())
