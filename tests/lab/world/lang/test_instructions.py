"""Orders: the answer is the one right one, and false premises point at nothing."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, SHAPES, Config, facts
from sensorium.lab.world.lang import LANGUAGES, TAGS, caption, implicit, instructions, point, read, row_by_row
from sensorium.lab.world.lang.instructions import HINTS, KINDS

WORLD = facts(1, 120)


@pytest.mark.parametrize("language", TAGS)
def test_orders_point_at_the_object_that_they_name(language: str) -> None:
    asked = point(WORLD, language, false=0.4)
    for text, scene, slot in zip(asked.text, asked.scene.tolist(), asked.slot.tolist(), strict=True):
        ((mention),) = read(text, language).mentions
        here = (WORLD.colour[scene] == mention.colour) & (WORLD.shape[scene] == mention.shape)
        assert np.flatnonzero(here).tolist() == ([slot] if slot >= 0 else [])
    assert 0.25 < (asked.slot < 0).mean() < 0.55
    assert (point(WORLD, language).slot >= 0).all()


def test_orders_take_the_definite_in_the_case_of_the_verb() -> None:
    texts = {tag: " ".join(point(WORLD, tag).text) for tag in TAGS}
    assert "point to the " in texts["en"] and "zeige auf den " in texts["de"] and "zeige auf das " in texts["de"]
    assert "montre l'étoile " in texts["fr"] and "osoita punaista " in texts["fi"] and "красную звезду" in texts["ru"]


def test_implicit_orders_hint_at_one_colour_and_one_shape() -> None:
    asked = implicit(WORLD, false=0.3)
    for text, scene, slot in zip(asked.text, asked.scene.tolist(), asked.slot.tolist(), strict=True):
        assert not {*COLOURS, *SHAPES} & set(text.rstrip(".").split())
        (colour,) = [at for at, hint in enumerate(HINTS["colour"]) if text.endswith(f"the colour of {hint}.")]
        (shape,) = [at for at, hint in enumerate(HINTS["shape"]) if text.startswith(f"point to what {hint} and is")]
        here = (WORLD.colour[scene] == colour) & (WORLD.shape[scene] == shape)
        assert np.flatnonzero(here).tolist() == ([slot] if slot >= 0 else [])
    assert (len(HINTS["colour"]), len(HINTS["shape"])) == (len(COLOURS), len(SHAPES))


def test_lists_go_row_by_row_from_the_left() -> None:
    asked = instructions(WORLD, ("shapes", "colours", "count"))
    for kind, answer, scene in zip(asked.kind, asked.answer, asked.scene.tolist(), strict=True):
        n = int(WORLD.n[scene])
        order = sorted(range(n), key=lambda k: (WORLD.row[scene, k], WORLD.col[scene, k]))
        names = [SHAPES[WORLD.shape[scene, k]] for k in order]
        if kind == "colours":
            names = [COLOURS[WORLD.colour[scene, k]] for k in order]
        assert answer == (("two", "three")[n - 2] if kind == "count" else ", ".join(names))


def test_translations_are_the_parallel_caption() -> None:
    asked = instructions(WORLD, ("translate",))
    used = set()
    for text, answer, scene in zip(asked.text, asked.answer, asked.scene.tolist(), strict=True):
        name, _, source = text.removeprefix("translate into ").partition(": ")
        tag = next(language.tag for language in LANGUAGES if language.name == name)
        assert source == caption(WORLD)[scene]
        assert answer == caption(WORLD, "short", tag)[scene]
        used.add(tag)
    assert used == set(TAGS) - {"en"}


def test_corrections_turn_a_false_list_into_the_true_one() -> None:
    asked = instructions(WORLD, ("correct",))
    wrong = [text.removeprefix("correct the colour: ") for text in asked.text]
    assert not row_by_row(wrong, WORLD.rows(asked.scene), "en").any()
    assert row_by_row(asked.answer, WORLD.rows(asked.scene), "en").all()


def test_every_kind_is_asked_by_default_also_of_empty_scenes() -> None:
    world = facts(0, 40, Config(fewest=0, most=2))
    asked = instructions(world)
    assert set(asked.kind) == set(KINDS)
    empty = {
        answer
        for answer, kind, scene in zip(asked.answer, asked.kind, asked.scene, strict=True)
        if world.n[scene] == 0 and kind in ("shapes", "count")
    }
    assert empty == {"nothing", "zero"}
    assert len(instructions(facts(0, 0)).text) == 0


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(SensoriumError, match="instruction kind 'shape'; did you mean 'shapes'"):
        instructions(WORLD, ("shape",))
