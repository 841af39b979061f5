"""One decoder for text LM, prefix LM, encoder, cross-attention LM, any-to-any: what differs is passed, not flagged.

Pre-norm layers with root-mean-square norms, gated mlp and rotary positions, as in Llama (Touvron et al. 2023, arXiv
2302.13971); rotary positions are of Su et al. 2021, arXiv 2104.09864, grouped key heads of arXiv 2305.13245.

Shape legend: B batch, T tokens of this call, S tokens seen in all, D width, H query heads, G key heads, d width of a
head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.core import Ids, SensoriumError, Tokens

from ..fusion.cross import CrossAttention
from ..precision import exact, wide
from .cache import Cache, Tap

EPS = 1e-6


def attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """[B H T d], k v [B G S d], bool [B 1 T S] or [B G T S] -> [B H T d], in float32; 0 where nothing is seen.

    Head h reads key head h // (H / G).
    """
    with exact(q):
        b, h, t, d = q.shape
        folded = wide(q).reshape(b, k.shape[1], -1, d)  # [B G H/G*T d]: keys are not copied per head
        logits = (folded @ wide(k).transpose(-1, -2) * d**-0.5).view(b, k.shape[1], -1, t, k.shape[2])
        hidden = ~seen[:, :, None]
        weights = logits.masked_fill(hidden, torch.finfo(logits.dtype).min).softmax(-1).masked_fill(hidden, 0)
        return torch.matmul(weights.flatten(2, 3), wide(v)).view(b, h, t, d)


def rotation(pos: Tensor, dim: int, period: float) -> tuple[Tensor, Tensor]:
    """Positions [B T] -> cosines and sines [B 1 T dim/2] float32 of each pair's angle."""
    step = torch.arange(0, dim, 2, device=pos.device) / dim
    angle = pos[:, None, :, None].float() * period**-step
    return angle.cos(), angle.sin()


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """[B H T d] turned to its positions; entry i is paired with entry i + d/2."""
    a, b = wide(x).chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


def visible(see: bool | Tensor, like: Tensor) -> Tensor:
    """Who may see whom among the tokens of a call, [B or 1 1 T T]; `like` is their mask [B T]."""
    t = like.shape[1]
    if isinstance(see, Tensor):
        if see.shape[-2:] != (t, t) or see.dtype != torch.bool:
            raise SensoriumError(f"see is {see.dtype} {tuple(see.shape)}; expected bool [B {t} {t}]")
        return see[:, None]
    every = torch.ones(1, 1, t, t, dtype=torch.bool, device=like.device)
    return every.tril() if see else every


def plain(d_in: int, d_out: int) -> nn.Linear:
    """A layer without bias whose weights start at standard deviation 1/sqrt(d_in)."""
    layer = nn.Linear(d_in, d_out, bias=False)
    nn.init.normal_(layer.weight, std=d_in**-0.5)
    return layer


