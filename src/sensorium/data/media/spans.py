"""Which characters of a text name each box. Offsets count characters of the text as it was given."""

from __future__ import annotations

import unicodedata

from sensorium.data.limits import Refused

Spans = list[list[list[int]]]
"""Per box the stretches [start, end) of characters that name it."""
SPANS = 1000
"""Stretches of one text."""


def load(value: object, text: str) -> Spans:
    """[[start, end], …], one per box, or per box a list of them -> the same as lists of lists, in characters of the NFC
    text without white space at its ends, which is what is stored of `text`.

    Raises:
        Refused: no list, not two whole numbers each, or a stretch that does not lie within the text.
    """
    if not isinstance(value, list):
        raise Refused(f"not a list of spans but a {type(value).__name__}")
    boxes = [_parts(box) for box in value]
    if (count := sum(map(len, boxes))) > SPANS:
        raise Refused(f"{count:,} spans, limit {SPANS:,}")
    return [[_stored(*_pair(part, k, text), text) for part in parts] for k, parts in enumerate(boxes, 1)]


def _parts(box: object) -> list[object]:
    """The stretches of a box; a single one may stand alone."""
    return box if isinstance(box, list) and all(isinstance(part, list) for part in box) else [box]


def _pair(part: object, k: int, text: str) -> tuple[int, int]:
    if not isinstance(part, list) or len(part) != 2 or not all(type(at) is int for at in part):
        raise Refused(f"span {k} is {str(part)[:40]}; expected [start, end) as two whole numbers")
    start, end = part
    if not 0 <= start < end <= len(text):
        raise Refused(f"span {k} is [{start}, {end}); the text has {len(text)} characters")
    return start, end


def _stored(start: int, end: int, text: str) -> list[int]:
    """Characters of a raw text -> of what is stored of it: one that composes with what stands before it begins there,
    white space that was stripped is nowhere."""
    whole = unicodedata.normalize("NFC", text)
    if whole != text:
        start, end = min(_before(start, text), _before(start + 1, text) - 1), _before(end, text)
    gone, kept = len(whole) - len(whole.lstrip()), len(whole.strip())
    return [min(max(at - gone, 0), kept) for at in (start, end)]


def _before(at: int, text: str) -> int:
    """Characters of the NFC text that the first `at` make."""
    return len(unicodedata.normalize("NFC", text[:at]))
