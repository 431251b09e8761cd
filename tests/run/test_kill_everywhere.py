"""A kill at any file operation of a run or of a resume costs nothing but time; tests/run/kill_everywhere.py does it."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("kill_everywhere.py")


def test_a_kill_at_every_eleventh_file_operation_loses_nothing():
    """All of them: `python tests/run/kill_everywhere.py`, whose count is in docs/reference/reliability.md."""
    done = subprocess.run([sys.executable, SCRIPT, "11"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    run, resume, kills, different = map(int, re.findall(r"\d+", done.stdout.splitlines()[-1]))
    assert run > 150 and resume > 100 and kills >= 25 and different == 0
