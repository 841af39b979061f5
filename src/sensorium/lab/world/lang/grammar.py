"""Noun phrases that agree: one table of words per language, one rule of agreement, one rule for articles.

A phrase is its text and where each fact stands in it, so spans are exact by construction in every language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

ATTRIBUTES = ("size", "texture", "colour", "shape")
"""What a noun phrase can say of an object, in the order of the words before an English noun."""


class Part(NamedTuple):
    """Characters `start` to `end` of a phrase say `factor`."""

    start: int
    end: int
    factor: str


class Phrase(NamedTuple):
    """A piece of a caption and what its words say."""

    text: str
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Noun:
    """A shape word: gender, singular forms by case, plural of the citation form."""

    gender: str
    forms: Mapping[str, str]
    plural: str


@dataclass(frozen=True)
class Adjective:
    """Forms by the key that the language's `agree` gives; `after` stands behind the noun."""

    forms: Mapping[str, str]
    after: bool = False


Word = Noun | Adjective


@dataclass(frozen=True)
class Relation:
    """A `before` B-in-`case` `after`: "links von" + dative, or genitive + "vasemmalla puolella"."""

    before: str
    case: str
    after: str = ""


@dataclass(frozen=True)
class Frame:
    """A sentence on one object and its place, such as "man sieht {np} {place}."; the phrase stands in `case`."""

    text: str
    case: str


@dataclass(frozen=True, eq=False)
class Language:
    """Words and rules of one language. Word tuples follow the order of the facts' own names."""

    tag: str
    name: str
    cases: tuple[str, ...]
    """The citation form first."""
    shapes: tuple[Noun, ...]
    thing: Noun
    """What every shape is: "shape", "Figur", "forme"."""
    colours: tuple[Adjective, ...]
    sizes: tuple[Adjective, ...]
    textures: tuple[Adjective, ...]
    grounds: tuple[str, ...]
    synonyms: Mapping[str, Mapping[int, Word]]
    """By factor and value; where a value has none, its word stays."""
    relations: tuple[Relation, ...]
    other_relations: tuple[Relation, ...]
    """The same four said otherwise."""
    places: tuple[str, ...]
    """Nine: top, middle, bottom by left, middle, right."""
    cell: str
    """Format with {row} and {col}, counted from 1, for grids above 3 x 3."""
    frames: tuple[Frame, ...]
    ground: str
    """Sentence with {ground}."""
    backdrop: str
    """The background's noun."""
    point: Frame
    """Order to point at {np}, in the definite."""
    join: tuple[str, str]
    """Between the phrases of a list, and before its last."""
    numbers: tuple[str, ...]
    """From 0 on; larger ones are written in digits."""
    counted: Callable[[int], str]
    """The form of `thing` after a number."""
    agree: Callable[[str, str, bool], str]
    """(gender, case, definite) -> key of an adjective's form."""
    article: Callable[[str, str, bool, str], str]
    """(gender, case, definite, the next word) -> article with what separates it from that word."""

    def word(self, factor: str, value: int, other: bool = False) -> Word:
        """The word for a fact; `thing` for a shape of -1."""
        if factor == "shape" and value < 0:
            return self.thing
        if other and (found := self.synonyms.get(factor, {}).get(value)) is not None:
            return found
        return self.table(factor)[value]

    def table(self, factor: str) -> tuple[Word, ...]:
        """The words of a factor, by value."""
        tables: dict[str, tuple[Word, ...]] = {
            "shape": self.shapes,
            "colour": self.colours,
            "size": self.sizes,
            "texture": self.textures,
        }
        return tables[factor]

    def words(self, factor: str) -> tuple[tuple[int, Word], ...]:
        """Every word of a factor with its value, synonyms and the word for any shape (-1) among them."""
        thing = ((-1, self.thing),) if factor == "shape" else ()
        return (*enumerate(self.table(factor)), *self.synonyms.get(factor, {}).items(), *thing)

    def number(self, n: int) -> str:
        """The number in words, or in digits where the table ends."""
        return self.numbers[n] if n < len(self.numbers) else str(n)

    def count(self, n: int) -> str:
        """ "three shapes"."""
        return f"{self.number(n)} {self.counted(n)}"

    def place(self, row: int, col: int, cells: int) -> str:
        """Where a cell of a grid is."""
        if cells > 3:
            return self.cell.format(row=row + 1, col=col + 1)
        at = ((1,), (0, 2), (0, 1, 2))[cells - 1]
        return self.places[3 * at[row] + at[col]]


def noun_phrase(
    language: Language,
    said: Mapping[str, int],
    case: str = "",
    definite: bool = False,
    others: frozenset[str] = frozenset(),
) -> Phrase:
    """A noun phrase on some ATTRIBUTES, -1 or absent for not said, in a case (by default the citation form).

    `others` are attributes said by their synonyms. Without a shape the noun is the word for any shape.
    """
    case = case or language.cases[0]
    shape = said.get("shape", -1)
    noun = language.word("shape", shape, "shape" in others)
    assert isinstance(noun, Noun)
    key = language.agree(noun.gender, case, definite)
    before: list[tuple[str, str]] = []
    after: list[tuple[str, str]] = []
    for factor in ATTRIBUTES[:-1]:
        if (value := said.get(factor, -1)) >= 0:
            word = language.word(factor, value, factor in others)
            assert isinstance(word, Adjective)
            (after if word.after else before).append((factor, word.forms[key]))
    words = [*before, ("shape" if shape >= 0 else "", noun.forms[case]), *reversed(after)]
    text = language.article(noun.gender, case, definite, words[0][1])
    parts = []
    for at, (factor, form) in enumerate(words):
        text += " " * (at > 0)
        if factor:
            parts.append(Part(len(text), len(text) + len(form), factor))
        text += form
    return Phrase(text, tuple(parts))