class GatedMlp(nn.Module):
    """[... D] -> [... D]: silu(gate(x)) * up(x), back down (SwiGLU, Shazeer 2020, arXiv 2002.05202).

    By default 8/3 D units in steps of 8, so that it costs what a plain mlp of 4 D does.
    """

    def __init__(self, dim: int, hidden: int = 0) -> None:
        super().__init__()
        hidden = hidden or -(-8 * dim // 24) * 8
        self.gate, self.up, self.down = plain(dim, hidden), plain(dim, hidden), plain(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """One layer: attention among the tokens, attention to a memory where the decoder reads one, mlp."""

    def __init__(self, dim: int, heads: int, groups: int, mlp: Callable[[int], nn.Module], memory: bool) -> None:
        super().__init__()
        each = dim // heads
        self.heads, self.groups = heads, groups
        self.before, self.between = nn.RMSNorm(dim, EPS), nn.RMSNorm(dim, EPS)
        self.q, self.k, self.v = plain(dim, dim), plain(dim, groups * each), plain(dim, groups * each)
        self.out, self.mlp = plain(dim, dim), mlp(dim)
        if memory:
            self.ahead, self.cross = nn.RMSNorm(dim, EPS), CrossAttention(dim, heads)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B T D] -> q [B H T d], k v [B G T d], q and k turned to their positions."""
        x = self.before(x)
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = (p(x).unflatten(-1, (self.groups, -1)).transpose(1, 2) for p in (self.k, self.v))
        return turned(q, cos, sin), turned(k, cos, sin), v

    def finish(self, x: Tensor, found: Tensor, memory: Tokens | None) -> Tensor:
        """The stream [B T D] and what the heads found [B H T d] -> the stream after this layer."""
        x = x + self.out(found.transpose(1, 2).flatten(2).to(x.dtype))
        if memory is not None:
            x = x + self.cross(self.ahead(x), memory)
        return x + self.mlp(self.between(x))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Tokens [B T D] -> states [B T D]; `logits` gives the scores of `vocab` + 2 ids, of which the last two are the
    decoder's own `begin` and `end`.

    Positions count real tokens, so padding on either side changes nothing and cached and whole passes agree; at most
    `length` of them. `groups` key heads serve `heads` query heads (0: as many), `memory` adds attention to a memory to
    each layer, `mlp` makes the second half of a layer, `period` is the slowest rotary wavelength over 2π.
    """

    def __init__(
        self,
        vocab: int,
        dim: int,
        layers: int,
        heads: int,
        length: int,
        *,
        memory: bool = False,
        groups: int = 0,
        mlp: Callable[[int], nn.Module] = GatedMlp,
        period: float = 10_000.0,
    ) -> None:
        super().__init__()
        groups = groups or heads
        if dim % (2 * heads):
            raise SensoriumError(f"width {dim} does not split into {heads} heads of even width")
        if heads % groups:
            raise SensoriumError(f"{heads} heads do not share {groups} key heads; expected a divisor of {heads}")
        self.dim, self.length, self.reads = dim, length, memory
        self.begin, self.end = vocab, vocab + 1
        self.each, self.period = dim // heads, period
        self.words, self.says = nn.Embedding(vocab + 2, dim), plain(dim, vocab + 2)
        nn.init.normal_(self.words.weight, std=dim**-0.5)
        self.layers = nn.ModuleList(Layer(dim, heads, groups, mlp, memory) for _ in range(layers))
        self.norm = nn.RMSNorm(dim, EPS)

    def embed(self, text: Ids) -> Tokens:
        """Ids [B T] -> Tokens [B T D]; padding is 0."""
        x = self.words(text.ids.masked_fill(~text.mask, 0))
        return Tokens(x.masked_fill(~text.mask[..., None], 0), text.mask)

    def forward(
        self,
        t: Tokens,
        *,
        see: bool | Tensor = True,
        memory: Tokens | None = None,
        cache: Cache | None = None,
        tap: Tap | None = None,
    ) -> Tensor:
        """Tokens [B T D] -> [B T D] after the last norm; padding comes out as 0.

        `see`: True causal, False all, bool [B T T] (row sees column) custom; what a cache holds is seen by all. Every
        layer reads `memory` [B S D]. `t.pos` [B T 1], where given, stands in for the count of real tokens.
        """
        if (memory is not None) != self.reads:
            raise SensoriumError(f"a decoder {'with' if self.reads else 'without'} memory was given {_said(memory)}")
        tap, at, padded = tap or Tap(), cache.length if cache is not None else 0, ~t.mask[..., None]
        pos, seen = self._positions(t, cache), visible(see, t.mask)
        cos, sin = rotation(pos, self.each, self.period)
        x = t.x.masked_fill(padded, 0)
        for n, layer in enumerate(self.layers):
            x = tap.stream(n, x, at) if _asked(tap, n) else x
            if tap.skip(n):
                continue
            assert isinstance(layer, Layer)
            q, k, v = layer.project(x, cos, sin)
            k, v, real = cache.extend(n, q, k, v, t.mask) if cache is not None else (k, v, t.mask[:, None])
            found = attend(q, k, v, _keys(seen, real))
            x = layer.finish(x, tap.heads(n, found, at) if _asked(tap, n) else found, memory)
        x = tap.stream(len(self.layers), x, at) if _asked(tap, len(self.layers)) else x
        if cache is not None:
            cache.advance(_following(pos, t.mask, cache), t.mask.shape[1])
        return self.norm(x).masked_fill(padded, 0)  # type: ignore[no-any-return]

    def logits(self, h: Tensor) -> Tensor:
        """[... D] -> [... vocab + 2]."""
        return self.says(h)  # type: ignore[no-any-return]

    def _positions(self, t: Tokens, cache: Cache | None) -> Tensor:
        """[B T]: `t.pos` where given, else the count of real tokens before, those in the cache included.

        Raises:
            SensoriumError: positions of several coordinates, or beyond the longest sequence.
        """
        if t.pos is not None and t.pos.shape[-1] != 1:
            raise SensoriumError(f"positions of {t.pos.shape[-1]} coordinates; a decoder expects one, or none to count")
        start = 0 if cache is None or cache.next is None else cache.next[:, None]
        pos = start + (t.mask.long().cumsum(1) - 1).clamp(min=0) if t.pos is None else t.pos[..., 0]
        if t.mask.any() and (last := int(pos.masked_fill(~t.mask, 0).max())) >= self.length:
            raise SensoriumError(f"a sequence of {last + 1} tokens; this decoder was made for at most {self.length}")
        return pos


def _said(memory: Tokens | None) -> str:
    return "none" if memory is None else "one"


def _asked(tap: Tap, layer: int) -> bool:
    return tap.layers is None or layer in tap.layers


def _keys(seen: Tensor, real: Tensor) -> Tensor:
    """[B or 1 1 T T] among new tokens, real keys [B 1 S] or [B G S] -> [B 1 T S] or [B G T S]: what was there before is
    seen by all."""
    before = real.shape[2] - seen.shape[3]
    return F.pad(seen, (before, 0), value=True) & real[:, :, None]


def _following(pos: Tensor, mask: Tensor, cache: Cache) -> Tensor:
    """The position after the last real token [B]; unmoved where a row has none."""
    start = torch.zeros_like(pos[:, 0]) if cache.next is None else cache.next
    return torch.where(mask.any(1), pos.masked_fill(~mask, 0).amax(1) + 1, start)
