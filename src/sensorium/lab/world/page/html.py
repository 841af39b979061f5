"""Product pages of made-up shops: a tree of elements, its HTML, the box of every node as drawn, unseen shops in `test`.

Names come twice (the product's, its maker's) and so do prices (today's, the old one). Where `looks` is on, the two
prices have the same markup in either order and only their drawing tells them apart; off is the null world of that.

Shape legend: N pages, H W pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError, derive
from sensorium.data.limits import Limits, Refused
from sensorium.data.media.html import nodes

from ..facts import COLOURS, INDIVIDUALS, SHAPES, Facts
from ..lang import caption
from ..lang.names import name_word
from ..lang.plan import draw
from ..scene import render
from .fonts import Hand
from .forms import RULE, chosen
from .reading import differing, transcribe
from .typeset import BLACK, Box, Colour, Sheet, around, blank, extent, first, wrapped

FIELDS = ("name", "kind", "maker", "stock", "price", "was")
LABELS = {
    "kind": ("kind", "type", "what"),
    "maker": ("maker", "brand", "made by"),
    "stock": ("in stock", "left", "available"),
    "price": ("price", "cost", "now"),
}
RECORDS = ("table", "list", "definitions", "blocks")
"""How a shop marks its facts up: tr/th/td, ul/li, dl/dt/dd, nested div."""
_NAV = ("home", "shop", "help", "news")
PICTURE = 40
TONES: dict[str, Colour] = {"now": (180, 0, 0), "was": (110, 150, 190)}
"""Today's price is red, the old one faded."""


@dataclass(frozen=True)
class Style:
    """How pages are laid out."""

    sites: int = 12
    """Shops of all parts but `test`."""
    unseen: int = 6
    """Further shops, which `test` alone shows; 0 shows it the others."""
    looks: bool = True
    """Two prices of equal markup that only their drawing tells apart."""
    language: str = "en"
    """Of the description."""
    px: int = 6
    height: int = 320
    width: int = 224

    def __post_init__(self) -> None:
        Hand("sans", self.px)
        if self.sites < 1 or self.unseen < 0:
            raise SensoriumError(f"{self.sites} sites, {self.unseen} unseen; expected 1 or more, and 0 or more")


STYLE = Style()


