"""Captions, false captions and questions about what is heard, and a reader that says of which scenes a text is true.

Shape legend: N scenes, K event slots, Q questions. English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import uniform
from ..lang import Questions
from ..lang.english import ENGLISH
from .asking import Asked, ask
from .events import LOUDNESS, PITCHES, Sounds, allowed
from .timbre import CLASSES

FORMS = ("list", "long", "order", "story")
"""list: every sound, in no order; long: with loudness; order: two, with before or after; story: all, in order."""
NEGATIVES = ("class", "pitch", "order", "binding")
_YES_NO = ("yes", "no")


class Heard(NamedTuple):
    """One sound as it is said; -1 for not said."""

    kind: int
    pitch: int = -1
    loud: int = -1


class Said(NamedTuple):
    """What a text says: sounds, and how they follow each other: "" (not said), before, after, then."""

    sounds: tuple[Heard, ...]
    order: str = ""


def say(heard: Heard) -> str:
    """ "a loud high bell"."""
    words = [LOUDNESS[heard.loud]] if heard.loud >= 0 else []
    words += [PITCHES[heard.pitch]] if heard.pitch >= 0 else []
    words.append(CLASSES[heard.kind])
    return f"{ENGLISH.article('', '', False, words[0])}{' '.join(words)}"


def write(said: Said) -> str:
    """What is said, in words; no sound at all is "silence"."""
    told = [say(heard) for heard in said.sounds]
    if not told:
        return "silence"
    if said.order == "then":
        return ", then ".join(told)
    if said.order:
        return f" {said.order} ".join(told)
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def statements(world: Sounds, form: str = "list", seed: int = 0) -> list[Said]:
    """What `caption` of the same arguments says."""
    if form not in FORMS:
        raise SensoriumError(f"caption form {form!r} of sounds{nearest(form, FORMS)}")
    mention = _mention(world, seed).tolist()
    out = []
    for row, (kind, pitch, loud, n) in enumerate(_rows(world)):
        every = [Heard(kind[k], pitch[k], loud[k] if form == "long" else -1) for k in range(n)]
        order = range(n) if form == "story" else mention[row][:n]
        order = order[:2] if form == "order" else order
        how = "then" if form == "story" else ""
        if form == "order" and n > 1:
            how = "before" if order[0] < order[1] else "after"
        out.append(Said(tuple(every[k] for k in order), how))
    return out


def _rows(world: Sounds) -> zip[tuple[list[int], list[int], list[int], int]]:
    return zip(world.kind.tolist(), world.pitch.tolist(), world.loud.tolist(), world.n.tolist(), strict=True)


def _mention(world: Sounds, seed: int) -> np.ndarray:
    """int64 [N K]: the slots in random order, the empty ones last."""
    luck = draw(world, world.kind.shape[1], seed, "mention")
    return np.where(world.real(), luck, 2.0).argsort(1, kind="stable")


def draw(world: Sounds, count: int, seed: int, *purpose: object) -> np.ndarray:
    """float64 [N count] in [0, 1) that depend on the scene, the seed and the purpose alone."""
    return uniform(world.index, count, "sound text", world.seed, world.part, seed, *purpose)


def caption(world: Sounds, form: str = "list", seed: int = 0) -> list[str]:
    """A true text per scene; which sound is told first says nothing about which comes first.

    Raises:
        SensoriumError: a form that is not one of FORMS.
    """
    return [write(said) for said in statements(world, form, seed)]


def negative(world: Sounds, factor: str, form: str = "list", seed: int = 0) -> list[str]:
    """`caption` of the same form and seed made false of its scene, in the same order of mention; "" where it cannot be.

    class, pitch: another one for a sound, among the part's pairs; binding: two sounds exchange their pitches; order:
    before for after, or the first two of a story exchanged.

    Raises:
        SensoriumError: a factor that is not one of NEGATIVES, or an order of a form that tells none.
    """
    if factor not in NEGATIVES:
        raise SensoriumError(f"negative {factor!r} of sounds{nearest(factor, NEGATIVES)}")
    if factor == "order" and form not in ("order", "story"):
        raise SensoriumError(f"negative 'order' of form {form!r}; expected form order or story")
    luck = draw(world, 2, seed, "negative").tolist()
    out = []
    for row, (true, pick) in enumerate(zip(statements(world, form, seed), luck, strict=True)):
        false = _BREAKS[factor](true, pick, _known(world))
        out.append("" if false is None or holds(false, world.rows([row]))[0] else write(false))
    return out


def _known(world: Sounds) -> set[tuple[int, int]]:
    config = world.config
    pairs = np.argwhere(allowed(config, world.part)).tolist()
    return {(CLASSES.index(config.classes[c]), PITCHES.index(config.pitches[p])) for c, p in pairs}


def _break_value(true: Said, pick: list[float], known: set[tuple[int, int]], pitch: bool) -> Said | None:
    if not true.sounds:
        return None
    at = int(pick[0] * len(true.sounds))
    old = true.sounds[at]
    taken = {heard.kind for heard in true.sounds}
    if pitch:
        other = sorted(p for c, p in known if c == old.kind and p != old.pitch)
    else:
        other = sorted(c for c, p in known if p == old.pitch and c not in taken)
    if not other:
        return None
    new = other[int(pick[1] * len(other))]
    heard = old._replace(pitch=new) if pitch else old._replace(kind=new)
    return true._replace(sounds=(*true.sounds[:at], heard, *true.sounds[at + 1 :]))


def _break_binding(true: Said, pick: list[float], known: set[tuple[int, int]]) -> Said | None:
    if len(true.sounds) < 2:
        return None
    a, b, *rest = true.sounds
    if not {(a.kind, b.pitch), (b.kind, a.pitch)} <= known:
        return None
    return true._replace(sounds=(a._replace(pitch=b.pitch), b._replace(pitch=a.pitch), *rest))


def _break_order(true: Said, pick: list[float], known: set[tuple[int, int]]) -> Said | None:
    if len(true.sounds) < 2:
        return None
    if true.order in ("before", "after"):
        return true._replace(order="after" if true.order == "before" else "before")
    a, b, *rest = true.sounds
    return true._replace(sounds=(b, a, *rest))


_BREAKS: dict[str, Callable[[Said, list[float], set[tuple[int, int]]], Said | None]] = {
    "class": lambda true, pick, known: _break_value(true, pick, known, pitch=False),
    "pitch": lambda true, pick, known: _break_value(true, pick, known, pitch=True),
    "order": _break_order,
    "binding": _break_binding,
}

_ONE = re.compile(rf"an? (?:({'|'.join(LOUDNESS)}) )?(?:({'|'.join(PITCHES)}) )?({'|'.join(CLASSES)})")


def parse(text: str) -> Said | None:
    """What a text of `caption`'s making, or a generated one like it, says; None where any word has no meaning here."""
    text = text.casefold().strip().rstrip(".")
    if text == "silence":
        return Said(())
    order, pieces = "", re.split(r", | and ", text)
    for word, mark in (("before", " before "), ("after", " after "), ("then", ", then ")):
        if mark in text:
            order, pieces = word, text.split(mark)
            break
    found = [_ONE.fullmatch(piece) for piece in pieces]
    if any(match is None for match in found):
        return None
    return Said(tuple(_heard(*match.groups()) for match in found if match is not None), order)


