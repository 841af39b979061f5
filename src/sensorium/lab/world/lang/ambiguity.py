"""Texts that say too little, or two things at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sensorium.core import SensoriumError

from ..facts import COLOURS, SHAPES, Facts
from .caption import wording, write
from .checking import true_of
from .plan import below, draw, plan
from .questions import choose

LEVELS = 5
"""0: a shape; 1: its colour or its form; 2: both; 3: two objects, one of them without its colour; 4: two in full."""


@dataclass(frozen=True, eq=False)
class Homonym:
    """A sentence whose last content word is a colour or a shape of the world, and something else besides."""

    sentence: str
    word: str
    factor: str
    value: int
    literal: str
    """German for the word as the picture has it."""
    other: str
    """German for what else it means."""


def _homonym(sentence: str, word: str, literal: str, other: str) -> Homonym:
    factor, names = ("colour", COLOURS) if word in COLOURS else ("shape", SHAPES)
    return Homonym(sentence, word, factor, names.index(word), literal, other)


HOMONYMS = (
    _homonym("all my friends are in one circle", "circle", "Kreis", "Freundeskreis"),
    _homonym("we meet at the square", "square", "Quadrat", "Marktplatz"),
    _homonym("she strikes the triangle", "triangle", "Dreieck", "Triangel"),
    _homonym("we saw a star last night", "star", "Stern", "Filmstar"),
    _homonym("that one is cross", "cross", "Kreuz", "wütend"),
    _homonym("she gave me a ring yesterday", "ring", "Ring", "Anruf"),
    _homonym("he is in the red", "red", "Rot", "Schulden"),
    _homonym("you are still green", "green", "grün", "unerfahren"),
    _homonym("he looks blue today", "blue", "blau", "traurig"),
    _homonym("that one is yellow", "yellow", "gelb", "feige"),
    _homonym("this is a purple passage", "purple", "violett", "schwülstig"),
    _homonym("i would like the orange", "orange", "Orange", "Apfelsine"),
)


@dataclass(frozen=True, eq=False)
class Puns:
    """Q sentences with two senses; the picture decides which is meant: the literal one if it shows the thing."""

    text: list[str]
    span: list[tuple[int, int]]
    """Where the word with two senses stands."""
    options: list[tuple[str, str]]
    """German for the literal sense and for the other."""
    answer: np.ndarray
    """int64 [Q], index into the options; 0 and 1 equally likely for every sentence."""
    scene: np.ndarray
    """int64 [Q]: row of the facts."""


def ambiguous(facts: Facts, level: int, language: str = "en", seed: int = 0) -> list[str]:
    """A true caption per scene that says as much as its level (see LEVELS); scenes with one object end at level 2.

    Raises:
        SensoriumError: a level outside 0 to LEVELS - 1.
    """
    if not 0 <= level < LEVELS:
        raise SensoriumError(f"ambiguity level {level}; expected 0 to {LEVELS - 1}")
    said = plan(facts, "one" if level < 3 else "short", seed)
    colour, shape = said.colour.copy(), said.shape.copy()
    first = below(facts, 2, seed, "ambiguous") == 0
    if level == 0:
        colour[:], shape[:] = -1, -1
    elif level == 1:
        colour[first], shape[~first] = -1, -1
    elif level == 3:
        at = np.where(first, 0, colour.shape[1] - 1)
        colour[facts.n > 1, at[facts.n > 1]] = -1
    said = replace(said, colour=colour, shape=shape)
    return write(said, wording(said, language))


def fits(texts: list[str], facts: Facts, language: str = "") -> np.ndarray:
    """int64 [T]: of how many of the scenes each text is true."""
    counts = {text: int(true_of(text, facts, language).sum()) for text in set(texts)}
    return np.array([counts[text] for text in texts], np.int64)


def puns(facts: Facts, seed: int = 0) -> Puns:
    """One sentence per scene; a coin decides whether its word is to be seen there."""
    seen = np.stack([(getattr(facts, pun.factor) == pun.value).any(1) for pun in HOMONYMS], 1)
    known = np.array(
        [pun.value < (facts.config.colours if pun.factor == "colour" else facts.config.shapes) for pun in HOMONYMS]
    )
    literal = draw(facts, 1, seed, "pun")[:, 0] < 0.5
    rows, chosen = choose((seen == literal[:, None]) & known, facts, seed, "pun", "which")
    used = [HOMONYMS[at] for at in chosen.tolist()]
    starts = [pun.sentence.index(pun.word) for pun in used]
    return Puns(
        text=[pun.sentence for pun in used],
        span=[(start, start + len(pun.word)) for start, pun in zip(starts, used, strict=True)],
        options=[(pun.literal, pun.other) for pun in used],
        answer=np.where(literal[rows], 0, 1),
        scene=rows,
    )
