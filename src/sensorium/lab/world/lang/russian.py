"""Russian, the unseen script: three genders, adjectives and nouns agree in case, no articles, number governs case."""

from __future__ import annotations

from .grammar import Adjective, Frame, Language, Noun, Relation

CASES = ("nominative", "genitive", "instrumental", "accusative")
_HARD = {
    "nominative": ("ый", "ая", "ое"),
    "genitive": ("ого", "ой", "ого"),
    "instrumental": ("ым", "ой", "ым"),
    "accusative": ("ый", "ую", "ое"),
}
_SOFT = {
    "nominative": ("ий", "яя", "ее"),
    "genitive": ("его", "ей", "его"),
    "instrumental": ("им", "ей", "им"),
    "accusative": ("ий", "юю", "ее"),
}


def _noun(gender: str, nominative: str, genitive: str, instrumental: str, accusative: str, plural: str) -> Noun:
    forms = (nominative, genitive, instrumental, accusative)
    return Noun(gender, dict(zip(CASES, forms, strict=True)), plural)


def _adjective(word: str) -> Adjective:
    """From the masculine: -ый hard, -ой hard and stressed, -ний soft, -кий hard with и for ы; after ш no ы either."""
    stem, ending = word[:-2], word[-2:]
    table = _SOFT if word.endswith("ний") else _HARD
    forms = {}
    for case, endings in table.items():
        for gender, form in zip("mfn", endings, strict=True):
            as_given = gender == "m" and case in ("nominative", "accusative")
            if stem[-1] in "кш":
                form = form.replace("ы", "и")
            forms[f"{case} {gender}"] = stem + (ending if as_given else form)
    return Adjective(forms)


def _fixed(words: str) -> Adjective:
    return Adjective({f"{case} {gender}": words for case in CASES for gender in "mfn"}, after=True)


def _counted(n: int) -> str:
    if n % 10 == 1 and n % 100 != 11:
        return "фигура"
    return "фигуры" if n % 10 in (2, 3, 4) and n % 100 not in (12, 13, 14) else "фигур"


RUSSIAN = Language(
    tag="ru",
    name="Russian",
    cases=CASES,
    shapes=(
        _noun("m", "круг", "круга", "кругом", "круг", "круги"),
        _noun("m", "квадрат", "квадрата", "квадратом", "квадрат", "квадраты"),
        _noun("m", "треугольник", "треугольника", "треугольником", "треугольник", "треугольники"),
        _noun("f", "звезда", "звезды", "звездой", "звезду", "звёзды"),
        _noun("m", "крест", "креста", "крестом", "крест", "кресты"),
        _noun("n", "кольцо", "кольца", "кольцом", "кольцо", "кольца"),
    ),
    thing=_noun("f", "фигура", "фигуры", "фигурой", "фигуру", "фигуры"),
    colours=tuple(
        map(
            _adjective,
            ("красный", "зелёный", "синий", "жёлтый", "фиолетовый", "оранжевый", "голубой", "коричневый"),
        )
    ),
    sizes=tuple(map(_adjective, ("маленький", "большой"))),
    textures=(_adjective("однотонный"), _adjective("полосатый"), _fixed("в горошек")),
    grounds=("белый", "серый", "чёрный"),
    synonyms={
        "shape": {
            0: _noun("m", "диск", "диска", "диском", "диск", "диски"),
            4: _noun("m", "плюс", "плюса", "плюсом", "плюс", "плюсы"),
            5: _noun("m", "обруч", "обруча", "обручем", "обруч", "обручи"),
        },
        "colour": {
            0: _adjective("алый"),
            1: _adjective("изумрудный"),
            2: _adjective("васильковый"),
            3: _adjective("золотистый"),
            4: _adjective("лиловый"),
            5: _adjective("апельсиновый"),
            6: _adjective("бирюзовый"),
            7: _adjective("каштановый"),
        },
        "size": {0: _adjective("небольшой"), 1: _adjective("крупный")},
        "texture": {0: _adjective("одноцветный"), 2: _adjective("пятнистый")},
    },
    relations=(
        Relation("слева от", "genitive"),
        Relation("справа от", "genitive"),
        Relation("над", "instrumental"),
        Relation("под", "instrumental"),
    ),
    other_relations=(
        Relation("левее", "genitive"),
        Relation("правее", "genitive"),
        Relation("выше", "genitive"),
        Relation("ниже", "genitive"),
    ),
    places=(
        "слева вверху",
        "вверху посередине",
        "справа вверху",
        "слева посередине",
        "посередине",
        "справа посередине",
        "слева внизу",
        "внизу посередине",
        "справа внизу",
    ),
    cell="в строке {row} столбца {col}",
    frames=(
        Frame("{place} находится {np}.", "nominative"),
        Frame("{np} находится {place}.", "nominative"),
        Frame("мы видим {np} {place}.", "accusative"),
    ),
    ground="фон {ground}.",
    backdrop="фон",
    point=Frame("покажи на {np}.", "accusative"),
    join=(", ", " и "),
    numbers=("ноль", "одна", "две", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять", "десять"),
    counted=_counted,
    agree=lambda gender, case, definite: f"{case} {gender}",
    article=lambda gender, case, definite, following: "",
)
