"""Texts on sounds: true ones, false ones, questions, each checked against the facts by other means."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.guards import blind
from sensorium.lab.world.sound.events import LOUDNESS, PITCHES, Config, Sounds, sounds
from sensorium.lab.world.sound.telling import FORMS, NEGATIVES, QUESTIONS, caption, negative, parse, questions, true_of
from sensorium.lab.world.sound.timbre import CLASSES


def hand_made() -> Sounds:
    """A loud high bell, then a soft low drum."""
    arrays = {"kind": [3, 4], "pitch": [2, 0], "loud": [1, 0]}
    int8 = {name: np.array([values], np.int8) for name, values in arrays.items()}
    return Sounds(
        **int8,
        onset=np.array([[0.1, 0.5]]),
        length=np.array([[0.2, 0.2]]),
        n=np.array([2], np.int8),
        config=Config(most=2),
        seed=0,
        index=np.array([0]),
    )


def test_the_words_of_a_known_scene() -> None:
    world = hand_made()
    assert caption(world, "story") == ["a high bell, then a low drum"]
    assert {caption(world, "order", seed)[0] for seed in range(9)} == {
        "a high bell before a low drum",
        "a low drum after a high bell",
    }
    assert caption(world, "long")[0] in ("a loud high bell and a soft low drum", "a soft low drum and a loud high bell")
    for text in ("a bell", "a drum and a bell", "a loud bell before a drum", "a low drum after a bell"):
        assert true_of(text, world).all(), text
    for text in ("a low bell", "a drum before a bell", "a flute", "a bell and a bell", "silence", "a big bell", ""):
        assert not true_of(text, world).any(), text


def test_silence_is_said_and_true_of_silence_alone() -> None:
    world = sounds(0, 200, Config(fewest=0))
    texts = caption(world)
    assert [text == "silence" for text in texts] == (world.n == 0).tolist() and (world.n == 0).any()
    assert np.array_equal(true_of("silence", world), world.n == 0)


@pytest.mark.parametrize("form", FORMS)
def test_captions_are_true_and_parsed(form: str) -> None:
    world = sounds(0, 150)
    texts = caption(world, form)
    assert all(true_of(text, world.rows([row]))[0] for row, text in enumerate(texts))
    assert caption(sounds(0, 10, start=40), form) == texts[40:50]
    if form == "long":
        for row, text in enumerate(texts):
            said = parse(text)
            assert said is not None and {(h.kind, h.pitch, h.loud) for h in said.sounds} == {
                (int(world.kind[row, k]), int(world.pitch[row, k]), int(world.loud[row, k]))
                for k in range(int(world.n[row]))
            }


@pytest.mark.parametrize("factor", NEGATIVES)
@pytest.mark.parametrize("form", ["list", "order", "story"])
def test_negatives_are_false_and_keep_the_order_of_mention(factor: str, form: str) -> None:
    world = sounds(0, 200)
    if factor == "order" and form == "list":
        with pytest.raises(SensoriumError, match="expected form order or story"):
            negative(world, factor, form)
        return
    true, false = caption(world, form), negative(world, factor, form)
    assert not any(true_of(text, world.rows([row]))[0] for row, text in enumerate(false) if text)
    assert all(parse(text) is not None for text in false if text)
    if factor in ("class", "pitch"):
        assert np.mean([bool(text) for text in false]) > 0.9
        changed = [
            sum(a != b for a, b in zip(x.split(), y.split(), strict=True))
            for x, y in zip(true, false, strict=True)
            if y
        ]
        assert max(changed) == min(changed) == 1
    if factor == "binding":
        assert all(sorted(a.split()) == sorted(b.split()) for a, b in zip(true, false, strict=True) if b)


def test_answers_agree_with_the_events() -> None:
    world = sounds(0, 300)
    asked = questions(world)
    assert set(asked.kind) == set(QUESTIONS)
    for text, answer, kind, options, row, slot in zip(
        asked.text, asked.answer, asked.kind, asked.options, asked.scene.tolist(), asked.slot.tolist(), strict=True
    ):
        assert answer in options
        words = text.rstrip("?").split()
        mine = {CLASSES[k]: at for at, k in enumerate(world.kind[row].tolist()) if k >= 0}
        if kind == "class":
            same = [at for at in mine.values() if PITCHES[world.pitch[row, at]] == words[-2]]
            assert same == [slot] and mine[answer] == slot
        elif kind == "pitch":
            assert answer == PITCHES[world.pitch[row, mine[words[-1]]]]
        elif kind == "loudness":
            assert answer == LOUDNESS[world.loud[row, mine[words[-1]]]]
        elif kind == "count":
            assert answer == ("zero", "one", "two", "three")[int(world.n[row])]
        elif kind == "exists":
            assert (answer == "yes") == (words[-1] in mine)
        else:
            first, second = mine[words[2]], mine[words[-1]]
            assert (answer == "yes") == ((first < second) == (words[4] == "before"))


@pytest.mark.parametrize("kind", QUESTIONS)
def test_the_words_of_a_question_tell_nothing(kind: str) -> None:
    asked = questions(sounds(0, 6000), (kind,))
    chance = 1 / len(asked.options[0])
    for seen in (None, asked.text, [text.split()[-1] for text in asked.text]):
        assert blind(seen, asked.answer, chance).ok


def test_order_words_do_not_tell_true_from_false() -> None:
    world = sounds(0, 3000, Config(fewest=2))
    texts = [*caption(world, "order"), *negative(world, "order", "order")]
    labels = [True] * 3000 + [False] * 3000
    assert blind(["before" in text for text in texts], labels).ok


def test_mistakes_are_named() -> None:
    world = sounds(0, 2)
    for call, message in (
        (lambda: caption(world, "shrot"), "caption form 'shrot'"),
        (lambda: negative(world, "clas"), "did you mean 'class'"),
        (lambda: questions(world, ("pich",)), "did you mean 'pitch'"),
        (lambda: questions(sounds(0, 2, Config(fewest=3)), ("count",)), "questions on count have one answer"),
    ):
        with pytest.raises(SensoriumError, match=message):
            call()
