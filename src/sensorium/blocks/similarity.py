"""How two sets of rows are compared. Pooling belongs here, not to the towers.

Shape legend: A B rows, T S tokens of a row, D width. Values under a False mask change nothing, not even as NaN; a row
without any real token scores 0 against everything and receives no gradient.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sensorium.core import SensoriumError, Tokens

from .precision import exact, wide

CHUNK = 1 << 20
"""Token pairs held at once by `late`: 4 MB in float32 stay in a core's cache, which halves the backward pass."""


def _real(t: Tokens) -> Tensor:
    return wide(t.x).masked_fill(~t.mask[..., None], 0)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """[... T], [... T] bool -> [...]: the mean over real positions, 0 where there is none."""
    return values.masked_fill(~mask, 0).sum(-1) / mask.sum(-1).clamp(min=1)


def pool(t: Tokens) -> Tensor:
    """[B T D] -> [B D]: the mean of the real tokens, in float32; 0 for a row without any."""
    return _real(t).sum(1) / t.mask.sum(1, keepdim=True).clamp(min=1)


def unit(x: Tensor) -> Tensor:
    """[... D] -> [... D] of L2 length 1, in float32. A zero vector stays zero, with zero gradient."""
    x = wide(x)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x.div(length.masked_fill(length < 1e-12, torch.inf))


def truncate(t: Tokens, dim: int) -> Tokens:
    """[B T D] -> [B T dim]: the first coordinates (Matryoshka, arXiv 2205.13147). More than D is an error."""
    if not 1 <= dim <= t.x.shape[-1]:
        raise SensoriumError(f"cannot cut vectors of width {t.x.shape[-1]} to {dim}; expected 1 to {t.x.shape[-1]}")
    return replace(t, x=t.x[..., :dim])


def cosine(a: Tokens, b: Tokens) -> Tensor:
    """[A T D], [B S D] -> [A B]: cosine of the masked means, in [-1, 1]."""
    with exact(a.x):
        return unit(pool(a)) @ unit(pool(b)).T


def _block(a: Tensor, am: Tensor, b: Tensor, bm: Tensor) -> tuple[Tensor, Tensor]:
    """Unit tokens [A T D], [B S D] and masks -> [A B] from a's side, [A B] from b's side."""
    pairs = (a.flatten(0, 1) @ b.flatten(0, 1).T).view(*am.shape, *bm.shape)  # [A T B S]
    pairs = pairs.masked_fill_(~(am[..., None, None] & bm), -torch.inf)
    both = am.any(1)[:, None] & bm.any(1)[None]
    # `max` keeps only the winners' indices for the backward pass, where `amax` would keep every pair
    for_a = _mean(pairs.max(3).values.transpose(1, 2), am[:, None] & both[..., None])
    for_b = _mean(pairs.max(1).values, bm[None] & both[..., None])
    return for_a, for_b


def late(a: Tokens, b: Tokens) -> tuple[Tensor, Tensor]:
    """[A T D], [B S D] -> ([A B], [B A]): token-wise late interaction of FILIP (arXiv 2111.07783, eqs. 4 and 5).

    First[i, j] is the mean over the real tokens of a_i of the best cosine with a real token of b_j; second[j, i] is the
    same from b_j's side, over its own tokens. Computed in blocks of at most `CHUNK` token pairs (never less than one
    pair of rows); gradients flow to the winning pairs.
    """
    with exact(a.x):
        x, y = unit(_real(a)), unit(_real(b))
        per_pair = max(1, x.shape[1] * y.shape[1])
        columns = max(1, min(len(y), CHUNK // per_pair))
        rows = max(1, CHUNK // (per_pair * columns))
        blocks = [
            [_block(p, pm, q, qm) for q, qm in zip(torch.split(y, columns), torch.split(b.mask, columns), strict=True)]
            for p, pm in zip(torch.split(x, rows), torch.split(a.mask, rows), strict=True)
        ]
        for_a, for_b = (torch.cat([torch.cat([pair[k] for pair in line], 1) for line in blocks]) for k in (0, 1))
        return for_a, for_b.T


def argmax_tokens(a: Tokens, b: Tokens) -> Tensor:
    """[B T D], [B S D] of paired rows -> [B T] int64: the token of b closest to each token of a (word-patch map).

    -1 for a padded token of a and where b has no real token.
    """
    if len(a.x) != len(b.x):
        raise SensoriumError(f"paired rows differ in number: given {len(a.x)} and {len(b.x)}, expected equal")
    with exact(a.x):
        pairs = unit(_real(a)) @ unit(_real(b)).transpose(1, 2)
    best = pairs.masked_fill(~b.mask[:, None], -torch.inf).max(2).indices
    return best.masked_fill(~(a.mask & b.mask.any(1, keepdim=True)), -1)
