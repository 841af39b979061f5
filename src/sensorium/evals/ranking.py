"""How good a ranking is. Shape legend: Q queries, I items."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def rank_of_best(scores: Tensor, relevant: Tensor) -> Tensor:
    """[Q I], [Q I] bool -> [Q] int64: the rank of the best relevant item, 1 is first; 0 for a query without any.

    1 + the non-relevant items that score strictly higher + half, rounded up, of those tied with it exactly, so that a
    constant scorer is no better than chance. A NaN counts against the scorer: last if relevant, ahead if not.
    """
    scores = scores.detach().to(torch.promote_types(scores.dtype, torch.float32))
    best = scores.masked_fill(~relevant | scores.isnan(), -torch.inf).amax(1, keepdim=True)
    higher = (~(scores <= best) & ~relevant).sum(1)
    tied = ((scores == best) & ~relevant).sum(1)
    return (1 + higher + (tied + 1) // 2).masked_fill(~relevant.any(1), 0)


def summarise(ranks: Tensor) -> dict[str, float]:
    """[Q] int64 -> r@1, r@5, r@10 (shares), median_rank, mrr over the queries whose rank is not 0; NaN if none."""
    kept = ranks[ranks > 0].cpu().numpy().astype(np.float64)
    if not len(kept):
        return dict.fromkeys(("r@1", "r@5", "r@10", "median_rank", "mrr"), float("nan"))
    recalls = {f"r@{k}": float((kept <= k).mean()) for k in (1, 5, 10)}
    return recalls | {"median_rank": float(np.median(kept)), "mrr": float((1 / kept).mean())}


def chance(relevant: Tensor) -> dict[str, float]:
    """[Q I] bool -> r@1, r@5, r@10 expected of a random order, exactly; queries without relevant item are left out.

    With m of I items relevant the first k hold none with probability C(I-m, k) / C(I, k).
    """
    items = relevant.shape[1]
    right = relevant.sum(1).cpu().numpy().astype(np.float64)
    right = right[right > 0]
    if not len(right):
        return dict.fromkeys(("r@1", "r@5", "r@10"), float("nan"))
    drawn = np.arange(min(10, items))
    missed = np.cumprod(np.clip(items - right[:, None] - drawn, 0, None) / (items - drawn), 1).mean(0)
    return {f"r@{k}": float(1 - missed[min(k, items) - 1]) for k in (1, 5, 10)}
