"""Each measurement runs in a process of its own: its compiled functions, caches and settings end with it."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from core.run.errors import RunError

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finished:
    """A process that has ended well."""

    printed: str
    seconds: float  # from start to end
    memory_mb: float  # the most memory it had


def run_python(script, *arguments, quiet: bool = False) -> Finished:
    """Run a script of this project to its end. Raises RunError if it fails.

    quiet: standard error is kept back, and its last line becomes the message of the error.
    """
    command = [sys.executable, *map(str, (script, *arguments))]
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=errors if quiet else None, text=True
        )
        with process.stdout as pipe:
            printed = pipe.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            lines = errors.read().strip().splitlines() if quiet else ["its own message is above"]
            reason = lines[-1] if lines else f"exit status {process.returncode} without a message"
            raise RunError(f"{Path(script).name} failed: {reason}")
    return Finished(printed, time.perf_counter() - began, usage.ru_maxrss / 1024)
