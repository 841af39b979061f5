"""Charts and maps with the table that they show, drawn to the pixel, and questions with exact answers.

Shape legend: N charts, B categories of one, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sensorium.core import SensoriumError, nearest

from ..facts import COLOURS, Facts
from ..lang import Questions
from ..lang.plan import below, draw
from .fonts import Hand
from .outline import names
from .reading import read_within
from .typeset import BLACK, Box, Placed, Sheet, blank, extent, first
from .words import tone

KINDS = ("bar", "line", "pie", "map")
"""map: 16 regions, coloured by who owns them. Pie and map show shares: their values add up to WHOLE."""
QUESTIONS = ("value", "most", "least", "more", "difference", "sum")
MOST, WHOLE = 20, 16
"""The largest value of bars and lines; what the values of a pie or a map add up to."""
HEIGHT, WIDTH = 128, 192
_FOOT, _LEFT, _UNIT, _STEP, _BAR = 108, 24, 4, 32, 18
_CENTRE, _RADIUS, _TILE = (60, 60), 44, 22
_LEGEND = 124


@dataclass(frozen=True)
class Style:
    """How charts are drawn."""

    kinds: tuple[str, ...] = KINDS
    fewest: int = 3
    most: int = 5
    """Categories."""
    px: int = 6

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise SensoriumError(f"chart {kind!r}{nearest(kind, KINDS)}")
        if not self.kinds or not 2 <= self.fewest <= self.most <= 5:
            raise SensoriumError(
                f"{len(self.kinds)} kinds of charts with {self.fewest} to {self.most} categories; expected 1 or more, "
                "2 to 5"
            )
        Hand("sans", self.px)


STYLE = Style()


@dataclass(frozen=True, eq=False)
class Chart:
    """A chart and its table."""

    image: np.ndarray
    """uint8 [3 H W]."""
    kind: str
    names: tuple[str, ...]
    values: tuple[int, ...]
    colours: tuple[int, ...]
    """Index into COLOURS of each category."""
    boxes: tuple[Box, ...]
    """Of each bar, point, or colour in the legend."""
    words: tuple[Placed, ...]


def charts(facts: Facts, style: Style = STYLE, seed: int = 0) -> list[Chart]:
    """A chart per scene; categories are hidden individuals, so that nothing but the chart tells their values."""
    n = len(facts)
    kinds = below(facts, len(style.kinds), seed, "page", "chart")
    counts = style.fewest + below(facts, style.most - style.fewest + 1, seed, "page", "categories")
    who = names(facts, style.most, seed, "chart")
    tones = draw(facts, len(COLOURS), seed, "page", "tones").argsort(1)[:, : style.most]
    free = 1 + np.floor(draw(facts, style.most, seed, "page", "values") * MOST).astype(np.int64)
    shares = _shares(draw(facts, WHOLE - 1, seed, "page", "shares"), counts)
    places = draw(facts, WHOLE, seed, "page", "regions").argsort(1)
    out = []
    for i in range(n):
        kind, count = style.kinds[kinds[i]], int(counts[i])
        values = free[i, :count].tolist() if kind in ("bar", "line") else shares[i]
        out.append(_chart(kind, who[i][:count], values, tones[i, :count].tolist(), places[i], Hand("sans", style.px)))
    return out


def _shares(luck: np.ndarray, counts: np.ndarray) -> list[list[int]]:
    """[N WHOLE-1] -> numbers of 1 and more that add up to WHOLE, all such equally likely: cuts between WHOLE things."""
    out = []
    for row, count in zip(luck.argsort(1) + 1, counts.tolist(), strict=True):
        cuts = [0, *sorted(row[: count - 1].tolist()), WHOLE]
        out.append([b - a for a, b in pairwise(cuts)])
    return out


def _chart(kind: str, who: Sequence[str], values: list[int], tones: list[int], places: np.ndarray, hand: Hand) -> Chart:
    sheet = blank(HEIGHT, WIDTH)
    inks = [tone(COLOURS[at]) for at in tones]
    if kind in ("bar", "line"):
        boxes = _axes(sheet, kind, who, values, inks, hand)
    else:
        (_pie if kind == "pie" else _map)(sheet, values, inks, places)
        boxes = []
        for at, (name, ink) in enumerate(zip(who, inks, strict=True)):
            box = Box(_LEGEND, 12 + 18 * at, _LEGEND + 10, 22 + 18 * at)
            sheet.rectangle(box, ink)
            sheet.line(name, _LEGEND + 16, box.y1 - 2, hand)
            boxes.append(box)
    return Chart(sheet.image, kind, tuple(who), tuple(values), tuple(tones), tuple(boxes), tuple(sheet.words))


def _axes(
    sheet: Sheet, kind: str, who: Sequence[str], values: list[int], inks: list[tuple[int, int, int]], hand: Hand
) -> list[Box]:
    """Bars, or points joined by a line, four pixels a unit over their names."""
    sheet.rectangle(Box(_LEFT - 2, _FOOT, WIDTH - 4, _FOOT + 1), BLACK)
    for tick in range(0, MOST + 1, 5):
        sheet.line(str(tick), 2, _FOOT - tick * _UNIT + hand.px // 2, hand)
        sheet.rectangle(Box(_LEFT - 4, _FOOT - tick * _UNIT, _LEFT - 2, _FOOT - tick * _UNIT + 1), BLACK)
    middles = [_LEFT + 4 + _BAR // 2 + at * _STEP for at in range(len(who))]
    tops = [_FOOT - value * _UNIT for value in values]
    boxes = []
    if kind == "line":
        for a, b in pairwise(range(len(who))):
            columns = np.arange(middles[a], middles[b] + 1)
            rows = np.round(np.interp(columns, [middles[a], middles[b]], [tops[a], tops[b]])).astype(int)
            for x, y in zip(columns.tolist(), rows.tolist(), strict=True):
                sheet.image[:, y, x] = 128
    for name, x, top, ink in zip(who, middles, tops, inks, strict=True):
        half = _BAR // 2
        box = Box(x - half, top, x + half, _FOOT) if kind == "bar" else Box(x - 2, top - 2, x + 3, top + 3)
        sheet.rectangle(box, ink)
        boxes.append(box)
        sheet.line(name, x - extent(name, hand) // 2, _FOOT + 4 + first(hand), hand)
    return boxes


def _pie(sheet: Sheet, values: list[int], inks: list[tuple[int, int, int]], _: np.ndarray) -> None:
    """Sectors clockwise from the top."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    down, right = y + 0.5 - _CENTRE[0], x + 0.5 - _CENTRE[1]
    turn = np.arctan2(right, -down) % (2 * np.pi) / (2 * np.pi) * WHOLE
    ends = np.cumsum(values)
    which = np.minimum(np.searchsorted(ends, turn, side="right"), len(values) - 1)
    inside = np.hypot(down, right) < _RADIUS
    sheet.image[:, inside] = np.array(inks, np.uint8)[which[inside]].T


