"""Knowledge about the kinds of things that pictures show, which no picture tells; small graphs to read in context.

Shape legend: K kinds (colour x shapes + shape), R relations, Q questions, N contexts, E entities of a context.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from sensorium.core import SensoriumError, derive

from ..facts import COLOURS, SHAPES, Facts, uniform
from ..lang import Questions
from ..lang.names import name_word

BETWEEN = ("follows", "likes")
"""Relations from a kind to another kind: each a permutation without fixed points."""
VALUED = {
    "comes from": ("the hills", "the coast", "the forest", "the desert"),
    "is made of": ("iron", "glass", "wood", "stone"),
}
"""Relations from a kind to a value; each value holds for as many kinds as any other."""
RELATIONS = (*BETWEEN, *VALUED)
_ASK = {"comes from": "where does {} come from?", "is made of": "what is {} made of?"}


@dataclass(frozen=True, eq=False)
class Graph:
    """What is true of each kind: int64 [R K], the kind or the value that a relation leads to."""

    tail: np.ndarray
    colours: int
    shapes: int

    @property
    def kinds(self) -> int:
        """K."""
        return self.colours * self.shapes

    def name(self, kind: int) -> str:
        """ "the red circle"."""
        return f"the {COLOURS[kind // self.shapes]} {SHAPES[kind % self.shapes]}"

    def value(self, relation: int, kind: int) -> str:
        """What a relation leads to, in words."""
        at, name = int(self.tail[relation, kind]), RELATIONS[relation]
        return self.name(at) if name in BETWEEN else VALUED[name][at]

    def triples(self) -> list[tuple[str, str, str]]:
        """Every fact: (head, relation, tail)."""
        return [(self.name(k), name, self.value(r, k)) for r, name in enumerate(RELATIONS) for k in range(self.kinds)]

    def edges(self) -> np.ndarray:
        """int64 [R K 3]: head, relation, tail; values are numbered after the kinds, relation by relation."""
        first = {name: self.kinds + 4 * at for at, name in enumerate(VALUED)}
        head = np.arange(self.kinds)
        rows = [
            np.stack([head, np.full_like(head, r), self.tail[r] + first.get(name, 0)], 1)
            for r, name in enumerate(RELATIONS)
        ]
        return np.concatenate(rows)


def graph(seed: int, colours: int = len(COLOURS), shapes: int = len(SHAPES)) -> Graph:
    """The graph of a seed, over all combinations of some colours and shapes.

    Raises:
        SensoriumError: fewer than four kinds, or kinds that four values cannot share evenly.
    """
    kinds = colours * shapes
    if not (1 <= colours <= len(COLOURS) and 1 <= shapes <= len(SHAPES) and kinds >= 4 and kinds % 4 == 0):
        raise SensoriumError(f"{colours} colours, {shapes} shapes; expected 4, 8, … kinds in all")
    rows = []
    for name in RELATIONS:
        rng = np.random.Generator(np.random.Philox(derive("knowledge", seed, name)))
        order = rng.permutation(kinds)
        tail = np.empty(kinds, np.int64)
        tail[order] = np.roll(order, 1) if name in BETWEEN else np.arange(kinds) % 4
        rows.append(tail)
    return Graph(np.stack(rows), colours, shapes)


def path(known: Graph, start: int, goal: int) -> list[tuple[int, int]] | None:
    """The shortest way from a kind to another along BETWEEN: (relation, kind reached) per step; None for none.

    Raises:
        SensoriumError: a kind that is not in the graph.
    """
    for kind in (start, goal):
        if not 0 <= kind < known.kinds:
            raise SensoriumError(f"kind {kind}; expected 0 to {known.kinds - 1}")
    came: dict[int, tuple[int, int] | None] = {start: None}
    todo = deque([start])
    while todo and goal not in came:
        now = todo.popleft()
        for relation in range(len(BETWEEN)):
            there = int(known.tail[relation, now])
            if there not in came:
                came[there] = (relation, now)
                todo.append(there)
    if goal not in came:
        return None
    steps: list[tuple[int, int]] = []
    while (last := came[goal]) is not None:
        steps.append((last[0], goal))
        goal = last[1]
    return steps[::-1]


def questions(known: Graph, world: Facts, hops: int = 1, pointed: bool = True, seed: int = 0) -> Questions:
    """A question per scene about its first object: "where does the thing that this follows come from?" for two hops.

    `pointed` says "this": only the picture tells of which kind it is, and the words are at chance. Otherwise the kind
    is named: the graph is needed, and not the picture.

    Raises:
        SensoriumError: hops other than 1 or 2, or scenes of kinds that the graph has not.
    """
    if hops not in (1, 2):
        raise SensoriumError(f"{hops} hops; expected 1 or 2")
    if (world.config.colours, world.config.shapes) != (known.colours, known.shapes):
        raise SensoriumError(
            f"scenes of {world.config.colours} colours and {world.config.shapes} shapes; expected {known.colours} and "
            f"{known.shapes}, as in the graph"
        )
    rows = np.flatnonzero(world.n > 0)
    kind = world.colour[rows, 0].astype(np.int64) * known.shapes + world.shape[rows, 0]
    luck = uniform(world.index, 2, world.seed, world.part, seed, "knowledge question")[rows]
    last = len(BETWEEN) + (luck[:, 0] * len(VALUED)).astype(np.int64)
    step = (luck[:, 1] * len(BETWEEN)).astype(np.int64)
    asked = kind if hops == 1 else known.tail[step, kind]
    text, answer = [], []
    options: list[tuple[str, ...]] = []
    for k, s, r, a in zip(kind.tolist(), step.tolist(), last.tolist(), asked.tolist(), strict=True):
        who = "this" if pointed else known.name(k)
        about = who if hops == 1 else f"the thing that {who} {BETWEEN[s]}"
        text.append(_ASK[RELATIONS[r]].format(about))
        answer.append(known.value(r, a))
        options.append(VALUED[RELATIONS[r]])
    return Questions(text, answer, [f"{hops} hops"] * len(rows), options, rows, np.zeros(len(rows), np.int64))


@dataclass(frozen=True, eq=False)
class Contexts:
    """N small graphs of their own, each with a text of all its facts, a question and its answer."""

    text: list[str]
    question: list[str]
    answer: list[str]
    tail: np.ndarray
    """int64 [N R E]: relation r leads entity e to this one (BETWEEN) or this value."""
    name: np.ndarray
    """int64 [N E]: the number of each entity's name (`lang.names`)."""
    path: np.ndarray
    """int64 [N hops + 1]: the entities that the question passes, the one named in it first."""


