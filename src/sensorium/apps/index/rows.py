"""Rows of a data set as an index stores them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from PIL import Image

from sensorium.data.columns import Column
from sensorium.data.dataset import Dataset
from sensorium.run.runs import Model

from .columns import values
from .record import Record
from .vectors import embedded, to_arrow

THUMB = 144
"""Longest side of a stored picture in pixels."""


def hashes(data: Dataset) -> list[str]:
    """Per row, a hash of its name and of the content of all its keys."""
    keys = sorted(data.columns)
    content = np.ascontiguousarray(np.stack([data.content(key) for key in keys], 1))
    head = "\0".join(keys).encode()
    return [
        xxhash.xxh3_128_hexdigest(head + b"\0\0" + id.encode() + b"\0" + row.tobytes())
        for id, row in zip(data.ids, content, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class Incoming:
    """A data set on its way in: its pictures as the run reads them, and per row the id and hash it gets."""

    model: Model
    data: Dataset
    column: Mapping[str, Column]
    source: int
    ids: Sequence[str]
    hashes: Sequence[str]

    def stored(self, some: Sequence[int], record: Record, first: int) -> dict[str, Any]:
        """Rows `some` as columns of the table, numbered from `first`."""
        ids = [self.ids[k] for k in some]
        tokens = embedded(self.model, self.column, some, ids)
        content = self.data.content("image").view(np.int64)
        return {
            "id": ids,
            "__order": range(first, first + len(some)),
            "__hash": [self.hashes[k] for k in some],
            "__source": [self.source] * len(some),
            **values(self.data, record.columns, some),
            "__image": content[np.array(some)],
            "__path": [_file(self.data, k) for k in some],
            "__thumb": [jpeg(self.data.image("image", k), THUMB) for k in some],
            "__count": tokens.mask.sum(1).int().numpy(),
            "__vector": to_arrow(tokens, bool(record.writer["many"])),
        }


def _file(data: Dataset, row: int) -> str:
    """The file of a row's picture, where its name says which; "" where it lies in an archive."""
    path = data.path / data.ids[row]
    return str(path.resolve()) if path.is_file() else ""


def jpeg(picture: Image.Image, side: int) -> bytes:
    """A picture of at most `side` pixels a side."""
    picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()
