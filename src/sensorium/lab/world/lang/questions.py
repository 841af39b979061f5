"""Questions with exact answers, drawn so that the question alone tells nothing about the answer.

Yes and no are a coin's; what a "no" asks for is drawn as what a "yes" asks for. `balance` evens out what a skewed world
leaves. A short cut that is no blindness: with three objects a colour of the picture is right one time in three.

Shape legend: N scenes, K object slots of a scene, Q questions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

from ..facts import COLOURS, GROUNDS, RELATIONS, SHAPES, SIZES, TEXTURES, Config, Facts, combinations
from .english import ENGLISH
from .plan import below, draw

YES_NO = ("yes", "no")


@dataclass(frozen=True, eq=False)
class Questions:
    """Q questions; `scene` is the row of the facts that each is asked of."""

    text: list[str]
    answer: list[str]
    kind: list[str]
    options: list[tuple[str, ...]]
    scene: np.ndarray
    """int64 [Q]."""
    slot: np.ndarray
    """int64 [Q]: the object asked about; -1 for none or several."""

    def __len__(self) -> int:
        return len(self.text)

    def rows(self, index: np.ndarray) -> Questions:
        """The questions at row numbers [R]."""
        lists = ([values[at] for at in index.tolist()] for values in (self.text, self.answer, self.kind))
        text, answer, kind = lists
        return Questions(text, answer, kind, [self.options[at] for at in index], self.scene[index], self.slot[index])


Asked = tuple[list[str], list[str], tuple[str, ...], np.ndarray, np.ndarray]
"""Texts, answers, options, scenes, slots of one kind."""


def questions(facts: Facts, kinds: Sequence[str] = (), seed: int = 0) -> Questions:
    """One question of each kind per scene that allows it; by default all kinds that the world has room for.

    Raises:
        SensoriumError: a kind that is unknown, or has only one answer in this world.
    """
    asked = [(kind, _KINDS[kind][1](facts, seed)) for kind in _possible(facts.config, kinds)]
    numbers: list[np.ndarray] = [np.zeros(0, np.int64)]
    return Questions(
        text=[text for _, found in asked for text in found[0]],
        answer=[answer for _, found in asked for answer in found[1]],
        kind=[kind for kind, found in asked for _ in found[0]],
        options=[found[2] for _, found in asked for _ in found[0]],
        scene=np.concatenate(numbers + [found[3] for _, found in asked]),
        slot=np.concatenate(numbers + [found[4] for _, found in asked]),
    )


def balance(asked: Questions, seed: int = 0) -> np.ndarray:
    """Row numbers, sorted, that leave each wording of a question with its answers equally often; those with one go."""
    wordings: dict[tuple[str, str], dict[str, list[int]]] = {}
    for at, (kind, text, answer) in enumerate(zip(asked.kind, asked.text, asked.answer, strict=True)):
        wordings.setdefault((kind, text), {}).setdefault(answer, []).append(at)
    kept = []
    for (kind, text), answers in wordings.items():
        few = min(map(len, answers.values())) if len(answers) > 1 else 0
        for answer, rows in answers.items():
            rng = np.random.Generator(np.random.Philox(derive("balance", seed, kind, text, answer)))
            kept += rng.permutation(rows)[:few].tolist()
    return np.array(sorted(kept), np.int64)


def unique(facts: Facts, *factors: str) -> np.ndarray:
    """bool [N K]: no other object of the scene shares these factors, so that they refer to one object."""
    real = facts.real()
    same = real[:, :, None] & real[:, None]
    for factor in factors:
        values = getattr(facts, factor)
        same &= values[:, :, None] == values[:, None]
    return np.asarray(real & (same.sum(2) == 1))


def choose(free: np.ndarray, facts: Facts, seed: int, *purpose: object) -> tuple[np.ndarray, np.ndarray]:
    """bool [N options] -> rows with a free option and one option of each, all equally likely, int64 [R] both."""
    if not free.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    keys = np.where(free, draw(facts, free.shape[1], seed, *purpose), -1.0)
    rows = np.flatnonzero(free.any(1))
    return rows, keys.argmax(1)[rows]


def _possible(config: Config, kinds: Sequence[str]) -> tuple[str, ...]:
    possible = tuple(kind for kind, (allowed, _) in _KINDS.items() if allowed(config))
    for kind in kinds:
        if kind not in _KINDS:
            raise SensoriumError(f"question kind {kind!r}{nearest(kind, _KINDS)}")
        if kind not in possible:
            raise SensoriumError(
                f"{kind!r} questions have one answer in this world; expected some of {', '.join(possible)}"
            )
    return tuple(kinds) or possible


def _kind(facts: Facts, rows: np.ndarray, slots: np.ndarray) -> list[str]:
    """ "red circle" for each (row, slot)."""
    colour, shape = facts.colour[rows, slots].tolist(), facts.shape[rows, slots].tolist()
    return [f"{COLOURS[c]} {SHAPES[s]}" for c, s in zip(colour, shape, strict=True)]


def _number(n: int) -> str:
    return ENGLISH.number(n) if n else "zero"


def _coin(facts: Facts, seed: int, kind: str) -> np.ndarray:
    return np.asarray(below(facts, 2, seed, kind, "coin") == 0)


def _answers(yes: np.ndarray) -> list[str]:
    return [YES_NO[0] if one else YES_NO[1] for one in yes.tolist()]


def _which_colour(facts: Facts, seed: int) -> Asked:
    rows, slots = choose(unique(facts, "shape"), facts, seed, "which colour")
    text = [f"what colour is the {SHAPES[s]}?" for s in facts.shape[rows, slots].tolist()]
    answer = [COLOURS[c] for c in facts.colour[rows, slots].tolist()]
    return text, answer, COLOURS[: facts.config.colours], rows, slots


def _which_shape(facts: Facts, seed: int) -> Asked:
    rows, slots = choose(unique(facts, "colour"), facts, seed, "which shape")
    text = [f"what is the {COLOURS[c]} shape?" for c in facts.colour[rows, slots].tolist()]
    return text, [SHAPES[s] for s in facts.shape[rows, slots].tolist()], SHAPES[: facts.config.shapes], rows, slots


def _either(facts: Facts, seed: int, factor: str, names: tuple[str, ...], allowed: tuple[str, ...]) -> Asked:
    """ "is the red circle plain, striped or dotted?", the options in the order of the facts."""
    options = tuple(name for name in names if name in allowed)
    rows, slots = choose(unique(facts, "colour", "shape"), facts, seed, factor)
    listed = f"{', '.join(options[:-1])} or {options[-1]}"
    text = [f"is the {kind} {listed}?" for kind in _kind(facts, rows, slots)]
    return text, [names[v] for v in getattr(facts, factor)[rows, slots].tolist()], options, rows, slots


def _which_size(facts: Facts, seed: int) -> Asked:
    return _either(facts, seed, "size", SIZES, facts.config.sizes)


def _which_texture(facts: Facts, seed: int) -> Asked:
    return _either(facts, seed, "texture", TEXTURES, facts.config.textures)


def _how_many(facts: Facts, seed: int) -> Asked:
    options = tuple(_number(n) for n in range(facts.config.fewest, facts.config.most + 1))
    rows = np.arange(len(facts))
    answer = [_number(n) for n in facts.n.tolist()]
    return ["how many shapes are there?"] * len(facts), answer, options, rows, np.full(len(rows), -1)


def _counts(facts: Facts) -> np.ndarray:
    """int64 [N C]: objects of each colour."""
    return np.stack([(facts.colour == c).sum(1) for c in range(facts.config.colours)], 1)


def _how_many_of(facts: Facts, seed: int) -> Asked:
    """First the answer, among those that some colour gives, then the colour."""
    counts = _counts(facts)
    possible = np.stack([(counts == n).any(1) for n in range(facts.config.most + 1)], 1)
    rows, wanted = choose(possible, facts, seed, "how many of", "answer")
    rows, colour = choose(counts == wanted[:, None], facts, seed, "how many of", "colour")
    most = 1 if facts.config.distinct else facts.config.most
    options = tuple(_number(n) for n in range(most + 1))
    text = [f"how many {COLOURS[c]} shapes are there?" for c in colour.tolist()]
    return text, [_number(n) for n in wanted.tolist()], options, rows, np.full(len(rows), -1)


def _is_there(facts: Facts, seed: int) -> Asked:
    """A kind of the scene, or one that the part draws as often but the scene lacks."""
    weights = combinations(facts.config, facts.part)
    shapes = weights.shape[1]
    kind = np.where(facts.real(), facts.colour.astype(np.int64) * shapes + facts.shape, -1)
    there = (kind[:, :, None] == np.arange(weights.size)).any(1)
    yes = _coin(facts, seed, "exists")
    free = np.where(yes[:, None], there, ~there & (weights.ravel() > 0))
    with np.errstate(divide="ignore"):
        arrival = -np.log1p(-draw(facts, weights.size, seed, "exists")) / np.where(yes[:, None], 1.0, weights.ravel())
    rows = np.flatnonzero(free.any(1))
    asked = np.where(free, arrival, np.inf).argmin(1)[rows]
    text = [f"is there a {COLOURS[k // shapes]} {SHAPES[k % shapes]}?".replace("a o", "an o") for k in asked.tolist()]
    found = (kind[rows] == asked[:, None]).argmax(1)
    return text, _answers(yes[rows]), YES_NO, rows, np.where(yes[rows], found, -1)


def _bound(facts: Facts, seed: int) -> Asked:
    """ "is the circle red?", where the other answer's colour is that of another object of the scene."""
    k = facts.shape.shape[1]
    possible = np.zeros((len(COLOURS) + 1, len(SHAPES) + 1), bool)
    drawn = combinations(facts.config, facts.part) > 0
    possible[: drawn.shape[0], : drawn.shape[1]] = drawn
    subject = unique(facts, "shape")
    other = facts.real() & (facts.n[:, None] > 1)
    free = subject[:, :, None] & other[:, None] & (facts.colour[:, :, None] != facts.colour[:, None])
    free &= possible[facts.colour[:, None], facts.shape[:, :, None]]
    rows, both = choose(free.reshape(len(facts), k * k), facts, seed, "binding")
    slots, lender = both // k, both % k
    yes = _coin(facts, seed, "binding")[rows]
    colour = facts.colour[rows, np.where(yes, slots, lender)].tolist()
    shape = facts.shape[rows, slots].tolist()
    text = [f"is the {SHAPES[s]} {COLOURS[c]}?" for s, c in zip(shape, colour, strict=True)]
    return text, _answers(yes), YES_NO, rows, slots


