"""The one error a person sees: one line, what was given, what was expected, the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SensoriumError(Exception):
    """Bad input. The command line prints the message as one line and exits with 2."""


def nearest(given: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?` or, with nothing close, `; expected one of a, b, c`. Empty for no names."""
    names = sorted(set(valid))
    if close := get_close_matches(given, names, n=1, cutoff=0.5):
        return f"; did you mean {close[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"; expected one of {shown}"