def _heard(loud: str | None, pitch: str | None, kind: str) -> Heard:
    return Heard(CLASSES.index(kind), PITCHES.index(pitch) if pitch else -1, LOUDNESS.index(loud) if loud else -1)


def true_of(text: str, world: Sounds) -> np.ndarray:
    """bool [N]: all that the text says is heard, in the order that it says; False for what is not read."""
    said = parse(text)
    return np.zeros(len(world), bool) if said is None else holds(said, world)


def holds(said: Said, world: Sounds) -> np.ndarray:
    """bool [N]: `true_of` for what was read already. "Silence" is true where nothing is heard."""
    if not said.sounds:
        return np.asarray(world.n == 0)
    out, last = np.ones(len(world), bool), np.full(len(world), -np.inf)
    sounds = reversed(said.sounds) if said.order == "after" else said.sounds
    for heard in sounds:
        fits = world.kind == heard.kind
        for name in ("pitch", "loud"):
            if (value := getattr(heard, name)) >= 0:
                fits &= getattr(world, name) == value
        onset = np.where(fits, world.onset, np.inf).min(1)
        out &= fits.any(1) & ((onset > last) | (not said.order))
        last = onset
    return out if len({heard.kind for heard in said.sounds}) == len(said.sounds) else np.zeros(len(world), bool)