def _where(facts: Facts, seed: int) -> Asked:
    cells = facts.config.cells
    rows, slots = choose(unique(facts, "colour", "shape"), facts, seed, "where")
    text = [f"where is the {kind}?" for kind in _kind(facts, rows, slots)]
    at = zip(facts.row[rows, slots].tolist(), facts.col[rows, slots].tolist(), strict=True)
    options = tuple(ENGLISH.place(row, col, cells) for row in range(cells) for col in range(cells))
    return text, [ENGLISH.place(row, col, cells) for row, col in at], options, rows, slots


def _related(facts: Facts, seed: int) -> Asked:
    """A true relation of two objects, or its opposite."""
    k = facts.shape.shape[1]
    clear = unique(facts, "colour", "shape")
    free = clear[:, :, None] & clear[:, None] & ~np.eye(k, dtype=bool)
    rows, both = choose(free.reshape(len(facts), k * k), facts, seed, "relation")
    scenes, a, b = facts.rows(rows), both // k, both % k
    inside, true = choose(scenes.holds(a, b), scenes, seed, "relation", "which")
    rows, a, b = rows[inside], a[inside], b[inside]
    yes = _coin(facts, seed, "relation")[rows]
    asked = np.where(yes, true, true ^ 1).tolist()
    words = zip(_kind(facts, rows, a), asked, _kind(facts, rows, b), strict=True)
    return [f"is the {x} {RELATIONS[r]} the {y}?" for x, r, y in words], _answers(yes), YES_NO, rows, a


