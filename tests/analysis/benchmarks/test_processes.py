"""Processes: what they print, take and say when they fail."""

import re
import subprocess
import sys

import pytest
from runner import PROJECT

from analysis.benchmarks.processes import run_python
from core.run.errors import RunError


def test_a_process_is_timed_and_its_memory_measured(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys, time\ndata = b'1' * 50_000_000\ntime.sleep(0.2)\nprint(sys.argv[1])\n")
    # In a small process: the memory of a child includes that of the process that it was forked from.
    code = f"from analysis.benchmarks.processes import run_python; print(run_python({str(script)!r}, 7))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    printed, seconds, memory_mb = re.fullmatch(
        r"Finished\(printed='(.*)', seconds=(.*), memory_mb=(.*)\)\n", done.stdout
    ).groups()
    assert printed == "7\\n" and float(seconds) > 0.2 and 50 < float(memory_mb) < 300


@pytest.mark.parametrize("quiet", [True, False])
def test_a_failure_is_one_line(tmp_path, quiet, capfd):
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint('first', file=sys.stderr)\nsys.exit('the reason')\n")
    with pytest.raises(RunError, match="the reason" if quiet else "above") as error:
        run_python(script, quiet=quiet)
    assert "\n" not in str(error.value) and str(error.value).startswith("script.py failed: ")
    assert ("the reason" in capfd.readouterr().err) != quiet


def test_a_killed_process_has_failed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os\nos.kill(os.getpid(), 9)\n")
    with pytest.raises(RunError, match="exit status -9 without a message"):
        run_python(script, quiet=True)
