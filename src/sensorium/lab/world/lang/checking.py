"""Is a text true of a scene, and which of its facts are right.

Shape legend: N scenes, K object slots of a scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from sensorium.core import SensoriumError

from ..facts import Facts
from .caption import caption
from .reading import Mention, Reading, read

FACTORS = ("shape", "colour", "size", "texture", "place", "relation", "ground", "count")
_OF_OBJECTS = FACTORS[:5]
_WEIGHTS = {"shape": 1.2, "colour": 1.0, "place": 0.5, "size": 0.3, "texture": 0.3}
"""Which object a mention means: the one of its shape before the one of its colour, and so on."""


@dataclass(frozen=True)
class Check:
    """Per factor and scene, int64 [N]: facts told right, wrong, and not at all. Objects invented count as wrong."""

    right: dict[str, np.ndarray]
    wrong: dict[str, np.ndarray]
    missing: dict[str, np.ndarray]
    unknown: np.ndarray
    """int64 [N]: words that mean nothing here."""

    def recall(self, factor: str) -> float:
        """Facts told right among all that there are; NaN with none."""
        return _share(self.right[factor].sum(), (self.wrong[factor] + self.missing[factor]).sum())

    def precision(self, factor: str) -> float:
        """Facts told right among those told; NaN with none."""
        return _share(self.right[factor].sum(), self.wrong[factor].sum())


def true_of(text: str, facts: Facts, language: str = "") -> np.ndarray:
    """bool [N]: a scene has different objects for all that the text mentions, in its relations, number and ground."""
    return holds_of(read(text, language, facts.config.cells), facts)


def holds_of(said: Reading, facts: Facts) -> np.ndarray:
    """bool [N]: `true_of` for a text that was read already. Words that mean nothing here do not count."""
    true = np.ones(len(facts), bool)
    if said.ground >= 0:
        true &= facts.ground == said.ground
    if said.count >= 0:
        true &= facts.n == said.count
    for mention in said.absent:
        true &= ~_fits(mention, facts).any(1)
    if not said.mentions:
        return true
    return np.asarray(true & _placed(said, facts, [_fits(mention, facts) for mention in said.mentions]))


def row_by_row(texts: Sequence[str], facts: Facts, language: str = "") -> np.ndarray:
    """bool [N]: text i is true of scene i."""
    _equal(texts, facts)
    out = np.zeros(len(facts), bool)
    rows: dict[str, list[int]] = {}
    for at, text in enumerate(texts):
        rows.setdefault(text, []).append(at)
    for text, found in rows.items():
        out[found] = true_of(text, facts.rows(found), language)
    return out


def check(texts: Sequence[str], facts: Facts, language: str = "") -> Check:
    """Text i against scene i, factor by factor."""
    _equal(texts, facts)
    counts = {factor: np.zeros((3, len(facts)), np.int64) for factor in FACTORS}
    unknown = np.zeros(len(facts), np.int64)
    for at, text in enumerate(texts):
        said = read(text, language, facts.config.cells)
        unknown[at] = len(said.unknown)
        objects = [_object(facts, at, slot) for slot in range(int(facts.n[at]))]
        for factor, outcome in _compare(said, objects, int(facts.ground[at])):
            counts[factor][outcome, at] += 1
    right, wrong, missing = ({factor: counts[factor][outcome] for factor in FACTORS} for outcome in range(3))
    return Check(right, wrong, missing, unknown)


def reader_error(facts: Facts, form: str = "short", language: str = "en", seed: int = 0) -> dict[str, float]:
    """The reader's own error on true captions: per factor that they tell, the share that it reads wrong."""
    found = check(caption(facts, form, language, seed), facts, language)
    told = {factor: found.right[factor].sum() + found.wrong[factor].sum() for factor in FACTORS}
    return {factor: 1 - found.precision(factor) for factor in FACTORS if told[factor]}


def _equal(texts: Sequence[str], facts: Facts) -> None:
    if len(texts) != len(facts):
        raise SensoriumError(f"{len(texts)} texts for {len(facts)} scenes; expected one text per scene")


