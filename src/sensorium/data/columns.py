"""Columns that stay on disk: a batch reads its rows, nothing holds them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import xxhash
from tokenizers import Tokenizer
from torch import Tensor

from sensorium.core import Field, Ids, Value

from .cache import home, mapped, store_mapped
from .dataset import Dataset
from .store import Strings
from .tokenise import PAD, encode

IN_MEMORY = 1 << 13
"""Texts up to which their ids are simply held."""
AT_ONCE = 1 << 12
"""Texts encoded at a time: the tokeniser's own records are a hundred times the size of the ids."""


class Column(Protocol):
    """A value per row of a data set: `Ids`, `Tokens`, `Field`, or one that reads them when asked."""

    def __len__(self) -> int: ...

    def rows(self, index: Tensor) -> Value:
        """The rows `index` [I] int64."""
        ...

    def to(self, *args: Any, **kwargs: Any) -> Value:
        """Every row, through `Tensor.to`."""
        ...


@dataclass(frozen=True, eq=False)
class Gathered:
    """Distinct values [U ...], often memory-mapped, and which of them each row has [N] int64: rows that repeat a
    picture share it."""

    values: Tensor
    which: Tensor

    def __len__(self) -> int:
        return len(self.which)

    def rows(self, index: Tensor) -> Field:
        """Field [I ...]."""
        return Field(self.values[self.which[index]])

    def to(self, *args: Any, **kwargs: Any) -> Field:
        """Every row, through `Tensor.to`."""
        return self.rows(torch.arange(len(self))).to(*args, **kwargs)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Token ids int32 [N T], memory-mapped; `pad` is masked."""

    ids: Tensor
    pad: int

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Tensor) -> Ids:
        """Ids [I T]."""
        found = self.ids[index].long()
        return Ids(found, found != self.pad)

    def to(self, *args: Any, **kwargs: Any) -> Ids:
        """Every row, through `Tensor.to`."""
        return self.rows(torch.arange(len(self))).to(*args, **kwargs)


def pixel_column(data: Dataset, key: str, size: int) -> Gathered:
    """Pictures u8 [N 3 size size]."""
    return Gathered(torch.from_numpy(data.pixels(key, size)), torch.from_numpy(data.distinct(key)[1]))


def token_column(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> Ids | Encoded:
    """Texts -> ids [N length]; encoded once and memory-mapped where there are many."""
    if len(texts) <= IN_MEMORY:
        return encode(tokenizer, list(texts), length)
    content = texts.digest() if isinstance(texts, Strings) else xxhash.xxh3_128_hexdigest("\0".join(texts).encode())
    name = xxhash.xxh3_128_hexdigest((tokenizer.to_str() + content).encode())
    path = home() / "decoded" / f"{name}-{length}.ids.npy"
    shape = (len(texts), length)

    def fill(out: np.ndarray) -> None:
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
            out[start : start + len(some)] = encode(tokenizer, some, length).ids.numpy()

    found = mapped(path, shape, np.int32)
    found = found if found is not None else store_mapped(path, shape, np.int32, fill)
    return Encoded(torch.from_numpy(found), int(tokenizer.token_to_id(PAD) or 0))
