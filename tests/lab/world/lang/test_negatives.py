"""Negatives are false and differ in one fact, synonyms are true and differ in a word; nothing gives either away."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, Config, combinations, facts
from sensorium.lab.world.lang import NEGATIVES, TAGS, caption, inverse, negative, read, row_by_row, synonym, tokens

RICH = Config(sizes=("small", "large"), textures=("plain", "striped", "dotted"), grounds=("white", "grey", "black"))
CROWDED = replace(RICH, cells=3, fewest=0, most=4, colours=3, shapes=2, distinct=False)
CASES = [("short", f) for f in ("colour", "shape", "binding", "relation")] + [("count", "count")]
CASES += [("long", f) for f in NEGATIVES if f not in ("relation", "count")]


@pytest.mark.parametrize("language", TAGS)
@pytest.mark.parametrize(("form", "factor"), CASES)
@pytest.mark.parametrize("config", [RICH, CROWDED], ids=["distinct", "crowded"])
def test_negatives_are_false_and_name_what_changed(form: str, factor: str, language: str, config: Config) -> None:
    world = facts(1, 40, config)
    true = caption(world, form, language, 2)
    texts, changes = negative(world, factor, form, language, 2)
    rows = [row for row, change in enumerate(changes) if change]
    assert len(rows) == 40 or config is CROWDED
    assert not row_by_row([texts[row] for row in rows], world.rows(rows), language).any()
    assert all(texts[row] == "" for row in range(40) if row not in rows)
    for row in rows:
        change = changes[row]
        assert change is not None and change.factor == factor and len(change.new) == (2 if factor == "binding" else 1)
        assert [texts[row][start:end] for start, end in change.spans] == list(change.new)
        assert all(old in true[row] and old != new for old, new in zip(change.old, change.new, strict=True))


@pytest.mark.parametrize("factor", ["colour", "shape", "binding", "relation"])
def test_english_negatives_keep_every_other_word_and_the_order(factor: str) -> None:
    world = facts(3, 200)
    texts, changes = negative(world, factor)
    for true, text, change in zip(caption(world), texts, changes, strict=True):
        assert change is not None
        a, b = ([t.text for t in tokens(x) if t.text not in ("a", "an")] for x in (true, text))
        assert len(a) == len(b)
        assert sum(x != y for x, y in zip(a, b, strict=True)) == len(change.new)


def test_binding_negatives_are_the_captions_of_the_twin_scene() -> None:
    world = facts(0, 100, Config(most=2))
    swapped = world.colour[:, ::-1].copy()
    assert negative(world, "binding", seed=4)[0] == caption(replace(world, colour=swapped), seed=4)


def test_the_text_alone_does_not_tell_a_negative() -> None:
    """Word counts of true and false captions agree, and no caption has a colour twice where the world has none."""
    world = facts(0, 2500)
    for factor in ("colour", "shape", "binding", "relation"):
        counts = [
            Counter(w for text in texts for w in text.split()) for texts in (caption(world), negative(world, factor)[0])
        ]
        for word in counts[0]:
            assert abs(counts[0][word] - counts[1][word]) < 0.1 * counts[0][word] + 60, (factor, word)
    for text in negative(world, "colour", "list")[0]:
        colours = [m.colour for m in read(text).mentions]
        assert len(set(colours)) == len(colours)


def test_negatives_write_no_combination_that_the_part_never_draws() -> None:
    config = Config(held=0.3, fewest=2)
    world = facts(0, 300, config)
    possible = combinations(config, "train") > 0
    for factor in ("colour", "shape", "binding"):
        texts, changes = negative(world, factor)
        said = [m for text in texts for m in read(text).mentions]
        assert len(said) > 100 and all(possible[m.colour, m.shape] for m in said)
        assert any(change is None for change in changes) or factor != "binding"


def test_replaced_colours_come_from_the_scene_and_from_outside_it() -> None:
    world = facts(0, 400)
    _, changes = negative(world, "colour")
    new = np.array([COLOURS.index(change.new[0]) for change in changes if change])
    inside = (world.colour == new[:, None]).any(1)
    assert 0.02 < inside.mean() < 0.5


@pytest.mark.parametrize("language", TAGS)
@pytest.mark.parametrize("form", ["short", "list", "long"])
def test_synonyms_stay_true_and_change_one_word(form: str, language: str) -> None:
    world = facts(5, 80, RICH)
    true = caption(world, form, language)
    texts, changes = synonym(world, form, language)
    assert row_by_row(texts, world, language).all()
    assert {change.factor for change in changes if change} >= {"colour", "shape"}
    for before, text, change in zip(true, texts, changes, strict=True):
        if change is None:
            assert text == before
            continue
        ((start, end),) = change.spans
        assert text != before and text[start:end] == change.new[0] and change.old[0] in before


def test_relations_have_synonyms_too() -> None:
    world = facts(5, 300)
    texts, changes = synonym(world)
    found = {change.new[0] for change in changes if change and change.factor == "relation"}
    assert found == {"to the left of", "to the right of", "over", "under"}
    assert row_by_row(texts, world).all()


@pytest.mark.parametrize("language", TAGS)
def test_the_inverse_tells_the_same_from_the_other_side(language: str) -> None:
    world = facts(6, 60, Config(fewest=1))
    before, after = caption(world, "short", language), inverse(world, language)
    assert row_by_row(after, world, language).all()
    for scene, (a, b) in enumerate(zip(before, after, strict=True)):
        one, two = read(a, language), read(b, language)
        if world.n[scene] == 1:
            assert a == b
            continue
        assert [(m.colour, m.shape) for m in one.mentions] == [(m.colour, m.shape) for m in two.mentions][::-1]
        assert two.relations[0][1] == one.relations[0][1] ^ 1


def test_impossible_negatives_are_refused() -> None:
    world = facts(0, 5)
    with pytest.raises(SensoriumError, match="negative 'color'; did you mean 'colour'"):
        negative(world, "color")
    with pytest.raises(SensoriumError, match="no 'short' caption of these 5 scenes has a false twin in 'size'"):
        negative(world, "size")
