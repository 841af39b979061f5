"""Spelling: known words by hand, every word of every language has phones, and homophones are listed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import facts
from sensorium.lab.world.lang import TAGS, caption, vocabulary
from sensorium.lab.world.sound.phones import NAMES, PAUSE, PHONES, edits, errors, homophones, segment, spell, words


def named(text: str, language: str) -> list[str]:
    return [" ".join(NAMES[phone] for phone in word) for word in spell(text, language)]


@pytest.mark.parametrize(
    ("text", "language", "phones"),
    [
        ("A red circle, 2 stars.", "en", ["a", "r e d", "k i r k l e", "t v o", "s t a r s"]),
        ("ein grüner Kreis", "de", ["e i n".replace("e i", "a i"), "g r y n e r", "k r a i s"]),
        ("l'étoile à gauche", "fr", ["l", "e t v a l e", "a", "g o sh e"]),
        ("ympyrä", "fi", ["y m p y r ae"]),
        ("жёлтая", "ru", ["sh j o l t a j a"]),
    ],
)
def test_words_spelled_by_hand(text: str, language: str, phones: list[str]) -> None:
    assert named(text, language) == phones


@pytest.mark.parametrize("language", TAGS)
def test_every_word_of_the_captions_can_be_spoken(language: str) -> None:
    known = homophones(language)
    spoken = {word for same in known.values() for word in same}
    assert spoken >= {w for w in vocabulary(language) if len(w) > 1 and w.isalpha()}
    alike = [same for same in known.values() if len(same) > 1]
    assert len(alike) == (2 if language == "fr" else 0)
    assert all(phones and PAUSE not in phones for phones in known)


def test_a_caption_is_cut_into_its_words_again() -> None:
    for language in ("en", "fi"):
        for text in caption(facts(0, 10), "short", language):
            heard = [phone for word in spell(text, language) for phone in word]
            assert segment(heard, language) == words(text, language)


def test_a_misheard_phone_leaves_the_nearest_words() -> None:
    heard = [phone for word in spell("a red circle") for phone in word]
    heard[2] = NAMES.index("i")
    assert segment([PAUSE, *heard, PAUSE]) == ["a", "red", "circle"]
    assert segment([]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 5), max_size=8))
def test_edits_are_levenshteins(a: list[int], b: list[int]) -> None:
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            change = table[i - 1, j - 1] + (a[i - 1] != b[j - 1])
            table[i, j] = min(change, table[i - 1, j] + 1, table[i, j - 1] + 1)
    assert edits(tuple(a), tuple(b)) == table[len(a), len(b)] == edits(tuple(b), tuple(a))


def test_pauses_are_no_errors() -> None:
    assert errors([PAUSE, 1, 2, PAUSE], [1, PAUSE, 2]) == 0 and errors([1, 2], [1]) == 1


def test_mistakes_are_named() -> None:
    with pytest.raises(SensoriumError, match="language 'xx'"):
        spell("a", "xx")
    with pytest.raises(SensoriumError, match="no phone for 'ñ'"):
        spell("señor")
    assert len(set(NAMES)) == len(PHONES) and all(
        phone.voice or phone.noise or phone.name == "pause" for phone in PHONES
    )
