"""Indicators: counted by hand, noisy as asked, with the best R2 there can be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, SHAPES, facts
from sensorium.lab.world.reader import read
from sensorium.lab.world.record.indicators import TILE, ceiling, exact, indicators, report
from sensorium.lab.world.scene import Style, render


def test_every_indicator_counted_by_hand() -> None:
    world = facts(0, 100, TILE)
    for row, found in enumerate(exact(world).tolist()):
        things = [
            (COLOURS[world.colour[row, k]], SHAPES[world.shape[row, k]], int(world.col[row, k]))
            for k in range(world.n[row])
        ]
        green = sum(c in ("green", "cyan") for c, _, _ in things)
        roads = sum(s in ("cross", "square") for _, s, _ in things)
        side = sum(1 if col < 2 else -1 for _, _, col in things)
        assert found == [len(things), green, roads, side]
        assert report(world)[row].startswith(f"{len(things)} objects, {green} of them green or cyan, {roads} crosses")


def test_the_picture_tells_them_all() -> None:
    world = facts(0, 30, TILE)
    seen = read(render(world, 64, Style(noise=0)), TILE, Style(noise=0))
    assert np.array_equal(exact(seen), exact(world))


def test_noise_and_its_ceiling() -> None:
    world = facts(0, 6000, TILE)
    told, true = indicators(world, 0.8), exact(world)
    assert np.abs((told - true).std(0) - 0.8).max() < 0.03
    r2 = 1 - ((told - true) ** 2).mean(0) / told.var(0)
    assert np.abs(r2 - ceiling(world, 0.8)).max() < 0.02
    assert np.array_equal(indicators(world, 0), true)
    assert np.array_equal(indicators(facts(0, 10, TILE, start=40)), indicators(world)[40:50])


def test_a_null_world_shows_others() -> None:
    world = facts(0, 3000, replace(TILE, null="pair"))
    plain = exact(replace(world, config=TILE))
    assert np.abs([np.corrcoef(exact(world)[:, i], plain[:, i])[0, 1] for i in range(4)]).max() < 0.08


def test_impossible_noise_is_refused() -> None:
    with pytest.raises(SensoriumError, match="noise of indicators -1"):
        indicators(facts(0, 1, TILE), -1)