def _map(sheet: Sheet, values: list[int], inks: list[tuple[int, int, int]], places: np.ndarray) -> None:
    """Four by four regions, with a white border between them."""
    owners = np.repeat(np.arange(len(values)), values)
    for owner, place in zip(owners.tolist(), places.tolist(), strict=True):
        x, y = 16 + place % 4 * _TILE, 16 + place // 4 * _TILE
        sheet.rectangle(Box(x, y, x + _TILE - 2, y + _TILE - 2), inks[owner])


def ask(facts: Facts, made: Sequence[Chart], kinds: Sequence[str] = QUESTIONS, seed: int = 0) -> Questions:
    """One question of each kind per chart that allows it; `slot` is the category asked about, -1 for several.

    more: a coin decides the order. Answers to difference and sum are not evenly spread: give the blind score beside.

    Raises:
        SensoriumError: a kind that is not one of QUESTIONS.
    """
    for kind in kinds:
        if kind not in QUESTIONS:
            raise SensoriumError(f"chart question {kind!r}{nearest(kind, QUESTIONS)}")
    if len(made) != len(facts):
        raise SensoriumError(f"{len(made)} charts for {len(facts)} scenes; expected one each")
    luck = draw(facts, 3, seed, "page", "chart question").tolist()
    found = [
        (kind, i, asked)
        for kind in kinds
        for i, chart in enumerate(made)
        if (asked := _ASK[kind](chart, *_pair(luck[i], len(chart.names)), luck[i][2])) is not None
    ]
    return Questions(
        text=[asked[0] for _, _, asked in found],
        answer=[asked[1] for _, _, asked in found],
        kind=[kind for kind, _, _ in found],
        options=[asked[2] for _, _, asked in found],
        scene=np.array([i for _, i, _ in found], np.int64),
        slot=np.array([asked[3] for _, _, asked in found], np.int64),
    )


Asked = tuple[str, str, tuple[str, ...], int]
"""A text, its answer, the options, the category."""
_NUMBERS = tuple(str(n) for n in range(1, MOST + 1))


def _pair(luck: Sequence[float], count: int) -> tuple[int, int]:
    """Two different categories."""
    a = int(luck[0] * count)
    return a, (a + 1 + int(luck[1] * (count - 1))) % count


def _value(chart: Chart, a: int, b: int, coin: float) -> Asked | None:
    top = MOST if chart.kind in ("bar", "line") else WHOLE - len(chart.names) + 1
    return f"what is the value of {chart.names[a]}?", str(chart.values[a]), _NUMBERS[:top], a


