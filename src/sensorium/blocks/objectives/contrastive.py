"""Contrastive losses over a table of scores. Shape legend: Q queries, I items, E extra negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.core import SensoriumError

from ..precision import exact, wide


def same_group(a_group: Tensor, b_group: Tensor) -> Tensor:
    """[Q], [I] ids -> [Q I] bool: which pairs are of one group (equal content counts as right)."""
    return a_group[:, None] == b_group[None]


def _diagonal(scores: Tensor) -> Tensor:
    if len(scores) > scores.shape[1]:
        raise SensoriumError(
            f"scores of shape {tuple(scores.shape)} have no diagonal; give `positives`, or as many items as queries"
        )
    return torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)


def info_nce(
    scores: Tensor, positives: Tensor | None = None, extra: Tensor | None = None, extra_mask: Tensor | None = None
) -> Tensor:
    """[Q I] logits, [Q I] bool | None, [Q E] logits | None, [Q E] bool | None -> scalar: one direction of InfoNCE.

    `positives` None means the diagonal. The log-probability of each positive is taken against itself, the negatives of
    its row and the extra columns (True in `extra_mask` is real), never against *other* positives; it is averaged over
    the positives of a row, then over rows that have one; 0 where no row has. Scores are already divided by the
    temperature. With one positive per row this is cross entropy (CPC, arXiv 1807.03748, eq. 4).
    """
    with exact(scores):
        scores = wide(scores)
        positives = _diagonal(scores) if positives is None else positives
        negatives = scores.masked_fill(positives, -torch.inf)
        if extra is not None:
            more = wide(extra) if extra_mask is None else wide(extra).masked_fill(~extra_mask, -torch.inf)
            negatives = torch.cat([negatives, more], 1)
        against = negatives.logsumexp(1, keepdim=True)
        losses = F.softplus(against - scores).masked_fill(~positives, 0)  # -log e^p / (e^p + Σ e^n)
        count = positives.sum(1)
        return (losses.sum(1) / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


def symmetric(scores: Tensor, positives: Tensor | None = None) -> Tensor:
    """[Q I], [Q I] bool | None -> scalar: mean of `info_nce` over rows and over columns (CLIP, arXiv 2103.00020)."""
    return (info_nce(scores, positives) + info_nce(scores.T, None if positives is None else positives.T)) / 2
