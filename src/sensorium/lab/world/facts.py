"""What is true in each scene of the generated world. Renderers, captions and operators read this and nothing else.

Shape legend: N scenes, K object slots of a scene, C colours, S shapes. Objects fill the first slots; the rest hold -1.
Scene i of a part depends on (seed, part, i) alone, so any chunk of the world is equal to the same rows of a larger one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from sensorium.core import SensoriumError, derive, nearest

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "brown")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
SIZES = ("small", "large")
TEXTURES = ("plain", "striped", "dotted")
GROUNDS = ("white", "grey", "black")
RELATIONS = ("left of", "right of", "above", "below")
PARTS = ("train", "validation", "test", "seen")
"""`test` shows only held combinations and novel shapes, where the config has any; `seen`: new scenes without these."""
NULLS = ("", "binding", "colour", "shape", "place", "pair")
INDIVIDUALS = 1000

_GOLDEN, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Config:
    """Difficulty dials. The defaults are a world that a small model learns in seconds."""

    cells: int = 2
    fewest: int = 2
    most: int = 3
    colours: int = 8
    shapes: int = 6
    sizes: tuple[str, ...] = ("large",)
    textures: tuple[str, ...] = ("plain",)
    grounds: tuple[str, ...] = ("white",)
    distinct: bool = True
    """No two objects of a scene share a colour or a shape."""
    held: float = 0.0
    """Share of (colour, shape) combinations that appear in `test` only, balanced over colours and over shapes."""
    null: str = ""
    """The factor in which pictures are drawn independently of the facts that captions tell (`shown`)."""
    novel: int = 0
    """Shapes that appear in `test` only."""
    skew: float = 0.0
    """Exponent of the shapes' long tail in `train` and `validation`; 0 is balanced."""
    typical: float = 0.0
    """Share of objects that have their shape's typical colour and size (`typical_kind`) whatever the draw."""

    def __post_init__(self) -> None:
        _between("cells", self.cells, 1, 16)
        _between("most", self.most, 1, min(127, self.cells**2))  # counts are int8
        _between("fewest", self.fewest, 0, self.most)
        _between("colours", self.colours, 1, len(COLOURS))
        _between("shapes", self.shapes, 1, len(SHAPES))
        _between("novel", self.novel, 0, self.shapes - 1)
        for what, given, valid in (
            ("sizes", self.sizes, SIZES),
            ("textures", self.textures, TEXTURES),
            ("grounds", self.grounds, GROUNDS),
        ):
            _names(what, given, valid)
        if not 0 <= self.held < 1:
            raise SensoriumError(f"held {self.held}; expected a share of the combinations from 0 to below 1")
        if not (math.isfinite(self.skew) and self.skew >= 0):
            raise SensoriumError(f"skew {self.skew}; expected 0 (balanced) or more")
        if not 0 <= self.typical <= 1:
            raise SensoriumError(f"typical {self.typical}; expected a share from 0 to 1")
        if self.null not in NULLS:
            raise SensoriumError(f"null world {self.null!r}{nearest(self.null, NULLS[1:])}")
        for part in ("train", "test"):
            _enough(self, part)


def _between(what: str, given: int, low: int, high: int) -> None:
    if not low <= given <= high:
        raise SensoriumError(f"{what} {given}; expected {low} to {high}")


def _names(what: str, given: Sequence[str], valid: Sequence[str]) -> None:
    if not given or len(set(given)) < len(given):
        raise SensoriumError(f"{what} {tuple(given)}; expected one or more of {', '.join(valid)}, each once")
    for name in given:
        if name not in valid:
            raise SensoriumError(f"{what} {name!r}{nearest(name, valid)}")


def _enough(config: Config, part: str) -> None:
    """A scene of `most` objects must exist among the combinations of a part."""
    allowed = combinations(config, part) > 0
    pairs = maximum_bipartite_matching(csr_array(allowed), perm_type="column")
    room = int((pairs >= 0).sum()) if config.distinct else config.most * bool(allowed.any())
    if room < config.most:
        raise SensoriumError(
            f"most {config.most} with {config.colours} colours, {config.shapes} shapes, held {config.held} and novel "
            f"{config.novel}: {part} scenes have room for {room} distinct objects; expected most at or below that"
        )


