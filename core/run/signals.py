"""Ctrl-C and SIGTERM: the loop stops between two steps."""

import os
import signal


class StopRequest:
    """Inside `with StopRequest() as stop`, the first signal sets stop.signal; a second Ctrl-C ends at once.

    The handler only stores the name of the signal. The loop stops after the current step, so that what is saved
    is the state after a whole step.
    """

    def __init__(self):
        self.signal: str | None = None  # "Ctrl-C" or "SIGTERM" once one has come

    def __enter__(self):
        self.before = {s: signal.signal(s, self.note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def asked(self, step: int) -> str | None:
        """The signal to stop at after this step, if one has come."""
        return self.signal

    def note(self, number, frame):
        """The signal handler."""
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"


def exit_quietly_on_interrupt(script: str, what: str = "stopped before the first step") -> None:
    """Until another handler takes over, Ctrl-C ends the process with one line: no step has been taken yet."""

    terminal = os.dup(2)  # standard error is hidden while TensorFlow is imported

    def leave(number, frame):
        os.write(terminal, f"\n{script}: {what}\n".encode())
        os._exit(130)  # at once: the interrupted code may be TensorFlow's start-up, which would print a traceback

    signal.signal(signal.SIGINT, leave)
