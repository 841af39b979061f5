"""Change one fact, or break something and say what. Reading a picture back to facts is `reader`.

Shape legend: N scenes, K object slots, H W pixels of a picture, V values of a factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter

from sensorium.core import SensoriumError, derive, nearest

from .facts import GROUNDS, SIZES, TEXTURES, Facts, combinations, scenes, uniform
from .reader import Check, Rate, check, locate, read, reader_error

__all__ = [
    "FACTORS",
    "FACT_FAULTS",
    "PIXEL_FAULTS",
    "Broken",
    "Change",
    "Check",
    "Rate",
    "check",
    "corrupt",
    "corrupt_facts",
    "edit",
    "locate",
    "moved",
    "pairs",
    "read",
    "reader_error",
    "twin",
    "where",
]

FACTORS = ("colour", "shape", "size", "texture", "place", "ground", "removed", "added")


@dataclass(frozen=True, eq=False)
class Change:
    """What was changed, [N] each: the slot (-1 for the ground), the factor, its old and new value.

    A place is row x cells + column. An object that was removed has new value -1, one that was added old value -1, and
    the other one is the combination, colour x shapes + shape.
    """

    factor: str
    slot: np.ndarray
    old: np.ndarray
    new: np.ndarray


def edit(world: Facts, which: int | np.ndarray, factor: str, seed: int = 0) -> tuple[Facts, Change]:
    """One fact of object `which` (a slot, or [N]) changed, all else equal; drawn evenly from what the config allows.

    Colours and shapes stay distinct where the config says so, and among the part's combinations. `ground` and `added`
    use no slot. An object that is removed leaves later objects one slot earlier; one that is added comes last.

    Raises:
        SensoriumError: an unknown factor, an empty slot, or a scene without another value to change to.
    """
    if factor not in FACTORS:
        raise SensoriumError(f"factor {factor!r}{nearest(factor, FACTORS)}")
    slot = np.broadcast_to(np.asarray(which, np.int64), len(world)).copy()
    if factor in ("ground", "added"):
        slot[:] = -1 if factor == "ground" else world.n
    elif len(bad := np.flatnonzero((slot < 0) | (slot >= world.n))):
        at = bad[0]
        raise SensoriumError(
            f"scene {world.index[at]}: object {slot[at]} of {world.n[at]}; expected 0 to {world.n[at] - 1}"
        )
    return _EDITS[factor](world, factor, slot, seed)


def _choose(world: Facts, allowed: np.ndarray, factor: str, seed: int) -> np.ndarray:
    """bool [N V] -> int64 [N]: one of the allowed values, each as likely."""
    if len(none := np.flatnonzero(~allowed.any(1))):
        raise SensoriumError(
            f"scene {world.index[none[0]]}: {factor} has no other value in this config; expected an edit of "
            f"one of {', '.join(FACTORS)} that the config varies"
        )
    luck = uniform(world.index, allowed.shape[1], world.seed, world.part, seed, "edit", factor)
    return np.asarray(np.where(allowed, luck, -1.0).argmax(1))


def _with(values: np.ndarray, slot: np.ndarray, new: np.ndarray) -> np.ndarray:
    out = values.copy()
    out[np.arange(len(out)), slot] = new
    return out


def _pick(values: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """int64 [N]: the value of one slot per scene."""
    return np.asarray(values[np.arange(len(values)), slot], np.int64)


def _taken(values: np.ndarray, count: int) -> np.ndarray:
    """[N K] -> bool [N count]: some object of the scene has the value."""
    return np.asarray((values[:, :, None] == np.arange(count)).any(1))


def _edit_value(world: Facts, factor: str, slot: np.ndarray, seed: int) -> tuple[Facts, Change]:
    """Colour, shape, size or texture."""
    config, values = world.config, getattr(world, factor)
    old = _pick(values, slot)
    if factor in ("colour", "shape"):
        kinds = combinations(config, world.part) > 0
        allowed = kinds.T[_pick(world.shape, slot)] if factor == "colour" else kinds[_pick(world.colour, slot)]
        if config.distinct:
            allowed = allowed & ~_taken(values, allowed.shape[1])
    else:
        given, valid = (config.sizes, SIZES) if factor == "size" else (config.textures, TEXTURES)
        allowed = np.broadcast_to(np.isin(valid, given), (len(world), len(valid)))
    new = _choose(world, allowed & (np.arange(allowed.shape[1]) != old[:, None]), factor, seed)
    return _replaced(world, {factor: _with(values, slot, new)}), Change(factor, slot, old, new)


def _edit_ground(world: Facts, factor: str, slot: np.ndarray, seed: int) -> tuple[Facts, Change]:
    old = world.ground.astype(np.int64)
    allowed = np.isin(GROUNDS, world.config.grounds) & (np.arange(len(GROUNDS)) != old[:, None])
    new = _choose(world, allowed, factor, seed)
    return replace(world, ground=new.astype(np.int8)), Change(factor, slot, old, new)


def _cell(world: Facts) -> np.ndarray:
    """int64 [N K]: row x cells + column, -1 for no object."""
    return np.where(world.real(), world.row.astype(np.int64) * world.config.cells + world.col, -1)


def _edit_place(world: Facts, factor: str, slot: np.ndarray, seed: int) -> tuple[Facts, Change]:
    old = _pick(_cell(world), slot)
    new = _choose(world, ~_taken(_cell(world), world.config.cells**2), factor, seed)
    row, col = np.divmod(new, world.config.cells)
    arrays = {"row": _with(world.row, slot, row), "col": _with(world.col, slot, col)}
    return _replaced(world, arrays), Change(factor, slot, old, new)


_PER_SLOT = ("shape", "colour", "size", "texture", "row", "col", "name")


def _replaced(world: Facts, arrays: dict[str, np.ndarray], n: np.ndarray | None = None) -> Facts:
    """Facts with some per-slot arrays, and the numbers of objects, replaced."""
    every = {name: arrays.get(name, getattr(world, name)) for name in _PER_SLOT}
    count = world.n if n is None else n.astype(np.int8)
    return Facts(
        **every,
        ground=world.ground,
        n=count,
        config=world.config,
        seed=world.seed,
        index=world.index,
        part=world.part,
    )


def _kind(world: Facts, slot: np.ndarray) -> np.ndarray:
    return np.asarray(_pick(world.colour, slot) * world.config.shapes + _pick(world.shape, slot))


def _edit_removed(world: Facts, factor: str, slot: np.ndarray, seed: int) -> tuple[Facts, Change]:
    at = np.arange(world.row.shape[1])
    later = at + (at >= slot[:, None])
    last = later == len(at)
    arrays = {
        name: np.where(last, -1, np.take_along_axis(getattr(world, name), later - last, 1)).astype(
            getattr(world, name).dtype
        )
        for name in _PER_SLOT
    }
    change = Change(factor, slot, _kind(world, slot), np.full(len(world), -1))
    return _replaced(world, arrays, world.n - 1), change


def _edit_added(world: Facts, factor: str, slot: np.ndarray, seed: int) -> tuple[Facts, Change]:
    full = np.flatnonzero(world.n >= world.row.shape[1])
    if len(full):
        raise SensoriumError(
            f"scene {world.index[full[0]]}: already holds {world.n[full[0]]} objects; expected fewer than "
            f"most, {world.row.shape[1]}"
        )
    config, shapes = world.config, world.config.shapes
    allowed = np.broadcast_to((combinations(config, world.part) > 0).ravel(), (len(world), config.colours * shapes))
    if config.distinct:
        colour, shape = _taken(world.colour, config.colours), _taken(world.shape, shapes)
        allowed = allowed & ~(colour[:, :, None] | shape[:, None]).reshape(len(world), -1)
    kind = _choose(world, allowed, factor, seed)
    row, col = np.divmod(_choose(world, ~_taken(_cell(world), config.cells**2), "added place", seed), config.cells)
    extra = scenes(derive(world.seed, seed, "added"), world.index, replace(config, fewest=config.most), world.part)
    new = {"colour": kind // shapes, "shape": kind % shapes, "row": row, "col": col}
    new |= {name: getattr(extra, name)[:, 0] for name in ("size", "texture", "name")}
    arrays = {name: _with(getattr(world, name), slot, new[name]) for name in _PER_SLOT}
    return _replaced(world, arrays, world.n + 1), Change(factor, slot, np.full(len(world), -1), kind)


_EDITS: dict[str, Callable[[Facts, str, np.ndarray, int], tuple[Facts, Change]]] = {
    **dict.fromkeys(("colour", "shape", "size", "texture"), _edit_value),
    "place": _edit_place,
    "ground": _edit_ground,
    "removed": _edit_removed,
    "added": _edit_added,
}


def twin(world: Facts, a: int = 0, b: int = 1) -> Facts:
    """Binding twins: the colours of slots a and b swapped, so that the bag of colours and shapes is the same.

    A twin may show a combination that `Config.held` keeps for test; `guards.held_out` tells.
    """
    if min(a, b) < 0 or a == b or max(a, b) >= world.n.min(initial=127):
        raise SensoriumError(
            f"twins of objects {a} and {b}: a scene has {world.n.min(initial=127)} objects; expected two of its objects"
        )
    order = np.arange(world.row.shape[1])
    order[[a, b]] = b, a
    return _replaced(world, {"colour": world.colour[:, order]})


def moved(world: Facts, seed: int = 0) -> Facts:
    """The same objects on the same ground in cells drawn anew."""
    plain = replace(world.config, fewest=world.config.most, null="")
    fresh = scenes(derive(world.seed, seed, "moved"), world.index, plain, world.part)
    row, col = (np.where(world.real(), at, -1).astype(np.int8) for at in (fresh.row, fresh.col))
    return _replaced(world, {"row": row, "col": col})


def pairs(world: Facts, factor: str, seed: int = 0) -> tuple[Facts, np.ndarray]:
    """A second picture of each scene, everything moved, and bool [N]: it shows the same objects.

    In the other half one object differs in one `factor` of FACTORS.
    """
    luck = uniform(world.index, 2, world.seed, world.part, seed, "pair")
    same = luck[:, 0] < 0.5
    changed, _ = edit(world, (luck[:, 1] * world.n).astype(np.int64), factor, seed)
    return moved(where(same, world, changed), seed), same


def where(rows: np.ndarray, yes: Facts, no: Facts) -> Facts:
    """bool [N]: scenes of `yes` where True, of `no` elsewhere; both have the same config, seed and scene numbers."""
    arrays = {name: np.where(rows[:, None], getattr(yes, name), getattr(no, name)) for name in _PER_SLOT}
    chosen = _replaced(yes, arrays, np.where(rows, yes.n, no.n))
    return replace(chosen, ground=np.where(rows, yes.ground, no.ground))


FACT_FAULTS = ("colour", "shape", "size", "texture", "place", "scene")
PIXEL_FAULTS = ("noise", "blur", "block", "blemish")


@dataclass(frozen=True, eq=False)
class Broken:
    """What was broken: the kind, which rows (bool [N]), and where: slots (-1 is the whole scene) or boxes [N 4]."""

    kind: str
    rows: np.ndarray
    slot: np.ndarray | None = None
    boxes: np.ndarray | None = None


def corrupt_facts(world: Facts, kind: str, share: float = 1.0, seed: int = 0) -> tuple[Facts, Broken]:
    """A share of the scenes made partly false: one object's factor changed, or (`scene`) all facts of another scene."""
    if kind not in FACT_FAULTS:
        raise SensoriumError(f"corruption of facts {kind!r}{nearest(kind, FACT_FAULTS)}")
    luck = uniform(world.index, 2, world.seed, world.part, seed, "corrupt", kind)
    rows = luck[:, 0] < share
    if kind == "scene":
        other = scenes(derive(world.seed, seed, "corrupt"), world.index, world.config, world.part)
        return where(rows, replace(other, seed=world.seed), world), Broken(kind, rows, slot=np.full(len(world), -1))
    slot = (luck[:, 1] * world.n).astype(np.int64)
    changed, _ = edit(world, slot, kind, seed)
    return where(rows, changed, world), Broken(kind, rows, slot=np.where(rows, slot, -1))


