"""Rows that belong together: equal picture, near-equal picture, equal text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def union(n: int, columns: Iterable[Sequence[object]]) -> np.ndarray:
    """Group id per row [n] int64, numbered by first row: rows that agree in any column are one; None never agrees."""
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for column in columns:
        first: dict[object, int] = {}
        for i, value in enumerate(column):
            if value is not None:
                a, b = root(first.setdefault(value, i)), root(i)
                parent[max(a, b)] = min(a, b)
    roots = np.array([root(i) for i in range(n)], dtype=np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64).reshape(-1)
