"""Scenes as pictures, and the truth of each pixel from the same geometry.

Shape legend: N scenes, K object slots, H W pixels. Everything is a pure function of (facts, size, style); the seed of
`render` redraws the noise and nothing else. Maps follow `shown(facts)`: in a null world they are true of the picture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.special import ndtri

from sensorium.core import SensoriumError, derive, nearest

from .facts import COLOURS, INDIVIDUALS, SHAPES, SIZES, TEXTURES, Config, Facts, facts, scenes, shown, uniform, words
from .sprites import (
    ACCENTS,
    LOOKS,
    colour_code,
    colours,
    diameters,
    distinct_sprites,
    ground_code,
    number_plate,
    sprite,
)

MARKS = ("box", "arrow", "scribble", "point", "tint", "number")
MAGENTA = np.array([255, 0, 255], np.uint8)
"""The colour of marks; no object has it."""
CHUNK = 256
"""Scenes turned from colour numbers into noisy pixels at once: they stay in a core's cache."""


@dataclass(frozen=True)
class Style:
    """How facts are drawn; none of it is a fact."""

    noise: float = 6.0
    """Standard deviation of each channel, in grey levels of 255."""
    jitter: float = 1.0
    """Share of its cell's free room in which an object lies anywhere; 0 is the middle."""
    aspect: tuple[int, int] = (1, 1)
    """Height : width. The shorter side is the size asked for."""
    look: str = "plain"
    scale: float = 1.0
    """Objects above 1 outgrow their cells and hide each other, the lower in front, then the further right."""
    accents: bool = False
    """Draw each hidden individual's own second colour (`Facts.name`)."""
    marks: str = ""
    """Mark every object; `marks` marks one."""

    def __post_init__(self) -> None:
        if self.look not in LOOKS:
            raise SensoriumError(f"look {self.look!r}{nearest(self.look, LOOKS)}")
        if self.marks and self.marks not in MARKS:
            raise SensoriumError(f"marks {self.marks!r}{nearest(self.marks, MARKS)}")
        for what, given, low, high in (
            ("noise", self.noise, 0, 255),
            ("jitter", self.jitter, 0, 1),
            ("scale", self.scale, 0.25, 4),
            ("aspect height", self.aspect[0], 1, 16),
            ("aspect width", self.aspect[1], 1, 16),
        ):
            if not low <= given <= high:
                raise SensoriumError(f"{what} {given}; expected {low} to {high}")


STYLE = Style()
ALONE = Config(fewest=1, most=1)
MOST_VIEWS = 4096


@dataclass(frozen=True, eq=False)
class Layout:
    """Where objects lie: first row and column in pixels (int64 [N K]), diameter, depth order (0 is painted first)."""

    height: int
    width: int
    top: np.ndarray
    left: np.ndarray
    diameter: np.ndarray
    order: np.ndarray


def shape_of(size: int, style: Style = STYLE) -> tuple[int, int]:
    """Height and width in pixels."""
    high, wide = style.aspect
    return size * high // min(high, wide), size * wide // min(high, wide)


