"""False captions that differ in one fact, and true ones that differ in one word; what changed, exactly.

A negative is the plan of the true caption with one value replaced, so order of mention, sentences and agreement give
nothing away. Only combinations that the part draws are written, so neither do unseen words.

Shape legend: N scenes, M objects mentioned, V values of a factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations as pairs
from typing import Any

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import GROUNDS, SIZES, TEXTURES, Facts, combinations
from .caption import LANGUAGES, Wording, language_of_tag, locate, wording, write
from .checking import row_by_row
from .grammar import ATTRIBUTES
from .plan import SPOKEN, Plan, draw, plan

NEGATIVES = ("colour", "shape", "size", "texture", "binding", "relation", "count", "ground")


@dataclass(frozen=True)
class Change:
    """Which words differ. Spans are (start, end) in the new text; agreement may alter the words around them."""

    factor: str
    spans: tuple[tuple[int, int], ...]
    old: tuple[str, ...]
    new: tuple[str, ...]


def negative(
    facts: Facts, factor: str, form: str = "short", language: str = "en", seed: int = 0
) -> tuple[list[str], list[Change | None]]:
    """`caption` of the same form, language and seed made false of its scene; "" and None where no false one exists.

    colour, shape, size, texture, ground, count: another value of the world. relation: the opposite. binding: two
    mentioned objects exchange their colours.

    Raises:
        SensoriumError: a factor that is unknown, not said by the form, or without another value in this world.
    """
    if factor not in NEGATIVES:
        raise SensoriumError(f"negative {factor!r}{nearest(factor, NEGATIVES)}")
    said = plan(facts, form, seed)
    makers: dict[str, Callable[[Facts, Plan, int], tuple[Plan, np.ndarray, np.ndarray]]] = {
        "binding": _exchanged,
        "relation": _opposite,
        "count": _recounted,
        "ground": _behind,
    }
    make = makers.get(factor) or (lambda facts, said, seed: _replaced(facts, said, seed, factor))
    wrong, at, ok = make(facts, said, seed)
    if len(facts) and not ok.any():
        _impossible(facts, factor, form)
    how = wording(said, language)
    texts = write(wrong, how)
    ok = ok & _false(texts, facts, ok)
    changes = _changes(said, how, wrong, how, at, factor)
    kept = [change if fine else None for change, fine in zip(changes, ok, strict=True)]
    return [text if fine else "" for text, fine in zip(texts, ok, strict=True)], kept


def synonym(
    facts: Facts, form: str = "short", language: str = "en", seed: int = 0
) -> tuple[list[str], list[Change | None]]:
    """`caption` with one word replaced by a synonym, still true; None and the caption itself where no word has one."""
    said = plan(facts, form, seed)
    lang = LANGUAGES[language_of_tag(language)]
    plain = wording(said, language)
    n, m = said.slot.shape
    options = [np.isin(getattr(said, factor), list(lang.synonyms.get(factor, {}))) for factor in ATTRIBUTES]
    differs = np.array([a != b for a, b in zip(lang.relations, lang.other_relations, strict=True)] + [False])
    free = np.concatenate([*options, differs[said.relation][:, None]], 1)
    chosen, ok = _one(free, facts, seed, "synonym")
    attribute, mention = chosen // max(m, 1), chosen % max(m, 1)
    others = np.zeros((n, m), np.int8)
    of_object = ok & (attribute < len(ATTRIBUTES))
    others[of_object, mention[of_object]] = 1 << attribute[of_object]
    how = replace(plain, others=others, other_relation=ok & ~of_object)
    texts = write(said, how)
    out: list[Change | None] = [None] * n
    for at, factor in enumerate((*ATTRIBUTES, "relation")):
        rows = np.flatnonzero(ok & (attribute == at))
        told = mention[rows][:, None] if at < len(ATTRIBUTES) else np.full((len(rows), 1), -1)
        found = _changes(said.rows(rows), _rows(plain, rows), said.rows(rows), _rows(how, rows), told, factor)
        for row, change in zip(rows.tolist(), found, strict=True):
            out[row] = change
    return texts, out


def inverse(facts: Facts, language: str = "en", seed: int = 0) -> list[str]:
    """The short caption told from its other object ("b right of a" for "a left of b"): as true as the caption."""
    said = plan(facts, "short", seed)
    turned = (said.relation >= 0)[:, None]
    values: dict[str, Any] = {name: getattr(said, name) for name in ("slot", *SPOKEN, "name")}
    values = {name: np.where(turned, array[:, ::-1], array) for name, array in values.items()}
    back = replace(said, relation=np.where(said.relation >= 0, said.relation ^ 1, -1).astype(np.int8), **values)
    return write(back, wording(back, language))


def _impossible(facts: Facts, factor: str, form: str) -> None:
    raise SensoriumError(
        f"no {form!r} caption of these {len(facts)} scenes has a false twin in {factor!r}; expected a form that tells "
        "it and a world with another value"
    )


def _replaced(facts: Facts, said: Plan, seed: int, factor: str) -> tuple[Plan, np.ndarray, np.ndarray]:
    """One mentioned object gets another value, so that no object of the scene fits the mention."""
    config = facts.config
    values = {
        "colour": range(config.colours),
        "shape": range(config.shapes),
        "size": [SIZES.index(name) for name in config.sizes],
        "texture": [TEXTURES.index(name) for name in config.textures],
    }[factor]
    m = said.slot.shape[1]
    free = np.zeros((len(said), m, len(values)), bool)
    for at in range(m):
        for v, value in enumerate(values):
            edited = _with(said, factor, at, np.full(len(said), value))
            told = getattr(said, factor)[:, at] >= 0
            if config.distinct and factor in ("colour", "shape"):  # two of one colour would give the negative away
                told = told & ~(np.delete(getattr(said, factor), at, 1) == value).any(1)
            free[:, at, v] = told & _drawn(facts, edited, at) & ~_exists(facts, edited, at)
    chosen, ok = _one(free.reshape(len(said), m * len(values)), facts, seed, "negative", factor)
    mention, new = chosen // len(values), np.asarray(values)[chosen % len(values)]
    array = getattr(said, factor).copy()
    array[ok, mention[ok]] = new[ok]
    return replace(said, **{factor: array}), mention[:, None], ok


def _exchanged(facts: Facts, said: Plan, seed: int) -> tuple[Plan, np.ndarray, np.ndarray]:
    """Two mentioned objects exchange their colours, so that one of them at least fits no object of the scene."""
    m = said.slot.shape[1]
    options = list(pairs(range(m), 2))
    free = np.zeros((len(said), max(1, len(options))), bool)
    for at, (a, b) in enumerate(options):
        edited = _swap(said, a, b)
        differ = (said.colour[:, a] >= 0) & (said.colour[:, b] >= 0) & (said.colour[:, a] != said.colour[:, b])
        false = ~_exists(facts, edited, a) | ~_exists(facts, edited, b)
        free[:, at] = differ & false & _drawn(facts, edited, a) & _drawn(facts, edited, b)
    chosen, ok = _one(free, facts, seed, "negative", "binding")
    both = np.array(options or [(0, 0)])[chosen]
    colour = said.colour.copy()
    rows = np.flatnonzero(ok)
    colour[rows[:, None], both[rows]] = said.colour[rows[:, None], both[rows][:, ::-1]]
    return replace(said, colour=colour), both, ok


def _opposite(facts: Facts, said: Plan, seed: int) -> tuple[Plan, np.ndarray, np.ndarray]:
    ok = said.relation >= 0
    return replace(said, relation=np.where(ok, said.relation ^ 1, -1).astype(np.int8)), _whole(said), ok


def _recounted(facts: Facts, said: Plan, seed: int) -> tuple[Plan, np.ndarray, np.ndarray]:
    values = np.arange(facts.config.fewest, facts.config.most + 1)
    chosen, ok = _one((said.count[:, None] != values) & (said.count[:, None] >= 0), facts, seed, "negative", "count")
    return replace(said, count=np.where(ok, values[chosen], said.count).astype(np.int16)), _whole(said), ok


def _behind(facts: Facts, said: Plan, seed: int) -> tuple[Plan, np.ndarray, np.ndarray]:
    values = np.array([GROUNDS.index(name) for name in facts.config.grounds])
    chosen, ok = _one((said.ground[:, None] != values) & (said.ground[:, None] >= 0), facts, seed, "negative", "ground")
    return replace(said, ground=np.where(ok, values[chosen], said.ground).astype(np.int8)), _whole(said), ok


def _whole(said: Plan) -> np.ndarray:
    return np.full((len(said), 1), -1)


def _with(said: Plan, factor: str, at: int, value: np.ndarray) -> Plan:
    array = getattr(said, factor).copy()
    array[:, at] = value
    return replace(said, **{factor: array})


def _swap(said: Plan, a: int, b: int) -> Plan:
    colour = said.colour.copy()
    colour[:, [a, b]] = colour[:, [b, a]]
    return replace(said, colour=colour)


def _exists(facts: Facts, said: Plan, at: int) -> np.ndarray:
    """bool [N]: some object of the scene has all that is said of mention `at`."""
    fits = facts.real()
    for factor in SPOKEN:
        value = getattr(said, factor)[:, at, None]
        fits &= (value < 0) | (getattr(facts, factor) == value)
    return np.asarray(fits.any(1))


def _drawn(facts: Facts, said: Plan, at: int) -> np.ndarray:
    """bool [N]: the part draws the colour and shape of mention `at` together."""
    possible = combinations(facts.config, facts.part) > 0
    colour, shape = said.colour[:, at], said.shape[:, at]
    return np.where((colour >= 0) & (shape >= 0), possible[colour, shape], True)


def _one(free: np.ndarray, facts: Facts, seed: int, *purpose: object) -> tuple[np.ndarray, np.ndarray]:
    """bool [N options] -> one free option per row, each as likely, and whether there is one."""
    if not free.shape[1]:
        return np.zeros(len(free), np.int64), np.zeros(len(free), bool)
    keys = np.where(free, draw(facts, free.shape[1], seed, *purpose), -1.0)
    return keys.argmax(1), np.asarray(free.any(1))


def _false(texts: list[str], facts: Facts, ok: np.ndarray) -> np.ndarray:
    """bool [N]: false for certain. Where two objects of a scene are of one kind, the text is read to make sure."""
    kind = np.where(
        facts.real(), facts.colour.astype(np.int64) * 100 + facts.shape, -1 - np.arange(facts.shape.shape[1])
    )
    kind = np.sort(kind, 1)
    alike = np.flatnonzero(ok & (kind[:, 1:] == kind[:, :-1]).any(1))
    out = np.ones(len(facts), bool)
    out[alike] = ~row_by_row([texts[at] for at in alike], facts.rows(alike))
    return out


def _rows(how: Wording, rows: np.ndarray) -> Wording:
    return Wording(*(getattr(how, name)[rows] for name in ("language", "inside", "others", "other_relation", "frame")))


def _changes(old: Plan, old_how: Wording, new: Plan, new_how: Wording, at: np.ndarray, factor: str) -> list[Change]:
    """What a factor's words of the mentions `at` [N c] (-1: of the whole scene) were and are."""
    told = "colour" if factor == "binding" else factor
    before, after = locate(old, old_how, at, told), locate(new, new_how, at, told)
    return [
        Change(factor, tuple([(w.start, w.end) for w in b]), tuple([w.text for w in a]), tuple([w.text for w in b]))
        for a, b in zip(before, after, strict=True)
    ]
