"""Pictures from an energy: noise that rolls downhill for a while."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def langevin(
    energy: Callable[[Tensor], Tensor],
    x: Tensor,
    steps: int,
    size: float,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Starts [B ...] -> what is there after `steps` of Langevin dynamics, x - size * slope + noise * normal, without a
    graph: short-run MCMC (Nijkamp et al. 2019, arXiv 1904.09770). With `noise` the root of 2 `size` and small steps it
    draws from exp(-energy); energies are [B], each of its own row."""
    for _ in range(steps):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(energy(x).sum(), x)
        x = x.detach() - size * slope
        if noise:
            x = x + noise * torch.randn(x.shape, generator=generator, device=x.device)
    return x.detach()
