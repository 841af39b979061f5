"""Letters as strokes: one table from which every font, size, slant and curve is drawn, equal on every machine.

A grid of 5 x 9: x from 0 to 4, the baseline at 0, small letters 4 high, capitals 6, descenders to -2 (written a for -1,
b for -2). "14 34,10" is a line from (1, 4) to (3, 4) and a dot at (1, 0).
"""

from __future__ import annotations

from functools import cache
from unicodedata import combining, normalize

import numpy as np

from sensorium.core import SensoriumError, derive

CAPITAL, MIDDLE, DESCENT = 6, 4, 2
"""Heights over the baseline of capitals and small letters, and the depth below it, in grid units."""
SCRIPTS = ("plain", "invented")
"""`invented` gives each letter and digit strokes of its own that no alphabet has: a script unseen by any tokeniser."""

_TABLE = """
a 14 34 43 40,42 12 01 10 30 41|b 06 00 30 41 43 34 04|c 43 34 14 03 01 10 30 41|d 46 40 10 01 03 14 44
e 02 42 43 34 14 03 01 10 40|f 36 26 15 10,04 34|g 40 10 01 03 14 44 4a 3b 0b|h 06 00,03 14 34 43 40|i 00 04,06
j 24 2a 1b 0b,26|k 06 00,44 02 40|l 06 01 10|m 00 04,03 14 23 20,23 34 43 40|n 00 04,03 14 34 43 40
o 14 34 43 41 30 10 01 03 14|p 0b 04 34 43 41 30 00|q 4b 44 14 03 01 10 40|r 00 04,02 14 34
s 44 14 03 12 32 41 30 00|t 16 11 20 30,04 34|u 04 01 10 30 41,44 40|v 04 20 44|w 04 10 23 30 44|x 04 40,00 44
y 04 20,44 1b|z 04 44 00 40|A 00 26 40,12 32|B 00 06 36 45 44 33 03,33 42 41 30 00|C 45 36 16 05 01 10 30 41
D 00 06 26 44 42 20 00|E 46 06 00 40,03 33|F 46 06 00,03 33|G 45 36 16 05 01 10 30 41 43 23|H 06 00,46 40,03 43
I 06 26,16 10,00 20|J 46 41 30 10 01|K 06 00,46 03 40|L 06 00 40|M 00 06 23 46 40|N 00 06 40 46
O 16 36 45 41 30 10 01 05 16|P 00 06 36 45 44 33 03|Q 16 36 45 41 30 10 01 05 16,22 40|R 00 06 36 45 44 33 03,23 40
S 45 36 16 05 04 13 33 42 41 30 10 01|T 06 46,26 20|U 06 01 10 30 41 46|V 06 20 46|W 06 10 24 30 46|X 00 46,06 40
Y 06 23 46,23 20|Z 06 46 00 40|0 16 26 35 31 20 10 01 05 16,11 25|1 05 16 10,00 20|2 05 16 36 45 44 00 40
3 06 46 23 33 42 41 30 10 01|4 40 46 02 42|5 46 06 03 33 42 41 30 10 01|6 45 36 16 05 01 10 30 41 42 33 03
7 06 46 10|8 13 04 05 16 36 45 44 33 13 02 01 10 30 41 42 33|9 01 10 30 41 45 36 16 05 04 13 43|. 00|, 10 0a|: 00,03
; 10 0a,13|! 06 02,00|? 05 16 36 45 44 22 21,20|- 02 32|' 06 05|" 06 05,26 25|( 16 05 01 10|) 06 15 11 00
[ 16 06 00 10|] 06 16 10 00|/ 00 36|% 00 46,05,41|+ 03 43,21 25|= 04 44,02 42|# 10 16,30 36,02 42,04 44
* 03 43,11 35,31 15|& 40 04 05 16 25 24 02 01 10 20 42|$ 45 05 04 43 42 02,27 2a|€ 45 36 26 04 02 20 30 41,03 33
< 35 03 31|> 05 33 01|_ 0a 4a|| 07 0b|@ 32 22 13 14 25 35 31 41 45 36 16 05 01 10 40|\\ 06 30|~ 03 14 32 43|^ 14 26 34
ß 00 05 16 26 35 34 23 32 31 20 10|œ 40 30 21 10 01 03 14 23 34 43 42 22,21 24|æ 04 14 23 20 40,23 34 43 42 02 01 10 20
ø 14 34 43 41 30 10 01 03 14,00 44|б 46 16 04 01 10 30 41 43 34 04|в 02 32 41 30 00 04 34 43 32|г 00 04 34
д 0a 00 40 4a,10 14 34 30|ж 20 24,04 22 44,00 22 40|з 04 34 43 32 12,32 41 30 00|и 04 00 44 40|к 04 00,44 02 40
л 00 14 44 40|м 00 04 21 44 40|н 04 00,44 40,02 42|п 00 04 44 40|т 04 44,24 20
ф 26 2b,14 34 43 41 30 10 01 03 14|ц 04 00 40 4a,44 40|ч 04 03 12 42,44 40|ш 04 00 40 44,24 20
щ 04 00 40 44,24 20,40 4a|ъ 04 14 10 30 41 32 12|ы 04 00 20 31 22 02,44 40|ь 04 00 30 41 32 02
э 03 14 34 43 41 30 10 01,12 42|ю 04 00,02 12,24 34 43 41 30 20 11 13 24|я 40 44 14 03 12 42,12 00
А 00 26 40,12 32|Б 46 06 00 30 41 42 33 03|Ф 26 20,15 35 44 42 31 11 02 04 15
"""
_MARKS = {
    "\u0308": "15,35",
    "\u0301": "25 36",
    "\u0300": "16 25",
    "\u0302": "15 26 35",
    "\u0303": "05 16 25 36",
    "\u030a": "25 36 26 25",
    "\u030c": "16 25 36",
    "\u0306": "16 25 36",
    "\u0327": "20 2a 1b",
}
_ROWS = {"a": -1.0, "b": -2.0, **{str(y): float(y) for y in range(9)}}
_ALIKE = dict(zip("аеорсухЕВКМНОРСТУХ’–—…", "aeopcyxEBKMHOPCTYX'--.", strict=True))
"""Letters of one script that look like another's, and marks that are drawn as simpler ones."""

