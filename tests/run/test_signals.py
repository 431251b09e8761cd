import os
import signal
import subprocess
import sys

import pytest
from runner import PROJECT

from core.run.signals import StopRequest


def send(number: int) -> None:
    """The signal, to this process; Python runs the handler before the next line."""
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_the_first_signal_is_a_request(number, name):
    with StopRequest() as stop:
        assert stop.signal is None and stop.asked(1) is None
        send(number)
        assert stop.signal == stop.asked(1) == stop.asked(2) == name


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_ctrl_c_after_it_ends_at_once(first):
    with pytest.raises(KeyboardInterrupt), StopRequest():
        send(first)
        send(signal.SIGINT)


def test_a_second_sigterm_changes_nothing():
    with StopRequest() as stop:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert stop.signal == "SIGTERM"


def test_the_handlers_from_before_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) != before[0]
    with pytest.raises(ValueError, match="body"), StopRequest():
        raise ValueError("body")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("while_importing", [True, False])
def test_ctrl_c_before_the_first_step_is_one_line(while_importing):
    """The signal comes during TensorFlow's import, which hides standard error, or after it."""
    code = (
        "import os, signal, threading\n"
        "from core.run import signals\n"
        "signals.exit_quietly_on_interrupt('train_loop.py')\n"
        "from core.devices import standard_error_hidden\n"
        "interrupt = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        + ("with standard_error_hidden(): import numpy; interrupt()\n" if while_importing else "interrupt()\n")
        + "threading.Event().wait(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == "train_loop.py: stopped before the first step"
