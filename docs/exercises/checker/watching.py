"""Watching: the first exercise that is not solved is checked whenever its file is saved."""

import subprocess
import sys
import time

from checker import catalogue, progress, report
from checker.catalogue import Entry

INTERVAL = 0.3  # seconds between two glances at the files


def watch(say, run_check=None, wait=lambda: time.sleep(INTERVAL)) -> None:
    """Check each file that is saved, until all are solved. `wait` is called between two glances.

    run_check(entry) checks one exercise, by default in a process of its own: an endless loop ends there.
    """
    run_check = run_check or in_own_process
    say(report.of_progress(set(progress.read().done)))
    seen = saved_at()
    while current := first_unsolved():
        say(f"  Watching {report.relative(current.path)}: save it, and it is checked. Ctrl-C ends.\n")
        before = current
        while current == before:
            wait()
            now = saved_at()
            saved = [entry for entry in catalogue.entries() if now[entry.name] != seen[entry.name]]
            seen = now
            for entry in saved:
                run_check(entry)
            if saved:
                current = first_unsolved()
    say(f"  {report.whats_next(set(progress.read().done))}\n")


def first_unsolved() -> Entry | None:
    """The first exercise that is not solved."""
    done = progress.read().done
    return next((entry for entry in catalogue.entries() if entry.name not in done), None)


def saved_at() -> dict[str, int]:
    """{name: when the learner's file was saved}; 0 for one that is not there."""
    return {entry.name: saved(entry) for entry in catalogue.entries()}


def saved(entry: Entry) -> int:
    """When one file was saved. An editor may take it away for a moment, between any two questions to the disk."""
    try:
        return entry.path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def in_own_process(entry: Entry) -> None:
    """Run check.py for this exercise."""
    subprocess.run([sys.executable, str(catalogue.FOLDER / "check.py"), entry.name], check=False)
