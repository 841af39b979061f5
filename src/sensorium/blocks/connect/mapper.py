"""Output mappers: the states of a language model at special tokens -> what another model reads.

Legend: B rows, R special tokens, Q tokens of the other model, D widths.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import SensoriumError, Tokens

from ..precision import exact, wide
from ..similarity import pool
from ..towers.attention import Block
from ..towers.head import Projector, linear
from ..towers.query import QueryDecoder


class QueryMapper(nn.Module):
    """States Tokens [B R D] -> [B Q d_out + 1]: what learnt queries read from the states after these saw each other.

    The last number says whether the token exists (`existing`). GILLMapper: Koh et al. 2023, arXiv 2305.17216.
    """

    def __init__(self, d_in: int, d_out: int, queries: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.enter = Projector(d_in, dim)
        self.encoder = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.decoder = QueryDecoder(queries, dim, layers, heads)
        self.out = linear(dim, d_out + 1)

    def forward(self, states: Tokens) -> Tensor:
        t = self.enter(states)
        for block in self.encoder:
            t = block(t)
        return self.out(self.decoder(t)[-1])  # type: ignore[no-any-return]


class LinearMapper(nn.Module):
    """States Tokens [B R D] of R `states` each -> [B Q d_out + 1]: each state gives its Q / R neighbours.

    Raises:
        SensoriumError: Q is not a multiple of R.
    """

    def __init__(self, d_in: int, d_out: int, queries: int, states: int) -> None:
        super().__init__()
        if queries % states:
            raise SensoriumError(f"{queries} tokens from {states} states; expected a multiple of {states}")
        self.out = linear(d_in, queries // states * (d_out + 1))
        self.width = d_out + 1

    def forward(self, states: Tokens) -> Tensor:
        return self.out(states.x).unflatten(2, (-1, self.width)).flatten(1, 2)  # type: ignore[no-any-return]


class Readout(nn.Module):
    """States Tokens [B R D] -> [B d_out]: their mean, through a linear map, for one vector of another space."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.out = linear(d_in, d_out)

    def forward(self, states: Tokens) -> Tensor:
        return self.out(pool(states).to(self.out.weight.dtype))  # type: ignore[no-any-return]


def existing(found: Tensor) -> Tokens:
    """[B Q D+1] of a mapper -> Tokens [B Q D]: those more likely there than not, the first always."""
    there = found[..., -1] > 0
    there = torch.cat([torch.ones_like(there[:, :1]), there[:, 1:]], 1)
    return Tokens(found[..., :-1] * there[..., None], there)


def regression(found: Tensor, wanted: Tokens) -> tuple[Tensor, Tensor]:
    """[B Q D+1] of a mapper, Tokens [B S D] -> scalars: the mean squared error over the real tokens that both have, and
    the cross entropy of which of the Q are real.

    Token q answers for token q: `wanted` is packed to the left. What it has beyond Q tokens is not learnt.
    """
    q = found.shape[1]
    x = F.pad(wanted.x[:, :q], (0, 0, 0, max(0, q - wanted.x.shape[1])))
    there = F.pad(wanted.mask[:, :q], (0, max(0, q - wanted.mask.shape[1])))
    with exact(found):
        error = (wide(found[..., :-1]) - wide(x)).square().mean(-1)
        mean = error.masked_fill(~there, 0).sum() / there.sum().clamp(min=1)
        return mean, F.binary_cross_entropy_with_logits(wide(found[..., -1]), there.float())
