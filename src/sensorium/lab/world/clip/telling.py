"""Captions, false captions and questions about what happens, and a reader that says of which clips a text is true.

Shape legend: N clips, E events, K object slots, Q questions. English; objects are called by their first colour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import permutations
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import COLOURS, SHAPES
from ..lang import Questions
from ..lang.english import ENGLISH
from ..lang.grammar import noun_phrase
from ..lang.plan import draw
from ..lang.questions import choose
from ..sound.asking import Asked, ask
from .timeline import DIRECTIONS, KINDS, Clips

MOVE, APPEAR, VANISH, RECOLOUR, COLLIDE = range(len(KINDS))
FORMS = ("one", "events", "order", "story")
"""one: a single event; events: all of them, in no order; order: two, with before or after; story: all, in order."""
NEGATIVES = ("order", "direction", "actor", "event")
_VERBS = {APPEAR: "appears", VANISH: "vanishes"}
_YES_NO = ("yes", "no")


class Clause(NamedTuple):
    """One event as it is said; -1 where its kind has no such part."""

    kind: int
    colour: int
    shape: int
    value: int = -1
    other_colour: int = -1
    other_shape: int = -1


class Said(NamedTuple):
    """What a text says: events, and how they follow each other: "" (not said), before, after, then."""

    clauses: tuple[Clause, ...]
    order: str = ""


@dataclass(frozen=True, eq=False)
class _Plan:
    """Which events a text tells, int64 [N M], and in which order it says that they come."""

    event: np.ndarray
    order: list[str]


def clause(world: Clips, row: int, event: int) -> Clause:
    """An event of one clip as it is said."""
    cast, k, hit = world.cast, int(world.actor[row, event]), int(world.other[row, event])
    other = (int(cast.colour[row, hit]), int(cast.shape[row, hit])) if hit >= 0 else (-1, -1)
    kind, value = int(world.kind[row, event]), int(world.value[row, event])
    return Clause(kind, int(cast.colour[row, k]), int(cast.shape[row, k]), -1 if kind == COLLIDE else value, *other)


def say(said: Clause) -> str:
    """One event in words: "the red circle moves left"."""
    if said.kind == MOVE:
        rest = f"moves {DIRECTIONS[said.value]}"
    elif said.kind == RECOLOUR:
        rest = f"turns {COLOURS[said.value]}"
    elif said.kind == COLLIDE:
        rest = f"hits {thing(said.other_colour, said.other_shape)}"
    else:
        rest = _VERBS[said.kind]
    return f"{thing(said.colour, said.shape)} {rest}"


@cache
def thing(colour: int, shape: int) -> str:
    """ "the red circle"."""
    return noun_phrase(ENGLISH, {"colour": colour, "shape": shape}, definite=True).text


def write(said: Said) -> str:
    """What is said, in words."""
    told = [say(c) for c in said.clauses]
    if said.order in ("before", "after"):
        return f" {said.order} ".join(told)
    if said.order == "then" and len(told) > 1:
        return f"first {told[0]}, " + ", ".join(f"then {words}" for words in told[1:])
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def caption(world: Clips, form: str = "order", seed: int = 0) -> list[str]:
    """A true text per clip; which event is told first says nothing about which comes first.

    Raises:
        SensoriumError: a form that is not one of FORMS, or an order of a single event.
    """
    return [write(said) for said in statements(world, form, seed)]


def statements(world: Clips, form: str = "order", seed: int = 0) -> list[Said]:
    """What `caption` of the same arguments says."""
    how = _plan(world, form, seed)
    told = zip(how.event.tolist(), how.order, strict=True)
    return [Said(tuple(clause(world, n, e) for e in events), order) for n, (events, order) in enumerate(told)]


def _plan(world: Clips, form: str, seed: int) -> _Plan:
    if form not in FORMS:
        raise SensoriumError(f"caption form {form!r} of clips{nearest(form, FORMS)}")
    events = world.kind.shape[1]
    if form == "order" and events < 2:
        raise SensoriumError("an order of 1 event; expected clips of two events or more")
    mention = draw(world.cast, events, seed, "clip", "mention").argsort(1)
    if form == "story":
        return _Plan(np.broadcast_to(np.arange(events), mention.shape), ["then"] * len(world))
    if form != "order":
        return _Plan(mention[:, :1] if form == "one" else mention, [""] * len(world))
    pair = mention[:, :2]
    return _Plan(pair, ["before" if first else "after" for first in (pair[:, 0] < pair[:, 1]).tolist()])


def negative(world: Clips, factor: str, form: str = "order", seed: int = 0) -> list[str]:
    """`caption` of the same form and seed made false of its clip, in the same words and order of mention where it can.

    order: before for after, or the first two events of a story exchanged; direction: the opposite one; actor: two
    events exchange who does them; event: another thing happens to the same object. "" where that is not false.

    Raises:
        SensoriumError: a factor that is not one of NEGATIVES, or one that the form cannot break.
    """
    if factor not in NEGATIVES:
        raise SensoriumError(f"negative {factor!r} of clips{nearest(factor, NEGATIVES)}")
    said = statements(world, form, seed)
    if (factor == "order" and form not in ("order", "story")) or (factor == "actor" and form == "one"):
        raise SensoriumError(f"negative {factor!r} of form {form!r}; expected form order or story")
    luck = draw(world.cast, 1, seed, "clip", "negative")[:, 0].tolist()
    kinds = tuple(KINDS.index(kind) for kind in world.config.kinds)
    out = []
    for row, (true, pick) in enumerate(zip(said, luck, strict=True)):
        false = _BREAKS[factor](true, pick, kinds)
        out.append("" if false is None or holds(false, world.rows([row]))[0] else write(false))
    return out


def _break_order(true: Said, pick: float, kinds: tuple[int, ...]) -> Said | None:
    if true.order in ("before", "after"):
        return true._replace(order="after" if true.order == "before" else "before")
    if len(true.clauses) < 2:
        return None
    first, second, *rest = true.clauses
    return true._replace(clauses=(second, first, *rest))


def _break_direction(true: Said, pick: float, kinds: tuple[int, ...]) -> Said | None:
    moves = [at for at, c in enumerate(true.clauses) if c.kind == MOVE]
    return _with(true, moves, pick, lambda c: c._replace(value=c.value ^ 1))


def _break_actor(true: Said, pick: float, kinds: tuple[int, ...]) -> Said | None:
    a, b, *rest = true.clauses
    return true._replace(
        clauses=(a._replace(colour=b.colour, shape=b.shape), b._replace(colour=a.colour, shape=a.shape), *rest)
    )


def _break_event(true: Said, pick: float, kinds: tuple[int, ...]) -> Said | None:
    """To a kind of this world that takes no further words, or else to a move."""
    at = int(pick * len(true.clauses))
    known = [k for k in kinds if k in (MOVE, APPEAR, VANISH) and k != true.clauses[at].kind]
    if not known:
        return None
    share = pick * len(true.clauses) - at
    kind = known[int(share * len(known))]
    value = int(share * 4) if kind == MOVE else -1
    return _with(true, [at], 0.0, lambda c: Clause(kind, c.colour, c.shape, value))


_BREAKS: dict[str, Callable[[Said, float, tuple[int, ...]], Said | None]] = {
    "order": _break_order,
    "direction": _break_direction,
    "actor": _break_actor,
    "event": _break_event,
}


def _with(true: Said, where: list[int], pick: float, change: Callable[[Clause], Clause]) -> Said | None:
    if not where:
        return None
    at = where[int(pick * len(where))]
    return true._replace(clauses=(*true.clauses[:at], change(true.clauses[at]), *true.clauses[at + 1 :]))


_ONE = re.compile(
    r"the (?P<colour>\w+) (?P<shape>\w+) (?:moves (?P<way>\w+)|turns (?P<new>\w+)|(?P<verb>appears|vanishes)"
    r"|hits the (?P<hue>\w+) (?P<what>\w+))"
)


def parse(text: str) -> Said | None:
    """What a text of `caption`'s making, or a generated one like it, says; None where any word has no meaning here."""
    text = text.casefold().strip().rstrip(".")
    for order in ("before", "after"):
        if f" {order} " in text:
            return _said(text.split(f" {order} "), order)
    if text.startswith("first "):
        return _said(text.removeprefix("first ").split(", then "), "then")
    return _said([part for piece in text.split(", ") for part in piece.split(" and ")], "")


