"""German: three genders, adjective endings by gender, case and article (weak after the definite, mixed after "ein")."""

from __future__ import annotations

from .grammar import Adjective, Frame, Language, Noun, Relation

_MIXED = {
    "nominative": {"m": "er", "f": "e", "n": "es"},
    "accusative": {"m": "en", "f": "e", "n": "es"},
    "dative": {"m": "en", "f": "en", "n": "en"},
}
_WEAK = {
    "nominative": {"m": "e", "f": "e", "n": "e"},
    "accusative": {"m": "en", "f": "e", "n": "e"},
    "dative": {"m": "en", "f": "en", "n": "en"},
}
_INDEFINITE = {
    "nominative": {"m": "ein", "f": "eine", "n": "ein"},
    "accusative": {"m": "einen", "f": "eine", "n": "ein"},
    "dative": {"m": "einem", "f": "einer", "n": "einem"},
}
_DEFINITE = {
    "nominative": {"m": "der", "f": "die", "n": "das"},
    "accusative": {"m": "den", "f": "die", "n": "das"},
    "dative": {"m": "dem", "f": "der", "n": "dem"},
}


def _noun(gender: str, word: str, plural: str) -> Noun:
    return Noun(gender, dict.fromkeys(_MIXED, word), plural)


def _adjective(word: str) -> Adjective:
    return Adjective({ending: word + ending for ending in ("er", "e", "es", "en")})


def _article(gender: str, case: str, definite: bool, following: str) -> str:
    return (_DEFINITE if definite else _INDEFINITE)[case][gender] + " "


GERMAN = Language(
    tag="de",
    name="German",
    cases=tuple(_MIXED),
    shapes=(
        _noun("m", "Kreis", "Kreise"),
        _noun("n", "Quadrat", "Quadrate"),
        _noun("n", "Dreieck", "Dreiecke"),
        _noun("m", "Stern", "Sterne"),
        _noun("n", "Kreuz", "Kreuze"),
        _noun("m", "Ring", "Ringe"),
    ),
    thing=_noun("f", "Figur", "Figuren"),
    colours=tuple(
        map(_adjective, ("rot", "grün", "blau", "gelb", "violett", "orangefarben", "cyanfarben", "braun")),
    ),
    sizes=tuple(map(_adjective, ("klein", "groß"))),
    textures=tuple(map(_adjective, ("einfarbig", "gestreift", "gepunktet"))),
    grounds=("weiß", "grau", "schwarz"),
    synonyms={
        "shape": {
            0: _noun("f", "Scheibe", "Scheiben"),
            1: _noun("n", "Kästchen", "Kästchen"),
            4: _noun("n", "Plus", "Plus"),
            5: _noun("m", "Reif", "Reife"),
        },
        "colour": {
            0: _adjective("scharlachrot"),
            1: _adjective("smaragdgrün"),
            2: _adjective("marineblau"),
            3: _adjective("goldgelb"),
            4: _adjective("lilafarben"),
            6: _adjective("türkisfarben"),
            7: _adjective("kastanienbraun"),
        },
        "size": {0: _adjective("winzig"), 1: _adjective("riesig")},
        "texture": {0: _adjective("schlicht"), 1: _adjective("streifig"), 2: _adjective("getupft")},
    },
    relations=tuple(Relation(words, "dative") for words in ("links von", "rechts von", "über", "unter")),
    other_relations=tuple(
        Relation(words, "dative") for words in ("zur Linken von", "zur Rechten von", "oberhalb von", "unterhalb von")
    ),
    places=(
        "oben links",
        "oben in der Mitte",
        "oben rechts",
        "links in der Mitte",
        "in der Mitte",
        "rechts in der Mitte",
        "unten links",
        "unten in der Mitte",
        "unten rechts",
    ),
    cell="in Zeile {row} von Spalte {col}",
    frames=(
        Frame("{place} ist {np}.", "nominative"),
        Frame("man sieht {np} {place}.", "accusative"),
        Frame("{np} steht {place}.", "nominative"),
    ),
    ground="der Hintergrund ist {ground}.",
    backdrop="Hintergrund",
    point=Frame("zeige auf {np}.", "accusative"),
    join=(", ", " und "),
    numbers=("keine", "eine einzige", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn"),
    counted=lambda n: "Figur" if n == 1 else "Figuren",
    agree=lambda gender, case, definite: (_WEAK if definite else _MIXED)[case][gender],
    article=_article,
)
