"""What holds a model near the one that it started from: in its weights, or in what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from ..precision import wide


def l2(module: nn.Module, anchor: Mapping[str, Tensor], importance: Mapping[str, Tensor] | None = None) -> Tensor:
    """Half the squared distance of the trained weights from `anchor`, each weight by its `importance`: a scalar.

    With the Fisher information as importance this is elastic weight consolidation (Kirkpatrick et al. 2016, arXiv
    1612.00796, eq. 3); without, L2-SP (Li et al. 2018, arXiv 1802.01483).
    """
    terms = []
    for name, weight in module.named_parameters():
        if weight.requires_grad:
            apart = (weight - anchor[name].to(weight)).square()
            terms.append((apart if importance is None else apart * importance[name].to(weight)).sum())
    return torch.stack(terms).sum() / 2


def fisher(module: nn.Module, losses: Iterable[Callable[[], Tensor]]) -> dict[str, Tensor]:
    """The mean squared gradient of each trained weight over some losses: the diagonal of the Fisher information.

    For a loss that is over a batch, a contrast, it is that of batches, not of rows. Gradients of before stay.
    """
    named = {n: p for n, p in module.named_parameters() if p.requires_grad}
    total, count = {n: torch.zeros_like(p) for n, p in named.items()}, 0
    for loss in losses:
        grads = torch.autograd.grad(loss(), list(named.values()), allow_unused=True)
        total = {n: t if g is None else t + g.square() for (n, t), g in zip(total.items(), grads, strict=True)}
        count += 1
    return {name: t / max(1, count) for name, t in total.items()}


def distil(student: Tensor, teacher: Tensor) -> Tensor:
    """Logits [Q I] of both -> scalar: cross entropy less the teacher's entropy, mean over rows (Hinton et al. 2015,
    arXiv 1503.02531, at temperature 1)."""
    right, said = wide(teacher).detach().log_softmax(-1), wide(student).log_softmax(-1)
    return (right.exp() * (right - said)).sum(-1).mean()
