"""Adversarial losses of two players: a critic that scores pictures, and a generator that it is to take for real.

Scores are [B], higher where the critic takes a picture for real; each loss is a mean over them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..precision import wide


def critic_logistic(real: Tensor, made: Tensor) -> Tensor:
    """Scores [B], [B'] -> scalar: cross-entropy of telling real from made (Goodfellow et al. 2014, arXiv 1406.2661)."""
    return F.softplus(-wide(real)).mean() + F.softplus(wide(made)).mean()


def generator_logistic(made: Tensor) -> Tensor:
    """Scores [B] -> scalar: cross-entropy of being taken for real, that paper's loss that does not saturate."""
    return F.softplus(-wide(made)).mean()


def critic_hinge(real: Tensor, made: Tensor) -> Tensor:
    """Scores [B], [B'] -> scalar: what lacks of a margin of 1 on either side (Miyato et al. 2018, arXiv 1802.05957,
    eq. 16)."""
    return F.relu(1 - wide(real)).mean() + F.relu(1 + wide(made)).mean()


def generator_hinge(made: Tensor) -> Tensor:
    """Scores [B] -> scalar: the score itself is to rise (arXiv 1802.05957, eq. 17)."""
    return -wide(made).mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Half the mean squared norm of a critic's gradient at real pictures [B ...]: R1 with weight 1 (Mescheder et al.
    2018, arXiv 1801.04406, eq. 9). Can be differentiated again; the scores of a row must be its own."""
    at = real.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    return 0.5 * wide(slope).square().flatten(1).sum(1).mean()
