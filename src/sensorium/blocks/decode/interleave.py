"""Parts of any modality, in their order, as one sequence for a decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.core import Ids, SensoriumError, Tokens

from ..objectives.nll import nll
from .decoder import Decoder


@dataclass(frozen=True)
class Part:
    """Ids [B n] or vectors [B n D] that stand at one place of every row; a row that lacks the part has it masked.

    `kind` says what they are (text is 0); `learn` that a decoder is to predict these ids.
    """

    value: Ids | Tokens
    kind: int = 0
    learn: bool = False


@dataclass(frozen=True, eq=False)
class Interleaved:
    """One sequence per row, padded on the right: tokens [B T D] with `kind`, the id at each place [B T] (0 where there
    is none), and where it is to be predicted from what comes before [B T] bool."""

    tokens: Tokens
    ids: Tensor
    learn: Tensor


def interleave(embed: Callable[[Ids], Tokens], parts: Sequence[Part]) -> Interleaved:
    """The parts one after the other in each row, padding squeezed out to the right; ids become vectors by `embed`.

    Places of the parts' own (rows and columns of a picture) are dropped: the sequence counts anew.

    Raises:
        SensoriumError: no parts, parts of different rows, or vectors that are to be learnt as ids.
    """
    if not parts or len({len(p.value) for p in parts}) > 1:
        raise SensoriumError(f"parts of {[len(p.value) for p in parts]} rows; expected at least one, all of as many")
    if any(p.learn and isinstance(p.value, Tokens) for p in parts):
        raise SensoriumError("a part of vectors is to be learnt; expected ids, which can be predicted")
    vectors = [embed(p.value) if isinstance(p.value, Ids) else p.value for p in parts]
    if len({v.x.shape[-1] for v in vectors}) > 1:
        raise SensoriumError(f"parts of widths {[v.x.shape[-1] for v in vectors]}; expected one width")
    mask = torch.cat([v.mask for v in vectors], 1)
    ids = torch.cat(
        [p.value.ids if isinstance(p.value, Ids) else torch.zeros_like(p.value.mask).long() for p in parts], 1
    )
    kind, learn = (
        torch.cat([torch.full_like(p.value.mask, v, dtype=torch.long) for p, v in zip(parts, values, strict=True)], 1)
        for values in ([p.kind for p in parts], [int(p.learn) for p in parts])
    )
    order = (~mask).long().argsort(dim=1, stable=True)[:, : int(mask.sum(1).max())]
    mask, ids, kind, learn = (v.gather(1, order) for v in (mask, ids, kind, learn))
    x = torch.cat([v.x for v in vectors], 1).gather(1, order[..., None].expand(-1, -1, vectors[0].x.shape[-1]))
    tokens = Tokens(x.masked_fill(~mask[..., None], 0), mask, kind=kind.masked_fill(~mask, 0))
    return Interleaved(tokens, ids.masked_fill(~mask, 0), learn.bool() & mask)


def _ids(value: Ids | Tokens) -> Tensor:
    return value.ids if isinstance(value, Ids) else torch.zeros_like(value.mask, dtype=torch.long)


def alone(id: int, rows: Tensor) -> Ids:
    """One id per row [B 1], in the rows [B] bool that have it: what opens or ends a part."""
    return Ids(torch.full_like(rows, id, dtype=torch.long)[:, None], rows[:, None])


def next_token(decoder: Decoder, h: Tensor, seq: Interleaved) -> Tensor:
    """States [B T D] -> scalar: the mean negative log-likelihood of what is to be learnt, each from the state before.

    What stands first in a row is predicted from nothing, and not counted.
    """
    after = seq.learn[:, 1:]
    logits = decoder.logits(h[:, :-1][after])
    return nll(logits, seq.ids[:, 1:][after], after[after])
