"""Progress with time left: one line that is redrawn on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time


class Bar:
    """Called with (what, done, total); prints lines through `say` without tearing the bar."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._what, self._start, self._last, self._width = "", 0.0, 0.0, 0
        self._first = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._start, self._last, self._first = what, now, now if not self._live else 0.0, done
        if done < total and now - self._last < (0.1 if self._live else 20.0):
            return
        self._last = now
        made = done - self._first
        left = (now - self._start) / made * (total - done) if made > 0 else None
        text = f"{what}: {done}/{total}" + (f", {_span(left)} left" if left is not None and done < total else "")
        if self._live:
            print("\r" + text.ljust(self._width), end="" if done < total else "\n", file=sys.stderr, flush=True)
            self._width = len(text)
        elif done < total:
            print(text, file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """A whole line above the bar."""
        if self._live and self._width:
            print("\r" + " " * self._width + "\r", end="", file=sys.stderr, flush=True)
        print(line, flush=True)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
