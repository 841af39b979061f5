"""The exact checker of clips: frames, rendered or generated, back to events. Fixed rules, nothing learned.

Each frame is read as a scene; a shape is followed through the frames, since a clip holds each shape once. A change of
place, colour or presence between two frames is an event. Shape legend: N clips, T frames, S shapes, E events told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError, derive

from .. import reader
from ..facts import Facts
from ..reader import Rate
from ..scene import Style
from .changes import shown
from .film import FLAT, SIZE, film
from .timeline import CLIP, KINDS, STEPS, Clips, Config, clips

MOVE, APPEAR, VANISH, RECOLOUR, COLLIDE = range(len(KINDS))


class Event(NamedTuple):
    """What was seen. `kind` -1: a change that no event makes; `other` is the shape that is hit."""

    begin: int
    end: int
    kind: int
    shape: int
    colour: int
    value: int = -1
    other: int = -1


@dataclass(frozen=True, eq=False)
class Film:
    """What the frames show of each shape, int8 [N T S], and what follows from it."""

    there: np.ndarray
    """1, 0, or -1 where the frame was unsure, or showed the shape twice."""
    row: np.ndarray
    col: np.ndarray
    colour: np.ndarray
    events: list[tuple[Event, ...]]
    """Of each clip, in the order of time."""

    def __len__(self) -> int:
        return len(self.events)


def read(films: np.ndarray, config: Config = CLIP, style: Style = FLAT) -> Film:
    """uint8 [N T 3 H W] -> what happens in the clips.

    Raises:
        SensoriumError: not uint8 [N T 3 H W], or frames that the scene reader refuses.
    """
    if films.ndim != 5 or films.dtype != np.uint8:
        raise SensoriumError(f"clips {films.dtype} {list(films.shape)}; expected uint8 [N T 3 H W]")
    n, t = films.shape[:2]
    scene = replace(config.scene, fewest=0)
    found = reader.read(films.reshape(n * t, *films.shape[2:]), scene, style)
    tracks = [_track(found, s).reshape(n, t, 4) for s in range(config.scene.shapes)]
    there, row, col, colour = np.stack(tracks, 2).transpose(3, 0, 1, 2)
    unclear = ((found.shape < 0) & found.real()).any(1).reshape(n, t)
    there = np.where(unclear[:, :, None] & (there == 0), -1, there)
    events = [_events(*(a[i] for a in (there, row, col, colour))) for i in range(n)]
    return Film(there, row, col, colour, events)


def _track(found: Facts, shape: int) -> np.ndarray:
    """int8 [N T, 4]: whether a shape is there, and its row, column and colour."""
    same = found.shape == shape
    at, count = same.argmax(1), same.sum(1)
    values = [np.where(count == 1, a[np.arange(len(at)), at], -1) for a in (found.row, found.col, found.colour)]
    return np.stack([np.where(count > 1, -1, count), *values], 1).astype(np.int8)


def _events(there: np.ndarray, row: np.ndarray, col: np.ndarray, colour: np.ndarray) -> tuple[Event, ...]:
    """[T S] each -> the events of one clip. Frames in which a shape is unsure are skipped over."""
    out: list[Event] = []
    for s in range(there.shape[1]):
        sure = np.flatnonzero((there[:, s] >= 0) & ((there[:, s] == 0) | (colour[:, s] >= 0)))
        place = [(int(row[t, s]), int(col[t, s])) for t in sure]
        run: list[int] = []
        for a in range(1, len(sure)):
            now, then = int(sure[a]), int(sure[a - 1])
            was, came = there[then, s], there[now, s]
            if was != came:
                hue = int(colour[now if came else then, s])
                out.append(Event(now, now + 1, APPEAR if came else VANISH, s, hue))
            elif came and colour[now, s] != colour[then, s]:
                out.append(Event(now, now + 1, RECOLOUR, s, int(colour[then, s]), int(colour[now, s])))
            if was and came and place[a] != place[a - 1]:
                run.append(a)
            elif run:
                out.append(_moved(run, sure, place, s, there, row, col, colour))
                run = []
        if run:
            out.append(_moved(run, sure, place, s, there, row, col, colour))
    return tuple(sorted(out))


def _moved(
    run: list[int],
    sure: np.ndarray,
    place: list[tuple[int, int]],
    shape: int,
    there: np.ndarray,
    row: np.ndarray,
    col: np.ndarray,
    colour: np.ndarray,
) -> Event:
    """A stretch of frames in each of which a shape changes place: straight on, or out to a neighbour and back."""
    first, last = run[0], run[-1]
    steps = [(place[a][0] - place[a - 1][0], place[a][1] - place[a - 1][1]) for a in run]
    begin, end, hue = int(sure[first]), int(sure[last]) + 1, int(colour[sure[first - 1], shape])
    ways = [_direction(step) for step in steps]
    if ways[0] >= 0 and len(set(ways)) == 1:
        return Event(begin, end, MOVE, shape, hue, ways[0])
    half = len(run) // 2
    if ways[0] >= 0 and ways == [ways[0]] * half + [ways[0] ^ 1] * half:
        t, step = int(sure[run[half - 1]]), STEPS[ways[0]]
        beside = (row[t] == row[t, shape] + step[0]) & (col[t] == col[t, shape] + step[1]) & (there[t] == 1)
        if beside.any():
            return Event(begin, end, COLLIDE, shape, hue, ways[0], int(beside.argmax()))
    return Event(begin, end, -1, shape, hue)


def _direction(step: tuple[int, int]) -> int:
    """-1 for a step along both axes; several cells at once are still a direction."""
    if (step[0] == 0) == (step[1] == 0):
        return -1
    return int((np.sign(step) == STEPS).all(1).argmax())


@dataclass(frozen=True, eq=False)
class Check:
    """Told events against what was read."""

    there: np.ndarray
    """bool [N E]: the actor does something of that kind."""
    right: np.ndarray
    """bool [N E]: and the same: who, to whom or which way, to which colour."""
    when: np.ndarray
    """int16 [N E]: frames by which it begins late (negative: early); 0 where it was not found."""
    order: np.ndarray
    """bool [N]: all were found, in the order told."""
    extra: np.ndarray
    """int64 [N]: events that were not told."""

    def all_right(self) -> np.ndarray:
        """bool [N]: each told event is right, in order, and there is no other."""
        return np.asarray(self.right.all(1) & self.order & (self.extra == 0))


def check(found: Film, world: Clips) -> Check:
    """What `read` found against what is told. In a null world, pass `shown(world)`."""
    if len(found) != len(world):
        raise SensoriumError(f"{len(found)} clips read, {len(world)} told; expected as many of each")
    there, right = (np.zeros(world.kind.shape, bool) for _ in range(2))
    when = np.zeros(world.kind.shape, np.int16)
    order, extra = np.zeros(len(world), bool), np.zeros(len(world), np.int64)
    for i, told in enumerate(expected(world)):
        seen, begins = list(found.events[i]), []
        for e, event in enumerate(told):
            same = [got for got in seen if (got.kind, got.shape) == (event.kind, event.shape)]
            best = min(same, key=lambda got: (got[3:] != event[3:], abs(got.begin - event.begin)), default=None)
            if best is not None:
                seen.remove(best)
                there[i, e], right[i, e], when[i, e] = True, best[3:] == event[3:], best.begin - event.begin
                begins.append(best.begin)
        order[i] = len(begins) == len(told) and begins == sorted(begins) and len(set(begins)) == len(begins)
        extra[i] = len(seen)
    return Check(there, right, when, order, extra)


def expected(world: Clips) -> list[tuple[Event, ...]]:
    """The events of each clip in the words of the reader."""
    shape, colour = world.cast.shape.astype(np.int64), world.cast.colour.astype(np.int64)
    actor, other = world.actor.astype(np.int64), np.maximum(world.other, 0).astype(np.int64)
    hit = np.where(world.other >= 0, np.take_along_axis(shape, other, 1), -1)
    who = np.take_along_axis(shape, actor, 1), np.take_along_axis(colour, actor, 1)
    table = np.stack([world.begin, world.end, world.kind, *who, world.value, hit], 2).tolist()
    return [tuple(Event(*event) for event in events) for events in table]


def reader_error(
    config: Config = CLIP, style: Style = FLAT, n: int = 200, seed: int = 0, size: int = SIZE
) -> dict[str, Rate]:
    """The reader's own error on true renders: the figure that stands beside each score it gives.

    `event`: told events not found (unsure) or found with another value (wrong); `extra`: per clip, events not told;
    `order`: clips whose events came out of order (wrong) or incomplete (unsure).
    """
    world = clips(derive("clip reader", seed), n, config)
    told = shown(world)
    found = check(read(film(world, size, style), config, style), told)
    n = max(1, n)
    complete = found.there.all(1)
    return {
        "event": Rate(float((found.there & ~found.right).mean()), float((~found.there).mean())),
        "extra": Rate(float(found.extra.sum() / n), 0.0),
        "order": Rate(float((complete & ~found.order).mean()), float((~complete).mean())),
    }
