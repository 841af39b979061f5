"""A slow copy of a module: an exponential moving average of its weights (MoCo, arXiv 1911.05722, eq. 2)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn


class Momentum(nn.Module):
    """The slow twin of `module`, never trained: slow = decay * slow + (1 - decay) * fast. Buffers are copied."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = deepcopy(module).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, fast: nn.Module) -> None:
        """Moves towards `fast`, which must have the parameters and buffers this was copied from."""
        for slow, new in zip(self.module.parameters(), fast.parameters(), strict=True):
            slow.lerp_(new.to(slow), 1 - self.decay)
        for kept, current in zip(self.module.buffers(), fast.buffers(), strict=True):
            kept.copy_(current)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the slow module gives, without gradient, in the mode (train or eval) this module is in."""
        return self.module(*args, **kwargs)