@dataclass(frozen=True, eq=False)
class Facts:
    """N scenes as a struct of arrays; -1 where there is no object."""

    shape: np.ndarray
    """int8 [N K], index into SHAPES; so are colour, size and texture into theirs."""
    colour: np.ndarray
    size: np.ndarray
    texture: np.ndarray
    row: np.ndarray
    """int8 [N K]: the cell, row 0 at the top; col 0 at the left."""
    col: np.ndarray
    ground: np.ndarray
    """int8 [N], index into GROUNDS."""
    n: np.ndarray
    """int8 [N]: objects of the scene."""
    name: np.ndarray
    """int32 [N K]: the number of a hidden individual; drawn only where a style asks for it."""
    config: Config
    seed: int
    index: np.ndarray
    """int64 [N]: scene numbers."""
    part: str = "train"

    def __len__(self) -> int:
        return len(self.n)

    def rows(self, index: np.ndarray | slice | Sequence[int]) -> Facts:
        """The scenes at row numbers, a slice or a bool mask [N]."""
        at: np.ndarray | slice = index if isinstance(index, slice) else np.asarray(index)
        if isinstance(at, np.ndarray) and not at.size:
            at = np.zeros(0, np.int64)
        return replace(self, **{field: getattr(self, field)[at] for field in ARRAYS})

    def real(self) -> np.ndarray:
        """bool [N K]: the slot holds an object."""
        return np.arange(self.row.shape[1]) < self.n[:, None]

    def relation(self, a: int | np.ndarray, b: int | np.ndarray) -> np.ndarray:
        """Slots (one, or [N]) -> int8 [N] into RELATIONS: where a lies seen from b, on the axis where they differ most.

        -1 where both axes differ equally (a diagonal) or a slot is empty; `holds` says which relations are true then.
        """
        down, right, real = self._offset(a, b)
        found = np.where(np.abs(right) > np.abs(down), np.where(right < 0, 0, 1), np.where(down < 0, 2, 3))
        return np.where(real & (np.abs(right) != np.abs(down)), found, -1).astype(np.int8)

    def holds(self, a: int | np.ndarray, b: int | np.ndarray) -> np.ndarray:
        """bool [N 4]: each of RELATIONS is true of a seen from b, on its own axis; two are on a diagonal."""
        down, right, real = self._offset(a, b)
        return np.asarray(np.stack([right < 0, right > 0, down < 0, down > 0], 1) & real[:, None])

    def _offset(self, a: int | np.ndarray, b: int | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How far a lies below and to the right of b, int16 [N], and whether both are there."""
        at = np.arange(len(self))
        a, b = (np.broadcast_to(np.asarray(slot), len(self)) for slot in (a, b))
        row, col = self.row.astype(np.int16), self.col.astype(np.int16)
        real = (a >= 0) & (b >= 0) & (row[at, a] >= 0) & (row[at, b] >= 0)
        return row[at, a] - row[at, b], col[at, a] - col[at, b], real


ARRAYS = ("shape", "colour", "size", "texture", "row", "col", "ground", "n", "name", "index")
"""The fields of Facts with one row per scene."""


def words(index: np.ndarray, count: int, *purpose: object) -> np.ndarray:
    """Scene numbers [N] -> uint64 [N count]: random words named by (purpose, scene number, column) alone.

    SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) from a state that hashes the purpose and the scene number.
    """
    state = _mix(index.astype(np.uint64) + np.uint64(derive("world", *purpose)))
    return _mix(state[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)


def uniform(index: np.ndarray, count: int, *purpose: object) -> np.ndarray:
    """Scene numbers [N] -> float64 [N count] in [0, 1), named like `words`."""
    return np.asarray((words(index, count, *purpose) >> np.uint64(11)) * 2.0**-53)


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return np.asarray(z ^ (z >> np.uint64(31)))


def combinations(config: Config, part: str) -> np.ndarray:
    """float64 [C S]: how often a part draws each (colour, shape), relative to the others; 0 is never."""
    c, s = config.colours, config.shapes
    kept = np.zeros((c, s), bool)
    # The walk (k mod C, k mod S) meets every colour and every shape equally often, so its head is balanced over both;
    # after each round of lcm(C, S) steps it moves on by one shape, to meet cells that it has not yet met.
    step = np.arange(round(config.held * c * s))
    colours, shapes = _shuffled(c, "held colours"), _shuffled(s, "held shapes")
    kept[colours[step % c], shapes[(step + step // math.lcm(c, s)) % s]] = True
    kept[:, _shuffled(s, "novel shapes")[: config.novel]] = True
    usual = np.arange(c)[:, None] == typical_kind(config)[0]
    weights = (1 - config.typical) / c + config.typical * usual
    if part in ("train", "validation"):
        weights = weights * np.arange(1, s + 1.0) ** -config.skew
    return np.where(kept == (part == "test" and bool(kept.any())), weights, 0.0)


def typical_kind(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """The typical colour and size of each shape, int64 [S] each."""
    shape = np.arange(config.shapes)
    sizes = np.array([SIZES.index(name) for name in config.sizes])
    return _shuffled(config.colours, "typical")[shape % config.colours], sizes[shape % len(sizes)]


def _shuffled(n: int, purpose: str) -> np.ndarray:
    return np.random.Generator(np.random.Philox(derive("world", purpose, n))).permutation(n)


DEFAULT = Config()


def facts(seed: int, n: int, config: Config = DEFAULT, start: int = 0, part: str = "train") -> Facts:
    """Scenes `start` to `start + n` of a part. Scene i depends on (seed, part, i) and the config, never on n or start.

    Raises:
        SensoriumError: a part that is not one of PARTS, a negative n or start.
    """
    return scenes(seed, numbered(n, start, part, "scenes"), config, part)


def numbered(n: int, start: int, part: str, noun: str) -> np.ndarray:
    """int64 [n]: the numbers `start` to `start + n` of a part, of anything that is generated by number.

    Raises:
        SensoriumError: a part that is not one of PARTS, a negative n or start.
    """
    if part not in PARTS:
        raise SensoriumError(f"part {part!r}{nearest(part, PARTS)}")
    if n < 0 or start < 0:
        raise SensoriumError(f"{n} {noun} from {start}; expected 0 or more of each")
    return np.arange(start, start + n, dtype=np.int64)


def scenes(seed: int, index: np.ndarray, config: Config = DEFAULT, part: str = "train") -> Facts:
    """The scenes of any numbers, int64 [N]: rows of what `facts` gives."""
    k = config.most
    count = config.fewest + _below(k - config.fewest + 1, index, 1, seed, part, "count")[:, 0]
    colour, shape = _kinds(seed, index, part, config, count)
    size = _one_of(config.sizes, SIZES, index, k, seed, part, "size")
    if config.typical:
        usual = uniform(index, k, seed, part, "typical") < config.typical
        size = np.where(usual, typical_kind(config)[1][shape], size)
    row, col = _cells(seed, index, config, part)
    real = np.arange(k) < count[:, None]

    def filled(values: np.ndarray) -> np.ndarray:
        return np.where(real, values, -1).astype(np.int8)

    return Facts(
        shape=filled(shape),
        colour=filled(colour),
        size=filled(size),
        texture=filled(_one_of(config.textures, TEXTURES, index, k, seed, part, "texture")),
        row=filled(row),
        col=filled(col),
        ground=_one_of(config.grounds, GROUNDS, index, 1, seed, part, "ground")[:, 0].astype(np.int8),
        n=count.astype(np.int8),
        name=np.where(real, _below(INDIVIDUALS, index, k, seed, part, "name"), -1).astype(np.int32),
        config=config,
        seed=seed,
        index=index,
        part=part,
    )


def _below(values: int, index: np.ndarray, columns: int, *purpose: object) -> np.ndarray:
    """int64 [N columns] in 0 to values - 1."""
    return np.asarray(uniform(index, columns, *purpose) * values, dtype=np.int64)


def _one_of(
    given: tuple[str, ...], valid: tuple[str, ...], index: np.ndarray, columns: int, *purpose: object
) -> np.ndarray:
    known = np.array([valid.index(name) for name in given])
    return np.asarray(known[_below(len(given), index, columns, *purpose)])


def _cells(seed: int, index: np.ndarray, config: Config, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, int64 [N K] each: `most` different cells."""
    cell = uniform(index, config.cells**2, seed, part, "cell").argsort(1)[:, : config.most]
    return cell // config.cells, cell % config.cells


