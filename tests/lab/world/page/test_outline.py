"""Several scenes and people per document, by number alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import INDIVIDUALS, Config, facts
from sensorium.lab.world.guards import balanced
from sensorium.lab.world.lang.names import name_number
from sensorium.lab.world.operators import edit
from sensorium.lab.world.page.outline import edited, names, people, several


def test_the_first_scene_is_given_and_the_others_are_new_and_of_the_part() -> None:
    world = facts(0, 40, Config(held=0.25), part="test")
    first, second, third = several(world, 3)
    assert first is world and (second.part, third.part) == ("test", "test")
    for other in (second, third):
        assert (other.colour != world.colour).any(1).mean() > 0.9
    assert not np.array_equal(second.colour, third.colour)


def test_any_chunk_has_the_same_scenes_and_people() -> None:
    world = facts(0, 40)
    part = world.rows(slice(10, 20))
    for whole, cut in zip(several(world, 4, 7), several(part, 4, 7), strict=True):
        assert np.array_equal(whole.shape[10:20], cut.shape) and np.array_equal(whole.row[10:20], cut.row)
    assert names(part, 3, 7, "x") == names(world, 3, 7, "x")[10:20] and names(world, 3, 7, "y") != names(
        world, 3, 7, "x"
    )


def test_people_are_different_and_equally_likely() -> None:
    found = people(facts(0, 4000), 4, 0, "who")
    assert (
        (np.sort(found, 1)[:, 1:] > np.sort(found, 1)[:, :-1]).all() and found.min() >= 0 and found.max() < INDIVIDUALS
    )
    for column in found.T:
        assert balanced((column // 100).tolist(), 10).ok
    assert balanced((found[:, 3] > found[:, 2]).tolist(), 2).ok
    everyone = people(facts(0, 3), INDIVIDUALS, 0)
    assert all(Counter(row) == Counter(range(INDIVIDUALS)) for row in everyone.tolist())
    assert name_number(names(facts(0, 1), 2, 0)[0][1]) >= 0


def test_too_many_scenes_are_refused() -> None:
    with pytest.raises(SensoriumError, match="0 scenes of a document; expected 1 to 64"):
        several(facts(0, 1), 0)


def test_edits_are_those_of_the_operator_where_it_has_any() -> None:
    world = facts(0, 60)
    slot = np.arange(60) % 2
    same, done = edited(world, slot, "colour", 3)
    assert done.all() and np.array_equal(same.colour, edit(world, slot, "colour", 3)[0].colour)
    few = facts(0, 60, Config(held=0.25), part="test")
    changed, done = edited(few, slot, "colour", 3)
    assert 0 < done.sum() < 60 and np.array_equal((changed.colour != few.colour).any(1), done)
    part, some = edited(few.rows(slice(20, 40)), slot[20:40], "colour", 3)
    assert np.array_equal(part.colour, changed.colour[20:40]) and np.array_equal(some, done[20:40])
