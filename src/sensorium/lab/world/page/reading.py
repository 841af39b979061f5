"""Pictures of words back to text: templates of every character, laid side by side where they explain the ink best.

Never trained. The reader knows the style (fonts, sizes, colours, arc), as the reader of scenes does, and no words.

Shape legend: G characters of an alphabet, S pens along a line, h w pixels around a pen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from sensorium.core import SensoriumError
from sensorium.evals.metrics.edit import cer

from ..facts import Facts
from ..scene import MAGENTA
from .fonts import Hand, glyph
from .typeset import BLACK, WHITE, Box, Colour, Placed
from .words import STYLE, Style, bent, tone, write

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?-'/()%+=#€"
COST = 0.25
"""Pixels of ink that a character must explain to be read at all."""
SURE = 0.98
"""Share of all ink at whose explanation the search ends."""
_TRIED = 3
"""How many guesses of an arc are followed up."""
_MOVES = ((2, -1, 0), (-2, 1, 0), (0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0), (1, -1, 0), (-1, 1, 0))
"""Changes of an arc's length, left end and foot: wider, narrower, down, up, longer or shorter at one end."""
_BAR = 90.0
"""How far a pixel is from the bar's colour, at most, to count as hidden."""


@dataclass(frozen=True, eq=False)
class _Templates:
    """Characters of one width as they look from the pen: rows from -above, columns from -aside."""

    which: tuple[int, ...]
    """Positions in the alphabet."""
    cover: np.ndarray
    """float32 [h*w G]."""
    energy: np.ndarray
    """float32 [G]: the sum of squares of each."""
    advance: int
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class _Line:
    """Ink along a line: how far each pixel is written on, and 1 where it can be seen."""

    cover: np.ndarray
    """float32 [H W], hidden pixels are 0."""
    seen: np.ndarray


