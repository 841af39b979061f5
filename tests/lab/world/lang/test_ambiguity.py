"""Ambiguity: more said, fewer scenes; puns whose sense only the picture tells."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import Config, facts
from sensorium.lab.world.lang import HOMONYMS, TAGS, ambiguous, fits, puns, row_by_row
from sensorium.lab.world.lang.ambiguity import LEVELS

WORLD = facts(1, 300)


@pytest.mark.parametrize("language", TAGS)
def test_each_level_is_true_and_fits_fewer_scenes_than_the_last(language: str) -> None:
    counts = []
    for level in range(LEVELS):
        texts = ambiguous(WORLD, level, language)
        assert row_by_row(texts, WORLD, language).all()
        counts.append(fits(texts[:60], WORLD, language).mean())
    assert counts[0] == len(WORLD)
    assert all(more > 1.5 * less for more, less in pairwise(counts))


def test_fits_counts_the_scenes_of_a_text() -> None:
    reds = int((WORLD.colour == 0).any(1).sum())
    assert fits(["a red shape", "a shape", "a white circle", "a red shape"], WORLD, "en").tolist() == [
        reds,
        300,
        0,
        reds,
    ]


def test_single_objects_end_at_level_two() -> None:
    world = facts(0, 30, Config(fewest=1, most=1))
    assert ambiguous(world, 2) == ambiguous(world, 3) == ambiguous(world, 4)


def test_puns_are_literal_exactly_where_the_picture_shows_the_thing() -> None:
    found = puns(WORLD)
    for text, (start, end), answer, scene in zip(found.text, found.span, found.answer, found.scene, strict=True):
        (pun,) = [pun for pun in HOMONYMS if pun.sentence == text]
        assert text[start:end] == pun.word
        shown = (getattr(WORLD, pun.factor)[scene] == pun.value).any()
        assert (answer == 0) == shown


def test_the_sentence_alone_does_not_tell_the_sense_of_a_pun() -> None:
    found = puns(facts(2, 6000))
    assert set(found.text) == {pun.sentence for pun in HOMONYMS}
    for text in set(found.text):
        answers = found.answer[[t == text for t in found.text]]
        assert abs(answers.mean() - 0.5) < 4 * np.sqrt(0.25 / len(answers)) + 0.05


def test_homonyms_have_two_different_senses_and_their_word_once() -> None:
    for pun in HOMONYMS:
        assert pun.literal != pun.other and pun.sentence.split().count(pun.word) == 1


def test_a_level_out_of_range_is_refused() -> None:
    with pytest.raises(SensoriumError, match="ambiguity level 5; expected 0 to 4"):
        ambiguous(WORLD, 5)