Stroke = tuple[tuple[float, float], ...]
"""Points of a line from end to end; a dot is one point."""


def _points(text: str) -> tuple[Stroke, ...]:
    return tuple(tuple((float(at[0]), _ROWS[at[1]]) for at in line.split()) for line in text.split(","))


@cache
def _table() -> dict[str, tuple[Stroke, ...]]:
    out = {}
    for line in _TABLE.strip().split("\n"):
        for entry in line.replace("| ", "\0 ").split("|"):
            letter, strokes = entry[0].replace("\0", "|"), entry[2:]
            out[letter] = _points(strokes)
    for letter, other in _ALIKE.items():
        out[letter] = out[other]
    for letter in "гджзийлпцчшщъыьэюя":  # a capital is the small letter stretched
        base, capital = normalize("NFD", letter)[0], normalize("NFD", letter.upper())[0]
        out[capital] = tuple(tuple((x, y * 1.5 if y > 0 else y) for x, y in stroke) for stroke in out[base])
    return out


@cache
def strokes(character: str, script: str = "plain") -> tuple[Stroke, ...]:
    """The strokes of one character, its accents included; a space has none.

    Raises:
        SensoriumError: a character that the table lacks.
    """
    if character == " ":
        return ()
    if script == "invented" and character.isalnum():
        return _invented(character)
    parts = normalize("NFD", character)
    base, marks = parts[0], parts[1:]
    if base not in _table() or any(mark not in _MARKS for mark in marks):
        raise SensoriumError(
            f"character {character!r}; expected one of the letters that are drawn: Latin, Cyrillic, "
            "digits and marks (page.glyphs)"
        )
    out = _table()[base]
    if base in "ij" and any(combining(mark) and mark != "\u0327" for mark in marks):
        out = out[:1]
    lift = 2.0 if base.isupper() else 0.0
    for mark in marks:
        up = 0.0 if mark == "\u0327" else lift
        out += tuple(tuple((x, y + up) for x, y in stroke) for stroke in _points(_MARKS[mark]))
    return out


def drawable(text: str) -> bool:
    """Every character of a text has strokes."""
    try:
        return all(strokes(character) is not None for character in text)
    except SensoriumError:
        return False


@cache
def _invented(character: str) -> tuple[Stroke, ...]:
    """Two lines over four grid points each and a dot: drawn by the character's name, unlike any letter by chance."""
    random = np.random.Generator(np.random.Philox(derive("invented script", character)))
    lines = []
    for _ in range(2):
        grid = random.permutation(12)[:3]
        lines.append(tuple((2.0 * (at % 3), 2.0 * (at // 3)) for at in grid.tolist()))
    return (*lines, ((float(random.integers(0, 5)), float(random.integers(0, 7))),))
