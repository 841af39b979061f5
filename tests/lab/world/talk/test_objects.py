"""Objects in words."""

from __future__ import annotations

from sensorium.lab.world.facts import facts
from sensorium.lab.world.lang import caption
from sensorium.lab.world.talk.objects import kind, listed, some


def test_an_object_is_called_as_captions_call_it() -> None:
    world = facts(0, 60)
    for i, text in enumerate(caption(world, "list")):
        assert all(some(kind(world, i, slot)) in text for slot in range(world.n[i]))


def test_lists_have_commas_and_one_and() -> None:
    assert [listed(parts) for parts in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
