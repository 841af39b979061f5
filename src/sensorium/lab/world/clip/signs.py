"""Toy sign languages: each word of a caption is a motion of the hands, another one in each language.

A sign is a place, a movement and which hands; languages deal the same signs to the words anew, and differ in order.
Shape legend: N sentences, G signs of the longest, T = G FRAMES frames, 22 joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from scipy.special import ndtri

from sensorium.core import SensoriumError, derive, nearest

from ..facts import COLOURS, RELATIONS, SHAPES, Facts, uniform
from ..lang.plan import plan
from ..reader import Rate
from .body import HANDS, Posture, joints, rest
from .pose import bodies

FRAMES = 8
"""Frames of one sign; hands hang down between signs."""
LANGUAGES = ("north", "south", "east")
GLOSSES = (*COLOURS, *SHAPES, *RELATIONS)
"""The words that have signs."""
_ADJECTIVE_FIRST = {"north": True, "south": False, "east": False}
_RELATION_LAST = {"north": False, "south": False, "east": True}
_PLACES = {
    "head": (-0.05, 0.25, 0.2),
    "chest": (-0.05, -0.02, 0.28),
    "waist": (0.0, -0.25, 0.25),
    "out": (0.32, 0.05, 0.1),
}
_MOVES = ("nod", "swing", "push", "circle")
_SIZE = 0.09
SIGNS = tuple(product(_PLACES, _MOVES, ("left", "right", "both")))
"""Place, movement, hands of every possible sign."""
FARTHEST = 0.14
"""Root mean square distance per hand in metres of an average body beyond which a reading is unsure,"""
LEAST_LEAD = 1.1
"""or if the second best is not this many times as far off."""


@dataclass(frozen=True, eq=False)
class Signed:
    """Sentences as skeletons: float32 [N T 22 3], bool [N T] (True is real), and the signs, int8 [N G], -1 after the
    end; sign g takes frames g FRAMES to (g + 1) FRAMES."""

    skeletons: np.ndarray
    mask: np.ndarray
    gloss: np.ndarray


def dealt(language: str) -> np.ndarray:
    """int64 [GLOSSES]: the sign of each word, index into SIGNS; no two words share one.

    Raises:
        SensoriumError: a language that is not one of LANGUAGES.
    """
    if language not in LANGUAGES:
        raise SensoriumError(f"sign language {language!r}{nearest(language, LANGUAGES)}")
    rng = np.random.Generator(np.random.Philox(derive("sign language", language)))
    return rng.permutation(len(SIGNS))[: len(GLOSSES)]


def glosses(facts: Facts, language: str = "north", seed: int = 0) -> list[tuple[str, ...]]:
    """What the short captions of `lang` (same facts and seed) say, as words in the order of a sign language."""
    dealt(language)
    said = plan(facts, "short", seed)
    out = []
    for n in range(len(facts)):
        things = []
        for c, s in zip(said.colour[n].tolist(), said.shape[n].tolist(), strict=True):
            if s >= 0:
                words = COLOURS[c], SHAPES[s]
                things.append(words if _ADJECTIVE_FIRST[language] else words[::-1])
        between = (RELATIONS[said.relation[n]],) if said.relation[n] >= 0 else ()
        head, rest_ = (things[0] if things else ()), tuple(word for thing in things[1:] for word in thing)
        out.append((*head, *rest_, *between) if _RELATION_LAST[language] else (*head, *between, *rest_))
    return out


def sign(
    sentences: Sequence[Sequence[str]],
    performer: np.ndarray,
    language: str = "north",
    noise: float = 0.01,
    index: np.ndarray | None = None,
    seed: int = 0,
) -> Signed:
    """Sentences of GLOSSES by performers, int64 [N]; `index` (by default 0, 1, …) and the seed name the noise.

    Raises:
        SensoriumError: an unknown language, a word without a sign, as many performers as sentences not given.
    """
    signs = dealt(language)
    for word in {word for words in sentences for word in words}:
        if word not in GLOSSES:
            raise SensoriumError(f"no sign for {word!r}{nearest(word, GLOSSES)}")
    if len(sentences) != len(performer):
        raise SensoriumError(f"{len(sentences)} sentences, {len(performer)} performers; expected as many of each")
    longest = max((len(words) for words in sentences), default=0)
    gloss = np.full((len(sentences), longest), -1, np.int8)
    for n, words in enumerate(sentences):
        gloss[n, : len(words)] = [GLOSSES.index(word) for word in words]
    hands = np.where(gloss[..., None, None, None] >= 0, _paths()[signs[gloss]], rest(FRAMES).hands)
    still = rest(len(gloss), longest * FRAMES)
    posture = Posture(**{**vars(still), "hands": hands.reshape(still.hands.shape)})
    size, arms = bodies(performer)
    out = joints(posture, size[:, None], arms[:, None])
    if noise and out.size:
        at = np.arange(len(gloss)) if index is None else index
        luck = uniform(at, out[0].size, seed, language, "sign noise")
        out += (ndtri(luck.clip(1e-9, 1 - 1e-9)) * noise).reshape(out.shape).astype(np.float32)
    return Signed(out, np.repeat(gloss >= 0, FRAMES, 1), gloss)


@cache
def _paths() -> np.ndarray:
    """float64 [SIGNS FRAMES 2 3]: where the hands are, seen from the upper arms."""
    u = np.linspace(0, 1, FRAMES)
    there = np.clip(np.minimum(u, 1 - u) * 4, 0, 1)[:, None]
    turn = 4 * np.pi * u
    zero, wave = 0 * u, np.sin(turn)
    moves = {
        "nod": np.stack([zero, wave, zero], 1),
        "swing": np.stack([wave, zero, zero], 1),
        "push": np.stack([zero, zero, wave], 1),
        "circle": np.stack([np.cos(turn), wave, zero], 1),
    }
    out = rest(len(SIGNS), FRAMES).hands
    for at, (place, move, which) in enumerate(SIGNS):
        for side, name in enumerate(("left", "right")):
            if which in (name, "both"):
                goal = np.array(_PLACES[place]) + _SIZE * moves[move]
                out[at, :, side] += there * (goal - out[at, :, side])
    return out


def read(skeletons: np.ndarray, language: str = "north") -> np.ndarray:
    """[N T 22 3] -> int8 [N G]: the sign of each FRAMES frames, index into GLOSSES; -1 for none, -2 for unsure."""
    if skeletons.ndim != 4 or skeletons.shape[1] % FRAMES or skeletons.shape[2:] != (22, 3):
        raise SensoriumError(f"skeletons {list(skeletons.shape)}; expected [N T 22 3], T a multiple of {FRAMES}")
    signs = dealt(language)
    still = rest(FRAMES)
    known = [joints(Posture(**{**vars(still), "hands": _paths()[s]})) for s in signs]
    templates = _hands(np.stack([*known, joints(still)]))
    seen = _hands(skeletons.reshape(-1, FRAMES, 22, 3))
    away = np.sqrt(((seen[:, None] - templates) ** 2).sum(-1).mean((2, 3)))
    order = np.sort(away, 1)
    best = away.argmin(1)
    sure = (order[:, 0] <= FARTHEST) & (order[:, 1] >= LEAST_LEAD * order[:, 0])
    found = np.where(sure, np.where(best == len(signs), -1, best), -2)
    return found.reshape(len(skeletons), -1).astype(np.int8)


def _hands(windows: np.ndarray) -> np.ndarray:
    """[W FRAMES 22 3] -> [W FRAMES 2 3]: hands seen from the upper arms, in units of an average arm."""
    arm = [np.linalg.norm(windows[:, :, b] - windows[:, :, a], axis=-1).mean(1) for a, b in ((7, 8), (8, 9), (11, 12))]
    arm.append(np.linalg.norm(windows[:, :, 13] - windows[:, :, 12], axis=-1).mean(1))
    size = np.sum(arm, 0) / 0.932
    offset = windows[:, :, list(HANDS)] - windows[:, :, [7, 11]]
    return np.asarray(offset / np.maximum(size, 1e-6)[:, None, None, None])


def reader_error(language: str = "north", noise: float = 0.01, n: int = 200, seed: int = 0) -> Rate:
    """The reader's own error per sign on true renders of random words."""
    luck = uniform(np.arange(n), 5, "sign reader", seed)
    words = [[GLOSSES[int(u * len(GLOSSES))] for u in row[:4]] for row in luck.tolist()]
    made = sign(words, (luck[:, 4] * 1000).astype(np.int64), language, noise)
    found = read(made.skeletons, language)
    return Rate(float(((found != made.gloss) & (found != -2)).mean()), float((found == -2).mean()))
