"""Losses, norms and similarities are computed in float32 whatever the weights and autocast say."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """[...] -> [...] in float32; float64 stays as it is, so that gradients can be checked."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def exact(x: Tensor) -> torch.autocast:
    """A context without autocast on the device of `x`."""
    return torch.autocast(x.device.type, enabled=False)
