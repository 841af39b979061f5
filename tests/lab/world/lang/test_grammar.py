"""Grammar: sentences written by hand, in every gender and case that captions use."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.lab.world.facts import COLOURS, GROUNDS, RELATIONS, SHAPES, SIZES, TEXTURES
from sensorium.lab.world.lang import LANGUAGES, TAGS
from sensorium.lab.world.lang.caption import wording, write
from sensorium.lab.world.lang.grammar import ATTRIBUTES, Adjective, Noun, noun_phrase
from sensorium.lab.world.lang.plan import Plan

NAMES = {"colour": COLOURS, "shape": SHAPES, "size": SIZES, "texture": TEXTURES}


def kind(words: str) -> dict[str, int]:
    """ "large striped red circle" -> values; words that are no attribute must not occur."""
    return {factor: names.index(word) for word in words.split() for factor, names in NAMES.items() if word in names}


def say(language: str, *objects: str, relation: str = "", ground: str = "", cells: int = 2, form: str = "list") -> str:
    """A caption by a hand-made plan; "@ row col" behind an object gives its cell."""
    kinds, places = [], []
    for thing in objects:
        words, _, place = thing.partition(" @ ")
        kinds.append(kind(words))
        places.append([int(at) for at in place.split()] or [-1, -1])
    values = {
        factor: np.array([[k.get(factor, -1) for k in kinds]], np.int8).reshape(1, len(kinds)) for factor in NAMES
    }
    at = np.array(places, np.int8).reshape(1, len(kinds), 2)
    plan = Plan(
        slot=np.arange(len(kinds), dtype=np.int8)[None],
        row=at[:, :, 0],
        col=at[:, :, 1],
        name=np.full((1, len(kinds)), -1, np.int32),
        relation=np.array([RELATIONS.index(relation) if relation else -1], np.int8),
        ground=np.array([GROUNDS.index(ground) if ground else -1], np.int8),
        count=np.array([-1], np.int16),
        form=form,
        cells=cells,
        **values,
    )
    return write(plan, wording(plan, language))[0]


RELATED = [
    ("en", "red circle", "left of", "blue square", "a red circle left of a blue square"),
    ("en", "orange star", "right of", "green cross", "an orange star right of a green cross"),
    ("en", "purple ring", "above", "orange triangle", "a purple ring above an orange triangle"),
    ("en", "brown triangle", "below", "cyan circle", "a brown triangle below a cyan circle"),
    ("de", "red circle", "left of", "blue square", "ein roter Kreis links von einem blauen Quadrat"),
    ("de", "yellow square", "right of", "green star", "ein gelbes Quadrat rechts von einem grünen Stern"),
    ("de", "purple cross", "above", "orange ring", "ein violettes Kreuz über einem orangefarbenen Ring"),
    ("de", "brown star", "below", "cyan triangle", "ein brauner Stern unter einem cyanfarbenen Dreieck"),
    ("fr", "red circle", "left of", "blue square", "un cercle rouge à gauche d'un carré bleu"),
    ("fr", "green star", "right of", "brown cross", "une étoile verte à droite d'une croix brune"),
    ("fr", "purple cross", "above", "orange ring", "une croix violette au-dessus d'un anneau orange"),
    ("fr", "cyan triangle", "below", "blue star", "un triangle cyan au-dessous d'une étoile bleue"),
    ("fi", "red circle", "left of", "blue square", "punainen ympyrä sinisen neliön vasemmalla puolella"),
    ("fi", "green star", "right of", "brown ring", "vihreä tähti ruskean renkaan oikealla puolella"),
    ("fi", "purple cross", "above", "yellow star", "violetti risti keltaisen tähden yläpuolella"),
    ("fi", "cyan triangle", "below", "orange cross", "syaani kolmio oranssin ristin alapuolella"),
    ("fi", "blue ring", "above", "red triangle", "sininen rengas punaisen kolmion yläpuolella"),
    ("fi", "brown square", "left of", "green circle", "ruskea neliö vihreän ympyrän vasemmalla puolella"),
    ("ru", "red circle", "left of", "blue square", "красный круг слева от синего квадрата"),
    ("ru", "green star", "right of", "brown cross", "зелёная звезда справа от коричневого креста"),
    ("ru", "yellow ring", "left of", "blue star", "жёлтое кольцо слева от синей звезды"),
    ("ru", "blue ring", "above", "red star", "синее кольцо над красной звездой"),
    ("ru", "blue star", "below", "cyan ring", "синяя звезда под голубым кольцом"),
    ("ru", "purple triangle", "above", "blue circle", "фиолетовый треугольник над синим кругом"),
    ("ru", "orange cross", "below", "blue star", "оранжевый крест под синей звездой"),
]

LISTED = [
    ("en", ["orange ring"], "an orange ring"),
    ("en", ["green star", "brown cross"], "a green star and a brown cross"),
    ("en", ["red circle", "orange ring", "cyan square"], "a red circle, an orange ring and a cyan square"),
    ("de", ["red"], "eine rote Figur"),
    ("de", ["cyan circle", "yellow triangle"], "ein cyanfarbener Kreis und ein gelbes Dreieck"),
    ("de", ["green star", "red cross", "blue ring"], "ein grüner Stern, ein rotes Kreuz und ein blauer Ring"),
    ("fr", ["brown star"], "une étoile brune"),
    ("fr", ["yellow ring", "purple circle"], "un anneau jaune et un cercle violet"),
    ("fr", ["green", "orange cross", "cyan square"], "une forme verte, une croix orange et un carré cyan"),
    ("fi", ["purple square", "orange circle"], "violetti neliö ja oranssi ympyrä"),
    ("fi", ["red", "blue star", "brown cross"], "punainen kuvio, sininen tähti ja ruskea risti"),
    ("ru", ["blue triangle", "cyan ring"], "синий треугольник и голубое кольцо"),
    ("ru", ["brown", "cyan circle", "green ring"], "коричневая фигура, голубой круг и зелёное кольцо"),
]

LONG = [
    (
        "en",
        "large striped orange circle @ 0 0",
        "white",
        2,
        "a large striped orange circle is at the top left. the background is white.",
    ),
    ("en", "small plain red ring @ 1 1", "grey", 3, "a small plain red ring is in the middle. the background is grey."),
    (
        "en",
        "small dotted red ring @ 4 2",
        "black",
        5,
        "a small dotted red ring is in row 5 of column 3. the background is black.",
    ),
    (
        "de",
        "large striped red circle @ 0 0",
        "white",
        2,
        "oben links ist ein großer gestreifter roter Kreis. der Hintergrund ist weiß.",
    ),
    (
        "de",
        "small dotted blue square @ 1 1",
        "grey",
        2,
        "unten rechts ist ein kleines gepunktetes blaues Quadrat. der Hintergrund ist grau.",
    ),
    (
        "de",
        "small plain green @ 1 0",
        "black",
        3,
        "links in der Mitte ist eine kleine einfarbige grüne Figur. der Hintergrund ist schwarz.",
    ),
    (
        "de",
        "large plain green cross @ 3 0",
        "black",
        4,
        "in Zeile 4 von Spalte 1 ist ein großes einfarbiges grünes Kreuz. der Hintergrund ist schwarz.",
    ),
    (
        "fr",
        "large striped green star @ 0 0",
        "white",
        2,
        "une grande étoile verte rayée est en haut à gauche. le fond est blanc.",
    ),
    (
        "fr",
        "small dotted purple ring @ 1 1",
        "grey",
        2,
        "un petit anneau violet à pois est en bas à droite. le fond est gris.",
    ),
    (
        "fr",
        "small plain brown cross @ 2 1",
        "black",
        3,
        "une petite croix brune unie est en bas au milieu. le fond est noir.",
    ),
    (
        "fi",
        "large striped red circle @ 0 0",
        "white",
        2,
        "vasemmassa yläkulmassa on suuri raidallinen punainen ympyrä. tausta on valkoinen.",
    ),
    (
        "fi",
        "small plain blue star @ 1 1",
        "grey",
        2,
        "oikeassa alakulmassa on pieni yksivärinen sininen tähti. tausta on harmaa.",
    ),
    (
        "fi",
        "small dotted green cross @ 0 1",
        "black",
        3,
        "ylhäällä keskellä on pieni pilkullinen vihreä risti. tausta on musta.",
    ),
    (
        "ru",
        "large striped red circle @ 0 0",
        "white",
        2,
        "слева вверху находится большой полосатый красный круг. фон белый.",
    ),
    (
        "ru",
        "small plain blue ring @ 1 1",
        "grey",
        2,
        "справа внизу находится маленькое однотонное синее кольцо. фон серый.",
    ),
    (
        "ru",
        "large dotted cyan star @ 1 1",
        "black",
        3,
        "посередине находится большая голубая звезда в горошек. фон чёрный.",
    ),
]

PHRASES = [
    ("en", "orange star", "", True, "the orange star"),
    ("de", "red circle", "nominative", True, "der rote Kreis"),
    ("de", "red circle", "accusative", False, "einen roten Kreis"),
    ("de", "red circle", "accusative", True, "den roten Kreis"),
    ("de", "red circle", "dative", True, "dem roten Kreis"),
    ("de", "large blue square", "accusative", False, "ein großes blaues Quadrat"),
    ("de", "blue square", "nominative", True, "das blaue Quadrat"),
    ("de", "green", "dative", False, "einer grünen Figur"),
    ("de", "green", "accusative", True, "die grüne Figur"),
    ("fr", "red circle", "", True, "le cercle rouge"),
    ("fr", "green star", "", True, "l'étoile verte"),
    ("fr", "small green star", "", True, "la petite étoile verte"),
    ("fr", "blue square", "de", True, "du carré bleu"),
    ("fr", "green star", "de", True, "de l'étoile verte"),
    ("fr", "brown cross", "de", True, "de la croix brune"),
    ("fi", "small blue square", "partitive", False, "pientä sinistä neliötä"),
    ("fi", "large striped red ring", "partitive", False, "suurta raidallista punaista rengasta"),
    ("fi", "plain green star", "genitive", False, "yksivärisen vihreän tähden"),
    ("fi", "brown cross", "partitive", True, "ruskeaa ristiä"),
    ("ru", "red star", "accusative", False, "красную звезду"),
    ("ru", "blue star", "accusative", False, "синюю звезду"),
    ("ru", "small blue circle", "accusative", False, "маленький синий круг"),
    ("ru", "large blue ring", "accusative", False, "большое синее кольцо"),
    ("ru", "large cyan star", "genitive", False, "большой голубой звезды"),
    ("ru", "small striped ring", "instrumental", False, "маленьким полосатым кольцом"),
    ("ru", "large dotted square", "genitive", False, "большого квадрата в горошек"),
]

OTHERS = [
    ("en", "large plain purple circle", "a big solid violet disc"),
    ("de", "red circle", "eine scharlachrote Scheibe"),
    ("fr", "large striped yellow ring", "un gros cerceau doré strié"),
    ("fi", "large dotted red square", "iso täplikäs tulipunainen ruutu"),
    ("ru", "large cyan ring", "крупный бирюзовый обруч"),
]


@pytest.mark.parametrize(("language", "first", "relation", "second", "expected"), RELATED)
def test_relations_govern_the_case_of_their_second_object(
    language: str, first: str, relation: str, second: str, expected: str
) -> None:
    assert say(language, first, second, relation=relation, form="short") == expected


@pytest.mark.parametrize(("language", "objects", "expected"), LISTED)
def test_lists_agree_in_gender(language: str, objects: list[str], expected: str) -> None:
    assert say(language, *objects) == expected


@pytest.mark.parametrize(("language", "thing", "ground", "cells", "expected"), LONG)
def test_long_sentences(language: str, thing: str, ground: str, cells: int, expected: str) -> None:
    assert say(language, thing, ground=ground, cells=cells, form="long") == expected


@pytest.mark.parametrize(("language", "words", "case", "definite", "expected"), PHRASES)
def test_noun_phrases_decline(language: str, words: str, case: str, definite: bool, expected: str) -> None:
    assert noun_phrase(LANGUAGES[TAGS.index(language)], kind(words), case, definite).text == expected


@pytest.mark.parametrize(("language", "words", "expected"), OTHERS)
def test_synonyms_bring_their_own_gender_and_forms(language: str, words: str, expected: str) -> None:
    lang = LANGUAGES[TAGS.index(language)]
    assert noun_phrase(lang, kind(words), others=frozenset(ATTRIBUTES)).text == expected


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ["no shapes", "one shape", "two shapes", "five shapes", "11 shapes"]),
        ("de", ["keine Figuren", "eine einzige Figur", "zwei Figuren", "fünf Figuren", "11 Figuren"]),
        ("fr", ["aucune forme", "une seule forme", "deux formes", "cinq formes", "11 formes"]),
        ("fi", ["nolla kuviota", "yksi kuvio", "kaksi kuviota", "viisi kuviota", "11 kuviota"]),
        ("ru", ["ноль фигур", "одна фигура", "две фигуры", "пять фигур", "11 фигур"]),
    ],
)
def test_numbers_govern_their_noun(language: str, expected: list[str]) -> None:
    lang = LANGUAGES[TAGS.index(language)]
    assert [lang.count(n) for n in (0, 1, 2, 5, 11)] == expected


def test_russian_numbers_above_twenty_follow_their_last_digit() -> None:
    assert [LANGUAGES[TAGS.index("ru")].counted(n) for n in (21, 22, 25, 112)] == ["фигура", "фигуры", "фигур", "фигур"]


@pytest.mark.parametrize("language", TAGS)
def test_tables_have_a_word_for_every_value_and_a_form_for_every_key(language: str) -> None:
    lang = LANGUAGES[TAGS.index(language)]
    for factor, names in NAMES.items():
        assert len(lang.table(factor)) == len(names)
    nouns = [word for _, word in lang.words("shape") if isinstance(word, Noun)]
    keys = {lang.agree(noun.gender, case, definite) for noun in nouns for case in lang.cases for definite in (0, 1)}
    assert all(set(noun.forms) == set(lang.cases) for noun in nouns)
    for factor in ATTRIBUTES[:-1]:
        for _, word in lang.words(factor):
            assert isinstance(word, Adjective)
            assert keys <= set(word.forms)
    assert (len(lang.relations), len(lang.other_relations), len(lang.places)) == (4, 4, 9)
    assert len(lang.grounds) == len(GROUNDS)


@pytest.mark.parametrize("language", TAGS)
def test_parts_of_a_phrase_are_the_words_for_its_facts(language: str) -> None:
    lang = LANGUAGES[TAGS.index(language)]
    text, parts = noun_phrase(lang, kind("large striped green star"))
    found = {factor: text[start:end] for start, end, factor in parts}
    assert set(found) == set(ATTRIBUTES)
    for factor, words in found.items():
        alone = noun_phrase(
            lang,
            {
                "shape": SHAPES.index("star"),
                **({} if factor == "shape" else {factor: kind("large striped green star")[factor]}),
            },
        )
        assert words in alone.text
