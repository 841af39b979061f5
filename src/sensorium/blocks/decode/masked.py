"""Masked parallel decoding: the cells of a grid are filled in a few steps, the surest first.

MaskGIT (Chang et al. 2022, arXiv 2202.04200, section 3.2). All that is drawn comes from numbers that are handed in, so
that what a row becomes depends on its own luck alone.
Shape legend: B batch, N cells, V ids, S steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sensorium.core import Field, SensoriumError

from ..precision import wide
from .diffuse import FLOW, Canvas

Scores = Callable[[Tensor, Tensor], Tensor]
"""Ids [B N] and which of them are known [B N] -> scores of every cell [B N V]."""


def hidden_after(step: int, steps: int, cells: Tensor) -> Tensor:
    """How many of [B] cells are still hidden after a step, counted from 1: the cosine schedule, 0 after the last."""
    return (math.cos(math.pi / 2 * step / steps) * cells + 1e-6).floor().long() if step < steps else cells * 0


def drawn_ids(scores: Tensor, luck: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Scores [B N V], luck [B N] in (0, 1) -> ids [B N] and the logarithm of how likely each was; at temperature 0 the
    likeliest."""
    logp = wide(scores).log_softmax(-1)
    if temperature == 0:
        sure, ids = logp.max(-1)
        return ids, sure
    heap = (logp / temperature).softmax(-1).cumsum(-1)
    ids = torch.searchsorted(heap, luck[..., None] * heap[..., -1:])[..., 0].clamp(max=heap.shape[-1] - 1)
    return ids, logp.gather(-1, ids[..., None])[..., 0]


@torch.no_grad()
def unmask(
    scores: Scores, ids: Tensor, known: Tensor, luck: Tensor, temperature: float = 1.0, doubt: float = 1.0
) -> Tensor:
    """Ids [B N] of which some are `known`, luck [B S N 2] in (0, 1) -> all ids, in S steps.

    In each step every hidden cell is drawn, and those that were likeliest stay, of `doubt` Gumbel noise that fades out.

    Raises:
        SensoriumError: no steps, or a negative temperature.
    """
    steps = luck.shape[1]
    if steps < 1 or temperature < 0:
        raise SensoriumError(f"{steps} steps at temperature {temperature:g}; expected 1 or more, and 0 or more")
    ids, known, cells = ids.clone(), known.clone(), (~known).sum(1)
    for step in range(1, steps + 1):
        found, sure = drawn_ids(scores(ids, known), luck[:, step - 1, :, 0], temperature)
        noise = -(-luck[:, step - 1, :, 1].clamp(1e-6, 1 - 1e-6).log()).log()
        worth = (sure + doubt * temperature * (1 - step / steps) * noise).masked_fill(known, -torch.inf)
        place = worth.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        stays = ~known & (place < ((~known).sum(1) - hidden_after(step, steps, cells))[:, None])
        ids, known = torch.where(stays, found, ids), known | stays
    return ids


def from_luck(fill: Callable[[Tensor], Field], shape: tuple[int, ...], device: torch.device | str) -> Canvas:
    """A canvas that holds luck alone: normal numbers [B ...], unchanged by its steps, which `fill` is given as numbers
    in (0, 1)."""
    return Canvas(lambda x, t: x, shape, FLOW, lambda x: fill(torch.special.ndtr(x)), device)