def _said(pieces: Sequence[str], order: str) -> Said | None:
    clauses = [_clause(piece) for piece in pieces]
    known = tuple(c for c in clauses if c is not None)
    return Said(known, order) if len(known) == len(clauses) else None


def _clause(piece: str) -> Clause | None:
    found = _ONE.fullmatch(piece.strip())
    if found is None:
        return None
    tables = {"colour": COLOURS, "shape": SHAPES, "way": DIRECTIONS, "new": COLOURS, "hue": COLOURS, "what": SHAPES}
    for name, table in tables.items():
        if found[name] is not None and found[name] not in table:
            return None
    actor = COLOURS.index(found["colour"]), SHAPES.index(found["shape"])
    if found["way"]:
        return Clause(MOVE, *actor, DIRECTIONS.index(found["way"]))
    if found["new"]:
        return Clause(RECOLOUR, *actor, COLOURS.index(found["new"]))
    if found["hue"]:
        return Clause(COLLIDE, *actor, -1, COLOURS.index(found["hue"]), SHAPES.index(found["what"]))
    return Clause(APPEAR if found["verb"] == "appears" else VANISH, *actor)


def true_of(text: str, world: Clips) -> np.ndarray:
    """bool [N]: all that the text says happens in the clip, in the order that it says; False for what is not read."""
    said = parse(text)
    return np.zeros(len(world), bool) if said is None else holds(said, world)


