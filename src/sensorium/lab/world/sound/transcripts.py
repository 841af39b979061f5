"""Transcripts with errors of a known kind and rate: what was said, what stands there, and every edit between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import uniform
from .phones import edits, homophones, spell, words

KINDS = ("substitution", "deletion", "insertion")


class Edit(NamedTuple):
    """One error: at which word of what was said, what was said there and what stands there; "" for nothing."""

    kind: str
    at: int
    said: str
    stands: str


@dataclass(frozen=True, eq=False)
class Transcripts:
    """N transcripts of what was said, as words between spaces, and their errors in the order of the words."""

    said: list[str]
    text: list[str]
    edits: list[tuple[Edit, ...]]

    def rate(self) -> float:
        """Edits per word said: the word error rate, or a little more where two edits can be told as one."""
        count = sum(len(text.split()) for text in self.said)
        return sum(map(len, self.edits)) / max(1, count)


def transcribed(
    texts: Sequence[str],
    error: float,
    language: str = "en",
    kinds: Sequence[str] = KINDS,
    index: np.ndarray | None = None,
    seed: int = 0,
) -> Transcripts:
    """Each word is broken with probability `error`, in one of the kinds, each as likely.

    A substitution is one of the three words of the language that sound nearest; an insertion stands after its word.
    `index` (by default 0, 1, …) and the seed name the draws.

    Raises:
        SensoriumError: an error that is no share, an unknown kind or language.
    """
    if not 0 <= error <= 1:
        raise SensoriumError(f"transcript error {error}; expected a share from 0 to 1")
    for kind in kinds:
        if kind not in KINDS:
            raise SensoriumError(f"kind of transcript error {kind!r}{nearest(kind, KINDS)}")
    if not kinds:
        raise SensoriumError(f"no kinds of transcript error; expected some of {', '.join(KINDS)}")
    said = [words(text, language) for text in texts]
    at = np.arange(len(said)) if index is None else np.asarray(index)
    longest = max(map(len, said), default=0)
    luck = uniform(at, 3 * longest, seed, "transcript", language).reshape(len(said), 3, longest)
    known = sorted(word for same in homophones(language).values() for word in same)
    text, errors = [], []
    for row, own in enumerate(said):
        out: list[str] = []
        made: list[Edit] = []
        for place, word in enumerate(own):
            hit, how, which = luck[row, :, place].tolist()
            kind = kinds[int(how * len(kinds))] if hit < error else ""
            new = ""
            if kind == "substitution":
                close = sounding_like(word, language)
                new = close[int(which * len(close))]
            elif kind == "insertion":
                new = known[int(which * len(known))]
            out += {"": [word], "deletion": [], "substitution": [new], "insertion": [word, new]}[kind]
            if kind:
                made.append(Edit(kind, place, "" if kind == "insertion" else word, new))
        text.append(" ".join(out))
        errors.append(tuple(made))
    return Transcripts([" ".join(own) for own in said], text, errors)


@cache
def sounding_like(word: str, language: str = "en", count: int = 3) -> tuple[str, ...]:
    """The other words of the language's captions whose phones are nearest to a word's, nearest first."""
    spelled = {name: phones for phones, same in homophones(language).items() for name in same}
    own = tuple(phone for phones in spell(word, language) for phone in phones)
    away = sorted((edits(own, phones), name) for name, phones in spelled.items() if name != word)
    return tuple(name for _, name in away[:count])
