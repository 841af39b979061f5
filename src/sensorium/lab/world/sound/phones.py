"""A toy inventory of phones, and words spelled in it: letters are read out, alike in all languages but for a few pairs.

These are not the sounds of the languages; they make a spoken form of each word that is exact, known and different
where the spelling is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from sensorium.core import SensoriumError

from ..lang import LANGUAGES, TAGS, tokens, vocabulary


@dataclass(frozen=True)
class Phone:
    """How a phone sounds: formants in Hz with the level of the voice, or a band of noise with its level."""

    name: str
    formants: tuple[float, float, float]
    voice: float
    noise: float = 0.0
    band: tuple[float, float] = (0.0, 0.0)
    """Hz, lower and upper edge of the noise."""
    length: float = 1.0
    """Of the speaker's mean phone."""
    burst: bool = False
    """Silent (or voiced) first, the noise in the last third alone: a stop."""


_N = (500.0, 1500.0, 2500.0)
PHONES = (
    Phone("a", (730, 1090, 2440), 1.0, length=1.2),
    Phone("e", (530, 1840, 2480), 1.0, length=1.2),
    Phone("i", (270, 2290, 3010), 1.0, length=1.2),
    Phone("o", (500, 840, 2410), 1.0, length=1.2),
    Phone("u", (300, 700, 2240), 1.0, length=1.2),
    Phone("y", (270, 1750, 2200), 1.0, length=1.2),
    Phone("oe", (420, 1450, 2200), 1.0, length=1.2),
    Phone("ae", (700, 1700, 2500), 1.0, length=1.2),
    Phone("m", (230, 900, 2100), 0.35),
    Phone("n", (230, 1400, 2700), 0.35),
    Phone("l", (380, 1250, 2900), 0.55),
    Phone("r", (450, 1150, 1600), 0.5),
    Phone("j", (230, 2450, 3200), 0.4, length=0.8),
    Phone("v", (300, 1100, 2300), 0.3, 0.12, (900, 2400)),
    Phone("z", (260, 1500, 2500), 0.25, 0.25, (2900, 3900)),
    Phone("f", _N, 0.0, 0.16, (1200, 3400)),
    Phone("s", _N, 0.0, 0.3, (3000, 3900)),
    Phone("sh", _N, 0.0, 0.3, (1900, 2900)),
    Phone("kh", _N, 0.0, 0.25, (900, 1700)),
    Phone("h", _N, 0.0, 0.12, (300, 1200)),
    Phone("p", _N, 0.0, 0.35, (300, 1100), burst=True),
    Phone("t", _N, 0.0, 0.4, (2700, 3900), burst=True),
    Phone("k", _N, 0.0, 0.4, (1300, 2100), burst=True),
    Phone("b", (220, 700, 2000), 0.25, 0.3, (300, 1100), burst=True),
    Phone("d", (220, 1700, 2600), 0.25, 0.35, (2700, 3900), burst=True),
    Phone("g", (220, 1300, 2200), 0.25, 0.35, (1300, 2100), burst=True),
    Phone("pause", _N, 0.0, length=1.5),
)
NAMES = tuple(phone.name for phone in PHONES)
PAUSE = NAMES.index("pause")
_LETTERS = {
    **{letter: letter for letter in "abdefghijklmnoprstuvz"},
    **{"c": "k", "q": "k", "w": "v", "x": "k s", "y": "i", "ä": "ae", "ö": "oe", "ü": "y", "ß": "s", "œ": "oe"},
    **{"é": "e", "è": "e", "ê": "e", "à": "a", "â": "a", "ç": "s", "ô": "o", "î": "i", "û": "y", "å": "o"},
    **{"а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ж": "sh", "з": "z", "и": "i", "й": "j", "к": "k"},
    **{"л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f", "х": "kh"},
    **{"ц": "t s", "ч": "t sh", "ш": "sh", "щ": "sh sh", "ъ": "", "ы": "y", "ь": "", "э": "ae", "ю": "j u", "я": "j a"},
    "ё": "j o",
}
_PAIRS = {
    "en": {"sh": "sh", "ch": "t sh", "th": "z", "ee": "i", "oo": "u", "ck": "k", "ow": "a u"},
    "de": {"sch": "sh", "ch": "kh", "ei": "a i", "eu": "o i", "ie": "i", "z": "t s", "ck": "k"},
    "fr": {"ch": "sh", "ou": "u", "oi": "v a", "au": "o", "eau": "o", "j": "z", "qu": "k", "u": "y"},
    "fi": {"y": "y"},
    "ru": {},
}
"""Letters that a language reads otherwise."""


