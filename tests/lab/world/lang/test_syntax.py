"""Minimal pairs: one rule broken, by hand-written examples and by what both sides still say."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.core import SensoriumError
from sensorium.lab.world.facts import Config, facts
from sensorium.lab.world.lang import PHENOMENA, TAGS, minimal_pairs, morphology, row_by_row, vocabulary
from sensorium.lab.world.lang.lexicon import folded

WORLD = facts(1, 200, Config(fewest=1))
BROKEN = [
    ("article", "en", "a red circle", {"an red circle"}),
    ("article", "de", "ein roter Kreis", {"eine roter Kreis"}),
    ("article", "fr", "une étoile verte", {"un étoile verte"}),
    ("agreement", "de", "ein rotes Quadrat", {"ein roter Quadrat", "ein rote Quadrat", "ein roten Quadrat"}),
    ("agreement", "fr", "un cercle vert", {"un cercle verte"}),
    ("agreement", "fi", "punainen ympyrä", {"punaista ympyrä"}),
    ("order", "en", "a red circle", {"a circle red"}),
    ("order", "fr", "un cercle rouge", {"un rouge cercle"}),
    ("number", "ru", "две фигуры", {"две фигура"}),
    ("number", "fi", "kaksi kuviota", {"kaksi kuvio"}),
    ("number", "de", "eine einzige Figur", {"eine einzige Figuren"}),
]


@pytest.mark.parametrize(("phenomenon", "language", "good", "bad"), BROKEN)
def test_known_violations(phenomenon: str, language: str, good: str, bad: set[str]) -> None:
    world = facts(0, 1500, Config(fewest=1))
    pairs = minimal_pairs(world, phenomenon, language)
    found = {b for g, b in zip(pairs.good, pairs.bad, strict=True) if g == good}
    assert found and found <= bad


@pytest.mark.parametrize(
    ("language", "ending", "twin"),
    [
        ("de", "links von einem blauen Quadrat", "links von ein blaues Quadrat"),
        ("fr", "à gauche d'un carré bleu", "à gauche un carré bleu"),
        ("fi", "sinisen neliön vasemmalla puolella", "sininen neliö vasemmalla puolella"),
        ("ru", "слева от синего квадрата", "слева от синий квадрат"),
    ],
)
def test_known_violations_of_case(language: str, ending: str, twin: str) -> None:
    pairs = minimal_pairs(facts(0, 3000), "case", language)
    found = [(g, b) for g, b in zip(pairs.good, pairs.bad, strict=True) if g.endswith(ending)]
    assert found and all(b == g.removesuffix(ending) + twin for g, b in found)


@pytest.mark.parametrize(("phenomenon", "language"), [(p, tag) for p, known in PHENOMENA.items() for tag in known])
def test_good_sentences_are_true_and_bad_ones_use_the_same_vocabulary(phenomenon: str, language: str) -> None:
    pairs = minimal_pairs(WORLD, phenomenon, language)
    assert len(pairs.good) > 60 and pairs.phenomenon == phenomenon
    assert row_by_row(pairs.good, WORLD.rows(pairs.scene), language).all()
    assert all(good != bad for good, bad in zip(pairs.good, pairs.bad, strict=True))
    assert {folded(w) for bad in pairs.bad for w in bad.replace("'", "' ").split()} <= vocabulary(language)
    assert len({*pairs.good} & {*pairs.bad}) == 0
    part = minimal_pairs(WORLD.rows(slice(50, 90)), phenomenon, language)
    inside = np.flatnonzero((pairs.scene >= 50) & (pairs.scene < 90))
    assert part.bad == [pairs.bad[row] for row in inside]


@pytest.mark.parametrize("language", TAGS)
def test_morphology_lists_every_form_under_its_lemma(language: str) -> None:
    forms = morphology(language)
    known = {(f.form, f.lemma) for f in forms}
    expected = {
        "en": ("crosses", "cross"),
        "de": ("rotes", "roter"),
        "fr": ("violette", "violet"),
        "fi": ("renkaan", "rengas"),
        "ru": ("звездой", "звезда"),
    }
    assert expected[language] in known
    assert len({(f.form, f.lemma, f.features) for f in forms}) == len(forms)
    assert {folded(word) for f in forms for word in f.form.split()} <= vocabulary(language)


def test_features_tell_case_and_gender() -> None:
    table = {(f.lemma, f.features): f.form for f in morphology("ru")}
    assert table["звезда", "noun f instrumental"] == "звездой"
    assert table["синий", "adjective accusative f"] == "синюю"
    assert table["кольцо", "noun n plural"] == "кольца"


def test_what_a_language_lacks_is_refused() -> None:
    with pytest.raises(SensoriumError, match="phenomenon 'agreement' in language 'en'; expected one of de, fr, fi, ru"):
        minimal_pairs(WORLD, "agreement", "en")
    with pytest.raises(SensoriumError, match="phenomenon 'articel'; did you mean 'article'"):
        minimal_pairs(WORLD, "articel")
