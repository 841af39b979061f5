"""The approximate index of a large collection: built, tuned on stored queries, its recall measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from sensorium.core import Tokens
from sensorium.data.cache import write_atomic
from sensorium.data.dataset import Dataset
from sensorium.run.runs import Model

from .table import Table, among
from .vectors import Vectors, compared

QUERIES = 100
FILE = "queries.safetensors"
TOP = 10
GOOD = 0.95
"""Recall@10 at which no more partitions are looked into."""
LEAST = 8
CANDIDATES = 10
"""Rows taken from the index per row asked for; they are scored exactly."""


def indexed(folder: Path, table: Table, similarity: str, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Index all vectors, or bring new ones into the index there is, and find how many partitions a search has to look
    into: doubled until recall@10 on the stored queries is `GOOD`. What record.near holds."""
    rows = table.count()
    state = dict(before or {})
    if not state or not 0.5 <= rows / state["rows"] <= 2:
        state = {"rows": rows, "partitions": max(1, round(sqrt(rows)))}
        table.index_vectors(state["partitions"])
    asked = stored(folder)
    right, probes = exact(table, asked, similarity), LEAST
    while (recall := measured(table, asked, right, similarity, probes)) < GOOD and probes < state["partitions"]:
        probes *= 2
    return state | {
        "probes": min(probes, state["partitions"]),
        "recall@10": round(recall, 4),
        "queries": len(asked),
    }


def measured(
    table: Table, asked: Sequence[Tokens], right: Sequence[Sequence[int]], similarity: str, probes: int
) -> float:
    """Mean share of the exact answer that is found."""
    found = [candidates(table, [q], similarity, "", TOP, probes)[0][:TOP] for q in asked]
    return float(np.mean([len(set(a) & set(b)) / max(1, len(a)) for a, b in zip(right, found, strict=True)]))


def candidates(
    table: Table, queries: Sequence[Tokens], similarity: str, where: str, top: int, probes: int
) -> tuple[list[int], list[float]]:
    """Numbers and exact scores, best first, of the rows that the index finds for any of the queries."""
    asked = [_sum(queries)] if similarity == "cosine" else list(queries)
    depth = max(QUERIES, CANDIDATES * top)
    numbers = np.unique(np.concatenate([table.near(q, where, depth, probes) for q in asked]))
    if not len(numbers):
        return [], []
    rows = table.vectors(among(numbers.tolist()))
    return best(rows, queries, similarity, max(top, QUERIES))


def best(
    rows: Vectors, queries: Sequence[Tokens], similarity: str, top: int, only: NDArray[np.bool_] | None = None
) -> tuple[list[int], list[float]]:
    """Numbers and scores, best first, of rows (or `only` of some of them); the scores of several queries add up."""
    scores = torch.stack([compared(q, rows.tokens, similarity)[0] for q in queries]).sum(0)
    at = np.arange(len(rows)) if only is None else np.flatnonzero(only)
    order = at[np.argsort(-scores.numpy()[at], kind="stable")][:top]
    return [int(n) for n in rows.order[order]], [float(s) for s in scores.numpy()[order]]


def exact(table: Table, asked: Sequence[Tokens], similarity: str) -> list[list[int]]:
    """The numbers of the best `TOP` rows of each query, by looking at all of them once."""
    found: list[list[tuple[float, int]]] = [[] for _ in asked]
    for part in table.parts():
        for k, query in enumerate(asked):
            numbers, scores = best(part, [query], similarity, TOP)
            more = [(-score, number) for number, score in zip(numbers, scores, strict=True)]
            found[k] = sorted(found[k] + more)[:TOP]
    return [[number for _, number in rows] for rows in found]


def draw(folder: Path, table: Table, model: Model | None, data: Dataset | None) -> None:
    """Store queries to measure recall on: texts of the data where the run reads text, else pictures of the index."""
    if (folder / FILE).is_file():
        return
    if model and data and "text" in getattr(model.method, "spaces", {}) and "text" in data.kinds:
        rows = np.linspace(0, len(data) - 1, min(QUERIES, len(data))).astype(int)
        found = model.embed(model.read("text", [data.texts("text")[int(i)] for i in rows]))
    else:
        found = table.vectors(among(table.sample(QUERIES))).tokens
    write_atomic(folder / FILE, save({"x": found.x.contiguous(), "mask": found.mask.contiguous()}))


def stored(folder: Path) -> list[Tokens]:
    """The stored queries, one row each."""
    found = load((folder / FILE).read_bytes())
    return [Tokens(found["x"][k : k + 1], found["mask"][k : k + 1]) for k in range(len(found["x"]))]


def _sum(queries: Sequence[Tokens]) -> Tokens:
    """Single vectors added up: their scores add up to its scores."""
    return Tokens(torch.stack([q.x for q in queries]).sum(0), queries[0].mask)
