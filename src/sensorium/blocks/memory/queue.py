"""A first-in first-out memory of vectors: negatives beyond the batch (MoCo, arXiv 1911.05722)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Queue(nn.Module):
    """The last `size` vectors of width `dim` and the ids of their groups, in a ring; saved with the method."""

    x: Tensor
    ids: Tensor
    filled: Tensor
    pointer: Tensor

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("x", torch.zeros(size, dim))
        self.register_buffer("ids", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, x: Tensor, ids: Tensor) -> None:
        """[B D], [B] int64: overwrites the oldest. Of more rows than fit the last ones stay. No gradient is kept."""
        x, ids = x[-self.size :], ids[-self.size :]
        at = (self.pointer + torch.arange(len(x), device=self.x.device)) % self.size
        self.x[at] = x.detach().to(self.x)
        self.ids[at] = ids.to(self.ids)
        self.pointer.copy_((self.pointer + len(x)) % self.size)
        self.filled.copy_((self.filled + len(x)).clamp(max=self.size))

    def read(self) -> tuple[Tensor, Tensor, Tensor]:
        """-> [size D], [size] int64 (-1 where empty), [size] bool: copies, so no later `push` spoils a gradient."""
        mask = torch.arange(self.size, device=self.x.device) < self.filled
        return self.x.clone(), self.ids.clone(), mask
