"""The second half of a layer as one mlp or as several, of which each token is sent to a few.

Both give, beside the tokens, how unevenly they were used: a term of the loss.
Shape legend: B rows, T tokens, D width, N real tokens, E experts, K of them per token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.core import SensoriumError

from ..decode.decoder import GatedMlp, plain
from ..precision import exact, wide


class Dense(nn.Module):
    """[B T D], bool [B T] -> [B T D], 0: one gated mlp for all; padding comes out as 0."""

    def __init__(self, dim: int, hidden: int = 0) -> None:
        super().__init__()
        self.mlp = GatedMlp(dim, hidden)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.mlp(x).masked_fill(~mask[..., None], 0), x.new_zeros(())


class Experts(nn.Module):
    """[B T D], bool [B T] -> [B T D] and the balance, a scalar: each real token goes to the `top` of `experts` gated
    mlps that a router scores highest, weighted by the softmax of these scores (Mixtral, arXiv 2401.04088).

    By default an expert has 1 / `top` of the units of `Dense`, so that a token costs what it costs there. Padding is
    sent nowhere, weighs nothing in the balance and comes out as 0.
    """

    def __init__(self, dim: int, experts: int, top: int, hidden: int = 0) -> None:
        super().__init__()
        if not 1 <= top <= experts:
            raise SensoriumError(f"each token goes to {top} of {experts} experts; expected 1 to {experts}")
        self.top, hidden = top, hidden or -(-dim // (3 * top)) * 8
        self.router = plain(dim, experts)
        self.experts = nn.ModuleList(GatedMlp(dim, hidden) for _ in range(experts))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        real = x[mask]
        with exact(real):
            scores = wide(real) @ wide(self.router.weight).T
        best, chosen = scores.topk(self.top, -1)
        weights, done = best.softmax(-1).to(real.dtype), torch.zeros_like(real)
        for n, expert in enumerate(self.experts):
            row, slot = (chosen == n).nonzero(as_tuple=True)
            done = done.index_add(0, row, (weights[row, slot, None] * expert(real[row])).to(done.dtype))
        return torch.zeros_like(x).masked_scatter(mask[..., None], done), balance(scores, chosen)


def balance(scores: Tensor, chosen: Tensor) -> Tensor:
    """Router scores [N E], chosen experts [N K] -> scalar: E times the sum over experts of the share of places given to
    each times its mean probability; 1 where all are used alike, E where one is used for all with certainty.

    Equations 4 to 6 of Switch Transformers (arXiv 2101.03961), whose K is 1; 0 where there are no tokens.
    """
    n, e = scores.shape
    given = torch.bincount(chosen.flatten(), minlength=e) / max(1, chosen.numel())
    return e * (given * scores.softmax(-1).sum(0) / max(1, n)).sum()
