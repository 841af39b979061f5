"""Transcripts: every edit is listed, rates are those asked for, and jiwer agrees."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import facts
from sensorium.lab.world.lang import caption
from sensorium.lab.world.sound.phones import edits, homophones
from sensorium.lab.world.sound.transcripts import KINDS, sounding_like, transcribed


@pytest.mark.parametrize("language", ["en", "ru"])
def test_applying_the_edits_gives_the_transcript(language: str) -> None:
    made = transcribed(caption(facts(0, 100), "long", language), 0.3, language)
    for said, text, errors in zip(made.said, made.text, made.edits, strict=True):
        words: list[str] = said.split()
        out: list[str] = []
        at = {edit.at: edit for edit in errors}
        for place, word in enumerate(words):
            edit = at.get(place)
            if edit is None:
                out.append(word)
            elif edit.kind == "substitution":
                assert edit.said == word != edit.stands
                out.append(edit.stands)
            elif edit.kind == "insertion":
                out += [word, edit.stands]
            else:
                assert edit.said == word and edit.stands == ""
        assert " ".join(out) == text


def test_no_error_leaves_the_words_and_full_error_none() -> None:
    texts = caption(facts(0, 30))
    clean = transcribed(texts, 0.0)
    assert clean.text == clean.said and not any(clean.edits) and clean.rate() == 0
    gone = transcribed(texts, 1.0, kinds=("deletion",))
    assert set(gone.text) == {""} and gone.rate() == 1.0


@pytest.mark.parametrize("kinds", [KINDS, ("substitution",), ("insertion",)])
def test_the_rate_is_the_word_error_rate(kinds: tuple[str, ...]) -> None:
    made = transcribed(caption(facts(0, 300), "long"), 0.15, kinds=kinds)
    wer = jiwer.wer(made.said, made.text)
    assert abs(made.rate() - 0.15) < 0.015 and wer <= made.rate() + 1e-9 and made.rate() - wer < 0.01
    assert {edit.kind for row in made.edits for edit in row} == set(kinds)


def test_substitutes_sound_alike() -> None:
    known = {name: phones for phones, same in homophones("en").items() for name in same}
    for word in ("red", "circle", "above"):
        close = sounding_like(word)
        away = [edits(known[word], known[name]) for name in close]
        every = sorted(edits(known[word], phones) for name, phones in known.items() if name != word)
        assert word not in close and away == every[:3]


def test_rows_are_named_by_index() -> None:
    texts = caption(facts(0, 20))
    whole, part = transcribed(texts, 0.3, seed=2), transcribed(texts[5:9], 0.3, seed=2, index=np.arange(5, 9))
    assert part.text == whole.text[5:9]


def test_mistakes_are_named() -> None:
    for error, kinds, message in (
        (2.0, KINDS, "transcript error 2.0"),
        (0.1, ("swap",), "'swap'"),
        (0.1, (), "no kinds"),
    ):
        with pytest.raises(SensoriumError, match=message):
            transcribed(["a"], error, kinds=kinds)
