"""What happens in each clip of the generated world: objects of a scene, and events that change them, one at a time.

Each object does one thing at most, and no object ever enters a cell that another one uses at any time, so the same
events are possible in any order. Shape legend: N clips, T frames, K object slots, E events. Clip i of a part depends on
(seed, part, i) and the config alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import Config as Scene
from ..facts import Facts, combinations, numbered, scenes, uniform

KINDS = ("move", "appear", "vanish", "recolour", "collide")
"""collide: the actor goes to the cell beside another object, touches it, and is thrown back at once."""
DIRECTIONS = ("left", "right", "up", "down")
STEPS = np.array([[0, -1], [0, 1], [-1, 0], [1, 0]])
"""Rows and columns of one step in each of DIRECTIONS."""
NULLS = ("", "order", "direction", "pair")
MOST_FRAMES = 256
MOST_ATTEMPTS = 2000
THREE = Scene(cells=3, fewest=3, most=3)
OF_EVENTS = ("kind", "actor", "other", "value", "distance", "begin")
"""The fields of Clips with one column per event."""


@dataclass(frozen=True)
class Config:
    """Difficulty dials."""

    scene: Scene = THREE
    frames: int = 8
    events: int = 2
    kinds: tuple[str, ...] = KINDS
    reach: int = 2
    """Cells that a move crosses at most; one per frame."""
    held: float = 0.0
    """Share of the sequences of kinds that appear in `test` only, balanced over kinds and places in the sequence."""
    null: str = ""
    """What the frames show independently of what is told (`changes.shown`)."""

    def __post_init__(self) -> None:
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise SensoriumError(f"kinds of events {self.kinds}; expected one or more of {', '.join(KINDS)}, each once")
        for kind in self.kinds:
            if kind not in KINDS:
                raise SensoriumError(f"kind of event {kind!r}{nearest(kind, KINDS)}")
        if self.null not in NULLS:
            raise SensoriumError(f"null world of clips {self.null!r}{nearest(self.null, NULLS[1:])}")
        if self.scene.null or not self.scene.distinct:
            raise SensoriumError(
                f"scene with null {self.scene.null!r}, distinct {self.scene.distinct}; expected no null, all distinct"
            )
        _room(self)


def _room(config: Config) -> None:
    """Refuse what no clip can hold: objects, cells, frames, colours."""
    scene, still = config.scene, int("collide" in config.kinds)
    swept = config.events * (config.reach + 1 if "move" in config.kinds else 2)
    longest = max(_longest(kind, config.reach) for kind in config.kinds)
    for what, given, low, high in (
        ("events", config.events, 1, scene.fewest - still),
        ("reach", config.reach, 1, max(1, scene.cells - 1)),
        ("frames", config.frames, config.events * (longest + 1), MOST_FRAMES),
        ("cells used", swept + scene.most - config.events, 0, scene.cells**2),
    ):
        if not low <= given <= high:
            raise SensoriumError(
                f"{what} {given} with {scene.fewest} to {scene.most} objects in {scene.cells} x {scene.cells} cells, "
                f"{config.events} events of up to {longest} frames; expected {low} to {high}"
            )
    if "recolour" in config.kinds and scene.colours < scene.most + config.events:
        raise SensoriumError(
            f"{scene.colours} colours for {scene.most} objects and {config.events} new colours; expected at least "
            f"{scene.most + config.events}"
        )
    if "collide" in config.kinds and scene.cells < 3:
        raise SensoriumError(f"collisions in {scene.cells} x {scene.cells} cells; expected 3 x 3 or more")
    if not 0 <= config.held < 1 or round(config.held * len(config.kinds)) == len(config.kinds):
        raise SensoriumError(f"held {config.held} of {len(config.kinds)} kinds; expected a share that leaves some")


def _longest(kind: str, reach: int) -> int:
    return {"move": reach, "collide": 2}.get(kind, 1)


@dataclass(frozen=True, eq=False)
class Clips:
    """N clips as a struct of arrays; events in the order of time."""

    cast: Facts
    """All objects as they look at first, those that appear later among them."""
    kind: np.ndarray
    """int8 [N E], index into KINDS."""
    actor: np.ndarray
    """int8 [N E]: slot of the object that does it; every event of a clip has another one."""
    other: np.ndarray
    """int8 [N E]: slot of the object that is hit; -1 for other kinds."""
    value: np.ndarray
    """int8 [N E]: direction of a move or collision, new colour of a recolouring; -1 for other kinds."""
    distance: np.ndarray
    """int8 [N E]: cells that the actor goes; 0 for other kinds."""
    begin: np.ndarray
    """int16 [N E]: the first frame that differs from the one before it."""
    config: Config

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def index(self) -> np.ndarray:
        """int64 [N]: clip numbers."""
        return self.cast.index

    @property
    def end(self) -> np.ndarray:
        """int16 [N E]: one past the last frame that differs from the one before it."""
        return np.asarray(self.begin + duration(self.kind, self.distance), np.int16)

    def rows(self, index: np.ndarray | slice | Sequence[int]) -> Clips:
        """The clips at row numbers, a slice or a bool mask [N]."""
        cast = self.cast.rows(index)
        at: np.ndarray | slice = index if isinstance(index, slice) else np.asarray(index)
        if isinstance(at, np.ndarray) and not at.size:
            at = np.zeros(0, np.int64)
        return replace(self, cast=cast, **{name: getattr(self, name)[at] for name in OF_EVENTS})


def duration(kind: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """int16, frames that an event takes."""
    one = np.where(kind == KINDS.index("move"), distance, 1)
    return np.asarray(np.where(kind == KINDS.index("collide"), 2 * distance, one), np.int16)


CLIP = Config()


def clips(seed: int, n: int, config: Config = CLIP, start: int = 0, part: str = "train") -> Clips:
    """Clips `start` to `start + n` of a part.

    Raises:
        SensoriumError: a part that is not one of PARTS, a negative n or start, events that find no room.
    """
    return sample(seed, numbered(n, start, part, "clips"), config, part)


def sample(seed: int, index: np.ndarray, config: Config, part: str = "train") -> Clips:
    """The clips of any numbers, int64 [N]: rows of what `clips` gives."""
    cast = scenes(seed, index, config.scene, part)
    kind = _sequences(seed, index, config, part)
    order = np.where(cast.real(), uniform(index, config.scene.most, seed, part, "clip", "actor"), 2.0).argsort(1)
    actor, colour = order[:, : config.events], _new_colours(cast, kind, order[:, : config.events])
    cell, other, direction, distance = _placed(cast, kind, order, config)
    moves = np.isin(kind, (KINDS.index("move"), KINDS.index("collide")))
    value = np.where(moves, direction, np.where(kind == KINDS.index("recolour"), colour, -1))
    distance = np.where(moves, distance, 0)
    row, col = (np.where(cast.real(), at, -1).astype(np.int8) for at in np.divmod(cell, config.scene.cells))
    return Clips(
        cast=replace(cast, row=row, col=col),
        kind=kind.astype(np.int8),
        actor=actor.astype(np.int8),
        other=np.where(kind == KINDS.index("collide"), other, -1).astype(np.int8),
        value=value.astype(np.int8),
        distance=distance.astype(np.int8),
        begin=_times(cast, duration(kind, distance), config),
        config=config,
    )


def _sequences(seed: int, index: np.ndarray, config: Config, part: str) -> np.ndarray:
    """int64 [N E]: kinds, each sequence that the part allows as likely. A sequence is held by its sum modulo the kinds,
    so that every kind is held equally often in each place."""
    n = len(config.kinds)
    held = round(config.held * n)
    low, high = (0, held) if part == "test" and held else (held, n)
    luck = uniform(index, config.events, seed, part, "clip", "kind")
    drawn = (luck * n).astype(np.int64)
    residue = low + (luck[:, -1] * (high - low)).astype(np.int64)
    drawn[:, -1] = (residue - drawn[:, :-1].sum(1)) % n
    return np.array([KINDS.index(name) for name in config.kinds])[drawn]


def _new_colours(cast: Facts, kind: np.ndarray, actor: np.ndarray) -> np.ndarray:
    """int64 [N E]: a colour that no object of the clip ever has beside this, among the part's combinations."""
    config, n = cast.config, np.arange(len(cast))
    free = ~(cast.colour[:, :, None] == np.arange(config.colours)).any(1)
    allowed = combinations(config, cast.part).T > 0
    out = np.full(kind.shape, -1)
    for e in range(kind.shape[1]):
        rows = kind[:, e] == KINDS.index("recolour")
        mine = free & allowed[cast.shape[n, actor[:, e]]]
        if len(none := np.flatnonzero(rows & ~mine.any(1))):
            raise SensoriumError(
                f"clip {cast.index[none[0]]}: no colour is left to change to; expected more colours, or fewer held"
            )
        race = uniform(cast.index, config.colours, cast.seed, cast.part, "clip", "colour", e)
        out[:, e] = np.where(mine, race, -1.0).argmax(1)
        free[n[rows], out[rows, e]] = False
    return out


