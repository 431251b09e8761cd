"""What does each choice buy? One choice of the network or its training at a time is changed, measured, and reported.

    python analysis/study.py                   train what is missing, then report (hours; it can be stopped and started)
    python analysis/study.py --report          the report again, from the files, in seconds
    python analysis/study.py --small           a ten-minute version for a class: three variants, three seeds
    python analysis/study.py --row gelu 3      the command that repeats a run, and what it gave
    python analysis/study.py --panel test      the test accuracy of every factor as a slide: runs/study/slides/*.png

Every variant gets its own learning rate, chosen on 5,000 training images kept aside; then the same six seeds as every
other one, on the test set. docs/study/expectations.csv says what was expected before the first run.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.benchmarks import options
from analysis.study_parts import document, effects, figures, runner, sentences, table
from analysis.study_parts.design import SMALL, WHOLE
from analysis.support import common
from core.run.errors import RunError
from core.settings.command_line import Parser

STUDY, CHOICES = table.PROJECT / "docs" / "study", table.PROJECT / "docs" / "choices.md"


def main(args) -> None:
    """Train, report. Raises RunError when the files are of another study."""
    study = SMALL if args.small else WHOLE
    folder = args.out or (Path("runs/small-study") if args.small else STUDY)
    if args.row:
        return print_row(folder, *args.row)
    if args.panel:
        return draw_slides(study, folder, args.panel, args.runs_dir / "slides")
    if not args.report:
        runner.run(study, folder, args.runs_dir, args.jobs, args.same_code)
    report(study, folder)


def report(study, folder: Path) -> None:
    """Draw the figures, print the effects, and write them into docs/choices.md, or into report.md of another folder."""
    rows, found, data = measured(study, folder)
    drawn = figures.draw_all(found, table.read_epochs(folder), data, folder)
    common.say(sentences.base_sentence(study, rows, found, data), "")
    for effect in sorted(found, key=lambda effect: -effect.result.difference):
        common.say(f"{effect.factor.name}: {sentences.effect_sentence(effect)}")
    common.say("", "What was not expected:", *sentences.surprises(found), "", sentences.pending(study, found))
    if folder.resolve() == STUDY:
        document.write(CHOICES, document.blocks(study, rows, found, data, "study/"))
        drawn.append(CHOICES)
    else:
        drawn.append(folder / "report.md")
        drawn[-1].write_text(document.whole(document.blocks(study, rows, found, data)))
    for path in drawn:
        common.say(f"written  {path}")


def measured(study, folder: Path) -> tuple:
    """(rows, effects, name of the data set) of a study. Raises RunError unless a variant is complete."""
    rows, found = effects.read(study, folder)
    if not found:
        raise RunError(f"{folder}: no variant has all its {len(study.seeds)} seeds yet; train on")
    return rows, found, table.read_facts(folder)["data"]


def draw_slides(study, folder: Path, panel: str, out: Path) -> None:
    """Draw one panel of the figures as a slide of its own, into the folder `out`."""
    _, found, data = measured(study, folder)
    for path in figures.draw_panel(panel, found, table.read_epochs(folder), data, out):
        common.say(f"drawn    {path}")


def print_row(folder: Path, variant: str, seed: str) -> None:
    """The command of a final run and its accuracy to the last digit."""
    found = [row for row in table.read(folder) if (row.variant, str(row.seed), row.purpose) == (variant, seed, "final")]
    if not found:
        raise RunError(f"{folder / table.RUNS}: no final run of {variant} with seed {seed} yet")
    common.say(found[0].command, f"test_accuracy {found[0].test_accuracy!r}, test_loss {found[0].test_loss!r}")


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = Parser(prog="analysis/study.py", description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    add = parser.add_argument
    add("--report", action="store_true", help="only draw and write the report, from the files of the study")
    add("--small", action="store_true", help="the ten-minute version, in runs/small-study")
    add("--row", nargs=2, metavar=("VARIANT", "SEED"), help="print the command of one final run, and what it gave")
    panels = (*figures.COSTS, *figures.CURVES)
    add("--panel", metavar="NAME", choices=panels,
        help=f"only draw one panel as slides, in slides/ of the runs: {', '.join(panels)}")  # fmt: skip
    add("--same-code", action="store_true",
        help="after a change of the code: repeat three runs, and go on if every digit is the same")  # fmt: skip
    add("--jobs", type=options.count, default=2, metavar="N", help="runs at a time, one thread each [2]")
    add("--out", type=Path, metavar="DIR", help="where the rows are [docs/study]")
    add("--runs-dir", type=Path, metavar="DIR", default=Path("runs/study"), help="where the runs go [runs/study]")
    return parser


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
