"""Orders with exact answers: texts to write, objects to point at, some of which are not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import COLOURS, SHAPES, Facts, combinations
from .caption import LANGUAGES, caption, language_of_tag
from .english import ENGLISH
from .grammar import noun_phrase
from .negatives import negative
from .plan import draw
from .questions import choose, unique

HINTS = {
    "colour": (
        "blood",
        "grass",
        "the sky at noon",
        "a ripe lemon",
        "lavender",
        "a pumpkin",
        "shallow tropical water",
        "chocolate",
    ),
    "shape": (
        "has no corner and no hole",
        "has four equal sides",
        "has exactly three corners",
        "has five points",
        "consists of two crossing bars",
        "has a hole",
    ),
}
"""What a colour is the colour of, and what is true of one shape only, by value."""


@dataclass(frozen=True, eq=False)
class Pointing:
    """Orders to point at an object, [Q]: `slot` is -1 where the scene has none such (a false premise)."""

    text: list[str]
    scene: np.ndarray
    """int64 [Q]: row of the facts."""
    slot: np.ndarray
    """int64 [Q]."""


@dataclass(frozen=True, eq=False)
class Instructions:
    """Orders to write something, [Q], with the one right answer."""

    text: list[str]
    answer: list[str]
    kind: list[str]
    scene: np.ndarray
    """int64 [Q]: row of the facts."""


def point(facts: Facts, language: str = "en", seed: int = 0, false: float = 0.0) -> Pointing:
    """ "point to the red circle": one object per scene; a share `false` names a kind that the part draws, not here."""
    lang = LANGUAGES[language_of_tag(language)]
    rows, slots, kinds = _targets(facts, seed, false)
    shapes = facts.config.shapes
    before, after = lang.point.text.split("{np}")
    phrases = {
        kind: noun_phrase(lang, {"shape": kind % shapes, "colour": kind // shapes}, lang.point.case, definite=True).text
        for kind in set(kinds.tolist())
    }
    return Pointing([before + phrases[kind] + after for kind in kinds.tolist()], rows, slots)


def implicit(facts: Facts, seed: int = 0, false: float = 0.0) -> Pointing:
    """Orders that name neither colour nor shape: "point to what has three corners and is the colour of grass"."""
    rows, slots, kinds = _targets(facts, seed, false)
    shapes = facts.config.shapes
    text = [
        f"point to what {HINTS['shape'][kind % shapes]} and is the colour of {HINTS['colour'][kind // shapes]}."
        for kind in kinds.tolist()
    ]
    return Pointing(text, rows, slots)


def instructions(facts: Facts, kinds: Sequence[str] = (), seed: int = 0) -> Instructions:
    """One order of each kind per scene that allows it. Objects are listed row by row, from the left.

    Raises:
        SensoriumError: a kind that is not one of KINDS.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise SensoriumError(f"instruction kind {kind!r}{nearest(kind, KINDS)}")
    asked = [(kind, *_KINDS[kind](facts, seed)) for kind in kinds or KINDS]
    return Instructions(
        text=[text for _, texts, _, _ in asked for text in texts],
        answer=[answer for _, _, answers, _ in asked for answer in answers],
        kind=[kind for kind, texts, _, _ in asked for _ in texts],
        scene=np.concatenate([rows for _, _, _, rows in asked]),
    )


def _targets(facts: Facts, seed: int, false: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, slots and kinds (colour x shapes + shape) to point at, int64 [Q] each."""
    weights = combinations(facts.config, facts.part)
    kind = np.where(facts.real(), facts.colour.astype(np.int64) * weights.shape[1] + facts.shape, -1)
    there = (kind[:, :, None] == np.arange(weights.size)).any(1)
    lacks = (draw(facts, 1, seed, "premise")[:, 0] < false)[:, None]
    named = np.zeros_like(there)
    rows, slots = np.nonzero(unique(facts, "colour", "shape"))
    named[rows, kind[rows, slots]] = True
    rows, asked = choose(np.where(lacks, ~there & (weights.ravel() > 0), named), facts, seed, "target")
    slots = (kind[rows] == asked[:, None]).argmax(1)
    return rows, np.where(lacks[rows, 0], -1, slots), asked


def _in_reading_order(facts: Facts) -> list[list[int]]:
    """The slots of each scene, row by row, from the left."""
    place = facts.row.astype(np.int64) * facts.config.cells + facts.col
    order = np.where(facts.real(), place, 1 << 20).argsort(1, kind="stable").tolist()
    return [slots[:n] for slots, n in zip(order, facts.n.tolist(), strict=True)]


def _listed(facts: Facts, factor: str, names: tuple[str, ...]) -> list[str]:
    values = getattr(facts, factor).tolist()
    return [
        ", ".join(names[row[slot]] for slot in slots) or "nothing"
        for row, slots in zip(values, _in_reading_order(facts), strict=True)
    ]


def _shapes(facts: Facts, seed: int) -> tuple[list[str], list[str], np.ndarray]:
    text = "name the shapes row by row, from the left."
    return [text] * len(facts), _listed(facts, "shape", SHAPES), np.arange(len(facts))


def _colours(facts: Facts, seed: int) -> tuple[list[str], list[str], np.ndarray]:
    text = "name the colours row by row, from the left."
    return [text] * len(facts), _listed(facts, "colour", COLOURS), np.arange(len(facts))


def _count(facts: Facts, seed: int) -> tuple[list[str], list[str], np.ndarray]:
    answer = [ENGLISH.number(n) if n else "zero" for n in facts.n.tolist()]
    return ["count the shapes."] * len(facts), answer, np.arange(len(facts))


def _translate(facts: Facts, seed: int) -> tuple[list[str], list[str], np.ndarray]:
    """Into one of the other languages, drawn by scene."""
    source = caption(facts, "short", "en", seed)
    drawn = 1 + np.floor(draw(facts, 1, seed, "translate")[:, 0] * (len(LANGUAGES) - 1)).astype(np.int64)
    into = [caption(facts, "short", language.tag, seed) for language in LANGUAGES]
    text = [f"translate into {LANGUAGES[at].name}: {line}" for at, line in zip(drawn.tolist(), source, strict=True)]
    return text, [into[at][row] for row, at in enumerate(drawn.tolist())], np.arange(len(facts))


def _correct(facts: Facts, seed: int) -> tuple[list[str], list[str], np.ndarray]:
    """One colour of the list is wrong."""
    wrong, changes = negative(facts, "colour", "list", "en", seed)
    rows = np.array([at for at, change in enumerate(changes) if change], np.int64)
    right = caption(facts, "list", "en", seed)
    return [f"correct the colour: {wrong[at]}" for at in rows], [right[at] for at in rows], rows


_KINDS: dict[str, Callable[[Facts, int], tuple[list[str], list[str], np.ndarray]]] = {
    "shapes": _shapes,
    "colours": _colours,
    "count": _count,
    "translate": _translate,
    "correct": _correct,
}
KINDS = tuple(_KINDS)
