"""The fault collection: list it, record it, score the diagnoses on it.

    python analysis/diagnosis/faults.py --list                what is there, and how each fault comes about in practice
    python analysis/diagnosis/faults.py --score               what analysis/diagnose.py finds in tests/faults/, a table
    python analysis/diagnosis/faults.py --out runs/faults     record all of it, a process each (20 minutes or so)
    python analysis/diagnosis/faults.py no-shuffling --out runs/faults    one of them
    python analysis/diagnosis/faults.py --held-out --score    the second collection, recorded after the rules were fixed
    python analysis/diagnosis/faults.py --third --score       the third one, after they had been changed and fixed again
    python analysis/diagnosis/faults.py --third --probe       the same with the active checks, a minute or two a run

Analysis does not import train_loop.py, but for replay.py, the benchmarks and this script, for the same reason: they
exist to run that very loop.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from analysis import diagnose
from analysis.diagnosis import scoring
from analysis.diagnosis.cases import Case
from analysis.diagnosis.collection import COLLECTION
from analysis.diagnosis.held_out import HELD_OUT
from analysis.diagnosis.recording import (
    HELD_OUT_RECORDINGS,
    RECORDINGS,
    THIRD_RECORDINGS,
    record,
    record_each,
    recorded_conditions,
)
from analysis.diagnosis.scoring import score, verdicts
from analysis.diagnosis.third_set import THIRD
from analysis.support import common
from analysis.support.run import Run
from core.settings.settings import one_of


def catalogue(cases: dict[str, Case]) -> str:
    """Every run of a collection with its fault."""
    width = max(map(len, cases))
    return "\n".join(f"{name:<{width}}  {case.about}" for name, case in cases.items())


def main(args) -> None:
    """List, score, or record: one run in this process, several each in its own."""
    option, cases, recordings = "", COLLECTION, RECORDINGS
    if args.held_out:
        option, cases, recordings = "--held-out", HELD_OUT, HELD_OUT_RECORDINGS
    elif args.third:
        option, cases, recordings = "--third", THIRD, THIRD_RECORDINGS
    out = args.out or recordings
    for name in args.name:
        if name not in cases:
            print(f"faults.py: {name}: no such run; expected {one_of(name, cases)}", file=sys.stderr)
            sys.exit(2)
    if args.list:
        print(catalogue(cases))
    elif args.score:
        print(score(verdicts(out, cases)))
    elif args.probe and len(args.name) == 1:
        with recorded_conditions(cases[args.name[0]], short=True):
            found = diagnose.probe(Run(out / args.name[0]), say=lambda line: None)
        verdict = scoring.verdict(args.name[0], cases[args.name[0]], found.findings)
        print(
            "\n".join([f"{verdict.name}: {'named' if verdict.named else 'NOT named'}, {verdict.shown}", *found.probed])
        )
    elif len(args.name) == 1:
        record(args.name[0], out, args.args, cases, short=True)
    else:
        options = [word for word in (option, "--probe" if args.probe else "") if word]
        record_each(args.name or list(cases), out, args.args, options=options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="analysis/diagnosis/faults.py", description="Record the fault collection, or score the diagnoses on it.",
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", nargs="*", help="which to record [all: 20 minutes or so]")
    parser.add_argument("--out", metavar="DIR", type=Path, help="the recordings [that of the collection in tests/]")
    parser.add_argument("--held-out", action="store_true", help="the second collection")
    parser.add_argument("--third", action="store_true", help="the third collection")
    parser.add_argument("--probe", action="store_true", help="diagnose with the active checks, under the fault")
    parser.add_argument("--list", action="store_true", help="list the collection")
    parser.add_argument("--score", action="store_true", help="diagnose the recordings and print the score")
    parser.add_argument(
        "--args", metavar="ARG", nargs=argparse.REMAINDER, default=[],
        help="everything after this goes to train_loop.py and wins: --args --data shapes10 --epochs 2",
    )  # fmt: skip
    common.answer(main, parser.parse_args())