def holds(said: Said, world: Clips) -> np.ndarray:
    """bool [N]: `true_of` for what was read already. Clauses mean different events."""
    fits = [_matches(c, world) for c in said.clauses]
    events = range(world.kind.shape[1])
    out = np.zeros(len(world), bool)
    for chosen in permutations(events, len(fits)):
        if said.order in ("before", "then") and list(chosen) != sorted(chosen):
            continue
        if said.order == "after" and list(chosen) != sorted(chosen, reverse=True):
            continue
        out |= np.logical_and.reduce([fit[:, e] for fit, e in zip(fits, chosen, strict=True)])
    return out


def _matches(said: Clause, world: Clips) -> np.ndarray:
    """bool [N E]: the event is what the clause says."""
    cast = world.cast
    out = world.kind == said.kind
    actor = world.actor.astype(np.int64)
    out &= np.take_along_axis(cast.colour, actor, 1) == said.colour
    out &= np.take_along_axis(cast.shape, actor, 1) == said.shape
    if said.kind in (MOVE, RECOLOUR):
        out &= world.value == said.value
    if said.kind == COLLIDE:
        hit = np.maximum(world.other, 0).astype(np.int64)
        out &= np.take_along_axis(cast.colour, hit, 1) == said.other_colour
        out &= np.take_along_axis(cast.shape, hit, 1) == said.other_shape
    return np.asarray(out)


def questions(world: Clips, kinds: Sequence[str] = (), seed: int = 0) -> Questions:
    """One question of each kind per clip that allows it; `scene` is the row of the clip.

    The words of a question tell nothing about its answer (`lang.balance` first evens out `count`). A single frame
    tells something of `direction`: what stands at an edge does not leave over it.

    Raises:
        SensoriumError: an unknown kind, or one that needs events which this world has not.
    """
    makers = {kind: partial(maker, world, seed) for kind, maker in _ASKS.items()}
    return ask(makers, kinds, {kind: _possible(kind, world) for kind in QUESTIONS}, "clips")


def _possible(kind: str, world: Clips) -> bool:
    config, needs = world.config, {"direction": "move", "colour": "recolour", "hit": "collide"}
    if kind in needs:
        return needs[kind] in config.kinds
    return config.events > 1 if kind == "order" else len(config.kinds) > 1