def _extreme(word: str, pick: Callable[[Sequence[int]], int]) -> Callable[[Chart, int, int, float], Asked | None]:
    def asked(chart: Chart, a: int, b: int, coin: float) -> Asked | None:
        value = pick(chart.values)
        if chart.values.count(value) > 1:
            return None
        at = chart.values.index(value)
        return f"which has the {word}?", chart.names[at], chart.names, at

    return asked


def _more(chart: Chart, a: int, b: int, coin: float) -> Asked | None:
    if chart.values[a] == chart.values[b]:
        return None
    high, low = (a, b) if chart.values[a] > chart.values[b] else (b, a)
    one, other = (high, low) if coin < 0.5 else (low, high)
    text = f"does {chart.names[one]} have more than {chart.names[other]}?"
    return text, "yes" if one == high else "no", ("yes", "no"), -1


def _difference(chart: Chart, a: int, b: int, coin: float) -> Asked | None:
    text = f"by how much do {chart.names[a]} and {chart.names[b]} differ?"
    return text, str(abs(chart.values[a] - chart.values[b])), ("0", *_NUMBERS[:-1]), -1


def _sum(chart: Chart, a: int, b: int, coin: float) -> Asked | None:
    """Not of two that are all there is: a pie's whole is known."""
    if chart.kind in ("pie", "map") and len(chart.names) == 2:
        return None
    options = tuple(str(n) for n in range(2, 2 * MOST + 1))
    return (
        f"what do {chart.names[a]} and {chart.names[b]} have together?",
        str(chart.values[a] + chart.values[b]),
        options,
        -1,
    )


_ASK: dict[str, Callable[[Chart, int, int, float], Asked | None]] = {
    "value": _value,
    "most": _extreme("most", max),
    "least": _extreme("least", min),
    "more": _more,
    "difference": _difference,
    "sum": _sum,
}


def as_table(chart: Chart) -> str:
    """The table as text: a line "name | value" per category."""
    return "\n".join(f"{name} | {value}" for name, value in zip(chart.names, chart.values, strict=True))


def read_table(text: str) -> dict[str, float]:
    """`as_table`, or what a model wrote for it, back to numbers; lines that hold none are left out."""
    out: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.rpartition("|")
        try:
            out.setdefault(name.strip(" |"), float(value))
        except ValueError:
            continue
    return out


def read_chart(image: np.ndarray, kind: str, style: Style = STYLE) -> dict[str, int]:
    """uint8 [3 H W] of a known kind -> values by name: by the colours and their extent, never by the table.

    Raises:
        SensoriumError: a kind not in KINDS, a picture of another size.
    """
    if kind not in KINDS:
        raise SensoriumError(f"chart {kind!r}{nearest(kind, KINDS)}")
    if image.shape != (3, HEIGHT, WIDTH):
        raise SensoriumError(f"picture {list(image.shape)}; expected [3 {HEIGHT} {WIDTH}]")
    hand = Hand("sans", style.px)
    near = np.stack(
        [
            (np.abs(image.astype(np.int16) - np.array(tone(name), np.int16)[:, None, None]) < 20).all(0)
            for name in COLOURS
        ]
    )
    out: dict[str, int] = {}
    for at in range(style.most):
        if kind in ("bar", "line"):
            x = _LEFT + 4 + _BAR // 2 + at * _STEP
            found = near[:, :_FOOT, x - 2 : x + 3]
            label = Box(x - _STEP // 2 + 1, _FOOT + 2, x + _STEP // 2 - 1, HEIGHT)
        else:
            found = near[:, 12 + 18 * at : 22 + 18 * at, _LEGEND : _LEGEND + 10]
            label = Box(_LEGEND + 14, 8 + 18 * at, WIDTH, 26 + 18 * at)
        colour = int(found.sum((1, 2)).argmax())
        if not found[colour].sum() or not (name := read_within(image, label, hand, 215)):
            continue
        rows = np.flatnonzero(np.asarray(found[colour]).all(1))
        if kind in ("bar", "line"):
            out[name] = round((_FOOT - float(rows[0] + (2 if kind == "line" else 0))) / _UNIT) if len(rows) else 0
        else:
            area = near[colour, :, : _LEGEND - 4].sum()
            out[name] = round(WHOLE * area / (np.pi * _RADIUS**2)) if kind == "pie" else round(area / (_TILE - 2) ** 2)
    return out


def reader_error(facts: Facts, style: Style = STYLE, seed: int = 0) -> float:
    """Share of the values of true renders that `read_chart` gets wrong, or misses by misreading the name."""
    wrong = total = 0
    for chart in charts(facts, style, seed):
        found = read_chart(chart.image, chart.kind, style)
        wrong += sum(found.get(name) != value for name, value in zip(chart.names, chart.values, strict=True))
        total += len(chart.names)
    return wrong / max(1, total)