def layout(world: Facts, size: int, style: Style = STYLE) -> Layout:
    """Pixel geometry of facts as they are (a null world's are `shown` first)."""
    height, width = shape_of(size, style)
    config, cells = world.config, world.config.cells
    px = np.array(diameters(min(height, width) // cells, style.scale))
    textures = tuple(TEXTURES.index(name) for name in config.textures)
    for name in config.sizes:
        distinct_sprites(config.shapes, textures, int(px[SIZES.index(name)]), style.look)
    diameter = px[world.size]
    luck = uniform(world.index, 2 * cells**2, world.seed, world.part, "jitter")
    cell = np.where(world.real(), world.row.astype(np.int64) * cells + world.col, 0)
    top = _place(np.where(world.real(), world.row, 0), height, cells, diameter, _at(luck, cell), style.jitter)
    left = _place(
        np.where(world.real(), world.col, 0), width, cells, diameter, _at(luck, cell + cells**2), style.jitter
    )
    return Layout(height, width, top, left, diameter, np.where(world.real(), cell, -1))


def _at(values: np.ndarray, slot: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, slot, 1)


def _place(
    line: np.ndarray, pixels: int, cells: int, diameter: np.ndarray, luck: np.ndarray, jitter: float
) -> np.ndarray:
    """Row or column of cells -> first pixel: within the cell where there is room, else about its middle."""
    edges = np.arange(cells + 1) * pixels // cells
    room = edges[line + 1] - edges[line] - diameter
    moves = np.where(room > 0, np.round(room * jitter), 0).astype(np.int64)
    return np.asarray(edges[line] + (room - moves) // 2 + (luck * (moves + 1)).astype(np.int64))


def render(world: Facts, size: int = 32, style: Style = STYLE, seed: int = 0) -> np.ndarray:
    """uint8 [N 3 H W]."""
    seen = shown(world)
    place = layout(seen, size, style)
    ground = ground_code(seen.ground)[:, None, None]
    canvas = np.broadcast_to(ground, (len(seen), place.height, place.width)).copy()
    _paint(canvas, seen, place, style, _tones(seen))
    table = colours(style.look).T
    out = np.empty((len(seen), 3, place.height, place.width), np.uint8)
    for a in range(0, len(seen), CHUNK):
        rows = slice(a, a + CHUNK)
        for channel in range(3):
            out[rows, channel] = table[channel].take(canvas[rows])
        if style.noise:
            add_noise(out[rows], seen.index[rows], style.noise, (seen.seed, seen.part, seed))
    return marks(out, world, None, style.marks, style) if style.marks else out


def _tones(seen: Facts) -> np.ndarray:
    """uint8 [N K 3]: the colour number of each tone. An individual's accent is always another colour than its own."""
    accent = (seen.colour + 1 + seen.name % (len(COLOURS) - 1)) % len(COLOURS)
    return np.stack([colour_code(seen.colour), colour_code(seen.colour, dark=True), colour_code(accent)], 2)


def _accent(seen: Facts, style: Style) -> np.ndarray:
    """int64 [N K] into ACCENTS."""
    place = 1 + seen.name // (len(COLOURS) - 1) % (len(ACCENTS) - 1)
    return np.where(style.accents, place, 0)


def _paint(canvas: np.ndarray, seen: Facts, place: Layout, style: Style, tones: np.ndarray) -> None:
    """Put objects on [N H W] in depth order: the pixel of tone t of object (n, k) becomes tones[n, k, t]."""
    n, k = np.nonzero(seen.real())
    kind = np.stack([seen.shape, seen.texture, place.diameter, _accent(seen, style)], -1)[n, k]
    order = place.order[n, k] if style.scale > 1 else np.zeros(len(n), np.int64)
    groups, member = np.unique(np.column_stack([order, kind]), axis=0, return_inverse=True)
    flat = canvas.reshape(-1)
    for at, (_, shape, texture, diameter, accent) in enumerate(groups.tolist()):
        here = member.reshape(-1) == at
        i, j = n[here], k[here]
        pixels = sprite(shape, texture, diameter, style.look, accent)
        y, x = np.nonzero(pixels >= 0)
        rows, cols = place.top[i, j][:, None] + y, place.left[i, j][:, None] + x
        to = (i[:, None] * place.height + rows) * place.width + cols
        values = tones[i, j][:, pixels[y, x]]
        if style.scale > 1:
            inside = (rows >= 0) & (rows < place.height) & (cols >= 0) & (cols < place.width)
            to, values = to[inside], values[inside]
        flat[to] = values


def add_noise(images: np.ndarray, index: np.ndarray, sd: float, purpose: tuple[object, ...]) -> None:
    count = images[0].size
    random = words(index, -(-count // 4), *purpose, "noise")
    steps = random.view(np.uint16) if sys.byteorder == "little" else random.byteswap().view(np.uint16)
    change = _normal(sd)[steps[:, :count]].reshape(images.shape)
    np.clip(images + change, 0, 255, out=images, casting="unsafe")


@cache
def _normal(sd: float) -> np.ndarray:
    """int16 [65536]: equally likely values of a normal variable, rounded."""
    return np.asarray((ndtri((np.arange(1 << 16) + 0.5) / (1 << 16)) * sd).round(), np.int16)


def masks(world: Facts, size: int = 32, style: Style = STYLE) -> np.ndarray:
    """uint8 [N H W]: 0 is ground, k + 1 the pixels in which object k is seen."""
    seen = shown(world)
    slot = np.arange(1, seen.row.shape[1] + 1, dtype=np.uint8)
    return _map(seen, size, style, np.broadcast_to(slot, seen.row.shape), np.uint8(0))


def depth(world: Facts, size: int = 32, style: Style = STYLE) -> np.ndarray:
    """float32 [N H W]: 1 is the ground, objects lie in (0, 1), nearer (smaller) towards the lower right."""
    seen = shown(world)
    cell = seen.row.astype(np.float32) * seen.config.cells + seen.col
    return _map(seen, size, style, 1 - (cell + 1) / (seen.config.cells**2 + 1), np.float32(1))


def _map(seen: Facts, size: int, style: Style, values: np.ndarray, ground: np.generic) -> np.ndarray:
    """[N K] one value per object -> [N H W] of the ground's dtype."""
    place = layout(seen, size, style)
    canvas = np.full((len(seen), place.height, place.width), ground)
    _paint(canvas, seen, place, style, np.repeat(values[..., None], 3, 2))
    return canvas


def boxes(world: Facts, size: int = 32, style: Style = STYLE) -> np.ndarray:
    """float32 [N K 4]: x y x y of the visible pixels' outer edges, in [0, 1]; zeros where nothing is seen."""
    found = masks(world, size, style)
    height, width = found.shape[1:]
    out = np.stack([_extent(found == k + 1) for k in range(world.row.shape[1])], 1)
    return np.asarray(out / np.array([width, height, width, height]), np.float32)


def _extent(here: np.ndarray) -> np.ndarray:
    """bool [N H W] -> int64 [N 4]: first column, first row, and one past the last ones; zeros for an empty map."""
    sides = []
    for axis in (1, 2):
        line = np.asarray(here.any(axis))
        sides.append((line.argmax(1), (line * np.arange(1, line.shape[1] + 1)).max(1)))
    (x0, x1), (y0, y1) = sides
    return np.stack([x0, y0, x1, y1], 1)


def edges(world: Facts, size: int = 32, style: Style = STYLE) -> np.ndarray:
    """bool [N H W]: the pixel's right or lower neighbour belongs to another object or to the ground."""
    found = masks(world, size, style)
    out = np.zeros(found.shape, bool)
    out[:, :, :-1] |= found[:, :, :-1] != found[:, :, 1:]
    out[:, :-1] |= found[:, :-1] != found[:, 1:]
    return out


def palette(images: np.ndarray, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N 3 H W] -> (uint8 [N k 3], float32 [N k]): main colours and their shares of the picture, largest first.

    Lloyd's k-means from the fullest of 512 colour bins and those farthest from it; no colour is zeros with share 0.
    """
    if not 1 <= k <= 64:
        raise SensoriumError(f"palette of {k} colours; expected 1 to 64")
    tones, shares = np.zeros((len(images), k, 3), np.uint8), np.zeros((len(images), k), np.float32)
    for i, image in enumerate(images):
        pixels, inverse = np.unique(image.reshape(3, -1).T, axis=0, return_inverse=True)
        weight = np.bincount(inverse.reshape(-1), minlength=len(pixels)).astype(np.float64)
        centre, share = _clusters(pixels.astype(np.float64), weight, k)
        best = np.argsort(-share, kind="stable")
        tones[i, : len(best)], shares[i, : len(best)] = centre[best].round(), share[best]
    return tones, shares


def _clusters(pixels: np.ndarray, weight: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """[P 3] colours with weights [P] -> centres [at most k, 3] and their shares."""
    place = (pixels.astype(np.int64) // 32) @ np.array([64, 8, 1])
    bins, inverse = np.unique(place, return_inverse=True)
    full = np.bincount(inverse, weight)
    mean = np.stack([np.bincount(inverse, weight * pixels[:, c]) for c in range(3)], 1) / full[:, None]
    centre, urge = mean[[full.argmax()]], np.full(len(bins), np.inf)
    while len(centre) < k:  # noise splits a colour over several bins, so that being full is not enough
        urge = np.minimum(urge, full * ((mean - centre[-1]) ** 2).sum(1))
        if urge.max() == 0:
            break
        centre = np.concatenate([centre, mean[[urge.argmax()]]])
    for _ in range(8):
        near = ((pixels[:, None] - centre) ** 2).sum(2).argmin(1)
        share = np.bincount(near, weight, len(centre))
        total = np.stack([np.bincount(near, weight * pixels[:, c], len(centre)) for c in range(3)], 1)
        centre = np.where(share[:, None] > 0, total / np.maximum(share, 1)[:, None], centre)
    return centre, share / weight.sum()


def metadata(images: np.ndarray, world: Facts) -> dict[str, np.ndarray]:
    """float32 [N] each. Of the pixels: brightness, contrast (0 to 1), colourfulness (Hasler & Suesstrunk 2003); of the
    facts: how many objects, colours and shapes."""
    seen = shown(world)
    red, green, blue = images.reshape(len(images), 3, -1).astype(np.float32).transpose(1, 0, 2)
    grey = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    warm, cold = red - green, (red + green) / 2 - blue
    found = {
        "brightness": grey.mean(1),
        "contrast": grey.std(1),
        "colourfulness": np.hypot(warm.std(1), cold.std(1)) + 0.3 * np.hypot(warm.mean(1), cold.mean(1)),
        "objects": seen.n,
        "colours": _different(seen.colour),
        "shapes": _different(seen.shape),
    }
    return {name: np.asarray(values, np.float32) for name, values in found.items()}


def _different(values: np.ndarray) -> np.ndarray:
    """[N K] -> [N]: how many different values there are, -1 aside."""
    line = np.sort(values, 1)
    return np.asarray((np.diff(line, axis=1, prepend=-1) > 0).sum(1))


def marks(
    images: np.ndarray,
    world: Facts,
    which: int | np.ndarray | None = None,
    kind: str = "box",
    style: Style = STYLE,
    seed: int = 0,
) -> np.ndarray:
    """uint8 [N 3 H W] -> a copy with an object marked: slot `which` (one, or [N]), or each object for None.

    A number is the slot's plus one. The seed moves arrows and scribbles.

    Raises:
        SensoriumError: an unknown kind, or a slot without an object.
    """
    if kind not in MARKS:
        raise SensoriumError(f"marks {kind!r}{nearest(kind, MARKS)}")
    seen = shown(world)
    chosen = seen.real() if which is None else np.arange(seen.row.shape[1]) == _slots(seen, which)[:, None]
    found, out = masks(world, min(images.shape[2:]), style), images.copy()
    for k in range(chosen.shape[1]):
        rows = np.flatnonzero(chosen[:, k] & (found == k + 1).any((1, 2)))
        if not len(rows):
            continue
        here = found[rows] == k + 1
        luck = uniform(seen.index[rows], 12, seen.seed, seen.part, seed, "mark", k)
        if kind == "number":
            _tag(out, rows, here, k + 1)
            continue
        ink = here if kind == "tint" else _INK[kind](here, luck)
        n, y, x = np.nonzero(ink)
        old = out[rows[n], :, y, x] if kind == "tint" else MAGENTA
        out[rows[n], :, y, x] = ((old.astype(np.int64) + MAGENTA) // 2).astype(np.uint8)
    return out


def _slots(seen: Facts, which: int | np.ndarray) -> np.ndarray:
    """int64 [N]; each must hold an object."""
    slot = np.broadcast_to(np.asarray(which, np.int64), len(seen))
    bad = np.flatnonzero((slot < 0) | (slot >= seen.n))
    if len(bad):
        raise SensoriumError(
            f"scene {seen.index[bad[0]]}: object {slot[bad[0]]} of {seen.n[bad[0]]}; expected 0 to {seen.n[bad[0]] - 1}"
        )
    return slot


def _box(here: np.ndarray, luck: np.ndarray) -> np.ndarray:
    height, width = here.shape[1:]
    y, x = np.indices((height, width))
    first, top, last, bottom = (side[:, None, None] for side in _extent(here).T)
    left, right = np.maximum(first - 1, 0), np.minimum(last, width - 1)
    up, down = np.maximum(top - 1, 0), np.minimum(bottom, height - 1)
    inside = (x >= left) & (x <= right) & (y >= up) & (y <= down)
    return np.asarray(inside & ((x == left) | (x == right) | (y == up) | (y == down)))


def _arrow(here: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """The tip lies on the object, the tail towards the middle of the picture, so that it is never cut off."""
    height, width = here.shape[1:]
    tip = _middle(here)
    inward = np.where(tip < np.array([height, width]) / 2, 1, -1)
    along = inward * np.stack([np.cos(luck[:, 0] * np.pi / 2), np.sin(luck[:, 0] * np.pi / 2)], 1)
    shaft, head = 0.35 * min(height, width), max(3.0, 0.12 * min(height, width))
    ink = _segment(here, tip, tip + shaft * along)
    for turn in (-0.6, 0.6):
        c, s = np.cos(turn), np.sin(turn)
        ink |= _segment(here, tip, tip + head * along @ np.array([[c, s], [-s, c]]))
    return ink


def _scribble(here: np.ndarray, luck: np.ndarray) -> np.ndarray:
    first, top, last, bottom = _extent(here).T
    low, high = np.stack([top, first], 1)[:, None], np.stack([bottom, last], 1)[:, None] - 1
    points = low + luck[:, :12].reshape(-1, 6, 2) * (high - low)
    ink = np.zeros_like(here)
    for a in range(5):
        ink |= _segment(here, points[:, a], points[:, a + 1])
    return ink


def _point(here: np.ndarray, luck: np.ndarray) -> np.ndarray:
    y, x = np.indices(here.shape[1:])
    row, col = _middle(here).T[..., None, None]
    return np.asarray(np.hypot(y - row, x - col) <= max(1.0, min(here.shape[1:]) / 24))


_INK: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "box": _box,
    "arrow": _arrow,
    "scribble": _scribble,
    "point": _point,
}
"""Visible pixels of one object, bool [n H W], and luck [n 12] -> the pixels of its mark, bool [n H W]."""


def _middle(here: np.ndarray) -> np.ndarray:
    """int64 [n 2]: row and column of the visible pixel nearest to the middle of the visible ones."""
    y, x = np.indices(here.shape[1:])
    first, top, last, bottom = (side[:, None, None] for side in _extent(here).T)
    away = np.hypot(y - (top + bottom - 1) / 2, x - (first + last - 1) / 2)
    best = np.where(here, away, np.inf).reshape(len(here), -1).argmin(1)
    return np.stack(np.divmod(best, here.shape[2]), 1)


def _segment(here: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """bool [n H W]: within 0.6 pixels of the line from a to b, [n 2] rows and columns each."""
    y, x = np.indices(here.shape[1:])
    (ay, ax), (dy, dx) = a.T[..., None, None], (b - a).T[..., None, None]
    along = ((y - ay) * dy + (x - ax) * dx) / np.maximum(dy**2 + dx**2, 1e-9)
    t = along.clip(0, 1)
    return np.asarray(np.hypot(y - ay - t * dy, x - ax - t * dx) <= 0.6)


def _tag(out: np.ndarray, rows: np.ndarray, here: np.ndarray, number: int) -> None:
    plate = number_plate(number)
    first, top, last, bottom = _extent(here).T
    height, width = here.shape[1:]
    y = ((top + bottom - plate.shape[0]) // 2).clip(0, max(0, height - plate.shape[0]))
    x = ((first + last - plate.shape[1]) // 2).clip(0, max(0, width - plate.shape[1]))
    for (dy, dx), white in np.ndenumerate(plate[:height, :width]):
        out[rows, :, y + dy, x + dx] = 255 * white


def instances(
    seed: int, individuals: int, views: int, config: Config = ALONE, start: int = 0, part: str = "train"
) -> tuple[Facts, np.ndarray]:
    """Facts of individuals x views scenes and who is in each, int64: the same objects elsewhere, on a redrawn ground.

    With several objects an individual is their whole set (a person of coloured parts). `Style(accents=True)` draws each
    object's own second colour, by which two of a kind are told apart.
    """
    if not 1 <= views <= MOST_VIEWS:
        raise SensoriumError(f"{views} views of each individual; expected 1 to {MOST_VIEWS}")
    people = facts(seed, individuals, config, start, part)
    who = np.repeat(people.index, views)
    number = who * MOST_VIEWS + np.tile(np.arange(views), individuals)
    kept = people.rows(np.repeat(np.arange(individuals), views))
    moved = scenes(derive(seed, "views"), number, replace(config, fewest=config.most), part)
    row, col = (np.where(kept.real(), at, -1).astype(np.int8) for at in (moved.row, moved.col))
    name = (who[:, None] * config.most + np.arange(config.most)) % INDIVIDUALS
    name = np.where(kept.real(), name, -1).astype(np.int32)
    return replace(kept, index=number, ground=moved.ground, row=row, col=col, name=name), who


def labelled(world: Facts, share: float, seed: int = 0) -> np.ndarray:
    """bool [N]: scenes that keep their labels; a larger share keeps all that a smaller one keeps."""
    return np.asarray(uniform(world.index, 1, world.seed, world.part, seed, "labelled")[:, 0] < share)


FAULTS = ("right", "missed", "colour", "shape", "invented")


@dataclass(frozen=True, eq=False)
class Tags:
    """What a detector reports for each slot: its kind (int8 [N K], -1 for no tag) and the fault, index into FAULTS."""

    colour: np.ndarray
    shape: np.ndarray
    fault: np.ndarray

    def words(self) -> list[list[str]]:
        """`red circle`, … per scene."""
        return [
            [f"{COLOURS[c]} {SHAPES[s]}" for c, s in zip(*pair, strict=True) if c >= 0]
            for pair in zip(self.colour.tolist(), self.shape.tolist(), strict=True)
        ]


def tags(world: Facts, error: float = 0.0, seed: int = 0) -> Tags:
    """Tags of the shown objects, each broken with probability `error`; an empty slot gets an invented tag as often.

    Broken is missed, or a kind that no object of the scene has: another colour, another shape, or invented.
    """
    if not 0 <= error <= 1:
        raise SensoriumError(f"tag error {error}; expected a share from 0 to 1")
    seen, shapes = shown(world), world.config.shapes
    real, kinds = seen.real(), np.arange(world.config.colours * shapes)
    kind = np.where(real, seen.colour.astype(np.int64) * shapes + seen.shape, -1)
    present = (kind[:, :, None] == kinds).any(1)
    told, fault = kind.copy(), np.zeros(kind.shape, np.int8)
    for k in range(kind.shape[1]):
        luck = uniform(seen.index, 2, seen.seed, seen.part, seed, "tag", k)
        own = kind[:, k, None]
        what = np.where(real[:, k], 1 + (luck[:, 1] * 3).astype(np.int64), FAULTS.index("invented"))
        what[luck[:, 0] >= error] = 0
        same_shape, same_colour = kinds % shapes == own % shapes, kinds // shapes == own // shapes
        allowed = np.where(what[:, None] == 2, same_shape, np.where(what[:, None] == 3, same_colour, True)) & ~present
        race = uniform(seen.index, len(kinds), seen.seed, seen.part, seed, "tag kind", k)
        wrong = np.where(allowed, race, -1.0).argmax(1)
        what[(what > 1) & ~allowed.any(1)] = 1
        what[~real[:, k] & (what == 1)] = 0
        told[:, k] = np.where(what == 0, kind[:, k], np.where(what == 1, -1, wrong))
        fault[:, k] = what
    colour, shape = np.where(told < 0, -1, told // shapes), np.where(told < 0, -1, told % shapes)
    return Tags(colour.astype(np.int8), shape.astype(np.int8), fault)
