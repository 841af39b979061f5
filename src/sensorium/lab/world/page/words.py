"""Words as pictures: fonts, sizes, arcs, covered letters, strings without meaning, with the box of each character.

Shape legend: N scenes, M words of a picture, L most characters of a word, H W pixels. A picture depends on the scene's
number, the style and the seed; style dials are drawn apart, so the same words in another style stand at the same place
but for their size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

from ..facts import COLOURS, GROUNDS, INDIVIDUALS, Facts
from ..lang import TAGS, vocabulary
from ..lang.labels import FONTS
from ..lang.names import name_word
from ..lang.plan import below, draw
from ..scene import MAGENTA, add_noise
from ..sprites import colour_code, colours, ground_code
from .fonts import Hand, glyph
from .glyphs import drawable
from .typeset import ink

KINDS = ("word", "name", "letters", "number")
"""word: of the captions' vocabulary; name: of a hidden individual; letters: a word's letters shuffled into none;
number: one to four digits."""
INKS = ("black", *COLOURS)


@dataclass(frozen=True)
class Style:
    """How words are drawn; none of it is said by them."""

    fonts: tuple[str, ...] = ("sans",)
    px: tuple[int, int] = (8, 11)
    """Least and largest height of a capital in pixels."""
    curve: int = 0
    """Degrees by which the first and the last character of an arc lean, to either side by a coin."""
    covered: float = 0.0
    """Share of a word's width that one bar hides."""
    inks: tuple[str, ...] = ("black",)
    grounds: tuple[str, ...] = ("white",)
    noise: float = 6.0
    """Standard deviation of each channel, in grey levels of 255."""
    jitter: float = 1.0
    """Share of the free room in which a word lies anywhere; 0 is the middle."""
    script: str = "plain"
    height: int = 32
    width: int = 128

    def __post_init__(self) -> None:
        for what, given, valid in (
            ("font", self.fonts, FONTS),
            ("ink", self.inks, INKS),
            ("ground", self.grounds, GROUNDS),
        ):
            if not given:
                raise SensoriumError(f"no {what}; expected some of {', '.join(valid)}")
            for name in given:
                if name not in valid:
                    raise SensoriumError(f"{what} {name!r}{nearest(name, valid)}")
        for number in self.px:
            Hand("sans", number, self.script)
        if self.px[0] > self.px[1]:
            raise SensoriumError(f"letters of {self.px[0]} to {self.px[1]} pixels; expected the smaller size first")
        for name, value, low, high in (
            ("curve", self.curve, 0, 60),
            ("covered", self.covered, 0, 0.9),
            ("noise", self.noise, 0, 255),
            ("jitter", self.jitter, 0, 1),
            ("height", self.height, 8, 4096),
            ("width", self.width, 8, 4096),
        ):
            if not low <= value <= high:
                raise SensoriumError(f"{name} {value}; expected {low} to {high}")
        if set(self.inks) & set(self.grounds):
            raise SensoriumError(f"inks {self.inks} on grounds {self.grounds}; expected no colour among both")


STYLE = Style()
DOCUMENT, SCENE = (
    Style(fonts=("serif", "sans", "mono"), noise=2.0),
    Style(fonts=FONTS, curve=20, inks=COLOURS, grounds=GROUNDS, noise=25.0, height=64, width=176),
)
"""Two domains of text, as SCOB (2309.12382) sets them apart: printed, and in the wild."""


@dataclass(frozen=True, eq=False)
class Written:
    """N pictures of M words each; boxes are x y x y in pixels, zeros where there is no such character."""

    images: np.ndarray
    """uint8 [N 3 H W]."""
    texts: list[tuple[str, ...]]
    boxes: np.ndarray
    """int16 [N M 4]: the ink of each word, covered or not."""
    characters: np.ndarray
    """int16 [N M L 4]."""
    hidden: np.ndarray
    """float32 [N M L]: share of a character's ink under the bar."""
    font: np.ndarray
    """int8 [N M], index into FONTS."""
    px: np.ndarray
    """int8 [N M]."""
    ink: np.ndarray
    """uint8 [N H W]: how far each pixel is written on, 255 wholly; what a text detector or eraser should find."""


