"""English."""

from __future__ import annotations

from .grammar import Adjective, Frame, Language, Noun, Relation


def _noun(word: str, plural: str = "") -> Noun:
    return Noun("", {"nominative": word}, plural or word + "s")


def _adjective(word: str) -> Adjective:
    return Adjective({"": word})


def _article(gender: str, case: str, definite: bool, following: str) -> str:
    if definite:
        return "the "
    return "an " if following[0] in "aeiou" else "a "


ENGLISH = Language(
    tag="en",
    name="English",
    cases=("nominative",),
    shapes=(
        _noun("circle"),
        _noun("square"),
        _noun("triangle"),
        _noun("star"),
        _noun("cross", "crosses"),
        _noun("ring"),
    ),
    thing=_noun("shape"),
    colours=tuple(map(_adjective, ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "brown"))),
    sizes=tuple(map(_adjective, ("small", "large"))),
    textures=tuple(map(_adjective, ("plain", "striped", "dotted"))),
    grounds=("white", "grey", "black"),
    synonyms={
        "shape": {
            0: _noun("disc"),
            1: _noun("box", "boxes"),
            2: _noun("trigon"),
            4: _noun("plus", "pluses"),
            5: _noun("hoop"),
        },
        "colour": dict(
            enumerate(
                map(
                    _adjective, ("scarlet", "emerald", "navy", "golden", "violet", "tangerine", "turquoise", "chestnut")
                )
            )
        ),
        "size": {0: _adjective("little"), 1: _adjective("big")},
        "texture": {0: _adjective("solid"), 1: _adjective("stripy"), 2: _adjective("spotted")},
    },
    relations=tuple(Relation(words, "nominative") for words in ("left of", "right of", "above", "below")),
    other_relations=tuple(
        Relation(words, "nominative") for words in ("to the left of", "to the right of", "over", "under")
    ),
    places=(
        "at the top left",
        "at the top",
        "at the top right",
        "on the left",
        "in the middle",
        "on the right",
        "at the bottom left",
        "at the bottom",
        "at the bottom right",
    ),
    cell="in row {row} of column {col}",
    frames=(
        Frame("{np} is {place}.", "nominative"),
        Frame("there is {np} {place}.", "nominative"),
        Frame("{place} is {np}.", "nominative"),
    ),
    ground="the background is {ground}.",
    backdrop="background",
    point=Frame("point to {np}.", "nominative"),
    join=(", ", " and "),
    numbers=("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    counted=lambda n: "shape" if n == 1 else "shapes",
    agree=lambda gender, case, definite: "",
    article=_article,
)
