"""Stories of named characters over several pictures, and posts that name what a picture shows.

Only the first sentence says what the characters look like; the later ones call them by name, so that a picture can be
told from another only with the whole story.

Shape legend: N stories, S steps of one, K object slots of a scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.core import SensoriumError, derive

from ..facts import SHAPES, Facts
from ..lang.english import ENGLISH
from ..lang.names import name_number, name_word
from ..lang.plan import draw, order_of_mention
from ..lang.questions import unique
from ..operators import moved
from ..page.outline import names
from .objects import kind, listed, some


@dataclass(frozen=True, eq=False)
class Stories:
    """N stories: sentence s of story i goes with the picture of row i of worlds[s]."""

    texts: list[list[str]]
    worlds: list[Facts]
    """S worlds: the same characters, their places anew at each step."""
    names: list[list[str]]
    """[N][K]: the character in each slot."""
    states: list[list[tuple[tuple[int, str], ...]]]
    """[N][S]: the (slot, factor) that each sentence states."""

    def resolved(self, number: int, step: int) -> str:
        """A sentence with kinds in place of names: what it says to one who knows the story.

        Raises:
            SensoriumError: a step that is not told.
        """
        if not 0 <= step < len(self.worlds):
            raise SensoriumError(f"step {step}; expected 0 to {len(self.worlds) - 1}")
        world, text = self.worlds[step], self.texts[number][step]
        for slot, name in enumerate(self.names[number][: world.n[number]]):
            introduced = f"{name} is " if step == 0 else name
            text = text.replace(introduced, "" if step == 0 else some(kind(world, number, slot)))
        return text


def stories(facts: Facts, steps: int = 4, seed: int = 0) -> Stories:
    """A story per scene, which is its first picture. Each later sentence tells where some of the characters are.

    Raises:
        SensoriumError: fewer than two steps, a grid of one cell.
    """
    if steps < 2 or facts.config.cells < 2:
        raise SensoriumError(
            f"{steps} steps in a grid of {facts.config.cells} cells a side; expected 2 or more of each"
        )
    who = names(facts, facts.row.shape[1], seed, "characters")
    worlds = [facts]
    for s in range(1, steps):
        worlds.append(moved(worlds[-1], derive(seed, "talk", "story", s)))
    told = [_introduced(facts, who, seed), *(_told(world, who, s, seed) for s, world in enumerate(worlds[1:], 1))]
    texts = [[column[i][0] for column in told] for i in range(len(facts))]
    states = [[column[i][1] for column in told] for i in range(len(facts))]
    return Stories(texts, worlds, who, states)


_Line = tuple[str, tuple[tuple[int, str], ...]]


def _introduced(facts: Facts, who: list[list[str]], seed: int) -> list[_Line]:
    """ "Baba is a red circle and Bebu is a blue star." """
    out = []
    for i, order in enumerate(order_of_mention(facts, seed).tolist()):
        slots = [slot for slot in order if slot >= 0]
        parts = [f"{who[i][slot]} is {some(kind(facts, i, slot))}" for slot in slots]
        states = tuple((slot, factor) for slot in slots for factor in ("name", "colour", "shape"))
        out.append((f"{listed(parts)}." if parts else "nobody is here.", states))
    return out


def _told(world: Facts, who: list[list[str]], step: int, seed: int) -> list[_Line]:
    """Where one character or more are; with nobody there, nothing."""
    luck = draw(world, 1, seed, "talk", "told", step)[:, 0].tolist()
    out = []
    for i, order in enumerate(order_of_mention(world, derive(seed, "talk", step)).tolist()):
        slots = [slot for slot in order if slot >= 0]
        slots = slots[: 1 + int(luck[i] * len(slots))]
        places = [ENGLISH.place(int(world.row[i, k]), int(world.col[i, k]), world.config.cells) for k in slots]
        parts = [f"{who[i][slot]} is {place}" for slot, place in zip(slots, places, strict=True)]
        text = f"{'then' if step > 1 else 'now'} {listed(parts)}." if parts else "nothing happens."
        out.append((text, tuple((slot, "place") for slot in slots)))
    return out


@dataclass(frozen=True, eq=False)
class Posts:
    """N posts: what is written beside a picture, and the alternative text that picture and post together give."""

    texts: list[str]
    alt: list[str]
    slot: np.ndarray
    """int64 [N]: the object that is named; -1 where none could be."""


def posts(facts: Facts, seed: int = 0) -> Posts:
    """A post that names an object by its shape and calls it by a name, which no picture tells; its colour and place
    only the picture tells. "" where no object has a shape of its own."""
    free = unique(facts, "shape")
    keys = np.where(free, draw(facts, free.shape[1], seed, "talk", "post"), -1.0)
    slot = np.where(free.any(1), keys.argmax(1), -1)
    opening = (draw(facts, 1, seed, "talk", "opening")[:, 0] * len(_OPENINGS)).astype(int).tolist()
    texts, alt = [], []
    for i, k in enumerate(slot.tolist()):
        if k < 0:
            texts.append("")
            alt.append("")
            continue
        name, shape = name_word(int(facts.name[i, k])), SHAPES[facts.shape[i, k]]
        place = ENGLISH.place(int(facts.row[i, k]), int(facts.col[i, k]), facts.config.cells)
        texts.append(_OPENINGS[opening[i]].format(f"{shape} {name}"))
        alt.append(f"{name}, {some(kind(facts, i, k))}, {place}")
    return Posts(texts, alt, slot)


_OPENINGS = ("look at my {}!", "a day with my {}.", "who does not love the {}?", "my {} and friends")


def read_alt(text: str) -> tuple[int, str, str]:
    """An alternative text as `posts` writes it -> individual (-1: none), kind, place; "" for what is not said."""
    parts = [part.strip() for part in text.split(",")]
    kind = parts[1].partition(" ")[2] if len(parts) > 1 else ""
    return (name_number(parts[0]) if parts[0] else -1), kind, parts[2] if len(parts) > 2 else ""
