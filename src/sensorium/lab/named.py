"""What a text names in its scene: the characters of each phrase, box and mask of the object that it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.core import derive
from sensorium.data.media import masks as rle

from .world.facts import COLOURS, SHAPES, Config, Facts, facts
from .world.lang import caption, questions, spans
from .world.scene import Style, boxes, masks

AND = " and "
SEEDS = 2**31
LOOKED = 200
"""Scenes that are looked through for one more of each kind."""
Rows = Mapping[str, list[Any]]


@dataclass(frozen=True)
class Named:
    """A text, and of each object that it names (first character, one past the last, slot)."""

    text: str
    phrases: Sequence[tuple[int, int, int]]


def mentioned(world: Facts, form: str, language: str, seed: int) -> list[Named]:
    """The objects of each caption in their order: the phrases with "and" between, so that a phrase has equal tokens
    wherever it stands."""
    found = []
    texts = caption(world, form, language, seed)
    for text, said in zip(texts, spans(world, form, language, seed), strict=True):
        objects = [s for s in said if s.factor == "object"]
        words = [text[s.start : s.end] for s in objects]
        starts = np.cumsum([0, *(len(word) + len(AND) for word in words)]).tolist()
        phrases = [(a, a + len(word), s.slot) for a, word, s in zip(starts, words, objects, strict=False)]
        found.append(Named(AND.join(words), phrases))
    return found


@dataclass(frozen=True)
class Questioned:
    """A question of each scene with what it names, its answer and its kind."""

    named: list[Named]
    answer: list[str]
    kind: list[str]


def questioned(world: Facts, kinds: Sequence[str], seed: int) -> Questioned:
    """One question per scene; the kinds take turns. It names the object that it is about, if that is in the picture."""
    asked = questions(world, kinds, seed)
    at = {(int(s), k): i for i, (s, k) in enumerate(zip(asked.scene, asked.kind, strict=True))}
    found = Questioned([], [], [])
    for scene in range(len(world)):
        turns = [kinds[(scene + k) % len(kinds)] for k in range(len(kinds))]
        which = next((at[scene, kind] for kind in turns if (scene, kind) in at), None)
        text, answer, kind, slot = ("", "", "", -1)
        if which is not None:
            text, answer, kind = asked.text[which], asked.answer[which], asked.kind[which]
            slot = int(asked.slot[which])
        found.named.append(Named(text, [_about(world, scene, slot, text)] if slot >= 0 else []))
        found.answer.append(answer)
        found.kind.append(kind)
    return found


def _about(world: Facts, scene: int, slot: int, text: str) -> tuple[int, int, int]:
    """The words of a question that name an object: its colour and shape, or what is said of these."""
    colour, shape = COLOURS[world.colour[scene, slot]], SHAPES[world.shape[scene, slot]]
    words = next(w for w in (f"{colour} {shape}", f"{colour} shape", shape) if w in text)
    return text.index(words), text.index(words) + len(words), slot


def located(world: Facts, named: Sequence[Named], size: int, style: Style, masked: bool) -> Rows:
    """Columns text, boxes, spans and, where `masked`, masks of the objects that the texts name.

    An object that is not seen (a null world may show fewer than it names) has none of them.
    """
    where, shown = boxes(world, size, style), masks(world, size, style) if masked else None
    columns: dict[str, list[Any]] = {"text": [one.text for one in named], "boxes": [], "spans": []}
    for scene, one in enumerate(named):
        seen = [phrase for phrase in one.phrases if where[scene, phrase[2]].any()]
        columns["boxes"].append([where[scene, slot].tolist() for *_, slot in seen])
        columns["spans"].append([[a, b] for a, b, _ in seen])
        if shown is not None:
            found = [rle.runs(shown[scene] == slot + 1) for *_, slot in seen]
            columns.setdefault("mask", []).append(rle.stored(found))
    return columns


def few(config: Config, shots: int, seed: int) -> Facts:
    """Scenes of the kinds that `config.held` keeps out of train, the first that bring each kind to `shots` of them."""
    pool = facts(derive(seed, "few") % SEEDS, LOOKED * shots, config, part="test")
    seen = np.zeros((config.colours, config.shapes), np.int64)
    wanted = len(set(_kinds(pool)))
    kept = []
    for scene in range(len(pool)):
        here = pool.colour[scene, : pool.n[scene]], pool.shape[scene, : pool.n[scene]]
        if (seen[here] < shots).any():
            np.add.at(seen, here, 1)
            kept.append(scene)
        if (seen >= shots).sum() == wanted:
            break
    return pool.rows(np.array(kept))


def _kinds(world: Facts) -> Iterator[tuple[int, int]]:
    real = world.real()
    return zip(world.colour[real].tolist(), world.shape[real].tolist(), strict=True)
