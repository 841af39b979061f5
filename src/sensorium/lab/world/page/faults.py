"""Pages that contradict themselves in one place: which elements do, and whether it takes the picture to see it.

The five kinds of MMIR (2502.16033) and the two elements of each: quantities, times, identities, facts, contexts, here
with places as a sixth. A page that is not broken is the true one.

Shape legend: N pages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sensorium.core import SensoriumError, derive, nearest

from ..facts import COLOURS, SHAPES, Facts, scenes
from ..lang import row_by_row
from ..lang.plan import draw
from ..operators import edit
from ..scene import render
from . import documents, forms, html
from .outline import edited, names, several


@dataclass(frozen=True, eq=False)
class Flawed:
    """A page and what is wrong with it."""

    page: forms.Form | html.Page | documents.Document
    kind: str
    broken: bool
    where: tuple[str, ...]
    """The elements that contradict each other: fields of a form, paths of a page, ids of a document; () where none do.

    The first is the one that was changed.
    """
    across: bool
    """One of them is a picture."""


def flawed(facts: Facts, kind: str, share: float = 0.5, seed: int = 0) -> list[Flawed]:
    """A page per scene, a share of them broken by one kind of FAULTS. Where a fault finds no place, a page stays true.

    total: not number x price. date: sent before it was ordered. name: a section's in the table is not its heading.
    fact: the product's colour is not that of its picture and text. figure: of a scene that its section is not on.
    place: a sentence puts an object where its figure does not.

    Raises:
        SensoriumError: a kind not in FAULTS, a share outside 0 to 1, a null world.
    """
    if kind not in FAULTS:
        raise SensoriumError(f"fault {kind!r}{nearest(kind, FAULTS)}")
    if not 0 <= share <= 1:
        raise SensoriumError(f"share {share}; expected 0 to 1")
    if facts.config.null:
        raise SensoriumError(f"null world {facts.config.null!r}; expected one whose pictures agree with their texts")
    return _FAULTS[kind](facts, draw(facts, 1, seed, "page", "fault", kind)[:, 0] < share, kind, seed)


def _form(facts: Facts, rows: np.ndarray, kind: str, seed: int) -> list[Flawed]:
    records = forms.records(facts, seed)
    luck = draw(facts, 1, seed, "page", "fault", "total")[:, 0].tolist()
    for i in np.flatnonzero(rows).tolist():
        true = records[i]
        if kind == "date":
            records[i] = true | {"ordered": true["sent"], "sent": true["ordered"]}
        else:
            away = 1 + int(luck[i] * 18)
            total = int(true["total"])
            records[i] = true | {"total": str(total + (away if away < 10 or total <= away else 9 - away))}
    where = ("sent", "ordered") if kind == "date" else ("total", "number", "price")
    made = forms.forms(facts, seed=seed, values=records)
    return [Flawed(page, kind, bad, where * bad, False) for page, bad in zip(made, rows.tolist(), strict=True)]


def _product(facts: Facts, rows: np.ndarray, kind: str, seed: int) -> list[Flawed]:
    records = html.records(facts, seed)
    other, fits = edited(facts, np.zeros(len(facts), np.int64), "colour", seed)
    rows = rows & fits
    for i in np.flatnonzero(rows).tolist():
        records[i] = records[i] | {"kind": f"{COLOURS[other.colour[i, 0]]} {SHAPES[other.shape[i, 0]]}"}
    out = []
    for page, bad in zip(html.pages(facts, seed=seed, values=records), rows.tolist(), strict=True):
        value = next(node.path for node in page.nodes if node.field == "kind")
        text = next(node.path for node in page.nodes if node.tag == "p")
        picture = next(path for path in page.boxes if path.endswith("/img"))
        out.append(Flawed(page, kind, bad, (value, picture, text) * bad, bad))
    return out


def _document(facts: Facts, rows: np.ndarray, kind: str, seed: int) -> list[Flawed]:
    style = documents.STYLE
    contents = documents.contents(facts, style, seed)
    chosen = np.floor(draw(facts, 1, seed, "page", "fault", "section")[:, 0] * style.sections).astype(np.int64)
    where: list[tuple[str, ...]] = [()] * len(facts)
    for k, world in enumerate(several(facts, style.sections, seed)):
        here = np.flatnonzero(rows & (chosen == k))
        if len(here):
            _BREAK[kind](contents, where, world.rows(here), here.tolist(), k, seed)
    made = [documents.lay_out(content, style) for content in contents]
    return [
        Flawed(page, kind, bool(found), found, bool(found) and kind != "name")
        for page, found in zip(made, where, strict=True)
    ]


Where = list[tuple[str, ...]]
_Break = Callable[[list[documents.Content], Where, Facts, list[int], int, int], None]
"""Changes the contents at some rows, whose section `k` is on the given scenes, and says where."""


def _break_name(
    contents: list[documents.Content], where: Where, world: Facts, rows: list[int], k: int, seed: int
) -> None:
    for i, (new, spare) in zip(rows, names(world, 2, seed, "fault"), strict=True):
        table = list(contents[i].table)
        known = {name for name, _ in table}
        table[k] = (spare if new in known else new, table[k][1])
        if table[k][0] not in known:
            contents[i] = replace(contents[i], table=tuple(table))
            where[i] = "t1", f"h{k + 1}"


def _break_figure(
    contents: list[documents.Content], where: Where, world: Facts, rows: list[int], k: int, seed: int
) -> None:
    other = scenes(derive(world.seed, seed, "fault"), world.index, world.config, world.part)
    pictures = render(other, documents.STYLE.picture)
    for at, i in enumerate(rows):
        told = [line for line, _ in contents[i].texts[k]]
        true = row_by_row(told, other.rows([at] * len(told))) if told else np.zeros(0, bool)
        if true.all():
            continue
        new = contents[i].pictures.copy()
        new[k] = pictures[at]
        contents[i] = replace(contents[i], pictures=new)
        lines = (f"s{k + 1}.{line + 1}" for line in np.flatnonzero(~true).tolist())
        where[i] = f"f{contents[i].order.index(k) + 1}", *lines


def _break_place(
    contents: list[documents.Content], where: Where, world: Facts, rows: list[int], k: int, seed: int
) -> None:
    for at, i in enumerate(rows):
        told = np.flatnonzero(contents[i].told[k])
        if not len(told) or world.n[at] == world.config.cells**2:
            continue
        slot = int(told[derive("fault", seed, int(world.index[at])) % len(told)])
        one = world.rows([at])
        (moved,) = documents.lines(edit(one, slot, "place", seed)[0], contents[i].told[k][None], documents.STYLE, seed)
        texts = list(contents[i].texts)
        (line,) = (j for j, (_, states) in enumerate(texts[k]) if (slot, "place") in states)
        if not row_by_row([moved[line][0]], one)[0]:
            texts[k] = (*texts[k][:line], moved[line], *texts[k][line + 1 :])
            contents[i] = replace(contents[i], texts=tuple(texts))
            where[i] = f"s{k + 1}.{line + 1}", f"f{contents[i].order.index(k) + 1}"


_BREAK: dict[str, _Break] = {"name": _break_name, "figure": _break_figure, "place": _break_place}
_FAULTS: dict[str, Callable[[Facts, np.ndarray, str, int], list[Flawed]]] = {
    "total": _form,
    "date": _form,
    "fact": _product,
    "name": _document,
    "figure": _document,
    "place": _document,
}
FAULTS = tuple(_FAULTS)
