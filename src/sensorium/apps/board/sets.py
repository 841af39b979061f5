"""A data set: what was understood of it, its rows, what was set aside and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response

from sensorium.core import SensoriumError
from sensorium.data.codecs import NOUNS
from sensorium.data.dataset import Dataset
from sensorium.data.split import auto_mode, overlap, split

from .pages import named, render, served_by, whole

ROWS, MOST_ASIDE = 24, 100
"""Rows, and rows set aside, on one page."""
LONGEST = 400
"""Characters of a text that a page shows."""


@dataclass(frozen=True)
class Key:
    """A key of the data: where it came from and what its values are."""

    name: str
    kind: str
    source: str
    values: str


@dataclass(frozen=True)
class Cell:
    """A value of a row in words."""

    key: str
    about: str
    text: str


def data(request: Request) -> Response:
    """What was understood, samples, what was set aside."""
    name = request.path_params["name"]
    found = named("data set", name, served_by(request).data)
    pages = -(-len(found) // ROWS)
    at = whole(request, "page", 1, 1, pages)
    rows = range((at - 1) * ROWS, min(at * ROWS, len(found)))
    reasons = Counter(f"{bad.key or 'row'}: {gist(bad.reason)}" for bad in found.quarantine)
    return render(
        request,
        "data.html",
        name=name,
        data=found,
        groups=len(set(found.groups.tolist())),
        splits=splits(found),
        keys=keys(found),
        samples=[(row, found.ids[row], found.given[row], cells(found, row)) for row in rows],
        pictures=found.kinds.get("image") == "image",
        at=at,
        pages=pages,
        reasons=reasons.most_common(30),
        aside=found.quarantine[:MOST_ASIDE],
        more=max(0, len(found.quarantine) - MOST_ASIDE),
    )


@lru_cache(maxsize=32)
def splits(data: Dataset) -> Sequence[str]:
    """How a race would split the rows, and whether given splits overlap; each a sentence."""
    mode, why = auto_mode(data)
    try:
        parts = split(data, 0, mode)
        shared = overlap(data, split(data, 0, "given"))
    except SensoriumError as problem:
        return [f"cannot be split: {problem}"]
    sizes = f"{len(parts.train):,} train, {len(parts.validation):,} validation, {len(parts.test):,} test"
    return [f"a race would use {mode} splits ({why}): {sizes}", *([shared] if shared else [])]


@lru_cache(maxsize=32)
def keys(data: Dataset) -> Sequence[Key]:
    """Every key with a summary of its values."""
    return [Key(key, c.kind, c.source, _summary(data, key)) for key, c in data.columns.items() if key in data.kinds]


def _summary(data: Dataset, key: str) -> str:
    """What the values of a key are, over all rows."""
    kind = data.kinds[key]
    different = f"{len(set(data.content(key).tolist())):,} different"
    if kind == "label":
        common = Counter(t for t in data.texts(key) if t).most_common(3)
        return f"{different}; " + ", ".join(f"{text} {n:,}" for text, n in common)
    if kind == "text":
        lengths = sorted(len(t) for t in data.texts(key) if t)
        spread = f"{lengths[0]} to {lengths[-1]} characters, median {lengths[len(lengths) // 2]}" if lengths else "none"
        return f"{len(lengths):,} texts, {different}; {spread}"
    common = [(what, n) for what, n in Counter(data.abouts(key)).most_common(3) if what]
    return "; ".join([different, *(f"{n:,} × {what}" for what, n in common)])


def cells(data: Dataset, row: int) -> list[Cell]:
    """Every value of a row but its picture, which is shown."""
    found = []
    for key, kind in data.kinds.items():
        text = "" if kind in NOUNS else data.texts(key)[row]
        short = text[:LONGEST] + ("…" if len(text) > LONGEST else "")
        found.append(Cell(key, data.about(key, row), short))
    return found


def gist(reason: str) -> str:
    """A reason without the name and the numbers of the one value it was given for."""
    return re.sub(r"\b[0-9]+\b", "N", reason.rpartition(": ")[2])


PAGES = {"/data/{name:path}": data}
