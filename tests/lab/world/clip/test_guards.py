"""Guards of clips: sound worlds pass, leaking ones do not."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.lab.world.clip.guards import held_out, null, still
from sensorium.lab.world.clip.telling import QUESTIONS, caption, negative, questions
from sensorium.lab.world.clip.timeline import NULLS, Config, clips
from sensorium.lab.world.guards import blind
from sensorium.lab.world.lang import balance


@pytest.mark.parametrize("name", NULLS[1:])
def test_a_null_world_shows_its_factor_by_chance_only(name: str) -> None:
    guard = null(Config(null=name))
    assert guard.ok and name in guard.sentence


def test_a_world_without_null_is_none() -> None:
    assert not null(Config()).ok


def test_held_sequences_are_found() -> None:
    config = Config(held=0.2)
    train, test = clips(0, 1000, config), clips(0, 1000, config, part="test")
    assert held_out(train, test).ok and "5 in test" in held_out(train, test).sentence
    assert not held_out(train, clips(0, 200, config)).ok


@pytest.mark.parametrize("kind", QUESTIONS)
def test_the_words_of_a_question_tell_nothing(kind: str) -> None:
    asked = questions(clips(0, 6000), (kind,))
    if kind == "count":
        asked = asked.rows(balance(asked))
    chance = 1 / len(asked.options[0])
    for seen in (None, asked.text, [text.split()[-1] for text in asked.text]):
        assert blind(seen, asked.answer, chance).ok, blind(seen, asked.answer, chance).sentence


def test_words_and_order_of_mention_do_not_tell_true_from_false_order() -> None:
    world = clips(0, 4000)
    texts = [*caption(world), *negative(world, "order")]
    labels = [True] * 4000 + [False] * 4000
    word = ["before" in text for text in texts]
    assert blind(word, labels).ok and blind([text.split()[3] for text in texts], labels).ok


def test_a_single_frame_tells_less_of_direction_in_a_larger_grid() -> None:
    near = still(clips(0, 4000))
    scene = Config().scene
    far = still(clips(0, 4000, Config(scene=type(scene)(cells=6, fewest=3, most=3))))
    assert 0.25 < far < near < 0.6
    assert np.isclose(near, 0.457, atol=0.03)
