"""The conformer: attention for what is far, a convolution for what is near (Gulati et al. 2020, arXiv 2005.08100)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import SensoriumError, Tokens

from .attention import attend
from .head import linear
from .positions import sines


class Convolution(nn.Module):
    """[B T D] -> [B T D]: a gate, a convolution over time within each channel, a norm, a linear layer.

    A layer norm stands where the paper has a batch norm, so that no row depends on another or on padding.
    """

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise SensoriumError(f"a kernel of {kernel} frames has no middle; expected an odd number")
        self.before, self.gate = nn.LayerNorm(dim), linear(dim, 2 * dim)
        self.near = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.between, self.out = nn.LayerNorm(dim), linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = F.glu(self.gate(self.before(x)), -1).masked_fill(~mask[..., None], 0)
        x = self.near(x.transpose(1, 2)).transpose(1, 2)
        return self.out(F.silu(self.between(x)))  # type: ignore[no-any-return]


class ConformerBlock(nn.Module):
    """[B T D] -> [B T D]: half an mlp, attention, a convolution over `kernel` tokens, half an mlp, each added to what
    goes in; a last norm. Padded tokens change nothing and come out as 0."""

    def __init__(self, dim: int, heads: int, kernel: int = 5) -> None:
        super().__init__()
        if dim % heads:
            raise SensoriumError(f"width {dim} does not split into {heads} heads; expected a divisor of {dim}")
        self.heads = heads
        self.first, self.last = (
            nn.Sequential(nn.LayerNorm(dim), linear(dim, 4 * dim), nn.SiLU(), linear(4 * dim, dim)) for _ in range(2)
        )
        self.before, self.qkv, self.out = nn.LayerNorm(dim), linear(dim, 3 * dim), linear(dim, dim)
        self.near, self.norm = Convolution(dim, kernel), nn.LayerNorm(dim)

    def _attention(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.qkv(self.before(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(attend(q, k, v, mask).transpose(1, 2).flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def forward(self, t: Tokens) -> Tokens:
        padded = ~t.mask[..., None]
        x = t.x.masked_fill(padded, 0)
        x = x + self.first(x) / 2
        x = x + self._attention(x, t.mask)
        x = x + self.near(x, t.mask)
        x = x + self.last(x) / 2
        return replace(t, x=self.norm(x).masked_fill(padded, 0))


class Conformer(nn.Module):
    """Tokens [B T D] -> [B T D]: `layers` conformer blocks; what they read has its places already."""

    def __init__(self, dim: int, layers: int, heads: int, kernel: int = 5) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConformerBlock(dim, heads, kernel) for _ in range(layers))

    def forward(self, t: Tokens) -> Tokens:
        for block in self.blocks:
            t = block(t)
        return t


def counted(t: Tokens) -> Tokens:
    """[B T D] -> the same with the sines of each token's number among the real ones added."""
    at = (t.mask.long().cumsum(1) - 1).clamp(min=0)[..., None]
    x = t.x + sines(at, t.x.shape[-1]).to(t.x.dtype)
    return replace(t, x=x.masked_fill(~t.mask[..., None], 0))


class Subsampled(nn.Module):
    """[B F M] -> [B F/4 D]: two convolutions over three frames with a stride of two; `pos` is that of every fourth."""

    def __init__(self, d_in: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(a, dim, 3, 2, 1) for a in (d_in, dim))
        self.out = linear(dim, dim)

    def forward(self, t: Tokens) -> Tokens:
        x, mask, pos = t.x, t.mask, t.pos
        for layer in self.layers:
            x = layer(x.masked_fill(~mask[..., None], 0).transpose(1, 2)).transpose(1, 2)
            x, mask, pos = F.gelu(x), mask[:, ::2], None if pos is None else pos[:, ::2]
        return Tokens(self.out(x).masked_fill(~mask[..., None], 0), mask, pos)
