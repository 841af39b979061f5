"""Self-distillation: a student says which prototypes its slow teacher assigns to other views and hidden patches.

Shape legend: V W views of the student and of the teacher, B pictures, N patches, K prototypes, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..precision import exact, wide
from ..similarity import unit
from ..towers.head import linear


class PrototypeHead(nn.Module):
    """[... D] -> logits [... K]: two hidden layers, a unit vector of `bottleneck` numbers, its cosine with prototypes.

    Source: the head of DINO, arXiv 2104.14294, with weight-normalised prototypes of fixed length 1.
    """

    def __init__(self, dim: int, prototypes: int, hidden: int, bottleneck: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            linear(dim, hidden), nn.GELU(), linear(hidden, hidden), nn.GELU(), linear(hidden, bottleneck)
        )
        self.prototypes = nn.Parameter(unit(torch.randn(prototypes, bottleneck)))

    def forward(self, x: Tensor) -> Tensor:
        with exact(x):
            return unit(self.layers(wide(x))) @ unit(self.prototypes).T


@torch.no_grad()
def sinkhorn(logits: Tensor, temperature: float, rounds: int = 3) -> Tensor:
    """[N K] -> assignments [N K]: rows sum to 1 and, as far as `rounds` reach, prototypes are used equally.

    Sinkhorn-Knopp as in SwAV (arXiv 2006.09882), which keeps the teacher from collapsing. No row gives no row.
    """
    with exact(logits):
        scores = wide(logits) / temperature
        for _ in range(rounds):  # on logarithms, where a sharp temperature neither over- nor underflows
            scores = scores - scores.logsumexp(0, keepdim=True)
            scores = scores - scores.logsumexp(1, keepdim=True)
        return scores.exp()


def surprise(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Logits [... K], assignments [... K] -> cross entropy [...]."""
    with exact(student):
        return -(teacher * F.log_softmax(wide(student) / temperature, -1)).sum(-1)


def across_views(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Logits [V B K], assignments [W B K] -> scalar: every view against every teacher's view but its own (DINO, eq. 3).

    The first W of the student's views are the teacher's.
    """
    pairs = surprise(student[:, None], teacher[None], temperature).mean(2)  # [V W]
    own = torch.eye(*pairs.shape, dtype=torch.bool, device=pairs.device)
    return pairs.masked_fill(own, 0).sum() / (~own).sum().clamp(min=1)


def hidden_patches(student: Tensor, teacher: Tensor, picture: Tensor, temperature: float) -> Tensor:
    """Logits and assignments of the M masked patches [M K], whose `picture` each is [M] -> scalar (iBOT, 2111.07832).

    The mean over each picture's masked patches, then over pictures that have some; 0 where none has.
    """
    if not len(student):
        return student.sum() * 0
    count = picture.bincount()
    return (surprise(student, teacher, temperature) / count[picture]).sum() / (count > 0).sum()


def block_masks(
    n: int, rows: int, columns: int, share: tuple[float, float], chance: float, draw: torch.Generator
) -> Tensor:
    """-> [n rows*columns] bool, True where masked: with `chance` one block of a picture's patches, else none.

    The block takes about an even draw from `share` of the patches, at least one and never all; its ratio of sides is
    drawn on a log scale from 0.3 to 1/0.3 (BEiT, arXiv 2106.08254, whose masks join several such blocks).
    """
    area = (share[0] + (share[1] - share[0]) * torch.rand(n, generator=draw)) * rows * columns
    ratio = (torch.tensor(0.3).log() * (2 * torch.rand(n, generator=draw) - 1)).exp()
    tall = (area * ratio).sqrt().round().clamp(1, rows)
    wide = (area / tall).round().clamp(1, columns)
    wide = torch.where((tall == rows) & (wide == columns), wide - 1, wide)
    top = (torch.rand(n, generator=draw) * (rows - tall + 1)).floor()
    left = (torch.rand(n, generator=draw) * (columns - wide + 1)).floor()
    row, column = torch.arange(rows)[:, None], torch.arange(columns)
    top, left, tall, wide = (t[:, None, None] for t in (top, left, tall, wide))
    inside = (row >= top) & (row < top + tall) & (column >= left) & (column < left + wide)
    return (inside & (torch.rand(n, generator=draw) < chance)[:, None, None]).flatten(1)
