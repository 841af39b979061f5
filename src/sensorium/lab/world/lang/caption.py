"""Captions in five languages, with the exact place of every fact in them.

A caption is one piece per object and one for the rest; each distinct piece is put into words once, so a caption costs a
look-up per piece. Shape legend: N scenes, M objects mentioned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import Config, Facts
from .english import ENGLISH
from .finnish import FINNISH
from .french import FRENCH
from .german import GERMAN
from .grammar import ATTRIBUTES, Language, Part, Phrase, noun_phrase
from .names import name_word
from .plan import Plan, below, draw, plan
from .russian import RUSSIAN

LANGUAGES = (ENGLISH, GERMAN, FRENCH, FINNISH, RUSSIAN)
TAGS = tuple(language.tag for language in LANGUAGES)
_FIELDS = {
    "joint": 2,  # what stands before: nothing, the list's comma, its "and", a space
    "language": 3,
    "inside": 3,
    "others": 4,
    "other_relation": 1,
    "frame": 2,
    "sentence": 1,
    "size": 2,
    "texture": 2,
    "colour": 4,
    "shape": 3,
    "relation": 3,
    "row": 5,
    "col": 5,
    "cells": 5,
    "name": 17,
}
"""Bits of each field in a piece's code; facts are shifted by one, so that 0 is "not said"."""


class Span(NamedTuple):
    """Characters of a caption that say a factor of the object in `slot` (-1: of the whole scene)."""

    start: int
    end: int
    slot: int
    factor: str


class Found(NamedTuple):
    """Words and where they stand."""

    text: str
    start: int
    end: int


class Sentence(NamedTuple):
    """Characters of a sentence and the (slot, factor) pairs that it states."""

    start: int
    end: int
    states: tuple[tuple[int, str], ...]


class Stretch(NamedTuple):
    """Characters of a text in one language."""

    start: int
    end: int
    language: str


@dataclass(frozen=True, eq=False)
class Wording:
    """How a plan is said: languages as positions in LANGUAGES, synonyms as bits in the order of ATTRIBUTES."""

    language: np.ndarray
    """int8 [N M + 1]: of the words around each noun phrase; the last column is for background and number."""
    inside: np.ndarray
    """int8 [N M]: of the noun phrase itself."""
    others: np.ndarray
    """int8 [N M]: bit a is set where attribute a is said by its synonym."""
    other_relation: np.ndarray
    """bool [N]."""
    frame: np.ndarray
    """int8 [N M]: which of the language's sentences."""


class _Column(NamedTuple):
    """One piece of every caption: distinct pieces, which of them each caption has, the slot that each is about."""

    table: list[Phrase]
    at: np.ndarray
    slot: np.ndarray


def language_of_tag(tag: str) -> int:
    """Position in LANGUAGES.

    Raises:
        SensoriumError: a tag that is not one of TAGS.
    """
    if tag not in TAGS:
        raise SensoriumError(f"language {tag!r}{nearest(tag, TAGS)}")
    return TAGS.index(tag)


def wording(said: Plan, language: str = "en") -> Wording:
    """The plain wording: one language, no synonyms, the language's first sentence."""
    n, m = said.slot.shape
    at = language_of_tag(language)
    return Wording(
        language=np.full((n, m + 1), at, np.int8),
        inside=np.full((n, m), at, np.int8),
        others=np.zeros((n, m), np.int8),
        other_relation=np.zeros(n, bool),
        frame=np.zeros((n, m), np.int8),
    )


def caption(facts: Facts, form: str = "short", language: str = "en", seed: int = 0) -> list[str]:
    """A true caption per scene; equal for equal scene numbers, whatever else is in `facts`.

    Raises:
        SensoriumError: a form not in FORMS or a language not in TAGS.
    """
    said = plan(facts, form, seed)
    return write(said, wording(said, language))


def spans(facts: Facts, form: str = "short", language: str = "en", seed: int = 0) -> list[tuple[Span, ...]]:
    """Where `caption` of the same arguments says what: per object its phrase ("object") and each attribute's word."""
    said = plan(facts, form, seed)
    return find(said, wording(said, language))


def sentences(facts: Facts, form: str = "long", language: str = "en", seed: int = 0) -> list[tuple[Sentence, ...]]:
    """Which characters of `caption` form a sentence, and what each states."""
    said = plan(facts, form, seed)
    how = wording(said, language)
    return [_split(text, found, form == "long") for text, found in zip(write(said, how), find(said, how), strict=True)]


