"""Is this machine ready to train? Python, TensorFlow, oneDNN, cores, memory, GPU, data, disk, browser: a line for each.

python core/doctor.py

It works before `make setup` too. Each line begins with `ok`, `note` (training works, and this is to be known) or `stop`
(training cannot work, and this is to be done). The exit status is 1 only with a `stop`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.machine import PYTHONS, TENSORFLOW, Facts, fits, measured

GB = 10**9
# Measured with the recipe classic: the peak of the process on CIFAR-10 and on shapes10, and what `make setup` installs.
# A run's folder takes some 10 MB; with the checkpoints of the larger recipes several times as much.
MEMORY_CIFAR10, MEMORY_SHAPES10 = 1.2 * GB, 0.95 * GB
DISK_SETUP, DISK_RUN = 2.5 * GB, 0.05 * GB
# TensorFlow switches oneDNN on by itself where a Linux processor has one of these (core/util/port.cc, IsMklEnabled).
ONEDNN_FLAGS = ("avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16")


class Answer(NamedTuple):
    """One line: `state` is ok, note or stop."""

    what: str
    state: str
    sentence: str


def python(facts: Facts) -> Answer:
    """Its version is one that TensorFlow has packages for, and 64 bits wide."""
    version, (low, high) = ".".join(map(str, facts.python)), PYTHONS
    if not fits(facts.python):
        return Answer("Python", "stop", f"{version}; expected 3.{low} to 3.{high - 1}: install one of them, or name "
                      "it, make setup PYTHON=/path/to/python3")  # fmt: skip
    if facts.bits != 64:
        return Answer("Python", "stop", f"{version} of {facts.bits} bits; TensorFlow needs 64: install that one")
    return Answer("Python", "ok", version)


def tensorflow(facts: Facts) -> Answer:
    """It is installed, its import comes to an end, and its version is the one that the bits of a run were seen with."""
    found, low = facts.packages, TENSORFLOW
    if "missing" in found:
        first = "install Python's ensurepip (on Debian and Ubuntu the package python3-venv), then " * (
            not facts.ensurepip
        )
        source = "wheels/ is there, no network needed" if facts.wheels else "over the network, or with an offline kit"
        return Answer("TensorFlow", "stop", f"not installed here ({found['missing']}): {first}make setup ({source})")
    if "problem" in found:
        return Answer("TensorFlow", "stop", found["problem"])
    took = f"{found['tensorflow']}, imported in {found['seconds']:.1f} s"
    if found["tensorflow"].split(".")[:2] != low.split("."):
        return Answer("TensorFlow", "note", f"{took}; the project is tested with {low}, and another version computes "
                      "other bits: make setup in a fresh .venv")  # fmt: skip
    return Answer("TensorFlow", "ok", took)


def onednn(facts: Facts) -> Answer:
    """On or off, and why: it decides speed and last bits. None of the two is wrong."""
    name, on = "oneDNN", facts.packages.get("onednn")
    if on is None:
        return Answer(name, "note", "known once TensorFlow can be imported")
    state = "on" if on else "off"
    if facts.onednn_setting:
        return Answer(name, "ok", f"{state}: TF_ENABLE_ONEDNN_OPTS={facts.onednn_setting} in the environment")
    flags = [flag for flag in ONEDNN_FLAGS if flag in facts.processor_flags]
    if on:
        why = f"this processor has {flags[0]}" if flags else "the default of TensorFlow on this system"
    elif facts.system == "Linux" and facts.processor_flags and not flags:
        why = "this processor has no VNNI, BF16 or AMX instructions"
    else:
        why = "the default of TensorFlow on this system"
    other = f"TF_ENABLE_ONEDNN_OPTS={int(not on)} switches it {'off' if on else 'on'}"
    return Answer(name, "ok", f"{state}: {why}; {other}")


def cores(facts: Facts) -> Answer:
    """The lessons' minutes hold for two."""
    if facts.cores < 2:
        return Answer("cores", "note", "1; the minutes that the lessons state are those of 2: allow twice as many")
    return Answer("cores", "ok", f"{facts.cores}")


def memory(facts: Facts) -> Answer:
    """Enough for a training of the recipe classic."""
    if facts.memory is None:
        return Answer("memory", "note", f"unknown; a training takes {gigabytes(MEMORY_CIFAR10)}")
    free = gigabytes(facts.memory) + (" free" if facts.system == "Linux" else " in all")
    if facts.memory < MEMORY_SHAPES10:
        return Answer("memory", "stop", f"{free}; a training takes {gigabytes(MEMORY_SHAPES10)} on the built-in data: "
                      "close other programs")  # fmt: skip
    if facts.memory < MEMORY_CIFAR10:
        return Answer("memory", "note", f"{free}; a training on CIFAR-10 takes {gigabytes(MEMORY_CIFAR10)}: close "
                      "other programs, or take the built-in data, --data shapes10")  # fmt: skip
    return Answer("memory", "ok", free)


