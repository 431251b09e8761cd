"""Running the scripts as a user does: a process, its exit status, what it printed."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def command(script: str, *args) -> list[str]:
    """The command line of a script of this project."""
    return [sys.executable, str(PROJECT / script), *map(str, args)]


def run(script: str, *args, status: int = 0, stdin: str = "") -> subprocess.CompletedProcess:
    """Run it to its end; the exit status must be `status`, and no traceback may show."""
    done = subprocess.run(command(script, *args), capture_output=True, text=True, input=stdin, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, done.stdout + done.stderr
    return done


def train(runs_dir, name: str, *args, **expected) -> subprocess.CompletedProcess:
    """A small compiled run on the built-in data: the debug network, 20 steps an epoch."""
    return run(
        "train_loop.py", "--recipe", "debug", "--no-eager", "--data", "shapes10", "--batch-size", 500,
        "--runs-dir", runs_dir, "--run", name, *args, **expected,
    )  # fmt: skip
