"""What a caption says, before any language: which objects, in which order, and which of their facts.

Two captions of one plan agree in every language; a false caption is a plan with one value replaced. Shape legend:
N scenes, K object slots of a scene, M objects mentioned; -1 is not said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import Facts, uniform

FORMS = ("short", "list", "long", "one", "count")
"""short: two objects and a relation; list: every colour and shape; long: a sentence per object with size, texture and
place, and one on the background; one: a single object; count: how many objects."""
SPOKEN = ("shape", "colour", "size", "texture", "row", "col")
_SAID = {"short": SPOKEN[:2], "list": SPOKEN[:2], "one": SPOKEN[:2], "long": SPOKEN, "count": ()}


@dataclass(frozen=True, eq=False)
class Plan:
    """N captions as a struct of arrays."""

    slot: np.ndarray
    """int8 [N M]: the scene's object that is mentioned m-th; -1 where fewer are."""
    shape: np.ndarray
    """int8 [N M], like colour, size, texture, row and col: what is said of it."""
    colour: np.ndarray
    size: np.ndarray
    texture: np.ndarray
    row: np.ndarray
    col: np.ndarray
    name: np.ndarray
    """int32 [N M]: the individual's number where it is called by its name."""
    relation: np.ndarray
    """int8 [N]: of the first mention to the second."""
    ground: np.ndarray
    """int8 [N]."""
    count: np.ndarray
    """int16 [N]: the number of objects."""
    form: str
    cells: int

    def __len__(self) -> int:
        return len(self.slot)

    def rows(self, index: np.ndarray) -> Plan:
        """The captions at row numbers or a bool mask [N]."""
        arrays = ("slot", *SPOKEN, "name", "relation", "ground", "count")
        return replace(self, **{field: getattr(self, field)[index] for field in arrays})


def draw(facts: Facts, count: int, seed: int, *purpose: object) -> np.ndarray:
    """Scenes -> float64 [N count] in [0, 1) that depend on the scene, the seed and the purpose alone."""
    return uniform(facts.index, count, "lang", facts.seed, facts.part, seed, *purpose)


def below(facts: Facts, values: int | np.ndarray, seed: int, *purpose: object) -> np.ndarray:
    """Scenes -> int64 [N] in 0 to values - 1."""
    return np.asarray(np.floor(draw(facts, 1, seed, *purpose)[:, 0] * values), np.int64)


def plan(facts: Facts, form: str = "short", seed: int = 0) -> Plan:
    """What captions of a form say. The order of mention depends on scene number and seed, not on what is true.

    Raises:
        SensoriumError: a form that is not one of FORMS.
    """
    if form not in FORMS:
        raise SensoriumError(f"caption form {form!r}{nearest(form, FORMS)}")
    order = order_of_mention(facts, seed)
    none = np.full(len(facts), -1, np.int8)
    relation = none
    if form == "short":
        order, relation = _pair(facts, order, seed)
    slot = order[:, : {"one": 1, "count": 0}.get(form, order.shape[1])]
    said = {name: _of(facts, name, slot) if name in _SAID[form] else np.full_like(slot, -1) for name in SPOKEN}
    return Plan(
        slot=slot,
        name=np.full(slot.shape, -1, np.int32),
        relation=relation,
        ground=facts.ground if form == "long" else none,
        count=np.where((facts.n == 0) | (form == "count"), facts.n, -1).astype(np.int16),
        form=form,
        cells=facts.config.cells,
        **said,
    )


def order_of_mention(facts: Facts, seed: int) -> np.ndarray:
    """int8 [N K]: the slots in random order, the empty ones last as -1."""
    real = facts.real()
    keys = np.where(real, draw(facts, real.shape[1], seed, "order"), 2.0)
    order = keys.argsort(1, kind="stable")
    return np.where(np.arange(real.shape[1]) < facts.n[:, None], order, -1).astype(np.int8)


def _pair(facts: Facts, order: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The first two in order that lie along one axis, else the first two, with one of a diagonal's two relations."""
    n, k = order.shape
    if k < 2:
        return order, np.full(n, -1, np.int8)
    pair = order[:, :2].copy()
    relation = np.full(n, -1, np.int8)
    for second in range(1, k):
        for first in range(second):
            found = facts.relation(order[:, first], order[:, second])
            new = (relation < 0) & (found >= 0)
            pair[new] = order[new][:, [first, second]]
            relation[new] = found[new]
    diagonal = (relation < 0) & (pair[:, 1] >= 0)
    true = facts.holds(pair[:, 0], pair[:, 1])
    across, down = np.where(true[:, 0], 0, 1), np.where(true[:, 2], 2, 3)
    either = np.where(draw(facts, 1, seed, "diagonal")[:, 0] < 0.5, across, down)
    return pair, np.where(diagonal, either, relation).astype(np.int8)


def _of(facts: Facts, name: str, slot: np.ndarray) -> np.ndarray:
    values = np.take_along_axis(getattr(facts, name), np.maximum(slot, 0).astype(np.int64), 1)
    return np.where(slot >= 0, values, -1).astype(values.dtype)