def spell(text: str, language: str = "en") -> list[tuple[int, ...]]:
    """The phones of each word, indices into PHONES; marks have none, and numbers in digits are read as words.

    Raises:
        SensoriumError: a language not in TAGS, or a letter that no phone stands for.
    """
    if language not in TAGS:
        raise SensoriumError(f"language {language!r}; expected one of {', '.join(TAGS)}")
    return [phones for word in words(text, language) if (phones := _spelled(word, language))]


def words(text: str, language: str = "en") -> list[str]:
    """The words of a text as they are spoken, case folded, without marks."""
    lang = LANGUAGES[TAGS.index(language)]
    found = [token.text.casefold().replace("’", "'") for token in tokens(text)]
    spoken = [lang.number(int(word)) if word.isdecimal() and int(word) < len(lang.numbers) else word for word in found]
    return [word for word in spoken if any(letter.isalnum() for letter in word)]


@cache
def _spelled(word: str, language: str) -> tuple[int, ...]:
    table = _LETTERS | _PAIRS[language]
    longest = "|".join(sorted(map(re.escape, table), key=len, reverse=True))
    out: list[int] = []
    for match in re.finditer(rf"{longest}|['-]|(?P<other>.)", word):
        if match["other"]:
            raise SensoriumError(f"no phone for {match['other']!r} in {word!r}; expected letters of {', '.join(TAGS)}")
        out += [NAMES.index(name) for name in table.get(match[0], "").split()]
    return tuple(out)


@cache
def homophones(language: str = "en") -> dict[tuple[int, ...], tuple[str, ...]]:
    """Phones -> the words of the language's captions that are spelled so: one, or several that sound alike."""
    out: dict[tuple[int, ...], list[str]] = {}
    for word in sorted(vocabulary(language)):
        if any(letter.isalpha() for letter in word) and " " not in word and (phones := _spelled(word, language)):
            out.setdefault(phones, []).append(word)
    return {phones: tuple(found) for phones, found in out.items()}


def segment(heard: Sequence[int], language: str = "en") -> list[str]:
    """Phones -> the words of the language's captions whose phones, one after the other, come nearest (edits).

    Of homophones the first in the alphabet is meant. Pauses are left out first.
    """
    phones = tuple(phone for phone in heard if phone != PAUSE)
    known = [(spelled, same[0]) for spelled, same in homophones(language).items()]
    cost, came = [0], [(0, "")]
    for end in range(1, len(phones) + 1):
        best = (cost[end - 1] + 1, end - 1, "")
        for spelled, word in known:
            for start in range(max(0, end - len(spelled) - 1), end - max(0, len(spelled) - 2)):
                if (total := cost[start]) < best[0]:
                    best = min(best, (total + edits(phones[start:end], spelled), start, word))
        cost.append(best[0])
        came.append(best[1:])
    out, end = [], len(phones)
    while end:
        end, word = came[end]
        out += [word] if word else []
    return out[::-1]


@cache
def edits(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def errors(told: Sequence[int], heard: Sequence[int]) -> int:
    """Phones to change, add or leave out, pauses aside."""
    return edits(*(tuple(phone for phone in phones if phone != PAUSE) for phones in (told, heard)))
