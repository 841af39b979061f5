"""The reader reads true renders, says how often it does not, and reads nothing that is not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import facts
from sensorium.lab.world.page.fonts import Hand
from sensorium.lab.world.page.reading import differing, read_within, read_words, reader_error, transcribe
from sensorium.lab.world.page.typeset import Box, blank
from sensorium.lab.world.page.words import DOCUMENT, STYLE, Style, strings, write


@pytest.mark.parametrize("kind", ["word", "name", "letters", "number"])
def test_plain_words_are_read_without_error(kind: str) -> None:
    world = facts(0, 25)
    assert reader_error(world, strings(world, kind)).characters == 0


@pytest.mark.parametrize(
    "style",
    [DOCUMENT, replace(STYLE, noise=40.0), replace(STYLE, script="invented"), replace(STYLE, fonts=("hand", "script"))],
)
def test_fonts_noise_and_scripts_are_read(style: Style) -> None:
    world = facts(1, 20)
    assert reader_error(world, strings(world), style).words <= 0.05


def test_other_languages_are_read_in_their_letters() -> None:
    world = facts(0, 20)
    style = replace(STYLE, width=192)
    for language in ("de", "ru", "fi"):
        texts = strings(world, language=language)
        alphabet = "".join(sorted({letter for (word,) in texts for letter in word}))
        assert read_words(write(world, texts, style).images, style, alphabet=alphabet) == texts


def test_several_words_are_read_band_by_band_and_blank_ones_as_nothing() -> None:
    world = facts(0, 5)
    texts = strings(world, count=3)
    style = replace(STYLE, height=96)
    images = write(world, texts, style).images
    images[0, :, :32] = 255
    assert read_words(images, style, 3) == [("", *texts[0][1:]), *texts[1:]]


def test_hidden_letters_are_lost_and_the_error_says_so() -> None:
    world = facts(0, 20)
    error = reader_error(world, strings(world), replace(STYLE, covered=0.4))
    assert 0.1 < error.characters < 0.7 and error.words > 0.5


@pytest.mark.slow
def test_arcs_are_mostly_read() -> None:
    world = facts(3, 8)
    assert reader_error(world, strings(world), replace(STYLE, curve=20, height=48)).characters < 0.1


def test_a_word_that_was_changed_is_read_as_changed() -> None:
    world = facts(0, 2)
    images = write(world, [("brown",), ("crown",)], replace(STYLE, noise=0.0)).images
    assert read_words(images) == [("brown",), ("crown",)]
    noise = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 128), np.uint8)
    assert all(len(word) != 5 or word != "brown" for (word,) in read_words(noise))


def test_a_page_is_transcribed_with_boxes() -> None:
    sheet, hand = blank(60, 160), Hand("serif", 7)
    sheet.paragraph("a large plain star is at the top left.", 5, 2, 150, hand)
    sheet.rectangle(Box(100, 40, 150, 58), (0, 0, 0))
    found = transcribe(sheet.image, (hand,))
    told = {(word.text, word.box) for word in sheet.words}
    assert {one.text for one in found} == {text for text, _ in told} and len(found) == 9
    for one in found:
        assert any(
            text == one.text and max(abs(a - b) for a, b in zip(box, one.box, strict=True)) <= 1 for text, box in told
        )
    assert transcribe(blank(20, 20).image, (hand,)) == []


def test_one_word_in_a_box() -> None:
    sheet, hand = blank(30, 80), Hand("sans", 7)
    sheet.word("Baba", 20, 18, hand)
    assert (
        read_within(sheet.image, Box(10, 5, 75, 28), hand) == "Baba"
        and read_within(sheet.image, Box(60, 0, 80, 30), hand) == ""
    )


def test_differing_counts_words_missed_and_invented() -> None:
    assert differing(["a", "b", "b"], ["b", "a", "b"]) == 0 and differing(["a", "b", "b"], ["b", "c"]) == 3


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(SensoriumError, match=r"expected uint8 \[N 3 32 128\]"):
        read_words(np.zeros((1, 3, 16, 16), np.uint8))
