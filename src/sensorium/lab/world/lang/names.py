"""Names of hidden individuals: a number in syllables, and back."""

from __future__ import annotations

_CONSONANTS = "bdfghjklmprsz"  # without n, t and v: "Nine", "Rote" and "Five" are words
_VOWELS = "aeiou"
_SYLLABLES = tuple(c + v for c in _CONSONANTS for v in _VOWELS)
_LEAST = 2


def name_word(number: int) -> str:
    """0, 1, 2, … -> "Baba", "Beba", "Biba", …: at least two open syllables, capitalised, no two numbers alike."""
    syllables: list[str] = []
    while number or len(syllables) < _LEAST:
        number, at = divmod(number, len(_SYLLABLES))
        syllables.append(_SYLLABLES[at])
    return "".join(syllables).capitalize()


def name_number(word: str) -> int:
    """The number of a name; -1 for a word that is none."""
    syllables = [word[at : at + 2].lower() for at in range(0, len(word), 2)]
    if len(syllables) < _LEAST or not word[0].isupper() or any(s not in _SYLLABLES for s in syllables):
        return -1
    number = sum(_SYLLABLES.index(s) * len(_SYLLABLES) ** at for at, s in enumerate(syllables))
    return number if name_word(number) == word else -1
