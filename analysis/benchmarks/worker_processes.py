"""A script in several worker processes on this machine, which find each other by $TF_CONFIG."""

import contextlib
import os
import subprocess
import sys
import tempfile

from analysis.benchmarks.processes import PROJECT
from core.run import launch
from core.run.errors import RunError


def run_workers(count: int, script, *arguments) -> str:
    """Run the script in `count` processes to their end; what the first one printed. Raises RunError if one fails.

    All are ended when one has failed: the others would wait for it. One process by itself gets no $TF_CONFIG.
    """
    addresses = [f"127.0.0.1:{port}" for port in launch.free_ports(count)]
    with contextlib.ExitStack() as stack:
        printed = [stack.enter_context(tempfile.TemporaryFile("w+", errors="replace")) for _ in addresses]
        errors = [stack.enter_context(tempfile.TemporaryFile("w+", errors="replace")) for _ in addresses]
        processes = []
        for index, (out, err) in enumerate(zip(printed, errors)):
            environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
            environment |= {"TF_CONFIG": launch.tf_config(addresses, index)} if count > 1 else {}
            processes.append(subprocess.Popen(
                [sys.executable, *map(str, (script, *arguments))], cwd=PROJECT, env=environment,
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            ))  # fmt: skip
            stack.callback(end, processes[-1])
        failed = launch.first_failure(processes)
        launch.end_all(processes)
        if failed is not None:
            errors[failed].seek(0)
            lines = errors[failed].read().strip().splitlines() or [f"exit status {processes[failed].returncode}"]
            raise RunError(f"{script}, worker {failed} of {count}, failed: {lines[-1]}")
        printed[0].seek(0)
        return printed[0].read()


def end(process) -> None:
    """SIGKILL, if it still runs, as after Ctrl-C: one that waits for others ignores SIGTERM."""
    if process.poll() is None:
        process.kill()
    process.wait()
