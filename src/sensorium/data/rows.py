"""Rows of prepared values: which rows, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from sensorium.core import Batch, Field, Fields, Ids, SensoriumError, Value

from .columns import Column


def _trimmed(value: Value) -> Value:
    """Ids without the last positions that are padding in every row of the batch: they change nothing and cost a lot."""
    if not isinstance(value, Ids):
        return value
    real = value.mask.any(0).nonzero()
    end = int(real.max()) + 1 if len(real) else 1
    return Ids(value.ids[:, :end], value.mask[:, :end])


class Rows:
    """Some rows of columns that hold the whole data set (in memory or memory-mapped, shared between selections).

    `index` [n] int64 names the rows, `groups` [N] int64 is the group of every row of the data set.
    """

    def __init__(self, columns: Mapping[str, Column], index: np.ndarray, fields: Fields, groups: np.ndarray) -> None:
        for key, value in columns.items():
            if len(value) != len(groups):
                raise SensoriumError(f"column {key!r} has {len(value)} rows; expected {len(groups)}")
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(groups):
            raise SensoriumError(f"row {int(index.max())} of {len(groups)}")
        self.columns = dict(columns)
        self.index = np.asarray(index, dtype=np.int64)
        self.fields = fields
        self.groups = np.asarray(groups, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.index)

    def batch(self, positions: np.ndarray) -> Batch:
        """Positions [B] within these rows -> their values, with "row" and "group" Fields [B] int64."""
        rows = self.index[positions]
        where = torch.from_numpy(rows)
        out: dict[str, Value] = {key: _trimmed(value.rows(where)) for key, value in self.columns.items()}
        return out | {"row": Field(where), "group": Field(torch.from_numpy(self.groups[rows]))}

    def select(self, index: np.ndarray) -> Rows:
        """The same columns at other rows: `index` counts rows of the data set, not of this selection."""
        return Rows(self.columns, index, self.fields, self.groups)

    def batches(self, size: int) -> Iterator[Batch]:
        """All rows in order; the last batch may be smaller."""
        for start in range(0, len(self), size):
            yield self.batch(np.arange(start, min(start + size, len(self))))

    def with_columns(self, more: Mapping[str, Column], fields: Fields | None = None) -> Rows:
        """These rows with columns added or replaced, and with `fields` for the new keys."""
        return Rows({**self.columns, **more}, self.index, {**self.fields, **(fields or {})}, self.groups)
