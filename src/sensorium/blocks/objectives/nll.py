"""The negative log-likelihood of ids."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..precision import exact, wide


def nll(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """[B T V], [B T] int64, [B T] bool -> scalar: the mean over real ids of -log p(id), in nats; 0 where none is real.

    Logits at t are scores of the id at t: whoever predicts the next token shifts. Ids under the mask are not looked at.
    """
    with exact(logits):
        losses = F.cross_entropy(wide(logits[mask]), ids[mask], reduction="sum")
        return losses / mask.sum().clamp(min=1)
