"""The query decoder: learnt queries that read a memory (DETR, Carion et al. 2020, arXiv 2005.12872)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.core import SensoriumError, Tokens

from ..fusion.cross import CrossAttention
from .attention import attend
from .head import linear


class QueryLayer(nn.Module):
    """[B Q D], memory [B S D] -> [B Q D]: queries see each other, then the memory, then an mlp; pre-norm.

    `place` [Q D], the learnt queries, is added to what asks and to what is asked among the queries, never to values.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise SensoriumError(f"width {dim} does not split into {heads} heads; expected a divisor of {dim}")
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.qk, self.v, self.out = linear(dim, 2 * dim), linear(dim, dim), linear(dim, dim)
        self.cross = CrossAttention(dim, heads)
        self.mlp = nn.Sequential(linear(dim, 4 * dim), nn.GELU(), linear(4 * dim, dim))

    def _among(self, x: Tensor, place: Tensor) -> Tensor:
        q, k = self.qk(x + place).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [B H Q d]
        v = self.v(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        all_real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        return self.out(attend(q, k, v, all_real).transpose(1, 2).flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def forward(self, x: Tensor, memory: Tokens, place: Tensor) -> Tensor:
        first, second, third = self.norms
        x = x + self._among(first(x), place)
        x = x + self.cross(second(x), memory, place)
        return x + self.mlp(third(x))  # type: ignore[no-any-return]


class QueryDecoder(nn.Module):
    """Memory Tokens [B S D] -> [L B Q D]: what each of `queries` learnt queries holds after each of L layers, normed.

    The last layer is the answer; those before it take auxiliary losses. Queries are a set: the order means nothing.
    """

    def __init__(self, queries: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, dim))
        self.layers = nn.ModuleList(QueryLayer(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, memory: Tokens) -> Tensor:
        x = self.queries.expand(len(memory.x), -1, -1)
        held = []
        for layer in self.layers:
            x = layer(x, memory, self.queries)
            held.append(self.norm(x))
        return torch.stack(held)


class BoxHead(nn.Module):
    """[... D] -> [... 4]: boxes (cx cy w h) in (0, 1), three layers and a sigmoid."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(linear(dim, dim), nn.GELU(), linear(dim, dim), nn.GELU(), linear(dim, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).sigmoid()  # type: ignore[no-any-return]