@dataclass(frozen=True)
class Element:
    """A tag with its text, then its children."""

    tag: str
    text: str = ""
    children: tuple[Element, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    field: str = ""
    """One of FIELDS where the text is that value."""
    look: str = ""
    """"now" and "was": how a price is drawn, which no attribute tells."""


class Node(NamedTuple):
    """A run of text as `data.media.html.nodes` gives it, and what is known about it besides."""

    tag: str
    path: str
    text: str
    field: str
    box: Box
    """Zeros for the title, which is not drawn."""


@dataclass(frozen=True, eq=False)
class Page:
    """A page as HTML, as a picture, and node by node."""

    markup: str
    image: np.ndarray
    """uint8 [3 H W]."""
    nodes: tuple[Node, ...]
    boxes: dict[str, Box]
    """By path, for each element that is drawn: the box around all that it holds."""
    record: dict[str, str]
    site: int


@dataclass(frozen=True)
class Site:
    """One shop's template."""

    record: str
    order: tuple[str, ...]
    labels: tuple[str, ...]
    """The words of LABELS, in its order."""
    heading: str
    wrappers: tuple[str, ...]
    nav: int
    """How many links."""
    first: str
    """"picture" or "record": what comes first."""
    related: bool
    font: str
    sections: bool


def records(facts: Facts, seed: int = 0) -> list[dict[str, str]]:
    """Each scene's first object as a product; the two prices are different and drawn alike."""
    luck = draw(facts, 4, seed, "page", "html").tolist()
    colour, shape = facts.colour[:, 0].tolist(), facts.shape[:, 0].tolist()
    out = []
    for (maker, stock, price, was), c, s, name in zip(luck, colour, shape, facts.name[:, 0].tolist(), strict=True):
        own = max(name, 0)
        other = (own + 1 + int(maker * (INDIVIDUALS - 1))) % INDIVIDUALS
        now = 10 + int(price * 90)
        old = 10 + (now - 10 + 1 + int(was * 89)) % 90
        kind = f"{COLOURS[c]} {SHAPES[s]}" if s >= 0 else "nothing"
        values = (name_word(own), kind, name_word(other), int(stock * 50), now, old)
        out.append(dict(zip(FIELDS, map(str, values), strict=True)))
    return out


@lru_cache(1 << 10)
def site(number: int, style: Style = STYLE) -> Site:
    """The template of a shop; no two numbers below `sites + unseen` have the same."""
    return _all(style.sites + style.unseen)[number]


@lru_cache
def _all(count: int) -> tuple[Site, ...]:
    out: list[Site] = []
    attempt = 0
    while len(out) < count:
        made = _drawn(derive("site", attempt))
        if made not in out:
            out.append(made)
        attempt += 1
    return tuple(out)


def _drawn(number: int) -> Site:
    random = np.random.Generator(np.random.Philox(number))

    def one(*options: str) -> str:
        return options[int(random.integers(len(options)))]

    return Site(
        record=one(*RECORDS),
        order=tuple(random.permutation(("kind", "maker", "stock", "price")).tolist()),
        labels=tuple(one(*words) for words in LABELS.values()),
        heading=one("h1", "h2", "h3"),
        wrappers=tuple(one("div", "main", "section", "article") for _ in range(int(random.integers(1, 4)))),
        nav=int(random.integers(2, len(_NAV) + 1)),
        first=one("picture", "record"),
        related=bool(random.integers(2)),
        font=one("sans", "serif"),
        sections=bool(random.integers(2)),
    )


def pages(facts: Facts, style: Style = STYLE, seed: int = 0, values: list[dict[str, str]] | None = None) -> list[Page]:
    """A page per scene with the values of `records`, or others; its picture is the scene's, its text a long caption.

    Raises:
        SensoriumError: a page too small for its text, records without all of FIELDS or of another number.
    """
    values = records(facts, seed) if values is None else values
    if len(values) != len(facts) or any(set(row) != set(FIELDS) for row in values):
        raise SensoriumError(
            f"{len(values)} records for {len(facts)} scenes; expected one each, of {', '.join(FIELDS)}"
        )
    numbers = chosen(facts, style.sites, style.unseen, seed, "site")
    texts, short = caption(facts, "long", style.language, seed), caption(facts, "one", style.language, seed)
    pictures = render(facts, PICTURE)
    turned = draw(facts, 1, seed, "page", "prices")[:, 0] < 0.5
    others = (draw(facts, 3, seed, "page", "related") * INDIVIDUALS).astype(np.int64).tolist()
    out = []
    for i, (record, number) in enumerate(zip(values, numbers, strict=True)):
        content = _Content(record, texts[i], short[i], [name_word(at) for at in others[i]], bool(turned[i]))
        tree = _tree(site(number, style), content, style)
        out.append(_page(tree, pictures[i], record, number, style))
    return out


@dataclass(frozen=True)
class _Content:
    record: dict[str, str]
    text: str
    alt: str
    others: list[str]
    turned: bool
    """The old price comes first."""


def _tree(look: Site, content: _Content, style: Style) -> Element:
    record = content.record
    nav = Element(
        "nav", children=tuple(Element("a", link, attributes=(("href", f"/{link}"),)) for link in _NAV[: look.nav])
    )
    picture = Element("img", attributes=(("src", "picture.png"), ("alt", content.alt)))
    parts = [Element("div", children=(picture,)), _facts(look, content, style)]
    head = Element(look.heading, record["name"], field="name")
    described: tuple[Element, ...] = (Element("p", content.text),)
    if look.sections:
        described = (Element("section", children=(Element("h4", "details"), *described)),)
    related = Element(
        "ul",
        children=tuple(
            Element("li", children=(Element("a", name, attributes=(("href", f"/{name}"),)),)) for name in content.others
        ),
    )
    body: tuple[Element, ...] = (head, *(parts if look.first == "picture" else parts[::-1]), *described)
    body += (Element("h4", "related"), related) if look.related else ()
    for tag in look.wrappers:
        body = (Element(tag, children=body),)
    foot = Element("footer", "all prices in coins")
    return Element(
        "html",
        children=(
            Element("head", children=(Element("title", f"{record['name']} - shop"),)),
            Element("body", children=(nav, *body, foot)),
        ),
    )


def _facts(look: Site, content: _Content, style: Style) -> Element:
    """The record in the shop's markup: a label and one value, or two prices, per row."""
    rows: list[tuple[str, tuple[Element, ...]]] = []
    for name in look.order:
        label = dict(zip(LABELS, look.labels, strict=True))[name]
        own = (Element("span", content.record[name], field=name),)
        values = _prices(content, style) if name == "price" else own
        rows.append((label, values))
    if look.record == "table":
        lines = tuple(
            Element("tr", children=(Element("th", label), Element("td", children=values))) for label, values in rows
        )
        return Element("table", children=(Element("tbody", children=lines),))
    if look.record == "definitions":
        pairs = ((Element("dt", label), Element("dd", children=values)) for label, values in rows)
        return Element("dl", children=tuple(one for pair in pairs for one in pair))
    if look.record == "list":
        return Element(
            "ul", children=tuple(Element("li", children=(Element("b", label), *values)) for label, values in rows)
        )
    blocks = (
        Element("div", children=(Element("div", label), Element("div", children=values))) for label, values in rows
    )
    return Element("div", children=tuple(blocks))


def _prices(content: _Content, style: Style) -> tuple[Element, ...]:
    now = Element("span", content.record["price"], field="price", look="now" if style.looks else "")
    was = Element("span", content.record["was"], field="was", look="was" if style.looks else "")
    if not style.looks:
        return now, Element("i", "was"), was
    return (was, now) if content.turned else (now, was)


def as_markup(element: Element) -> str:
    """The tree as HTML."""
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in element.attributes)
    if element.tag == "img":
        return f"<img{attributes}>"
    inside = escape(element.text, quote=False) + "".join(map(as_markup, element.children))
    return ("<!DOCTYPE html>" if element.tag == "html" else "") + f"<{element.tag}{attributes}>{inside}</{element.tag}>"


