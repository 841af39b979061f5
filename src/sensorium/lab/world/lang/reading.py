"""Text back to facts: exact for what the captions write, tolerant of what a model writes.

Classical, never trained: words are looked up, adjectives go to the noun that they stand by, relations to the nouns
around them. What is not understood is listed, not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .caption import TAGS
from .grammar import ATTRIBUTES
from .lexicon import Lexicon, Term, Token, folded, lexicon, tokens, vocabulary
from .names import name_number

OUTSIDE = 127
"""A value that no scene has: said, and false of every scene (a white circle, the middle of a 2 x 2 grid)."""
_MOST_COPIES = 16


@dataclass(frozen=True)
class Mention:
    """One object as a text tells it; -1 is not told. Characters `start` to `end`, without the article."""

    shape: int = -1
    colour: int = -1
    size: int = -1
    texture: int = -1
    row: int = -1
    col: int = -1
    name: int = -1
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Reading:
    """What a text says of a scene."""

    mentions: tuple[Mention, ...] = ()
    absent: tuple[Mention, ...] = ()
    """Kinds said not to be there ("no red circles")."""
    relations: tuple[tuple[int, int, int], ...] = ()
    """(mention, index into RELATIONS, mention)."""
    ground: int = -1
    count: int = -1
    unknown: tuple[str, ...] = ()
    """Words that mean nothing here."""


def read(text: str, language: str = "", cells: int = 2) -> Reading:
    """A text -> what it says, in one language or in any; `cells` is the grid that its places refer to.

    Raises:
        SensoriumError: a language that is not known.
    """
    reader = _Reader(cells)
    for term, found in _terms(text, lexicon(language)):
        reader.take(term, found)
    reader.stop()
    return Reading(
        tuple(reader.mentions),
        tuple(reader.absent),
        tuple(reader.relations),
        reader.ground,
        reader.count,
        tuple(reader.unknown),
    )


def language_of(text: str) -> str:
    """The tag of the language that knows most of a text's words; "" where none knows any, the first of equals."""
    words = [folded(token.text) for token in tokens(text) if token.text[0].isalpha()]
    known = [sum(word in vocabulary(tag) for word in words) for tag in TAGS]
    return TAGS[known.index(max(known))] if any(known) else ""


def labelled(text: str, language: str = "") -> list[str]:
    """Per word or mark of a text what it says: the kind of its term, "word" for what carries no fact.

    A place's words are all "place"; a word that is not known is "unknown".
    """
    out = []
    for term, found in _terms(text, lexicon(language)):
        kind = {"copula": "word", "stop": "word", "cell": "place"}.get(term.kind, term.kind)
        out += [kind] * len(found)
    return out


def _terms(text: str, known: Lexicon) -> list[tuple[Term, tuple[Token, ...]]]:
    """Longest match from the left; names and unknown words are terms of their own."""
    found = tokens(text)
    keys = [folded(token.text) for token in found]
    out = []
    at = 0
    while at < len(found):
        fitting = (one for one in known.get(keys[at], ()) if tuple(keys[at : at + len(one[0])]) == one[0])
        words, term = next(fitting, ((keys[at],), _other(found[at].text)))
        out.append((term, tuple(found[at : at + len(words)])))
        at += len(words)
    return out


def _other(word: str) -> Term:
    """A name, in Finnish also in the genitive, or nothing that is known."""
    number = max(name_number(word), name_number(word.removesuffix("n")) if len(word) % 2 else -1)
    return Term("name", number) if number >= 0 else Term("unknown")


