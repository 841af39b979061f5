"""Captions that are wrong or poor in a known way: what was broken comes with every text.

Shape legend: N scenes, M objects mentioned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

from ..facts import COLOURS, SHAPES, SIZES, TEXTURES, Config, Facts
from ..facts import facts as scenes
from .caption import caption, wording, write
from .checking import row_by_row
from .grammar import ATTRIBUTES
from .plan import Plan, below, draw, plan

_POOL = 4096
_NAMES = {"colour": COLOURS, "shape": SHAPES, "size": SIZES, "texture": TEXTURES}
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


@dataclass(frozen=True, eq=False)
class Noisy:
    """N texts and what is wrong with each."""

    texts: list[str]
    broken: np.ndarray
    """bool [N]: the text was altered, and not back into a true one where it should be false."""
    what: list[str]
    """One line; "" where nothing was altered."""


@dataclass(frozen=True)
class Captioner:
    """A describer with a style and habits of error."""

    name: str
    form: str = "list"
    language: str = "en"
    others: frozenset[str] = frozenset()
    """Attributes that it says by their synonyms."""
    errors: Mapping[str, float] = field(default_factory=dict)
    """By attribute: the share of objects that it gets wrong."""

    def __post_init__(self) -> None:
        for factor, rate in self.errors.items():
            if factor not in ATTRIBUTES:
                raise SensoriumError(f"error in {factor!r}{nearest(factor, ATTRIBUTES)}")
            _share(rate)
        for factor in self.others:
            if factor not in ATTRIBUTES:
                raise SensoriumError(f"synonyms of {factor!r}{nearest(factor, ATTRIBUTES)}")


def weak(facts: Facts, rate: float, form: str = "short", language: str = "en", seed: int = 0) -> Noisy:
    """A share of captions are those of another scene of the same part, never one that happens to be true."""
    texts = caption(facts, form, language, seed)
    rows = np.flatnonzero(_hit(facts, rate, seed, "weak"))
    pool = _others(facts.seed, facts.part, facts.config, seed)
    taken = below(facts, len(pool), seed, "weak", "other")[rows]
    other = caption(pool.rows(taken), form, language, seed)
    true = row_by_row(other, facts.rows(rows), language)
    broken = np.zeros(len(facts), bool)
    what = [""] * len(facts)
    for row, at, text, fits in zip(rows.tolist(), taken.tolist(), other, true.tolist(), strict=True):
        if not fits:
            texts[row], broken[row], what[row] = text, True, f"caption of another scene ({at})"
    return Noisy(texts, broken, what)


def described(facts: Facts, captioner: Captioner, seed: int = 0) -> Noisy:
    """Captions by a captioner; each error is listed as "colour of object 1: red, not blue"."""
    said = plan(facts, captioner.form, seed)
    what = [""] * len(facts)
    for factor, rate in sorted(captioner.errors.items()):
        said = _misread(facts, said, factor, rate, seed, captioner.name, what)
    how = wording(said, captioner.language)
    bits = sum(1 << bit for bit, name in enumerate(ATTRIBUTES) if name in captioner.others)
    how = replace(how, others=np.full_like(how.others, bits))
    return Noisy(write(said, how), np.array([bool(line) for line in what], bool), what)


def named(facts: Facts, rate: float, form: str = "short", language: str = "en", seed: int = 0) -> Noisy:
    """A share of objects are called by the name of the individual, which no picture shows, in place of their kind."""
    said = plan(facts, form, seed)
    hit = (draw(facts, said.slot.shape[1], seed, "named") < _share(rate)) & (said.slot >= 0)
    numbers = np.take_along_axis(facts.name, np.maximum(said.slot, 0).astype(np.int64), 1)
    called = replace(said, name=np.where(hit, numbers, -1))
    return Noisy(write(called, wording(called, language)), np.asarray(hit.any(1)), _counted(hit.sum(1), "by name"))


def partial(facts: Facts, rate: float, form: str = "long", language: str = "en", seed: int = 0) -> Noisy:
    """Each attribute, place and background is left out with probability `rate`; what remains is true."""
    said = plan(facts, form, seed)
    m = said.slot.shape[1]
    rate = _share(rate)
    dropped = np.zeros(len(facts), np.int64)
    kept: dict[str, Any] = {}
    for factor in (*ATTRIBUTES, "place"):
        hit = draw(facts, m, seed, "partial", factor) < rate
        for name in ("row", "col") if factor == "place" else (factor,):
            values = getattr(said, name)
            kept[name] = np.where(hit, -1, values).astype(values.dtype)
        dropped += (hit & (values >= 0)).sum(1)
    hit = draw(facts, 1, seed, "partial", "ground")[:, 0] < rate
    dropped += hit & (said.ground >= 0)
    said = replace(said, ground=np.where(hit, -1, said.ground).astype(np.int8), **kept)
    return Noisy(write(said, wording(said, language)), dropped > 0, _counted(dropped, "left out"))


def typos(texts: list[str], facts: Facts, rate: float, seed: int = 0) -> Noisy:
    """In a share of words of four and more letters two neighbours are exchanged, one is lost, doubled or hit beside."""
    if len(texts) != len(facts):
        raise SensoriumError(f"{len(texts)} texts for {len(facts)} scenes; expected one text per scene")
    rate = _share(rate)
    most = max((text.count(" ") + 1 for text in texts), default=1)
    out, what = [], []
    for text, row in zip(texts, draw(facts, 3 * most, seed, "typos").tolist(), strict=True):
        words, changes = text.split(" "), []
        for at, word in enumerate(words):
            hit, where, how = row[3 * at : 3 * at + 3]
            if hit < rate and len(word) >= 4 and word.isalpha():
                words[at] = _mistyped(word, where, how)
                changes.append(f"{word} -> {words[at]}")
        out.append(" ".join(words))
        what.append("; ".join(changes))
    return Noisy(out, np.array([bool(line) for line in what], bool), what)


@lru_cache(8)
def _others(seed: int, part: str, config: Config, purpose: int) -> Facts:
    """Scenes to take captions from, whose number does not depend on how the world is cut into chunks."""
    return scenes(derive("weak", seed, purpose), _POOL, config, part=part)


def _share(rate: float) -> float:
    if not 0 <= rate <= 1:
        raise SensoriumError(f"rate {rate}; expected a share from 0 to 1")
    return rate


def _hit(facts: Facts, rate: float, seed: int, *purpose: object) -> np.ndarray:
    return draw(facts, 1, seed, *purpose)[:, 0] < _share(rate)


def _counted(numbers: np.ndarray, what: str) -> list[str]:
    return [f"{n} {what}" if n else "" for n in numbers.tolist()]


def _misread(facts: Facts, said: Plan, factor: str, rate: float, seed: int, name: str, what: list[str]) -> Plan:
    """Another value of the world in place of the true one; adds to the lines of `what`."""
    config = facts.config
    known = {
        "colour": COLOURS[: config.colours],
        "shape": SHAPES[: config.shapes],
        "size": config.sizes,
        "texture": config.textures,
    }[factor]
    values = np.array(sorted(_NAMES[factor].index(word) for word in known))
    true = getattr(said, factor)
    drawn = draw(facts, 2 * true.shape[1], seed, "captioner", name, factor)
    hit = (drawn[:, ::2] < rate) & (true >= 0) & (len(values) > 1)
    onward = 1 + np.floor(drawn[:, 1::2] * (len(values) - 1)).astype(np.int64)
    new = np.where(hit, values[(np.searchsorted(values, true) + onward) % len(values)], true).astype(true.dtype)
    for row, mention in zip(*np.nonzero(hit), strict=True):
        words = f"{_NAMES[factor][new[row, mention]]}, not {_NAMES[factor][true[row, mention]]}"
        line = f"{factor} of object {said.slot[row, mention]}: {words}"
        what[row] = f"{what[row]}; {line}" if what[row] else line
    return replace(said, **{factor: new})


def _mistyped(word: str, where: float, how: float) -> str:
    at = int(where * (len(word) - 1))
    left, a, b, right = word[:at], word[at], word[at + 1], word[at + 2 :]
    kind = int(how * 4)
    if kind == 0 and a != b:
        return left + b + a + right
    if kind == 1:
        return left + b + right
    if kind == 2 or (beside := _beside(a)) == a:
        return left + a + a + b + right
    return left + beside + b + right


def _beside(letter: str) -> str:
    """The key to the right on a QWERTY board, or to the left at its end; other scripts have none."""
    for keys in _KEYS:
        if (at := keys.find(letter)) >= 0:
            return keys[at + 1] if at + 1 < len(keys) else keys[at - 1]
    return letter


CAPTIONERS = (
    Captioner("terse", "one", errors={"shape": 0.02}),
    Captioner("exact", "list"),
    Captioner("wordy", "long", others=frozenset(("size", "colour")), errors={"colour": 0.1, "shape": 0.1}),
    Captioner("colour-blind", "short", errors={"colour": 0.3}),
)
"""Four to start from."""
