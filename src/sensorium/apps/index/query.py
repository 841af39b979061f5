"""How an index answers: dense scores, exact or from the approximate index, fused with BM25, rescored by another run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from sensorium.apps.search import must_rank, text_key
from sensorium.core import SensoriumError, Tokens
from sensorium.run.runs import Model

from .near import best, candidates
from .record import Record
from .table import Table
from .vectors import queries

DEPTH = 100
"""Rows that fusing and rescoring look at, at least."""
FLAT = 60
"""Of reciprocal-rank fusion (Cormack, Clarke and Buettcher, 2009): how little the first ranks count above the next."""

Pictures = Callable[[Sequence[Mapping[str, Any]]], list[Image.Image]]
"""Rows of an index -> their pictures."""
Ranked = tuple[list[int], list[float]]
"""Numbers of rows and their scores, best first."""


@dataclass(frozen=True)
class Found:
    """One found row: `path` is the file of its picture, "" where it lies in an archive; `values` are its filter
    columns; `seen` is train, validation or test of the run, "" where the run has never had the picture."""

    id: str
    score: float
    text: str
    path: str
    values: Mapping[str, Any]
    seen: str = ""


@dataclass(frozen=True, eq=False)
class Question:
    """Words, a picture or both, and how to answer."""

    text: str | None = None
    image: Image.Image | None = None
    language: str = ""
    where: str = ""
    hybrid: bool = False
    top: int = 10


def answered(
    table: Table,
    record: Record,
    model: Model,
    asked: Question,
    rerank: Model | None,
    pictures: Pictures,
    seen: Mapping[int, str],
) -> list[Found]:
    """The best rows of an index."""
    _refuse(asked, record)
    similarity = str(record.writer["similarity"])
    vectors = queries(model, asked.text, asked.image, asked.language)
    found = dense(table, record, vectors, similarity, asked.where, max(asked.top, DEPTH))
    if asked.hybrid and asked.text:
        words = table.words(record.text, asked.text, asked.where, max(asked.top, DEPTH))
        found = fused([found[0], words.tolist()])
    if rerank is not None:
        found = rescored(table, rerank, asked, found[0][:DEPTH], pictures)
    numbers, scores = found[0][: asked.top], found[1][: asked.top]
    score = dict(zip(numbers, scores, strict=True))
    return [
        Found(
            row["id"],
            round(score[row["__order"]], 6),
            str(row.get(record.text) or row["id"]),
            row["__path"],
            {c.name: row[c.name] for c in record.columns},
            seen.get(row["__image"], ""),
        )
        for row in table.details(numbers)
    ]


def _refuse(asked: Question, record: Record) -> None:
    if asked.top < 1:
        raise SensoriumError(f"--top {asked.top}; expected at least 1")
    if not (asked.text or asked.image):
        raise SensoriumError("nothing to search with: give words, a picture, or both")
    if asked.language and not asked.text:
        raise SensoriumError(f"language {asked.language!r} is of words, and there are none")
    if asked.hybrid and not asked.text:
        raise SensoriumError("hybrid search compares words too; give some, or search without it")
    if asked.hybrid and not record.text:
        raise SensoriumError("hybrid search compares words too, and the rows of this index have no text")


def dense(table: Table, record: Record, vectors: Sequence[Tokens], similarity: str, where: str, top: int) -> Ranked:
    """The best rows by their vectors: all looked at, but in a large collection without a narrow filter."""
    if record.near and not (where and table.count(where) < record.exact_below):
        return candidates(table, vectors, similarity, where, top, int(record.near["probes"]))
    if record.near:
        return best(table.vectors(where), vectors, similarity, top)
    rows = table.vectors()
    only = np.isin(rows.order, table.numbers(where)) if where else None
    return best(rows, vectors, similarity, top, only)


def fused(lists: Sequence[Sequence[int]]) -> Ranked:
    """Reciprocal-rank fusion: each list gives 1 / (60 + rank); ties go to the first list's order."""
    scores: dict[int, float] = {}
    for ranked in lists:
        for rank, number in enumerate(ranked, start=1):
            scores[number] = scores.get(number, 0.0) + 1 / (FLAT + rank)
    order = sorted(scores, key=lambda number: -scores[number])
    return order, [scores[number] for number in order]


def rescored(table: Table, model: Model, asked: Question, numbers: Sequence[int], pictures: Pictures) -> Ranked:
    """Rows in the order of another run's own scores."""
    must_rank(model)
    rows = table.details(numbers)
    if not rows:
        return [], []
    items = model.read("image", pictures(rows))
    scores = np.zeros(len(rows))
    if asked.text:
        key = text_key(model, asked.language)
        scores += model.rank(model.read(key, [asked.text]), items)[0].double().numpy()
    if asked.image is not None:
        scores += model.rank(model.read("image", [asked.image]), items)[0].double().numpy()
    order = np.argsort(-scores, kind="stable")
    return [int(rows[k]["__order"]) for k in order], [float(scores[k]) for k in order]
