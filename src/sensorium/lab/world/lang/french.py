"""French: two genders, size before the noun, colour and texture behind it, "de" joined to the article."""

from __future__ import annotations

from .grammar import Adjective, Frame, Language, Noun, Relation

_VOWELS = "aeiouyéèêâîôû"


def _noun(gender: str, word: str, plural: str) -> Noun:
    return Noun(gender, {"direct": word, "de": word}, plural)


def _adjective(masculine: str, feminine: str = "", after: bool = True) -> Adjective:
    return Adjective({"m": masculine, "f": feminine or masculine}, after)


def _article(gender: str, case: str, definite: bool, following: str) -> str:
    if not definite:
        return ("d'" if case == "de" else "") + {"m": "un ", "f": "une "}[gender]
    if following[0] in _VOWELS:
        return "de l'" if case == "de" else "l'"
    if case == "de":
        return {"m": "du ", "f": "de la "}[gender]
    return {"m": "le ", "f": "la "}[gender]


FRENCH = Language(
    tag="fr",
    name="French",
    cases=("direct", "de"),
    shapes=(
        _noun("m", "cercle", "cercles"),
        _noun("m", "carré", "carrés"),
        _noun("m", "triangle", "triangles"),
        _noun("f", "étoile", "étoiles"),
        _noun("f", "croix", "croix"),
        _noun("m", "anneau", "anneaux"),
    ),
    thing=_noun("f", "forme", "formes"),
    colours=(
        _adjective("rouge"),
        _adjective("vert", "verte"),
        _adjective("bleu", "bleue"),
        _adjective("jaune"),
        _adjective("violet", "violette"),
        _adjective("orange"),
        _adjective("cyan"),
        _adjective("brun", "brune"),
    ),
    sizes=(_adjective("petit", "petite", after=False), _adjective("grand", "grande", after=False)),
    textures=(_adjective("uni", "unie"), _adjective("rayé", "rayée"), _adjective("à pois")),
    grounds=("blanc", "gris", "noir"),
    synonyms={
        "shape": {
            0: _noun("m", "rond", "ronds"),
            3: _noun("m", "astre", "astres"),
            5: _noun("m", "cerceau", "cerceaux"),
        },
        "colour": {
            0: _adjective("écarlate"),
            1: _adjective("émeraude"),
            2: _adjective("marine"),
            3: _adjective("doré", "dorée"),
            4: _adjective("mauve"),
            5: _adjective("orangé", "orangée"),
            6: _adjective("turquoise"),
            7: _adjective("marron"),
        },
        "size": {1: _adjective("gros", "grosse", after=False)},
        "texture": {1: _adjective("strié", "striée"), 2: _adjective("tacheté", "tachetée")},
    },
    relations=tuple(Relation(words, "de") for words in ("à gauche", "à droite", "au-dessus", "au-dessous")),
    other_relations=(
        Relation("sur la gauche", "de"),
        Relation("sur la droite", "de"),
        Relation("au-dessus", "de"),
        Relation("en dessous", "de"),
    ),
    places=(
        "en haut à gauche",
        "en haut au milieu",
        "en haut à droite",
        "au milieu à gauche",
        "au milieu",
        "au milieu à droite",
        "en bas à gauche",
        "en bas au milieu",
        "en bas à droite",
    ),
    cell="à la ligne {row} de la colonne {col}",
    frames=(
        Frame("{np} est {place}.", "direct"),
        Frame("il y a {np} {place}.", "direct"),
        Frame("{place} se trouve {np}.", "direct"),
    ),
    ground="le fond est {ground}.",
    backdrop="fond",
    point=Frame("montre {np}.", "direct"),
    join=(", ", " et "),
    numbers=("aucune", "une seule", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix"),
    counted=lambda n: "forme" if n < 2 else "formes",
    agree=lambda gender, case, definite: gender,
    article=_article,
)
