"""Media tokens: learnt vectors that stand for a picture in a text (EVLM, arXiv 2407.14177)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.core import Tokens


class MediaTokens(nn.Module):
    """Rows that have a picture [B] bool -> Tokens [B M D]: the same `number` learnt vectors in each of them.

    They start at the size of a decoder's words, whose place they take; what they say of their picture they read by
    cross-attention.
    """

    def __init__(self, number: int, dim: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(number, dim) * dim**-0.5)

    def forward(self, there: Tensor) -> Tokens:
        mask = there[:, None].expand(-1, len(self.vectors))
        return Tokens(self.vectors * mask[..., None], mask)