def strings(
    facts: Facts, kind: str = "word", count: int = 1, language: str = "en", held: float = 0.0, seed: int = 0
) -> list[tuple[str, ...]]:
    """`count` strings per scene. A share `held` of the words, names aside, appears in the part `test` only.

    Raises:
        SensoriumError: a kind not in KINDS, a language not in TAGS.
    """
    if kind not in KINDS:
        raise SensoriumError(f"strings of kind {kind!r}{nearest(kind, KINDS)}")
    if kind in ("name", "number"):
        drawn = draw(facts, 2 * count, seed, "page", kind)
        make = _number if kind == "number" else _name
        return [tuple(make(*row[2 * at : 2 * at + 2]) for at in range(count)) for row in drawn.tolist()]
    known = _lexicon(language, held, facts.part if held else "")
    at = np.floor(draw(facts, count, seed, "page", "word", language) * len(known)).astype(np.int64)
    if kind == "letters":
        return [tuple(_shuffled(known[one], language) for one in row) for row in at.tolist()]
    return [tuple(known[one] for one in row) for row in at.tolist()]


def _number(size: float, value: float) -> str:
    digits = 1 + int(size * 4)
    low = 10 ** (digits - 1)
    return str(low + int(value * 9 * low))


def _name(_: float, value: float) -> str:
    return name_word(int(value * INDIVIDUALS))


@lru_cache
def _lexicon(language: str, held: float, part: str) -> tuple[str, ...]:
    """Words of two letters and more that can be drawn, those held out of a part left out."""
    if language not in TAGS:
        raise SensoriumError(f"language {language!r}{nearest(language, TAGS)}")
    if not 0 <= held < 1:
        raise SensoriumError(f"held {held}; expected a share of the words from 0 to below 1")
    every = sorted(word for word in vocabulary(language) if len(word) > 1 and word.isalpha() and drawable(word))
    order = np.random.Generator(np.random.Philox(derive("held words", language))).permutation(len(every)).tolist()
    kept = {every[at] for at in order[: round(held * len(every))]}
    return tuple(word for word in every if not part or (word in kept) == (part == "test" and bool(kept)))


@lru_cache(1 << 14)
def _shuffled(word: str, language: str) -> str:
    """The letters of a word in an order that is no word; those of too short a word are drawn from its language."""
    known = vocabulary(language)
    random = np.random.Generator(np.random.Philox(derive("letters", language, word)))
    for _ in range(20):
        mixed = "".join(random.permutation(list(word)).tolist())
        if mixed not in known:
            return mixed
    letters = sorted({letter for other in known for letter in other if letter.isalpha()})
    while (mixed := "".join(random.choice(letters, len(word)).tolist())) in known:
        continue
    return mixed


@dataclass(frozen=True)
class Arc:
    """Where each character of a word stands: columns and rows of the pen on the baseline, and its lean in degrees."""

    x: tuple[int, ...]
    y: tuple[int, ...]
    angle: tuple[int, ...]


@lru_cache(1 << 14)
def arc(text: str, hand: Hand, curve: int) -> Arc:
    """Pens from the left end of a straight baseline, or of the arc that leans from -curve to curve degrees."""
    pens, pen = [], 0
    for character in text:
        pens.append(pen)
        pen += glyph(character, hand).advance + hand.gap
    length = pen - hand.gap
    wide = [glyph(character, hand).advance for character in text]
    places = [bent(at + w / 2, w, length, curve) for at, w in zip(pens, wide, strict=True)]
    x, y, angle = zip(*places, strict=True)
    return Arc(x, y, angle)


def bent(middle: float, wide: int, length: int, curve: int) -> tuple[int, int, int]:
    """A character's middle along a line of some length -> its pen's column and row, and its lean, on the arc."""
    if not curve or length <= wide:
        return round(middle - wide / 2), 0, 0
    turn = np.radians(curve)
    radius = length / 2 / turn
    lean = (middle - length / 2) / radius
    column = length / 2 + radius * np.sin(lean)
    return round(float(column) - wide / 2), round(float(radius * (1 - np.cos(lean)))), round(float(np.degrees(lean)))


@dataclass(frozen=True, eq=False)
class _Shape:
    """A word as pixels: its coverage, and the box of each character in it."""

    cover: np.ndarray
    characters: np.ndarray


@lru_cache(1 << 14)
def _shape(text: str, hand: Hand, curve: int) -> _Shape:
    places = arc(text, hand, curve)
    boxes, found = [], []
    for character, x, y, angle in zip(text, places.x, places.y, places.angle, strict=True):
        one = glyph(character, hand, angle)
        found.append(one.cover)
        boxes.append((x + one.left, y + one.top, x + one.left + one.cover.shape[1], y + one.top + one.cover.shape[0]))
    characters = np.array(boxes, np.int16)
    characters -= np.tile(characters[:, :2].min(0), 2)
    w, h = characters[:, 2:].max(0).tolist()
    cover = np.zeros((h, w), np.uint8)
    for (a, b, c, d), pixels in zip(characters.tolist(), found, strict=True):
        part = cover[b:d, a:c]
        np.maximum(part, pixels, out=part)
    cover.flags.writeable = characters.flags.writeable = False
    return _Shape(cover, characters)