def parallel(facts: Facts, form: str = "short", languages: Sequence[str] = TAGS, seed: int = 0) -> dict[str, list[str]]:
    """The same statements in several languages, line by line."""
    return {language: caption(facts, form, language, seed) for language in languages}


def unpaired(
    facts: Facts, form: str = "short", languages: Sequence[str] = TAGS, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Each scene described in one of the languages only, drawn by its number: texts and language tags."""
    said = plan(facts, form, seed)
    chosen = _positions(languages)[below(facts, len(languages), seed, "unpaired")]
    plain = wording(said)
    how = replace(
        plain,
        language=np.broadcast_to(chosen[:, None], plain.language.shape),
        inside=np.broadcast_to(chosen[:, None], plain.inside.shape),
    )
    return write(said, how), [TAGS[at] for at in chosen]


def code_switch(
    facts: Facts, languages: Sequence[str] = TAGS, form: str = "short", seed: int = 0
) -> tuple[list[str], list[tuple[Stretch, ...]]]:
    """Texts in the first language with noun phrases in any, in their citation form; `long` switches whole sentences.

    The stretches of each text cover it from end to end.
    """
    said = plan(facts, form, seed)
    m = said.slot.shape[1]
    positions = _positions(languages)
    drawn = positions[np.floor(draw(facts, m + 1, seed, "switch") * len(positions)).astype(np.int64)]
    how = replace(wording(said, languages[0]), inside=drawn[:, :m])
    if form == "long":
        how = replace(how, language=drawn)
    columns = _columns(said, how)
    around = [[TAGS[at] for at in row] for row in how.language]
    within = [[TAGS[at] for at in row] for row in how.inside]
    pieces = [[column.table[at] for at in column.at] for column in columns]
    switched = [
        _stretches(row, outer, inner)
        for row, outer, inner in zip(zip(*pieces, strict=True), around, within, strict=True)
    ]
    return _join(columns), switched


def write(said: Plan, how: Wording) -> list[str]:
    """A plan in words."""
    return _join(_columns(said, how))


def find(said: Plan, how: Wording) -> list[tuple[Span, ...]]:
    """The spans of a plan's words, in the order in which they begin."""
    columns = _columns(said, how)
    pieces = zip(*([column.table[at] for at in column.at.tolist()] for column in columns), strict=True)
    slots = np.stack([column.slot for column in columns], 1).tolist()
    out = []
    for row, objects in zip(pieces, slots, strict=True):
        offset = 0
        found = []
        for (text, parts), slot in zip(row, objects, strict=True):
            for start, end, factor in parts:
                whole = factor in ("relation", "ground", "count")
                found.append(Span(offset + start, offset + end, -1 if whole else slot, factor))
            offset += len(text)
        out.append(tuple(found))
    return out


def locate(said: Plan, how: Wording, at: np.ndarray, factor: str) -> list[list[Found]]:
    """Where a plan's words say a factor of the mentions `at`, int64 [N c]; what is not said is left out.

    For relation, count and ground `at` is of one column and its values do not matter.
    """
    columns = _columns(said, how)
    lengths = np.stack([np.array([len(phrase.text) for phrase in c.table], np.int64)[c.at] for c in columns], 1)
    starts = (np.cumsum(lengths, 1) - lengths).tolist()
    words = [[_says(phrase, factor) for phrase in column.table] for column in columns]
    pieces = [column.at.tolist() for column in columns]
    fixed = {"count": 0, "relation": 2, "ground": len(columns) - 1}
    where = np.full_like(at, fixed[factor]) if factor in fixed else at + 1
    out: list[list[Found]] = []
    for row, chosen in enumerate(where.tolist()):
        found = []
        for one in chosen:
            if (said_here := words[one][pieces[one][row]]) is not None:
                start = starts[row][one]
                found.append(Found(said_here.text, said_here.start + start, said_here.end + start))
        out.append(found)
    return out


def _says(phrase: Phrase, factor: str) -> Found | None:
    """The first words of a piece that say a factor."""
    for start, end, name in phrase.parts:
        if name == factor:
            return Found(phrase.text[start:end], start, end)
    return None


def longest(config: Config, form: str, language: str = "en") -> int:
    """The most words that a caption of this form can have in a world."""
    lang = LANGUAGES[language_of_tag(language)]
    phrase = [_length(lang, factor) for factor in ATTRIBUTES]
    article = 1 if lang.tag in ("en", "de", "fr") else 0
    kind = article + phrase[2] + phrase[3]
    relation = max(len(f"{r.before} {r.after}".split()) for r in (*lang.relations, *lang.other_relations))
    places = [*lang.places, lang.cell] if config.cells > 3 else lang.places
    sentence = max(len(frame.text.split()) for frame in lang.frames) - 2 + max(len(place.split()) for place in places)
    number = max(len(words.split()) for words in lang.numbers) + 1
    return {
        "count": number,
        "one": max(number, kind),
        "short": max(number, 2 * kind + relation),
        "list": max(number, config.most * (kind + 1) - 1),
        "long": max(number, config.most * (kind + phrase[0] + phrase[1] + sentence)) + len(lang.ground.split()),
    }[form]


def _length(language: Language, factor: str) -> int:
    """The most words of one attribute."""
    forms = [form for _, word in language.words(factor) for form in word.forms.values()]
    return max(len(form.split()) for form in forms)


def _positions(languages: Sequence[str]) -> np.ndarray:
    if not languages:
        raise SensoriumError(f"no languages; expected some of {', '.join(TAGS)}")
    return np.array([language_of_tag(tag) for tag in languages], np.int8)


def _columns(said: Plan, how: Wording) -> list[_Column]:
    m = said.slot.shape[1]
    mentioned = (said.slot >= 0).sum(1)
    long = said.form == "long"
    columns = [_closing(said, how, mentioned, first=True)]
    for at in range(m):
        code = _code(said, how, at, mentioned, long)
        columns.append(_column(np.where(said.slot[:, at] >= 0, code, -1), said.slot[:, at]))
    return [*columns, _closing(said, how, mentioned, first=False)]


def _column(codes: np.ndarray, slot: np.ndarray) -> _Column:
    distinct, at = np.unique(codes, return_inverse=True)
    return _Column([_piece(code) for code in distinct.tolist()], at, slot)


def _code(said: Plan, how: Wording, at: int, mentioned: np.ndarray, long: bool) -> np.ndarray:
    """int64 [N]: everything that the words of one piece depend on, in one number."""
    joint = np.full(len(said), 3 * (at > 0)) if long else np.where(at == mentioned - 1, 2, 1) * (at > 0)
    related = said.relation if at == 1 else np.full(len(said), -1)
    joint = np.where(related >= 0, 3, joint)
    values = {
        "joint": joint,
        "language": how.language[:, at],
        "inside": how.inside[:, at],
        "others": how.others[:, at],
        "other_relation": how.other_relation & (related >= 0),
        "frame": how.frame[:, at],
        "sentence": np.full(len(said), long),
        "relation": related + 1,
        "cells": np.full(len(said), said.cells),
    }
    for factor in (*ATTRIBUTES, "row", "col", "name"):
        values[factor] = getattr(said, factor)[:, at] + 1
    code = np.zeros(len(said), np.int64)
    for field, bits in _FIELDS.items():
        code = (code << bits) | values[field].astype(np.int64)
    return code


@lru_cache(1 << 17)
def _piece(code: int) -> Phrase:
    """The words of one code; -1 is nothing."""
    if code < 0:
        return Phrase("")
    field = {}
    for name, bits in reversed(_FIELDS.items()):
        code, field[name] = code >> bits, code & ((1 << bits) - 1)
    outer, inner = LANGUAGES[field["language"]], LANGUAGES[field["inside"]]
    relations = outer.other_relations if field["other_relation"] else outer.relations
    relation = relations[field["relation"] - 1] if field["relation"] else None
    frame = outer.frames[field["frame"] % len(outer.frames)]
    case = relation.case if relation else frame.case if field["sentence"] else ""
    phrase = _object(field, inner, case if inner is outer else "")
    if field["sentence"]:
        place = outer.place(field["row"] - 1, field["col"] - 1, field["cells"]) if field["row"] else ""
        phrase = _sentence(frame.text if place else "{np}.", phrase, place)
    if relation:
        phrase = _related(relation.before, phrase, relation.after)
    joint = ("", *outer.join, " ")[field["joint"]]
    return _shift(joint, phrase)


def _object(field: dict[str, int], language: Language, case: str) -> Phrase:
    if field["name"]:
        word = name_word(field["name"] - 1) + ("n" if language.tag == "fi" and case == "genitive" else "")
        return Phrase(word, (Part(0, len(word), "object"), Part(0, len(word), "name")))
    others = frozenset(name for bit, name in enumerate(ATTRIBUTES) if field["others"] >> bit & 1)
    values = {name: field[name] - 1 for name in ATTRIBUTES}
    text, parts = noun_phrase(language, values, case, others=others)
    return Phrase(text, (Part(0, len(text), "object"), *parts))


def _sentence(frame: str, phrase: Phrase, place: str) -> Phrase:
    """Fill {np} and {place}, in whichever order they stand."""
    before, after = frame.split("{np}")
    start = before.replace("{place}", place)
    text, parts = _shift(start, phrase)
    if place:
        at = before.index("{place}") if "{place}" in before else len(text) + after.index("{place}")
        where = Part(at, at + len(place), "place")
        parts = (where, *parts) if "{place}" in before else (*parts, where)
    return Phrase(text + after.replace("{place}", place), parts)


def _related(before: str, phrase: Phrase, after: str) -> Phrase:
    """A relation's words before or behind its second object."""
    if before:
        text, parts = _shift(before + " ", phrase)
        return Phrase(text, (Part(0, len(before), "relation"), *parts))
    words = Part(len(phrase.text) + 1, len(phrase.text) + 1 + len(after), "relation")
    return Phrase(f"{phrase.text} {after}", (*phrase.parts, words))


def _shift(before: str, phrase: Phrase) -> Phrase:
    by = len(before)
    return Phrase(
        before + phrase.text, tuple(Part(start + by, end + by, factor) for start, end, factor in phrase.parts)
    )


def _closing(said: Plan, how: Wording, mentioned: np.ndarray, first: bool) -> _Column:
    """The number of objects (`first`) or the background, as a column of whole sentences where the form is long."""
    value = said.count if first else said.ground
    language = how.language[:, -1].astype(np.int64)
    before = np.zeros(len(said), np.int64) if first else ((mentioned > 0) | (said.count >= 0)).astype(np.int64)
    code = np.where(value >= 0, (value.astype(np.int64) * 8 + language) * 2 + before, -1)
    distinct, at = np.unique(code, return_inverse=True)
    table = [_rest(one, first, said.form == "long") for one in distinct.tolist()]
    return _Column(table, at, np.full(len(said), -1, np.int8))


def _rest(code: int, count: bool, long: bool) -> Phrase:
    if code < 0:
        return Phrase("")
    value, language, before = code >> 4, LANGUAGES[code >> 1 & 7], " " * (code & 1)
    if count:
        words = language.count(value)
        return Phrase(before + words + "." * long, (Part(len(before), len(before) + len(words), "count"),))
    start = len(before) + language.ground.index("{ground}")
    word = language.grounds[value]
    return Phrase(before + language.ground.format(ground=word), (Part(start, start + len(word), "ground"),))


def _join(columns: list[_Column]) -> list[str]:
    parts = [np.array([phrase.text for phrase in c.table], dtype=object)[c.at].tolist() for c in columns]
    return list(map("".join, zip(*parts, strict=True)))


def _split(text: str, found: tuple[Span, ...], long: bool) -> tuple[Sentence, ...]:
    """Sentences of a caption: all of it, or what ends in a full stop."""
    out = []
    start = 0
    ends = [at + 1 for at, character in enumerate(text) if character == "."] if long else [len(text)]
    for end in ends:
        states = tuple((s.slot, s.factor) for s in found if start <= s.start < end and s.factor != "object")
        out.append(Sentence(start, end, states))
        start = end + 1
    return tuple(out)


def _stretches(pieces: Sequence[Phrase], outer: list[str], inner: list[str]) -> tuple[Stretch, ...]:
    """The languages of a text's characters, neighbours of one language as one stretch. outer: [M + 1], inner: [M]."""
    marked: list[Stretch] = []
    offset = 0
    for piece, around, within in zip(pieces, [outer[-1], *outer], [outer[-1], *inner, outer[-1]], strict=True):
        bounds = [(part.start, part.end) for part in piece.parts if part.factor == "object"]
        start, end = bounds[0] if bounds else (0, 0)
        for a, b, language in ((0, start, around), (start, end, within), (end, len(piece.text), around)):
            if a == b:
                continue
            if marked and marked[-1].language == language:
                marked[-1] = marked[-1]._replace(end=offset + b)
            else:
                marked.append(Stretch(offset + a, offset + b, language))
        offset += len(piece.text)
    return tuple(marked)
