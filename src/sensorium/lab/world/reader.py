"""The exact checker: a picture, rendered or generated, back to facts. Fixed rules, nothing learned.

Each cell is compared with every object that the world can draw there: the gain of a template is how much better its
colours explain the pixels than the bare ground does. What no template explains, or two explain alike, stays unsure.

Shape legend: N pictures, H W pixels, P pixels of a cell, M templates (shape, size, texture, offset), C colours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np

from sensorium.core import SensoriumError, derive

from .facts import COLOURS, DEFAULT, GROUNDS, SIZES, TEXTURES, Config, Facts, facts, shown
from .scene import MAGENTA, STYLE, Style, render, shape_of
from .sprites import ACCENT, ACCENTS, BASE, DARK, colour_code, colours, diameters, ground_code, sprite

READ = ("shape", "colour", "size", "texture")
"""What is read of an object, beside its cell."""
FAR = 150.0
"""Distance in RGB beyond which a pixel fits no worse: a speck must not outweigh an object."""
LEAST_AREA = 0.4
"""Something is in a cell if this share of the smallest template's pixels is not ground and a template explains it,"""
LEAST_COVER = 0.25
"""or if this share of the cell's pixels is not ground."""
LEAST_FIT = 0.65
"""Share of what is not ground that the best template must explain."""
LEAST_LEAD = 0.02
"""Lead over the best template with another value, as a share of what is not ground; or, for values that look alike,"""
MOST_RESIDUAL = 0.5
"""what is left unexplained as a share of what that other template leaves."""
LEAST_GROUND = 0.1
"""Share of pixels that must have a ground's colour; else all is unsure."""
MARKED = 60.0
"""Pixels at most this far from the colour of marks are not read, where the style has marks."""
CHUNK = 128


def read(images: np.ndarray, config: Config = DEFAULT, style: Style = STYLE) -> Facts:
    """uint8 [N 3 H W] -> what the pictures show, with as many slots as cells, in the order of the cells.

    An object whose shape, colour, size or texture is unclear has its cell and -1 there; so has an unclear ground.

    Raises:
        SensoriumError: not uint8 [N 3 H W], an aspect other than the style's, or objects that outgrow their cells.
    """
    size = _size(images, style)
    if style.scale > 1:
        raise SensoriumError(f"scale {style.scale}: objects hide each other; expected at most 1 to read them")
    parts = [_read(images[a : a + CHUNK].astype(np.float32), size, config, style) for a in range(0, len(images), CHUNK)]
    ground = np.concatenate([np.zeros(0, np.int8), *(part[0] for part in parts)])
    found = np.concatenate([np.zeros((0, config.cells**2, 5), np.int8), *(part[1] for part in parts)])
    order = np.argsort(found[:, :, 0] < 1, axis=1, kind="stable")
    there, shape, colour, size_, texture = np.take_along_axis(found, order[:, :, None], 1).transpose(2, 0, 1).copy()
    row, col = (np.where(there > 0, at, -1).astype(np.int8) for at in np.divmod(order, config.cells))
    return Facts(
        shape=shape,
        colour=colour,
        size=size_,
        texture=texture,
        row=row,
        col=col,
        ground=ground,
        n=there.sum(1).astype(np.int8),
        name=np.full(there.shape, -1, np.int32),
        config=replace(config, fewest=0, most=config.cells**2, distinct=False, held=0.0, novel=0, null=""),
        seed=0,
        index=np.arange(len(images), dtype=np.int64),
    )


def _size(images: np.ndarray, style: Style) -> int:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise SensoriumError(f"pictures {images.dtype} {list(images.shape)}; expected uint8 [N 3 H W]")
    size = int(min(images.shape[2:]))
    if images.shape[2:] != shape_of(size, style):
        given, expected = f"{images.shape[2]} x {images.shape[3]}", f"{style.aspect[0]} : {style.aspect[1]}"
        raise SensoriumError(f"pictures of {given} pixels; expected {expected}, height : width")
    return size


@dataclass(frozen=True, eq=False)
class _Templates:
    """What may stand in a cell: shape, size and texture of each, int64 [M], and its pixels of each tone, [P M]."""

    kind: dict[str, np.ndarray]
    base: np.ndarray
    dark: np.ndarray
    accent: np.ndarray
    area: int


@cache
def _templates(height: int, width: int, room: int, config: Config, style: Style) -> _Templates:
    kinds, cells = [], []
    sizes, textures = [SIZES.index(s) for s in config.sizes], [TEXTURES.index(t) for t in config.textures]
    accents = range(1, len(ACCENTS)) if style.accents else (0,)
    for size, shape, texture, accent in product(sizes, range(config.shapes), textures, accents):
        diameter = diameters(room, style.scale)[size]
        pixels = sprite(shape, texture, diameter, style.look, accent)
        for top, left in np.ndindex(height - diameter + 1, width - diameter + 1):
            cell = np.full((height, width), -1, np.int8)
            cell[top : top + diameter, left : left + diameter] = pixels
            kinds.append((shape, size, texture))
            cells.append(cell)
    tones = np.array(cells).reshape(len(cells), -1).T
    base, dark, accented = ((tones == tone).astype(np.float32) for tone in (BASE, DARK, ACCENT))
    names = dict(zip(("shape", "size", "texture"), np.array(kinds).T, strict=True))
    return _Templates(names, base, dark, accented, int((tones >= 0).sum(0).min()))


