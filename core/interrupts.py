"""Ctrl-C and SIGTERM as a wish that the loop grants between two steps."""

import signal


class StopRequest:
    """Inside `with StopRequest() as stop`, the first signal sets stop.signal; a second Ctrl-C ends at once.

    The handler only notes the wish: a step is never cut in half, so what is saved is a state
    the run really was in.
    """

    def __init__(self):
        self.signal: str | None = None  # "Ctrl-C" or "SIGTERM" once one has come

    def __enter__(self):
        self.before = {s: signal.signal(s, self.note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number, frame):
        """The signal handler."""
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
