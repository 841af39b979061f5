"""Endings in order: SIGTERM and Ctrl-C wait for the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """What the signal `number` (SIGTERM, Ctrl-C) ended in order; a command's exit code is then 128 + number."""

    def __init__(self, line: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(line)
        self.number = int(number)


@contextmanager
def deferred() -> Iterator[Callable[[], int]]:
    """While open, SIGTERM and the first Ctrl-C are noted; the callable gives the number of the first, else 0.

    The second Ctrl-C interrupts at once. In a thread, which no signal reaches, nothing is noted.
    """
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in noted:
            raise KeyboardInterrupt
        noted.append(number)

    with _handling(note, signal.SIGTERM, signal.SIGINT):
        yield lambda: noted[0] if noted else 0


@contextmanager
def terminable() -> Iterator[None]:
    """While open, SIGTERM unwinds as Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Stopped("", number)

    with _handling(end, signal.SIGTERM):
        yield


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals, but for those that this process was told to ignore."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {n: h for n in numbers if (h := signal.getsignal(n)) not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
