"""The pre-norm transformer block over tokens with a mask."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from sensorium.core import SensoriumError, Tokens

from ..precision import exact, wide
from .head import linear


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """[B H T d], [B H S d], [B H S d], [B S] bool -> [B H T d], in float32; 0 where a row has nothing to see."""
    with exact(q):
        q, k, v = wide(q), wide(k), wide(v)
        hidden = ~mask[:, None, None]
        logits = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(hidden, torch.finfo(q.dtype).min)
        return torch.matmul(logits.softmax(-1).masked_fill(hidden, 0), v)


class Block(nn.Module):
    """[B T D] -> [B T D]: x + attention(norm(x)), then x + mlp(norm(x)); every real token sees every real token.

    Padded tokens change nothing, not even as NaN, and come out as 0. Source: arXiv 2002.04745 (pre-norm).
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise SensoriumError(f"width {dim} does not split into {heads} heads; expected a divisor of {dim}")
        self.heads = heads
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = linear(dim, 3 * dim), linear(dim, dim)
        self.mlp = nn.Sequential(linear(dim, 4 * dim), nn.GELU(), linear(4 * dim, dim))

    def _attention(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [B H T d]
        seen = attend(q, k, v, mask).transpose(1, 2).flatten(2)
        return self.out(seen.to(x.dtype))  # type: ignore[no-any-return]

    def forward(self, t: Tokens) -> Tokens:
        padded = ~t.mask[..., None]
        x = t.x.masked_fill(padded, 0)
        x = x + self._attention(self.before(x), t.mask)
        x = x + self.mlp(self.between(x))
        return replace(t, x=x.masked_fill(padded, 0))
