"""Clips: pure in (seed, part, clip), balanced, apart from each other, and never trained on what is kept for test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import SensoriumError
from sensorium.lab.world.clip.changes import states
from sensorium.lab.world.clip.timeline import DIRECTIONS, KINDS, OF_EVENTS, THREE, Clips, Config, clips
from sensorium.lab.world.guards import balanced

LARGE = Config(replace(THREE, cells=5, fewest=4, most=5), frames=16, events=3, reach=3)


def same(a: Clips, b: Clips) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in OF_EVENTS) and all(
        np.array_equal(getattr(a.cast, name), getattr(b.cast, name)) for name in ("row", "col", "shape", "colour", "n")
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.sampled_from([Config(), LARGE]), st.sampled_from(["train", "test"]), st.integers(0, 30))
def test_any_chunk_equals_the_same_rows_of_a_larger_world(seed: int, config: Config, part: str, start: int) -> None:
    whole = clips(seed, 40, config, part=part)
    assert same(clips(seed, 10, config, start, part), whole.rows(slice(start, start + 10)))
    assert not same(clips(seed + 1, 40, config, part=part), whole)


@pytest.mark.parametrize("config", [Config(), LARGE])
def test_no_two_objects_ever_share_a_cell_in_any_two_frames(config: Config) -> None:
    world = clips(0, 300, config)
    now = states(world)
    where = np.where(now.there, now.row.astype(int) * config.scene.cells + now.col, -1)
    for i in range(len(world)):
        used = [set(where[i, :, k]) - {-1} for k in range(where.shape[2])]
        assert sum(map(len, used)) == len(set().union(*used)) and max(map(max, filter(None, used))) < 25


def test_events_come_one_at_a_time_with_a_still_frame_before_each() -> None:
    for world in (clips(1, 500), clips(1, 500, LARGE)):
        assert world.begin.min() >= 1 and world.end.max() <= world.config.frames
        assert (world.begin[:, 1:] >= world.end[:, :-1] + 1).all()
        assert all(len(set(row)) == len(row) for row in world.actor.tolist())
        frames = np.arange(world.config.frames)
        changed = ((frames >= world.begin[:, :, None]) & (frames < world.end[:, :, None])).any(1)[:, 1:]
        now = states(world)
        every = np.stack([now.there, now.row, now.col, now.colour], -1)
        assert np.array_equal((every[:, 1:] != every[:, :-1]).any((2, 3)), changed)


def test_kinds_and_directions_are_balanced() -> None:
    world = clips(0, 5000)
    for e in range(2):
        assert balanced(world.kind[:, e].tolist(), len(KINDS)).ok
    assert balanced([tuple(row) for row in world.kind.tolist()], len(KINDS) ** 2).ok
    for kind in ("move", "collide"):
        assert balanced(world.value[world.kind == KINDS.index(kind)].tolist(), len(DIRECTIONS)).ok


def test_held_sequences_are_shown_in_test_only_and_hold_each_kind_equally_often() -> None:
    config = Config(held=0.4)
    train, test = ({tuple(r) for r in clips(0, 2000, config, part=p).kind.tolist()} for p in ("train", "test"))
    assert len(train) == 15 and len(test) == 10 and not train & test
    for place in range(2):
        assert np.bincount([row[place] for row in test]).tolist() == [2] * 5


def test_a_collision_ends_where_it_began_beside_nobody_it_did_not_hit() -> None:
    world = clips(0, 2000)
    now = states(world)
    n, e = np.nonzero(world.kind == KINDS.index("collide"))
    a, b, t = world.actor[n, e], world.other[n, e], world.begin[n, e]
    gap = [
        abs(now.row[n, t + s, a] - now.row[n, t, b]) + abs(now.col[n, t + s, a] - now.col[n, t, b]) for s in (-1, 0, 1)
    ]
    assert [set(g.tolist()) for g in gap] == [{2}, {1}, {2}] and len(n) > 100
    assert not (world.actor[n] == b[:, None]).any()


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"kinds": ("jump",)}, "kind of event 'jump'; expected one of"),
        ({"kinds": ("mvoe",)}, "did you mean 'move'"),
        ({"kinds": ()}, "expected one or more"),
        ({"null": "orders"}, "did you mean 'order'"),
        ({"events": 3}, "events 3 with 3 to 3 objects .* expected 1 to 2"),
        ({"frames": 5}, "frames 5 .* expected 6 to 256"),
        ({"reach": 3}, "reach 3"),
        ({"held": 0.95}, "held 0.95"),
        ({"scene": replace(THREE, colours=4)}, "4 colours for 3 objects"),
        ({"scene": replace(THREE, null="colour")}, "expected no null"),
        ({"scene": replace(THREE, cells=2), "reach": 1}, "cells used"),
    ],
)
def test_impossible_dials_are_refused_in_one_line(dials: dict[str, object], message: str) -> None:
    with pytest.raises(SensoriumError, match=message) as error:
        Config(**dials)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_unknown_parts_and_counts_are_refused() -> None:
    with pytest.raises(SensoriumError, match="did you mean 'train'"):
        clips(0, 1, part="trian")
    with pytest.raises(SensoriumError, match="-1 clips"):
        clips(0, -1)
    assert len(clips(0, 0)) == 0
