"""Stopping by a signal, between two steps."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN = 1.0
"""Seconds after which a signal is another one."""


class Stopped(Exception):
    """Work that a signal ended between two pieces of it; the text says where, and ``number`` is the signal's."""

    def __init__(self, number: int, where: str) -> None:
        super().__init__(where)
        self.number = number


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM instead of raising, so that a step is never torn.

    A SIGINT some time after the first signal ends at once. Others change nothing: who signals a launcher and all that
    it has started makes the launcher signal them again.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    first = 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not received:
            first = time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - first > AGAIN:
            signal.default_int_handler(number, frame)
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
