"""Guards pass on sound worlds and fail on broken ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world import guards
from sensorium.lab.world.facts import GROUNDS, NULLS, RELATIONS, SHAPES, SIZES, TEXTURES, Config, facts
from sensorium.lab.world.guards import balanced, blind, headroom, held_out, null
from sensorium.lab.world.operators import twin


def test_a_blind_baseline_is_at_chance_on_a_sound_world() -> None:
    world = facts(0, 6000)
    shape, colour = world.shape[:, 0].tolist(), world.colour[:, 0].tolist()
    questions = [f"what shape is the {c} one" for c in colour]
    for seen in (None, questions):
        guard = blind(seen, shape)
        assert guard.ok and "no better than 0.167" in guard.sentence


def test_a_blind_baseline_finds_what_the_question_gives_away() -> None:
    world = facts(0, 4000)
    shape = world.shape[:, 0].tolist()
    leak = [s if i % 8 == 0 else -1 for i, s in enumerate(shape)]
    assert not blind(leak, shape).ok and blind(shape, shape).sentence.startswith("without the picture 1.000 of 2000")
    skewed = facts(0, 4000, Config(skew=1.0))
    assert not blind(None, skewed.shape[:, 0].tolist()).ok
    assert not blind(["is there", "is it not there"] * 100, ["yes", "no"] * 100).ok
    assert not blind(None, [0, 0, 0, 1] * 100).ok and blind(None, [0, 0, 0, 1] * 100, chance=0.75).ok


def test_held_out_combinations_are_found_in_training() -> None:
    config = Config(held=0.25)
    train, test = facts(0, 2000, config), facts(0, 2000, config, part="test")
    assert held_out(train, test).ok and held_out(train, test).sentence.startswith(
        "36 combinations in train, 12 in test, none"
    )
    assert not held_out(train, facts(0, 500, config)).ok and not held_out(twin(train), test).ok


def test_balance_is_what_chance_gives() -> None:
    world = facts(0, 5000)
    relation = world.relation(0, 1)
    for values, count in ((world.shape[:, 0], 6), (relation[relation >= 0], len(RELATIONS))):
        assert balanced(values.tolist(), count).ok
    assert not balanced(facts(0, 5000, Config(skew=0.5)).shape[:, 0].tolist(), len(SHAPES)).ok
    assert not balanced(["a", "b"] * 50, 3).ok and balanced(["a", "b"] * 50).ok
    with pytest.raises(SensoriumError, match="1 different labels"):
        balanced(["a"] * 4)
    with pytest.raises(SensoriumError, match="3 different labels, values 2"):
        balanced(["a", "b", "c"], 2)


def test_guards_rarely_fail_by_chance() -> None:
    rng = np.random.default_rng(0)
    failed = [not balanced(rng.integers(0, 8, 400).tolist(), 8).ok for _ in range(400)]
    failed += [not blind(None, rng.integers(0, 4, 400).tolist()).ok for _ in range(400)]
    assert sum(failed) <= 5


def test_headroom_lies_between_chance_and_ceiling() -> None:
    assert headroom([0.5, 0.6, 0.55], 0.1).ok
    assert not headroom([0.99, 1.0, 1.0], 0.1).ok and not headroom([0.11, 0.09, 0.13], 0.1).ok
    assert headroom([0.49, 0.51, 0.5], 0.1).sentence == (
        "the baseline at 0.500 ± 0.010 is between chance 0.100 and ceiling 1.000"
    )
    with pytest.raises(SensoriumError, match="1 scores"):
        headroom([0.5], 0.1)


@pytest.mark.parametrize("name", NULLS[1:])
@pytest.mark.parametrize(
    "config",
    [Config(), Config(cells=3, fewest=0, most=5, sizes=SIZES, textures=TEXTURES, grounds=GROUNDS, distinct=False)],
)
def test_null_worlds_lack_their_factor(name: str, config: Config) -> None:
    guard = null(replace(config, null=name))
    assert guard.ok and guard.sentence.startswith(f"null world {name!r}")


def test_a_null_world_that_shows_its_factor_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not null(Config()).ok
    monkeypatch.setattr(guards, "shown", lambda world: world)
    for name in NULLS[1:]:
        assert not null(Config(null=name)).ok
