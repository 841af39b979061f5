"""Dialogues on pictures: what each turn states, what its pronouns mean, when a picture is shown and which.

Shape legend: N dialogues, T turns of one, S pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError

from ..facts import COLOURS, RELATIONS, SHAPES, SIZES, TEXTURES, Facts
from ..lang import Mention, Reading
from ..lang.checking import holds_of
from ..lang.english import ENGLISH
from ..lang.plan import draw, order_of_mention
from ..lang.questions import unique
from ..page.outline import several
from .objects import some

USER, ASSISTANT = "user", "assistant"
CHAT = (
    ("hello.", "hello, how can i help?"),
    ("how are you today?", "fine, thank you."),
    ("that is a nice program.", "i do what i can."),
    ("one moment, please.", "take your time."),
)
"""Turns on nothing in particular: no picture belongs to them."""
_ASKED = {
    "colour": "what colour is {}?",
    "place": "where is {}?",
    "size": "is {} small or large?",
    "texture": "is {} plain, striped or dotted?",
}


class Turn(NamedTuple):
    """One utterance. An object is (picture, slot): the picture's column in the dialogue's worlds, its scene's slot."""

    speaker: str
    text: str
    states: tuple[tuple[int, int, str], ...] = ()
    """(picture, slot, factor) of each fact that it states."""
    refers: tuple[int, int] | None = None
    """The object that "it", or a description, means."""
    picture: int = -1
    """The picture that is shown with it; -1 for none."""


@dataclass(frozen=True, eq=False)
class Dialogues:
    """N dialogues; picture s of dialogue i is row i of worlds[s]."""

    turns: list[tuple[Turn, ...]]
    worlds: list[Facts]

    def known(self, number: int, turn: int) -> frozenset[tuple[int, int, str]]:
        """The facts stated up to a turn and with it: the state that a tracker should hold."""
        return frozenset(fact for one in self.turns[number][: turn + 1] for fact in one.states)


def about(facts: Facts, length: int = 4, seed: int = 0) -> Dialogues:
    """Questions on a picture: `length` exchanges, or fewer where nothing is left to ask, none without objects.

    The first names an object by its shape. Later ones say "it", or ask for the only object that lies to one side of
    it, which is then what "it" means.
    """
    alone, luck = unique(facts, "shape"), draw(facts, 2 * length + 1, seed, "talk", "about").tolist()
    scenes = _told(facts)
    turns: list[tuple[Turn, ...]] = []
    for scene, free, row in zip(scenes, alone.tolist(), luck, strict=True):
        slots = [slot for slot, here in enumerate(free) if here]
        if not slots:
            turns.append(())
            continue
        turns.append(tuple(_exchanges(scene, slots[int(row[0] * len(slots))], row[1:], facts)))
    return Dialogues(turns, [facts])


@dataclass(frozen=True)
class _Object:
    """One object in words, and for each of RELATIONS the slots of what lies so, seen from it."""

    words: dict[str, str]
    beside: tuple[tuple[int, ...], ...]

    @property
    def kind(self) -> str:
        return f"{self.words['colour']} {self.words['shape']}"


def _told(facts: Facts) -> list[list[_Object]]:
    k, cells = facts.row.shape[1], facts.config.cells
    holds = [[facts.holds(a, b).tolist() for a in range(k)] for b in range(k)]
    tables = (("colour", COLOURS), ("shape", SHAPES), ("size", SIZES), ("texture", TEXTURES))
    values = {factor: getattr(facts, factor).tolist() for factor, _ in tables}
    rows, cols = facts.row.tolist(), facts.col.tolist()
    out = []
    for i, n in enumerate(facts.n.tolist()):
        scene = []
        for b in range(n):
            words = {factor: names[values[factor][i][b]] for factor, names in tables}
            words["place"] = ENGLISH.place(rows[i][b], cols[i][b], cells)
            beside = tuple(tuple(a for a in range(n) if a != b and holds[b][a][i][r]) for r in range(len(RELATIONS)))
            scene.append(_Object(words, beside))
        out.append(scene)
    return out


def _exchanges(scene: list[_Object], focus: int, luck: Sequence[float], facts: Facts) -> list[Turn]:
    config = facts.config
    factors = ["colour"] + ["place"] * (config.cells > 1)
    factors += ["size"] * (len(config.sizes) > 1) + ["texture"] * (len(config.textures) > 1)
    turns: list[Turn] = []
    known = {(focus, "shape")}
    name = f"the {scene[focus].words['shape']}"
    for which, where in zip(luck[::2], luck[1::2], strict=True):
        asked = [factor for factor in factors if (focus, factor) not in known]
        moves = [
            (relation, found[0])
            for relation, found in enumerate(scene[focus].beside)
            if len(found) == 1 and (found[0], "shape") not in known
        ]
        if moves and turns and (which < 0.5 or not asked):
            relation, focus = moves[int(where * len(moves))]
            turns.append(Turn(USER, f"what is {RELATIONS[relation]} {name}?", refers=turns[-1].refers))
            turns.append(_says(f"{some(scene[focus].kind)}.", focus, "shape", "colour"))
            known |= {(focus, "shape"), (focus, "colour")}
        elif asked:
            factor = asked[int(where * len(asked))]
            turns.append(Turn(USER, _ASKED[factor].format(name), refers=(0, focus)))
            answer = scene[focus].words[factor]
            turns.append(_says(f"it is {answer}.", focus, factor))
            known.add((focus, factor))
        name = "it"
    return turns


