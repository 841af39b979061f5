"""A quantiser that is trained with what reads it: products of codebooks, chosen by Gumbel softmax (wav2vec 2.0, arXiv
2006.11477, section 2 and eq. 4).

Shape legend: B batch, T frames, D width, G groups, V codes of a group.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sensorium.core import SensoriumError

from ..precision import wide
from ..towers.head import linear


class Quantised(NamedTuple):
    """Code vectors [B T D'], ids [B T G] int64, and how likely each code was before a choice [B T G V]."""

    vectors: Tensor
    ids: Tensor
    odds: Tensor


class ProductQuantiser(nn.Module):
    """[B T D] -> one of `codes` vectors in each of `groups` groups, joined to `dim` numbers.

    With `noise` [B T G V] in (0, 1) the choice is drawn by Gumbel softmax at `heat` and the gradient is that of the
    soft choice; without, the likeliest code is taken.
    """

    def __init__(self, d_in: int, dim: int, codes: int, groups: int = 1, heat: float = 1.0) -> None:
        super().__init__()
        if dim % groups:
            raise SensoriumError(f"width {dim} does not split into {groups} groups; expected a divisor of {dim}")
        self.heat = heat
        self.odds = linear(d_in, groups * codes)
        self.codes = nn.Parameter(torch.rand(groups, codes, dim // groups))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Quantised:
        logits = wide(self.odds(x)).view(*x.shape[:-1], *self.codes.shape[:2])
        odds = logits.softmax(-1)
        if noise is None:
            ids = logits.argmax(-1)
            choice = nn.functional.one_hot(ids, logits.shape[-1]).to(odds.dtype)
        else:
            soft = ((logits - (-noise.clamp(1e-9, 1 - 1e-7).log()).log()) / self.heat).softmax(-1)
            ids = soft.argmax(-1)
            choice = nn.functional.one_hot(ids, logits.shape[-1]) + soft - soft.detach()
        vectors = torch.einsum("btgv,gvd->btgd", choice, self.codes).flatten(2)
        return Quantised(vectors, ids, odds)


def diversity(odds: Tensor, mask: Tensor) -> Tensor:
    """[B T G V], [B T] -> scalar in [0, 1): the share of codes that go unused, by the perplexity of the mean odds over
    the real frames of the batch; 0 where none is real."""
    if not mask.any():
        return odds.sum() * 0
    mean = odds[mask].mean(0)  # [G V]
    used = (-torch.xlogy(mean, mean).sum(-1)).exp()
    return 1 - used.sum() / mean.numel()