def read_words(
    images: np.ndarray, style: Style = STYLE, count: int = 1, alphabet: str = ALPHABET
) -> list[tuple[str, ...]]:
    """uint8 [N 3 H W] -> the words of each picture, one to a band; "" where nothing is written.

    Raises:
        SensoriumError: pictures of another size than the style's.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (3, style.height, style.width):
        given = f"{images.dtype} {list(images.shape)}"
        raise SensoriumError(f"pictures {given}; expected uint8 [N 3 {style.height} {style.width}]")
    hands = [Hand(font, px, style.script) for font in style.fonts for px in range(style.px[0], style.px[1] + 1)]
    edges = [style.height * at // count for at in range(count + 1)]
    out = []
    for image in images:
        bands = [_cover(image[:, a:b].astype(np.float32), style) for a, b in pairwise(edges)]
        out.append(tuple(_best(band, hands, style.curve, alphabet) for band in bands))
    return out


def transcribe(
    image: np.ndarray,
    hands: Sequence[Hand],
    inks: Sequence[Colour] = (BLACK,),
    ground: Colour = WHITE,
    alphabet: str = ALPHABET,
) -> list[Placed]:
    """uint8 [3 H W] -> the words of a page with their boxes, row by row; what fits no characters is left out.

    Words are told apart by their gaps, so not in the font `mono`; inks by their hue, so not black from grey.
    """
    found = []
    for box in _clusters(image, hands, ground):
        if text := read_box(image, box, hands, inks, ground, alphabet):
            found.append(Placed(text, box))
    return sorted(found, key=lambda one: (one.box.y1, one.box.x0))


def _clusters(image: np.ndarray, hands: Sequence[Hand], ground: Colour) -> list[Box]:
    """Boxes around connected ink, joined where the columns between two are fewer than between words."""
    away = np.abs(image.astype(np.int16) - np.array(ground, np.int16)[:, None, None]).max(0) > 40
    pieces = ndimage.find_objects(ndimage.label(away, np.ones((3, 3)))[0])
    if not pieces:
        return []
    y0, y1, x0, x1 = (
        np.array(side) for side in zip(*((r.start, r.stop, c.start, c.stop) for r, c in pieces), strict=True)
    )
    wide = (max(hand.gap for hand in hands) + min(hand.space for hand in hands)) / 2
    tall = max(hand.px for hand in hands) // 3
    small = y1 - y0 <= tall + 1  # dots and accents stand clear of their letter
    apart = np.maximum(x0[:, None], x0) - np.minimum(x1[:, None], x1)
    above = np.maximum(y0[:, None], y0) - np.minimum(y1[:, None], y1)
    text = y1 - y0 <= max(hand.above + hand.below for hand in hands)
    near = (apart <= wide) & (above <= np.where(small[:, None] | small, tall, 0)) & text[:, None] & text
    count, member = connected_components(csr_array(near), directed=False)
    groups = [np.flatnonzero(member == at) for at in range(count)]
    return [Box(int(x0[g].min()), int(y0[g].min()), int(x1[g].max()), int(y1[g].max())) for g in groups]


def read_within(image: np.ndarray, box: Box, hand: Hand, darkest: int = 160) -> str:
    """The one word somewhere in a box of a light page, "" for none; ink is what lies below `darkest` grey levels."""
    dark = np.asarray((image[:, box.y0 : box.y1, box.x0 : box.x1] < darkest).all(0))
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    if not len(rows):
        return ""
    x0, y0, x1, y1 = (int(v) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return read_box(image, Box(box.x0 + x0, box.y0 + y0, box.x0 + x1, box.y0 + y1), (hand,))


def read_box(
    image: np.ndarray,
    box: Box,
    hands: Sequence[Hand],
    inks: Sequence[Colour] = (BLACK,),
    ground: Colour = WHITE,
    alphabet: str = ALPHABET,
) -> str:
    """The word whose ink fills a box of a page; "" where no characters explain half of the ink."""
    x0, y0, x1, y1 = box
    if y1 - y0 > max(hand.above + hand.below for hand in hands):
        return ""
    patch = image[:, y0:y1, x0:x1].astype(np.float32)
    colour = min(inks, key=lambda one: float(np.abs(_residual(patch, one, ground)).sum()))
    cover = np.clip(_projected(patch, np.array(colour), np.array(ground)), -0.5, 1.5)
    line = _Line(cover, np.ones_like(cover))
    text, gain = _straightest(line, hands, alphabet)
    return text if gain >= 0.5 * float((cover**2).sum()) else ""


def _projected(patch: np.ndarray, ink: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """float32 [3 h w] -> [h w]: 0 is the ground's colour, 1 the ink's."""
    way = (ink - ground).astype(np.float32)
    return np.asarray(np.tensordot(way, patch - ground.astype(np.float32)[:, None, None], 1) / (way @ way))


def _residual(patch: np.ndarray, ink: Colour, ground: Colour) -> np.ndarray:
    """What is neither ink, nor ground, nor between them."""
    cover = np.clip(_projected(patch, np.array(ink), np.array(ground)), 0, 1)
    ends = np.array(ink, np.float32)[:, None, None], np.array(ground, np.float32)[:, None, None]
    return np.asarray(patch - ends[1] - (ends[0] - ends[1]) * cover)


def _cover(band: np.ndarray, style: Style) -> _Line:
    """The ink of a band, whose ground is the commonest colour of the style's and whose ink explains the rest best."""
    hidden = np.sqrt(((band - MAGENTA.astype(np.float32)[:, None, None]) ** 2).sum(0)) < _BAR
    hidden = (hidden if style.covered else np.zeros_like(hidden)).astype(bool)
    if style.covered:  # the bar is a block of whole columns
        hidden = np.broadcast_to(hidden.mean(0) > 0.8, hidden.shape)
    seen = band[:, ~hidden] if (~hidden).any() else band.reshape(3, -1)
    middle = np.median(seen, 1)
    ground = min(style.grounds, key=lambda name: float(((middle - tone(name)) ** 2).sum()))
    away = ((seen - np.array(tone(ground), np.float32)[:, None]) ** 2).sum(0)
    far = seen[:, away >= np.quantile(away, 0.98)].mean(1)
    ink = min(style.inks, key=lambda name: float(((far - tone(name)) ** 2).sum()))
    cover = np.clip(_projected(band, np.array(tone(ink)), np.array(tone(ground))), -0.5, 1.5)
    weight = (~hidden).astype(np.float32)
    return _Line(np.asarray(cover * weight, np.float32), weight)


def _best(line: _Line, hands: Sequence[Hand], curve: int, alphabet: str) -> str:
    rows, columns = np.flatnonzero((line.cover > 0.6).any(1)), np.flatnonzero((line.cover > 0.6).any(0))
    if not len(rows):
        return ""
    if not curve:
        a, b, c, d = rows[0], rows[-1] + 1, max(0, columns[0] - 1), columns[-1] + 2
        return _straightest(_Line(line.cover[a:b, c:d], line.seen[a:b, c:d]), hands, alphabet)[0]
    return _curved(line, hands, curve, alphabet)[0]


