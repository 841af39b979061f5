"""Connectionist temporal classification (Graves et al. 2006): ids in order, of frames whose alignment nobody knows.

Shape legend: B batch, T frames, V ids with the blank among them, L ids of a target.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.core import Ids, Tokens

from ..precision import exact, wide


def _first(x: Tensor, mask: Tensor) -> Tensor:
    """[B T ...], [B T] -> [B T ...] with the real ones in front, in their order."""
    order = mask.long().argsort(dim=1, descending=True, stable=True)
    return x.gather(1, order.view(*order.shape, *(1,) * (x.ndim - 2)).expand_as(x))


def ctc(logits: Tokens, target: Ids, blank: int = 0) -> Tensor:
    """Logits [B T V], ids [B L] -> scalar: -log p(target) per id, averaged over the rows that have frames and ids.

    A row with more ids than its frames can say (one for each, one more between equal neighbours) counts as 0.
    """
    frames, ids = logits.mask.sum(1), target.mask.sum(1)
    both = (frames > 0) & (ids > 0)
    if not both.any():
        return logits.x.sum() * 0
    with exact(logits.x):
        scores = _first(wide(logits.x[both]), logits.mask[both]).log_softmax(-1).transpose(0, 1)
        said = target.ids[both][target.mask[both]]
        each = F.ctc_loss(scores, said, frames[both], ids[both], blank, reduction="none", zero_infinity=True)
        return (each / ids[both]).mean()


def collapsed(logits: Tokens, blank: int = 0) -> Ids:
    """Logits [B T V] -> Ids [B L]: the likeliest id of each frame, repeats merged, then blanks dropped."""
    mask = logits.mask
    best = _first(logits.x.argmax(-1), mask)
    mask = torch.arange(mask.shape[1], device=mask.device) < mask.sum(1, keepdim=True)
    before = F.pad(best, (1, 0), value=blank)[:, :-1]
    said = mask & (best != blank) & (best != before)
    longest = max(1, int(said.sum(1).max())) if len(said) else 1
    ids = _first(best, said)[:, :longest]
    mask = torch.arange(longest, device=mask.device) < said.sum(1, keepdim=True)
    return Ids(ids.masked_fill(~mask, 0), mask)
