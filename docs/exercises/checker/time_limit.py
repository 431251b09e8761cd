"""An endless loop in the learner's file, found from a second thread that reports its line and ends the process."""

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

CPU_SECONDS = 1.5  # of this process; a busy machine does not count against the learner
WALL_SECONDS = 20  # for a file that waits, with time.sleep
SLOWER = 60  # times as long where TensorFlow has to start


@contextlib.contextmanager
def time_limit(path: Path, say, slow: bool = False):
    """While this is open, more than CPU_SECONDS of computing end the process: `say(sentence)`, exit status 1.

    path: the learner's file, whose line is named. slow: the exercise starts TensorFlow.
    """
    over, factor = threading.Event(), SLOWER if slow else 1
    main, cpu, wall = threading.main_thread().ident, time.process_time(), time.monotonic()

    def watch():
        while not over.wait(0.05):
            busy = time.process_time() - cpu > CPU_SECONDS * factor
            if busy or time.monotonic() - wall > WALL_SECONDS * (factor if slow else 1):
                try:
                    say(sentence(line_of(path, sys._current_frames().get(main)), CPU_SECONDS * factor if busy else 0))
                    sys.__stdout__.flush()
                finally:  # whatever happens to the report: a loop does not go on
                    os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def line_of(path: Path, frame) -> int | None:
    """The line of the learner's file that runs now; None when it is somewhere else."""
    while frame is not None:
        if frame.f_code.co_filename == str(path):
            return frame.f_lineno
        frame = frame.f_back
    return None


def sentence(line: int | None, computed: float) -> str:
    """What the learner reads. computed: the seconds of computing after which it was stopped; 0 for a file that waits.

    A loop that never ends and a right answer on large arrays look the same from here.
    """
    where = f"at line {line}" if line else "in the check"
    if computed:
        return (f"Your file was not done after {computed:g} seconds of computing; it was stopped {where}. Does a loop "
                "there ever stop? If it only takes long: with smaller arrays it does not.")  # fmt: skip
    return f"Your file waits for something {where}, and was stopped."