def walk(element: Element, path: str = "/html") -> Iterator[tuple[str, Element]]:
    """Each element with its path, a tag numbered where it has sisters, in document order."""
    yield path, element
    total = Counter(child.tag for child in element.children)
    before: Counter[str] = Counter()
    for child in element.children:
        before[child.tag] += 1
        step = child.tag if total[child.tag] == 1 else f"{child.tag}[{before[child.tag]}]"
        yield from walk(child, f"{path}/{step}")


@dataclass
class _Drawing:
    """A page in the making: block below block, what is in a line side by side."""

    sheet: Sheet
    hand: Hand
    picture: np.ndarray
    boxes: dict[int, Box] = field(default_factory=dict)
    """By the identity of the element: its own text."""

    def block(self, element: Element, x: int, top: int, width: int) -> int:
        """Draw an element below row `top`; returns the row below it."""
        if element.tag == "img":
            self.boxes[id(element)] = self.sheet.paste(self.picture, x, top + 2)
            return top + PICTURE + 4
        if element.tag in ("nav", "tr", "li", "p", "dd", "footer") or (element.tag == "div" and _inline(element)):
            return self.line(element, x + (6 if element.tag in ("li", "dd") else 0), top, width)
        hand = self.hand
        if element.text:
            hand = Hand(hand.font, hand.px + 2) if element.tag in ("h1", "h2", "h3") else hand
            self.boxes[id(element)] = self.sheet.paragraph(element.text, x, top, width, hand)
            top += hand.line * len(wrapped(element.text, width, hand))
        for child in element.children:
            top = self.block(child, x, top, width)
        return top + (2 if element.tag in ("table", "ul", "dl", "section") else 0)

    def line(self, element: Element, x: int, top: int, width: int) -> int:
        """Draw an element's text, and its children beside each other."""
        if not element.children:
            self.boxes[id(element)] = self.sheet.paragraph(element.text, x, top, width, self.hand)
            return top + self.hand.line * len(wrapped(element.text, width, self.hand))
        if element.tag == "nav":
            rule = top + self.hand.line
            self.sheet.rectangle(Box(0, rule, self.sheet.image.shape[2], rule + 1), RULE)
        step = 80 if element.tag == "tr" else 0
        for child in element.children:
            x = max(self.run(child, x, top), (x + step) * bool(step))
        return top + self.hand.line + 2 * (element.tag == "nav")

    def run(self, element: Element, x: int, top: int) -> int:
        """Draw an element in a line; returns the column behind it."""
        if element.text:
            tone = TONES.get(element.look, BLACK)
            self.boxes[id(element)] = self.sheet.line(element.text, x, top + first(self.hand), self.hand, tone)
            x += extent(element.text, self.hand) + 2 * self.hand.space
        for child in element.children:
            x = self.run(child, x, top)
        return x


def _inline(element: Element) -> bool:
    """A div that holds nothing but text and spans."""
    return all(child.tag == "span" for child in element.children)


def _page(tree: Element, picture: np.ndarray, record: dict[str, str], number: int, style: Style) -> Page:
    sheet = blank(style.height, style.width)
    drawing = _Drawing(sheet, Hand(site(number, style).font, style.px), picture)
    drawing.block(tree.children[1], 4, 0, style.width - 8)
    found, boxes = [], {}
    for path, element in walk(tree):
        inside = [drawing.boxes[id(one)] for _, one in walk(element) if id(one) in drawing.boxes]
        if inside:
            boxes[path] = around(inside)
        if element.text:
            own = drawing.boxes.get(id(element), Box(0, 0, 0, 0))
            found.append(Node(element.tag, path, element.text, element.field, own))
    return Page(as_markup(tree), sheet.image, tuple(found), boxes, record, number)


def read(markup: str) -> list[tuple[str, str]]:
    """(path, text) of each visible node of written HTML; none where no browser would show anything."""
    try:
        return [(node.path, node.text) for node in nodes(markup, Limits())]
    except Refused:
        return []


def read_page(image: np.ndarray, number: int, style: Style = STYLE) -> list[str]:
    """The words of a drawn page of a known shop, row by row; its picture is not read."""
    hand = Hand(site(number, style).font, style.px)
    found = transcribe(image, (hand, Hand(hand.font, hand.px + 2)), (BLACK, *TONES.values()))
    return [one.text for one in found]


def reader_error(facts: Facts, style: Style = STYLE, seed: int = 0) -> float:
    """Share of the words of true renders that `read_page` misses or invents, whatever their order."""
    wrong = total = 0
    for page in pages(facts, style, seed):
        told = [word for node in page.nodes if node.tag != "title" for word in node.text.split()]
        wrong += differing(told, read_page(page.image, page.site, style))
        total += len(told)
    return wrong / max(1, total)
