"""Documents of several pages: sections on scenes told apart by names, their figures, a table, and what answers what.

A section's text tells some of its objects; the others only its figure shows, and the table's numbers nothing else says.
Every sentence, figure and table has an id, and each question names all that answer it.

Shape legend: N documents, P pages of one, H W pixels, S sections.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import Facts
from ..lang import caption, questions, sentences
from ..lang.plan import below, draw
from ..scene import render
from .fonts import Hand
from .outline import names, several
from .reading import differing, transcribe
from .typeset import Box, Placed, Sheet, around, blank, first, strip

PLACES = ("near", "end")
"""Figures stand in their section, or all behind the last one in an order of their own."""
FACTOR = {"colour": "colour", "shape": "shape", "size": "size", "texture": "texture", "where": "place"}
"""Kinds of questions that one sentence answers, and the factor that it must state."""
MARGIN = 6
_FIGURE = re.compile(r"!\[figure \d{1,6}\]\(figure-(\d{1,6})\.png\)")
COINS = 90


@dataclass(frozen=True)
class Style:
    """How documents are written."""

    sections: int = 3
    told: float = 0.5
    """Share of the objects that the text tells; the figure shows all."""
    figures: str = "near"
    numbered: bool = True
    """The text refers to its figure by number; without, only what it tells links the two."""
    language: str = "en"
    px: int = 6
    picture: int = 48
    height: int = 192
    width: int = 192

    def __post_init__(self) -> None:
        if self.figures not in PLACES:
            raise SensoriumError(f"figures {self.figures!r}{nearest(self.figures, PLACES)}")
        if not 0 <= self.told <= 1:
            raise SensoriumError(f"told {self.told}; expected a share from 0 to 1")
        for what, value, low, high in (("sections", self.sections, 1, 12), ("picture", self.picture, 16, 512)):
            if not low <= value <= high:
                raise SensoriumError(f"{what} {value}; expected {low} to {high}")
        Hand("sans", self.px)


STYLE = Style()


class Element(NamedTuple):
    """A part of a document; its page and section count from 0, -1 is no section."""

    id: str
    """title, h1 (heading), s1.2 (second sentence of section 1), r1 (its reference), f1 (figure), c1 (its line), t1."""
    kind: str
    section: int
    page: int
    box: Box
    text: str
    states: tuple[tuple[int, str], ...] = ()
    """What a sentence tells of its scene: (object, factor); -1 is the whole scene."""


@dataclass(frozen=True, eq=False)
class Document:
    """One document and all that is known about it."""

    pages: np.ndarray
    """uint8 [P 3 H W]."""
    elements: tuple[Element, ...]
    """In reading order."""
    words: tuple[tuple[int, int, Placed], ...]
    """(page, position in `elements`, word)."""
    told: np.ndarray
    """bool [S K]: the text of a section tells the object."""
    figures: tuple[int, ...]
    """The section of each figure, in the order of their numbers."""
    table: tuple[tuple[str, int], ...]
    """Section names and their coins."""

    def element(self, name: str) -> Element:
        """The element of an id.

        Raises:
            SensoriumError: none has it.
        """
        for one in self.elements:
            if one.id == name:
                return one
        raise SensoriumError(f"element {name!r}{nearest(name, [one.id for one in self.elements])}")


@dataclass(frozen=True)
class Question:
    """A question about one document with its exact answer; each element of `evidence` answers it by itself."""

    text: str
    answer: str
    options: tuple[str, ...]
    kind: str
    document: int
    section: int
    evidence: tuple[str, ...]
    pages: tuple[int, ...]
    """The pages of the evidence."""


_Line = tuple[str, tuple[tuple[int, str], ...]]
"""A sentence and what it states."""


@dataclass(frozen=True, eq=False)
class Content:
    """What a document says, before it is laid out."""

    texts: tuple[tuple[_Line, ...], ...]
    """The sentences of each section."""
    pictures: np.ndarray
    """uint8 [S 3 h w]."""
    told: np.ndarray
    """bool [S K]."""
    order: tuple[int, ...]
    """The section of each figure."""
    headings: tuple[str, ...]
    table: tuple[tuple[str, int], ...]


def documents(facts: Facts, style: Style = STYLE, seed: int = 0) -> list[Document]:
    """A document per scene: its first section is on that scene, the others on new ones (`outline.several`).

    Raises:
        SensoriumError: a page too small for a line or a figure.
    """
    return [lay_out(content, style) for content in contents(facts, style, seed)]


def contents(facts: Facts, style: Style = STYLE, seed: int = 0) -> list[Content]:
    """What `documents` of the same arguments say. In a null world the figures show what the text does not tell."""
    worlds = several(facts, style.sections, seed)
    told = [draw(world, world.row.shape[1], seed, "page", "told") < style.told for world in worlds]
    texts = [lines(world, here, style, seed) for world, here in zip(worlds, told, strict=True)]
    pictures = np.stack([render(world, style.picture) for world in worlds], 1)
    luck = draw(facts, style.sections, seed, "page", "figures").argsort(1).tolist()
    who = names(facts, style.sections, seed, "sections")
    coins = 10 + np.floor(draw(facts, style.sections, seed, "page", "coins") * COINS).astype(np.int64)
    out = []
    for i, (heads, many) in enumerate(zip(who, coins.tolist(), strict=True)):
        order = tuple(luck[i]) if style.figures == "end" else tuple(range(style.sections))
        here = np.stack([told[k][i] & worlds[k].real()[i] for k in range(style.sections)])
        own = tuple(tuple(section[i]) for section in texts)
        out.append(Content(own, pictures[i], here, order, tuple(heads), tuple(zip(heads, many, strict=True))))
    return out


def lay_out(content: Content, style: Style = STYLE) -> Document:
    """A document of what it says."""
    press = _Press(style)
    _write(press, content)
    pages = np.stack([sheet.image for sheet in press.sheets])
    return Document(pages, tuple(press.elements), tuple(press.words), content.told, content.order, content.table)


def lines(world: Facts, told: np.ndarray, style: Style, seed: int) -> list[list[_Line]]:
    """The sentences of long captions that are on the background, or on an object to be told."""
    texts, found = caption(world, "long", style.language, seed), sentences(world, "long", style.language, seed)
    return [
        [(text[one.start : one.end], one.states) for one in parts if all(k < 0 or row[k] for k, _ in one.states)]
        for text, parts, row in zip(texts, found, told.tolist(), strict=True)
    ]


@dataclass
class _Press:
    """A document in the making: a pen that moves down the page and on to the next."""

    style: Style
    sheets: list[Sheet] = field(default_factory=list)
    elements: list[Element] = field(default_factory=list)
    words: list[tuple[int, int, Placed]] = field(default_factory=list)
    x: int = 0
    y: int = 1 << 30
    """Row of the top of the line to come; the first element opens the first page."""

    @property
    def right(self) -> int:
        """The column at which lines end."""
        return self.style.width - MARGIN

    def room(self, rows: int) -> None:
        """Go on to a new page where fewer rows are left."""
        if self.y + rows > self.style.height - MARGIN or not self.sheets:
            self.sheets.append(blank(self.style.height, self.style.width))
            self.x, self.y = MARGIN, MARGIN

    def fresh(self, hand: Hand, space: int = 0) -> None:
        """Begin a line, `space` rows below the last one."""
        if self.x > MARGIN:
            self.x, self.y = MARGIN, self.y + hand.line
        self.y += space

    def text(
        self, name: str, kind: str, section: int, text: str, hand: Hand, states: tuple[tuple[int, str], ...] = ()
    ) -> None:
        """Words from the pen on, all on one page, broken into lines."""
        lines, x = 1, self.x
        for word in text.split():
            wide = strip(word, hand).advance
            if x + wide > self.right and x > MARGIN:
                lines, x = lines + 1, MARGIN
            x += wide + hand.space
        self.room(lines * hand.line)
        at, boxes = len(self.elements), []
        for word in text.split():
            wide = strip(word, hand).advance
            if self.x + wide > self.right and self.x > MARGIN:
                self.x, self.y = MARGIN, self.y + hand.line
            placed = self.sheets[-1].word(word, self.x, self.y + first(hand), hand)
            self.words.append((len(self.sheets) - 1, at, placed))
            boxes.append(placed.box)
            self.x += wide + hand.space
        self.elements.append(Element(name, kind, section, len(self.sheets) - 1, around(boxes), text, states))

    def figure(self, number: int, section: int, picture: np.ndarray, hand: Hand) -> None:
        """A picture with its line below, on one page."""
        self.fresh(hand, 2)
        h, w = picture.shape[1:]
        if max(h + 2 * hand.line, w) > min(self.style.height, self.style.width) - 2 * MARGIN:
            raise SensoriumError(
                f"page of {self.style.height} x {self.style.width} pixels: no room for a picture of {h} x {w}; "
                "expected a "
                "larger page or a smaller picture"
            )
        self.room(h + 2 * hand.line)
        box = self.sheets[-1].paste(picture, self.x, self.y)
        self.elements.append(Element(f"f{number}", "figure", section, len(self.sheets) - 1, box, ""))
        self.y += h
        self.text(f"c{number}", "caption", section, f"figure {number}", hand)
        self.fresh(hand, 2)

    def table(self, rows: Sequence[tuple[str, int]], hand: Hand) -> None:
        """Names and numbers in two columns, on one page."""
        self.fresh(hand, 4)
        self.room((len(rows) + 1) * hand.line)
        at, page, boxes = len(self.elements), len(self.sheets) - 1, []
        for name, coins in (("name", "coins"), *rows):
            for x, word in ((MARGIN, name), (self.style.width // 2, str(coins))):
                placed = self.sheets[-1].word(word, x, self.y + first(hand), hand)
                self.words.append((page, at, placed))
                boxes.append(placed.box)
            self.y += hand.line
        text = "; ".join(f"{name}: {coins}" for name, coins in rows)
        self.elements.append(Element("t1", "table", -1, page, around(boxes), text))


def _write(press: _Press, content: Content) -> None:
    style = press.style
    hand, large = Hand("sans", style.px), Hand("sans", style.px + 2)
    press.text("title", "title", -1, f"on {len(content.texts)} pictures", large)
    for k, told in enumerate(content.texts):
        press.fresh(large, 4)
        press.text(f"h{k + 1}", "heading", k, content.headings[k], large)
        press.fresh(large)
        for at, (line, states) in enumerate(told):
            press.text(f"s{k + 1}.{at + 1}", "sentence", k, line, hand, states)
        if style.numbered:
            press.text(f"r{k + 1}", "reference", k, f"see figure {content.order.index(k) + 1}.", hand)
        if style.figures == "near":
            press.figure(k + 1, k, content.pictures[k], hand)
    if style.figures == "end":
        for number, k in enumerate(content.order, 1):
            press.figure(number, k, content.pictures[k], hand)
    press.table(content.table, hand)


def ask(facts: Facts, made: Sequence[Document], style: Style = STYLE, seed: int = 0) -> list[Question]:
    """One question per document and kind that the world allows, on a section drawn by number, and one on its table.

    `made` are the `documents` of the same facts, style and seed. The question alone tells nothing about the answer.
    """
    if len(made) != len(facts):
        raise SensoriumError(f"{len(made)} documents for {len(facts)} scenes; expected one each")
    chosen = below(facts, style.sections, seed, "page", "section")
    out = []
    for k, world in enumerate(several(facts, style.sections, seed)):
        rows = np.flatnonzero(chosen == k)
        asked = questions(world.rows(rows), (), seed)
        for at, kind in enumerate(asked.kind):
            if kind not in FACTOR:
                continue
            i = int(rows[asked.scene[at]])
            text = f"in the section {made[i].table[k][0]}: {asked.text[at]}"
            ids = _evidence(made[i], k, int(asked.slot[at]), FACTOR[kind])
            out.append(_question(made[i], i, k, text, asked.answer[at], asked.options[at], kind, ids))
        for i in rows.tolist():
            name, coins = made[i].table[k]
            options = tuple(str(10 + at) for at in range(COINS))
            out.append(_question(made[i], i, k, f"how many coins for {name}?", str(coins), options, "coins", ("t1",)))
    return sorted(out, key=lambda one: one.document)


def _evidence(made: Document, section: int, slot: int, factor: str) -> tuple[str, ...]:
    """The sentences of a section that state a fact, and its figure."""
    told = [one.id for one in made.elements if one.section == section and (slot, factor) in one.states]
    return (*told, f"f{made.figures.index(section) + 1}")


def _question(
    made: Document,
    number: int,
    section: int,
    text: str,
    answer: str,
    options: tuple[str, ...],
    kind: str,
    evidence: tuple[str, ...],
) -> Question:
    pages = tuple(sorted({made.element(name).page for name in evidence}))
    return Question(text, answer, options, kind, number, section, evidence, pages)


def markdown(made: Document, page: int | None = None) -> str:
    """The source of a document, or of one page: headings by #, figures by file name, the table with bars."""
    out, sentences_so_far = [], []
    for one in [*made.elements, None]:
        inside = one is not None and page in (None, one.page)
        if one is not None and one.kind in ("sentence", "reference"):
            sentences_so_far += [one.text] * inside
            continue
        if sentences_so_far:
            out.append(" ".join(sentences_so_far))
            sentences_so_far = []
        if one is not None and inside and one.kind != "caption":
            out.append(_block(one, made))
    return "\n\n".join(out) + "\n"


