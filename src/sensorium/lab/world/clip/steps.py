"""Clips as demonstrations of a task: timed steps, and a narration that is off by as much as is asked for.

A task is a sequence of kinds of event; `Config.held` keeps a share of the tasks for test.

Shape legend: N clips, E steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError

from ..facts import COLOURS
from ..lang.names import name_word
from ..lang.plan import draw
from .film import RATE, seconds
from .telling import APPEAR, COLLIDE, MOVE, RECOLOUR, Clause, clause, thing
from .timeline import DIRECTIONS, KINDS, Clips

OPENINGS = ("", "now ", "next ", "and here ")
CHATTER = ("let us have a look", "this is my favourite part", "take your time", "i hope you like it", "so far so good")


def instruct(said: Clause) -> str:
    """A step as an order: "move the red circle left"."""
    what = thing(said.colour, said.shape)
    if said.kind == MOVE:
        return f"move {what} {DIRECTIONS[said.value]}"
    if said.kind == RECOLOUR:
        return f"paint {what} {COLOURS[said.value]}"
    if said.kind == COLLIDE:
        return f"bounce {what} off {thing(said.other_colour, said.other_shape)}"
    return f"add {what}" if said.kind == APPEAR else f"remove {what}"


@dataclass(frozen=True, eq=False)
class Steps:
    """What is done when."""

    segments: np.ndarray
    """float64 [N E 2]: seconds, from the last frame before the step to one past its last frame."""
    text: list[tuple[str, ...]]
    """Each step as an order."""
    task: np.ndarray
    """int64 [N]: the sequence of kinds as a number in base len(KINDS)."""

    def name(self, row: int) -> str:
        """The name of a clip's task: a word that tells nothing about it."""
        return name_word(int(self.task[row]))


def steps(world: Clips, rate: float = RATE) -> Steps:
    """The steps of each clip, exact at `rate` frames per second."""
    segments = np.stack([seconds(world.begin - 1, rate), seconds(world.end, rate)], 2)
    text = [tuple(instruct(clause(world, n, e)) for e in range(world.kind.shape[1])) for n in range(len(world))]
    task = (world.kind.astype(np.int64) * len(KINDS) ** np.arange(world.kind.shape[1])[::-1]).sum(1)
    return Steps(segments, text, task)


class Line(NamedTuple):
    """A sentence of a narration, in seconds; `step` is -1 for chatter."""

    text: str
    start: float
    end: float
    step: int


@dataclass(frozen=True, eq=False)
class Narration:
    """What is said over each clip, in the order of time. Lines may begin before the clip or end after it."""

    lines: list[tuple[Line, ...]]
    offset: np.ndarray
    """float64 [N]: seconds by which each line is later than its step."""


@dataclass(frozen=True)
class Voice:
    """How a narration is off."""

    offset: float = 0.0
    """Seconds by which all lines come late; negative is early."""
    spread: float = 0.0
    """Each clip's offset lies within this many seconds on either side, evenly."""
    missing: float = 0.0
    """Share of steps about which nothing is said."""
    chatter: float = 0.0
    """How often a line about nothing is said in the pause before a step."""

    def __post_init__(self) -> None:
        for what, given in (("missing", self.missing), ("chatter", self.chatter)):
            if not 0 <= given <= 1:
                raise SensoriumError(f"narration with {what} {given}; expected a share from 0 to 1")
        if not (np.isfinite(self.offset) and 0 <= self.spread < np.inf):
            raise SensoriumError(f"narration offset {self.offset}, spread {self.spread}; expected finite, spread >= 0")


ALIGNED = Voice()


def narrate(world: Clips, voice: Voice = ALIGNED, seed: int = 0, rate: float = RATE) -> Narration:
    """A line per step that is told, its times those of the step plus the clip's offset, exactly."""
    done, (n, events) = steps(world, rate), world.kind.shape
    luck = draw(world.cast, 1 + 4 * events, seed, "clip", "narration")
    offset = voice.offset + voice.spread * (2 * luck[:, 0] - 1)
    told, chat, opening, which = luck[:, 1:].reshape(n, 4, events).transpose(1, 0, 2)
    told, chat = told >= voice.missing, chat < voice.chatter
    opening, which = (opening * len(OPENINGS)).astype(int), (which * len(CHATTER)).astype(int)
    lines: list[tuple[Line, ...]] = []
    for row in range(n):
        own: list[Line] = []
        for e in range(events):
            start, end = (done.segments[row, e] + offset[row]).tolist()
            before = own[-1].end if own else offset[row]
            if chat[row, e] and before < start:
                own.append(Line(CHATTER[which[row, e]], float(before), start, -1))
            if told[row, e]:
                own.append(Line(OPENINGS[opening[row, e]] + done.text[row][e], start, end, e))
        lines.append(tuple(own))
    return Narration(lines, offset)


def transcript(spoken: Narration, marks: int = 0, length: float = 0.0) -> list[str]:
    """The narrations as one text each; with `marks` each line stands after its time tags, as in ViTT and Vid2Seq.

    `<3>` is the third of `marks` equal parts of a clip of `length` seconds, counted from 0; times outside are cut.
    """
    if marks and not (marks > 1 and length > 0):
        raise SensoriumError(f"{marks} time tags over {length} seconds; expected two or more, and a length above 0")

    def tag(time: float) -> str:
        return f"<{min(marks - 1, max(0, int(time / length * marks)))}> "

    return [
        ". ".join((tag(line.start) + tag(line.end) if marks else "") + line.text for line in lines)
        for lines in spoken.lines
    ]
