"""Numbers over time: sensor series and skeletons, from nested lists or arrays, checked number by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.data.limits import Limits, Refused, Seen

ROOM = 32
"""Bytes that a number takes in a Python list: a reference and a float."""
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Series:
    """`values` float32 [T C]: T steps of C channels."""

    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Pose:
    """`joints` float32 [T J D]: T frames of J joints in D dimensions."""

    joints: np.ndarray


def check(value: object, limits: Limits) -> Seen:
    """A series, as `load` reads it."""
    try:
        steps, channels = load(value, limits).values.shape
    except Refused as reason:
        return Seen(str(reason))
    return Seen(about=f"{_count(steps, 'step')}, {_count(channels, 'channel')}")


def check_pose(value: object, limits: Limits, joints: int = 0, dims: int = 3) -> Seen:
    """A skeleton, as `load_pose` reads it."""
    try:
        frames, found, _ = load_pose(value, limits, joints, dims).joints.shape
    except Refused as reason:
        return Seen(str(reason))
    return Seen(about=f"{_count(frames, 'frame')}, {_count(found, 'joint')}")


def load(value: object, limits: Limits) -> Series:
    """[channels][time], or [time] of one channel -> values [T C].

    Raises:
        Refused: empty, ragged, or not all finite numbers; names the first bad entry.
    """
    numbers = _numbers(value, limits)
    if numbers.ndim > 2:
        raise Refused(f"nested {numbers.ndim} deep; expected [channels][time] or [time]")
    return Series(np.ascontiguousarray(np.atleast_2d(numbers).T))


def load_pose(value: object, limits: Limits, joints: int = 0, dims: int = 3) -> Pose:
    """[frames][joints][dims], [frames][joints * dims], or flat with `joints` given -> joints [T J D].

    Raises:
        Refused: empty, ragged, not all finite numbers (names the first bad entry), or numbers that fill no whole frame.
    """
    if joints < 0 or dims < 1:
        raise Refused(f"{joints} joints in {dims} dimensions")
    numbers = _numbers(value, limits)
    if numbers.ndim == 1:
        numbers = _frames(numbers, joints * dims)
    if numbers.ndim == 2:
        if numbers.shape[1] % dims:
            raise Refused(f"{numbers.shape[1]} numbers a frame; expected a multiple of {dims}")
        numbers = numbers.reshape(len(numbers), -1, dims)
    if numbers.shape[2] != dims or joints not in (0, numbers.shape[1]):
        raise Refused(f"shape {list(numbers.shape)}; expected [frames, {joints or 'joints'}, {dims}]")
    return Pose(numbers)


def _frames(flat: np.ndarray, width: int) -> np.ndarray:
    if not width:
        raise Refused(f"flat list of {flat.size:,} numbers; the number of joints is needed to cut it into frames")
    if flat.size % width:
        raise Refused(f"{flat.size:,} numbers; expected a multiple of {width}, one frame")
    return flat.reshape(-1, width)


def _numbers(value: object, limits: Limits) -> np.ndarray:
    """Nested lists, tuples or arrays, one to three deep -> float32 of that shape, without recursion."""
    if not _is_list(value):
        raise Refused(f"not a list of numbers but a {type(value).__name__}")
    shape: list[int] = []
    level: list[Any] = [value]
    while level and _is_list(level[0]):
        if len(shape) == 3:
            raise Refused("lists nested more than 3 deep")
        _equal_lengths(level, shape, limits.bytes // ROOM)
        shape.append(len(level[0]))
        level = [entry for entries in level for entry in entries]
    if not level:
        raise Refused("empty")
    bad = next((k for k, entry in enumerate(level) if not _is_number(entry)), None)
    if bad is not None:
        entry = level[bad]
        what = f"{entry:g}" if isinstance(entry, (float, np.floating)) else f"a {type(entry).__name__}"
        raise Refused(f"{_index(bad, shape)} is {what}; expected a finite number")
    return np.array(level, np.float32).reshape(shape)


def _equal_lengths(level: list[Any], shape: list[int], most: int) -> None:
    length, total = len(level[0]), 0
    for k, entries in enumerate(level):
        if not _is_list(entries):
            raise Refused(f"{_index(k, shape)} is a {type(entries).__name__}; expected a list, as the one before it")
        if len(entries) != length:
            raise Refused(f"{_index(k, shape)} has {len(entries):,} entries; expected {length:,}, as the first")
        total += length
        if total > most:
            raise Refused(f"more than {most:,} numbers")


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _is_number(entry: object) -> bool:
    """A number that float32 holds as a finite one; True and False are none."""
    number = isinstance(entry, (int, float, np.integer, np.floating)) and not isinstance(entry, bool)
    return number and bool(-_LARGEST <= entry <= _LARGEST)  # type: ignore[operator]


def _index(k: int, shape: Sequence[int]) -> str:
    """ "[2][5]", of the k-th entry in that shape."""
    return "".join(f"[{i}]" for i in np.unravel_index(k, shape)) if shape else "the value"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"