def _straightest(line: _Line, hands: Iterable[Hand], alphabet: str) -> tuple[str, float]:
    """The best reading over hands and baselines, of ink cut to its rows; and what it explains.

    The lowest ink is the foot of some character, so that each foot of the alphabet is one baseline to try.
    """
    best = ("", 0.0)
    height, width = line.cover.shape
    enough = SURE * float((line.cover**2).sum())
    for hand in hands:
        for foot in _feet(hand, alphabet):
            pens = [(x, height - foot, 0) for x in range(-hand.px, width)]
            read = _decoded(line, hand, alphabet, dict.fromkeys(_widths(hand, alphabet), pens))
            best = max(best, read, key=lambda one: one[1])
            if best[1] + COST * len(best[0]) >= enough:
                return best
    return best


@lru_cache(1 << 10)
def _feet(hand: Hand, alphabet: str) -> tuple[int, ...]:
    """How far below the baseline the ink of characters ends, the commonest first; one row less where that is soft."""
    ends = Counter(one.top + len(one.cover) for one in (glyph(character, hand) for character in alphabet))
    feet = [foot for foot, _ in ends.most_common()]
    return tuple(dict.fromkeys([*feet, *(foot - 1 for foot in feet)]))


def _curved(line: _Line, hands: Sequence[Hand], curve: int, alphabet: str) -> tuple[str, float]:
    """The best reading on an arc. Length, left end and foot are guessed from the ink, then moved while that helps."""
    found = [_guessed(line, hand, turn, alphabet) for hand in hands for turn in (curve, -curve)]
    best = ("", 0.0)
    for (text, gain), hand, turn, at in sorted(found, key=lambda one: -one[0][1])[:_TRIED]:
        reading = (text, gain)
        for move in _MOVES * 3:
            there = tuple(value + by for value, by in zip(at, move, strict=True))
            if (other := _on_arc(line, hand, turn, alphabet, *there))[1] > reading[1]:
                reading, at = other, there
        best = max(best, reading, key=lambda one: one[1])
    return best


_Guess = tuple[tuple[str, float], Hand, int, tuple[int, ...]]
"""A reading, how it was written, the degrees of its arc, and where: length, left end and foot."""


