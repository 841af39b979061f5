"""Toy sign languages: one sign per word, another order per language, and a reader with its error."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.clip.signs import FRAMES, GLOSSES, LANGUAGES, SIGNS, dealt, glosses, read, reader_error, sign
from sensorium.lab.world.facts import COLOURS, RELATIONS, SHAPES, facts
from sensorium.lab.world.lang import caption


def test_no_two_words_share_a_sign_and_languages_differ() -> None:
    tables = [dealt(language) for language in LANGUAGES]
    assert all(len(set(table.tolist())) == len(GLOSSES) for table in tables) and max(map(max, tables)) < len(SIGNS)
    assert all((a != b).mean() > 0.8 for a, b in pairwise(tables))


def test_glosses_say_what_the_caption_says() -> None:
    world = facts(0, 200)
    for text, north, south, east in zip(caption(world), *(glosses(world, name) for name in LANGUAGES), strict=True):
        said = [w for w in (*COLOURS, *SHAPES, *RELATIONS) if f" {w} " in f" {text} "]
        assert sorted(said) == sorted(north) == sorted(south) == sorted(east)
        order = sorted(said, key=lambda w: f" {text} ".index(f" {w} "))
        assert list(north) == order
        colour, shape, relation, other, another = north
        assert south == (shape, colour, relation, another, other)
        assert east == (shape, colour, another, other, relation)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sign_is_read_back_on_any_body(language: str) -> None:
    words = [[word] for word in GLOSSES]
    for performer in (0, 7, 1000):
        made = sign(words, np.full(len(words), performer), language)
        assert read(made.skeletons, language).ravel().tolist() == list(range(len(GLOSSES)))


def test_sentences_are_padded_and_masked() -> None:
    made = sign([["red"], ["red", "circle", "above"], []], np.zeros(3, np.int64), noise=0)
    assert made.skeletons.shape == (3, 3 * FRAMES, 22, 3) and made.mask.sum(1).tolist() == [FRAMES, 3 * FRAMES, 0]
    assert np.array_equal(read(made.skeletons), made.gloss)
    assert np.allclose(made.skeletons[2], made.skeletons[2, 0]) and made.gloss[2].tolist() == [-1] * 3


def test_noise_is_named_by_sentence_number() -> None:
    words, who = [["red"], ["blue"]], np.array([1, 2])
    both = sign(words, who, index=np.array([4, 9]))
    assert np.array_equal(sign(words[1:], who[1:], index=np.array([9])).skeletons, both.skeletons[1:])
    assert not np.array_equal(sign(words, who, index=np.array([4, 9]), seed=1).skeletons, both.skeletons)


def test_the_error_is_measured() -> None:
    quiet, loud = reader_error(), reader_error(noise=0.05)
    assert quiet.wrong == quiet.unsure == 0 and loud.wrong < 0.02 and loud.unsure > 0.2
    rng = np.random.default_rng(0)
    assert (read(rng.normal(0, 0.4, (10, FRAMES, 22, 3))) == -2).mean() > 0.9


def test_mistakes_are_named() -> None:
    with pytest.raises(SensoriumError, match="did you mean 'north'"):
        dealt("nort")
    with pytest.raises(SensoriumError, match="no sign for 'pink'"):
        sign([["pink"]], np.zeros(1, np.int64))
    with pytest.raises(SensoriumError, match="1 sentences, 2 performers"):
        sign([["red"]], np.zeros(2, np.int64))
    with pytest.raises(SensoriumError, match="multiple of 8"):
        read(np.zeros((1, 9, 22, 3)))
