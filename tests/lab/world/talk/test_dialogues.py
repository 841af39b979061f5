"""Dialogues: answers and pronouns against the facts, pictures against what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import COLOURS, RELATIONS, SHAPES, SIZES, TEXTURES, Config, Facts, facts
from sensorium.lab.world.guards import blind
from sensorium.lab.world.lang import true_of
from sensorium.lab.world.lang.english import ENGLISH
from sensorium.lab.world.talk.dialogues import (
    ASSISTANT,
    CHAT,
    USER,
    Dialogues,
    about,
    albums,
    as_text,
    candidates,
    read,
    requests,
)
from sensorium.lab.world.talk.objects import kind

RICH = Config(cells=3, fewest=2, most=5, sizes=SIZES, textures=TEXTURES, distinct=False)


def value(made: Dialogues, i: int, picture: int, slot: int, factor: str) -> str:
    world = made.worlds[picture]
    if factor == "place":
        return ENGLISH.place(int(world.row[i, slot]), int(world.col[i, slot]), world.config.cells)
    names = {"colour": COLOURS, "shape": SHAPES, "size": SIZES, "texture": TEXTURES}[factor]
    return names[getattr(world, factor)[i, slot]]


@pytest.mark.parametrize("config", [Config(), RICH], ids=["plain", "rich"])
@pytest.mark.parametrize("talk", [about, requests, albums])
def test_turns_say_what_they_state(config: Config, talk: Callable[[Facts], Dialogues]) -> None:
    made = talk(facts(0, 120, config))
    for i, turns in enumerate(made.turns):
        for one in turns:
            for picture, slot, factor in one.states:
                assert value(made, i, picture, slot, factor) in one.text
        assert [one.speaker for one in turns] == [USER, ASSISTANT] * (len(turns) // 2)


def test_it_is_what_was_spoken_of_last() -> None:
    made = about(facts(0, 300, RICH), length=5)
    moved = 0
    for i, turns in enumerate(made.turns):
        world = made.worlds[0].rows([i])
        for before, after in pairwise(turns):
            if after.speaker == USER and before.refers:
                assert " it" in after.text and after.refers == before.refers
            if after.speaker == ASSISTANT and after.refers != before.refers:
                assert before.refers and after.refers
                relation = next(at for at, name in enumerate(RELATIONS) if f" {name} it?" in before.text)
                others = [
                    a
                    for a in range(int(world.n[0]))
                    if a != before.refers[1] and world.holds(a, before.refers[1])[0, relation]
                ]
                assert others == [after.refers[1]]
                moved += 1
    assert moved > 200


def test_the_first_question_names_an_object_that_is_alone_in_its_shape() -> None:
    world = facts(1, 200, RICH)
    made = about(world)
    for i, turns in enumerate(made.turns):
        shapes = [SHAPES[s] for s in world.shape[i, : world.n[i]]]
        assert bool(turns) == any(shapes.count(shape) == 1 for shape in shapes)
        if turns:
            assert turns[0].refers is not None
            shape = shapes[turns[0].refers[1]]
            assert shapes.count(shape) == 1 and f"the {shape}" in turns[0].text


def test_nothing_is_asked_twice_and_the_state_grows() -> None:
    made = about(facts(0, 100, RICH), length=6)
    for i, turns in enumerate(made.turns):
        stated = [fact for one in turns for fact in one.states]
        assert len(set(stated)) == len(stated)
        sizes = [len(made.known(i, turn)) for turn in range(len(turns))]
        assert sizes == sorted(sizes) and (not turns or sizes[-1] == len(stated))


def test_the_question_alone_does_not_tell_the_answer() -> None:
    made = about(facts(0, 3000), length=1)
    pairs = [(turns[0].text, turns[1].text) for turns in made.turns if "colour" in turns[0].text]
    assert blind([a for a, _ in pairs], [b for _, b in pairs], 1 / 8).ok


def test_the_whole_request_tells_more_than_its_last_turn() -> None:
    world = facts(0, 400)
    made = requests(world, chat=0.0)
    whole, last = candidates(world, made), candidates(world, made, slice(-2, None))
    assert (whole >= 1).all() and (whole <= last).all() and (1 / whole).mean() > 2 * (1 / last).mean()
    for i in range(20):
        objects = " and ".join(f"a {kind(world, i, slot)}" for slot in range(int(world.n[i])))
        assert whole[i] == true_of(objects, world, "en").sum()


def test_only_the_last_object_brings_the_picture_and_chat_never_does() -> None:
    made = requests(facts(0, 300), chat=0.5)
    chat = {line for pair in CHAT for line in pair}
    chatted = 0
    for i, turns in enumerate(made.turns):
        shown = [at for at, one in enumerate(turns) if one.picture >= 0]
        assert len(shown) == 1 and turns[shown[0]].speaker == ASSISTANT
        assert len(made.known(i, shown[0])) == 2 * made.worlds[0].n[i] == len(made.known(i, len(turns) - 1))
        for one in turns:
            if one.text in chat:
                assert not one.states and one.picture < 0 and one.refers is None
                chatted += 1
    assert chatted > 200
    assert not any(one.text in chat for turns in requests(facts(0, 100), chat=0.0).turns for one in turns)


def test_the_picture_shown_is_the_only_one_with_what_was_asked_for() -> None:
    made = albums(facts(0, 150), pictures=4)
    shown = []
    for i, turns in enumerate(made.turns):
        for before, after in pairwise(turns):
            if after.picture < 0:
                continue
            asked = before.text.removeprefix("show me the picture with ")
            fits = [s for s, world in enumerate(made.worlds) if true_of(asked, world.rows([i]), "en")[0]]
            assert fits == [after.picture]
            shown.append(after.picture)
        for one in turns:
            if "this picture" in one.text:
                assert one.refers is not None
                latest = next(other.picture for other in reversed(turns[: turns.index(one)]) if other.picture >= 0)
                assert one.refers[0] == latest
    assert set(shown) == {0, 1, 2, 3} and blind(None, shown, 0.3).ok


def test_any_chunk_has_the_same_dialogues() -> None:
    world = facts(2, 40, RICH)
    part = world.rows(slice(10, 20))
    assert about(world, seed=4).turns[10:20] == about(part, seed=4).turns
    assert requests(world, seed=4).turns[10:20] == requests(part, seed=4).turns
    assert albums(world, seed=4).turns[10:20] == albums(part, seed=4).turns


def test_dialogues_are_read_back() -> None:
    for turns in (*requests(facts(0, 20)).turns, *albums(facts(0, 20)).turns):
        found = read(as_text(turns))
        assert [(a.speaker, a.text, a.picture) for a in found] == [(b.speaker, b.text, b.picture) for b in turns]
    assert read("narrator: hm\nuser hello\nuser: show <image x>\nassistant: <image 3>") == [
        read("user: show <image x>")[0],
        read("assistant: <image 3>")[0],
    ]
    assert read("user: show <image x>")[0].picture == -1 and read("assistant: a <image 3>")[0].picture == 3


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(SensoriumError, match="0 rounds; expected 1 or more"):
        albums(facts(0, 1), length=0)
    with pytest.raises(SensoriumError, match="0 scenes of a document"):
        albums(facts(0, 1), pictures=0)
    assert about(facts(0, 0)).turns == [] and np.array_equal(candidates(facts(0, 0), about(facts(0, 0))), np.zeros(0))
