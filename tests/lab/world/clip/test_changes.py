"""Changed clips: what changes and what does not, seen in the frames themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.clip.changes import backwards, frames, reordered, shown, states, swapped, turned
from sensorium.lab.world.clip.film import FLAT, film
from sensorium.lab.world.clip.timeline import KINDS, NULLS, OF_EVENTS, STEPS, Clips, Config, clips

CLEAN = replace(FLAT, noise=0)
MOVE, APPEAR, VANISH, RECOLOUR, COLLIDE = range(len(KINDS))


def same(a: Clips, b: Clips) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in OF_EVENTS)


def test_states_follow_the_events_one_by_one() -> None:
    """Each clip played by hand, frame by frame."""
    world = clips(3, 200)
    now = states(world)
    for i in range(len(world)):
        at = [(int(world.cast.row[i, k]), int(world.cast.col[i, k])) for k in range(3)]
        hue = [int(c) for c in world.cast.colour[i]]
        there = [not ((world.kind[i] == APPEAR) & (world.actor[i] == k)).any() for k in range(3)]
        for t in range(world.config.frames):
            for e in range(2):
                kind, k, value = int(world.kind[i, e]), int(world.actor[i, e]), int(world.value[i, e])
                if not world.begin[i, e] <= t < world.end[i, e]:
                    continue
                if kind in (MOVE, COLLIDE):
                    sign = -1 if kind == COLLIDE and t > world.begin[i, e] else 1
                    at[k] = (at[k][0] + sign * STEPS[value][0], at[k][1] + sign * STEPS[value][1])
                elif kind == RECOLOUR:
                    hue[k] = value
                else:
                    there[k] = kind == APPEAR
            for k in range(3):
                seen = (now.row[i, t, k], now.col[i, t, k], now.colour[i, t, k])
                assert seen == ((*at[k], hue[k]) if there[k] else (-1, -1, -1))


def test_backwards_shows_the_same_frames_in_reverse() -> None:
    world = clips(0, 200)
    assert np.array_equal(film(backwards(world), style=CLEAN), film(world, style=CLEAN)[:, ::-1])
    assert same(backwards(backwards(world)), world)


def test_swapped_events_leave_first_and_last_picture_and_exchange_the_middle() -> None:
    world = clips(0, 200)
    twin = swapped(world)
    a, b = film(world, style=CLEAN), film(twin, style=CLEAN)
    assert np.array_equal(a[:, 0], b[:, 0]) and np.array_equal(states(world).row[:, -1], states(twin).row[:, -1])
    assert (a != b).any((1, 2, 3, 4)).all()
    assert np.array_equal(twin.kind, world.kind[:, ::-1]) and same(swapped(twin), world)
    with pytest.raises(SensoriumError, match="events 0 and 2 of 2"):
        swapped(world, 0, 2)


@pytest.mark.parametrize(("way", "axes"), [(0, ""), (1, "x"), (2, "y"), (3, "xy"), (4, "t"), (7, "xyt")])
def test_turned_clips_are_turned_pictures(way: int, axes: str) -> None:
    """Of cells, since shapes stay upright: the map of which slot is where."""
    world = clips(0, 100)
    grids = [_grid(w) for w in (world, turned(world, way))]
    expected = grids[0]
    expected = expected[..., ::-1] if "x" in axes else expected
    expected = expected[..., ::-1, :] if "y" in axes else expected
    expected = expected.swapaxes(2, 3) if "t" in axes else expected
    assert np.array_equal(grids[1], expected)


def _grid(world: Clips) -> np.ndarray:
    now = states(world)
    out = np.full((*now.there.shape[:2], 3, 3), -1)
    n, t, k = np.nonzero(now.there)
    out[n, t, now.row[n, t, k], now.col[n, t, k]] = k
    return out


def test_frames_pack_the_objects_that_are_there() -> None:
    world = clips(0, 100)
    made, slot = frames(world)
    now = states(world)
    assert len(made) == 100 * 8 and np.array_equal(made.n, now.there.sum(2).ravel())
    assert np.array_equal(slot >= 0, made.real()) and len(np.unique(made.index)) == len(made)
    f, k = np.nonzero(slot >= 0)
    assert np.array_equal(made.colour[f, k], now.colour.reshape(800, 3)[f, slot[f, k]])
    assert np.array_equal(made.shape[f, k], world.cast.shape[f // 8, slot[f, k]])


@pytest.mark.parametrize("null", NULLS[1:])
def test_null_worlds_are_pure_under_chunking(null: str) -> None:
    config = Config(null=null)
    assert same(shown(clips(0, 20, config)).rows(slice(5, 9)), shown(clips(0, 4, config, start=5)))
    assert not same(shown(clips(0, 50, config)), clips(0, 50, config))


def test_reordering_keeps_the_pauses() -> None:
    world = clips(0, 100)
    order = np.broadcast_to([1, 0], (100, 2))
    twin = reordered(world, order)
    assert np.array_equal(twin.begin[:, 0], world.begin[:, 0]) and np.array_equal(twin.end[:, 1], world.end[:, 1])
    assert np.array_equal(twin.begin[:, 1] - twin.end[:, 0], world.begin[:, 1] - world.end[:, 0])