def tone(name: str) -> tuple[int, int, int]:
    """The colour of an ink or a ground."""
    code = ground_code(np.array(GROUNDS.index(name))) if name in GROUNDS else colour_code(np.array(COLOURS.index(name)))
    r, g, b = colours("plain")[code].tolist()
    return r, g, b


def write(facts: Facts, texts: list[tuple[str, ...]], style: Style = STYLE, seed: int = 0) -> Written:
    """Each scene's words below each other, one to a band; the number of words is the density.

    Raises:
        SensoriumError: a word without room in its band, numbers of words that differ, a character without strokes.
    """
    if len(texts) != len(facts) or len({len(row) for row in texts}) > 1:
        raise SensoriumError(f"{len(texts)} rows of words for {len(facts)} scenes; expected one each, equally long")
    n, m, most = len(texts), len(texts[0]) if texts else 0, max((len(word) for row in texts for word in row), default=0)
    out = Written(
        images=np.zeros((n, 3, style.height, style.width), np.uint8),
        texts=texts,
        boxes=np.zeros((n, m, 4), np.int16),
        characters=np.zeros((n, m, most, 4), np.int16),
        hidden=np.zeros((n, m, most), np.float32),
        font=np.zeros((n, m), np.int8),
        px=np.zeros((n, m), np.int8),
        ink=np.zeros((n, style.height, style.width), np.uint8),
    )
    luck = draw(facts, 7 * m, seed, "page", "write").reshape(n, m, 7)
    ground = below(facts, len(style.grounds), seed, "page", "ground")
    for i, row in enumerate(texts):
        out.images[i] = np.array(tone(style.grounds[ground[i]]), np.uint8)[:, None, None]
        for j, text in enumerate(row):
            _write_one(out, i, j, text, luck[i, j].tolist(), style)
    if style.noise and n:
        add_noise(out.images, facts.index, style.noise, (facts.seed, facts.part, seed, "page"))
    return out


def _write_one(out: Written, i: int, j: int, text: str, luck: list[float], style: Style) -> None:
    font, size, side, down, across, where, colour = luck
    hand = Hand(
        style.fonts[int(font * len(style.fonts))],
        style.px[0] + int(size * (style.px[1] - style.px[0] + 1)),
        style.script,
    )
    shape = _shape(text, hand, style.curve if side < 0.5 else -style.curve)
    h, w = shape.cover.shape
    top, bottom = (style.height * at // len(out.texts[i]) for at in (j, j + 1))
    x, y = _placed(style.width - w, across, style.jitter), top + _placed(bottom - top - h, down, style.jitter)
    if w > style.width or h > bottom - top:
        raise SensoriumError(
            f"{text!r} is {h} x {w} pixels in {hand.font} {hand.px}; expected at most {bottom - top} x {style.width}: "
            "a larger picture, fewer words or smaller letters"
        )
    ink(out.images[i], shape.cover, x, y, tone(style.inks[int(colour * len(style.inks))]))
    out.ink[i, y : y + h, x : x + w] = shape.cover
    corners = shape.characters + np.array([x, y, x, y], np.int16)
    out.characters[i, j, : len(text)] = corners
    out.boxes[i, j] = x, y, x + w, y + h
    out.font[i, j], out.px[i, j] = FONTS.index(hand.font), hand.px
    if bar := round(style.covered * w):
        start = x + int(where * (w - bar + 1))
        out.images[i, :, top:bottom, start : start + bar] = MAGENTA[:, None, None]
        out.hidden[i, j, : len(text)] = _hidden(shape, start - x, bar)


def _placed(room: int, luck: float, jitter: float) -> int:
    moves = round(max(room, 0) * jitter)
    return (max(room, 0) - moves) // 2 + int(luck * (moves + 1))


def _hidden(shape: _Shape, start: int, bar: int) -> list[float]:
    """The share of each character's ink in the bar's columns."""
    shares = []
    for a, b, c, d in shape.characters.tolist():
        columns = shape.cover[b:d, a:c].sum(0, dtype=np.int64)
        inside = (np.arange(a, c) >= start) & (np.arange(a, c) < start + bar)
        shares.append(float(columns[inside].sum() / columns.sum()))
    return shares