def questions(world: Sounds, kinds: Sequence[str] = (), seed: int = 0) -> Questions:
    """One question of each kind per scene that allows it; the words of a question tell nothing about its answer.

    Raises:
        SensoriumError: an unknown kind, or one that has only one answer in this world.
    """
    config = world.config
    possible = {
        "class": len(config.classes) > 1,
        "pitch": len(config.pitches) > 1,
        "loudness": len(config.loudness) > 1,
        "count": config.fewest < config.most,
        "exists": config.most < len(config.classes),
        "order": config.most > 1,
    }
    makers = {kind: partial(maker, world, seed) for kind, maker in _ASKS.items()}
    return ask(makers, kinds, possible, "sounds")


def _any_slot(world: Sounds, seed: int, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of scenes with a sound, and the slot of one, any as likely."""
    rows = np.flatnonzero(world.n > 0)
    luck = draw(world, world.kind.shape[1], seed, purpose)
    return rows, np.where(world.real(), luck, -1.0).argmax(1)[rows]


def _which_class(world: Sounds, seed: int) -> Asked:
    """Of the pitch that only one sound has."""
    same = (world.pitch[:, :, None] == world.pitch[:, None]).sum(2) == 1
    free = same & world.real()
    rows = np.flatnonzero(free.any(1))
    slot = np.where(free, draw(world, free.shape[1], seed, "class"), -1.0).argmax(1)[rows]
    text = [f"what makes the {PITCHES[p]} sound?" for p in world.pitch[rows, slot].tolist()]
    answers = [CLASSES[c] for c in world.kind[rows, slot].tolist()]
    return text, answers, [world.config.classes] * len(rows), rows, slot


def _of_class(world: Sounds, seed: int, name: str, values: tuple[str, ...], options: tuple[str, ...]) -> Asked:
    rows, slot = _any_slot(world, seed, name)
    words = "how high is" if name == "pitch" else "how loud is"
    text = [f"{words} the {CLASSES[c]}?" for c in world.kind[rows, slot].tolist()]
    answers = [values[v] for v in getattr(world, name)[rows, slot].tolist()]
    return text, answers, [options] * len(rows), rows, slot


def _how_many(world: Sounds, seed: int) -> Asked:
    numbers = {n: "zero" if n == 0 else ENGLISH.number(n) for n in range(world.config.fewest, world.config.most + 1)}
    options, rows = tuple(numbers.values()), np.arange(len(world))
    answers = [numbers[n] for n in world.n.tolist()]
    return ["how many sounds are there?"] * len(world), answers, [options] * len(world), rows, np.full(len(world), -1)


def _is_there(world: Sounds, seed: int) -> Asked:
    """A class that is heard, or one that is not, by a coin."""
    known = np.array([CLASSES.index(name) for name in world.config.classes])
    there = (world.kind[:, :, None] == known).any(1)
    luck = draw(world, 1 + len(known), seed, "exists")
    yes = luck[:, 0] < 0.5
    free = there == yes[:, None]
    rows = np.flatnonzero(free.any(1))
    asked = known[np.where(free, luck[:, 1:], -1.0).argmax(1)[rows]]
    text = [f"is there {say(Heard(c))}?" for c in asked.tolist()]
    slot = np.where(yes[rows], (world.kind[rows] == asked[:, None]).argmax(1), -1)
    return text, [_YES_NO[not y] for y in yes[rows].tolist()], [_YES_NO] * len(rows), rows, slot


def _which_first(world: Sounds, seed: int) -> Asked:
    rows = np.flatnonzero(world.n > 1)
    pair = _mention(world, seed)[rows, :2]
    yes = draw(world, 1, seed, "order")[rows, 0] < 0.5
    before = (pair[:, 0] < pair[:, 1]) == yes
    first, second = (world.kind[rows, pair[:, at]].tolist() for at in (0, 1))
    text = [
        f"does the {CLASSES[a]} come {'before' if b else 'after'} the {CLASSES[c]}?"
        for a, b, c in zip(first, before.tolist(), second, strict=True)
    ]
    return text, [_YES_NO[not y] for y in yes.tolist()], [_YES_NO] * len(rows), rows, np.full(len(rows), -1)


_ASKS: dict[str, Callable[[Sounds, int], Asked]] = {
    "class": _which_class,
    "pitch": lambda world, seed: _of_class(world, seed, "pitch", PITCHES, world.config.pitches),
    "loudness": lambda world, seed: _of_class(world, seed, "loud", LOUDNESS, world.config.loudness),
    "count": _how_many,
    "exists": _is_there,
    "order": _which_first,
}
QUESTIONS = tuple(_ASKS)