def _guessed(line: _Line, hand: Hand, curve: int, alphabet: str) -> _Guess:
    """A first reading on the arc whose chord is as wide as the ink, its foot lifted by what a descender may add."""
    rows, columns = np.flatnonzero((line.cover > 0.6).any(1)), np.flatnonzero((line.cover > 0.6).any(0))
    turn = np.radians(curve)
    chord = int(columns[-1] + 1 - columns[0])
    length = round(chord * turn / np.sin(turn))
    sag = abs(length / 2 / turn * (1 - np.cos(turn)))
    left, foot = round(columns[0] + chord / 2 - length / 2), round(rows[-1] + 1 - (sag if curve > 0 else 0.0))
    lifts = (0, hand.px // 6 + 1, hand.px // 3 + 1)
    found = [(_on_arc(line, hand, curve, alphabet, length, left, foot - lift), foot - lift) for lift in lifts]
    reading, best = max(found, key=lambda one: one[0][1])
    return reading, hand, curve, (length, left, best)


def _on_arc(line: _Line, hand: Hand, curve: int, alphabet: str, length: int, left: int, foot: int) -> tuple[str, float]:
    places = {}
    for wide in _widths(hand, alphabet):
        bends = [bent(s + wide / 2, wide, length, curve) for s in range(length)]
        places[wide] = [(left + x, foot + y, angle) for x, y, angle in bends]
    return _decoded(line, hand, alphabet, places)


@lru_cache(1 << 10)
def _widths(hand: Hand, alphabet: str) -> tuple[int, ...]:
    return tuple(sorted({glyph(character, hand).advance for character in alphabet}))


@lru_cache(1 << 12)
def _templates(hand: Hand, alphabet: str, advance: int, angle: int) -> _Templates:
    which = tuple(at for at, character in enumerate(alphabet) if glyph(character, hand).advance == advance)
    above, below, aside = hand.above, hand.below, hand.px // 2
    cover = np.zeros((len(which), above + below, advance + 2 * aside), np.float32)
    for at, character in enumerate(which):
        one = glyph(alphabet[character], hand, angle)
        h, w = one.cover.shape
        rows, columns = slice(above + one.top, above + one.top + h), slice(aside + one.left, aside + one.left + w)
        if cover[at, rows, columns].shape == one.cover.shape:
            cover[at, rows, columns] = one.cover / 255
    energy = (cover**2).sum((1, 2))
    return _Templates(which, cover.reshape(len(which), -1).T.copy(), energy, advance, *cover.shape[1:])


def _decoded(
    line: _Line, hand: Hand, alphabet: str, places: dict[int, list[tuple[int, int, int]]]
) -> tuple[str, float]:
    """The characters that together explain most of a line, none before the one to its left ends, and how much.

    `places` gives, by a character's width, the column, row and lean of each pen along the line.
    """
    pens = len(next(iter(places.values())))
    score, which = _gains(line, hand, alphabet, places, pens)
    best, gap = [0.0] * (pens + 1), hand.gap
    back: list[tuple[int, int] | None] = [None] * (pens + 1)
    for s in range(pens):
        if s and best[s - 1] > best[s]:
            best[s], back[s] = best[s - 1], None
        for wide, gains in score.items():
            end, gain = min(s + wide + gap, pens), best[s] + gains[s] - COST
            if gain > best[end]:
                best[end], back[end] = gain, (s, which[wide][s])
    if best[pens - 1] > best[pens]:
        best[pens], back[pens] = best[pens - 1], None
    found, s = [], pens
    while s > 0:
        step = back[s]
        if step is None:
            s -= 1
        else:
            found.append(alphabet[step[1]])
            s = step[0]
    return "".join(reversed(found)), float(best[pens])


def _gains(
    line: _Line, hand: Hand, alphabet: str, places: dict[int, list[tuple[int, int, int]]], pens: int
) -> tuple[dict[int, list[float]], dict[int, list[int]]]:
    """By width and pen, what the best character there explains, and which it is."""
    aside, margin = hand.px // 2, 3 * hand.px + hand.above
    cover, seen = (np.pad(one, margin) for one in (line.cover, line.seen))
    seen[:margin] = seen[-margin:] = 1  # beyond the cut there is ground
    seen[:, :margin] = seen[:, -margin:] = 1
    score, which = {}, {}
    for wide, path in places.items():
        ids = _templates(hand, alphabet, wide, 0).which
        gains = np.full((pens, len(ids)), -np.inf, np.float32)
        by_angle: dict[int, list[int]] = {}
        for s, (_, _, angle) in enumerate(path):
            by_angle.setdefault(angle, []).append(s)
        for angle, members in by_angle.items():
            known = _templates(hand, alphabet, wide, angle)
            up, back = margin - hand.above, margin - aside
            at = [(path[s][1] + up, path[s][0] + back) for s in members]
            inside = [
                (s, y, x)
                for s, (y, x) in zip(members, at, strict=True)
                if 0 <= y <= len(cover) - known.height and 0 <= x <= cover.shape[1] - known.width
            ]
            if not inside:
                continue
            rows, y, x = (np.array(column) for column in zip(*inside, strict=True))
            windows = np.lib.stride_tricks.sliding_window_view(cover, (known.height, known.width))[y, x]
            gain = 2 * windows.reshape(len(rows), -1) @ known.cover
            if line.seen.all():
                gain -= known.energy
            else:
                shown = np.lib.stride_tricks.sliding_window_view(seen, (known.height, known.width))[y, x]
                gain -= shown.reshape(len(rows), -1) @ known.cover**2
            gains[rows] = gain
        score[wide] = gains.max(1).tolist()
        which[wide] = [ids[one] for one in gains.argmax(1).tolist()]
    return score, which


def differing(told: Iterable[str], found: Iterable[str]) -> int:
    """How many words were missed or invented, whatever their order."""
    a, b = Counter(told), Counter(found)
    return (a - b).total() + (b - a).total()


@dataclass(frozen=True)
class Error:
    """What the reader gets wrong on true renders: shares of words and, by edit distance, of characters."""

    words: float
    characters: float


def reader_error(facts: Facts, texts: list[tuple[str, ...]], style: Style = STYLE, seed: int = 0) -> Error:
    """The reader's own error on these words in this style: the figure that stands beside each score it gives."""
    count = len(texts[0]) if texts else 1
    alphabet = "".join(sorted({character for row in texts for word in row for character in word} | set(ALPHABET[:62])))
    read = read_words(write(facts, texts, style, seed).images, style, count, alphabet)
    told, found = ([word for row in rows for word in row] for rows in (texts, read))
    wrong = sum(a != b for a, b in zip(told, found, strict=True))
    return Error(wrong / max(1, len(told)), cer(found, told))
