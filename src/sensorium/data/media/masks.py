"""Masks of objects, run by run: what COCO calls uncompressed and compressed RLE, checked before a pixel is made.

Runs count pixels column by column from the upper left corner, of ground and object in turn, ground first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sensorium.data.limits import Refused

MASKS = 1000
"""Masks of one picture."""
SIDE = 1 << 14
"""Pixels of a side."""


class Runs(NamedTuple):
    """A mask: height and width in pixels, and its runs."""

    height: int
    width: int
    counts: list[int]


def load(value: object) -> list[Runs]:
    """[{"size": [height, width], "counts": [runs] or COCO's string}, …] -> its masks, all of one size.

    Raises:
        Refused: no such list, runs that do not fill the size, sizes that differ.
    """
    if not isinstance(value, list):
        raise Refused(f"not a list of masks but a {type(value).__name__}")
    if len(value) > MASKS:
        raise Refused(f"{len(value):,} masks, limit {MASKS:,}")
    found = [_runs(one, k) for k, one in enumerate(value, 1)]
    if len({one[:2] for one in found}) > 1:
        raise Refused("masks of different sizes; expected those of one picture")
    return found


def stored(found: list[Runs]) -> list[dict[str, list[int]]]:
    """What `load` reads."""
    return [{"size": [one.height, one.width], "counts": one.counts} for one in found]


def runs(mask: np.ndarray) -> Runs:
    """bool [H W] -> its runs."""
    flat = np.asarray(mask, bool).T.reshape(-1)
    ends = np.flatnonzero(np.diff(flat, prepend=False))
    counts = np.diff(np.concatenate([[0], ends, [len(flat)]]))
    return Runs(mask.shape[0], mask.shape[1], counts.tolist())


def pixels(found: Runs) -> np.ndarray:
    """bool [H W]."""
    inside = np.arange(len(found.counts)) % 2 == 1
    return np.repeat(inside, found.counts).reshape(found.width, found.height).T


def _runs(one: object, k: int) -> Runs:
    if not isinstance(one, Mapping) or not {"size", "counts"} <= set(one):
        raise Refused(f"mask {k} is {str(one)[:40]}; expected size and counts (RLE)")
    size, counts = one["size"], one["counts"]
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and 0 < n <= SIDE for n in size):
        raise Refused(f"mask {k} has size {str(size)[:40]}; expected height and width from 1 to {SIDE:,} pixels")
    counts = _unpacked(counts, k) if isinstance(counts, str | bytes) else counts
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise Refused(f"mask {k} has counts {str(counts)[:40]}; expected whole numbers from 0, or COCO's string")
    if sum(counts) != size[0] * size[1]:
        raise Refused(f"mask {k}: its runs are {sum(counts):,} pixels of {size[0] * size[1]:,}")
    return Runs(size[0], size[1], counts)


def _unpacked(text: str | bytes, k: int) -> list[int]:
    """COCO's string: numbers in groups of 5 bits, low first, each a character from "0" on, 32 where more follow; from
    the fourth on the difference to the one two before."""
    codes = text.encode("ascii", "replace") if isinstance(text, str) else text
    found: list[int] = []
    value = shift = 0
    for code in codes:
        group = code - 48
        if not 0 <= group < 64 or shift > 30:
            raise Refused(f"mask {k} has counts that are no string of COCO's")
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            value -= (group & 16) and 1 << shift  # the highest bit is the sign
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value = shift = 0
    if shift:
        raise Refused(f"mask {k} has counts that end within a number")
    return found
