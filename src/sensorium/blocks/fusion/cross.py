"""Cross-attention: tokens of one kind read tokens of another."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from sensorium.core import SensoriumError, Tokens

from ..towers.attention import attend
from ..towers.head import linear


class CrossAttention(nn.Module):
    """[B T D], memory [B S D] -> [B T D]: attention of the tokens to the memory's real ones, without a residual.

    `place` [B T D] or [T D] is added to what asks, never to what is read. A row whose memory is empty reads 0.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise SensoriumError(f"width {dim} does not split into {heads} heads; expected a divisor of {dim}")
        self.heads = heads
        self.q, self.kv, self.out = linear(dim, dim), linear(dim, 2 * dim), linear(dim, dim)

    def forward(self, x: Tensor, memory: Tokens, place: Tensor | None = None) -> Tensor:
        asks = x if place is None else x + place
        q = self.q(asks).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B H T d]
        real = memory.x.masked_fill(~memory.mask[..., None], 0)
        k, v = self.kv(real).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [B H S d]
        seen = attend(q, k, v, memory.mask).transpose(1, 2).flatten(2)
        return self.out(seen.to(x.dtype))  # type: ignore[no-any-return]


class CrossBlock(nn.Module):
    """[B T D], memory [B S D] -> [B T D]: x + attention(norm(x), memory), then x + mlp(norm(x)); pre-norm.

    Padded tokens come out as 0.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.cross = CrossAttention(dim, heads)
        self.mlp = nn.Sequential(linear(dim, 4 * dim), nn.GELU(), linear(4 * dim, dim))

    def forward(self, t: Tokens, memory: Tokens) -> Tokens:
        padded = ~t.mask[..., None]
        x = t.x.masked_fill(padded, 0)
        x = x + self.cross(self.before(x), memory)
        x = x + self.mlp(self.between(x))
        return replace(t, x=x.masked_fill(padded, 0))
