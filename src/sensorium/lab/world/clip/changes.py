"""Clips in each frame, and changed clips: other orders, backwards, turned; what a null world shows.

Shape legend: N clips, T frames, K object slots, E events.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from sensorium.core import SensoriumError, derive

from ..facts import Facts, uniform
from .timeline import KINDS, MOST_FRAMES, OF_EVENTS, STEPS, Clips, duration, sample


@dataclass(frozen=True, eq=False)
class States:
    """Each object in each frame, [N T K]: whether it is there, and its row, column and colour (int8, -1 where not)."""

    there: np.ndarray
    row: np.ndarray
    col: np.ndarray
    colour: np.ndarray


def states(world: Clips) -> States:
    """The trajectories of the clips as they are (a null world's are `shown` first)."""
    cast, frames = world.cast, world.config.frames
    size = (len(world), frames, cast.row.shape[1])
    row, col, colour = (np.broadcast_to(a[:, None], size).astype(np.int64) for a in (cast.row, cast.col, cast.colour))
    there = np.broadcast_to(cast.real()[:, None], size).copy()
    n, t = np.arange(len(world)), np.arange(frames)
    for e in range(world.kind.shape[1]):
        kind, k, value = world.kind[:, e, None], world.actor[:, e].astype(np.int64), world.value[:, e].astype(np.int64)
        since = t - world.begin[:, e, None].astype(np.int64) + 1
        far = world.distance[:, e, None].astype(np.int64)
        back = np.where(kind == KINDS.index("collide"), 2 * far - since, far)
        gone = np.clip(np.minimum(since, back), 0, far)
        step = STEPS[np.where(world.distance[:, e] > 0, value, 0)]
        row[n, :, k] += gone * step[:, :1]
        col[n, :, k] += gone * step[:, 1:]
        there[n, :, k] &= np.where(kind == KINDS.index("appear"), since > 0, True)
        there[n, :, k] &= np.where(kind == KINDS.index("vanish"), since <= 0, True)
        turned = (kind == KINDS.index("recolour")) & (since > 0)
        colour[n, :, k] = np.where(turned, value[:, None], colour[n, :, k])
    return States(there, *(np.where(there, a, -1).astype(np.int8) for a in (row, col, colour)))


def shown(world: Clips) -> Clips:
    """What the frames show: the clips, but for the null world's factor, which is then independent of what is told.

    order: the events in an order drawn anew; direction: the whole clip turned and mirrored; pair: an unrelated clip.
    """
    null, plain = world.config.null, replace(world, config=replace(world.config, null=""))
    purpose = (world.cast.seed, world.cast.part, "clip null", null)
    if null == "order":
        return reordered(plain, uniform(world.index, world.kind.shape[1], *purpose).argsort(1))
    if null == "direction":
        return turned(plain, (uniform(world.index, 1, *purpose)[:, 0] * 8).astype(np.int64))
    if null == "pair":
        other = sample(derive(world.cast.seed, "clip null"), world.index, plain.config, world.cast.part)
        return replace(other, cast=replace(other.cast, seed=world.cast.seed))
    return world


def reordered(world: Clips, order: np.ndarray) -> Clips:
    """The same events in another order, [N E] event numbers; the still stretches around them stay."""
    gaps = world.begin - np.concatenate([np.zeros((len(world), 1), np.int16), world.end[:, :-1]], 1)
    new = _picked(world, order)
    length = duration(new.kind, new.distance)
    return replace(new, begin=(np.cumsum(gaps, 1) + np.cumsum(length, 1) - length).astype(np.int16))


def _picked(world: Clips, order: np.ndarray) -> Clips:
    """The columns of events in another order, [N E]; their times go with them."""
    new: dict[str, Any] = {name: np.take_along_axis(getattr(world, name), order, 1) for name in OF_EVENTS}
    return replace(world, **new)


def swapped(world: Clips, a: int = 0, b: int = 1) -> Clips:
    """Order twins: events a and b change places, so that the bag of events is the same."""
    events = world.kind.shape[1]
    if not 0 <= min(a, b) < max(a, b) < events:
        raise SensoriumError(f"events {a} and {b} of {events}; expected two different ones from 0 to {events - 1}")
    order = np.arange(events)
    order[[a, b]] = b, a
    return reordered(world, np.broadcast_to(order, world.kind.shape))


def backwards(world: Clips) -> Clips:
    """The clips played backwards: the same frames, each move the other way, appearing for vanishing, colours undone."""
    last = states(world)
    n, events = np.arange(len(world)), world.kind.shape[1]
    row, col, colour = (a.copy() for a in (world.cast.row, world.cast.col, world.cast.colour))
    value = world.value.copy()
    for e in range(events):
        k, kind = world.actor[:, e], world.kind[:, e]
        moved, turned_ = kind == KINDS.index("move"), kind == KINDS.index("recolour")
        value[turned_, e] = colour[n[turned_], k[turned_]]
        value[moved, e] ^= 1
        for now, then, rows in ((row, last.row, moved), (col, last.col, moved), (colour, last.colour, turned_)):
            now[n[rows], k[rows]] = then[n[rows], -1, k[rows]]
    mirror = np.arange(len(KINDS), dtype=np.int8)
    mirror[[KINDS.index("appear"), KINDS.index("vanish")]] = KINDS.index("vanish"), KINDS.index("appear")
    begin = (world.config.frames - world.end + 1).astype(np.int16)
    cast = replace(world.cast, row=row, col=col, colour=colour)
    turned_back = replace(world, cast=cast, kind=mirror[world.kind], value=value, begin=begin)
    return _picked(turned_back, np.broadcast_to(np.arange(events)[::-1], value.shape))


def turned(world: Clips, way: int | np.ndarray) -> Clips:
    """The clips turned and mirrored, in one of 8 ways (one, or [N]); what does not move is told alike.

    Bit 0 swaps left and right, bit 1 up and down, bit 2 then rows and columns.
    """
    way = np.broadcast_to(np.asarray(way, np.int64), len(world))[:, None]
    across, down, flip = way & 1, way >> 1 & 1, way >> 2 & 1
    last = world.config.scene.cells - 1
    row, col = world.cast.row.astype(np.int64), world.cast.col.astype(np.int64)
    row, col = np.where(down, last - row, row), np.where(across, last - col, col)
    row, col = np.where(flip, col, row), np.where(flip, row, col)
    real = world.cast.real()
    cast = replace(world.cast, row=np.where(real, row, -1).astype(np.int8), col=np.where(real, col, -1).astype(np.int8))
    mirrored = world.value ^ np.where(world.value < 2, across, down)
    new = np.where(world.distance > 0, mirrored ^ np.where(flip, 2, 0), world.value).astype(np.int8)
    return replace(world, cast=cast, value=new)


def frames(world: Clips) -> tuple[Facts, np.ndarray]:
    """Facts of N T scenes, one per frame, and int8 [N T, K]: the slot of the clip that each of their objects is."""
    now, cast, (n, t) = states(world), world.cast, (len(world), world.config.frames)
    order = np.argsort(~now.there, axis=2, kind="stable")

    def packed(values: np.ndarray) -> np.ndarray:
        values = np.where(now.there, values, -1)
        return np.take_along_axis(values, order, 2).reshape(n * t, order.shape[2]).astype(values.dtype)

    def per_frame(name: str) -> np.ndarray:
        return np.broadcast_to(getattr(cast, name)[:, None], now.there.shape)

    same = {name: packed(per_frame(name)) for name in ("shape", "size", "texture", "name")}
    made = Facts(
        **same,
        **{field.name: packed(getattr(now, field.name)) for field in fields(States) if field.name != "there"},
        ground=np.repeat(cast.ground, t),
        n=now.there.sum(2).reshape(-1).astype(np.int8),
        config=replace(cast.config, fewest=0),
        seed=cast.seed,
        index=np.repeat(cast.index * MOST_FRAMES, t) + np.tile(np.arange(t), n),
        part=cast.part,
    )
    return made, packed(np.broadcast_to(np.arange(now.there.shape[2], dtype=np.int8), now.there.shape))
