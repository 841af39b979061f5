"""Rows that belong together: equal content, near-equal picture, equal text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def union(n: int, columns: Iterable[NDArray[np.uint64]]) -> NDArray[np.int64]:
    """Group id per row [n], numbered by first row: rows that agree in any column [n] are one; 0 never agrees."""
    left: list[NDArray[np.int64]] = []
    right: list[NDArray[np.int64]] = []
    for column in columns:
        rows = np.flatnonzero(column)
        _, first, back = np.unique(column[rows], return_index=True, return_inverse=True)
        heads = rows[first][back.reshape(-1)]
        more = heads != rows
        left.append(heads[more])
        right.append(rows[more])
    if not left or not sum(map(len, left)):
        return np.arange(n, dtype=np.int64)
    edges = np.concatenate(left), np.concatenate(right)
    found = connected_components(coo_array((np.ones(len(edges[0]), np.int8), edges), shape=(n, n)), directed=False)[1]
    _, first, back = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[back.reshape(-1)]
