"""The table of strokes covers what the world writes, letter by letter distinct."""

from __future__ import annotations

from itertools import combinations

import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import GROUNDS, SIZES, TEXTURES, Config, facts
from sensorium.lab.world.lang import FORMS, TAGS, caption
from sensorium.lab.world.page.fonts import Hand, glyph
from sensorium.lab.world.page.glyphs import drawable, strokes

LATIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?-'\"()[]/%+=#*&$€<>_|@\\~^äöüßéàçèêñåœæø"
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяёАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЁ"


@pytest.mark.parametrize("language", TAGS)
def test_every_caption_can_be_drawn(language: str) -> None:
    world = facts(0, 60, Config(cells=4, fewest=0, most=6, sizes=SIZES, textures=TEXTURES, grounds=GROUNDS))
    assert all(drawable(text) for form in FORMS for text in caption(world, form, language))


@pytest.mark.parametrize("alphabet", [LATIN, CYRILLIC])
@pytest.mark.parametrize("font", ["sans", "serif"])
def test_no_two_letters_of_an_alphabet_are_the_same_pixels(alphabet: str, font: str) -> None:
    drawn = {letter: glyph(letter, Hand(font, 12)) for letter in alphabet}
    for a, b in combinations(alphabet, 2):
        one, other = drawn[a], drawn[b]
        assert (one.top, one.cover.shape, one.cover.tobytes()) != (other.top, other.cover.shape, other.cover.tobytes())


def test_letters_of_two_scripts_may_look_alike() -> None:
    assert strokes("а") == strokes("a") and strokes("б") != strokes("b")


def test_an_accent_adds_strokes_and_stands_higher_on_a_capital() -> None:
    assert strokes("é")[: len(strokes("e"))] == strokes("e") and len(strokes("é")) == len(strokes("e")) + 1
    assert max(y for line in strokes("Ä") for _, y in line) == max(y for line in strokes("ä") for _, y in line) + 2
    assert len(strokes("ï")) == 3  # the dot of the i gives way


def test_the_invented_script_has_signs_of_its_own() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    drawn = {strokes(letter, "invented") for letter in letters}
    assert len(drawn) == len(letters) and not drawn & {strokes(letter) for letter in letters}
    assert strokes(".", "invented") == strokes(".")


def test_what_has_no_strokes_is_refused() -> None:
    assert not drawable("漢") and drawable("a b")
    with pytest.raises(SensoriumError, match="character '漢'; expected one of the letters that are drawn"):
        strokes("漢")
