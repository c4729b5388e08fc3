"""Signals end work between two pieces of it, and who sends them twice loses nothing."""

import os
import signal

import pytest

from diffkit.run import stop
from diffkit.run.stop import stop_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_twice_at_once_is_noted_and_nothing_is_torn(number):
    with stop_signals() as stopped:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert stopped == [number, number]


def test_a_second_ctrl_c_a_while_later_ends_at_once_but_no_other_signal(monkeypatch):
    monkeypatch.setattr(stop, "AGAIN", -1.0)
    with stop_signals() as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert len(stopped) == 2
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
