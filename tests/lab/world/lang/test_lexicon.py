"""The lexicon: no form means two things, and the vocabulary is what captions need."""

from __future__ import annotations

import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.lang import LANGUAGES, TAGS, summary, tokens, vocabulary
from sensorium.lab.world.lang.lexicon import lexicon, surface


def test_no_form_means_different_things_in_different_languages() -> None:
    meanings: dict[tuple[str, ...], set[tuple[str, int]]] = {}
    for language in LANGUAGES:
        for words, term in surface(language).items():
            if term.kind not in ("word", "copula"):
                meanings.setdefault(words, set()).add((term.kind, term.value))
    assert {words: found for words, found in meanings.items() if len(found) > 1} == {}


def test_tokens_split_marks_and_elided_articles_and_keep_their_place() -> None:
    text = "à gauche d'une étoile; l’anneau, au-dessus."
    found = tokens(text)
    assert [t.text for t in found] == ["à", "gauche", "d'", "une", "étoile", ";", "l’", "anneau", ",", "au-dessus", "."]
    assert all(text[t.start : t.end] == t.text for t in found)


def test_longer_forms_come_first() -> None:
    for entries in lexicon().values():
        lengths = [len(words) for words, _ in entries]
        assert lengths == sorted(lengths, reverse=True)


def test_the_vocabulary_holds_words_of_its_language_only() -> None:
    assert {"red", "orange", "an", "left", "of", "hoop", "."} <= vocabulary("en")
    assert {"roter", "roten", "dem", "kreis", "weiss"} <= vocabulary("de")
    assert not {"roter", "rouge", "круг"} & vocabulary("en")
    assert all(vocabulary(tag) <= vocabulary() for tag in TAGS)


def test_the_summary_counts_each_vocabulary() -> None:
    lines = summary().splitlines()
    assert [line.split()[0] for line in lines] == ["English", "German", "French", "Finnish", "Russian", "together"]
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == [len(vocabulary(tag)) for tag in (*TAGS, "")]
    assert max(numbers[:-1]) < 300 and numbers[0] < 100


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(SensoriumError, match="language 'xx'; expected one of de, en, fi, fr, ru"):
        lexicon("xx")