def contexts(seed: int, n: int, entities: int = 4, hops: int = 2, start: int = 0, part: str = "train") -> Contexts:
    """Contexts `start` to `start + n` of a part: nothing but the text tells the answer, and every step is needed.

    Facts stand in random order; each value holds for equally many entities, so that none is a better guess.

    Raises:
        SensoriumError: entities that four values cannot share, or hops that are not 1 to 3.
    """
    if entities % 4 or not 4 <= entities <= 32:
        raise SensoriumError(f"{entities} entities; expected 4, 8, … 32")
    if hops not in (1, 2, 3):
        raise SensoriumError(f"{hops} hops; expected 1 to 3")
    index = np.arange(start, start + n, dtype=np.int64)
    facts = len(RELATIONS) * entities
    luck = uniform(index, 2 * facts + 2 * entities + 2 + hops, seed, part, "context")
    deal, order, rest = np.split(luck, [facts, 2 * facts], axis=1)
    tail = _tails(deal.reshape(n, len(RELATIONS), entities))
    names = (rest[:, :entities].argsort(1) * 31 + (rest[:, entities : 2 * entities] * 31).astype(np.int64)).astype(
        np.int64
    )
    first, last = (rest[:, 2 * entities] * entities).astype(np.int64), rest[:, 2 * entities + 1]
    valued = len(BETWEEN) + (last * len(VALUED)).astype(np.int64)
    steps = (rest[:, 2 * entities + 2 :][:, : hops - 1] * len(BETWEEN)).astype(np.int64)
    passed = [first]
    for step in range(hops - 1):
        passed.append(tail[np.arange(n), steps[:, step], passed[-1]])
    texts, asked, answers = [], [], []
    for row in range(n):
        called = [name_word(int(number)) for number in names[row]]
        lines = [_line(tail[row], called, r, e) for r in range(len(RELATIONS)) for e in range(entities)]
        texts.append(" ".join(lines[at] for at in order[row].argsort().tolist()))
        about = called[int(first[row])]
        for step in range(hops - 1):
            about = f"the one that {about} {BETWEEN[int(steps[row, step])]}"
        relation = RELATIONS[int(valued[row])]
        asked.append(_ASK[relation].format(about))
        answers.append(VALUED[relation][int(tail[row, valued[row], passed[-1][row]])])
    return Contexts(texts, asked, answers, tail, names, np.stack(passed, 1))


def _tails(deal: np.ndarray) -> np.ndarray:
    """float64 [N R E] -> int64 [N R E]: a cycle through all entities for BETWEEN, evenly dealt values for VALUED."""
    order = deal.argsort(2)
    led = np.where(
        np.arange(len(RELATIONS))[:, None] < len(BETWEEN), np.roll(order, 1, 2), np.arange(deal.shape[2]) % 4
    )
    out = np.empty_like(order)
    np.put_along_axis(out, order, led, 2)
    return out


def _line(tail: np.ndarray, called: list[str], relation: int, entity: int) -> str:
    name, at = RELATIONS[relation], int(tail[relation, entity])
    return f"{called[entity]} {name} {called[at] if name in BETWEEN else VALUED[name][at]}."
