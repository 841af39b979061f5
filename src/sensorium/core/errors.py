"""The one error a person sees: one line, what was given, what was expected, the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


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


def choice(what: str, name: str, among: Mapping[str, T]) -> T:
    """What a setting names.

    Raises:
        SensoriumError: an unknown name, with the nearest.
    """
    if name not in among:
        raise SensoriumError(f"{what} {name!r}{nearest(name, among)}")
    return among[name]