def _says(text: str, slot: int, *factors: str, picture: int = 0) -> Turn:
    return Turn(ASSISTANT, text, tuple((picture, slot, factor) for factor in factors), (picture, slot))


def requests(facts: Facts, chat: float = 0.3, seed: int = 0) -> Dialogues:
    """A picture described turn by turn, an object each, and shown in answer to the last: no turn alone tells which.

    A share `chat` of the exchanges has another before it on nothing in particular.
    """
    order = order_of_mention(facts, seed).tolist()
    luck = draw(facts, 2 * (facts.row.shape[1] + 1), seed, "talk", "requests").tolist()
    turns = []
    for scene, slots, row in zip(_told(facts), order, luck, strict=True):
        said: list[Turn] = []
        found = [slot for slot in slots if slot >= 0]
        for at, slot in enumerate(found):
            if row[2 * at] < chat:
                said += _chat(row[2 * at + 1])
            before = "i am looking for a picture with" if at == 0 else "it also has"
            states = ((0, slot, "colour"), (0, slot, "shape"))
            said.append(Turn(USER, f"{before} {some(scene[slot].kind)}.", states, (0, slot)))
            last = at == len(found) - 1
            said.append(Turn(ASSISTANT, "here it is.", picture=0) if last else Turn(ASSISTANT, "what else?"))
        if row[-2] < chat:
            said += _chat(row[-1])
        turns.append(tuple(said))
    return Dialogues(turns, [facts])


def _chat(luck: float) -> list[Turn]:
    asked, answered = CHAT[int(luck * len(CHAT))]
    return [Turn(USER, asked), Turn(ASSISTANT, answered)]


def albums(facts: Facts, pictures: int = 3, length: int = 3, seed: int = 0) -> Dialogues:
    """Several pictures, of which the user asks for one by what it alone shows, then on what is in "this picture".

    Each of `length` rounds is such a request, answered by the picture, and a question, answered in words.
    """
    if length < 1:
        raise SensoriumError(f"{length} rounds; expected 1 or more")
    worlds = several(facts, pictures, seed)
    told = [_told(world) for world in worlds]
    alone = [unique(world, "shape").tolist() for world in worlds]
    luck = draw(facts, 2 * length, seed, "talk", "albums").tolist()
    turns = []
    for i, row in enumerate(luck):
        only = _only([scenes[i] for scenes in told])
        said: list[Turn] = []
        for which, where in zip(row[::2], row[1::2], strict=True):
            if not only:
                break
            picture, slot = only[int(which * len(only))]
            scene = told[picture][i]
            states = ((picture, slot, "colour"), (picture, slot, "shape"))
            said.append(Turn(USER, f"show me the picture with {some(scene[slot].kind)}.", states, (picture, slot)))
            said.append(Turn(ASSISTANT, "here it is.", picture=picture))
            asked = [
                (at, factor) for at, here in enumerate(alone[picture][i]) if here for factor in ("colour", "place")
            ]
            asked = [(at, factor) for at, factor in asked if (at, factor) != (slot, "colour")]
            if asked:
                at, factor = asked[int(where * len(asked))]
                name = f"the {scene[at].words['shape']} in this picture"
                said.append(Turn(USER, _ASKED[factor].format(name), refers=(picture, at)))
                said.append(_says(f"it is {scene[at].words[factor]}.", at, factor, picture=picture))
        turns.append(tuple(said))
    return Dialogues(turns, worlds)


def _only(scenes: Sequence[list[_Object]]) -> list[tuple[int, int]]:
    """The (picture, slot) of kinds that one picture of a row shows and no other, once."""
    every = [one.kind for scene in scenes for one in scene]
    return [
        (picture, slot)
        for picture, scene in enumerate(scenes)
        for slot, one in enumerate(scene)
        if every.count(one.kind) == 1
    ]


def as_text(turns: Sequence[Turn]) -> str:
    """A dialogue as lines "speaker: text", with "<image s>" where picture s is shown."""
    return "\n".join(
        f"{one.speaker}: {one.text}" + (f" <image {one.picture}>" if one.picture >= 0 else "") for one in turns
    )


def read(text: str) -> list[Turn]:
    """`as_text`, or what a model wrote for it, back to speakers, texts and pictures; other lines are left out."""
    out = []
    for line in text.splitlines():
        speaker, colon, rest = line.partition(":")
        if not colon or speaker.strip() not in (USER, ASSISTANT):
            continue
        before, mark, after = rest.strip().rpartition(" <image ")
        number = after.removesuffix(">")
        shown = mark and after.endswith(">") and number.isdecimal() and len(number) < 6
        words = before if shown else rest.strip()
        out.append(Turn(speaker.strip(), words, picture=int(number) if shown else -1))
    return out


def candidates(facts: Facts, made: Dialogues, turns: slice = slice(None)) -> np.ndarray:
    """int64 [N]: how many scenes of these all that some turns state of picture 0 is true of, the right one among them.

    One over it is the best that a search among them can do which hears these turns only.
    """
    out = np.zeros(len(facts), np.int64)
    for i, said in enumerate(made.turns):
        told: dict[int, dict[str, int]] = {}
        for one in said[turns]:
            for picture, slot, factor in one.states:
                if picture == 0:
                    names = ("row", "col") if factor == "place" else (factor,)
                    told.setdefault(slot, {}).update({name: int(getattr(facts, name)[i, slot]) for name in names})
        out[i] = holds_of(Reading(tuple(Mention(**values) for values in told.values())), facts).sum()
    return out
