"""Pictures with a line of text across them, labelled by what the two say together and neither says alone.

A group is four memes of one scene: two pictures that differ in one fact, each with both texts, one true of each.
So each picture and each text stands in as many positive as negative memes (the confounders of 2005.04790).

Shape legend: M memes, H W pixels, S side of the picture, T techniques.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.core import SensoriumError

from ..facts import Facts
from ..lang import caption, row_by_row
from ..lang.plan import below, draw, plan
from ..operators import where
from ..scene import render
from .fonts import Hand
from .outline import edited
from .reading import transcribe
from .typeset import BLACK, WHITE, Placed, blank, extent, first, wrapped

FACTORS = ("colour", "shape")
TONES = ("plain", "praise", "alarm")
_SAID = {"plain": "{}", "praise": "how lovely: {}", "alarm": "beware of {}"}
TECHNIQUES = ("honest", "misleading", "information", "flattery", "warning", "distraction", "seduction", "scare")
PARENTS = {
    "information": "honest",
    "flattery": "honest",
    "warning": "honest",
    "distraction": "misleading",
    "seduction": "misleading",
    "scare": "misleading",
}
"""The techniques' tree, child to parent: the picture decides the branch, the tone of the text the leaf."""


@dataclass(frozen=True, eq=False)
class Memes:
    """M memes, four in a row for each scene that allows it."""

    images: np.ndarray
    """uint8 [M 3 H W]: with their text, in bands above and below the picture."""
    pictures: np.ndarray
    """uint8 [M 3 S S]: without."""
    texts: list[str]
    label: np.ndarray
    """bool [M]: the text is false of the picture."""
    scene: np.ndarray
    """int64 [M]: row of the facts."""
    factor: np.ndarray
    """int8 [M], index into FACTORS: what the two pictures of a group differ in."""
    tone: np.ndarray
    """int8 [M], index into TONES."""
    words: list[tuple[Placed, ...]]
    techniques: np.ndarray
    """bool [M T]: a leaf and what stands above it."""


def memes(facts: Facts, size: int = 96, language: str = "en", px: int = 6, tones: bool = False, seed: int = 0) -> Memes:
    """Groups of four in an order of their own. With `tones`, English texts praise or warn.

    A scene has no group where the object has no other value, or an equal one elsewhere makes both texts true.

    Raises:
        SensoriumError: a null world, tones in another language, text that does not fit.
    """
    if tones and language != "en":
        raise SensoriumError(f"tones in {language!r}; expected 'en', or no tones")
    if facts.config.null:
        raise SensoriumError(
            f"null world {facts.config.null!r}; expected one whose pictures show the facts: labels need both"
        )
    factor = below(facts, len(FACTORS), seed, "page", "meme factor")
    slot = plan(facts, "one", seed).slot[:, 0].astype(np.int64)
    (coloured, fits), (shaped, fits_too) = (edited(facts, slot, name, seed) for name in FACTORS)
    worlds = facts, where(factor == 0, coloured, shaped)
    said = [caption(world, "one", language, seed) for world in worlds]
    mixed = row_by_row(said[0], worlds[1], language) | row_by_row(said[1], worlds[0], language)
    kept = np.flatnonzero(~mixed & np.where(factor == 0, fits, fits_too))
    voice = below(facts, len(TONES), seed, "page", "tone") if tones else np.zeros(len(facts), np.int64)
    order = draw(facts, 4, seed, "page", "meme order").argsort(1)
    scene = np.repeat(kept, 4)
    shown, told = np.divmod(order[kept].ravel(), 2)
    pictures = np.stack([render(world, size) for world in worlds], 1)[scene, shown]
    texts = [_SAID[TONES[voice[i]]].format(said[b][i]) for i, b in zip(scene.tolist(), told.tolist(), strict=True)]
    drawn = [_captioned(picture, text, Hand("sans", px)) for picture, text in zip(pictures, texts, strict=True)]
    label, spoken = shown != told, voice[scene]
    return Memes(
        np.stack([image for image, _ in drawn]) if drawn else np.zeros((0, 3, size + 2 * _band(px), size), np.uint8),
        pictures,
        texts,
        label,
        scene,
        factor[scene].astype(np.int8),
        spoken.astype(np.int8),
        [words for _, words in drawn],
        _techniques(label, spoken),
    )


def _band(px: int) -> int:
    """Rows above and below the picture, a line of text each."""
    return Hand("sans", px).line + 4


def _captioned(picture: np.ndarray, text: str, hand: Hand) -> tuple[np.ndarray, tuple[Placed, ...]]:
    """The text in white on black: the first line above the picture, the second below it."""
    size, band = picture.shape[1], _band(hand.px)
    sheet = blank(size + 2 * band, size, BLACK)
    sheet.paste(picture, 0, band)
    lines = wrapped(text, size - 4, hand)
    if len(lines) > 2:
        raise SensoriumError(
            f"{text!r} takes {len(lines)} lines of {size - 4} pixels; expected 2: a larger picture "
            f"or letters smaller than {hand.px}"
        )
    for at, line in enumerate(lines):
        top = at * (size + band)
        sheet.line(line, (size - extent(line, hand)) // 2, top + 1 + first(hand), hand, WHITE)
    return sheet.image, tuple(sheet.words)


def _techniques(label: np.ndarray, voice: np.ndarray) -> np.ndarray:
    """bool [M] and tones [M] -> bool [M T]."""
    out = np.zeros((len(label), len(TECHNIQUES)), bool)
    leaves = np.array([TECHNIQUES.index(name) for name in PARENTS]).reshape(2, len(TONES))
    leaf = leaves[label.astype(int), voice]
    rows = np.arange(len(label))
    out[rows, leaf] = True
    above = np.array([TECHNIQUES.index(PARENTS[name]) if name in PARENTS else -1 for name in TECHNIQUES])
    out[rows, above[leaf]] = True
    return out


def read(image: np.ndarray, size: int = 96, px: int = 6) -> str:
    """uint8 [3 H W] -> the text of a drawn meme: exact but for what `reading.transcribe` misreads."""
    band, hands = _band(px), (Hand("sans", px),)
    parts = image[:, :band], image[:, band + size :]
    lines = [transcribe(part, hands, (WHITE,), BLACK) for part in parts]
    return " ".join(word.text for line in lines for word in sorted(line, key=lambda one: one.box.x0))
