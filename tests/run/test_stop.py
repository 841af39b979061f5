"""Signals: noted while a loop defers them, else a KeyboardInterrupt with a code; handlers come back."""

from __future__ import annotations

import os
import pickle
import signal
import threading

import pytest

from sensorium.run.stop import Stopped, deferred, terminable


def told(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted(number: int) -> None:
    before = signal.getsignal(number)
    with deferred() as asked:
        assert asked() == 0
        told(number)
        assert asked() == number
    assert signal.getsignal(number) is before


def test_the_second_interrupt_is_at_once_and_a_second_sigterm_is_not() -> None:
    with pytest.raises(KeyboardInterrupt), deferred() as asked:
        for _ in range(3):
            told(signal.SIGTERM)
        assert asked() == signal.SIGTERM
        told(signal.SIGINT)
        assert asked() == signal.SIGTERM
        told(signal.SIGINT)


def test_what_the_process_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred() as asked:
            told(signal.SIGINT)
            assert asked() == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_sigterm_unwinds_as_an_interrupt_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as stopped, terminable():
        told(signal.SIGTERM)
        signal.pause()
    assert stopped.value.number == signal.SIGTERM  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGTERM) is before


def test_threads_defer_nothing() -> None:
    seen: list[int] = []

    def work() -> None:
        with deferred() as asked, terminable():
            seen.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0]


def test_a_stop_survives_the_way_from_a_worker() -> None:
    back = pickle.loads(pickle.dumps(Stopped("stopped after step 3 of 9", signal.SIGTERM)))
    assert str(back) == "stopped after step 3 of 9" and back.number == 15
