"""Stories: consistent characters, sentences true once names are resolved, nothing told without the context."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, SHAPES, Config, facts
from sensorium.lab.world.guards import balanced
from sensorium.lab.world.lang import true_of
from sensorium.lab.world.lang.names import name_number, name_word
from sensorium.lab.world.talk.stories import posts, read_alt, stories

CROWDED = Config(cells=3, fewest=0, most=4, distinct=False)


@pytest.mark.parametrize("config", [Config(), CROWDED], ids=["plain", "crowded"])
def test_every_sentence_is_true_of_its_picture_once_names_are_known(config: Config) -> None:
    made = stories(facts(0, 60, config))
    for i in range(60):
        for s, world in enumerate(made.worlds):
            if world.n[i]:
                assert true_of(made.resolved(i, s), world.rows([i]), "en")[0]
                told = {slot for slot, _ in made.states[i][s]}
                assert all((name in made.texts[i][s]) == (slot in told) for slot, name in enumerate(made.names[i]))


def test_characters_keep_their_looks_and_change_their_places() -> None:
    made = stories(facts(0, 200), steps=5)
    for world in made.worlds[1:]:
        for name in ("colour", "shape", "size", "n", "name"):
            assert np.array_equal(getattr(world, name), getattr(made.worlds[0], name))
    assert (made.worlds[1].row != made.worlds[2].row).any(1).mean() > 0.5


def test_later_sentences_name_no_colour_and_no_shape() -> None:
    made = stories(facts(0, 100))
    words = set(COLOURS) | set(SHAPES)
    for texts in made.texts:
        assert words & set(texts[0].rstrip(".").split()) and not any(
            words & set(text.rstrip(".").split()) for text in texts[1:]
        )


def test_a_story_tells_more_than_its_last_sentence() -> None:
    world = facts(0, 300)
    made = stories(world)
    whole = [true_of(f"{made.resolved(i, 0)} {made.resolved(i, 3)}", made.worlds[3], "en").sum() for i in range(40)]
    last = [300] * 40  # names and places alone: any scene with an object there may be meant
    assert np.mean(whole) < 0.1 * np.mean(last)


def test_characters_have_names_of_their_own() -> None:
    made = stories(facts(1, 200))
    for names in made.names:
        assert len(set(names)) == len(names) and all(name_number(name) >= 0 for name in names)


def test_any_chunk_has_the_same_stories_and_posts() -> None:
    world = facts(2, 40)
    part = world.rows(slice(10, 20))
    whole, cut = stories(world, seed=3), stories(part, seed=3)
    assert whole.texts[10:20] == cut.texts and whole.names[10:20] == cut.names and whole.states[10:20] == cut.states
    assert posts(world, 3).texts[10:20] == posts(part, 3).texts and posts(world, 3).alt[10:20] == posts(part, 3).alt


def test_posts_give_the_name_and_pictures_the_rest() -> None:
    world = facts(0, 400)
    made = posts(world)
    for i, (text, alt, slot) in enumerate(zip(made.texts, made.alt, made.slot.tolist(), strict=True)):
        name, shape, colour = (
            name_word(int(world.name[i, slot])),
            SHAPES[world.shape[i, slot]],
            COLOURS[world.colour[i, slot]],
        )
        assert f"{shape} {name}" in text and colour not in text.split() and "at the" not in text
        assert read_alt(alt)[:2] == (world.name[i, slot], f"{colour} {shape}")
        assert true_of(alt.partition(", ")[2].replace(",", " is"), world.rows([i]), "en")[0]
    assert balanced(made.slot[world.n == 2].tolist(), 2).ok
    crowded = posts(facts(0, 200, CROWDED))
    assert "" in crowded.texts and all(
        (text == "") == (slot < 0) for text, slot in zip(crowded.texts, crowded.slot, strict=True)
    )


def test_alternative_texts_that_say_less_are_read_as_far_as_they_go() -> None:
    assert (
        read_alt("Baba") == (0, "", "")
        and read_alt("") == (-1, "", "")
        and read_alt("x, a red circle") == (-1, "red circle", "")
    )


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(SensoriumError, match="1 steps in a grid of 2 cells a side"):
        stories(facts(0, 1), steps=1)
    with pytest.raises(SensoriumError, match="step 4; expected 0 to 3"):
        stories(facts(0, 1)).resolved(0, 4)