def _block(one: Element, made: Document) -> str:
    if one.kind == "figure":
        return f"![figure {one.id[1:]}](figure-{one.id[1:]}.png)"
    if one.kind == "table":
        rows = ["| name | coins |", "| --- | --- |", *(f"| {name} | {coins} |" for name, coins in made.table)]
        return "\n".join(rows)
    return f"{'#' if one.kind == 'title' else '##'} {one.text}"


@dataclass(frozen=True)
class Outline:
    """What Markdown says of a document."""

    title: str = ""
    headings: tuple[str, ...] = ()
    paragraphs: tuple[tuple[str, ...], ...] = ()
    """Under each heading."""
    figures: tuple[tuple[int, int], ...] = ()
    """(number, heading above it from 0; -1 before the first)."""
    rows: tuple[tuple[str, ...], ...] = ()
    """Of tables, without their heads."""


def read_markdown(text: str) -> Outline:
    """Written Markdown back to its parts: exact for `markdown`; lines that are none of them are paragraphs."""
    title, headings, figures, rows = "", list[str](), list[tuple[int, int]](), list[tuple[str, ...]]()
    paragraphs: list[list[str]] = []
    for line in (stripped for raw in text.splitlines() if (stripped := raw.strip())):
        if line.startswith("## "):
            headings.append(line[3:].strip())
            paragraphs.append([])
        elif line.startswith("# "):
            title = title or line[2:].strip()
        elif found := _FIGURE.fullmatch(line):
            figures.append((int(found[1]), len(headings) - 1))
        elif line.startswith("|"):
            cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
            rows.append(cells)
        elif paragraphs:
            paragraphs[-1].append(line)
    body = [row for at, row in enumerate(rows) if not _rule(row) and not (at + 1 < len(rows) and _rule(rows[at + 1]))]
    return Outline(title, tuple(headings), tuple(map(tuple, paragraphs)), tuple(figures), tuple(body))


def _rule(row: tuple[str, ...]) -> bool:
    """The line of dashes below a table's head."""
    return all(cell and set(cell) <= set("-:") for cell in row)


def read_pages(pages: np.ndarray, style: Style = STYLE) -> list[list[str]]:
    """uint8 [P 3 H W] -> the words of each page, row by row."""
    hands = Hand("sans", style.px), Hand("sans", style.px + 2)
    return [[one.text for one in transcribe(page, hands)] for page in pages]


def reader_error(facts: Facts, style: Style = STYLE, seed: int = 0) -> float:
    """Share of the words of true renders that `read_pages` misses or invents, whatever their order."""
    wrong = total = 0
    for made in documents(facts, style, seed):
        for page, found in enumerate(read_pages(made.pages, style)):
            told = [placed.text for at, _, placed in made.words if at == page]
            wrong, total = wrong + differing(told, found), total + len(told)
    return wrong / max(1, total)