def _kinds(seed: int, index: np.ndarray, part: str, config: Config, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours and shapes, int64 [N K] each: one object after the other, among the combinations still free."""
    weights = combinations(config, part)
    with np.errstate(divide="ignore"):
        slowness = 1 / weights.ravel()  # an exponential race: who arrives first is drawn by weight
    kind = np.zeros((len(index), config.most), np.int64)
    todo, attempt = np.arange(len(index)), 0
    while len(todo):
        blocked = np.zeros((len(todo), weights.size))
        stuck = np.zeros(len(todo), bool)
        for k in range(config.most):
            arrival = -np.log1p(-uniform(index[todo], weights.size, seed, part, "kind", k, attempt)) * slowness
            arrival += blocked
            kind[todo, k] = arrival.argmin(1)
            stuck |= (k < count[todo]) & np.isinf(arrival.min(1))
            if config.distinct:
                blocked += _clashes(config)[kind[todo, k]]
        todo, attempt = todo[stuck], attempt + 1
    return kind // config.shapes, kind % config.shapes


def _clashes(config: Config) -> np.ndarray:
    """float64 [C*S C*S]: inf where two combinations share the colour or the shape, 0 elsewhere."""
    kind = np.arange(config.colours * config.shapes)
    same = [part[:, None] == part for part in (kind // config.shapes, kind % config.shapes)]
    return np.where(same[0] | same[1], np.inf, 0.0)


def shown(world: Facts) -> Facts:
    """What the pictures show: the facts, but for the factor of a null world, which is drawn independently of them.

    binding: the scene's colours dealt anew to its objects; colour, shape, place: drawn anew; pair: an unrelated scene.
    """
    null, index, part = world.config.null, world.index, world.part
    plain = replace(world.config, null="")
    seed = derive(world.seed, "null")
    if null == "":
        return world
    if null == "pair":
        return replace(scenes(seed, index, plain, part), seed=world.seed)
    if null == "place":
        row, col = (np.where(world.real(), at, -1).astype(np.int8) for at in _cells(seed, index, plain, part))
        return replace(world, row=row, col=col, config=plain)
    if null == "binding":
        order = np.where(world.real(), uniform(index, plain.most, seed, part, "deal"), 2.0).argsort(1, kind="stable")
        return replace(world, colour=np.take_along_axis(world.colour, order, 1), config=plain)
    kinds = (np.where(world.real(), kind, -1).astype(np.int8) for kind in _kinds(seed, index, part, plain, world.n))
    colour, shape = kinds
    return (
        replace(world, colour=colour, config=plain) if null == "colour" else replace(world, shape=shape, config=plain)
    )