def corrupt(images: np.ndarray, kind: str, share: float = 1.0, seed: int = 0) -> tuple[np.ndarray, Broken]:
    """uint8 [N 3 H W] -> a copy, a share of it broken. Row i's fault depends on (kind, seed, i).

    noise: Gaussian, 40 grey levels; blur: 3x3 box; block: a grey square, a quarter of each side; blemish: a checkered
    spot, a sixth of each side, the anomaly to be found. The last two return boxes, x y x y in [0, 1].
    """
    if kind not in PIXEL_FAULTS:
        raise SensoriumError(f"corruption of pictures {kind!r}{nearest(kind, PIXEL_FAULTS)}")
    n, _, height, width = images.shape
    luck = uniform(np.arange(n), 3, seed, "corrupt", kind)
    rows, out = luck[:, 0] < share, images.copy()
    at = np.flatnonzero(rows)
    if kind == "noise":
        for i in at:
            random = np.random.Generator(np.random.Philox(derive("corrupt", seed, int(i)))).normal(
                0, 40, images[i].shape
            )
            out[i] = (images[i] + random).round().clip(0, 255).astype(np.uint8)
        return out, Broken(kind, rows)
    if kind == "blur":
        out[at] = uniform_filter(images[at].astype(np.float32), (0, 0, 3, 3), mode="nearest").round().astype(np.uint8)
        return out, Broken(kind, rows)
    side = max(2, min(height, width) // (4 if kind == "block" else 6))
    top, left = ((luck[:, c] * (pixels - side + 1)).astype(np.int64) for c, pixels in ((1, height), (2, width)))
    checker = np.indices((side, side)).sum(0) % 2 * 255
    patch = np.full((side, side), 160) if kind == "block" else checker
    for (dy, dx), grey in np.ndenumerate(patch):
        out[at, :, top[at] + dy, left[at] + dx] = grey
    corners = np.stack([left, top, left + side, top + side], 1) / np.array([width, height, width, height])
    return out, Broken(kind, rows, boxes=np.where(rows[:, None], corners, 0).astype(np.float32))
