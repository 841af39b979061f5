"""Texts on clips: true ones, false ones, questions, each checked against the facts by other means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.clip.telling import (
    FORMS,
    NEGATIVES,
    QUESTIONS,
    caption,
    clause,
    negative,
    parse,
    questions,
    statements,
    true_of,
    write,
)
from sensorium.lab.world.clip.timeline import DIRECTIONS, KINDS, THREE, Clips, Config, clips
from sensorium.lab.world.facts import COLOURS, SHAPES

THREE_EVENTS = Config(replace(THREE, cells=5, fewest=4, most=4), frames=12, events=3)


def hand_made() -> Clips:
    """A red circle moves left, then a blue square vanishes."""
    world = clips(0, 1)
    cast = replace(
        world.cast,
        colour=np.array([[0, 2, 3]], np.int8),
        shape=np.array([[0, 1, 2]], np.int8),
        row=np.array([[0, 1, 2]], np.int8),
        col=np.array([[2, 1, 2]], np.int8),
    )
    events = {"kind": [0, 2], "actor": [0, 1], "other": [-1, -1], "value": [0, -1], "distance": [1, 0], "begin": [1, 4]}
    return replace(world, cast=cast, **{name: np.array([a], np.int8) for name, a in events.items()})


def test_the_words_of_a_known_clip() -> None:
    world = hand_made()
    texts = {caption(world, "order", seed)[0] for seed in range(9)}
    assert texts == {
        "the red circle moves left before the blue square vanishes",
        "the blue square vanishes after the red circle moves left",
    }
    assert caption(world, "story") == ["first the red circle moves left, then the blue square vanishes"]
    for text in ("the red circle moves left", "the blue square vanishes and the red circle moves left", *texts):
        assert true_of(text, world).all()
    for text in (
        "the red circle moves right",
        "the red circle vanishes",
        "the blue circle moves left",
        "the blue square vanishes before the red circle moves left",
        "first the blue square vanishes, then the red circle moves left",
        "the red circle moves left and the red circle moves left",
        "the red circle explodes",
        "",
    ):
        assert not true_of(text, world).any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("config", [Config(), THREE_EVENTS])
def test_captions_are_true_and_read_back(form: str, config: Config) -> None:
    world = clips(0, 80, config)
    for row, (text, said) in enumerate(zip(caption(world, form), statements(world, form), strict=True)):
        assert true_of(text, world.rows([row]))[0] and parse(text) == said and write(said) == text
    assert caption(world.rows(slice(30, 40)), form) == caption(clips(0, 10, config, start=30), form)


@pytest.mark.parametrize("factor", NEGATIVES)
@pytest.mark.parametrize("form", ["order", "story"])
def test_negatives_are_false_and_use_the_same_words_where_they_can(factor: str, form: str) -> None:
    world = clips(0, 150)
    true, false = caption(world, form), negative(world, factor, form)
    assert not any(true_of(text, world.rows([row]))[0] for row, text in enumerate(false) if text)
    assert not any(parse(text) is None for text in false if text)
    if factor in ("order", "actor"):
        assert all(false)
    if factor == "order" and form == "story":
        assert all(
            sorted(a.replace(",", "").split()) == sorted(b.replace(",", "").split())
            for a, b in zip(true, false, strict=True)
        )
    if factor == "order" and form == "order":
        swap = {"before": "after", "after": "before"}
        assert [" ".join(swap.get(word, word) for word in text.split()) for text in true] == false
    if factor == "direction":
        moves = (world.kind == KINDS.index("move")).any(1).tolist()
        assert [bool(text) for text in false] == moves


def test_order_of_mention_is_independent_of_time() -> None:
    world = clips(0, 4000)
    before = np.mean([" before " in text for text in caption(world)])
    assert abs(before - 0.5) < 4 * np.sqrt(0.25 / 4000)


def test_answers_agree_with_the_events() -> None:
    world = clips(0, 400)
    asked = questions(world)
    assert set(asked.kind) == set(QUESTIONS)
    for text, answer, kind, options, row, slot in zip(
        asked.text, asked.answer, asked.kind, asked.options, asked.scene.tolist(), asked.slot.tolist(), strict=True
    ):
        assert answer in options
        told = [clause(world, row, e) for e in range(2)]
        mine = [c for e, c in enumerate(told) if world.actor[row, e] == slot]
        if kind == "direction":
            assert answer == DIRECTIONS[mine[0].value] and SHAPES[mine[0].shape] in text
        elif kind == "colour":
            assert answer == COLOURS[mine[0].value] and answer not in text
        elif kind == "hit":
            assert answer == SHAPES[mine[0].other_shape]
        elif kind == "event":
            expected = ("moves", "appears", "vanishes", "changes colour", "hits something")[mine[0].kind]
            assert answer == expected
        elif kind == "order":
            stated = text.removeprefix("is it true that ").rstrip("?")
            assert true_of(stated, world.rows([row]))[0] == (answer == "yes")
        else:
            words = ("move", "appear", "vanish", "change colour", "hit something")
            which = words.index(text.removeprefix("how many shapes ").rstrip("?"))
            assert answer == ("zero", "one", "two")[sum(c.kind == which for c in told)]


def test_questions_are_pure_under_chunking() -> None:
    whole, part = questions(clips(0, 30), seed=3), questions(clips(0, 10, start=10), seed=3)
    inside = (whole.scene >= 10) & (whole.scene < 20)
    assert part.text == whole.rows(np.flatnonzero(inside)).text


def test_mistakes_are_named() -> None:
    world = clips(0, 2)
    for call, message in (
        (lambda: caption(world, "ordre"), "did you mean 'order'"),
        (lambda: negative(world, "colour"), "negative 'colour' of clips"),
        (lambda: negative(world, "order", "one"), "expected form order or story"),
        (lambda: questions(world, ("colours",)), "did you mean 'colour'"),
        (
            lambda: questions(clips(0, 2, Config(kinds=("move", "vanish"))), ("hit",)),
            "questions on hit have one answer",
        ),
        (lambda: caption(clips(0, 2, Config(events=1)), "order"), "two events or more"),
    ):
        with pytest.raises(SensoriumError, match=message):
            call()