def _placed(cast: Facts, kind: np.ndarray, order: np.ndarray, config: Config) -> tuple[np.ndarray, ...]:
    """Cells [N K]; per event [N E] who is hit, direction and distance: drawn anew until no two objects ever meet."""
    n, events = kind.shape
    cells, most = config.scene.cells, config.scene.most
    cell = np.zeros((n, most), np.int64)
    other, direction, distance = (np.zeros((n, events), np.int64) for _ in range(3))
    todo = np.arange(n)
    for attempt in range(MOST_ATTEMPTS):
        luck = uniform(cast.index[todo], cells**2 + 3 * events, cast.seed, cast.part, "clip", "place", attempt)
        at = luck[:, : cells**2].argsort(1)[:, :most]
        who, way, far = luck[:, cells**2 :].reshape(len(todo), 3, events).transpose(1, 0, 2)
        still = cast.n[todo, None] - events
        hit = np.take_along_axis(order[todo], events + (who * still).astype(np.int64), 1) if most > events else who * 0
        hit = hit.astype(np.int64)
        ways, lengths = (way * 4).astype(np.int64), 1 + (far * config.reach).astype(np.int64)
        lengths[kind[todo] == KINDS.index("collide")] = 1
        fine = _moved_beside(at, kind[todo], order[todo], hit, ways, cells)
        fine &= _apart(cast.rows(todo), at, kind[todo], order[todo], ways, lengths)
        done = todo[fine]
        cell[done], other[done], direction[done], distance[done] = (a[fine] for a in (at, hit, ways, lengths))
        todo = todo[~fine]
        if not len(todo):
            return cell, other, direction, distance
    raise SensoriumError(
        f"clip {cast.index[todo[0]]}: found no room for {', '.join(KINDS[k] for k in kind[todo[0]])} in {cells} x "
        f"{cells} cells; expected more cells, or fewer objects and events"
    )