def _share(right: int, other: int) -> float:
    return float(right / (right + other)) if right + other else float("nan")


def _fits(mention: Mention, facts: Facts) -> np.ndarray:
    """bool [N K]: the object has all that is said of it."""
    out = facts.real()
    for factor in ("shape", "colour", "size", "texture", "row", "col", "name"):
        if (value := getattr(mention, factor)) >= 0:
            out &= getattr(facts, factor) == value
    return out


def _placed(said: Reading, facts: Facts, fits: list[np.ndarray]) -> np.ndarray:
    """bool [N]: some choice of different objects fits all mentions and relations. Depth first, all scenes at once."""
    found = np.zeros(len(facts), bool)

    def choose(chosen: tuple[int, ...], rows: np.ndarray) -> None:
        rows = rows[~found[rows]]
        at = len(chosen)
        if at == len(fits):
            found[rows] = True
            return
        for slot in range(facts.row.shape[1]):
            if slot in chosen:
                continue
            alive = rows[fits[at][rows, slot]]
            for a, relation, b in said.relations:
                if max(a, b) == at and len(alive):
                    slots = (*chosen, slot)
                    alive = alive[facts.rows(alive).holds(slots[a], slots[b])[:, relation]]
            if len(alive):
                choose((*chosen, slot), alive)

    choose((), np.arange(len(facts)))
    return found


def _object(facts: Facts, scene: int, slot: int) -> dict[str, tuple[int, ...]]:
    values = {factor: (int(getattr(facts, factor)[scene, slot]),) for factor in _OF_OBJECTS[:4]}
    return values | {"place": (int(facts.row[scene, slot]), int(facts.col[scene, slot]))}


def _told(mention: Mention, factor: str) -> tuple[int, ...] | None:
    """What a mention says of a factor; None for nothing."""
    if factor == "place":
        return (mention.row, mention.col) if mention.row >= 0 else None
    value = getattr(mention, factor)
    return (value,) if value >= 0 else None


def _compare(said: Reading, objects: list[dict[str, tuple[int, ...]]], ground: int) -> list[tuple[str, int]]:
    """(factor, outcome) of every fact: 0 right, 1 wrong, 2 missing."""
    means = _means(said.mentions, objects)
    out = []
    for at, mention in enumerate(said.mentions):
        for factor in _OF_OBJECTS:
            told = _told(mention, factor)
            if told is not None:
                out.append((factor, int(means[at] < 0 or objects[means[at]][factor] != told)))
            elif means[at] >= 0:
                out.append((factor, 2))
    out += [(factor, 2) for slot in range(len(objects)) if slot not in means for factor in _OF_OBJECTS]
    for a, relation, b in said.relations:
        out.append(("relation", int(not _related(means[a], relation, means[b], objects))))
    if not said.relations and len(objects) > 1:
        out.append(("relation", 2))
    for factor, told_value, true in (("ground", said.ground, ground), ("count", said.count, len(objects))):
        out.append((factor, 2 if told_value < 0 else int(told_value != true)))
    return out


def _means(mentions: tuple[Mention, ...], objects: list[dict[str, tuple[int, ...]]]) -> list[int]:
    """Which object each mention means: the assignment with the most agreement; -1 where no object is left."""
    if not mentions or not objects:
        return [-1] * len(mentions)
    agreement = [
        [sum(weight for factor, weight in _WEIGHTS.items() if _told(m, factor) == thing[factor]) for thing in objects]
        for m in mentions
    ]
    rows, columns = linear_sum_assignment(np.array(agreement), maximize=True)
    found = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    return [found.get(at, -1) for at in range(len(mentions))]


def _related(a: int, relation: int, b: int, objects: list[dict[str, tuple[int, ...]]]) -> bool:
    if a < 0 or b < 0:
        return False
    (row, col), (other_row, other_col) = objects[a]["place"], objects[b]["place"]
    return (col < other_col, col > other_col, row < other_row, row > other_row)[relation]
