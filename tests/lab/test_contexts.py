"""Contexts: what they tell is what their picture shows, and no last turn tells it alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.contexts import contexts
from sensorium.lab.sets import RECIPES, scenes
from sensorium.lab.world.facts import COLOURS, SHAPES, Config, facts
from sensorium.lab.world.lang import read
from sensorium.lab.world.lang.english import ENGLISH

ONE = Config(fewest=1, most=1)
N = 60


def test_the_last_told_facts_are_those_of_the_scene() -> None:
    told = contexts(facts(0, N, ONE))
    for k, text in enumerate(told.whole):
        world = told.world
        place = ENGLISH.place(int(world.row[k, 0]), int(world.col[k, 0]), 2)
        assert COLOURS[world.colour[k, 0]] in text and SHAPES[world.shape[k, 0]] in text
        others = {ENGLISH.place(r, c, 2) for r in (0, 1) for c in (0, 1)} - {place}
        assert text.rfind(place) > max(text.rfind(other) for other in others)


def test_stories_and_dialogues_take_turns_and_end_in_the_last_turn() -> None:
    told = contexts(facts(0, N, ONE))
    assert ["user:" in text for text in told.whole] == [False, True] * (N // 2)
    assert all(
        text.endswith(last) and len(last) < len(text) / 2 for text, last in zip(told.whole, told.last, strict=True)
    )


def test_a_last_turn_tells_less_than_the_caption_does() -> None:
    told = contexts(facts(0, N, ONE))
    for last, caption in zip(told.last, told.caption, strict=True):
        (whole,) = read(caption).mentions
        assert min(whole.shape, whole.colour, whole.row, whole.col) >= 0
        assert not any(m.shape >= 0 and m.colour >= 0 for m in read(last).mentions)


def test_stories_move_what_they_tell_of_and_dialogues_do_not() -> None:
    world = facts(0, N, ONE)
    told = contexts(world).world
    moved = (told.row != world.row) | (told.col != world.col)
    assert moved[::2, 0].any() and not moved[1::2].any()
    for field in ("shape", "colour", "n"):
        np.testing.assert_array_equal(getattr(told, field), getattr(world, field))


def test_rows_of_the_set_are_the_contexts_with_the_pictures_at_their_ends() -> None:
    recipes = [RECIPES[f"world/{name}"] for name in ("contexts", "last-turns")]
    whole, last = (scenes(recipe, "train", N) for recipe in recipes)
    told = contexts(facts(0, N, recipes[0].config))
    assert (whole["text"], last["text"]) == (told.whole, told.last)
    assert whole["image"] == last["image"] and whole["caption"] == last["caption"] == told.caption
    assert len(set(whole["scene"])) == N > len(set(told.caption))


def test_scenes_of_several_objects_are_refused() -> None:
    with pytest.raises(SensoriumError, match="scenes of 2 to 3 objects; expected one each"):
        contexts(facts(0, N, dataclasses.replace(ONE, fewest=2, most=3)))