def _moved_beside(
    at: np.ndarray, kind: np.ndarray, order: np.ndarray, hit: np.ndarray, way: np.ndarray, cells: int
) -> np.ndarray:
    """Puts each actor of a collision two cells before the one that it hits, in place; bool [n]: all within the grid."""
    fine, n = np.ones(len(at), bool), np.arange(len(at))
    for e in range(kind.shape[1]):
        rows = kind[:, e] == KINDS.index("collide")
        row, col = np.divmod(at[n, hit[:, e]], cells)
        down, right = STEPS[way[:, e]].T
        row, col = row - 2 * down, col - 2 * right
        inside = (row >= 0) & (row < cells) & (col >= 0) & (col < cells)
        fine &= inside | ~rows
        here = rows & inside
        at[n[here], order[here, e]] = (row * cells + col)[here]
    return fine


def _apart(
    cast: Facts, at: np.ndarray, kind: np.ndarray, order: np.ndarray, way: np.ndarray, length: np.ndarray
) -> np.ndarray:
    """bool [n]: the cells that each object ever uses lie within the grid and are no other's."""
    cells, n = cast.config.cells, np.arange(len(at))
    used = np.zeros((len(at), cells**2), np.int64)
    for k in range(at.shape[1]):
        used[n, at[:, k]] += cast.real()[:, k]
    fine = np.ones(len(at), bool)
    moves = np.isin(kind, (KINDS.index("move"), KINDS.index("collide")))
    for e in range(kind.shape[1]):
        row, col = np.divmod(at[n, order[:, e]], cells)
        down, right = STEPS[way[:, e]].T
        for step in range(1, int(length.max(initial=0)) + 1):
            rows = moves[:, e] & (length[:, e] >= step)
            y, x = row + step * down, col + step * right
            inside = (y >= 0) & (y < cells) & (x >= 0) & (x < cells)
            fine &= inside | ~rows
            here = rows & inside
            used[n[here], (y * cells + x)[here]] += 1
    return np.asarray(fine & (used.max(1) <= 1))


def _times(cast: Facts, length: np.ndarray, config: Config) -> np.ndarray:
    """int16 [N E]: first frames. A still frame stands before each event; the rest of the frames is spread evenly."""
    events = config.events
    slack = config.frames - length.sum(1) - events
    luck = np.sort(uniform(cast.index, events, cast.seed, cast.part, "clip", "time"), 1)
    before = np.cumsum(length, 1) - length + np.arange(1, events + 1)
    return np.asarray(before + (luck * (slack[:, None] + 1)).astype(np.int64), np.int16)
