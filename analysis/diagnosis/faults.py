"""The fault collection: list it, record it, score the diagnoses on it.

    python analysis/diagnosis/faults.py --list                what is there, and how each fault comes about in practice
    python analysis/diagnosis/faults.py --score               what analysis/diagnose.py finds in tests/faults/, a table
    python analysis/diagnosis/faults.py --out runs/faults     record all of it, a process each (20 minutes or so)
    python analysis/diagnosis/faults.py no-shuffling --out runs/faults    one of them
    python analysis/diagnosis/faults.py --held-out --score    the second collection, recorded after the rules were fixed

Analysis does not import train_loop.py, but for replay.py, the benchmarks and this script, for the same reason: they
exist to run that very loop.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from analysis.diagnosis.cases import Case
from analysis.diagnosis.collection import COLLECTION
from analysis.diagnosis.held_out import HELD_OUT
from analysis.diagnosis.recording import HELD_OUT_RECORDINGS, RECORDINGS, record, record_each
from analysis.diagnosis.scoring import score, verdicts
from analysis.support import common
from core.settings.settings import one_of


def catalogue(cases: dict[str, Case]) -> str:
    """Every run of a collection with its fault."""
    width = max(map(len, cases))
    return "\n".join(f"{name:<{width}}  {case.about}" for name, case in cases.items())


def main(args) -> None:
    """List, score, or record: one run in this process, several each in its own."""
    cases = HELD_OUT if args.held_out else COLLECTION
    out = args.out or (HELD_OUT_RECORDINGS if args.held_out else RECORDINGS)
    for name in args.name:
        if name not in cases:
            print(f"faults.py: {name}: no such run; expected {one_of(name, cases)}", file=sys.stderr)
            sys.exit(2)
    if args.list:
        print(catalogue(cases))
    elif args.score:
        print(score(verdicts(out, cases)))
    elif len(args.name) == 1:
        record(args.name[0], out, args.args, cases, short=True)
    else:
        record_each(args.name or list(cases), out, args.args, options=("--held-out",) if args.held_out else ())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="analysis/diagnosis/faults.py", description="Record the fault collection, or score the diagnoses on it.",
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", nargs="*", help="which to record [all: 20 minutes or so]")
    parser.add_argument("--out", metavar="DIR", type=Path, help="the recordings [tests/faults, tests/held_out_faults]")
    parser.add_argument("--held-out", action="store_true", help="the second collection")
    parser.add_argument("--list", action="store_true", help="list the collection")
    parser.add_argument("--score", action="store_true", help="diagnose the recordings and print the score")
    parser.add_argument(
        "--args", metavar="ARG", nargs=argparse.REMAINDER, default=[],
        help="everything after this goes to train_loop.py and wins: --args --data shapes10 --epochs 2",
    )  # fmt: skip
    common.answer(main, parser.parse_args())
