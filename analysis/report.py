"""What did it learn, where does it err, what to change next? One page about a run, or about several, for a browser.

    python analysis/report.py                 the latest run: report.html in its folder
    python analysis/report.py RUN1 RUN2       both in one page, their comparison first
    python analysis/report.py RUN --watch     written again while training goes on

The page is one file that needs nothing else: no network, no other file. With --watch it loads itself again; what you
chose in it, and where you were reading, stays. Notes that you write into notes.md of the run's folder stand at its end.
"""

import dataclasses
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.diagnose import diagnose
from analysis.report_parts.inside import inside_of
from analysis.report_parts.page import Material, page
from analysis.support import common
from analysis.support.predictions import predictions_of
from analysis.support.run import NotMeasured, Run, runs_of
from core.run import checkpoints, run_folder

SECONDS_BETWEEN = 10  # with --watch
RUNS = 12  # at most in one page


def material(run: Run, data_dir: str, before: Material | None = None) -> Material:
    """Everything that the page shows of a run. What cannot be computed is replaced by the exception that says why.

    before: of the same run a little earlier; while there is no newer checkpoint, nothing is computed again.
    """
    diagnosis = diagnose(run)
    newest = next((checkpoints.step_of(path) for path in checkpoints.newest_first(run.folder)), None)
    if before and newest == before.step:
        return dataclasses.replace(before, run=run, diagnosis=diagnosis)
    step, found, inside = newest or 0, None, None
    try:
        step, found = predictions_of(run, data_dir)
        inside = inside_of(run, found)
    except (NotMeasured, *common.EXPECTED_ERRORS) as reason:
        found, inside = found or reason, reason
    return Material(run, diagnosis, step, found, inside)


def write(text: str, out: Path) -> None:
    """Write the page, whole or not at all, so that a browser never meets half a file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".partial-{out.name}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(out)


def main(args) -> None:
    """Write the page, and with --watch write it again until every run is complete."""
    folders = list(dict.fromkeys(run_folder.find(name, args.runs_dir) for name in args.run or [None]))
    out = args.out or (folders[0] if len(folders) == 1 else folders[0].parent) / "report.html"
    found = [None] * len(folders)
    while True:
        found = [material(run, args.data_dir, before) for run, before in zip(runs_of(folders), found)]
        text = page(found, args.watch)
        write(text, out)
        common.say(f"written  {out} ({len(text.encode()) / 1e6:.1f} MB): open it in a browser")
        if not args.watch or all(of.run.complete for of in found):
            return
        time.sleep(SECONDS_BETWEEN)


def build_parser():
    """The command line."""
    parser = common.parser("report", __doc__.splitlines()[0], figure="")
    for action in parser._actions:
        if action.dest == "run":
            action.nargs, action.help = "*", "a run: its name, its folder, or nothing for the latest; several: compared"
    add = parser.add_argument
    where = "report.html in the run's folder; beside the first of several"
    add("--out", metavar="FILE", type=Path, help=f"the page to write [{where}]")
    add("--watch", action="store_true", help="write it again while training goes on; the page reloads itself")
    add("--data-dir", metavar="DIR", default="", help="where the images are now, if they have moved")
    return parser


def parse(argv=None):
    """The arguments; what is wrong with them ends the program with one line and exit status 2."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if len(args.run) > RUNS:
        parser.error(f"{len(args.run)} runs: at most {RUNS} in one page")
    return args


if __name__ == "__main__":
    common.answer(main, parse())