def gpu(facts: Facts) -> Answer:
    """A GPU is welcome; every minute in the documents is that of a processor."""
    gpus = facts.packages.get("gpus", [])
    if gpus:
        return Answer("GPU", "ok", ", ".join(gpus))
    if not facts.driver:
        return Answer("GPU", "ok", "none; the processor does the work, and the lessons are timed on one")
    if facts.system == "Windows":
        return Answer("GPU", "note", "TensorFlow uses no GPU on Windows itself; it does in WSL2. The processor works")
    if "gpus" not in facts.packages:
        return Answer("GPU", "ok", "NVIDIA's driver is there; make setup installs what TensorFlow needs for it")
    return Answer("GPU", "note", "NVIDIA's driver is there and TensorFlow finds no GPU: see what nvidia-smi says, "
                  "delete .venv/.ready and make setup again. Until then the processor works")  # fmt: skip


def data(facts: Facts) -> Answer:
    """CIFAR-10: official, a known copy, altered, or absent; damaged files stop a training."""
    found = facts.packages.get("data")
    if found is None:
        there = "files are there, checked once make setup is done" if facts.data_files else "CIFAR-10 is not in data/"
        return Answer("data", "ok", f"{there}; shapes10 is built in")
    if "problem" in found:
        return Answer("data", "stop", f"{found['problem']}. Or train with --data shapes10")
    if not found["folder"]:
        return Answer("data", "note", "CIFAR-10 is absent: the first training fetches it (170 MB), and without a "
                      "network it uses shapes10, which is built in")  # fmt: skip
    where = f"CIFAR-10 in {found['folder']}"
    if not found["origin"]:
        return Answer("data", "ok", f"{where}, the official files")
    what = {
        "altered": "altered since it was fetched: delete that folder, and the next training fetches it again",
        "unverified": "complete, of unknown origin: every figure says `unverified`; without that folder the next "
        "training fetches the official files",
    }.get(found["origin"], f"a {found['origin']}, not the official files: every figure says so")
    return Answer("data", "note", f"{where}: {what}")


def disk(facts: Facts) -> Answer:
    """Room for what is still to be installed and for runs, and the right to write."""
    free = f"{gigabytes(facts.disk)} free"
    if not facts.writable:
        return Answer("disk", "stop", f"{free}, and this folder is read-only: copy the project to one of your own")
    if "missing" in facts.packages and facts.disk < DISK_SETUP:
        return Answer("disk", "stop", f"{free}; make setup takes {gigabytes(DISK_SETUP)}: delete something, or move "
                      "the project to another disk")  # fmt: skip
    if facts.disk < DISK_RUN:
        return Answer("disk", "stop", f"{free}; a run takes up to {gigabytes(DISK_RUN)}: delete old folders of runs/")
    if facts.disk < 20 * DISK_RUN:
        runs = int(facts.disk / DISK_RUN)
        return Answer("disk", "note", f"{free}: room for some {runs} runs; delete old ones of runs/")
    return Answer("disk", "ok", free)


def browser(facts: Facts) -> Answer:
    """For report.html, and for the tests of that page."""
    tests = "its tests run" if facts.test_browser else "its tests are skipped (they need Chromium and chromedriver)"
    if facts.browser:
        return Answer("browser", "ok", f"opens report.html; {tests}")
    return Answer("browser", "note", f"none here; report.html opens on any other machine, one file; {tests}")


QUESTIONS = (python, tensorflow, onednn, cores, memory, gpu, data, disk, browser)


def verdict(answers: list[Answer]) -> str:
    """The last line."""
    stops = [answer.what for answer in answers if answer.state == "stop"]
    if stops:
        return f"Training cannot work here yet: {', '.join(stops)}."
    notes = sum(answer.state == "note" for answer in answers)
    return f"Training works here{f'; {notes} note' + 's' * (notes > 1) if notes else ''}."


def gigabytes(count: float) -> str:
    """1.6 GB."""
    return f"{count / GB:.1f} GB"


def main(args: list[str] | None = None) -> int:
    """Print the answers; returns the exit status."""
    text = __doc__.split("\n", maxsplit=1)
    argparse.ArgumentParser(
        "doctor.py", description=text[0], epilog=text[1], formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(args)
    facts = measured()
    answers = [question(facts) for question in QUESTIONS]
    width = max(len(answer.what) for answer in answers)
    lines = [f"  {answer.state:4}  {answer.what:{width}}  {answer.sentence}" for answer in answers]
    if hasattr(sys.stdout, "reconfigure"):  # a folder's letters that the terminal does not know
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print("\n".join([*lines, "", verdict(answers)]), flush=True)
    except OSError as error:  # closed, as by `| head -1`, or on a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more on its way out
        print(f"doctor.py: standard output: {error.strerror}", file=sys.stderr)
        return 1
    return 1 if any(answer.state == "stop" for answer in answers) else 0


if __name__ == "__main__":
    sys.exit(main())
