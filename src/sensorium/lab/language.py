"""What a language model of the laboratory reads: captions with questions and orders, stories, dialogues; no pictures.

Whatever a row asks is answered by its own text, so that looking things up pays. Rows take turns by kind; half are
notes, in which every second word is looked up: from questions in whole sentences alone a small model learns it late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sensorium.core import derive

from .world.facts import COLOURS, SHAPES, Config, Facts, facts
from .world.lang import caption, instructions, questions
from .world.lang.plan import draw
from .world.talk import dialogues, stories

KINDS = (*("noted",) * 8, *("asked",) * 3, "caption", "placed", "ordered", "story", "dialogue")
"""What row i is: the entry i modulo their number."""
ASKED = ("colour", "shape", "exists", "binding")
"""Questions that a list of colours and shapes answers."""
ORDERS = ("shapes", "colours", "count", "correct")
NOTES, MOST = 10, 5
"""Notes and questions of one row at most; all but the last stand answered in its text."""
Row = tuple[str, str, str]
"""Text, question, answer; the last two may be empty."""


def documents(config: Config, part: str, n: int, seed: int = 0) -> dict[str, list[str]]:
    """Columns of `n` rows: scene (its number), text, question, answer."""
    world = facts(seed, n, config, part=part)
    numbers = world.index % len(KINDS)
    rows: dict[int, Row] = {}
    for kind in dict.fromkeys(KINDS):
        mine = np.flatnonzero(np.isin(numbers, [k for k, name in enumerate(KINDS) if name == kind]))
        rows |= dict(zip(mine.tolist(), _WRITERS[kind](world.rows(mine), seed), strict=True))
    text, question, answer = (list(column) for column in zip(*(rows[k] for k in range(n)), strict=True))
    scene = [f"{part}-{k}" for k in world.index.tolist()]
    return {"scene": scene, "text": text, "question": question, "answer": answer}


def asking(text: str, question: str) -> str:
    """A row's text as it goes on to its question, for who is to go on with the answer."""
    return f"{text} , {question}" if " : " in text else f"{text} {question}"


def _noted(world: Facts, seed: int) -> list[Row]:
    """A caption, and for several of its words in turn what they go with: "ring purple, orange star, …"."""
    told = caption(world, "list", seed=seed)
    luck = draw(world, 2 * NOTES + 1, seed, "language", "notes")
    slot = (luck[:, :NOTES] * world.n[:, None]).astype(np.int64)
    colour, shape = (np.take_along_axis(values, slot, 1).tolist() for values in (world.colour, world.shape))
    turned, counts = (luck[:, NOTES:-1] < 0.5).tolist(), (2 + luck[:, -1] * (NOTES - 1)).astype(np.int64).tolist()
    out = []
    for text, colours, shapes, back, count in zip(told, colour, shape, turned, counts, strict=True):
        kinds = [(COLOURS[c], SHAPES[s]) for c, s in zip(colours, shapes, strict=True)]
        pairs = [kind[::-1] if turn else kind for kind, turn in zip(kinds, back, strict=True)][:count]
        before = " , ".join(f"{cue} {found}" for cue, found in pairs[:-1])
        out.append((f"{text.replace(',', ' and')} : {before}", *pairs[-1]))
    return out


def _asked(world: Facts, seed: int) -> list[Row]:
    """A caption that lists the objects; questions, the last of which is left to answer."""
    return _questioned(world, caption(world, "list", seed=seed), ASKED, seed)


def _placed(world: Facts, seed: int) -> list[Row]:
    """A long caption, and where its objects are."""
    return _questioned(world, caption(world, "long", seed=seed), ("where", "colour"), seed)


def _questioned(world: Facts, texts: Sequence[str], kinds: Sequence[str], seed: int) -> list[Row]:
    """Up to MOST questions of each scene in an order that is drawn."""
    found: list[dict[str, str]] = [{} for _ in texts]
    for again in range(MOST):
        asked = questions(world, kinds, derive(seed, "language", again))
        for scene, question, answer in zip(asked.scene.tolist(), asked.text, asked.answer, strict=True):
            found[scene][question] = answer
    most = max(map(len, found), default=0)
    order, count = draw(world, most, seed, "language", "order").argsort(1), draw(world, 1, seed, "language", "count")
    out = []
    for text, pairs, turn, share in zip(texts, found, order.tolist(), count[:, 0].tolist(), strict=True):
        every = list(pairs.items())
        chosen = [every[k] for k in turn if k < len(every)][: 1 + int(share * MOST)]
        before = "".join(f" {question} {answer}." for question, answer in chosen[:-1])
        out.append((f"{text.removesuffix('.')}.{before}", *(chosen[-1] if chosen else ("", ""))))
    return out


def _ordered(world: Facts, seed: int) -> list[Row]:
    """A long caption and an order about it; one that corrects needs no caption of its own."""
    told = caption(world, "long", seed=seed)
    asked = instructions(world, ORDERS, seed)
    found: list[list[Row]] = [[] for _ in told]
    for scene, order, answer in zip(asked.scene.tolist(), asked.text, asked.answer, strict=True):
        found[scene].append((told[scene], order, answer))
    luck = draw(world, 1, seed, "language", "orders")[:, 0].tolist()
    return [rows[int(share * len(rows))] for rows, share in zip(found, luck, strict=True)]


def _story(world: Facts, seed: int) -> list[Row]:
    return [(" ".join(texts), "", "") for texts in stories.stories(world, 3, seed).texts]


def _dialogue(world: Facts, seed: int) -> list[Row]:
    """A caption, and a dialogue on it."""
    told, said = caption(world, "long", seed=seed), dialogues.about(world, 2, seed)
    return [(f"{text} {dialogues.as_text(turns)}", "", "") for text, turns in zip(told, said.turns, strict=True)]


def _caption(world: Facts, seed: int) -> list[Row]:
    """A caption by itself, of each form in turn."""
    forms = [caption(world, form, seed=seed) for form in ("short", "list", "long")]
    return [(forms[k // len(KINDS) % len(forms)][row], "", "") for row, k in enumerate(world.index.tolist())]


_WRITERS: Mapping[str, Callable[[Facts, int], list[Row]]] = {
    "noted": _noted,
    "asked": _asked,
    "placed": _placed,
    "ordered": _ordered,
    "story": _story,
    "dialogue": _dialogue,
    "caption": _caption,
}
