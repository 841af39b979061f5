"""Single-stream fusion: tokens of several kinds in one sequence, each seeing all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from sensorium.core import SensoriumError, Tokens

from ..towers.attention import Block
from ..towers.positions import sines


def placed(t: Tokens) -> Tokens:
    """[B T D] -> the same with the sines of its positions added; of their order where it has none."""
    pos = (t.mask.long().cumsum(1) - 1).clamp(min=0)[..., None] if t.pos is None else t.pos
    return replace(t, x=(t.x + sines(pos, t.x.shape[-1]).to(t.x.dtype)).masked_fill(~t.mask[..., None], 0))


def concatenate(parts: Sequence[Tokens]) -> Tokens:
    """Tokens [B T_i D] of n kinds -> [B ΣT_i D] in this order, `kind` their number from 0. Positions are dropped: those
    of different kinds count different things."""
    if len({part.x.shape[-1] for part in parts}) != 1:
        widths = ", ".join(str(part.x.shape[-1]) for part in parts)
        raise SensoriumError(f"parts of widths {widths or 'none'}; expected one or more of one width")
    kinds = [torch.full_like(part.mask, k, dtype=torch.long) for k, part in enumerate(parts)]
    return Tokens(
        torch.cat([part.x for part in parts], 1), torch.cat([part.mask for part in parts], 1), kind=torch.cat(kinds, 1)
    )


class SingleStream(nn.Module):
    """Tokens of `kinds` kinds -> their concatenation [B ΣT_i D] after `layers` pre-norm blocks and a last norm.

    A learnt vector per kind is added first (segment embeddings, arXiv 1908.02265 and its kin).
    """

    def __init__(self, kinds: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.kinds = nn.Embedding(kinds, dim)
        nn.init.normal_(self.kinds.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, parts: Sequence[Tokens]) -> Tokens:
        t = concatenate(parts)
        t = replace(t, x=t.x + self.kinds(t.kind))
        for block in self.blocks:
            t = block(t)
        return replace(t, x=self.norm(t.x).masked_fill(~t.mask[..., None], 0))