@dataclass
class _Reader:
    cells: int
    mentions: list[Mention] = field(default_factory=list)
    absent: list[Mention] = field(default_factory=list)
    relations: list[tuple[int, int, int]] = field(default_factory=list)
    ground: int = -1
    count: int = -1
    unknown: list[str] = field(default_factory=list)
    pending: dict[str, int] = field(default_factory=dict)
    """Adjectives that wait for their noun."""
    start: int = -1
    number: int = -1
    open: bool = False
    """The last mention can still take an adjective behind its noun."""
    copula: bool = False
    backdrop: bool = False
    first: int = 0
    """The first mention of this sentence."""
    places_first: bool = False
    place: tuple[int, int] | None = None
    waiting: tuple[int, int] | None = None
    """(mention, relation) that waits for its second object."""

    def take(self, term: Term, found: tuple[Token, ...]) -> None:
        if term.kind in ATTRIBUTES or term.kind == "ground":
            self.attribute(term, found)
            return
        self.open = False
        if term.kind == "name":
            self.mention(Mention(name=term.value, start=found[0].start, end=found[-1].end))
        elif term.kind == "unknown":
            self.unknown.append(found[0].text)
        elif term.kind == "relation":
            self.relation(term)
        elif term.kind in ("place", "cell"):
            self.located(_cell(term, found, self.cells))
        elif term.kind == "number":
            self.number = term.value if term.value >= 0 else _number(found[0].text)
        elif term.kind == "backdrop":
            self.behind()
        elif term.kind == "copula":
            self.copula = True
        elif term.kind == "stop":
            self.stop()
        elif self.copula and self.pending:  # "the circle is red and …"
            self.predicate()

    def attribute(self, term: Term, found: tuple[Token, ...]) -> None:
        if self.open and term.after and getattr(self.mentions[-1], term.kind) < 0:
            self.mentions[-1] = replace(self.mentions[-1], **{term.kind: term.value}, end=found[-1].end)
            return
        self.open = False
        self.start = found[0].start if self.start < 0 else self.start
        if term.kind != "shape":
            self.pending.setdefault(term.kind, term.value)
            return
        if "ground" in self.pending:
            self.pending |= {"colour": OUTSIDE}
            del self.pending["ground"]
        made = Mention(**self.pending, shape=term.value, start=self.start, end=found[-1].end)
        number, bare = self.number, term.value < 0 and not self.pending
        self.clear()
        if number < 0:
            self.mention(made)
            self.open = True
        elif bare:
            self.count = number
        elif number == 0:
            self.absent.append(made)
        else:
            for _ in range(min(number, _MOST_COPIES)):
                self.mention(made)

    def mention(self, made: Mention) -> None:
        if self.place is not None:
            made = replace(made, row=self.place[0], col=self.place[1])
            self.place = None
        self.mentions.append(made)
        if self.waiting is not None:
            self.relations.append((*self.waiting, len(self.mentions) - 1))
            self.waiting = None
        self.clear()

    def relation(self, term: Term) -> None:
        last = len(self.mentions) - 1
        if term.after and last - 1 >= self.first:
            self.relations.append((last - 1, term.value, last))
        elif not term.after and last >= self.first:
            self.waiting = (last, term.value)

    def located(self, cell: tuple[int, int]) -> None:
        if len(self.mentions) == self.first:
            self.places_first = True
        if self.places_first:
            self.place = cell
        elif self.mentions[-1].row < 0:
            self.mentions[-1] = replace(self.mentions[-1], row=cell[0], col=cell[1])

    def behind(self) -> None:
        """The background's noun: what stands before it is its colour, else what follows."""
        self.backdrop = True
        if self.pending:
            self.predicate()

    def predicate(self) -> None:
        """Adjectives without a noun: of the background if that was the subject, else of the last mention."""
        if self.backdrop:
            self.ground = self.pending.get("ground", OUTSIDE)
        elif self.copula and len(self.mentions) > self.first:
            said = {kind: value for kind, value in self.pending.items() if kind != "ground"}
            if "ground" in self.pending:
                said["colour"] = OUTSIDE
            new = {kind: value for kind, value in said.items() if getattr(self.mentions[-1], kind) < 0}
            self.mentions[-1] = replace(self.mentions[-1], **new)
        self.clear()

    def clear(self) -> None:
        self.pending, self.start, self.number, self.copula = {}, -1, -1, False

    def stop(self) -> None:
        if self.pending:
            self.predicate()
        self.clear()
        self.open = self.backdrop = self.places_first = False
        self.place = self.waiting = None
        self.first = len(self.mentions)


def _number(digits: str) -> int:
    return int(digits[:9])  # Python refuses thousands of digits, and no scene has a billion objects


def _cell(term: Term, found: tuple[Token, ...], cells: int) -> tuple[int, int]:
    """Row and column of a place's words; OUTSIDE where the grid has none such."""
    if term.kind == "cell":
        at = [_number(token.text) - 1 for token in found if token.text.isdecimal()]
        row, col = (one if 0 <= one < cells else OUTSIDE for one in at)
        return row, col
    row, col = divmod(term.value, 3)
    of = {1: (OUTSIDE, 0, OUTSIDE), 2: (0, OUTSIDE, 1)}.get(cells, (0, 1, 2) if cells == 3 else (OUTSIDE,) * 3)
    return of[row], of[col]