def _events(world: Clips, kind: int, seed: int, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of clips with such an event, and which one: any of them as likely. -1 is any kind."""
    fits = world.kind == kind if kind >= 0 else np.ones_like(world.kind, bool)
    luck = np.where(fits, draw(world.cast, fits.shape[1], seed, "clip", purpose), -1.0)
    rows = np.flatnonzero(fits.any(1))
    return rows, luck.argmax(1)[rows]


def _asked(world: Clips, seed: int, kind: int, purpose: str) -> tuple[np.ndarray, list[Clause], np.ndarray]:
    """Rows, the event asked about as it would be said, and its actor's slot."""
    rows, events = _events(world, kind, seed, purpose)
    told = [clause(world, n, e) for n, e in zip(rows.tolist(), events.tolist(), strict=True)]
    return rows, told, world.actor[rows, events].astype(np.int64)


def _which_way(world: Clips, seed: int) -> Asked:
    rows, told, slot = _asked(world, seed, MOVE, "direction")
    text = [f"which way does {thing(c.colour, c.shape)} move?" for c in told]
    return text, [DIRECTIONS[c.value] for c in told], [DIRECTIONS] * len(told), rows, slot


def _what_colour(world: Clips, seed: int) -> Asked:
    rows, told, slot = _asked(world, seed, RECOLOUR, "colour")
    known = COLOURS[: world.config.scene.colours]
    options = [tuple(name for name in known if name != COLOURS[c.colour]) for c in told]
    text = [f"what colour does {thing(c.colour, c.shape)} become?" for c in told]
    return text, [COLOURS[c.value] for c in told], options, rows, slot


def _what_is_hit(world: Clips, seed: int) -> Asked:
    rows, told, slot = _asked(world, seed, COLLIDE, "hit")
    known = SHAPES[: world.config.scene.shapes]
    options = [tuple(name for name in known if name != SHAPES[c.shape]) for c in told]
    text = [f"what does {thing(c.colour, c.shape)} hit?" for c in told]
    return text, [SHAPES[c.other_shape] for c in told], options, rows, slot


_DO = ("move", "appear", "vanish", "change colour", "hit something")
_DOES = ("moves", "appears", "vanishes", "changes colour", "hits something")


def _what_does(world: Clips, seed: int) -> Asked:
    rows, told, slot = _asked(world, seed, -1, "event")
    options = tuple(_DOES[KINDS.index(kind)] for kind in world.config.kinds)
    text = [f"what does {thing(c.colour, c.shape)} do?" for c in told]
    return text, [_DOES[c.kind] for c in told], [options] * len(told), rows, slot


def _which_first(world: Clips, seed: int) -> Asked:
    """Two events in either order of mention; the connective is a coin's."""
    how = _plan(world, "order", seed)
    coin = (draw(world.cast, 1, seed, "clip", "order")[:, 0] < 0.5).tolist()
    pairs = zip(how.event.tolist(), how.order, coin, strict=True)
    text, answer = [], []
    for n, ((a, b), true, yes) in enumerate(pairs):
        word = true if yes else {"before": "after", "after": "before"}[true]
        first, second = say(clause(world, n, a)), say(clause(world, n, b))
        text.append(f"is it true that {first} {word} {second}?")
        answer.append(_YES_NO[not yes])
    return text, answer, [_YES_NO] * len(text), np.arange(len(world)), np.full(len(world), -1)


def _how_many(world: Clips, seed: int) -> Asked:
    """First the answer, among those that some kind of event gives, then the kind."""
    known, events = np.array([KINDS.index(kind) for kind in world.config.kinds]), world.config.events
    counts = (world.kind[:, :, None] == known).sum(1)
    possible = (counts[:, :, None] == np.arange(events + 1)).any(1)
    rows, wanted = choose(possible, world.cast, seed, "clip", "count")
    rows, kind = choose(counts == wanted[:, None], world.cast, seed, "clip", "count of")
    options = ("zero", *(ENGLISH.number(n) for n in range(1, events + 1)))
    text = [f"how many shapes {_DO[k]}?" for k in known[kind].tolist()]
    return text, [options[n] for n in wanted.tolist()], [options] * len(text), rows, np.full(len(rows), -1)


_ASKS: dict[str, Callable[[Clips, int], Asked]] = {
    "direction": _which_way,
    "order": _which_first,
    "event": _what_does,
    "colour": _what_colour,
    "hit": _what_is_hit,
    "count": _how_many,
}
QUESTIONS = tuple(_ASKS)