def _compared(facts: Facts, seed: int) -> Asked:
    """Two colours of different number, in either order."""
    counts, c = _counts(facts), facts.config.colours
    rows, both = choose((counts[:, :, None] != counts[:, None]).reshape(len(facts), c * c), facts, seed, "compare")
    a, b = both // c, both % c
    words = zip(a.tolist(), b.tolist(), strict=True)
    text = [f"are there more {COLOURS[x]} shapes than {COLOURS[y]} shapes?" for x, y in words]
    return text, _answers(counts[rows, a] > counts[rows, b]), YES_NO, rows, np.full(len(rows), -1)


def _behind(facts: Facts, seed: int) -> Asked:
    options = tuple(name for name in GROUNDS if name in facts.config.grounds)
    answer = [GROUNDS[g] for g in facts.ground.tolist()]
    return (
        ["what colour is the background?"] * len(facts),
        answer,
        options,
        np.arange(len(facts)),
        np.full(len(facts), -1),
    )


_KINDS: dict[str, tuple[Callable[[Config], bool], Callable[[Facts, int], Asked]]] = {
    "colour": (lambda config: config.colours > 1, _which_colour),
    "shape": (lambda config: config.shapes > 1, _which_shape),
    "size": (lambda config: len(config.sizes) > 1, _which_size),
    "texture": (lambda config: len(config.textures) > 1, _which_texture),
    "count": (lambda config: config.fewest < config.most, _how_many),
    "number": (lambda config: config.colours > 1, _how_many_of),
    "exists": (lambda config: config.colours * config.shapes > config.most, _is_there),
    "binding": (lambda config: config.colours > 1 and config.most > 1, _bound),
    "where": (lambda config: config.cells > 1, _where),
    "relation": (lambda config: config.most > 1, _related),
    "compare": (lambda config: config.colours > 1, _compared),
    "ground": (lambda config: len(config.grounds) > 1, _behind),
}
KINDS = tuple(_KINDS)
