"""How tokens of two kinds lie inside a decoder, and which of its weights they use.

Shukor and Cord 2024, arXiv 2405.16700. Legend: B rows, T S tokens, D width, O I outputs and inputs of a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sensorium.core import SensoriumError, Tokens, derive

from .decode.capture import of_kind
from .precision import exact, wide
from .similarity import pool, unit

Masks = Mapping[str, Tensor]
"""By a matrix's name, which of its weights [O I] bool."""


def length(t: Tokens) -> Tensor:
    """[B T D] -> scalar: the mean L2 norm of the real tokens; not a number where there is none."""
    norms: Tensor = torch.linalg.vector_norm(wide(t.x[t.mask]), dim=-1)
    return norms.mean()


def cone(t: Tokens) -> Tensor:
    """[B T D] -> scalar: the mean cosine of two different real tokens, whichever rows they are of. 1: all point one
    way; not a number for fewer than two."""
    x = unit(t.x[t.mask])
    n = len(x)
    own = x.square().sum()  # n, but for tokens that are 0
    return (x.sum(0).square().sum() - own) / (n * (n - 1)) if n > 1 else x.new_tensor(torch.nan)


def together(a: Tokens, b: Tokens) -> Tensor:
    """[B T D], [B S D] -> [B]: the mean cosine of each real token of a row in `a` with each of that row in `b`; 0 where
    either has none."""
    with exact(a.x):
        mean = [pool(Tokens(unit(t.x), t.mask)) for t in (a, b)]
        return (mean[0] * mean[1]).sum(-1)


def steadiness(before: Tokens, after: Tokens) -> Tensor:
    """[B T D], [B T D] -> scalar: the mean cosine of each real token with itself, one layer on."""
    return (unit(before.x) * unit(after.x)).sum(-1)[before.mask].mean()


def alignment(streams: Sequence[Tokens], a: int, b: int) -> Tensor:
    """Streams of each layer [B T D] -> [B]: the implicit alignment score of a row, the mean over the layers of how the
    tokens of kind `a` lie together with those of kind `b`. The first stream, which no layer has touched, is left out.

    Raises:
        SensoriumError: fewer than two streams.
    """
    if len(streams) < 2:
        raise SensoriumError(f"{len(streams)} streams; expected the input and what at least one layer made of it")
    return torch.stack([together(of_kind(t, a), of_kind(t, b)) for t in streams[1:]]).mean(0)


def activated(weights: Mapping[str, Tensor], norms: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights [O I] and norms of what they read [I], by name -> for each output the `share` of its weights with the
    largest |weight| * norm, at least one (Wanda: Sun et al. 2023, arXiv 2306.11695).

    Raises:
        SensoriumError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise SensoriumError(f"share {share:g} of the weights; expected above 0 and up to 1")
    return {name: _top(w.abs() * norms[name], share) for name, w in weights.items()}


def by_chance(masks: Masks, *names: str | int) -> dict[str, Tensor]:
    """For each output as many weights as `masks` leave it, drawn from a seed of these names: the control."""
    found = {}
    for name, mask in masks.items():
        generator = torch.Generator().manual_seed(derive("weights by chance", name, *names))
        rank = torch.rand(mask.shape, generator=generator).argsort(-1).argsort(-1).to(mask.device)
        found[name] = rank < mask.sum(-1, keepdim=True)
    return found


def common(masks: Sequence[Masks]) -> dict[str, Tensor]:
    """The weights that are in every one of the masks: one subnetwork for all of their tasks."""
    return {name: torch.stack([m[name] for m in masks]).all(0) for name in masks[0]}


def overlap(a: Masks, b: Masks) -> float:
    """Intersection over union of the weights of two masks."""
    both = sum(int((a[name] & b[name]).sum()) for name in a)
    return both / max(1, sum(int((a[name] | b[name]).sum()) for name in a))


def left(masks: Masks) -> float:
    """The share of the weights that masks leave."""
    return sum(int(m.sum()) for m in masks.values()) / max(1, sum(m.numel() for m in masks.values()))


def _top(score: Tensor, share: float) -> Tensor:
    """[O I] -> bool [O I]: the share of each row with the highest scores; of equal ones the first."""
    count = max(1, round(share * score.shape[-1]))
    rank = score.argsort(dim=-1, descending=True, stable=True).argsort(-1)
    return rank < count