def _read(images: np.ndarray, size: int, config: Config, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """float32 [n 3 H W] -> grounds int8 [n] and, per cell, int8 [n cells 5]: something is there, then READ."""
    table = colours(style.look).astype(np.float32)
    grounds = np.array([GROUNDS.index(name) for name in config.grounds])
    away = np.stack([_distance(images, table[code]) for code in ground_code(grounds)], 1)
    near = np.maximum(_half_gap(table, grounds, config), _noise(images))[:, None, None]
    match = (away < near[:, None]).mean((2, 3))
    best = match.argmax(1)
    known = match.max(1) >= LEAST_GROUND
    bare = away[np.arange(len(images)), best]
    seen = np.ones_like(bare)
    if style.marks == "tint":
        table[len(GROUNDS) :] = (table[len(GROUNDS) :] + MAGENTA) // 2
    elif style.marks:
        seen = (_distance(images, MAGENTA.astype(np.float32)) > MARKED**2).astype(np.float32)
    found = []
    for y, x in _windows(images.shape[2], images.shape[3], config.cells):
        known_kinds = _templates(y.stop - y.start, x.stop - x.start, size // config.cells, config, style)
        found.append(_read_cell(images[:, :, y, x], bare[:, y, x], seen[:, y, x], near, table, config, known_kinds))
    cells = np.stack(found, 1)
    cells[~known, :, 1:] = -1
    return np.where(known, grounds[best], -1).astype(np.int8), cells


def _windows(height: int, width: int, cells: int) -> Iterator[tuple[slice, slice]]:
    down, across = (np.arange(cells + 1) * pixels // cells for pixels in (height, width))
    for row, col in np.ndindex(cells, cells):
        yield slice(down[row], down[row + 1]), slice(across[col], across[col + 1])


def _distance(images: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """[n 3 h w], [3] -> float32 [n h w]: squared distances, cut at FAR."""
    return np.asarray(np.minimum(((images - colour[:, None, None]) ** 2).sum(1), FAR**2), np.float32)


def _half_gap(table: np.ndarray, grounds: np.ndarray, config: Config) -> float:
    """Squared half of the least distance from a ground to any other colour of the world."""
    every = [colour_code(np.arange(config.colours)), ground_code(grounds)]
    if set(config.textures) != {"plain"}:
        every.append(colour_code(np.arange(config.colours), dark=True))
    gap = ((table[ground_code(grounds)][:, None] - table[np.concatenate(every)]) ** 2).sum(2)
    return float(gap[gap > 0].min() / 4)


def _noise(images: np.ndarray) -> np.ndarray:
    """[n]: the squared distance from its colour that one pixel in a hundred exceeds by noise alone, up to FAR^2 / 2.

    The median difference of neighbours is noise, since most neighbours have one colour; 11.34 is chi-square's 99%.
    """
    steps = np.abs(np.diff(images, axis=3)).reshape(len(images), -1)
    sd = np.median(steps, axis=1) / (0.6745 * np.sqrt(2))
    return np.asarray(np.minimum(11.34 * sd**2, FAR**2 / 2))


def _read_cell(
    cell: np.ndarray,
    bare: np.ndarray,
    seen: np.ndarray,
    near: np.ndarray,
    table: np.ndarray,
    config: Config,
    known: _Templates,
) -> np.ndarray:
    """Pixels [n 3 h w], their distances from the ground [n h w], 1 where no mark hides them -> int8 [n 5]."""
    gain = _gain(cell, bare, seen, table, config, known)
    bare = bare * seen
    filled = (bare * (bare > near)).sum((1, 2))
    best, total, strange = gain.max((1, 2)), bare.sum((1, 2)), (bare > near).sum((1, 2))
    there = ((strange >= LEAST_AREA * known.area) & (best > 0)) | (strange >= LEAST_COVER * bare[0].size)
    clear = there & (best >= LEAST_FIT * filled)
    out = [there.astype(np.int8)]
    for factor in READ:
        by_value = gain.max(2) if factor == "colour" else _by_value(gain, known.kind[factor])
        value = by_value.argmax(1)
        other = np.where(np.arange(by_value.shape[1]) == value[:, None], -np.inf, by_value).max(1)
        leads = (best - other >= LEAST_LEAD * filled) | (total - best <= MOST_RESIDUAL * (total - other))
        out.append(np.where(clear & leads, value, -1).astype(np.int8))
    return np.stack(out, 1)


def _gain(
    cell: np.ndarray, bare: np.ndarray, seen: np.ndarray, table: np.ndarray, config: Config, known: _Templates
) -> np.ndarray:
    """float32 [n C M]: by how much each template in each colour explains the pixels better than the ground."""

    def better(colour: np.ndarray, dark: bool, pixels: np.ndarray) -> np.ndarray:
        by_pixel = [(bare - _distance(cell, table[code])) * seen for code in colour_code(colour, dark)]
        flat = np.stack(by_pixel, 1).reshape(len(cell) * len(colour), -1)
        return np.asarray(flat @ pixels).reshape(len(cell), len(colour), -1)

    own = np.arange(config.colours)
    gain = better(own, False, known.base)
    if known.dark.any():
        gain += better(own, True, known.dark)
    if known.accent.any():
        second = better(np.arange(len(COLOURS)), False, known.accent)
        runner_up, first = np.sort(second, 1)[:, -2:].transpose(1, 0, 2)
        winner = second.argmax(1)[:, None] == own[:, None]
        gain += np.where(winner, runner_up[:, None], first[:, None])
    return gain


def _by_value(gain: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[n C M], the value of each template [M] -> [n V]: the best gain with each value, -inf where none has it."""
    out = np.full((len(gain), int(values.max()) + 1), -np.inf)
    for value in np.unique(values):
        out[:, value] = gain[:, :, values == value].max((1, 2))
    return out


def grid(world: Facts, values: np.ndarray) -> np.ndarray:
    """[N K] per slot -> [N cells*cells] per cell, -1 where there is no object."""
    out = np.full((len(world), world.config.cells**2), -1, values.dtype)
    n, k = np.nonzero(world.real())
    out[n, world.row[n, k].astype(np.int64) * world.config.cells + world.col[n, k]] = values[n, k]
    return out


@dataclass(frozen=True, eq=False)
class Check:
    """Told facts against what was read, int8: 1 right, 0 wrong, -1 unsure, or no object there to have the factor."""

    there: np.ndarray
    """[N K]; -1 only where nothing was told."""
    shape: np.ndarray
    colour: np.ndarray
    size: np.ndarray
    texture: np.ndarray
    ground: np.ndarray
    """[N]."""
    extra: np.ndarray
    """[N]: objects in cells where none was told."""

    def right(self) -> np.ndarray:
        """bool [N]: each told fact was read, and no object beside."""
        every = [((value == 1) | (self.there < 0)).all(1) for value in (self.there, *(getattr(self, f) for f in READ))]
        return np.asarray(np.logical_and.reduce(every) & (self.ground == 1) & (self.extra == 0))


def check(found: Facts, world: Facts) -> Check:
    """What `read` found in the cells where the facts put their objects. In a null world, pass `shown(world)`."""
    if len(found) != len(world) or found.config.cells != world.config.cells:
        raise SensoriumError(
            f"{len(found)} pictures of {found.config.cells} x {found.config.cells} cells; expected {len(world)} of "
            f"{world.config.cells} x {world.config.cells}"
        )
    real, cell = world.real(), np.where(world.real(), world.row.astype(np.int64) * world.config.cells + world.col, 0)
    seen = grid(found, np.ones_like(found.row)) > 0
    there = np.where(real, np.take_along_axis(seen, cell, 1), -1).astype(np.int8)
    factors = {}
    for factor in READ:
        got = np.take_along_axis(grid(found, getattr(found, factor)), cell, 1)
        factors[factor] = np.where(real & (got >= 0), got == getattr(world, factor), -1).astype(np.int8)
    ground = np.where(found.ground >= 0, found.ground == world.ground, -1).astype(np.int8)
    return Check(there, **factors, ground=ground, extra=(found.n - (there == 1).sum(1)).astype(np.int8))


def locate(found: Facts, world: Facts) -> np.ndarray:
    """int8 [N K]: the slot of `found` with the told object's colour and shape, wherever it lies; -1 for none.

    For pictures drawn from a text that tells no places. Equal objects are matched one to one.
    """
    out = np.full(world.row.shape, -1, np.int8)
    free = found.real()
    for k in range(world.row.shape[1]):
        colour, shape = world.colour[:, k, None], world.shape[:, k, None]
        same = free & (found.colour == colour) & (found.shape == shape)
        hit = np.flatnonzero(same.any(1) & world.real()[:, k])
        out[hit, k] = same[hit].argmax(1)
        free[hit, out[hit, k].astype(np.int64)] = False
    return out


@dataclass(frozen=True)
class Rate:
    """Shares of true renders that the reader gets wrong, and on which it is unsure."""

    wrong: float
    unsure: float


def reader_error(
    config: Config = DEFAULT, style: Style = STYLE, n: int = 1000, seed: int = 0, size: int = 32
) -> dict[str, Rate]:
    """The reader's own error on true renders, by factor: the figure that stands beside each score it gives.

    `there` counts told objects missed and empty cells filled, over all cells; a missed object's factors are unsure.
    """
    world = facts(derive("reader", seed), n, config)
    found = read(render(world, size, style), config, style)
    told = shown(world)
    result = check(found, told)
    real = told.real()
    cells = max(1, n * config.cells**2)
    rates = {"there": Rate(float(((result.there == 0).sum() + result.extra.sum()) / cells), 0.0)}
    for factor in READ:
        value = getattr(result, factor)[real]
        rates[factor] = Rate(float((value == 0).mean()), float((value == -1).mean()))
    rates["ground"] = Rate(float((result.ground == 0).mean()), float((result.ground == -1).mean()))
    return rates
