"""Vectors of rows: embedded by the run, stored as they are, compared as the run's own `rank` compares.

Shape legend: N rows, T tokens of a row, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sensorium.apps.search import must_rank, text_key
from sensorium.blocks.similarity import late
from sensorium.core import SensoriumError, Tokens
from sensorium.data.columns import Column
from sensorium.data.dataset import Dataset
from sensorium.run.runs import Model

from .record import space_of

TRIED = 8
"""Rows on which vectors are checked against the run's own scores."""
CLOSE = 1e-4


@dataclass(frozen=True, eq=False)
class Vectors:
    """Rows by their number in the index [N] int64, ascending, with their vectors [N T D]."""

    order: NDArray[np.int64]
    tokens: Tokens

    def __len__(self) -> int:
        return len(self.order)


def compared(queries: Tokens, items: Tokens, similarity: str) -> Tensor:
    """[Q S D], [N T D] -> scores [Q N]: cosine of single vectors, or late interaction from the queries' side."""
    if similarity == "late":
        return late(queries, items)[0]
    return queries.x[:, 0].float() @ items.x[:, 0].float().T


def faithful(model: Model, data: Dataset, column: Mapping[str, Column]) -> bool:
    """One clear line where comparing a run's vectors does not give its own scores, on a few rows and their texts; else
    whether they are of length 1."""
    space = space_of(model, "image")
    must_rank(model)
    rows = {"image": column["image"].rows(torch.arange(min(TRIED, len(data))))}
    asked: list[Mapping[str, Column]] = [rows]
    if "text" in getattr(model.method, "spaces", {}) and "text" in data.kinds:
        asked.append(model.read("text", data.texts("text")[:TRIED]))
    items = model.embed(rows)
    for queries in asked:
        mine, own = compared(model.embed(queries), items, space.similarity), model.rank(queries, rows).float()
        if not torch.allclose(mine, own, atol=CLOSE):
            raise SensoriumError(
                f"{model.path} ({model.paper}) scores pairs in a way that stored vectors do not give; "
                "search the data set with the run itself"
            )
    lengths = torch.linalg.vector_norm(items.x.float(), dim=-1)[items.mask]
    return torch.allclose(lengths, torch.ones_like(lengths), atol=CLOSE)


def embedded(model: Model, column: Mapping[str, Column], rows: Sequence[int], names: Sequence[str]) -> Tokens:
    """Rows of a column -> their vectors; one line that names a row without a finite vector longer than 0."""
    tokens = model.embed({"image": column["image"].rows(torch.tensor(rows))})
    length = torch.linalg.vector_norm(tokens.x.float(), dim=-1)
    good = (torch.isfinite(length) & (length > 0)) | ~tokens.mask
    bad = ~(good.all(1) & tokens.mask.any(1))
    if bad.any():
        name = names[int(bad.nonzero()[0])]
        raise SensoriumError(f"{model.path} gives a zero or not-a-number vector for {name!r}; the add stops there")
    return tokens


def arrow_type(dim: int, many: bool) -> pa.DataType:
    """The type of the column of vectors: one per row, or a list of them."""
    one = pa.list_(pa.float32(), dim)
    return pa.list_(one) if many else one


def to_arrow(tokens: Tokens, many: bool) -> pa.Array:
    """Vectors as a column; padding is left out."""
    dim = tokens.x.shape[2]
    real = tokens.x[tokens.mask].float().contiguous().numpy().reshape(-1)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(real, pa.float32()), dim)
    if not many:
        return flat
    ends = np.cumsum([0, *tokens.mask.sum(1).tolist()], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), flat)


def from_arrow(table: pa.Table, dim: int, many: bool, order: str, vector: str) -> Vectors:
    """Columns of a table -> vectors in the order of their numbers."""
    number = table[order].to_numpy().astype(np.int64)
    column = table[vector].combine_chunks()
    counts = np.diff(column.offsets.to_numpy()) if many else np.ones(len(number), np.int64)
    flat = (column.flatten() if many else column).flatten()
    x = torch.from_numpy(flat.to_numpy(zero_copy_only=False).reshape(-1, dim).copy())
    mask = torch.arange(int(counts.max(initial=1))) < torch.from_numpy(counts.astype(np.int64))[:, None]
    padded = torch.zeros(*mask.shape, dim)
    padded[mask] = x
    place = np.argsort(number)
    at = torch.from_numpy(place)
    return Vectors(number[place], Tokens(padded[at], mask[at]))


def queries(model: Model, text: str | None, image: Image.Image | None, language: str) -> list[Tokens]:
    """Words, a picture or both -> Tokens of one row each."""
    found = []
    if text:
        found.append(model.embed(model.read(text_key(model, language), [text])))
    if image is not None:
        found.append(model.embed(model.read("image", [image])))
    return found


def blocks(total: int, size: int) -> Iterator[range]:
    """Numbers below `total` in blocks."""
    for start in range(0, total, size):
        yield range(start, min(start + size, total))
