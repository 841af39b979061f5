"""Gated cross-attention: a decoder that was made for text reads a memory between its layers (Flamingo, Alayrac et al.
2022, arXiv 2204.14198), and at the start does what it did before.

Shape legend: B rows, T tokens of this call, S vectors of the memory, D width, H heads, d width of a head, V width of
what is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import SensoriumError, Tokens

from ..decode import Tap
from ..decode.decoder import EPS, attend, plain


@dataclass(frozen=True, eq=False)
class Held:
    """A memory as one layer asks it: keys and values [B H S d], which are real [B S]. Made once, read at every step."""

    k: Tensor
    v: Tensor
    mask: Tensor


class TanhGate(nn.Module):
    """[...] -> [...] times the tanh of a learnt number that starts at 0: nothing at first."""

    def __init__(self) -> None:
        super().__init__()
        self.openness = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.openness.tanh()


class GatedCross(nn.Module):
    """x + gate(attention of norm(x) to a memory), then x + gate(mlp(norm(x))); what a layer of the decoder then reads.

    `mlp` makes a module [B T D], bool [B T] -> [B T D] and a balance (`fusion.experts`); `gate` makes one of each gate.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        reads: int,
        mlp: Callable[[int], nn.Module],
        gate: Callable[[], nn.Module] = TanhGate,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise SensoriumError(f"width {dim} does not split into {heads} heads; expected a divisor of {dim}")
        self.heads = heads
        self.ahead, self.before, self.between = nn.LayerNorm(reads), nn.RMSNorm(dim, EPS), nn.RMSNorm(dim, EPS)
        self.q, self.kv, self.out = plain(dim, dim), plain(reads, 2 * dim), plain(dim, dim)
        self.mlp, self.looks, self.thinks = mlp(dim), gate(), gate()

    def hold(self, memory: Tokens) -> Held:
        """A memory [B S V] as keys and values."""
        real = self.ahead(memory.x.masked_fill(~memory.mask[..., None], 0))
        k, v = self.kv(real).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return Held(k, v, memory.mask)

    def forward(self, x: Tensor, held: Held, seen: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """[B T D], what each token may look at [B T S] bool, real tokens [B T] bool -> [B T D], balance."""
        q = self.q(self.before(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        found = attend(q, held.k, held.v, (seen & held.mask[:, None])[:, None])
        x = x + self.looks(self.out(found.transpose(1, 2).flatten(2).to(x.dtype)))
        more, balance = self.mlp(self.between(x), real)
        return x + self.thinks(more), balance


class Gated(Tap):
    """Gated cross-attention before the layers of a decoder, for one pass or one prompt and what follows it.

    `kind` [B T] says of each token of the prompt which part of the memory it is about, as `parts` [S] names them: it
    reads that part alone. Kind 0, and whatever follows the prompt, reads all. `mask` [B T] marks real tokens. Under
    beams the rows are those of the prompt, each `K` times in a row.
    """

    def __init__(
        self,
        crosses: Mapping[int, GatedCross],
        held: Mapping[int, Held],
        parts: Tensor,
        kind: Tensor,
        mask: Tensor,
    ) -> None:
        self.layers = crosses.keys()
        self.crosses, self.held, self.parts, self.kind, self.mask = crosses, held, parts, kind, mask
        self.balances: list[Tensor] = []

    def stream(self, layer: int, h: Tensor, at: int) -> Tensor:
        if layer not in self.crosses:
            return h
        kind, real = self._ahead(self.kind, 0, at, h), self._ahead(self.mask, 1, at, h)
        seen = (kind == 0)[..., None] | (kind[..., None] == self.parts)
        held = self.held[layer]
        times = len(h) // len(held.mask)
        k, v, mask = (x if times == 1 else x.repeat_interleave(times, 0) for x in (held.k, held.v, held.mask))
        h, balance = self.crosses[layer](h, Held(k, v, mask), seen, real)
        self.balances.append(balance)
        return h

    def numbers(self) -> int:
        """Numbers held beside the decoder's cache: keys and values of the memory."""
        return sum(held.k.numel() + held.v.numel() for held in self.held.values())

    def _ahead(self, of_prompt: Tensor, after: int, at: int, h: Tensor) -> Tensor:
        """The entries of the tokens `at` and after, [B T]: those of the prompt, and `after` beyond it."""
        b, t = h.shape[:2]
        here = of_prompt[:, at : at + t].repeat_interleave(b // len(of_prompt), 0)
        return F.pad(here, (0, t - here.shape[1]), value=after)
