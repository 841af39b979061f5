"""What a document or a conversation is about: several scenes, told apart by names, by one scene's number.

Shape legend: N documents, K object slots of a scene.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sensorium.core import SensoriumError, derive

from ..facts import ARRAYS, INDIVIDUALS, Facts, scenes
from ..lang.names import name_word
from ..lang.plan import draw
from ..operators import edit


def several(facts: Facts, count: int, seed: int = 0) -> list[Facts]:
    """`count` worlds of N scenes: row i of each belongs to document i; the first is `facts`, the rest are new."""
    if not 1 <= count <= 64:
        raise SensoriumError(f"{count} scenes of a document; expected 1 to 64")
    numbers = [derive(facts.seed, seed, "several", at) for at in range(1, count)]
    return [facts, *(scenes(number, facts.index, facts.config, facts.part) for number in numbers)]


def edited(world: Facts, slot: np.ndarray, factor: str, seed: int = 0) -> tuple[Facts, np.ndarray]:
    """`operators.edit` of slots [N], and bool [N]: there was something to change; other scenes stay as they are.

    In a part with few combinations an object may have no other value.
    """
    arrays = {name: getattr(world, name).copy() for name in ARRAYS}
    done = np.zeros(len(world), bool)
    waiting = [np.arange(len(world))]
    while waiting:
        rows = waiting.pop()
        try:
            changed, _ = edit(world.rows(rows), slot[rows], factor, seed)
        except SensoriumError:
            waiting += [half for half in np.array_split(rows, 2) if len(half) and len(half) < len(rows)]
            continue
        for name in ARRAYS:
            arrays[name][rows] = getattr(changed, name)
        done[rows] = True
    return replace(world, **arrays), done


def people(facts: Facts, count: int, seed: int, *purpose: object) -> np.ndarray:
    """int64 [N count]: different numbers of hidden individuals, all choices equally likely."""
    luck = draw(facts, count, seed, "page", "people", *purpose)
    chosen = np.zeros((len(facts), 0), np.int64)
    for at in range(count):
        new = (luck[:, at] * (INDIVIDUALS - at)).astype(np.int64)
        for taken in np.sort(chosen, 1).T:
            new += new >= taken
        chosen = np.column_stack([chosen, new])
    return chosen


def names(facts: Facts, count: int, seed: int, *purpose: object) -> list[list[str]]:
    """The names of `people`."""
    return [[name_word(number) for number in row] for row in people(facts, count, seed, *purpose).tolist()]
