"""Forms: an order with keys and values, laid out by one of many templates, some of which only the part `test` shows.

Names, numbers and dates each come twice, so that a value's text does not tell its key: where it stands does. Laid out
`beside`, in one column, a key is read just before its value and layout adds nothing (`INFORMATIVE`, the null world).

Shape legend: N forms, W words of a form, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

from ..facts import COLOURS, SHAPES, Facts
from ..lang.plan import draw
from .fonts import Hand
from .outline import names
from .reading import transcribe
from .typeset import Box, Placed, Sheet, blank, extent, first

KEYS = {
    "from": ("from", "sender", "seller"),
    "to": ("to", "receiver", "buyer"),
    "ordered": ("ordered", "order date", "placed"),
    "sent": ("sent", "ship date", "shipped"),
    "item": ("item", "article", "goods"),
    "number": ("number", "quantity", "pieces"),
    "price": ("price", "each", "per piece"),
    "total": ("total", "sum", "to pay"),
}
"""Fields and the words of their keys."""
FIELDS = tuple(KEYS)
ARRANGEMENTS = ("beside", "above", "table")
"""Keys before their values in one column; over them in two; the same with a rule between."""
HEADERS = ("order", "delivery note", "receipt", "packing slip")
OTHERS = ("thank you", "page one of one", "please keep", "no returns")
ENTITIES = ("header", "key", "value", "other")
TAGS = ("O", *(f"{mark}-{kind}" for kind in ENTITIES[:3] for mark in "BI"))
"""The word labels of form understanding (FUNSD, 1905.13538): header, question (key), answer (value), other."""


@dataclass(frozen=True)
class Style:
    """How forms are laid out."""

    templates: int = 16
    """Templates of all parts but `test`."""
    unseen: int = 8
    """Further templates, which `test` alone shows; 0 shows it the others."""
    arrangements: tuple[str, ...] = ARRANGEMENTS
    synonyms: bool = True
    """A template has its own words for keys."""
    fonts: tuple[str, ...] = ("sans", "serif")
    px: int = 6
    height: int = 160
    width: int = 192

    def __post_init__(self) -> None:
        for name in self.arrangements:
            if name not in ARRANGEMENTS:
                raise SensoriumError(f"arrangement {name!r}{nearest(name, ARRANGEMENTS)}")
        for name in self.fonts:
            Hand(name, self.px)
        if not self.arrangements or not self.fonts:
            raise SensoriumError("no arrangement or no font; expected one or more of each")
        if self.templates < 1 or self.unseen < 0:
            raise SensoriumError(f"{self.templates} templates, {self.unseen} unseen; expected 1 or more, and 0 or more")


STYLE = Style()
RULE = (224, 224, 224)
"""The colour of rules: too light for the reader to take it for ink."""
INFORMATIVE = replace(STYLE, arrangements=("beside",), synonyms=False)


@dataclass(frozen=True)
class Template:
    """One layout: everything about a form but its values."""

    arrangement: str
    order: tuple[str, ...]
    words: tuple[str, ...]
    """The key of each of FIELDS."""
    header: str
    other: str
    font: str
    colon: bool
    margin: int
    centred: bool


class Entity(NamedTuple):
    """Words that belong together: a header, a key, a value or something else."""

    kind: str
    field: str
    """One of FIELDS for keys and values, "" otherwise."""
    words: tuple[int, ...]
    box: Box


@dataclass(frozen=True, eq=False)
class Form:
    """A form and all that is known about it; words are in reading order, row by row, and no row is cut."""

    image: np.ndarray
    """uint8 [3 H W]."""
    words: tuple[Placed, ...]
    entities: tuple[Entity, ...]
    links: tuple[tuple[int, int], ...]
    """(key, value) as positions in `entities`."""
    record: dict[str, str]
    template: int

    @property
    def tags(self) -> list[str]:
        """One of TAGS per word."""
        out = ["O"] * len(self.words)
        for entity in self.entities:
            if entity.kind != "other":
                for at, word in enumerate(entity.words):
                    out[word] = ("I-" if at else "B-") + entity.kind
        return out


def records(facts: Facts, seed: int = 0) -> list[dict[str, str]]:
    """The values of each scene's order: its item is the scene's first object; the rest no picture shows.

    Two different names; the date of sending is later than that of ordering; total = number x price.
    """
    luck = draw(facts, 4, seed, "page", "form").tolist()
    who = names(facts, 2, seed, "form")
    colour, shape = facts.colour[:, 0].tolist(), facts.shape[:, 0].tolist()
    out = []
    for (seller, buyer), (day, wait, many, price), c, s in zip(who, luck, colour, shape, strict=True):
        ordered, number, each = 1 + int(day * 19), 2 + int(many * 11), 2 + int(price * 11)
        dates = f"{ordered} may", f"{ordered + 1 + int(wait * 8)} may"
        values = (seller, buyer, *dates, _item(c, s), number, each, number * each)
        out.append(dict(zip(FIELDS, map(str, values), strict=True)))
    return out


def _item(colour: int, shape: int) -> str:
    return f"{COLOURS[colour]} {SHAPES[shape]}" if shape >= 0 else "nothing"


@lru_cache(1 << 10)
def template(number: int, style: Style = STYLE) -> Template:
    """The layout of a number; no two numbers below `templates + unseen` have the same."""
    return _all(style)[number]


@lru_cache
def _all(style: Style) -> tuple[Template, ...]:
    out: list[Template] = []
    attempt = 0
    while len(out) < style.templates + style.unseen:
        made = _drawn(derive("form template", attempt), style)
        if made not in out:
            out.append(made)
        attempt += 1
    return tuple(out)


def _drawn(number: int, style: Style) -> Template:
    random = np.random.Generator(np.random.Philox(number))
    arrangement = style.arrangements[int(random.integers(len(style.arrangements)))]
    return Template(
        arrangement=arrangement,
        order=tuple(random.permutation(FIELDS).tolist()),
        words=tuple(KEYS[name][int(random.integers(3)) if style.synonyms else 0] for name in FIELDS),
        header=HEADERS[int(random.integers(len(HEADERS)))],
        other=OTHERS[int(random.integers(len(OTHERS)))],
        font=style.fonts[int(random.integers(len(style.fonts)))],
        colon=bool(random.integers(2)),
        margin=int(random.integers(3, 9)),
        centred=bool(random.integers(2)),
    )


def chosen(facts: Facts, templates: int, unseen: int, seed: int, *purpose: object) -> list[int]:
    """The template of each scene: below `templates`, in the part `test` one of the `unseen` that follow these."""
    low, count = (templates, unseen) if facts.part == "test" and unseen else (0, templates)
    numbers = low + np.floor(draw(facts, 1, seed, "page", *purpose)[:, 0] * count)
    return [int(number) for number in numbers]


def forms(facts: Facts, style: Style = STYLE, seed: int = 0, values: list[dict[str, str]] | None = None) -> list[Form]:
    """A form per scene with the values of `records`, or others.

    Raises:
        SensoriumError: a page too small for a template, records without all of FIELDS or of another number.
    """
    values = records(facts, seed) if values is None else values
    if len(values) != len(facts) or any(set(row) != set(FIELDS) for row in values):
        raise SensoriumError(
            f"{len(values)} records for {len(facts)} scenes; expected one each, of {', '.join(FIELDS)}"
        )
    numbers = chosen(facts, style.templates, style.unseen, seed, "template")
    return [_form(row, number, style) for row, number in zip(values, numbers, strict=True)]


def _form(record: dict[str, str], number: int, style: Style) -> Form:
    look = template(number, style)
    hand = Hand(look.font, style.px)
    sheet = blank(style.height, style.width)
    pieces: list[tuple[str, str, int]] = []
    title = Hand(look.font, style.px + 2)
    left = (style.width - extent(look.header, title)) // 2 if look.centred else look.margin
    _say(sheet, pieces, "header", "", look.header, left, first(title) + look.margin, title)
    top = look.margin + title.line + first(hand)
    under = hand.line + 2 * (look.arrangement == "table")
    step = hand.line + hand.px // 2 + under * (look.arrangement != "beside")
    across = 1 if look.arrangement == "beside" else 2
    wide = (style.width - 2 * look.margin) // across
    for at, name in enumerate(look.order):
        x, y = look.margin + at % across * wide, top + at // across * step
        key = look.words[FIELDS.index(name)] + ":" * look.colon
        _say(sheet, pieces, "key", name, key, x, y, hand)
        x, y = (x + wide // 2, y) if across == 1 else (x, y + under)
        _say(sheet, pieces, "value", name, record[name], x, y, hand)
        if look.arrangement == "table":
            rule = y - under + hand.px // 2 + 2
            sheet.rectangle(Box(look.margin, rule, style.width - look.margin, rule + 1), RULE)
    bottom = top + -(-len(FIELDS) // across) * step
    _say(sheet, pieces, "other", "", look.other, look.margin, bottom, hand)
    return _finished(sheet, pieces, record, number)


def _say(
    sheet: Sheet, pieces: list[tuple[str, str, int]], kind: str, name: str, text: str, x: int, y: int, hand: Hand
) -> None:
    """Words on the page, and for each of them what it belongs to."""
    sheet.line(text, x, y, hand)
    pieces += [(kind, name, y)] * len(text.split())


def _finished(sheet: Sheet, pieces: list[tuple[str, str, int]], record: dict[str, str], number: int) -> Form:
    """Words in reading order: by baseline, then from the left."""
    order = sorted(range(len(pieces)), key=lambda at: (pieces[at][2], sheet.words[at].box.x0))
    place = {at: rank for rank, at in enumerate(order)}
    groups: dict[tuple[str, str], list[int]] = {}
    for at, (kind, name, _) in enumerate(pieces):
        groups.setdefault((kind, name), []).append(at)
    entities = []
    for (kind, name), members in groups.items():
        boxes = [sheet.words[at].box for at in members]
        x0, y0, x1, y1 = (side(ends) for side, ends in zip((min, min, max, max), zip(*boxes, strict=True), strict=True))
        entities.append(Entity(kind, name, tuple(place[at] for at in members), Box(x0, y0, x1, y1)))
    where = {(entity.kind, entity.field): at for at, entity in enumerate(entities)}
    links = tuple((where["key", name], where["value", name]) for name in FIELDS)
    return Form(sheet.image, tuple(sheet.words[at] for at in order), tuple(entities), links, record, number)


def as_text(record: dict[str, str]) -> str:
    """A record as the line that an extractor should write: "from: Baba; to: Bebu; …"."""
    return "; ".join(f"{name}: {record[name]}" for name in FIELDS)


def read(text: str) -> dict[str, str]:
    """`as_text` back to a record; fields that are not named are left out, unknown ones too, the first of two holds."""
    out: dict[str, str] = {}
    known = {word: name for name, words in KEYS.items() for word in words}
    for piece in text.replace("\n", ";").split(";"):
        key, colon, value = piece.partition(":")
        name = known.get(key.strip().casefold())
        if colon and name and value.strip():
            out.setdefault(name, " ".join(value.split()))
    return out


def read_form(image: np.ndarray, number: int, style: Style = STYLE) -> dict[str, str]:
    """A drawn form, of a known template, back to its record: exact on true renders but for `reader_error`."""
    look = template(number, style)
    hands = [Hand(look.font, style.px), Hand(look.font, style.px + 2)]
    found = transcribe(image, hands)
    guide = _form(dict.fromkeys(FIELDS, "x"), number, style)
    starts = {guide.entities[value].field: guide.entities[value].box for _, value in guide.links}
    keys = [entity.box for entity in guide.entities if entity.kind == "key"]
    out = {}
    for name, box in starts.items():
        rivals = [
            other.x0 for other in [*keys, *starts.values()] if other.x0 > box.x0 and abs(other.y1 - box.y1) < style.px
        ]
        end = min(rivals, default=style.width)
        line = [one for one in found if abs(_foot(one, hands[0]) - box.y1) <= 2 and box.x0 - 3 <= one.box.x0 < end - 1]
        out[name] = " ".join(one.text for one in sorted(line, key=lambda one: one.box.x0))
    return out


def _foot(word: Placed, hand: Hand) -> int:
    """The row of a word's baseline: its lowest ink, less what descends."""
    return word.box.y1 - (hand.below - 2 if set(word.text) & set("gjpqy,;Q") else 0)


def reader_error(facts: Facts, style: Style = STYLE, seed: int = 0) -> float:
    """Share of the fields of true renders that `read_form` gets wrong."""
    made = forms(facts, style, seed)
    wrong = [read_form(form.image, form.template, style)[name] != form.record[name] for form in made for name in FIELDS]
    return sum(wrong) / max(1, len(wrong))
