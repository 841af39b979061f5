"""Text on a page: words set in lines, with the box of the ink of every word and character.

Boxes are x y x y in pixels, the outer edges of what is inked: columns x0 to x1 - 1, rows y0 to y1 - 1.
Shape legend: L characters of a word, H W pixels of a page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError

from .fonts import Hand, glyph

BLACK, GREY, WHITE = (0, 0, 0), (128, 128, 128), (255, 255, 255)
Colour = tuple[int, int, int]


class Box(NamedTuple):
    """Outer edges in pixels."""

    x0: int
    y0: int
    x1: int
    y1: int


class Placed(NamedTuple):
    """A word where it stands."""

    text: str
    box: Box


@dataclass(frozen=True, eq=False)
class Strip:
    """A word as pixels, measured from the pen on the baseline."""

    cover: np.ndarray
    """uint8 [h w], cut to the ink."""
    top: int
    left: int
    characters: np.ndarray
    """int16 [L 4]: the ink of each character."""
    advance: int


@lru_cache(1 << 14)
def strip(text: str, hand: Hand) -> Strip:
    """A word without spaces on a straight line."""
    pens, pen = [], 0
    for character in text:
        pens.append(pen)
        pen += glyph(character, hand).advance + hand.gap
    found = [glyph(character, hand) for character in text]
    boxes = np.array(
        [
            (x + g.left, g.top, x + g.left + g.cover.shape[1], g.top + g.cover.shape[0])
            for x, g in zip(pens, found, strict=True)
        ],
        np.int16,
    )
    x0, y0, (x1, y1) = int(boxes[:, 0].min()), int(boxes[:, 1].min()), boxes[:, 2:].max(0).tolist()
    cover = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for (a, b, c, d), one in zip(boxes.tolist(), found, strict=True):
        part = cover[b - y0 : d - y0, a - x0 : c - x0]
        np.maximum(part, one.cover, out=part)
    return Strip(cover, y0, x0, boxes, pen - hand.gap)


def ink(image: np.ndarray, cover: np.ndarray, x: int, y: int, colour: Colour) -> None:
    """Paint coverage uint8 [h w] onto uint8 [3 H W], its first pixel at column x and row y."""
    h, w = cover.shape
    part = image[:, y : y + h, x : x + w]
    if not cover.size or not cover.any():
        return
    tone = np.array(colour, np.int32)[:, None, None]
    part[:] = (part * (255 - cover.astype(np.int32)) + tone * cover + 127) // 255


@dataclass
class Sheet:
    """A page that is being written."""

    image: np.ndarray
    """uint8 [3 H W]."""
    words: list[Placed] = field(default_factory=list)

    def word(self, text: str, x: int, y: int, hand: Hand, colour: Colour = BLACK) -> Placed:
        """A word with its pen at column x on the baseline y.

        Raises:
            SensoriumError: it does not fit on the page.
        """
        one = strip(text, hand)
        h, w = one.cover.shape
        box = Box(x + one.left, y + one.top, x + one.left + w, y + one.top + h)
        height, width = self.image.shape[1:]
        if min(box) < 0 or box.x1 > width or box.y1 > height:
            raise SensoriumError(
                f"page of {height} x {width} pixels: no room for {text!r} at {hand.px} pixels a letter; expected a "
                "larger page, smaller letters or less text"
            )
        ink(self.image, one.cover, box.x0, box.y0, colour)
        placed = Placed(text, box)
        self.words.append(placed)
        return placed

    def line(self, text: str, x: int, y: int, hand: Hand, colour: Colour = BLACK) -> Box:
        """Words on one baseline; returns the box around them."""
        boxes = []
        for word in text.split():
            boxes.append(self.word(word, x, y, hand, colour).box)
            x += strip(word, hand).advance + hand.space
        return around(boxes)

    def paragraph(self, text: str, x: int, top: int, width: int, hand: Hand, colour: Colour = BLACK) -> Box:
        """Lines of at most `width` columns below row `top`; returns the box around them."""
        boxes = [
            self.line(line, x, top + first(hand) + at * hand.line, hand, colour)
            for at, line in enumerate(wrapped(text, width, hand))
        ]
        return around(boxes)

    def rectangle(self, box: Box, colour: Colour, filled: bool = True) -> None:
        """A rectangle, or its edge of one pixel."""
        tone = np.array(colour, np.uint8)[:, None, None]
        x0, y0, x1, y1 = box
        for a, b, c, d in (
            [box]
            if filled
            else [(x0, y0, x1, y0 + 1), (x0, y1 - 1, x1, y1), (x0, y0, x0 + 1, y1), (x1 - 1, y0, x1, y1)]
        ):
            self.image[:, b:d, a:c] = tone

    def paste(self, picture: np.ndarray, x: int, y: int) -> Box:
        """A picture uint8 [3 h w] with its first pixel at column x and row y.

        Raises:
            SensoriumError: it does not fit on the page.
        """
        (_, h, w), (height, width) = picture.shape, self.image.shape[1:]
        if min(x, y) < 0 or x + w > width or y + h > height:
            raise SensoriumError(
                f"page of {height} x {width} pixels: no room for a picture of {h} x {w}; expected a larger page"
            )
        self.image[:, y : y + h, x : x + w] = picture
        return Box(x, y, x + w, y + h)


def blank(height: int, width: int, colour: Colour = WHITE) -> Sheet:
    """An empty page."""
    return Sheet(np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, height, width)).copy())


def first(hand: Hand) -> int:
    """Rows from the top of a paragraph to its first baseline."""
    return hand.px + max(2, hand.px // 3)


def extent(text: str, hand: Hand) -> int:
    """Columns that a line takes."""
    words = text.split()
    return sum(strip(word, hand).advance for word in words) + hand.space * max(0, len(words) - 1)


def wrapped(text: str, width: int, hand: Hand) -> list[str]:
    """A text as lines of at most `width` columns; a longer word stands alone."""
    lines: list[str] = []
    for word in text.split():
        if lines and extent(lines[-1] + " " + word, hand) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def around(boxes: list[Box]) -> Box:
    """The smallest box that holds all of them; zeros for none."""
    if not boxes:
        return Box(0, 0, 0, 0)
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return Box(min(x0), min(y0), max(x1), max(y1))
