"""Fonts drawn from the strokes: how a character looks as pixels, and how far it moves the pen.

Shape legend: h w pixels of a character's own ink. A size is the height of capitals in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

from ..lang.labels import FONTS
from .glyphs import CAPITAL, DESCENT, SCRIPTS, Stroke, strokes

SMALLEST, LARGEST = 5, 96
GAP = 1.2
"""Space between two characters, in grid units; a space between words is 3."""
_HIGHEST = 8.5
FAINT = 32
"""Coverage, of 255, below which a pixel stays blank."""


@dataclass(frozen=True)
class Font:
    """The visual attributes of a font; lengths in grid units, of which a capital has six."""

    weight: float = 0.9
    """Width of a stroke."""
    slant: float = 0.0
    """Units to the right per unit of height."""
    stretch: float = 1.0
    """Width over that of the grid."""
    serif: float = 0.0
    """Half the length of the bars at the ends of upright strokes."""
    fixed: bool = False
    """Every character has the same width."""
    rounded: bool = False
    """Corners are cut."""
    wobble: float = 0.0
    """How far each point lies off the grid."""


ATTRIBUTES: dict[str, Font] = {
    "serif": Font(weight=0.8, serif=0.7),
    "sans": Font(),
    "mono": Font(weight=0.75, fixed=True),
    "script": Font(weight=0.7, slant=0.35, rounded=True),
    "display": Font(weight=1.7, stretch=1.2),
    "hand": Font(weight=0.85, rounded=True, wobble=0.3, slant=-0.08),
}
"""The fonts that `lang.labels.FONTS` names."""


@dataclass(frozen=True)
class Hand:
    """A way of writing: font, size (height of capitals in pixels) and script."""

    font: str = "sans"
    px: int = 7
    script: str = "plain"

    def __post_init__(self) -> None:
        if self.font not in FONTS:
            raise SensoriumError(f"font {self.font!r}{nearest(self.font, FONTS)}")
        if self.script not in SCRIPTS:
            raise SensoriumError(f"script {self.script!r}{nearest(self.script, SCRIPTS)}")
        if not SMALLEST <= self.px <= LARGEST:
            raise SensoriumError(
                f"letters of {self.px} pixels; expected {SMALLEST} to {LARGEST}, the height of a capital"
            )

    @property
    def above(self) -> int:
        """Pixels from the baseline up to the highest accent."""
        return math.ceil((_HIGHEST + 0.5 * ATTRIBUTES[self.font].weight) * self.px / CAPITAL)

    @property
    def below(self) -> int:
        """Pixels from the baseline down to the lowest descender."""
        return math.ceil((DESCENT + 0.5 * ATTRIBUTES[self.font].weight) * self.px / CAPITAL) + 1

    @property
    def line(self) -> int:
        """Pixels from one baseline to the next."""
        return round(self.px * 11 / CAPITAL) + 1

    @property
    def gap(self) -> int:
        """Pixels between two characters."""
        return max(1, round(GAP * self.px / CAPITAL))

    @property
    def space(self) -> int:
        """Pixels between two words."""
        return max(self.gap + 2, round(3.5 * self.px / CAPITAL))


@dataclass(frozen=True, eq=False)
class Glyph:
    """One character as pixels: coverage, and where its first pixel lies from the pen on the baseline."""

    cover: np.ndarray
    """uint8 [h w], 255 is ink; no empty row or column at the edges."""
    top: int
    """Rows from the baseline to the first one, negative above."""
    left: int
    advance: int
    """Columns from this pen to the next, without the gap; ink lies within them where the angle is 0."""


@lru_cache(1 << 15)
def glyph(character: str, hand: Hand, angle: int = 0) -> Glyph:
    """A character, turned clockwise by whole degrees about the middle of its foot."""
    font, unit = ATTRIBUTES[hand.font], hand.px / CAPITAL
    lines = _styled(character, font, hand.script)
    if not lines:
        return Glyph(np.zeros((0, 0), np.uint8), 0, 0, hand.space)
    widest = max(x for line in lines for x, _ in line)
    narrowest = min(x for line in lines for x, _ in line)
    slack = (4 * font.stretch - (widest - narrowest)) / 2 if font.fixed else 0.0
    half = 0.5 * font.weight * unit
    advance = math.ceil((widest - narrowest + 2 * max(slack, 0)) * unit + 2 * half)
    shift = half + max(slack, 0) * unit - narrowest * unit
    turn, middle = math.radians(angle), advance / 2
    points = [[(x * unit + shift - middle, -y * unit) for x, y in line] for line in lines]
    turned = [
        [(x * math.cos(turn) - y * math.sin(turn) + middle, x * math.sin(turn) + y * math.cos(turn)) for x, y in line]
        for line in points
    ]
    return _rasterised(turned, half, advance)


def _rasterised(lines: list[list[tuple[float, float]]], half: float, advance: int) -> Glyph:
    """Lines in pixels -> ink where a pixel's centre is within half a stroke of one, its edge one pixel soft."""
    every = np.array([point for line in lines for point in line])
    low, high = np.floor(every.min(0) - half - 1).astype(int), np.ceil(every.max(0) + half + 1).astype(int)
    y, x = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1] + 0.5
    away = np.full(x.shape, np.inf)
    for line in lines:
        for a, b in zip(line, line[1:] or line, strict=False):
            away = np.minimum(away, _distance(x, y, a, b))
    cover = (np.clip(half + 0.5 - away, 0, 1) * 255).round().astype(np.uint8)
    cover[cover < min(FAINT, cover.max())] = 0
    rows, columns = np.flatnonzero(cover.any(1)), np.flatnonzero(cover.any(0))
    cover = np.ascontiguousarray(cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    cover.flags.writeable = False
    return Glyph(cover, int(low[1] + rows[0]), int(low[0] + columns[0]), advance)


def _distance(x: np.ndarray, y: np.ndarray, a: tuple[float, float], b: tuple[float, float]) -> np.ndarray:
    """How far each point is from the line between a and b."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = dx * dx + dy * dy
    along = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / length, 0, 1) if length else 0.0
    return np.asarray(np.hypot(x - a[0] - along * dx, y - a[1] - along * dy))


@lru_cache(1 << 12)
def _styled(character: str, font: Font, script: str) -> tuple[Stroke, ...]:
    """The strokes of a character as a font bends them."""
    lines = list(strokes(character, script))
    if font.wobble:
        random = np.random.Generator(np.random.Philox(derive("wobble", character)))
        lines = [
            tuple((x + dx, y + dy) for (x, y), (dx, dy) in zip(line, _off(random, line, font).tolist(), strict=True))
            for line in lines
        ]
    if font.serif:
        lines += _serifs(lines, font.serif)
    if font.rounded:
        lines = [_rounded(line) for line in lines]
    return tuple(tuple(((x + font.slant * y) * font.stretch, y) for x, y in line) for line in lines)


def _off(random: np.random.Generator, line: Stroke, font: Font) -> np.ndarray:
    """Equal points of a closed line move together."""
    off: np.ndarray = random.uniform(-font.wobble, font.wobble, (len(line), 2))
    if len(line) > 1 and line[0] == line[-1]:
        off[-1] = off[0]
    return off


def _serifs(lines: list[Stroke], half: float) -> list[Stroke]:
    """A level bar at each free end of an upright stroke."""
    out: list[Stroke] = []
    for line in lines:
        for (x, y), (next_x, _) in ((line[0], line[1]), (line[-1], line[-2])) if len(line) > 1 else ():
            if x == next_x and y in (0.0, 4.0, 6.0):
                out.append(((x - half, y), (x + half, y)))
    return out


def _rounded(line: Stroke) -> Stroke:
    """Corners cut twice (Chaikin, 1974); ends stay, and a closed line stays closed."""
    for _ in range(2):
        if len(line) < 3:
            return line
        closed = line[0] == line[-1]
        cut = [
            (a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part)
            for a, b in pairwise(line)
            for part in (0.25, 0.75)
        ]
        line = (*cut, cut[0]) if closed else (line[0], *cut[1:-1], line[-1])
    return line
