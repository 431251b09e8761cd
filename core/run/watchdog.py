"""Ends a worker that waits in vain for the others: TensorFlow waits without a limit and lets no Python run meanwhile.

python -m core.run.watchdog PROCESS SECONDS HOST:PORT...

A process of its own, which core/run/workers.py starts and, once all are connected, ends.
"""

import contextlib
import os
import signal
import socket
import sys
import time

TELL_AFTER = 5  # seconds


def answers(address: str, seconds: float = 2) -> bool:
    """Whether something listens at host:port."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError):
        socket.create_connection((host, int(port)), seconds).close()
        return True
    return False


def watch(process: int, seconds: float, addresses: list[str]) -> None:
    """Say after TELL_AFTER seconds who is missing; after `seconds` say it again and end the process."""
    began, told = time.monotonic(), False
    while os.getppid() == process:  # it ends with the one that it watches
        time.sleep(0.2)
        waited = time.monotonic() - began
        if waited > min(TELL_AFTER, seconds) and not told:
            told = True
            say(f"waiting for {missing(addresses)}")
        if waited > seconds:
            say(
                f"train_loop.py: {missing(addresses)} did not come within {seconds:g} s; start every worker, all with "
                "the same addresses"
            )
            os.kill(process, signal.SIGKILL)
            return


def missing(addresses: list[str]) -> str:
    """The workers whose address does not answer, in words."""
    silent = [f"worker {i} at {address}" for i, address in enumerate(addresses) if not answers(address)]
    return " and ".join(silent) or "another worker"


def say(sentence: str) -> None:
    """One line on standard error."""
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the watched process, and that ends this one
    watch(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
