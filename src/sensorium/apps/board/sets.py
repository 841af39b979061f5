"""A data set: what was understood of it, its rows, what was set aside and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response

from sensorium.data.codecs import NOUNS
from sensorium.data.dataset import Dataset
from sensorium.data.describe import reasons, splits, summary

from .pages import named, render, served_by, whole

ROWS, MOST_ASIDE, MOST_REASONS = 24, 100, 30
"""Rows, rows set aside, and reasons, on one page."""
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
    at = whole(request.query_params, "page", 1, 1, pages)
    rows = range((at - 1) * ROWS, min(at * ROWS, len(found)))
    return render(
        request,
        "data.html",
        name=name,
        data=found,
        groups=len(set(found.groups.tolist())),
        splits=split_words(found),
        keys=keys(found),
        samples=[(row, found.ids[row], found.given[row], cells(found, row)) for row in rows],
        pictures=found.kinds.get("image") == "image",
        at=at,
        pages=pages,
        reasons=reasons(found)[:MOST_REASONS],
        aside=found.quarantine[:MOST_ASIDE],
        more=max(0, len(found.quarantine) - MOST_ASIDE),
    )


@lru_cache(maxsize=32)
def split_words(data: Dataset) -> Sequence[str]:
    """How a race would split the rows."""
    return splits(data)


@lru_cache(maxsize=32)
def keys(data: Dataset) -> Sequence[Key]:
    """Every key with a summary of its values."""
    return [Key(key, c.kind, c.source, summary(data, key)) for key, c in data.columns.items() if key in data.kinds]


def cells(data: Dataset, row: int) -> list[Cell]:
    """Every value of a row but its picture, which is shown."""
    found = []
    for key, kind in data.kinds.items():
        text = "" if kind in NOUNS else data.texts(key)[row]
        short = text[:LONGEST] + ("…" if len(text) > LONGEST else "")
        found.append(Cell(key, data.about(key, row), short))
    return found


PAGES = {"/data/{name:path}": data}
