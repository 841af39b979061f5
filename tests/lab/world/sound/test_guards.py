"""Guards of sounds."""

from __future__ import annotations

import pytest

from sensorium.lab.world.sound.events import NULLS, Config, sounds
from sensorium.lab.world.sound.guards import held_out, null


@pytest.mark.parametrize("name", NULLS[1:])
def test_a_null_world_has_its_factor_by_chance_only(name: str) -> None:
    guard = null(Config(null=name))
    assert guard.ok and name in guard.sentence


def test_a_world_without_null_is_none() -> None:
    assert not null(Config()).ok


def test_held_pairs_are_found() -> None:
    config = Config(held=0.34)
    train, test = sounds(0, 500, config), sounds(0, 500, config, part="test")
    assert held_out(train, test).ok and not held_out(train, sounds(0, 100, config)).ok
