import os
import signal

import pytest

from core.run.signals import StopRequest


def send(number: int) -> None:
    """The signal, to this process; Python runs the handler before the next line."""
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_the_first_signal_is_a_wish(number, name):
    with StopRequest() as stop:
        assert stop.signal is None
        send(number)
        assert stop.signal == name


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
