"""What flows between the floors: ids, tokens, fields, batches.

Shape legend: B batch, T positions, D width, P position width, H W pixels, N samples of a wave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


class _Record:
    """Frozen tensors with one leading batch axis; moves, counts and selects rows."""

    def _map(self, f: Any) -> Self:
        return type(self)(**{k.name: None if (v := getattr(self, k.name)) is None else f(v) for k in fields(self)})  # type: ignore[arg-type]

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Every tensor through `Tensor.to`; a dtype is for floats, not for ids and masks."""
        device, dtype, non_blocking, _ = torch._C._nn._parse_to(*args, **kwargs)
        return self._map(lambda t: t.to(device, dtype if t.is_floating_point() else None, non_blocking))

    def rows(self, index: Tensor) -> Self:
        """The rows `index` [I] int64 or a boolean mask [B]."""
        return self._map(lambda t: t[index])

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Ids(_Record):
    """Token ids [B T] int64 and their mask [B T] bool, True where real."""

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True, eq=False)
class Tokens(_Record):
    """Float vectors [B T D] that blocks pass to each other; no summary token.

    `mask` [B T] is True where real; `pos` [B T P] holds an index, (row, col), a box or seconds, None counts the real
    ones; `kind` [B T] says which part of an interleaved sequence a vector belongs to.
    """

    x: Tensor
    mask: Tensor
    pos: Tensor | None = None
    kind: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Field(_Record):
    """A raw value per row: images u8 [B 3 H W], labels [B], boxes [B K 4]; `mask` is True where present."""

    data: Tensor
    mask: Tensor | None = None


for _kind in (Ids, Tokens, Field):
    pytree.register_dataclass(_kind)

Value = Ids | Tokens | Field
Batch = Mapping[str, Value]
"""Keys are `role[.variant][/purpose]`: "text.fr", "text/negative"; always "row" and "group". A key whose frozen
part was computed beforehand holds `Tokens` in place of the raw value."""
Terms = Mapping[str, Tensor]
"""Named scalars; the loop sums them, so dropping one is an ablation."""


@dataclass(frozen=True)
class Space:
    """Where a role is embedded: width of one vector, one vector per row or many, and how two sets are compared."""

    dim: int
    many: bool = False
    similarity: str = "cosine"


def pooled(x: Tensor) -> Tokens:
    """One vector per row: [B D] -> Tokens [B 1 D]."""
    return Tokens(x[:, None], torch.ones(len(x), 1, dtype=torch.bool, device=x.device))
